// Shapes of nested JSON arguments. Both sides run the same check, so an argument that a device accepted is never
// refused by the server for its shape.
#include "domain/json_shape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/bytes.hpp"
#include "domain/names.hpp"

namespace nizhal {
namespace {

using Kind = JsonShape::Kind;

std::string member_place(const std::string& place, std::string_view name) {
  if (name_fault(name).empty()) return fmt::format("{}.{}", place, name);
  std::string quoted;
  append_json_string(quoted, name);
  return fmt::format("{}[{}]", place, quoted);
}

std::optional<std::string> range_fault(const JsonShape& shape, double number, const std::string& place) {
  if (shape.minimum && number < *shape.minimum) return fmt::format("{} must be at least {}", place, *shape.minimum);
  if (shape.maximum && number > *shape.maximum) return fmt::format("{} must be at most {}", place, *shape.maximum);
  return std::nullopt;
}

std::optional<std::string> size_fault(const JsonShape& shape, std::size_t size, const char* noun,
                                      const std::string& place) {
  if (shape.min_size && size < *shape.min_size)
    return fmt::format("{} {}", place, size_expectation("at least", *shape.min_size, noun));
  if (shape.max_size && size > *shape.max_size)
    return fmt::format("{} {}", place, size_expectation("at most", *shape.max_size, noun));
  return std::nullopt;
}

std::optional<double> as_number(const json::value& value) {
  if (const auto* real = value.if_double(); real && std::isfinite(*real)) return *real;
  if (const auto* whole = value.if_int64()) return static_cast<double>(*whole);
  if (const auto* whole = value.if_uint64()) return static_cast<double>(*whole);
  return std::nullopt;
}

std::optional<std::string> object_fault(const JsonShape& shape, const json::value& value, const std::string& place) {
  const auto* object = value.if_object();
  if (!object) return place + " must be an object";
  for (const auto& entry : *object) {
    const std::string_view name(entry.key().data(), entry.key().size());
    const bool is_declared = std::any_of(shape.members.begin(), shape.members.end(),
                                         [name](const JsonShape::Member& member) { return member.name == name; });
    if (!is_declared) return member_place(place, name) + " is not a declared member";
  }
  for (const JsonShape::Member& declared : shape.members) {
    const json::value* found = object->if_contains(declared.name);
    if (!found) {
      if (declared.is_required) return member_place(place, declared.name) + " is required";
      continue;
    }
    if (auto fault = shape_fault(declared.shape, *found, member_place(place, declared.name))) return fault;
  }
  return std::nullopt;
}

std::optional<std::string> array_fault(const JsonShape& shape, const json::value& value, const std::string& place) {
  const auto* array = value.if_array();
  if (!array) return place + " must be an array";
  if (auto fault = size_fault(shape, array->size(), "item", place)) return fault;
  if (!shape.items) return std::nullopt;
  std::size_t index = 0;
  for (const json::value& item : *array)
    if (auto fault = shape_fault(*shape.items, item, fmt::format("{}[{}]", place, index++))) return fault;
  return std::nullopt;
}

}  // namespace

std::string size_expectation(const char* bound, std::size_t size, const char* noun) {
  return fmt::format("must have {} {} {}{}", bound, size, noun, size == 1 ? "" : "s");
}

std::string one_of_expectation(const std::vector<std::string>& values) {
  std::string text = "must be one of ";
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) text += ", ";
    append_json_string(text, values[i]);
  }
  return text;
}

std::optional<std::string> shape_fault(const JsonShape& shape, const json::value& value, const std::string& place) {
  if (value.is_null() && (shape.nullable || shape.kind == Kind::any)) return std::nullopt;
  switch (shape.kind) {
    case Kind::any:
      return std::nullopt;
    case Kind::text: {
      const auto* text = value.if_string();
      if (!text) return place + " must be a string";
      const std::string_view view(text->data(), text->size());
      if (view.find('\0') != std::string_view::npos) return place + " must not contain the NUL character";
      if (!shape.one_of.empty() && std::find(shape.one_of.begin(), shape.one_of.end(), view) == shape.one_of.end())
        return fmt::format("{} {}", place, one_of_expectation(shape.one_of));
      return size_fault(shape, count_code_points(view), "character", place);
    }
    case Kind::integer: {
      const auto number = as_integer(value);
      if (!number) return place + " must be an integer";
      return range_fault(shape, static_cast<double>(*number), place);
    }
    case Kind::number: {
      const auto number = as_number(value);
      if (!number) return place + " must be a number";
      return range_fault(shape, *number, place);
    }
    case Kind::boolean:
      if (!value.is_bool()) return place + " must be true or false";
      return std::nullopt;
    case Kind::object:
      return object_fault(shape, value, place);
    case Kind::array:
      return array_fault(shape, value, place);
  }
  return place + " has a shape that is not known";
}

std::optional<std::string> shape_declaration_fault(const JsonShape& shape) {
  const bool is_number = shape.kind == Kind::integer || shape.kind == Kind::number;
  const bool has_size = shape.kind == Kind::text || shape.kind == Kind::array;
  if ((shape.minimum || shape.maximum) && !is_number) return "at_least and at_most fit integers and numbers only";
  if ((shape.min_size || shape.max_size) && !has_size) return "a minimum or maximum size fits texts and arrays only";
  if (!shape.one_of.empty() && shape.kind != Kind::text) return "among fits texts only";
  if (!shape.members.empty() && shape.kind != Kind::object) return "members fit objects only";
  if (shape.minimum && shape.maximum && *shape.minimum > *shape.maximum) return "at_least is above at_most";
  if (shape.min_size && shape.max_size && *shape.min_size > *shape.max_size)
    return "the minimum size is above the maximum";
  for (std::size_t i = 0; i < shape.members.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j)
      if (shape.members[i].name == shape.members[j].name)
        return fmt::format("member \"{}\" is declared twice", shape.members[i].name);
    if (auto fault = shape_declaration_fault(shape.members[i].shape))
      return fmt::format("member \"{}\": {}", shape.members[i].name, *fault);
  }
  if (shape.items)
    if (auto fault = shape_declaration_fault(*shape.items)) return "items: " + *fault;
  return std::nullopt;
}

}  // namespace nizhal
