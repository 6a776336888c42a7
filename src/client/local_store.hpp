// The device's file: the app's tables beside the control tables (outbox, undo, staged pages, dead letters, meta).
// Everything that must be atomic on a device happens here in one SQLite transaction: a mutation with its outbox entry
// (S1), the applying of a pull with undo, settle and re-run (S3).
//
// Threads: all members lock; callable from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/store.hpp>

#include "base/environment.hpp"
#include "base/ids.hpp"
#include "base/log.hpp"
#include "client/file_facts.hpp"
#include "client/store_locks.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"

namespace nizhal::client {

struct LocalStoreOptions {
  std::string path;
  std::shared_ptr<const CompiledDomain> domain;
  Actor actor;  // empty user_id: the one the store remembers
  std::string server;
  Durability durability = Durability::Process;
  OtherActor other_actor = OtherActor::Refuse;
  bool has_target = false;  // it syncs with the app's own backend: there is where rows can come from again
  Coverage coverage = Coverage::everything;
  std::shared_ptr<StoreLocks> locks = {};  // nothing: no other handle can have the file open
  SyncMode mode = SyncMode::local_first;   // of mutations that do not say another
};

class CommitListener;

/// How far a mutation has come; nothing: this file knows nothing of it.
struct Standing {
  std::optional<Tier> tier;
  Outcome outcome;          // from on_server on
  bool is_dropped = false;  // withdrawn: the server knows nothing of it
};

class LocalStore {
 public:
  static Result<std::unique_ptr<LocalStore>> open(LocalStoreOptions options, Clock& clock, Random& random, Log log);
  ~LocalStore();

  const CompiledDomain& domain() const;
  Actor actor() const;
  std::string server() const;
  std::string client_id() const;
  SyncMode mode() const;

  // The app's side
  Result<Ticket> mutate(std::string_view name, const MutatorDef::Values& values, const MutateOptions& options);
  /// See Store::undo.
  Result<Ticket> undo(std::string_view client_mutation_id, const MutateOptions& options);
  Result<std::vector<Row>> query(const QuerySpec& query);
  Result<SqlResult> sql(std::string_view text);
  Result<std::vector<PendingMutation>> outbox();
  Result<std::vector<DeadLetter>> dead_letters();
  Result<Ticket> retry(std::int64_t dead_letter, std::optional<std::string_view> args);
  Result<void> discard(std::int64_t dead_letter);
  Result<std::vector<LostEdit>> conflicts();
  Result<void> dismiss_conflict(std::int64_t id);
  struct Counts {
    std::uint64_t pending = 0, dead_letters = 0, conflicts = 0;
  };
  Result<Counts> counts();
  /// What the status tells of the file, as of the last commit. Waits for no transaction, unless another process wrote.
  FileFacts facts();
  /// What became of a mutation.
  Result<Standing> standing(std::string_view client_mutation_id);
  /// Its caller waited for the server and does no longer: its time is up, or the machine is offline. True when it is
  /// gone: it was never sent. False: it stays until the server says what became of it.
  Result<bool> withdraw(std::string_view client_mutation_id, const Outcome& why);
  /// The same for all that were never sent and whose caller waits here. Returns how many are gone.
  Result<std::uint64_t> withdraw_awaited(const Outcome& why);
  /// Its caller was told what became of it and waits no longer: a refusal need not be told again by a dead letter.
  Result<void> take_ending(std::string_view client_mutation_id);
  /// Writes something small, to see whether the file can be written again (S11).
  Result<void> try_storage();
  std::optional<Timestamp> last_synced();
  std::int64_t clock_offset_ms();

  // Which buckets the device holds; see subscriptions.hpp.
  Result<void> subscribe(std::string_view rule, const RuleParameters& parameters);
  Result<void> unsubscribe(std::string_view rule, const RuleParameters& parameters, std::chrono::seconds keep);
  Result<std::vector<BucketSubscription>> subscriptions();

  /// Hears of every commit from now on. Remove it before it goes.
  void add_listener(CommitListener& listener);
  void remove_listener(CommitListener& listener);

  // Other handles of the file (S8)
  /// Nothing: there can be none.
  StoreLocks* locks() const;
  /// Looks whether another process, or another handle in this one, wrote to the file: then what is cached is read
  /// again, and the listeners are told a commit of which anything is possible. Cheap when nobody did. Gives how often
  /// others were noticed so far, by this or by any other call.
  Result<std::uint64_t> notice_others();
  /// Asks the handle that syncs for a sync; gives the request's number.
  Result<std::int64_t> ask_for_sync();
  std::optional<std::int64_t> outstanding_sync_request();
  Result<void> answer_sync_requests(std::int64_t up_to, const Result<SyncReport>& report);
  std::optional<Result<SyncReport>> answer_to_sync_request(std::int64_t request);
  /// How the handle that syncs stands, for those that do not.
  struct HolderStatus {
    bool is_online = false;
    std::string last_error;
    bool operator==(const HolderStatus&) const = default;
  };
  Result<void> tell_holder_status(const HolderStatus& status);
  HolderStatus holder_status();

  // The sync's side
  /// The next batch to send, mutation ids given durably to those that are new (S5). Empty: nothing to send.
  Result<protocol::PushRequest> next_push(std::size_t mutations_max, std::size_t body_bytes_max);
  struct PushSettled {
    std::uint64_t applied = 0, rejected = 0;
    bool send_again = false;   // at once: ids were renumbered, the client id changed, more is pending
    bool retry_later = false;  // the server asked for time
  };
  /// Settles what the reply tells: outcomes, dead letters with their dependents, id maps, clock skew, renumbering.
  Result<PushSettled> settle_push(const protocol::PushRequest& sent, const protocol::PushReply& reply);
  /// A batch that got no usable reply: counts the attempt, keeps every write.
  Result<void> note_push_failure(const protocol::PushRequest& sent, std::string_view reason);
  /// A batch that the server did nothing of, for sure: what of it is waited for can still be withdrawn.
  Result<void> note_not_handled(const protocol::PushRequest& sent);
  /// A single mutation that the server cannot take at all (400, 413): a dead letter.
  Result<void> dead_letter(std::string_view client_mutation_id, std::string_view code, std::string_view message);

  /// The store took a new client id, and what was pending then is not settled: a pull before that would show it twice.
  Result<bool> is_push_first();
  Result<protocol::PullRequest> next_pull(std::size_t limit);
  struct PullApplied {
    bool complete = false;          // the pull's last page came and is applied
    std::uint64_t rows = 0;         // rows and removals of this page
    bool outcome_wanted = false;    // something is covered whose outcome is unknown: push again
    bool send_again = false;        // the server was put back: what it forgot and is pending here is to be pushed
    bool identity_changed = false;  // the store was a clone and took a new client id; complete only if none is pending
    std::optional<protocol::PullProgress> progress;
  };
  /// Stages a page, or applies it: all staged pages at once when the pull is complete; page by page during the
  /// first sync of an empty store.
  Result<PullApplied> apply_page(const protocol::PullRequest& sent, const protocol::PullPage& page);

  /// What rebases cost so far, in runs, so that tests can bound it.
  struct RebaseWork {
    std::uint64_t whole = 0;   // rebases that took back everything
    std::uint64_t undone = 0;  // mutations taken back one by one
    std::uint64_t rerun = 0;   // runs of pending mutations
  };
  RebaseWork rebase_work() const;

  /// How long until a subscription that was given up runs out; zero: it has. Nothing: there is none.
  std::optional<std::chrono::milliseconds> next_eviction();

  // For a backend in the place of the server; see target_side.hpp.
  Result<MutationId> known_through();
  Result<std::string> resolve_ids(std::string_view mutator, const json::value& args);

  struct State;

 private:
  friend class LiveQueries;
  explicit LocalStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::client
