#include "client/local_store.hpp"

#include <fmt/format.h>

#include "base/reached.hpp"
#include "client/applier.hpp"
#include "client/authoritative.hpp"
#include "client/conflicts.hpp"
#include "client/dead_letters.hpp"
#include "client/identity.hpp"
#include "client/inverses.hpp"
#include "client/mutate.hpp"
#include "client/outbox.hpp"
#include "client/puller.hpp"
#include "client/pusher.hpp"
#include "client/rebase.hpp"
#include "client/sql_reader.hpp"
#include "client/standing.hpp"
#include "client/store_schema.hpp"
#include "client/store_state.hpp"
#include "client/subscriptions.hpp"
#include "client/sync_requests.hpp"
#include "client/upcasts.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client {
namespace {

Result<void> open_file(StoreState& state) {
  sqlite::OpenOptions options;
  options.check = check_is_store;
  options.full_sync = state.options.durability == Durability::Full;
  auto connection = sqlite::Connection::open(state.options.path, options);
  if (!connection) return tl::unexpected(connection.error());
  state.meta.reset();
  state.connection = std::move(*connection);
  if (auto prepared = prepare_control_tables(state); !prepared) return prepared;
  state.load_from_meta();
  return {};
}

/// Counts among those that have the file open, where that can be known. Whoever replaces the file waits for them.
Result<void> enter(StoreState& state) {
  if (!state.options.locks) return {};
  auto entered = state.options.locks->enter();
  if (entered || entered.error().code == ErrorCode::busy) return entered;
  state.log.warning("storage", entered.error().message);
  return {};
}

/// Before the file is replaced: it must not be pulled from under another handle, whose writes would go nowhere.
Result<void> have_alone(StoreState& state) {
  if (!state.options.locks) return {};
  auto alone = state.options.locks->try_alone();
  if (!alone) return tl::unexpected(alone.error());
  if (*alone) return {};
  return failure(ErrorCode::busy,
                 fmt::format("\"{}\" belongs to {} and is open elsewhere, in another process or in this one; close it "
                             "there, then open it again. Nothing was touched",
                             state.options.path, identity::describe(state.actor)));
}

/// The file is this actor's after this, or the store is not opened (S9).
Result<void> settle_identity(StoreState& state) {
  auto match = identity::match(state);
  if (!match) return tl::unexpected(match.error());
  if (*match == identity::Match::same) return {};
  reached(state.options.other_actor == OtherActor::Refuse ? Mark::other_actor_refused : Mark::other_actor_moved_away);
  if (state.options.other_actor == OtherActor::Refuse)
    return failure(
        ErrorCode::identity_mismatch,
        fmt::format("\"{}\" belongs to {}, not to {}; open another file, or let StoreOptions::other_actor archive "
                    "or discard it",
                    state.options.path, identity::describe(state.actor), identity::describe(state.options.actor)));
  if (auto alone = have_alone(state); !alone) return alone;
  // Closing the last connection writes everything into the one file.
  state.meta.reset();
  state.connection.reset();
  const auto moved = state.options.other_actor == OtherActor::Archive
                         ? identity::archive(state.options.path, state.clock.now(), state.log)
                         : identity::discard(state.options.path, state.log);
  if (auto entered = enter(state); !entered) return entered;
  if (!moved) return moved;
  return open_file(state);
}

/// server_authoritative: its caller is taken to wait until it is withdrawn or told.
Result<Ticket> with_waiter(StoreState& state, Result<Ticket> ticket, const MutateOptions& options) {
  if (ticket && authoritative::is_asked(state, options)) state.awaited.insert(ticket->client_mutation_id);
  return ticket;
}

/// A failure to read is the file's doing as much as one to write.
template <class T>
Result<T> noted(StoreState& state, Result<T> result) {
  if (!result) state.note_failure(result.error());
  return result;
}

}  // namespace

LocalStore::LocalStore(std::unique_ptr<State> state) : state_(std::move(state)) {}

LocalStore::~LocalStore() {
  const std::lock_guard lock(state_->mutex);
  if (!state_->meta || !state_->meta->has_lazy()) return;
  // The cursor of idle pulls. Losing it would only cost repeats, so a full disk is no reason to complain loudly.
  if (auto kept = in_transaction(*state_, [] { return Result<void>(); }); !kept)
    state_->log.info("storage", "the cursor was not written at close: " + kept.error().message);
}

Result<std::unique_ptr<LocalStore>> LocalStore::open(LocalStoreOptions options, Clock& clock, Random& random, Log log) {
  auto state = std::make_unique<State>(std::move(options), clock, random, std::move(log));
  if (auto entered = enter(*state); !entered) return tl::unexpected(entered.error());
  if (auto opened = open_file(*state); !opened) return tl::unexpected(opened.error());
  if (auto settled = settle_identity(*state); !settled) return tl::unexpected(settled.error());
  auto prepared = in_transaction(*state, [&]() -> Result<void> {
    if (auto tables = prepare_app_tables(*state); !tables) return tables;
    if (auto upcast = upcasts::bring_up_to_date(*state); !upcast) return upcast;
    return identity::remember(*state);
  });
  if (!prepared) return tl::unexpected(prepared.error());
  if (!state->meta->get(meta_key::kStagedCursor).empty()) reached(Mark::staged_pages_found);
  if (auto counted = state->count(); !counted) return tl::unexpected(counted.error());
  state->refresh_facts();
  return std::unique_ptr<LocalStore>(new LocalStore(std::move(state)));
}

const CompiledDomain& LocalStore::domain() const { return state_->domain(); }

Actor LocalStore::actor() const {
  const std::lock_guard lock(state_->mutex);
  return state_->actor;
}

std::string LocalStore::server() const {
  const std::lock_guard lock(state_->mutex);
  return state_->meta->get(meta_key::kServer);
}

std::string LocalStore::client_id() const {
  const std::lock_guard lock(state_->mutex);
  return state_->meta->get(meta_key::kClientId);
}

SyncMode LocalStore::mode() const { return state_->options.mode; }

Result<Ticket> LocalStore::mutate(std::string_view name, const MutatorDef::Values& values,
                                  const MutateOptions& options) {
  const std::lock_guard lock(state_->mutex);
  return with_waiter(*state_, client::mutate(*state_, name, values, options), options);
}

Result<Ticket> LocalStore::undo(std::string_view client_mutation_id, const MutateOptions& options) {
  const std::lock_guard lock(state_->mutex);
  return with_waiter(
      *state_, in_transaction(*state_, [&] { return inverses::undo(*state_, client_mutation_id, options); }), options);
}

Result<std::vector<Row>> LocalStore::query(const QuerySpec& query) {
  const std::lock_guard lock(state_->mutex);
  const auto own =
      with_tables(query, [&](std::string_view name) { return state_->domain().domain().find_table(name); });
  if (!own) return tl::unexpected(own.error());
  return sqlite::select_rows(*state_->connection, *own);
}

Result<SqlResult> LocalStore::sql(std::string_view text) {
  const std::lock_guard lock(state_->reader_mutex);
  return read_sql(*state_, text);
}

Result<std::vector<PendingMutation>> LocalStore::outbox() {
  const std::lock_guard lock(state_->mutex);
  auto entries = outbox::list(*state_, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  std::vector<PendingMutation> pending;
  for (outbox::Entry& entry : *entries) {
    if (entry.is_skip()) continue;
    PendingMutation mutation;
    mutation.client_mutation_id = std::move(entry.client_mutation_id);
    if (entry.mutation_id) mutation.mutation_id = number(*entry.mutation_id);
    mutation.name = std::move(entry.name);
    mutation.args = std::move(entry.args);
    mutation.attempts = static_cast<std::uint64_t>(entry.attempts);
    mutation.last_error = std::move(entry.last_error);
    mutation.covered = entry.covered;
    mutation.depends_on = std::move(entry.depends_on);
    mutation.dependency_key = std::move(entry.dependency_key);
    pending.push_back(std::move(mutation));
  }
  return pending;
}

Result<std::vector<DeadLetter>> LocalStore::dead_letters() {
  const std::lock_guard lock(state_->mutex);
  return dead_letters::list(*state_);
}

Result<Ticket> LocalStore::retry(std::int64_t dead_letter, std::optional<std::string_view> args) {
  const std::lock_guard lock(state_->mutex);
  return in_transaction(*state_, [&] { return dead_letters::retry(*state_, dead_letter, args); });
}

Result<void> LocalStore::discard(std::int64_t dead_letter) {
  const std::lock_guard lock(state_->mutex);
  return in_transaction(*state_, [&] { return dead_letters::discard(*state_, dead_letter); });
}

Result<std::vector<LostEdit>> LocalStore::conflicts() {
  const std::lock_guard lock(state_->mutex);
  return conflicts::list(*state_);
}

Result<void> LocalStore::dismiss_conflict(std::int64_t id) {
  const std::lock_guard lock(state_->mutex);
  return in_transaction(*state_, [&] { return conflicts::dismiss(*state_, id); });
}

Result<LocalStore::Counts> LocalStore::counts() {
  const std::lock_guard lock(state_->mutex);
  if (auto counted = state_->count(); !counted) return tl::unexpected(counted.error());
  return Counts{state_->tally.pending(), state_->tally.dead_letters(), state_->tally.conflicts()};
}

FileFacts LocalStore::facts() {
  std::unique_lock lock(state_->mutex, std::defer_lock);
  bool is_current = false;
  {
    const std::lock_guard facts_lock(state_->facts_mutex);
    is_current = state_->are_counts_current;
  }
  // What is current is told even while a transaction runs; only what another process did must be looked up.
  if (!is_current) {
    lock.lock();
  } else if (!lock.try_lock()) {
    const std::lock_guard facts_lock(state_->facts_mutex);
    return state_->facts;
  }
  if (auto counted = state_->count(); !counted) state_->log.error("storage", counted.error().message);
  state_->refresh_facts();
  const std::lock_guard facts_lock(state_->facts_mutex);
  return state_->facts;
}

Result<Standing> LocalStore::standing(std::string_view client_mutation_id) {
  const std::lock_guard lock(state_->mutex);
  return standing_of(*state_, client_mutation_id);
}

Result<bool> LocalStore::withdraw(std::string_view client_mutation_id, const Outcome& why) {
  const std::lock_guard lock(state_->mutex);
  if (const auto it = state_->awaited.find(client_mutation_id); it != state_->awaited.end()) state_->awaited.erase(it);
  return in_transaction(*state_, [&]() -> Result<bool> {
    auto entry = outbox::find(*state_, client_mutation_id);
    if (!entry) return tl::unexpected(entry.error());
    if (!*entry || (*entry)->is_skip()) return false;
    return authoritative::withdraw(*state_, **entry, why);
  });
}

Result<std::uint64_t> LocalStore::withdraw_awaited(const Outcome& why) {
  const std::lock_guard lock(state_->mutex);
  if (state_->awaited.empty()) return 0;
  return in_transaction(*state_, [&]() -> Result<std::uint64_t> {
    std::uint64_t gone = 0;
    for (const std::string& id : state_->awaited) {
      auto entry = outbox::find(*state_, id);
      if (!entry) return tl::unexpected(entry.error());
      if (!*entry || (*entry)->is_skip()) continue;
      auto withdrawn = authoritative::withdraw(*state_, **entry, why);
      if (!withdrawn) return tl::unexpected(withdrawn.error());
      gone += *withdrawn ? 1 : 0;
    }
    return gone;
  });
}

Result<void> LocalStore::take_ending(std::string_view client_mutation_id) {
  const std::lock_guard lock(state_->mutex);
  if (const auto it = state_->awaited.find(client_mutation_id); it != state_->awaited.end()) state_->awaited.erase(it);
  auto is_there = dead_letters::is_there(*state_, client_mutation_id);
  if (!is_there) return tl::unexpected(is_there.error());
  if (!*is_there) return {};
  return in_transaction(*state_, [&] { return dead_letters::take_refusal(*state_, client_mutation_id); });
}

Result<void> LocalStore::try_storage() {
  const std::lock_guard lock(state_->mutex);
  return in_transaction(*state_, [&] { return state_->meta->set(meta_key::kStorageTried, to_iso8601(state_->now())); });
}

std::optional<Timestamp> LocalStore::last_synced() {
  const std::lock_guard lock(state_->mutex);
  return parse_iso8601(state_->meta->get(meta_key::kLastSynced));
}

std::int64_t LocalStore::clock_offset_ms() {
  const std::lock_guard lock(state_->mutex);
  return state_->meta->integer(meta_key::kClockOffset);
}

LocalStore::RebaseWork LocalStore::rebase_work() const {
  const std::lock_guard lock(state_->mutex);
  return state_->rebase_work;
}

void LocalStore::add_listener(CommitListener& listener) {
  const std::lock_guard lock(state_->mutex);
  state_->listeners.push_back(&listener);
}

void LocalStore::remove_listener(CommitListener& listener) {
  const std::lock_guard lock(state_->mutex);
  std::erase(state_->listeners, &listener);
}

StoreLocks* LocalStore::locks() const { return state_->options.locks.get(); }

Result<std::uint64_t> LocalStore::notice_others() {
  const std::lock_guard lock(state_->mutex);
  if (auto noticed = state_->notice_others(); !noticed) return tl::unexpected(noticed.error());
  if (state_->changes.has_noted_others()) {
    auto commit = state_->finish_commit();
    if (!commit) return tl::unexpected(commit.error());
    state_->publish(std::move(*commit));
  }
  return state_->others_wrote;
}

Result<std::int64_t> LocalStore::ask_for_sync() {
  const std::lock_guard lock(state_->mutex);
  return in_transaction(*state_, [&] { return sync_requests::ask(*state_); });
}

std::optional<std::int64_t> LocalStore::outstanding_sync_request() {
  const std::lock_guard lock(state_->mutex);
  return sync_requests::outstanding(*state_);
}

Result<void> LocalStore::answer_sync_requests(std::int64_t up_to, const Result<SyncReport>& report) {
  const std::lock_guard lock(state_->mutex);
  return in_transaction(*state_, [&] { return sync_requests::answer(*state_, up_to, report); });
}

std::optional<Result<SyncReport>> LocalStore::answer_to_sync_request(std::int64_t request) {
  const std::lock_guard lock(state_->mutex);
  return sync_requests::answer_to(*state_, request);
}

Result<void> LocalStore::tell_holder_status(const HolderStatus& status) {
  const std::lock_guard lock(state_->mutex);
  return in_transaction(*state_, [&] { return sync_requests::tell_status(*state_, status); });
}

LocalStore::HolderStatus LocalStore::holder_status() {
  const std::lock_guard lock(state_->mutex);
  return sync_requests::told_status(*state_);
}

Result<protocol::PushRequest> LocalStore::next_push(std::size_t mutations_max, std::size_t body_bytes_max) {
  const std::lock_guard lock(state_->mutex);
  return noted(*state_, pusher::next_push(*state_, mutations_max, body_bytes_max));
}

Result<LocalStore::PushSettled> LocalStore::settle_push(const protocol::PushRequest& sent,
                                                        const protocol::PushReply& reply) {
  const std::lock_guard lock(state_->mutex);
  if (auto noticed = state_->notice_others(); !noticed) return tl::unexpected(noticed.error());
  return noted(*state_, pusher::settle(*state_, sent, reply));
}

Result<void> LocalStore::note_not_handled(const protocol::PushRequest& sent) {
  const std::lock_guard lock(state_->mutex);
  return authoritative::note_not_handled(*state_, sent);
}

Result<void> LocalStore::note_push_failure(const protocol::PushRequest& sent, std::string_view reason) {
  const std::lock_guard lock(state_->mutex);
  return pusher::note_failure(*state_, sent, reason);
}

Result<void> LocalStore::dead_letter(std::string_view client_mutation_id, std::string_view code,
                                     std::string_view message) {
  const std::lock_guard lock(state_->mutex);
  return pusher::give_up(*state_, client_mutation_id, code, message);
}

Result<bool> LocalStore::is_push_first() {
  const std::lock_guard lock(state_->mutex);
  return noted(*state_, pusher::is_first(*state_));
}

Result<protocol::PullRequest> LocalStore::next_pull(std::size_t limit) {
  const std::lock_guard lock(state_->mutex);
  if (auto noticed = state_->notice_others(); !noticed) return tl::unexpected(noticed.error());
  auto request = noted(*state_, puller::next_pull(*state_, limit));
  if (!request) return request;
  if (auto chosen = subscriptions::choose(*state_, *request); !chosen)
    return noted(*state_, Result<protocol::PullRequest>(tl::unexpected(chosen.error())));
  return request;
}

Result<LocalStore::PullApplied> LocalStore::apply_page(const protocol::PullRequest& sent,
                                                       const protocol::PullPage& page) {
  const std::lock_guard lock(state_->mutex);
  if (auto noticed = state_->notice_others(); !noticed) return tl::unexpected(noticed.error());
  auto applied = noted(*state_, applier::apply_page(*state_, sent, page));
  state_->refresh_facts();  // an idle pull moves what it synced without a transaction
  if (!applied || !applied->complete) return applied;
  if (auto held = subscriptions::note_complete(*state_, sent); !held) return tl::unexpected(held.error());
  return applied;
}

}  // namespace nizhal::client
