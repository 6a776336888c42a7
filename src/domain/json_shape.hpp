// Checking a JSON value against a declared shape.
#pragma once

#include <nizhal/arguments.hpp>

#include <optional>
#include <string>

#include "base/json.hpp"

namespace nizhal {

/// What is wrong, as a sentence that begins with `place` and the path inside it
/// (`argument "lines"[2].qty must be an integer`); nothing when the value fits.
std::optional<std::string> shape_fault(const JsonShape& shape, const json::value& value, const std::string& place);

/// Why a shape itself makes no sense (a range on a text, two members of one name); nothing when it does.
std::optional<std::string> shape_declaration_fault(const JsonShape& shape);

/// `must have at least 3 characters`, with the noun in the right number.
std::string size_expectation(const char* bound, std::size_t size, const char* noun);
/// `must be one of "a", "b"`.
std::string one_of_expectation(const std::vector<std::string>& values);

}  // namespace nizhal
