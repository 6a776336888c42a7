// Arguments of an older version into those of today (S10): by the device when the app was upgraded, and by the server
// for what older apps send.
//
// The fact that must not break: arguments that were written for another declaration are never read by today's.
#pragma once

#include <nizhal/mutator.hpp>
#include <nizhal/outcome.hpp>

#include "base/json.hpp"

namespace nizhal {

namespace upcast_code {
inline constexpr const char* kImpossible = "cannot_upcast";    // no upcaster, or it says that it cannot be said
inline constexpr const char* kNewer = "unknown_args_version";  // of a newer app than this one
inline constexpr const char* kInvalid = "invalid_args";        // they do not fit their own version's declaration
}  // namespace upcast_code

/// The values of `args`, which were written for argument version `version`, as today's. The other way out says why not,
/// under one of the codes above; what an upcaster threw goes to `thrown`, for the log.
using UpcastResult = tl::expected<MutatorDef::Values, Outcome>;
UpcastResult decode_arguments_of(const MutatorDef& mutator, int version, const json::value& args,
                                 std::string* thrown = nullptr);

}  // namespace nizhal
