#include "client/identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/ids.hpp"
#include "base/json.hpp"

namespace nizhal::client::identity {
namespace {

constexpr const char* kSuffixes[] = {"", "-wal", "-shm"};

std::string actor_text(const Actor& actor) {
  return to_text(json::object{{"userId", actor.user_id}, {"ownerId", actor.owner_id}, {"claims", actor.claims}});
}

Result<void> set_if_changed(Meta& meta, std::string_view key, const std::string& value) {
  if (meta.get(key) == value) return {};
  return meta.set(key, value);
}

}  // namespace

std::string describe(const Actor& actor) {
  return fmt::format("user \"{}\" of owner \"{}\"", actor.user_id, actor.owner_id);
}

Result<Match> match(const StoreState& state) {
  const bool is_given = !state.options.actor.user_id.empty();
  const bool is_stored = !state.meta->get(meta_key::kActor).empty();
  if (!is_given && !is_stored)
    return failure(ErrorCode::usage,
                   fmt::format("\"{}\" knows no actor yet; the first open must name one (a token or an actor)",
                               state.options.path));
  if (!is_given || !is_stored) return Match::same;
  return same_principal(state.options.actor, state.actor) ? Match::same : Match::another;
}

Result<void> remember(StoreState& state) {
  Meta& meta = *state.meta;
  if (!state.options.actor.user_id.empty()) {
    if (auto kept = set_if_changed(meta, meta_key::kActor, actor_text(state.options.actor)); !kept) return kept;
  }
  if (!state.options.server.empty()) {
    if (auto kept = set_if_changed(meta, meta_key::kServer, state.options.server); !kept) return kept;
  }
  if (meta.get(meta_key::kClientId).empty()) {
    if (auto kept = meta.set(meta_key::kClientId, random_uuid(state.random)); !kept) return kept;
  }
  state.load_from_meta();
  return {};
}

Result<void> archive(const std::string& path, Timestamp now, const Log& log) {
  std::string time = to_iso8601(now);
  std::erase_if(time, [](char c) { return c == ':' || c == '-'; });
  const std::string target = fmt::format("{}.archived-{}", path, time);
  const auto move = [&](const char* suffix) -> Result<void> {
    std::error_code error;
    if (!std::filesystem::exists(path + suffix, error)) return {};
    std::filesystem::rename(path + suffix, target + suffix, error);
    if (!error) return {};
    return failure(ErrorCode::io_error, fmt::format("\"{}\" cannot be moved to \"{}\": {}", path + suffix,
                                                    target + suffix, error.message()));
  };
  // The log first: closing leaves one when the disk is full. It holds the newest writes, and a new file made beside it
  // would be its end.
  if (auto moved = move("-wal"); !moved) return moved;
  std::error_code ignored;
  if (auto moved = move(""); !moved) {
    // If that fails too, the archive has the log, and the error says where it is.
    std::filesystem::rename(target + "-wal", path + "-wal", ignored);
    return moved;
  }
  std::filesystem::remove(path + "-shm", ignored);  // made anew from the log
  log.warning("storage", fmt::format("\"{}\" belongs to another actor and is kept as \"{}\"", path, target));
  return {};
}

Result<void> discard(const std::string& path, const Log& log) {
  for (const char* suffix : kSuffixes) {
    std::error_code error;
    std::filesystem::remove(path + suffix, error);
    if (error)
      return failure(ErrorCode::io_error, fmt::format("\"{}\" cannot be deleted: {}", path + suffix, error.message()));
  }
  log.warning("storage", fmt::format("\"{}\" belonged to another actor and was deleted", path));
  return {};
}

}  // namespace nizhal::client::identity
