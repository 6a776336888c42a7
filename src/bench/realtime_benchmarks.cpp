#include "bench/realtime_benchmarks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/json.hpp"
#include "bench/bench_domain.hpp"
#include "bench/database.hpp"
#include "bench/load.hpp"
#include "bench/pgbench.hpp"
#include "bench/query_counter.hpp"
#include "bench/rounds.hpp"
#include "bench/stream_peer.hpp"
#include "domain/hlc.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "protocol/transport.hpp"
#include "server/authenticator.hpp"
#include "server/limits.hpp"

namespace nizhal::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kSocketsDefault = 5'000, kSubscribersDefault = 1'000;
constexpr double kSocketBytesMax = 8'192;  // what is promised
constexpr std::size_t kWarmSockets = 200;
constexpr std::size_t kBusyRepeatsMax = 100;
constexpr std::string_view kOwner = "owner-of-all";
constexpr std::size_t kBodyBytes = 100;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

/// `part` of the values are no larger; 0 when there are none.
double percentile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

/// A device that follows a stream and pulls when it is poked.
struct Subscriber {
  StreamPeer stream;
  HttpPeer http;
  std::string token, client_id, cursor;
};

class RealtimeRunner {
 public:
  RealtimeRunner(Benchmark benchmark, const Options& options, const Outside& outside)
      : benchmark_(benchmark), options_(options), outside_(outside), device_(random_uuid(outside.random)) {
    std::array<std::uint8_t, 32> bytes{};
    outside_.random.fill(bytes);
    secret_ = to_hex(bytes);
    descriptors_max_ = raise_descriptor_limit();
  }

  Result<Figure> run() {
    figure_.name = to_string(benchmark_);
    figure_.settings = outside_.settings;
    auto measured = benchmark_ == Benchmark::sockets ? measure_sockets() : measure_on_postgres();
    // What is connected ends before the server, and the server before its database.
    server_.reset();
    counter_.reset();
    if (!measured) return tl::unexpected(measured.error());
    return std::move(figure_);
  }

 private:
  void say(std::string name, std::string value) { figure_.settings.emplace_back(std::move(name), std::move(value)); }

  std::string token_of(std::string_view user, std::string_view owner) {
    json::object claims;
    claims["userId"] = user;
    claims["ownerId"] = owner;
    claims["exp"] = outside_.clock.now().microseconds / 1'000'000 + 86'400;
    return server::make_jwt(secret_, to_text(claims));
  }

  // One change, and who hears of it.

  std::string push_request(const std::string& token) {
    protocol::PushRequest push;
    push.results = true;
    HybridClock clock(hlc_node(device_), Hlc{});
    json::object args;
    args["id"] = random_uuid(outside_.random);
    args["body"] = std::string(kBodyBytes, 'x');
    args["amount"] = 1;
    protocol::PushMutation mutation;
    mutation.name = kAddItem;
    mutation.args = std::move(args);
    mutation.client_mutation_id = random_uuid(outside_.random);
    mutation.client_id = device_;
    mutation.mutation_id = MutationId{++last_mutation_id_};
    mutation.hlc = clock.tick(outside_.clock.now()).text();
    push.mutations.push_back(std::move(mutation));
    return http_post(protocol::kPushPath, token, protocol::encode_push_request(push),
                     fmt::format("{}: 1.0.0\r\n", protocol::kContractVersionHeader));
  }

  static Result<void> check_push(const HttpPeer::Answer& answer) {
    if (answer.status == 200 && answer.body.find(R"("status":"applied")") != std::string::npos) return {};
    return failure(ErrorCode::internal,
                   fmt::format("a push was answered {}: {}", answer.status, answer.body.substr(0, 500)));
  }

  static std::string pull_request(const Subscriber& subscriber) {
    protocol::PullRequest pull;
    pull.cursor = subscriber.cursor;
    pull.device_id = subscriber.client_id;
    return http_post(protocol::kPullPath, subscriber.token, protocol::encode_pull_request(pull));
  }

  /// Takes the answer's cursor; true when it brought a row.
  static Result<bool> take_page(Subscriber& subscriber, const HttpPeer::Answer& answer) {
    constexpr std::string_view kCursor = R"("cursor":")";
    const auto at = answer.body.rfind(kCursor);
    if (answer.status != 200 || at == std::string::npos)
      return failure(ErrorCode::internal,
                     fmt::format("a pull was answered {}: {}", answer.status, answer.body.substr(0, 500)));
    const auto begin = at + kCursor.size();
    subscriber.cursor = answer.body.substr(begin, answer.body.find('"', begin) - begin);
    return answer.body.find(R"("id":")") != std::string::npos;
  }

  Result<std::vector<Subscriber>> subscribe(std::size_t count) {
    std::vector<Subscriber> subscribers;
    for (std::size_t i = 0; i < count; ++i) {
      if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
      std::string token = token_of(fmt::format("user-{}", i), kOwner);
      auto stream = StreamPeer::open(server_->port(), token);
      if (!stream) return tl::unexpected(stream.error());
      auto http = HttpPeer::connect(server_->port());
      if (!http) return tl::unexpected(http.error());
      subscribers.push_back(
          {std::move(*stream), std::move(*http), std::move(token), random_uuid(outside_.random), std::string()});
      Subscriber& subscriber = subscribers.back();
      for (bool more = true; more;) {
        auto answer = subscriber.http.exchange(pull_request(subscriber));
        if (!answer) return tl::unexpected(answer.error());
        if (auto taken = take_page(subscriber, *answer); !taken) return tl::unexpected(taken.error());
        more = answer->body.find(R"("hasMore":true)") != std::string::npos;
      }
      // Answered: the stream is open for the server's core too.
      if (auto sent = subscriber.stream.send("ping"); !sent) return tl::unexpected(sent.error());
      if (auto pong = wait_for(subscriber.stream, "pong"); !pong) return tl::unexpected(pong.error());
    }
    return subscribers;
  }

  static Result<void> wait_for(StreamPeer& stream, std::string_view begin) {
    for (;;) {
      const auto frame = stream.receive();
      if (!frame) return tl::unexpected(frame.error());
      if (frame->starts_with(begin)) return {};
    }
  }

  Result<void> measure_on_postgres() {
    auto database = create_recorded(options_.db, outside_.random, figure_.settings);
    if (!database) return tl::unexpected(database.error());
    database_ = std::move(*database);
    std::string url = database_->url();
    if (benchmark_ == Benchmark::fanout) {
      auto counter = QueryCounter::start(database_->host(), database_->port());
      if (!counter) return tl::unexpected(counter.error());
      counter_ = std::move(*counter);
      auto through = url_through(url, counter_->port());
      if (!through) return tl::unexpected(through.error());
      url = std::move(*through);
    }
    auto server = outside_.start_server({.db = url, .secret = secret_, .workers = options_.workers});
    if (!server) return tl::unexpected(server.error());
    server_ = std::move(*server);
    say("server workers", options_.workers == 0 ? "default" : fmt::to_string(options_.workers));
    say("seconds", fmt::to_string(options_.seconds));
    outside_.progress(fmt::format("{}: preparing", figure_.name));
    return benchmark_ == Benchmark::poke ? measure_poke() : measure_fanout();
  }

  // poke

  Result<void> measure_poke() {
    figure_.unit = "µs";
    say("connections", "1");
    say("limit", "an echo over a WebSocket of the same server, plus the bare transaction in one round trip");
    auto echo_server = outside_.start_server({.body_bytes = 500});
    if (!echo_server) return tl::unexpected(echo_server.error());
    auto echo = StreamPeer::open((*echo_server)->port(), "");
    if (!echo) return tl::unexpected(echo.error());
    auto constant = HttpPeer::connect((*echo_server)->port());
    if (!constant) return tl::unexpected(constant.error());
    if (auto made = database_->run(bare_tables(1)); !made) return made;
    auto subscribers = subscribe(1);
    if (!subscribers) return tl::unexpected(subscribers.error());
    Subscriber& subscriber = subscribers->front();
    auto pusher = HttpPeer::connect(server_->port());
    if (!pusher) return tl::unexpected(pusher.error());
    const std::string token = token_of("publisher", kOwner);

    std::vector<double> pokes, rows, echoes, commits, exchanges;
    const Side engine = [&](std::chrono::seconds duration) -> Result<double> {
      std::vector<double> now;
      for (const auto end = Clock::now() + duration; Clock::now() < end;) {
        if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
        const std::string request = push_request(token);
        const auto start = Clock::now();
        if (auto sent = pusher->send(request); !sent) return tl::unexpected(sent.error());
        if (auto poked = wait_for(subscriber.stream, "repull:"); !poked) return tl::unexpected(poked.error());
        now.push_back(microseconds_since(start));
        const auto page = subscriber.http.exchange(pull_request(subscriber));
        if (!page) return tl::unexpected(page.error());
        rows.push_back(microseconds_since(start));
        const auto brought = take_page(subscriber, *page);
        if (!brought) return tl::unexpected(brought.error());
        if (!*brought) return failure(ErrorCode::internal, "a poke came before its row was visible");
        const auto answer = pusher->receive();
        if (!answer) return tl::unexpected(answer.error());
        if (auto fine = check_push(*answer); !fine) return tl::unexpected(fine.error());
      }
      pokes.insert(pokes.end(), now.begin(), now.end());
      return percentile(std::move(now), 0.5);
    };
    const std::string constant_request = http_post("/", "", "");
    const Side limit = [&](std::chrono::seconds duration) -> Result<double> {
      std::vector<double> echo_now, commit_now;
      const std::string transaction =
          "INSERT INTO bare.mutation SELECT 'client-0', last_mutation_id + 1, gen_random_uuid(), 'addItem', true, "
          "now() FROM bare.client WHERE client_id = 'client-0' FOR UPDATE;"
          "INSERT INTO bare.item VALUES (gen_random_uuid(), 'owner-0', repeat('x', 100), 1);"
          "UPDATE bare.client SET last_mutation_id = last_mutation_id + 1 WHERE client_id = 'client-0'";
      for (const auto end = Clock::now() + duration; Clock::now() < end;) {
        if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
        auto start = Clock::now();
        if (auto sent = echo->send("repull:owner"); !sent) return tl::unexpected(sent.error());
        if (auto back = wait_for(*echo, "repull:owner"); !back) return tl::unexpected(back.error());
        echo_now.push_back(microseconds_since(start));
        start = Clock::now();
        if (auto done = database_->run(transaction); !done) return tl::unexpected(done.error());
        commit_now.push_back(microseconds_since(start));
        start = Clock::now();
        if (auto done = constant->exchange(constant_request); !done) return tl::unexpected(done.error());
        exchanges.push_back(microseconds_since(start));
      }
      echoes.insert(echoes.end(), echo_now.begin(), echo_now.end());
      commits.insert(commits.end(), commit_now.begin(), commit_now.end());
      return percentile(std::move(echo_now), 0.5) + percentile(std::move(commit_now), 0.5);
    };
    auto measured = measure_rounds(figure_, options_, outside_, engine, limit);
    if (!measured) return measured;
    const auto both = [](const std::vector<double>& values) {
      return fmt::format("p50 {:.0f} µs p99 {:.0f} µs", percentile(values, 0.5), percentile(values, 0.99));
    };
    say("push sent to poke", both(pokes));
    say("push sent to row pulled", both(rows));
    say("bare echo", both(echoes));
    say("bare commit", both(commits));
    const double pull_limit = figure_.limit() + percentile(exchanges, 0.5);
    say("row pulled to its limit", fmt::format("{:.2f} (the limit and a constant HTTP answer: {:.0f} µs)",
                                               percentile(rows, 0.5) / pull_limit, pull_limit));
    return {};
  }

  // fanout

  /// When the subscribers had the row, after the push was sent.
  struct FanoutTimes {
    std::vector<double> devices, last;  // each device's, and the last one's of each commit
  };

  /// All pull at once; what is busy asks again.
  Result<void> pull_all_at_once(std::vector<Subscriber>& subscribers, Clock::time_point start, FanoutTimes* times) {
    std::vector<Subscriber*> asking;
    for (Subscriber& subscriber : subscribers) asking.push_back(&subscriber);
    for (std::size_t repeats = 0; !asking.empty(); ++repeats) {
      if (repeats == kBusyRepeatsMax) return failure(ErrorCode::busy, "the server stays busy");
      for (Subscriber* subscriber : asking)
        if (auto sent = subscriber->http.send(pull_request(*subscriber)); !sent) return sent;
      std::vector<Subscriber*> again;
      for (Subscriber* subscriber : asking) {
        const auto answer = subscriber->http.receive();
        if (!answer) return tl::unexpected(answer.error());
        if (answer->status == 503) {
          ++busy_;
          again.push_back(subscriber);
          continue;
        }
        const auto brought = take_page(*subscriber, *answer);
        if (!brought) return tl::unexpected(brought.error());
        if (!*brought) return failure(ErrorCode::internal, "a poke came before its row was visible");
        if (times) times->devices.push_back(microseconds_since(start));
      }
      asking = std::move(again);
    }
    return {};
  }

  /// Queries per second of a server whose devices are quiet: it looks for commits of others.
  Result<double> idle_rate() {
    const auto before = counter_->queries();
    const auto start = Clock::now();
    // Requests, so that the time passes with work that needs no query.
    auto peer = HttpPeer::connect(server_->port());
    if (!peer) return tl::unexpected(peer.error());
    const std::string health = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    while (microseconds_since(start) < 2e6)
      if (auto answer = peer->exchange(health); !answer) return tl::unexpected(answer.error());
    return static_cast<double>(counter_->queries() - before) / (microseconds_since(start) / 1e6);
  }

  /// Queries of one commit and all that follows from it.
  Result<double> queries_per_commit(std::vector<Subscriber>& subscribers, std::chrono::seconds duration,
                                    FanoutTimes* times = nullptr) {
    auto pusher = HttpPeer::connect(server_->port());
    if (!pusher) return tl::unexpected(pusher.error());
    const std::string token = token_of("publisher", kOwner);
    const auto idle = idle_rate();
    if (!idle) return tl::unexpected(idle.error());
    const auto before = counter_->queries();
    const auto start = Clock::now();
    std::size_t commits = 0;
    do {
      if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
      const auto sent = Clock::now();
      const auto answer = pusher->exchange(push_request(token));
      if (!answer) return tl::unexpected(answer.error());
      if (auto fine = check_push(*answer); !fine) return tl::unexpected(fine.error());
      for (Subscriber& subscriber : subscribers)
        if (auto poked = wait_for(subscriber.stream, "repull:"); !poked) return tl::unexpected(poked.error());
      if (auto pulled = pull_all_at_once(subscribers, sent, times); !pulled) return tl::unexpected(pulled.error());
      if (times) times->last.push_back(microseconds_since(sent));
      ++commits;
    } while (Clock::now() - start < duration);
    const double queries = static_cast<double>(counter_->queries() - before) - *idle * microseconds_since(start) / 1e6;
    return std::max(queries, 0.0) / static_cast<double>(commits);
  }

  Result<void> measure_fanout() {
    figure_.unit = "queries/commit";
    const std::size_t count = options_.sockets == 0 ? kSubscribersDefault : options_.sockets;
    if (auto room = check_room_for_sockets(count, descriptors_max_, server::Limits{}.streams_max); !room) return room;
    say("connections", fmt::to_string(count));
    say("limit", "the same with one subscriber; both with the queries of the push itself");
    auto pusher_only = std::vector<Subscriber>();
    const auto own = queries_per_commit(pusher_only, std::chrono::seconds(1));
    if (!own) return tl::unexpected(own.error());
    auto one = subscribe(1);
    if (!one) return tl::unexpected(one.error());
    // Each side with its own subscribers: the streams of the other one are closed meanwhile.
    std::vector<Subscriber> many;
    FanoutTimes times;
    const Side limit = [&](std::chrono::seconds duration) -> Result<double> {
      many.clear();
      one = subscribe(1);
      if (!one) return tl::unexpected(one.error());
      return queries_per_commit(*one, duration);
    };
    const Side engine = [&](std::chrono::seconds duration) -> Result<double> {
      one->clear();
      auto all = subscribe(count);
      if (!all) return tl::unexpected(all.error());
      many = std::move(*all);
      return queries_per_commit(many, duration, &times);
    };
    auto measured = measure_rounds(figure_, options_, outside_, engine, limit);
    if (!measured) return measured;
    say("queries of the push itself", fmt::format("{:.1f}", *own));
    say("queries of the fan-out", fmt::format("{:.1f}", std::max(0.0, figure_.value() - *own)));
    const auto both = [](const std::vector<double>& values) {
      return fmt::format("p50 {:.1f} ms p99 {:.1f} ms", percentile(values, 0.5) / 1e3, percentile(values, 0.99) / 1e3);
    };
    say("push sent to row at a device", both(times.devices));
    say("push sent to row at the last device", both(times.last));
    say("answers 503", fmt::to_string(busy_));
    return {};
  }

  // sockets

  /// Bytes of the server process per idle socket.
  Result<double> bytes_per_socket(const ServerOrder& order, std::size_t count) {
    auto server = outside_.start_server(order);
    if (!server) return tl::unexpected(server.error());
    const auto open = [&](std::size_t sockets, std::vector<StreamPeer>& streams) -> Result<void> {
      const std::size_t first = streams.size();
      for (std::size_t i = first; i < first + sockets; ++i) {
        if (auto on = go_on(outside_); !on) return on;
        const std::string token = token_of(fmt::format("user-{}", i), fmt::format("owner-{}", i % 500));
        auto stream = StreamPeer::open((*server)->port(), token);
        if (!stream) return tl::unexpected(stream.error());
        if (auto sent = stream->send("ping"); !sent) return sent;
        streams.push_back(std::move(*stream));
      }
      for (std::size_t i = first; i < streams.size(); ++i) {
        const auto answer = streams[i].receive();
        if (!answer) return tl::unexpected(answer.error());
      }
      return {};
    };
    // The first ones pay for what all share: caches of statements, threads, the memory that the allocator keeps.
    std::vector<StreamPeer> streams;
    if (auto opened = open(kWarmSockets, streams); !opened) return tl::unexpected(opened.error());
    const auto before = (*server)->memory_bytes();
    if (!before) return tl::unexpected(before.error());
    if (auto opened = open(count, streams); !opened) return tl::unexpected(opened.error());
    const auto after = (*server)->memory_bytes();
    if (!after) return tl::unexpected(after.error());
    return (static_cast<double>(*after) - static_cast<double>(*before)) / static_cast<double>(count);
  }

  Result<void> measure_sockets() {
    figure_.unit = "bytes/socket";
    const std::size_t count = options_.sockets == 0 ? kSocketsDefault : options_.sockets;
    if (auto room = check_room_for_sockets(count, descriptors_max_, server::Limits{}.streams_max); !room) return room;
    std::string db;
    if (options_.db.empty()) {
      if (directory_.path().empty()) return failure(ErrorCode::io_error, "no temporary directory");
      say("storage", "SQLite");
    } else {
      auto database = create_recorded(options_.db, outside_.random, figure_.settings);
      if (!database) return tl::unexpected(database.error());
      database_ = std::move(*database);
      db = database_->url();
    }
    say("server workers", options_.workers == 0 ? "default" : fmt::to_string(options_.workers));
    say("connections", fmt::to_string(count));
    say("limit",
        fmt::format("the {:.0f} bytes that are promised: private memory of the server's process", kSocketBytesMax));
    std::vector<double> bare;
    for (std::size_t round = 0; round < options_.rounds; ++round) {
      outside_.progress(fmt::format("{}: round {} of {}", figure_.name, round + 1, options_.rounds));
      // A new process each time: freed memory that is used again would not show.
      const std::string file = fmt::format("sqlite:{}/server-{}.db", directory_.path(), round);
      auto bytes =
          bytes_per_socket({.db = db.empty() ? file : db, .secret = secret_, .workers = options_.workers}, count);
      if (!bytes) return tl::unexpected(bytes.error());
      figure_.rounds.push_back({*bytes, kSocketBytesMax});
      auto without = bytes_per_socket({.body_bytes = 1}, count);
      if (!without) return tl::unexpected(without.error());
      bare.push_back(*without);
    }
    say("the same WebSocket with no engine behind it", fmt::format("{:.0f} bytes/socket", median(bare)));
    return {};
  }

  const Benchmark benchmark_;
  const Options& options_;
  const Outside& outside_;
  const std::string device_;
  std::string secret_;
  std::uint64_t last_mutation_id_ = 0, descriptors_max_ = 0;
  std::uint64_t busy_ = 0;
  Figure figure_;
  Directory directory_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<QueryCounter> counter_;
  std::unique_ptr<RunningServer> server_;
};

}  // namespace

bool is_realtime(Benchmark benchmark) {
  return benchmark == Benchmark::poke || benchmark == Benchmark::fanout || benchmark == Benchmark::sockets;
}

Result<Figure> run_realtime_benchmark(Benchmark benchmark, const Options& options, const Outside& outside) {
  return RealtimeRunner(benchmark, options, outside).run();
}

}  // namespace nizhal::bench
