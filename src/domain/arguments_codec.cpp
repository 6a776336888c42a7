// Arguments between JSON and values. A device decodes what its app passes and the server what a device sent with this
// same code, so both accept and refuse the same calls.
#include "domain/arguments_codec.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.hpp"
#include "domain/json_shape.hpp"
#include "domain/value_json.hpp"

namespace nizhal {
namespace {

/// What a constraint says against a value of the right type, as the rest of a sentence.
std::optional<std::string> constraint_fault(const ArgumentDef& argument, const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    if (argument.type != ColumnType::integer && argument.type != ColumnType::bigint) return std::nullopt;
    if (argument.minimum && *number < *argument.minimum) return fmt::format("must be at least {}", *argument.minimum);
    if (argument.maximum && *number > *argument.maximum) return fmt::format("must be at most {}", *argument.maximum);
  } else if (const auto* real = std::get_if<double>(&value)) {
    if (argument.real_minimum && *real < *argument.real_minimum)
      return fmt::format("must be at least {}", *argument.real_minimum);
    if (argument.real_maximum && *real > *argument.real_maximum)
      return fmt::format("must be at most {}", *argument.real_maximum);
  } else if (const auto* text = std::get_if<std::string>(&value); text && argument.type == ColumnType::text) {
    const std::size_t characters = count_code_points(*text);
    if (argument.min_length && characters < *argument.min_length)
      return size_expectation("at least", *argument.min_length, "character");
    if (argument.max_length && characters > *argument.max_length)
      return size_expectation("at most", *argument.max_length, "character");
    if (!argument.one_of.empty() &&
        std::find(argument.one_of.begin(), argument.one_of.end(), *text) == argument.one_of.end())
      return one_of_expectation(argument.one_of);
  }
  return std::nullopt;
}

}  // namespace

Result<MutatorDef::Values> decode_arguments(const MutatorDef& mutator, const json::value& args) {
  return decode_arguments(mutator.arguments, args);
}

Result<MutatorDef::Values> decode_arguments(const std::vector<ArgumentDef>& arguments, const json::value& args) {
  const auto* object = args.if_object();
  if (!object) return failure(ErrorCode::invalid_args, "arguments must be an object");
  MutatorDef::Values values;
  values.reserve(arguments.size());
  for (const ArgumentDef& argument : arguments) {
    const auto place = [&argument] { return fmt::format("argument \"{}\"", argument.name); };
    const json::value* found = object->if_contains(argument.name);
    if (!found || found->is_null()) {
      if (!argument.is_optional) return failure(ErrorCode::invalid_args, place() + " is required");
      values.emplace_back(std::monostate{});
      continue;
    }
    auto value = value_from_json(argument.type, *found);
    if (!value) return failure(ErrorCode::invalid_args, fmt::format("{} {}", place(), value.error().message));
    if (const auto fault = constraint_fault(argument, *value))
      return failure(ErrorCode::invalid_args, fmt::format("{} {}", place(), *fault));
    if (argument.shape)
      if (auto fault = shape_fault(*argument.shape, *found, place()))
        return failure(ErrorCode::invalid_args, *std::move(fault));
    values.push_back(*std::move(value));
  }
  return values;
}

std::string encode_arguments(const MutatorDef& mutator, const MutatorDef::Values& values) {
  std::string out = "{";
  for (std::size_t i = 0; i < mutator.arguments.size() && i < values.size(); ++i) {
    const ArgumentDef& argument = mutator.arguments[i];
    if (is_null(values[i])) continue;
    if (out.size() > 1) out += ',';
    append_json_string(out, argument.name);
    out += ':';
    append_value_json(out, argument.type, values[i]);
  }
  out += '}';
  return out;
}

}  // namespace nizhal
