#include "domain/upcast.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "domain/arguments_codec.hpp"

namespace nizhal {
namespace {

tl::unexpected<Outcome> impossible(const MutatorDef& mutator, int version, std::string_view why) {
  return tl::unexpected(reject(upcast_code::kImpossible,
                               fmt::format("arguments of version {} of \"{}\" cannot be brought to version {}: {}",
                                           version, mutator.name, mutator.version, why)));
}

}  // namespace

UpcastResult decode_arguments_of(const MutatorDef& mutator, int version, const json::value& args, std::string* thrown) {
  const auto invalid = [](const Error& error) { return tl::unexpected(reject(upcast_code::kInvalid, error.message)); };
  if (version == mutator.version) {
    auto values = decode_arguments(mutator, args);
    if (!values) return invalid(values.error());
    return std::move(*values);
  }
  if (version > mutator.version)
    return tl::unexpected(
        reject(upcast_code::kNewer,
               fmt::format("the arguments of \"{}\" are of version {}, of which this side knows {} at most",
                           mutator.name, version, mutator.version)));
  const auto upcaster = std::find_if(mutator.upcasters.begin(), mutator.upcasters.end(),
                                     [&](const UpcasterDef& one) { return one.from_version == version; });
  if (upcaster == mutator.upcasters.end())
    return impossible(mutator, version, "there is no upcaster from that version");
  auto old = decode_arguments(upcaster->arguments, args);
  if (!old) return invalid(old.error());
  auto converted = call_upcast(*upcaster, *old);
  if (!converted) {
    if (thrown) *thrown = converted.error().message;
    return impossible(mutator, version, "the upcaster failed");
  }
  if (!*converted) return impossible(mutator, version, "the upcaster says that it cannot be said any more");
  // What an app's own code made is looked at as what comes from outside.
  auto written = parse_json(encode_arguments(mutator, **converted));
  auto values =
      written ? decode_arguments(mutator, *written) : Result<MutatorDef::Values>(tl::unexpected(written.error()));
  if (!values) return impossible(mutator, version, "what the upcaster made does not fit: " + values.error().message);
  return std::move(*values);
}

}  // namespace nizhal
