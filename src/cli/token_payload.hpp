// The actor that a token speaks for, as a device needs it: decoded, not verified. Only the server can verify.
#pragma once

#include <string_view>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

namespace nizhal::cli {

/// The error (usage) says what is wrong without repeating the token.
Result<Actor> actor_of_token(std::string_view token);

}  // namespace nizhal::cli
