#include "client/store_state.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/json.hpp"
#include "client/rebase.hpp"

namespace nizhal::client {

const char* to_string(SyncState state) {
  switch (state) {
    case SyncState::empty:
      return "empty";
    case SyncState::running:
      return "running";
    case SyncState::done:
      return "done";
  }
  return "empty";
}

SyncState parse_sync_state(std::string_view text) {
  if (text == "running") return SyncState::running;
  if (text == "done") return SyncState::done;
  return SyncState::empty;
}

/// Of the entry that was made last, if it is still to be sent: those that are not are below the stamp in nizhal_meta.
static Result<std::optional<std::string>> newest_stamp(sqlite::Connection& connection) {
  return connection.query_text(
      "SELECT hlc FROM nizhal_outbox WHERE covered = 0 AND outcome_known = 0 ORDER BY ordinal DESC LIMIT 1");
}

Timestamp LocalStore::State::now() {
  return Timestamp{clock.now().microseconds + meta->integer(meta_key::kClockOffset) * 1000};
}

Result<Hlc> LocalStore::State::tick() {
  is_stamp_kept = false;
  return hybrid_clock->tick(now());
}

Result<std::shared_ptr<const Commit>> LocalStore::State::finish_commit() {
  if (auto settled = settle_marks(*this); !settled) return tl::unexpected(settled.error());
  if (!std::exchange(is_stamp_kept, true)) {
    const std::string last = hybrid_clock->last().text();
    if (last != meta->get(meta_key::kLastHlc))
      if (auto kept = meta->set(meta_key::kLastHlc, last); !kept) return tl::unexpected(kept.error());
  }
  auto finished = changes.finish(*connection);
  if (!finished) return tl::unexpected(finished.error());
  auto commit = std::make_shared<Commit>();
  commit->number = commits + 1;
  commit->changes = std::move(*finished);
  commit->settlements = std::exchange(settlements, {});
  commit->lost_edits = std::exchange(lost_edits, {});
  return commit;
}

void LocalStore::State::publish(std::shared_ptr<const Commit> commit) {
  commits = commit->number;
  tally.committed();
  refresh_facts();
  for (CommitListener* listener : listeners) listener->committed(commit);
}

Result<void> LocalStore::State::count() {
  auto version = connection->query_integer("PRAGMA data_version");
  if (!version) return tl::unexpected(version.error());
  if (tally.is_known() && counted_version == version->value_or(0)) return {};
  auto pending =
      connection->query_integer(fmt::format("SELECT count(*) FROM nizhal_outbox WHERE name <> '{}'", protocol::kSkip));
  if (!pending) return tl::unexpected(pending.error());
  auto dead = connection->query_integer("SELECT count(*) FROM nizhal_dead_letter");
  if (!dead) return tl::unexpected(dead.error());
  auto conflicts = connection->query_integer("SELECT count(*) FROM nizhal_conflict WHERE dismissed = 0");
  if (!conflicts) return tl::unexpected(conflicts.error());
  tally.counted({pending->value_or(0), dead->value_or(0), conflicts->value_or(0)});
  counted_version = version->value_or(0);
  return {};
}

void LocalStore::State::refresh_facts() {
  const std::lock_guard lock(facts_mutex);
  if (meta->take_changed()) {
    facts.actor = actor;
    facts.client_id = meta->get(meta_key::kClientId);
    facts.last_synced = parse_iso8601(meta->get(meta_key::kLastSynced));
    facts.clock_offset_ms = meta->integer(meta_key::kClockOffset);
  }
  facts.pending = tally.pending();
  facts.dead_letters = tally.dead_letters();
  facts.conflicts = tally.conflicts();
  are_counts_current = tally.is_known();
}

void LocalStore::State::note_begin() { writes_before = sqlite3_total_changes64(connection->handle()); }

void LocalStore::State::note_success() {
  // One that wrote nothing says nothing of the file.
  if (sqlite3_total_changes64(connection->handle()) == writes_before) return;
  {
    const std::lock_guard lock(facts_mutex);
    if (std::exchange(facts.storage, StoreStatus::Storage::ok) == StoreStatus::Storage::ok) return;
    facts.storage_error.clear();
  }
  for (CommitListener* listener : listeners) listener->storage_changed();
}

void LocalStore::State::note_failure(const Error& error) {
  const auto storage = storage_of(error.code);
  if (!storage) return;
  {
    const std::lock_guard lock(facts_mutex);
    if (facts.storage == *storage && facts.storage_error == error.message) return;
    facts.storage = *storage;
    facts.storage_error = error.message;
  }
  for (CommitListener* listener : listeners) listener->storage_changed();
}

Result<void> LocalStore::State::notice_others() {
  auto version = connection->query_integer("PRAGMA data_version");
  if (!version) return tl::unexpected(version.error());
  const std::int64_t now = version->value_or(0);
  if (data_version == now) return {};
  footprints.forget();
  tally.forget();
  changes.note_others();
  if (auto loaded = meta->load(); !loaded) return loaded;
  data_version = now;  // only now: what could not be read must be looked at again
  ++others_wrote;
  load_from_meta();
  return {};
}

void LocalStore::State::load_from_meta() {
  const std::string node = hlc_node(meta->get(meta_key::kClientId));
  Hlc last = parse_hlc(meta->get(meta_key::kLastHlc)).value_or(Hlc{0, 0, node});
  if (auto stamp = newest_stamp(*connection)) {
    auto parsed = parse_hlc(stamp->value_or(""));
    if (parsed && last < *parsed) last = std::move(*parsed);
  } else {
    log.error("storage", "nizhal_outbox cannot be read: " + stamp.error().message);
    if (hybrid_clock && last < hybrid_clock->last()) last = hybrid_clock->last();
  }
  hybrid_clock.emplace(node, std::move(last));
  has_id_map.reset();
  actor = Actor{};
  if (const auto stored = parse_json(meta->get(meta_key::kActor)); stored) {
    actor.user_id = std::string(string_member(*stored, "userId").value_or(""));
    actor.owner_id = std::string(string_member(*stored, "ownerId").value_or(""));
    actor.claims = std::string(string_member(*stored, "claims").value_or(""));
  }
}

}  // namespace nizhal::client
