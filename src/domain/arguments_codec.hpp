// Arguments between JSON and a mutator's declared values: the same validation on device and server.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nizhal/mutator.hpp>
#include <nizhal/result.hpp>

#include "base/json.hpp"

namespace nizhal {

/// Values in declared order. Errors (invalid_args) name the argument: `argument "amount" must be at least 1`.
/// Members that are not declared are ignored; text with NUL or broken UTF-8 is refused.
Result<MutatorDef::Values> decode_arguments(const MutatorDef& mutator, const json::value& args);
Result<MutatorDef::Values> decode_arguments(const std::vector<ArgumentDef>& arguments, const json::value& args);
/// The JSON object of declared values; absent optionals are left out.
std::string encode_arguments(const MutatorDef& mutator, const MutatorDef::Values& values);

// Calls of a user's functions: the only place where they are called. None of these throws.

/// Runs the mutator (or its authorisation) and turns what it throws into reject("internal", …); `thrown` then has
/// the exception's own text for the log.
Outcome call_mutator(const MutatorDef& mutator, MutatorContext& context, const MutatorDef::Values& values,
                     std::string* thrown);
Outcome call_authorize(const MutatorDef& mutator, MutatorContext& context, const MutatorDef::Values& values,
                       std::string* thrown);

/// What is declared beside the body. An error (internal) is what the function threw: for the log only, since it may
/// quote data. A function that is not declared gives an empty answer.
Result<std::optional<MutationCall>> call_inverse(const MutatorDef& mutator, MutatorContext& context,
                                                 const MutatorDef::Values& values);
Result<std::string> call_dependency_key(const MutatorDef& mutator, const MutatorDef::Values& values);
Result<std::vector<std::string>> call_depends_on(const MutatorDef& mutator, const MutatorDef::Values& values);
Result<std::optional<MutatorDef::Values>> call_upcast(const UpcasterDef& upcaster, const MutatorDef::Values& values);

}  // namespace nizhal
