// When each column of a row was last edited, as text: `*=<hlc>;title=<hlc>;…` (Merge::Field, S22). `*` is every column
// that is not named. SQL triggers append to it, so a column may be named several times: its highest stamp counts.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "domain/hlc.hpp"

namespace nizhal {

/// The node of the stamps that a database's triggers give to what other programs write: 32 zeros. Below every device.
std::string_view foreign_node();

class FieldStamps {
 public:
  FieldStamps() = default;
  /// Lenient: what is no stamp is left out.
  explicit FieldStamps(std::string_view text);

  /// Of a column; the lowest of all when nothing is known.
  Hlc of(std::string_view column) const;
  void set_all(Hlc stamp);  // of a new row
  void set(std::string_view column, Hlc stamp);
  Hlc highest() const;
  bool empty() const { return !all_ && columns_.empty(); }
  std::string text() const;  // columns in order, each once

 private:
  std::optional<Hlc> all_;
  std::map<std::string, Hlc, std::less<>> columns_;
};

}  // namespace nizhal
