// Values as Yjs keeps them in maps and arrays: JSON's, and undefined, big integers and bytes besides. In the format
// they are a byte for the kind and the value behind it; this is lib0's encoding "any".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "crdt/encoding.hpp"

namespace nizhal::crdt {

/// Deeper values are refused, whether read or written: reading them is recursive.
inline constexpr std::size_t kAnyDepthMax = 100;

struct Any;
struct Undefined {
  bool operator==(const Undefined&) const = default;
};
using AnyList = std::vector<Any>;
using AnyObject = std::vector<std::pair<std::string, Any>>;

struct Any {
  /// A double is any JavaScript number, an int64 a BigInt. Strings and keys must be UTF-8.
  std::variant<Undefined, std::nullptr_t, bool, double, std::int64_t, std::string, Bytes, AnyList, AnyObject> value;
  Any() = default;
  Any(std::nullptr_t) : value(nullptr) {}
  Any(bool flag) : value(flag) {}
  Any(int number) : value(static_cast<double>(number)) {}
  Any(double number) : value(number) {}
  Any(std::string text) : value(std::move(text)) {}
  Any(const char* text) : value(std::string(text)) {}
  Any(Bytes bytes) : value(std::move(bytes)) {}
  Any(AnyList list) : value(std::move(list)) {}
  Any(AnyObject object) : value(std::move(object)) {}
  static Any big_integer(std::int64_t number) {
    Any any;
    any.value = number;
    return any;
  }
  bool operator==(const Any&) const;
};

/// In the bytes that Yjs would write for it (keys in JavaScript's order). False when it is too deep or not UTF-8; then
/// nothing useful was written.
bool write_any(Writer& out, const Any& any, std::size_t depth = 0);
/// Fails the reader on anything else than a value.
Any read_any(Reader& in, std::size_t depth = 0);
/// The same check without building the value.
void skip_any(Reader& in, std::size_t depth = 0);

/// As JSON.stringify, with two additions: bytes are a base64 string, a big integer its digits as a string. Undefined is
/// null except in an object, where the key is left out.
void append_json(std::string& out, const Any& any);

/// Nothing when the text is no JSON or too deep.
std::optional<Any> any_from_json(std::string_view json);
/// JSON that JavaScript reads, at most kAnyDepthMax deep. Shallow values are judged without building them.
bool is_json_value(std::string_view json);

}  // namespace nizhal::crdt
