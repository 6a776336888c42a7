// A conflict: an edit of one column that lost to another with a higher clock (Merge::Field, S22). The row keeps what
// won.
#pragma once

#include <cstdint>
#include <string>

#include <nizhal/value.hpp>

namespace nizhal {

struct Conflict {
  std::string table, key, column;  // the key as text
  std::string lost;                // the value that was not written, as JSON
  Timestamp at;                    // when the edit that lost was made, by its clock
  Timestamp winner_at;             // the same of what stands
  std::string mutator;
  std::string client_mutation_id;  // of the edit that lost
  bool operator==(const Conflict&) const = default;
};

/// On a server: whose edit it was, too.
struct ReportedConflict : Conflict {
  std::string user_id, owner_id, client_id;
  bool operator==(const ReportedConflict&) const = default;
};

/// On a device: one of this device's own edits, kept until it is dismissed.
struct LostEdit : Conflict {
  std::int64_t id = 0;  // names it in this store
};

}  // namespace nizhal
