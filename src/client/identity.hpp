// Whose store this is (S9) and who this device is to the server (S19).
#pragma once

#include "client/store_state.hpp"

namespace nizhal::client::identity {

enum class Match {
  same,     // it belongs to the given actor, or to nobody yet
  another,  // it belongs to another principal
};
/// Compares the stored actor with the given one. Errors: usage, when neither names one.
[[nodiscard]] Result<Match> match(const StoreState& state);
/// Writes down actor, server and client id, in the caller's transaction; only what changed. An empty option leaves what
/// the store remembers.
[[nodiscard]] Result<void> remember(StoreState& state);
/// "user u1 of owner shop-1"
std::string describe(const Actor& actor);

/// Moves the closed file and what SQLite keeps beside it to `<path>.archived-<time>`.
[[nodiscard]] Result<void> archive(const std::string& path, Timestamp now, const Log& log);
/// Deletes the closed file and what SQLite keeps beside it.
[[nodiscard]] Result<void> discard(const std::string& path, const Log& log);

}  // namespace nizhal::client::identity
