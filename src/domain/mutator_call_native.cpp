// Calls of a user's code, and the only file of the portable modules that is built with exceptions: whatever a mutator
// throws ends here. The exception's text may hold data of other actors, so it goes to the log and never into the
// answer.
#include <algorithm>
#include <exception>

#include "domain/arguments_codec.hpp"

namespace nizhal {
namespace {

constexpr const char* kNoStandardException = "an exception that is not derived from std::exception";

using Function = std::function<Outcome(MutatorContext&, const MutatorDef::Values&)>;

/// A refusal's code is a word for programs; one that is not would end up in protocol fields as it is.
bool is_word(const std::string& code) {
  return !code.empty() && code.size() <= 64 && std::all_of(code.begin(), code.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

Outcome call(const Function& function, const char* what, const MutatorDef& mutator, MutatorContext& context,
             const MutatorDef::Values& values, std::string* thrown) {
  try {
    Outcome outcome = function(context, values);
    if (!outcome.is_done() && !is_word(outcome.code)) outcome.code = "rejected";
    return outcome;
  } catch (const std::exception& fault) {
    if (thrown) *thrown = fault.what();
  } catch (...) {
    if (thrown) *thrown = kNoStandardException;
  }
  return reject("internal", std::string("the ") + what + " \"" + mutator.name + "\" failed");
}

/// What `function` answers, or what it threw as an error.
template <class Function>
auto caught(Function function) -> Result<decltype(function())> {
  std::string thrown;
  try {
    return function();
  } catch (const std::exception& fault) {
    thrown = fault.what();
  } catch (...) {
    thrown = kNoStandardException;
  }
  return failure(ErrorCode::internal, std::move(thrown));
}

}  // namespace

Outcome call_mutator(const MutatorDef& mutator, MutatorContext& context, const MutatorDef::Values& values,
                     std::string* thrown) {
  if (thrown) thrown->clear();
  if (!mutator.run) return reject("internal", "the mutator \"" + mutator.name + "\" has no body");
  return call(mutator.run, "mutator", mutator, context, values, thrown);
}

Outcome call_authorize(const MutatorDef& mutator, MutatorContext& context, const MutatorDef::Values& values,
                       std::string* thrown) {
  if (thrown) thrown->clear();
  if (!mutator.authorize) return done();
  return call(mutator.authorize, "authorisation of mutator", mutator, context, values, thrown);
}

Result<std::optional<MutationCall>> call_inverse(const MutatorDef& mutator, MutatorContext& context,
                                                 const MutatorDef::Values& values) {
  if (!mutator.inverse) return std::optional<MutationCall>();
  return caught([&] { return mutator.inverse(context, values); });
}

Result<std::string> call_dependency_key(const MutatorDef& mutator, const MutatorDef::Values& values) {
  if (!mutator.dependency_key) return std::string();
  return caught([&] { return mutator.dependency_key(values); });
}

Result<std::vector<std::string>> call_depends_on(const MutatorDef& mutator, const MutatorDef::Values& values) {
  if (!mutator.depends_on) return std::vector<std::string>();
  return caught([&] { return mutator.depends_on(values); });
}

Result<std::optional<MutatorDef::Values>> call_upcast(const UpcasterDef& upcaster, const MutatorDef::Values& values) {
  return caught([&] { return upcaster.convert(values); });
}

}  // namespace nizhal
