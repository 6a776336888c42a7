#include "server/server_sync.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <exception>
#include <mutex>
#include <set>
#include <utility>

#include "base/json.hpp"
#include "domain/contract.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "server/admin.hpp"
#include "server/answers.hpp"
#include "server/counters.hpp"
#include "server/origins.hpp"
#include "server/poker.hpp"
#include "server/presence.hpp"
#include "server/pull_handler.hpp"
#include "server/push_handler.hpp"
#include "server/rate_limiter.hpp"
#include "server/tail.hpp"
#include "server/waiting_pulls.hpp"

namespace nizhal::server {
namespace {

using protocol::HttpRequest;
using protocol::HttpResponse;

enum class Endpoint { pull, push, stream, contract, audit, stats, health, readiness };

struct Route {
  std::string_view path, method;
  Endpoint endpoint;
};
constexpr std::array<Route, 8> kRoutes{{
    {protocol::kPullPath, "POST", Endpoint::pull},
    {protocol::kPushPath, "POST", Endpoint::push},
    {protocol::kStreamPath, "GET", Endpoint::stream},
    {"/nizhal/contract", "GET", Endpoint::contract},
    {"/nizhal/audit", "GET", Endpoint::audit},
    {"/nizhal/stats", "GET", Endpoint::stats},
    {"/healthz", "GET", Endpoint::health},
    {"/readyz", "GET", Endpoint::readiness},
}};

const Route* find_route(std::string_view path) {
  for (const Route& route : kRoutes)
    if (route.path == path) return &route;
  return nullptr;
}

/// The text after "Bearer " (RFC 6750; the scheme's case does not matter); empty when there is none.
std::string_view bearer(const HttpRequest& request) {
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view header = request.header("authorization");
  if (header.size() <= kScheme.size()) return {};
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = header[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != kScheme[i]) return {};
  }
  return header.substr(kScheme.size());
}

HttpResponse unauthorized(std::string_view why) {
  auto response = error_response(401, "unauthorized", why);
  response.headers["www-authenticate"] = "Bearer";
  return response;
}

HttpResponse rate_limited(std::chrono::seconds wait) {
  auto response = error_response(429, "rate_limited", "too many requests; wait a little");
  response.headers["retry-after"] = std::to_string(wait.count());
  return response;
}

/// Work of the poker on a thread that may wait. It may still wait itself when this server is gone; what it would poke
/// is gone then too.
void post_to(Executor& executor, const std::weak_ptr<Poker>& poker, const Log& log, void (*work)(Poker&)) {
  executor.post([poker, log, work] {
    const auto alive = poker.lock();
    if (!alive) return;
    try {
      work(*alive);
    } catch (const std::exception& error) {
      log.error("poke", fmt::format("poking failed: {}", error.what()));
    }
  });
}
void run_poker(Poker& poker) { poker.run(); }
void let_poker_look(Poker& poker) { (void)poker.look(); }  // the next tick learns where the database stands

/// What the other instances say, handed to those whom it concerns.
class BusListener : public realtime::Listener {
 public:
  BusListener(std::weak_ptr<Poker> poker, std::weak_ptr<Presence> presence, Executor& executor, Log log)
      : poker_(std::move(poker)), presence_(std::move(presence)), executor_(executor), log_(std::move(log)) {}

  void heard(realtime::Message message) override {
    if (const auto presence = presence_.lock(); presence && !message.presence.empty())
      presence->heard(message.presence);
    const auto poker = poker_.lock();
    if (poker && poker->heard(std::move(message.commits))) post_to(executor_, poker_, log_, run_poker);
  }
  void missed() override {
    if (const auto presence = presence_.lock()) presence->missed();
    const auto poker = poker_.lock();
    if (!poker) return;
    poker->missed();
    post_to(executor_, poker_, log_, let_poker_look);
  }

 private:
  const std::weak_ptr<Poker> poker_;
  const std::weak_ptr<Presence> presence_;
  Executor& executor_;
  const Log log_;
};

Presence::Wake wake_presence(Executor& executor, const std::shared_ptr<Poker>& poker) {
  return [&executor, poked = std::weak_ptr<Poker>(poker)](std::weak_ptr<Presence> told) {
    executor.post([poked, told = std::move(told)] {
      const auto streams = poked.lock();
      const auto presence = told.lock();
      if (presence) presence->tell_others();
      // Else the rest waits for the tick, which looks first.
      if (streams && presence && streams->are_buckets_current()) presence->flush();
    });
  };
}

HttpResponse not_found() { return error_response(404, "not_found", "there is nothing at this path"); }

}  // namespace

struct ServerSync::StreamTicket {
  Poker::Subscription subscription;
};

struct ServerSync::State : WaitingPullAnswers {
  State(std::shared_ptr<const CompiledDomain> compiled, ServerOutside given, Limits configured)
      : domain(std::move(compiled)),
        outside(given),
        limits(std::move(configured)),
        contract_body(to_text(contract(*domain))),
        origins(limits.allowed_origins),
        rate_limiter(outside.clock, limits.requests_per_second, limits.request_burst, limits.rate_limited_actors_max),
        tail(std::make_shared<Tail>(domain, outside.storage, limits, outside.log)),
        poker(std::make_shared<Poker>(
            PokerOutside{domain, outside.storage, outside.clock,
                         std::make_shared<NewsOfTail>(tail, outside.storage, limits.tail_rows_max), outside.realtime,
                         outside.log},
            limits)),
        presence(std::make_shared<Presence>(outside.clock, outside.random, limits, outside.log, outside.realtime,
                                            wake_presence(outside.executor, poker))),
        bus_listener(std::make_shared<BusListener>(poker, presence, outside.executor, outside.log)),
        pull_handler(domain, outside.storage, outside.clock, limits, tail),
        waiting_pulls(std::make_shared<WaitingPulls>(
            WaitingPullsOutside{outside.storage, outside.clock, outside.executor, outside.timers}, tail, limits,
            *this)),
        push_handler(domain, outside.storage, outside.clock, limits, outside.log, counters,
                     [this](const CommitEffects& effects) { committed(effects); }),
        admin(outside.storage, limits, outside.log, counters) {
    if (const auto mark = outside.storage.change_mark()) learn(*mark);
    poker->follow(presence);
    poker->before_poking([told = std::weak_ptr<WaitingPulls>(waiting_pulls)](const PokedStreams& poked) {
      if (const auto pulls = told.lock()) pulls->expect(poked);
    });
    if (outside.realtime) outside.realtime->start(bus_listener);
  }
  ~State() {
    if (outside.realtime) outside.realtime->stop();
  }

  /// A breaking migration raises the database's minimum; the domain's own holds whatever the database says.
  void learn(const storage::ChangeMark& mark) {
    const std::lock_guard lock(minimum_mutex);
    const auto order = compare_versions(mark.min_client_version, domain->domain().options().min_client_version);
    if (order.value_or(-1) > 0) database_minimum = mark.min_client_version;
  }
  std::string min_client_version() {
    const std::lock_guard lock(minimum_mutex);
    return database_minimum.empty() ? domain->domain().options().min_client_version : database_minimum;
  }

  void committed(const CommitEffects& effects) {
    if (poker->committed({effects.version, effects.buckets}, effects.grants))
      post_to(outside.executor, poker, outside.log, run_poker);
    for (const ReportedConflict& conflict : effects.conflicts) report(conflict);
  }
  /// What the app does with it is no part of the push, which is committed.
  void report(const ReportedConflict& conflict) {
    counters.conflicts.add(conflict.table);
    outside.log.debug("push", fmt::format("an edit of table \"{}\", column \"{}\" lost (mutation {})", conflict.table,
                                          conflict.column, conflict.client_mutation_id));
    if (!outside.on_conflict) return;
    try {
      outside.on_conflict(conflict);
    } catch (const std::exception& error) {
      outside.log.error("push", fmt::format("on_conflict threw: {}", error.what()));
    } catch (...) {
      outside.log.error("push", "on_conflict threw");
    }
  }

  HttpResponse route(const HttpRequest& request);
  HttpResponse pull(const Actor& actor, const HttpRequest& request);
  std::optional<HttpResponse> idle_answer(const storage::Position& now, const WaitingPull& pull) override;
  bool may_be_in_tail(const WaitingPull& pull) override;
  std::optional<HttpResponse> tail_answer(const storage::Position& now, const WaitingPull& pull) override;
  std::optional<HttpResponse> deferred(const Actor& actor, std::optional<std::string> page);
  HttpResponse push(const Actor& actor, const HttpRequest& request);
  HttpResponse administer(Endpoint endpoint, const HttpRequest& request);
  HttpResponse readiness();
  /// Authentication, body size and rate limit, in this order: an answer, or the credential.
  tl::expected<Credential, HttpResponse> admit(const HttpRequest& request, std::string_view token);

  const std::shared_ptr<const CompiledDomain> domain;
  const ServerOutside outside;
  const Limits limits;
  const std::string contract_body;
  const Origins origins;
  Counters counters;
  std::atomic<bool> shutting_down{false};
  RateLimiter rate_limiter;
  const std::shared_ptr<Tail> tail;
  const std::shared_ptr<Poker> poker;
  const std::shared_ptr<Presence> presence;
  const std::shared_ptr<BusListener> bus_listener;
  PullHandler pull_handler;
  const std::shared_ptr<WaitingPulls> waiting_pulls;
  PushHandler push_handler;
  Admin admin;
  std::mutex minimum_mutex;
  std::string database_minimum;  // where it is above the domain's
};

tl::expected<Credential, HttpResponse> ServerSync::State::admit(const HttpRequest& request, std::string_view token) {
  auto credential = outside.authenticator.authenticate(token, outside.clock.now());
  if (!credential) return tl::unexpected(unauthorized(credential.error().message));
  if (request.body.size() > limits.body_bytes_max)
    return tl::unexpected(error_response(
        413, "too_large", fmt::format("the body is larger than {} bytes; send less at once", limits.body_bytes_max)));
  if (const auto wait = rate_limiter.admit(credential->actor)) return tl::unexpected(rate_limited(*wait));
  return std::move(*credential);
}

HttpResponse ServerSync::State::pull(const Actor& actor, const HttpRequest& request) {
  ++counters.pulls;
  const auto decoded = protocol::decode_pull_request(request.body);
  if (!decoded) return error_response(400, "bad_request", decoded.error().message);
  auto page = pull_handler.handle(actor, *decoded);
  if (page) return json_response(200, std::move(*page));
  if (page.error().code == ErrorCode::bad_request) return error_response(400, "bad_request", page.error().message);
  return storage_failure(page.error(), "pull", limits, outside.log);
}

/// As State::pull does it, for a pull that was authenticated and waits no longer. What is handled as any other is
/// counted, and weighed against the rate limit, there.
std::optional<HttpResponse> ServerSync::State::deferred(const Actor& actor, std::optional<std::string> page) {
  if (!page) return std::nullopt;
  if (const auto wait = rate_limiter.admit(actor)) return rate_limited(*wait);
  ++counters.pulls;
  return json_response(200, *std::move(page));
}

std::optional<HttpResponse> ServerSync::State::idle_answer(const storage::Position& now, const WaitingPull& pull) {
  return deferred(pull.actor, pull_handler.idle_page(now, *pull.question, pull.request));
}

bool ServerSync::State::may_be_in_tail(const WaitingPull& pull) {
  return pull_handler.may_be_in_tail(pull.actor, pull.request);
}

std::optional<HttpResponse> ServerSync::State::tail_answer(const storage::Position& now, const WaitingPull& pull) {
  return deferred(pull.actor, pull_handler.tail_page(now, pull.actor, pull.request));
}

HttpResponse ServerSync::State::push(const Actor& actor, const HttpRequest& request) {
  ++counters.pushes;
  const std::string minimum = min_client_version();
  const std::string_view sent = request.header(std::string(protocol::kContractVersionHeader));
  const auto order = compare_versions(sent.empty() ? "0.0.0" : sent, minimum);
  if (!order)
    return error_response(400, "bad_request",
                          fmt::format("{} must be dotted numbers, as in 1.2.0", protocol::kContractVersionHeader));
  if (*order < 0) {
    json::object extra;
    extra["contractVersion"] = domain->domain().options().version;
    extra["minClientVersion"] = minimum;
    return error_response(426, "upgrade_required", "this app is too old to write; update it", extra);
  }
  const auto decoded = protocol::decode_push_request(request.body);
  if (!decoded) return error_response(400, "bad_request", decoded.error().message);
  if (shutting_down) return busy_response(limits);
  return push_handler.handle(actor, *decoded);
}

HttpResponse ServerSync::State::administer(Endpoint endpoint, const HttpRequest& request) {
  if (!admin.is_configured()) return not_found();
  if (!admin.is_password(bearer(request))) return unauthorized("the admin password is needed as bearer token");
  return endpoint == Endpoint::audit ? admin.audit(request)
                                     : admin.stats({.tail = tail->figures(),
                                                    .presence = presence->figures(),
                                                    .streams = poker->streams(),
                                                    .pokes = poker->poked(),
                                                    .realtime = outside.realtime});
}

HttpResponse ServerSync::State::readiness() {
  if (shutting_down) return busy_response(limits);
  const auto mark = outside.storage.change_mark();
  if (mark) return json_response(200, R"({"status":"ready"})");
  outside.log.warning("storage", "not ready: " + mark.error().message);
  return busy_response(limits);
}

HttpResponse ServerSync::State::route(const HttpRequest& request) {
  const Route* route = find_route(request.path);
  if (!route) return not_found();
  const bool is_admin = route->endpoint == Endpoint::audit || route->endpoint == Endpoint::stats;
  if (is_admin && !admin.is_configured()) return not_found();
  if (request.method != route->method) {
    auto response =
        error_response(405, "method_not_allowed", fmt::format("{} takes {} only", route->path, route->method));
    response.headers["allow"] = std::string(route->method);
    return response;
  }
  switch (route->endpoint) {
    case Endpoint::pull:
    case Endpoint::push: {
      const auto credential = admit(request, bearer(request));
      if (!credential) return credential.error();
      return route->endpoint == Endpoint::pull ? pull(credential->actor, request) : push(credential->actor, request);
    }
    case Endpoint::stream:
      return error_response(400, "bad_request", "this path takes a WebSocket upgrade");
    case Endpoint::contract:
      return json_response(200, contract_body);
    case Endpoint::audit:
    case Endpoint::stats:
      return administer(route->endpoint, request);
    case Endpoint::health:
      return json_response(200, R"({"status":"ok"})");
    case Endpoint::readiness:
      return readiness();
  }
  return not_found();
}

ServerSync::ServerSync(std::shared_ptr<const CompiledDomain> domain, ServerOutside outside, Limits limits)
    : state_(std::make_unique<State>(std::move(domain), std::move(outside), std::move(limits))) {}

ServerSync::~ServerSync() = default;

HttpResponse ServerSync::handle(const HttpRequest& request) {
  std::string why = "an exception of unknown type";
  try {
    return state_->route(request);
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {
  }
  state_->outside.log.error("server", fmt::format("{} {} failed: {}", request.method, request.path, why));
  return error_response(500, "internal", "the server failed; its log says why");
}

bool ServerSync::is_immediate(const HttpRequest& request) const {
  const Route* route = find_route(request.path);
  if (!route || request.method != route->method) return true;
  return route->endpoint == Endpoint::contract || route->endpoint == Endpoint::health ||
         route->endpoint == Endpoint::stream;
}

bool ServerSync::try_defer(const HttpRequest& request, std::function<void(std::optional<HttpResponse>)> answer) {
  State& state = *state_;
  if (request.path != protocol::kPullPath || request.method != "POST" ||
      request.body.size() > state.limits.body_bytes_max)
    return false;
  try {
    // Whatever is wrong is told where any request is handled.
    auto credential = state.outside.authenticator.authenticate(bearer(request), state.outside.clock.now());
    if (!credential) return false;
    auto decoded = protocol::decode_pull_request(request.body);
    if (!decoded) return false;
    const auto question = state.pull_handler.idle_question(credential->actor, *decoded);
    if (!question && !state.pull_handler.may_be_in_tail(credential->actor, *decoded)) return false;
    return state.waiting_pulls->try_add(
        {std::move(credential->actor), *std::move(decoded), question, std::move(answer)});
  } catch (const std::exception& error) {
    state.outside.log.error("pull", fmt::format("a pull could not wait with others: {}", error.what()));
    return false;
  }
}

tl::expected<std::shared_ptr<ServerSync::StreamTicket>, HttpResponse> ServerSync::authorize_stream(
    const HttpRequest& request) {
  if (request.path != protocol::kStreamPath) return tl::unexpected(not_found());
  // Browsers let any page open a socket anywhere: unlike for other requests, refusing is the server's part.
  if (const std::string_view origin = request.header("origin");
      !origin.empty() && !state_->origins.allows(origin, request.header("host")))
    return tl::unexpected(origin_not_allowed(origin));
  std::string_view token = bearer(request);
  if (const auto it = request.query.find("token"); token.empty() && it != request.query.end()) token = it->second;
  const auto credential = state_->admit(request, token);
  if (!credential) return tl::unexpected(credential.error());
  if (state_->shutting_down || state_->poker->streams() >= state_->limits.streams_max)
    return tl::unexpected(busy_response(state_->limits));

  std::optional<std::set<std::string>> requested;
  const auto [first, last] = request.query.equal_range("bucket");
  for (auto it = first; it != last; ++it) {
    if (!requested) requested.emplace();
    requested->insert(it->second);
  }
  auto subscription = state_->poker->subscribe(credential->actor, credential->expires, requested);
  if (!subscription)
    return tl::unexpected(storage_failure(subscription.error(), "poke", state_->limits, state_->outside.log));
  if (requested) {
    for (const std::string& key : *requested)
      if (!subscription->granted.contains(key))
        return tl::unexpected(error_response(403, "bucket_not_allowed", "bucket not allowed"));
  }
  return std::make_shared<StreamTicket>(StreamTicket{std::move(*subscription)});
}

StreamId ServerSync::open_stream(std::shared_ptr<StreamTicket> ticket, std::shared_ptr<StreamPeer> peer) {
  return state_->poker->open(std::move(ticket->subscription), std::move(peer));
}

void ServerSync::stream_frame(StreamId stream, std::string_view text) {
  if (!text.starts_with("presence:")) return state_->poker->frame(stream, text);
  const bool is_good = text.size() <= state_->limits.stream_frame_bytes_max && state_->presence->frame(stream, text);
  if (!is_good) state_->poker->bad_frame(stream);
}

void ServerSync::close_stream(StreamId stream) { state_->poker->close(stream); }

void ServerSync::tick() {
  state_->waiting_pulls->check();
  if (const auto mark = state_->poker->look()) state_->learn(*mark);
  state_->presence->tick();
  state_->presence->tell_others();
  if (state_->presence->wants_flush() && state_->poker->are_buckets_current()) state_->presence->flush();
}

Result<storage::GcReport> ServerSync::gc() {
  const auto retention = std::chrono::duration_cast<std::chrono::microseconds>(state_->limits.retention);
  auto report = state_->outside.storage.gc(Timestamp{state_->outside.clock.now().microseconds - retention.count()});
  const Log& log = state_->outside.log;
  if (!report) {
    if (!state_->shutting_down) log.warning("gc", "pruning failed and is tried again: " + report.error().message);
    return report;
  }
  if (report->removals + report->mutations + report->audit_rows > 0)
    log.info("gc",
             fmt::format("pruned {} removals, {} mutation records and {} audit rows older than {} h", report->removals,
                         report->mutations, report->audit_rows, state_->limits.retention.count()));
  if (report->recent > 0)
    log.info("gc", fmt::format("dropped the recent updates of {} rows that nobody has changed for {} h", report->recent,
                               state_->limits.retention.count()));
  return report;
}

void ServerSync::begin_shutdown() {
  state_->shutting_down = true;
  state_->waiting_pulls->stop_gathering();
  state_->presence->begin_shutdown();
}

}  // namespace nizhal::server
