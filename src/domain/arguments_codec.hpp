// Arguments between JSON and a mutator's declared values: the same validation on device and server.
#pragma once

#include <nizhal/mutator.hpp>
#include <nizhal/result.hpp>

#include "base/json.hpp"

namespace nizhal {

/// Values in declared order. Errors (invalid_args) name the argument: `argument "amount" must be at least 1`.
/// Members that are not declared are ignored; text with NUL or broken UTF-8 is refused.
Result<MutatorDef::Values> decode_arguments(const MutatorDef& mutator, const json::value& args);
/// The JSON object of declared values; absent optionals are left out.
std::string encode_arguments(const MutatorDef& mutator, const MutatorDef::Values& values);

/// Runs the mutator (or its authorisation) and turns what it throws into reject("internal", …); `thrown` then has
/// the exception's own text for the log. Never throws. The only place where a user's code is called.
Outcome call_mutator(const MutatorDef& mutator, MutatorContext& context, const MutatorDef::Values& values,
                     std::string* thrown);
Outcome call_authorize(const MutatorDef& mutator, MutatorContext& context, const MutatorDef::Values& values,
                       std::string* thrown);

}  // namespace nizhal
