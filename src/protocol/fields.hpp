// Reading members of a message from outside. A reader keeps the first thing that is wrong, named by its field, so
// that a decoder reads all fields in a row and asks once. Null counts as absent; unknown members are not looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "base/json.hpp"

namespace nizhal::protocol {

/// The largest integer that every JSON reader keeps exactly.
inline constexpr std::int64_t kIntegerMax = std::int64_t{1} << 53;

/// Where an object stands in a message, spelled only when something is wrong: `mutations[3].`.
struct FieldPlace {
  std::string_view array;  // empty: the message itself
  std::size_t index = 0;
  std::string text() const;
};

struct TextBounds {
  std::size_t bytes_min = 0;
  std::size_t bytes_max = static_cast<std::size_t>(-1);
  bool control_characters = true;  // false: U+0000–U+001F and U+007F are refused
};

class FieldReader {
 public:
  explicit FieldReader(const json::object& object, FieldPlace place = {}) : object_(object), place_(place) {}

  /// The member, or nullptr when it is absent or null.
  const json::value* find(std::string_view name) const;
  /// Like find; an absent member is an error.
  const json::value* require(std::string_view name, std::string_view expected);

  // Each leaves `out` as it is when the member is absent or wrong, and tells whether it was read.
  bool text(std::string_view name, std::string& out, const TextBounds& bounds = {});
  bool text(std::string_view name, std::optional<std::string>& out, const TextBounds& bounds = {});
  bool required_text(std::string_view name, std::string& out, const TextBounds& bounds = {});
  bool boolean(std::string_view name, bool& out);
  bool required_boolean(std::string_view name, bool& out);
  bool integer(std::string_view name, std::optional<std::int64_t>& out, std::int64_t least, std::int64_t most);
  bool texts(std::string_view name, std::vector<std::string>& out);
  bool texts(std::string_view name, std::optional<std::vector<std::string>>& out);
  bool required_texts(std::string_view name, std::vector<std::string>& out);
  /// Members are checked by the caller.
  const json::array* array(std::string_view name);
  const json::array* required_array(std::string_view name);
  const json::object* object(std::string_view name);

  /// "what" completes "<field> …": `must be an integer ≥ 1`. The first call wins.
  void refuse(std::string_view name, std::string_view what);
  bool failed() const { return error_.has_value(); }
  /// Only after failed().
  tl::unexpected<Error> error() const { return tl::unexpected<Error>(*error_); }

 private:
  const json::object& object_;
  FieldPlace place_;
  std::optional<Error> error_;
};

/// The message as an object; the error says why it is none. `what` names it: "the body".
Result<json::value> parse_object(std::string_view text, std::string_view what, json::storage_ptr storage = {});

}  // namespace nizhal::protocol
