// What the stages of the device's store share: the open file, its facts, the domain, the given outside. Stages take it
// by reference and never include each other; LocalStore holds the lock around every call.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/change_recorder.hpp"
#include "client/commit.hpp"
#include "client/file_facts.hpp"
#include "client/footprints.hpp"
#include "client/local_store.hpp"
#include "client/meta.hpp"
#include "domain/hlc.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::client {

/// How far the first sync is (meta `first_sync`).
enum class SyncState {
  empty,    // nothing was ever pulled
  running,  // pages of the first sync are applied as they come
  done,     // the base is a whole snapshot; pages are staged from now on
};
const char* to_string(SyncState state);
SyncState parse_sync_state(std::string_view text);

/// What the open transaction changes under the pending mutations; see rebase.hpp.
struct RebaseMarks {
  bool everything = false;
  Footprints::Seeds seeds;
  std::vector<RowId> mapped;
  bool is_empty() const {
    return !everything && seeds.leaving.empty() && seeds.running_again.empty() && mapped.empty();
  }
};

struct LocalStore::State {
  State(LocalStoreOptions options_in, Clock& clock_in, Random& random_in, Log log_in)
      : options(std::move(options_in)), clock(clock_in), random(random_in), log(std::move(log_in)) {}

  std::mutex mutex;
  LocalStoreOptions options;
  Clock& clock;
  Random& random;
  Log log;
  std::unique_ptr<sqlite::Connection> connection;
  std::optional<Meta> meta;
  std::optional<HybridClock> hybrid_clock;
  Actor actor;
  std::int64_t last_write_us = 0;  // monotonic, of the last committed transaction
  std::int64_t data_version = -1;  // changes when another connection writes this file
  std::uint64_t others_wrote = 0;  // how often that was noticed
  // The clock's last stamp is in nizhal_meta, or in the newest outbox entry while that is still to be sent: so a
  // mutation writes it once. False: the transaction must see to it.
  bool is_stamp_kept = true;
  std::optional<bool> has_id_map;  // nizhal_id_map has rows, if that is known
  Footprints footprints;           // of the pending mutations
  RebaseMarks rebase_marks;        // of the open transaction
  LocalStore::RebaseWork rebase_work;
  ChangeRecorder changes;               // of the open transaction
  std::vector<Settlement> settlements;  // of the open transaction
  std::vector<LostEdit> lost_edits;     // the same
  std::string misfit;                   // why an update that a pull brings does not fit the rows here
  bool is_after_misfit = false;         // of the pulls in hand: the last one was given up because of that
  std::uint64_t commits = 0;            // of this handle
  std::vector<CommitListener*> listeners;
  Tally tally;
  std::int64_t counted_version = -1;           // data_version that `tally` was counted at
  std::set<std::string, std::less<>> awaited;  // client mutation ids whose caller waits for the server, in this process
  std::int64_t writes_before = 0;              // the connection's changed rows when the open transaction began

  mutable std::mutex facts_mutex;  // guards the next; taken last
  FileFacts facts;
  bool are_counts_current = false;  // of `facts`

  std::mutex reader_mutex;                     // guards the next; never taken together with `mutex`
  std::unique_ptr<sqlite::Connection> reader;  // read-only, for plain SQL; opened at first use

  const CompiledDomain& domain() const { return *options.domain; }
  /// The device's clock, corrected by what the server said.
  Timestamp now();
  /// The next stamp, written down with the transaction: in the outbox entry that bears it, else in nizhal_meta.
  Result<Hlc> tick();
  /// Reads the hybrid clock and the actor again from meta.
  void load_from_meta();
  /// Before a commit: the rebase that it asked for, and what the transaction comes to, for the listeners.
  Result<std::shared_ptr<const Commit>> finish_commit();
  /// After it.
  void publish(std::shared_ptr<const Commit> commit);
  /// Counts what is pending and dead if that is not known. Outside a transaction.
  Result<void> count();
  /// What the status tells of the file is as the file is now.
  void refresh_facts();
  void note_begin();
  void note_success();
  /// Something failed: if it was the file's doing, the status says so until the next write goes well (S11).
  void note_failure(const Error& error);
  /// What another handle wrote since the last look replaces what is cached. The next commit tells the listeners.
  /// Inside a write transaction what it read stays true to its end; outside of one, others may write at once again.
  Result<void> notice_others();
};
using StoreState = LocalStore::State;

/// Runs `work` (→ Result<T>) in one write transaction. A failure, also the commit's, rolls everything back.
template <class Work>
auto in_transaction(StoreState& state, Work work) -> decltype(work()) {
  using Answer = decltype(work());
  auto transaction = sqlite::Transaction::begin(*state.connection, sqlite::Transaction::Mode::immediate);
  if (!transaction) {
    state.note_failure(transaction.error());
    return Answer(tl::unexpected(transaction.error()));
  }
  std::optional<sqlite::Transaction> open(std::move(*transaction));
  state.note_begin();
  state.meta->begin();
  auto noticed = state.notice_others();
  state.footprints.begin();
  state.is_stamp_kept = true;
  Answer answer = noticed ? work() : Answer(tl::unexpected(noticed.error()));
  std::shared_ptr<const Commit> commit;
  if (answer) {
    auto finished = state.finish_commit();
    Result<void> done;
    if (finished) {
      commit = std::move(*finished);
      done = state.meta->flush();
      if (done) done = open->commit();
    } else {
      done = tl::unexpected(finished.error());
    }
    if (!done) answer = Answer(tl::unexpected(done.error()));
  }
  open.reset();
  if (answer) {
    state.last_write_us = state.clock.monotonic().count();
    state.note_success();
    state.publish(std::move(commit));
    return answer;
  }
  if (commit && commit->changes.is_unknown) state.changes.note_others();
  state.changes.roll_back();
  state.settlements.clear();
  state.lost_edits.clear();
  state.rebase_marks = {};
  // The rows are back as they were, what is known of the pending mutations is not.
  if (state.footprints.is_changed()) state.footprints.forget();
  state.meta->roll_back();
  state.load_from_meta();
  state.tally.rolled_back();
  state.note_failure(answer.error());
  return answer;
}

}  // namespace nizhal::client
