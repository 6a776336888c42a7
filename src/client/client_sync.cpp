#include "client/client_sync.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "client/answers.hpp"
#include "client/local_store.hpp"
#include "client/tuning.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"

namespace nizhal::client {
namespace {

using std::chrono::milliseconds;

/// A request that left and was not answered yet. There is at most one: push and pull take turns.
struct InFlight {
  RequestId id = 0;
  enum class Kind { push, pull } kind = Kind::push;
  protocol::PushRequest push{};
  protocol::PullRequest pull{};
};

constexpr const char* kUpgrade =
    "the server takes no more writes from this version of the app; update it. Every write is kept";

}  // namespace

struct ClientSync::State {
  State(LocalStore& store_in, Clock& clock_in, Random& random_in, Log log_in, SyncOptions options_in)
      : store(store_in), clock(clock_in), random(random_in), log(std::move(log_in)), options(std::move(options_in)) {
    status.connection = options.server.empty() ? StoreStatus::Connection::local_only : StoreStatus::Connection::offline;
    status.server = options.server;
  }

  LocalStore& store;
  Clock& clock;
  Random& random;
  Log log;
  SyncOptions options;
  Tuning tuning;
  Effects effects;

  // What is wanted
  bool started = false;
  bool stopped = false;
  bool online_wanted = true;  // until WentOffline
  bool push_wanted = false;
  bool pull_wanted = false;
  bool sync_active = false;  // a SyncRequested has not come to its end
  SyncReport sync_report;

  // What is under way
  RequestId last_request = 0;
  std::optional<InFlight> in_flight;
  unsigned pushes_in_row = 0;  // since the last pull
  bool push_paused = false;    // 426: until a newer app, or the user's own try
  bool waiting_for_retry = false;
  unsigned failures = 0;  // in a row, for the backoff
  unsigned busy_answers = 0;
  unsigned renumberings = 0;  // in a row, without any outcome
  std::size_t push_mutations_max = Tuning{}.push_mutations_max;

  // Credentials
  std::string token;
  bool token_fresh = false;
  bool token_asked = false;
  bool token_refused = false;  // the server said 401 to a token that was just fetched

  // The socket
  enum class Socket { closed, opening, open, waiting };
  Socket socket = Socket::closed;
  bool socket_after_token = false;
  unsigned socket_failures = 0;
  std::chrono::microseconds socket_opened_at{0};

  mutable std::mutex status_mutex;
  StoreStatus status;

  template <class Change>
  void set_status(Change change) {
    {
      const std::lock_guard lock(status_mutex);
      change(status);
    }
    notify();
  }
  void notify() {
    const bool is_there = std::any_of(effects.begin(), effects.end(),
                                      [](const Effect& effect) { return std::holds_alternative<Notify>(effect); });
    if (!is_there) effects.emplace_back(Notify{});
  }

  bool may_send() const { return !stopped && !options.server.empty() && (sync_active || (started && online_wanted)); }

  /// Full jitter: uniform in [0, min(cap, base · 2ⁿ)], so that devices which failed together do not come back together.
  milliseconds backoff(milliseconds base, unsigned failed) {
    const unsigned doublings = std::min(failed, tuning.backoff_doublings_max);
    const std::int64_t ceiling = std::min(tuning.backoff_max.count(), base.count() << doublings);
    return milliseconds{static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(ceiling) + 1))};
  }

  // Sending

  void send(InFlight request, std::string_view path, std::string body) {
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
    set_status([](StoreStatus& now) { now.syncing = true; });
  }

  void ask_for_token(bool after_refusal) {
    if (token_asked) return;
    token_asked = true;
    effects.emplace_back(FetchToken{after_refusal});
  }

  /// True when a push left. The outbox may turn out to hold nothing.
  bool try_push() {
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

  bool try_pull() {
    pull_wanted = false;
    auto request = store.next_pull(tuning.pull_limit);
    if (!request) {
      storage_failed("pull", request.error());
      return false;
    }
    std::string body = protocol::encode_pull_request(*request);
    pushes_in_row = 0;
    send(InFlight{.kind = InFlight::Kind::pull, .pull = std::move(*request)}, protocol::kPullPath, std::move(body));
    return true;
  }

  /// Starts whatever is next. Called at the end of every event; does nothing while a request is under way.
  void advance() {
    if (in_flight || stopped) return;
    if (!may_send()) return rest();
    if (waiting_for_retry || token_asked) return;
    if (push_paused) push_wanted = false;
    if (!push_wanted && !pull_wanted) return rest();
    if (options.has_token && !token_fresh) return ask_for_token(false);
    // Writes first, but in turns, so that neither a stream of them nor a long first sync holds up the other.
    const bool is_pulls_turn = pull_wanted && pushes_in_row >= tuning.pushes_in_row_max;
    if (push_wanted && !is_pulls_turn && try_push()) return;
    if (waiting_for_retry) return;
    if (pull_wanted && try_pull()) return;
    if (!waiting_for_retry) rest();
  }

  /// Nothing to do until the next event.
  void rest() {
    // The next burst asks again: a token may be renewed at any time.
    token_fresh = false;
    bool was_syncing = false;
    {
      const std::lock_guard lock(status_mutex);
      was_syncing = std::exchange(status.syncing, false);
    }
    if (was_syncing) notify();
    if (!sync_active) return;
    if (push_paused) return finish_sync(Error{ErrorCode::upgrade_required, kUpgrade});
    finish_sync(std::nullopt);
  }

  // Ends of a SyncRequested

  void finish_sync(std::optional<Error> error) {
    if (!std::exchange(sync_active, false)) return;
    if (error) {
      effects.emplace_back(SyncFinished{tl::unexpected(std::move(*error))});
    } else if (auto counts = store.counts(); counts) {
      sync_report.pending = counts->pending;
      sync_report.dead_letters = counts->dead_letters;
      effects.emplace_back(SyncFinished{sync_report});
    } else {
      effects.emplace_back(SyncFinished{tl::unexpected(counts.error())});
    }
    if (may_send()) return;
    // Only this sync had wanted the network.
    cancel_timers();
    close_socket();
    set_status([](StoreStatus& now) {
      now.syncing = false;
      if (now.connection == StoreStatus::Connection::online) now.connection = StoreStatus::Connection::offline;
    });
  }

  // Failures

  /// Waits and tries again. `what` stays wanted.
  void try_later(InFlight::Kind kind, Error error, milliseconds at_least) {
    (kind == InFlight::Kind::push ? push_wanted : pull_wanted) = true;
    // A server that takes no writes for now may still be read from.
    if (kind == InFlight::Kind::push) pushes_in_row = tuning.pushes_in_row_max;
    const milliseconds delay = std::max(backoff(tuning.backoff_base, failures), at_least);
    ++failures;
    waiting_for_retry = true;
    effects.emplace_back(SetTimer{TimerId::retry, delay});
    log.info("sync", fmt::format("{}; trying again in {} ms", error.message, delay.count()));
    set_status([&](StoreStatus& now) {
      now.syncing = false;
      const bool is_cut_off = error.code == ErrorCode::unreachable || error.code == ErrorCode::unauthorized;
      if (is_cut_off && now.connection == StoreStatus::Connection::online)
        now.connection = StoreStatus::Connection::offline;
      now.last_error = error.message;
    });
    const bool is_passing = error.code == ErrorCode::busy && ++busy_answers <= tuning.busy_retries_of_sync;
    if (!is_passing) finish_sync(std::move(error));
  }

  /// The local file cannot be read or written: nothing is lost, and sync goes on when it can be again (S11).
  void storage_failed(std::string_view stage, const Error& error) {
    log.error(stage, error.message);
    try_later(stage == "push" ? InFlight::Kind::push : InFlight::Kind::pull, error, milliseconds{0});
  }

  void request_failed(const InFlight& request, Error error, milliseconds at_least = milliseconds{0}) {
    if (request.kind == InFlight::Kind::push) {
      if (auto noted = store.note_push_failure(request.push, error.message); !noted)
        log.error("push", noted.error().message);
    }
    try_later(request.kind, std::move(error), at_least);
  }

  // Answers

  void answered(const protocol::HttpResponse& response) {
    if (!in_flight) return;
    const InFlight request = std::move(*in_flight);
    in_flight.reset();
    const bool is_push = request.kind == InFlight::Kind::push;
    if (response.status == 200) return is_push ? push_answered(request, response) : pull_answered(request, response);
    if (response.status == 401) return unauthorized(request, response);
    if (is_push) {
      if (response.status == 426) return upgrade_required(response);
      if (response.status == 400 || response.status == 413) return split(request, response);
      if (response.status == 403 || response.status == 409) {
        if (auto reply = reply_of_error(request.push, response)) return settle(request, *reply);
      }
    }
    request_failed(request, Error{code_of_status(response.status), describe_status(response)}, retry_after(response));
  }

  void went_well() {
    failures = 0;
    busy_answers = 0;
    token_refused = false;
    set_status([](StoreStatus& now) {
      now.connection = StoreStatus::Connection::online;
      now.last_error = now.upgrade_required ? kUpgrade : "";
    });
  }

  void push_answered(const InFlight& request, const protocol::HttpResponse& response) {
    auto reply = protocol::decode_push_reply(response.body);
    if (!reply)
      return request_failed(request, Error{ErrorCode::bad_request,
                                           "the answer to a push cannot be understood: " + reply.error().message});
    settle(request, *reply);
  }

  void settle(const InFlight& request, const protocol::PushReply& reply) {
    auto settled = store.settle_push(request.push, reply);
    if (!settled) return storage_failed("push", settled.error());
    sync_report.applied += settled->applied;
    sync_report.rejected += settled->rejected;
    const bool has_outcome = settled->applied + settled->rejected > 0;
    if (settled->retry_later) {
      if (has_outcome) pull_wanted = true;
      return try_later(InFlight::Kind::push, Error{ErrorCode::busy, "the server asked for time"}, milliseconds{0});
    }
    // Numbering anew again and again without any outcome: both sides disagree, and hurrying does not help.
    renumberings = has_outcome || !settled->send_again ? 0 : renumberings + 1;
    if (renumberings > tuning.renumberings_max) {
      renumberings = 0;
      return request_failed(request, Error{ErrorCode::busy, "the server does not take this device's mutation ids"});
    }
    went_well();
    push_mutations_max = std::min(push_mutations_max * 2, tuning.push_mutations_max);
    push_wanted = push_wanted || settled->send_again;
    // What was handled is confirmed by a pull only (S4).
    pull_wanted = true;
  }

  void pull_answered(const InFlight& request, const protocol::HttpResponse& response) {
    auto page = protocol::decode_page(store.domain().domain(), response.body);
    if (!page)
      return request_failed(
          request, Error{ErrorCode::bad_request, "the answer to a pull cannot be understood: " + page.error().message});
    auto applied = store.apply_page(request.pull, *page);
    if (!applied) return storage_failed("pull", applied.error());
    went_well();
    sync_report.pulled_rows += applied->rows;
    if (applied->outcome_wanted || applied->identity_changed) push_wanted = true;
    set_status([&](StoreStatus& now) {
      now.progress_rows.reset();
      now.progress_total.reset();
      if (applied->progress && !applied->complete) {
        now.progress_rows = applied->progress->rows;
        now.progress_total = applied->progress->total;
      }
    });
    if (!applied->complete) {
      pull_wanted = true;
      return;
    }
    set_pull_timer();
    if (socket == Socket::closed && online_wanted && started && options.use_socket) open_socket();
  }

  void unauthorized(const InFlight& request, const protocol::HttpResponse& response) {
    (request.kind == InFlight::Kind::push ? push_wanted : pull_wanted) = true;
    if (options.has_token && !token_refused) {
      token_refused = true;
      token_fresh = false;
      return ask_for_token(true);
    }
    token_refused = false;
    token_fresh = false;
    request_failed(request, Error{ErrorCode::unauthorized,
                                  fmt::format("{}; {}", describe_status(response),
                                              options.has_token ? "sign in again: every write is kept until then"
                                                                : "this store has no token: give it one")});
  }

  void upgrade_required(const protocol::HttpResponse& response) {
    log.warning("push", describe_status(response));
    // Reading goes on; writes wait for a newer app, or for the user's own try.
    push_paused = true;
    set_status([](StoreStatus& now) {
      now.upgrade_required = true;
      now.connection = StoreStatus::Connection::online;
      now.last_error = kUpgrade;
    });
  }

  void split(const InFlight& request, const protocol::HttpResponse& response) {
    const std::size_t count = request.push.mutations.size();
    push_wanted = true;
    if (count > 1) {
      push_mutations_max = std::max<std::size_t>(1, count / 2);
      log.warning("push",
                  fmt::format("{}: sending {} mutations at a time", describe_status(response), push_mutations_max));
      return;
    }
    const protocol::PushMutation& mutation = request.push.mutations.front();
    const protocol::ErrorBody body = protocol::decode_error(response.body);
    const std::string code = !body.code.empty() ? body.code : response.status == 413 ? "too_large" : "bad_request";
    if (mutation.name == protocol::kSkip) return request_failed(request, Error{ErrorCode::bad_request, code});
    auto buried = store.dead_letter(mutation.client_mutation_id, code, describe_status(response));
    if (!buried) return storage_failed("push", buried.error());
    push_mutations_max = tuning.push_mutations_max;
    ++sync_report.rejected;
    notify();
  }

  // Timers and the socket

  void set_pull_timer() {
    if (!started || !online_wanted) return;
    const std::int64_t interval = options.pull_interval.count();
    const std::int64_t spread = interval * tuning.interval_jitter_percent / 100;
    const auto jitter = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * spread) + 1));
    effects.emplace_back(SetTimer{TimerId::pull, milliseconds{interval - spread + jitter}});
  }

  void cancel_timers() {
    waiting_for_retry = false;
    for (const TimerId timer : {TimerId::pull, TimerId::retry, TimerId::reconnect})
      effects.emplace_back(CancelTimer{timer});
  }

  void open_socket() {
    // Only with a token that was fetched for it: a socket outlives a burst of requests.
    if (options.has_token && !token_fresh) {
      socket_after_token = true;
      return ask_for_token(false);
    }
    socket_after_token = false;
    socket = Socket::opening;
    effects.emplace_back(OpenSocket{std::string(protocol::kStreamPath), token});
  }

  void close_socket() {
    socket_after_token = false;
    if (socket == Socket::opening || socket == Socket::open) effects.emplace_back(CloseSocket{});
    socket = Socket::closed;
  }

  // Events

  void on(const Started&) {
    started = true;
    if (!online_wanted) return;
    push_wanted = pull_wanted = true;
  }

  void on(const Mutated&) {
    notify();
    push_wanted = true;
  }

  void on(const SyncRequested&) {
    if (options.server.empty()) {
      effects.emplace_back(
          SyncFinished{failure(ErrorCode::usage, "this store has no server to sync with; open it with one")});
      return;
    }
    if (!sync_active) sync_report = SyncReport{};
    sync_active = true;
    forget_backoff();
    push_wanted = pull_wanted = true;
    push_paused = false;
    set_status([](StoreStatus& now) { now.upgrade_required = false; });
  }

  void forget_backoff() {
    failures = 0;
    busy_answers = 0;
    socket_failures = 0;
    if (std::exchange(waiting_for_retry, false)) effects.emplace_back(CancelTimer{TimerId::retry});
  }

  void on(const WentOnline&) {
    online_wanted = true;
    started = true;
    forget_backoff();
    push_wanted = pull_wanted = true;
    push_paused = false;
    set_status([](StoreStatus& now) { now.upgrade_required = false; });
  }

  void on(const WentOffline&) {
    online_wanted = false;
    if (!sync_active) cancel_timers();
    close_socket();
    set_status([](StoreStatus& now) {
      if (now.connection == StoreStatus::Connection::online) now.connection = StoreStatus::Connection::offline;
    });
  }

  void on(const Answered& event) {
    if (in_flight && in_flight->id == event.request) answered(event.response);
  }

  void on(const Failed& event) {
    if (!in_flight || in_flight->id != event.request) return;
    const InFlight request = std::move(*in_flight);
    in_flight.reset();
    request_failed(
        request, Error{ErrorCode::unreachable, fmt::format("{} cannot be reached: {}", options.server, event.reason)});
  }

  void on(const TokenFetched& event) {
    token_asked = false;
    token = event.token;
    token_fresh = true;
    if (socket_after_token && online_wanted) open_socket();
  }

  void on(const SocketOpened&) {
    if (socket != Socket::opening) return;
    socket = Socket::open;
    socket_opened_at = clock.monotonic();
    // What happened between the last pull and now was poked to nobody.
    pull_wanted = true;
  }

  void on(const SocketClosed& event) {
    if (socket != Socket::opening && socket != Socket::open) return;
    // A socket that is closed as soon as it is open is a failure too.
    if (socket == Socket::open && clock.monotonic() - socket_opened_at >= tuning.backoff_max) socket_failures = 0;
    socket = Socket::waiting;
    const milliseconds delay = backoff(tuning.reconnect_base, socket_failures++);
    log.debug("poke", fmt::format("socket closed: {}; reconnecting in {} ms", event.reason, delay.count()));
    effects.emplace_back(SetTimer{TimerId::reconnect, delay});
  }

  void on(const SocketFrame& event) {
    // Several pokes while a pull is under way make one more pull: it may have missed them.
    if (event.text.starts_with("repull:")) pull_wanted = true;
  }

  void on(const TimerFired& event) {
    switch (event.timer) {
      case TimerId::pull:
        pull_wanted = true;
        return;
      case TimerId::retry:
        waiting_for_retry = false;
        return;
      case TimerId::reconnect:
        if (socket != Socket::waiting || !online_wanted) return;
        socket = Socket::closed;
        open_socket();
        return;
    }
  }

  void on(const Stopped&) {
    finish_sync(Error{ErrorCode::closed, "the store was closed"});
    cancel_timers();
    close_socket();
    stopped = true;
    in_flight.reset();
    set_status([](StoreStatus& now) {
      now.syncing = false;
      if (now.connection == StoreStatus::Connection::online) now.connection = StoreStatus::Connection::offline;
    });
  }

  Effects handle(const Event& event) {
    if (stopped) return {};
    std::visit([this](const auto& happened) { on(happened); }, event);
    advance();
    return std::exchange(effects, {});
  }
};

ClientSync::ClientSync(LocalStore& store, Clock& clock, Random& random, Log log, SyncOptions options)
    : state_(std::make_unique<State>(store, clock, random, std::move(log), std::move(options))) {}

ClientSync::~ClientSync() = default;

Effects ClientSync::handle(const Event& event) { return state_->handle(event); }

StoreStatus ClientSync::status() const {
  StoreStatus status;
  {
    const std::lock_guard lock(state_->status_mutex);
    status = state_->status;
  }
  LocalStore& store = state_->store;
  if (auto counts = store.counts(); counts) {
    status.pending = counts->pending;
    status.dead_letters = counts->dead_letters;
  } else {
    status.last_error = counts.error().message;
  }
  const Actor actor = store.actor();
  status.user_id = actor.user_id;
  status.owner_id = actor.owner_id;
  status.client_id = store.client_id();
  status.last_synced = store.last_synced();
  status.clock_skew_ms = store.clock_offset_ms();
  return status;
}

}  // namespace nizhal::client
