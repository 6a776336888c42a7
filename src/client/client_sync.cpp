#include "client/client_sync.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/reached.hpp"
#include "client/client_sync_state.hpp"

namespace nizhal::client {

using std::chrono::milliseconds;

ClientSync::State::State(LocalStore& store_in, Clock& clock_in, Random& random_in, Log log_in, SyncOptions options_in)
    : store(store_in),
      random(random_in),
      log(std::move(log_in)),
      options(std::move(options_in)),
      backoff(random, tuning.backoff_base),
      socket(clock_in, random, log),
      presence(log) {
  status.connection = options.server.empty() ? StoreStatus::Connection::local_only : StoreStatus::Connection::offline;
  status.server = options.server;
  // A backend's answer to one mutation must not wait for those behind it.
  if (options.is_target) tuning.push_mutations_max = push_mutations_max = 1;
}

// Sending

void ClientSync::State::send(InFlight request, std::string_view path, std::string body) {
  request.id = ++last_request;
  SendRequest effect;
  effect.request = request.id;
  effect.timeout = tuning.request_timeout;
  effect.http.method = "POST";
  effect.http.path = std::string(path);
  effect.http.body = std::move(body);
  effect.http.headers["content-type"] = "application/json";
  effect.http.headers[std::string(protocol::kContractVersionHeader)] = store.domain().domain().options().version;
  if (!token.empty()) effect.http.headers["authorization"] = "Bearer " + token;
  in_flight = std::move(request);
  effects.emplace_back(std::move(effect));
  set_status([is_push = in_flight->kind == InFlight::Kind::push](StoreStatus& now) {
    now.syncing = true;
    now.pushing = is_push;
    now.pulling = !is_push;
  });
}

void ClientSync::State::ask_for_token(bool after_refusal) {
  if (token_asked) return;
  token_asked = true;
  effects.emplace_back(FetchToken{after_refusal});
}

bool ClientSync::State::try_push() {
  push_wanted = false;
  auto request = store.next_push(push_mutations_max, tuning.push_body_bytes_max);
  if (!request) {
    storage_failed("push", request.error());
    return false;
  }
  if (request->mutations.empty()) return false;
  std::string body = protocol::encode_push_request(*request);
  ++pushes_in_row;
  send(InFlight{.kind = InFlight::Kind::push, .push = std::move(*request)}, protocol::kPushPath, std::move(body));
  return true;
}

bool ClientSync::State::try_pull() {
  pull_wanted = catch_up_wanted = false;
  auto request = store.next_pull(tuning.pull_limit);
  if (!request) {
    storage_failed("pull", request.error());
    return false;
  }
  std::string body = protocol::encode_pull_request(*request);
  pushes_in_row = 0;
  last_pull = *request;
  send(InFlight{.kind = InFlight::Kind::pull, .pull = std::move(*request)}, protocol::kPullPath, std::move(body));
  return true;
}

bool ClientSync::State::is_coverage_new() const {
  if (!last_pull || !last_pull->buckets) return false;
  const auto next = store.next_pull(tuning.pull_limit);
  return next && (next->buckets != last_pull->buckets || next->sync_rules != last_pull->sync_rules);
}

void ClientSync::State::advance() {
  if (in_flight || stopped) return;
  if (!may_send()) return rest();
  if (!has_role()) return;
  if (waiting_for_retry || token_asked) return;
  if (!try_storage()) return;
  if (push_paused) push_wanted = false;
  if (!push_wanted && !pull_wanted) return rest();
  if (options.has_token && !token_fresh) return ask_for_token(false);
  // Writes first, but in turns, so that neither a stream of them nor a long first sync holds up the other.
  bool is_push_first = false;
  if (pull_wanted && !push_paused) {
    auto first = store.is_push_first();
    if (!first) return storage_failed("pull", first.error());
    is_push_first = *first;
  }
  push_wanted = push_wanted || is_push_first;
  const bool is_pulls_turn = pull_wanted && !is_push_first && pushes_in_row >= tuning.pushes_in_row_max;
  if (push_wanted && !is_pulls_turn && try_push()) return;
  if (waiting_for_retry) return;
  if (pull_wanted && try_pull()) return;
  if (!waiting_for_retry) rest();
}

void ClientSync::State::rest() {
  // The next burst asks again: a token may be renewed at any time.
  token_fresh = false;
  bool was_syncing = false;
  {
    const std::lock_guard lock(status_mutex);
    was_syncing = std::exchange(status.syncing, false);
    status.pulling = status.pushing = false;
  }
  if (was_syncing) notify();
  if (!may_send()) leave_role();
  if (!sync_active) return;
  if (push_paused) return finish_sync(Error{ErrorCode::upgrade_required, kUpgrade});
  finish_sync(std::nullopt);
}

void ClientSync::State::finish_sync(std::optional<Error> error) {
  if (!sync_active) return;
  if (error) return end_sync(tl::unexpected(std::move(*error)));
  auto counts = store.counts();
  if (!counts) return end_sync(tl::unexpected(counts.error()));
  sync_report.pending = counts->pending;
  sync_report.dead_letters = counts->dead_letters;
  end_sync(sync_report);
}

void ClientSync::State::end_sync(Result<SyncReport> report) {
  sync_active = false;
  asked_holder.reset();
  if (const auto request = std::exchange(serving, std::nullopt)) {
    // Whoever asked takes over from a store that is closed, and does it then.
    const bool is_done = report || report.error().code != ErrorCode::closed;
    if (is_done) {
      if (auto told = store.answer_sync_requests(*request, report); !told) log.error("sync", told.error().message);
    }
  } else {
    effects.emplace_back(SyncFinished{std::move(report)});
  }
  if (may_send()) return;
  // Only this sync had wanted the network.
  cancel_timers();
  socket.close(effects);
  set_status([](StoreStatus& now) {
    now.syncing = now.pulling = now.pushing = false;
    if (now.connection == StoreStatus::Connection::online) now.connection = StoreStatus::Connection::offline;
  });
  leave_role();
}

// Timers and the socket

void ClientSync::State::set_pull_timer() {
  if (!started || !online_wanted) return;
  const std::int64_t interval = options.pull_interval.count() * (socket.is_open() ? tuning.poked_interval_factor : 1);
  const std::int64_t spread = interval * tuning.interval_jitter_percent / 100;
  const auto jitter = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * spread) + 1));
  milliseconds delay{interval - spread + jitter};
  if (catch_up_wanted) {
    const auto spread_of_all = static_cast<std::uint64_t>(tuning.catch_up_spread.count());
    delay = std::min(delay, milliseconds{static_cast<std::int64_t>(random.below(spread_of_all + 1))});
  }
  // What nobody wants any more is evicted by a pull.
  if (const auto eviction = store.next_eviction()) delay = std::min(delay, *eviction);
  effects.emplace_back(SetTimer{TimerId::pull, delay});
}

void ClientSync::State::cancel_timers() {
  waiting_for_retry = false;
  for (const TimerId timer : {TimerId::pull, TimerId::retry, TimerId::socket}) effects.emplace_back(CancelTimer{timer});
}

void ClientSync::State::open_socket() {
  // Each time with another token: a socket outlives a burst of requests, and the token of the one before it may be
  // the reason that it was closed.
  if (options.has_token && (!token_fresh || token_on_socket)) {
    socket.open_after_token();
    return ask_for_token(false);
  }
  token_on_socket = true;
  socket.open(effects, token);
}

// Events

void ClientSync::State::on(const Started&) {
  started = true;
  if (!online_wanted) return;
  push_wanted = pull_wanted = true;
}

void ClientSync::State::on(const Mutated&) {
  notify();
  push_wanted = true;
}

void ClientSync::State::on(const CoverageChanged&) {
  notify();
  pull_wanted = true;
}

void ClientSync::State::on(const Awaited&) {
  notify();
  if (stopped || options.server.empty()) return;
  if (!sync_active && !(started && online_wanted))
    return withdraw_awaited(
        Error{ErrorCode::unreachable, "this store is offline, and such a mutation needs the server; go online first"});
  forget_backoff();
  push_wanted = true;
  push_paused = false;
}

void ClientSync::State::on(const StorageChanged&) { notify(); }

void ClientSync::State::on(const SyncRequested&) {
  if (options.server.empty()) {
    effects.emplace_back(
        SyncFinished{failure(ErrorCode::usage, "this store has no server to sync with; open it with one")});
    return;
  }
  // What another handle asked for may be past what this one wants to have pulled.
  if (serving) {
    sync_again = true;
    return;
  }
  begin_sync();
}

void ClientSync::State::begin_sync() {
  if (!sync_active) sync_report = SyncReport{};
  sync_active = true;
  forget_backoff();
  push_wanted = pull_wanted = true;
  push_paused = false;
  set_status([](StoreStatus& now) { now.upgrade_required = false; });
}

void ClientSync::State::forget_backoff() {
  backoff.reset();
  busy_answers = 0;
  socket.forget_backoff();
  if (std::exchange(waiting_for_retry, false)) effects.emplace_back(CancelTimer{TimerId::retry});
}

void ClientSync::State::on(const WentOnline&) {
  online_wanted = true;
  started = true;
  forget_backoff();
  push_wanted = pull_wanted = true;
  push_paused = false;
  set_status([](StoreStatus& now) { now.upgrade_required = false; });
}

void ClientSync::State::on(const WentOffline&) {
  online_wanted = false;
  // Another handle's sync is no reason to stay: that one takes over, and does it itself.
  if (std::exchange(serving, std::nullopt)) sync_active = false;
  if (!sync_active) cancel_timers();
  socket.close(effects);
  set_status([](StoreStatus& now) {
    if (now.connection == StoreStatus::Connection::online) now.connection = StoreStatus::Connection::offline;
  });
  withdraw_awaited(Error{ErrorCode::unreachable, "this store went offline before it could be sent"});
}

void ClientSync::State::on(const Answered& event) {
  if (in_flight && in_flight->id == event.request) answered(event.response);
}

void ClientSync::State::on(const Failed& event) {
  if (!in_flight || in_flight->id != event.request) return;
  const InFlight request = std::move(*in_flight);
  in_flight.reset();
  if (event.never_left) not_handled(request);
  request_failed(request,
                 Error{ErrorCode::unreachable, fmt::format("{} cannot be reached: {}", options.server, event.reason)});
}

void ClientSync::State::on(const TokenFetched& event) {
  token_asked = false;
  token = event.token;
  token_fresh = true;
  token_on_socket = false;
  if (socket.wants_token() && online_wanted) open_socket();
}

void ClientSync::State::on(const SocketOpened&) {
  // What happened between the last pull and now was poked to nobody.
  switch (socket.opened(effects)) {
    case PokeSocket::Opened::not_wanted:
      return;
    case PokeSocket::Opened::first:
      pull_wanted = true;
      return;
    case PokeSocket::Opened::again:
      catch_up_wanted = true;
      reached(Mark::caught_up_after_socket);
      set_pull_timer();
      return;
  }
}

void ClientSync::State::on(const SocketClosed& event) {
  const bool was_open = socket.is_open();
  socket.closed(effects, event.reason);
  if (was_open) set_pull_timer();
}

void ClientSync::State::on(const SocketFrame& event) {
  socket.heard();
  // Several pokes while a pull is under way make one more pull: it may have missed them.
  if (event.text.starts_with("repull:")) pull_wanted = true;
  if (event.text.starts_with("presence:")) presence.heard(effects, event.text);
}

void ClientSync::State::on(const TimerFired& event) {
  switch (event.timer) {
    case TimerId::pull:
      pull_wanted = true;
      return;
    case TimerId::retry:
      waiting_for_retry = false;
      return;
    case TimerId::presence:
      presence.timer_fired(effects);
      return;
    case TimerId::socket:
      const bool was_open = socket.is_open();
      if (socket.timer_fired(effects) && online_wanted) open_socket();
      if (was_open && !socket.is_open()) set_pull_timer();
      return;
  }
}

void ClientSync::State::on(const Stopped&) {
  finish_sync(Error{ErrorCode::closed, "the store was closed"});
  cancel_timers();
  socket.close(effects);
  stopped = true;
  leave_role();
  in_flight.reset();
  set_status([](StoreStatus& now) {
    now.syncing = now.pulling = now.pushing = false;
    if (now.connection == StoreStatus::Connection::online) now.connection = StoreStatus::Connection::offline;
  });
}

Effects ClientSync::State::handle(const Event& event) {
  if (stopped) return {};
  std::visit([this](const auto& happened) { on(happened); }, event);
  presence.socket_is(effects, socket.is_open());
  advance();
  if (begin_next_sync()) advance();
  return std::exchange(effects, {});
}

ClientSync::ClientSync(LocalStore& store, Clock& clock, Random& random, Log log, SyncOptions options)
    : state_(std::make_unique<State>(store, clock, random, std::move(log), std::move(options))) {}

ClientSync::~ClientSync() = default;

Effects ClientSync::handle(const Event& event) { return state_->handle(event); }

std::vector<Presence> ClientSync::presence(std::string_view bucket) const { return state_->presence.there(bucket); }

StoreStatus ClientSync::status() const {
  StoreStatus status;
  {
    const std::lock_guard lock(state_->status_mutex);
    status = state_->status;
  }
  FileFacts facts = state_->store.facts();
  status.pending = facts.pending;
  status.dead_letters = facts.dead_letters;
  status.conflicts = facts.conflicts;
  status.user_id = std::move(facts.actor.user_id);
  status.owner_id = std::move(facts.actor.owner_id);
  status.client_id = std::move(facts.client_id);
  status.last_synced = facts.last_synced;
  status.clock_skew_ms = facts.clock_offset_ms;
  status.storage = facts.storage;
  status.storage_error = std::move(facts.storage_error);
  return status;
}

}  // namespace nizhal::client
