// Declared arguments of a mutator: their types and the constraints that both sides check before it runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/table.hpp>
#include <nizhal/value.hpp>

namespace nizhal {

/// The allowed shape of a Json argument, checked on both sides and published in the contract.
struct JsonShape {
  enum class Kind { any, text, integer, number, boolean, object, array };
  struct Member;
  Kind kind = Kind::any;
  bool nullable = false;
  std::optional<double> minimum, maximum;         // integer, number
  std::optional<std::size_t> min_size, max_size;  // text: characters; array: items
  std::vector<std::string> one_of;                // text
  std::vector<Member> members;                    // object; other members are refused
  std::shared_ptr<const JsonShape> items;         // array

  JsonShape&& at_least(double value) && {
    minimum = value;
    return std::move(*this);
  }
  JsonShape&& at_most(double value) && {
    maximum = value;
    return std::move(*this);
  }
  JsonShape&& min_length(std::size_t size) && {
    min_size = size;
    return std::move(*this);
  }
  JsonShape&& max_length(std::size_t size) && {
    max_size = size;
    return std::move(*this);
  }
  JsonShape&& min_items(std::size_t size) && {
    min_size = size;
    return std::move(*this);
  }
  JsonShape&& max_items(std::size_t size) && {
    max_size = size;
    return std::move(*this);
  }
  JsonShape&& among(std::vector<std::string> values) && {
    one_of = std::move(values);
    return std::move(*this);
  }
  JsonShape&& or_null() && {
    nullable = true;
    return std::move(*this);
  }
  JsonShape&& required(std::string name, JsonShape shape) &&;
  JsonShape&& optional(std::string name, JsonShape shape) &&;
};
struct JsonShape::Member {
  std::string name;
  JsonShape shape;
  bool is_required = true;
};
inline JsonShape&& JsonShape::required(std::string name, JsonShape shape) && {
  members.push_back({std::move(name), std::move(shape), true});
  return std::move(*this);
}
inline JsonShape&& JsonShape::optional(std::string name, JsonShape shape) && {
  members.push_back({std::move(name), std::move(shape), false});
  return std::move(*this);
}
namespace detail {
inline JsonShape json_shape(JsonShape::Kind kind) {
  JsonShape shape;
  shape.kind = kind;
  return shape;
}
}  // namespace detail
inline JsonShape json_any() { return detail::json_shape(JsonShape::Kind::any); }
inline JsonShape json_text() { return detail::json_shape(JsonShape::Kind::text); }
inline JsonShape json_integer() { return detail::json_shape(JsonShape::Kind::integer); }
inline JsonShape json_number() { return detail::json_shape(JsonShape::Kind::number); }
inline JsonShape json_boolean() { return detail::json_shape(JsonShape::Kind::boolean); }
inline JsonShape json_object() { return detail::json_shape(JsonShape::Kind::object); }
inline JsonShape json_array(JsonShape items) {
  JsonShape shape = detail::json_shape(JsonShape::Kind::array);
  shape.items = std::make_shared<const JsonShape>(std::move(items));
  return shape;
}

/// A declared argument without its C++ type.
struct ArgumentDef {
  std::string name;
  ColumnType type = ColumnType::text;
  bool is_optional = false;                           // absent and null both give an empty optional
  std::optional<std::int64_t> minimum, maximum;       // integer, bigint
  std::optional<double> real_minimum, real_maximum;   // real
  std::optional<std::size_t> min_length, max_length;  // text: characters (code points)
  std::vector<std::string> one_of;                    // text
  std::optional<JsonShape> shape;                     // json
  std::string references;                             // table whose key this names
  std::string new_id_of;                              // table whose new row this names
};

/// Constraints, given after the member: `.arg("amount", &P::amount, at_least(1))`.
using Constraint = std::function<void(ArgumentDef&)>;

inline Constraint at_least(std::int64_t value) {
  return [value](ArgumentDef& arg) {
    arg.minimum = value;
    arg.real_minimum = static_cast<double>(value);
  };
}
inline Constraint at_most(std::int64_t value) {
  return [value](ArgumentDef& arg) {
    arg.maximum = value;
    arg.real_maximum = static_cast<double>(value);
  };
}
inline Constraint between(std::int64_t low, std::int64_t high) {
  return [low, high](ArgumentDef& arg) {
    at_least(low)(arg);
    at_most(high)(arg);
  };
}
inline Constraint at_least_real(double value) {
  return [value](ArgumentDef& arg) { arg.real_minimum = value; };
}
inline Constraint at_most_real(double value) {
  return [value](ArgumentDef& arg) { arg.real_maximum = value; };
}
inline Constraint min_length(std::size_t characters) {
  return [characters](ArgumentDef& arg) { arg.min_length = characters; };
}
inline Constraint max_length(std::size_t characters) {
  return [characters](ArgumentDef& arg) { arg.max_length = characters; };
}
inline Constraint one_of(std::vector<std::string> values) {
  return [values = std::move(values)](ArgumentDef& arg) { arg.one_of = values; };
}
inline Constraint shaped(JsonShape shape) {
  return [shape = std::move(shape)](ArgumentDef& arg) { arg.shape = shape; };
}
/// The argument names an existing row; generators draw existing keys, and a client id that the server
/// replaced is resolved (S7). It does not check that the row exists: the mutator decides.
template <class T>
Constraint references(const Table<T>& table) {
  return [name = table.def().name](ArgumentDef& arg) { arg.references = name; };
}
/// The argument is the id of a row that this mutator creates.
template <class T>
Constraint new_id_of(const Table<T>& table) {
  return [name = table.def().name](ArgumentDef& arg) { arg.new_id_of = name; };
}

}  // namespace nizhal
