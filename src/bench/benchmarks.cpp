#include "bench/benchmarks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/json.hpp"
#include "bench/bench_domain.hpp"
#include "bench/crdt.hpp"
#include "bench/database.hpp"
#include "bench/device.hpp"
#include "bench/live_benchmark.hpp"
#include "bench/load.hpp"
#include "bench/pgbench.hpp"
#include "bench/realtime_benchmarks.hpp"
#include "bench/rounds.hpp"
#include "domain/hlc.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "protocol/transport.hpp"
#include "server/authenticator.hpp"

namespace nizhal::bench {
namespace {

constexpr std::size_t kBatchMutations = 50;
constexpr std::size_t kPageRows = 1'000;
constexpr std::size_t kBodyBytes = 100;  // of a row's text
constexpr std::size_t kIdleDeviceRows = 10;
constexpr std::string_view kBootstrapOwner = "owner-of-all";

std::string owner_of(std::size_t device) { return fmt::format("owner-{}", device); }

/// One installation of the app, as the server sees it.
struct Device {
  std::string client_id, token;
  std::uint64_t last_mutation_id = 0;
  std::string request;  // an idle pull, always the same
};

class Runner {
 public:
  Runner(Benchmark benchmark, const Options& options, const Outside& outside)
      : benchmark_(benchmark), options_(options), outside_(outside) {
    std::array<std::uint8_t, 32> bytes{};
    outside_.random.fill(bytes);
    secret_ = to_hex(bytes);
  }

  Result<Figure> run() {
    figure_.name = to_string(benchmark_);
    figure_.settings = outside_.settings;
    if (auto opened = open_storage(); !opened) return tl::unexpected(opened.error());
    outside_.progress(fmt::format("{}: preparing", figure_.name));
    auto measured = measure_benchmark();
    server_.reset();  // before the database goes
    if (!measured) return tl::unexpected(measured.error());
    return std::move(figure_);
  }

 private:
  Result<void> open_storage() {
    if (options_.db.empty()) {
      if (directory_.path().empty()) return failure(ErrorCode::io_error, "no temporary directory");
      db_ = fmt::format("sqlite:{}/server.db", directory_.path());
      say("storage", "SQLite");
    } else {
      auto database = create_recorded(options_.db, outside_.random, figure_.settings);
      if (!database) return tl::unexpected(database.error());
      database_ = std::move(*database);
      db_ = database_->url();
    }
    auto server = outside_.start_server({.db = db_, .secret = secret_, .workers = options_.workers});
    if (!server) return tl::unexpected(server.error());
    server_ = std::move(*server);
    say("server workers", options_.workers == 0 ? "default" : fmt::to_string(options_.workers));
    return {};
  }

  void say(std::string name, std::string value) { figure_.settings.emplace_back(std::move(name), std::move(value)); }

  Result<void> go_on() const { return bench::go_on(outside_); }

  Result<void> measure_benchmark() {
    switch (benchmark_) {
      case Benchmark::push:
        return measure_push(1);
      case Benchmark::push_batch:
        return measure_push(kBatchMutations);
      case Benchmark::bootstrap:
        return measure_bootstrap();
      case Benchmark::idle_pull:
        return measure_idle_pull();
      case Benchmark::poke:
      case Benchmark::fanout:
      case Benchmark::sockets:
      case Benchmark::live_order:
      case Benchmark::live_fold:
      case Benchmark::live_join:
      case Benchmark::crdt_keystrokes:
      case Benchmark::crdt_bulk:
      case Benchmark::crdt_edit:
        break;  // they have a runner of their own
      case Benchmark::mutate:
      case Benchmark::apply:
        break;  // not of the server
    }
    return {};
  }

  Result<void> measure(const Side& engine, const Side& limit) {
    return measure_rounds(figure_, options_, outside_, engine, limit);
  }

  std::string token_of(std::string_view user, std::string_view owner) {
    json::object claims;
    claims["userId"] = user;
    claims["ownerId"] = owner;
    claims["exp"] = outside_.clock.now().microseconds / 1'000'000 + 86'400;
    return server::make_jwt(secret_, to_text(claims));
  }

  std::vector<Device> make_devices() {
    std::vector<Device> devices(options_.connections);
    for (std::size_t i = 0; i < devices.size(); ++i) {
      devices[i].client_id = random_uuid(outside_.random);
      devices[i].token = token_of(fmt::format("user-{}", i), owner_of(i));
    }
    return devices;
  }

  // Pushes.

  std::string push_request(Device& device, std::size_t mutations) {
    protocol::PushRequest push;
    push.results = true;
    HybridClock clock(hlc_node(device.client_id), Hlc{});
    for (std::size_t i = 0; i < mutations; ++i) {
      json::object args;
      args["id"] = random_uuid(outside_.random);
      args["body"] = std::string(kBodyBytes, 'x');
      args["amount"] = i;
      protocol::PushMutation mutation;
      mutation.name = kAddItem;
      mutation.args = std::move(args);
      mutation.client_mutation_id = random_uuid(outside_.random);
      mutation.client_id = device.client_id;
      mutation.mutation_id = MutationId{++device.last_mutation_id};
      mutation.hlc = clock.tick(outside_.clock.now()).text();
      push.mutations.push_back(std::move(mutation));
    }
    return http_post(protocol::kPushPath, device.token, protocol::encode_push_request(push),
                     fmt::format("{}: 1.0.0\r\n", protocol::kContractVersionHeader));
  }

  Result<std::uint64_t> applied(int status, std::string_view body, std::size_t expected) const {
    if (auto on = go_on(); !on) return tl::unexpected(on.error());
    constexpr std::string_view kApplied = R"("status":"applied")";
    std::size_t found = 0;
    for (auto at = body.find(kApplied); at != std::string_view::npos; at = body.find(kApplied, at + kApplied.size()))
      ++found;
    if (status != 200 || found != expected)
      return failure(ErrorCode::internal, fmt::format("a push was answered {}: {}", status, body.substr(0, 500)));
    return found;
  }

  Result<void> measure_push(std::size_t mutations) {
    figure_.unit = "mutations/s";
    const auto pgbench = find_pgbench();
    if (!pgbench) return tl::unexpected(pgbench.error());
    if (auto made = database_->run(bare_tables(options_.connections)); !made) return made;
    const std::string script = directory_.path() + "/bare.sql";
    if (!(std::ofstream(script) << bare_transaction(mutations)).flush())
      return failure(ErrorCode::io_error, fmt::format("{} cannot be written", script));

    std::vector<Device> devices = make_devices();
    const std::string connections = fmt::to_string(options_.connections);
    say("connections", connections);
    say("seconds", fmt::to_string(options_.seconds));
    say("mutations per request", fmt::to_string(mutations));
    say("limit", fmt::format("pgbench -M prepared -c {} -j 1, {} mutation record{} and row{} per transaction",
                             connections, mutations, mutations == 1 ? "" : "s", mutations == 1 ? "" : "s"));
    const Side engine = [&](std::chrono::seconds duration) -> Result<double> {
      LoadPlan plan;
      plan.port = server_->port();
      plan.connections = devices.size();
      plan.duration = duration;
      plan.next = [&](std::size_t i) { return push_request(devices[i], mutations); };
      plan.done = [&](std::size_t, int status, std::string_view body) { return applied(status, body, mutations); };
      const auto result = run_load(plan);
      if (!result) return tl::unexpected(result.error());
      return result->per_second();
    };
    const Side limit = [&](std::chrono::seconds duration) -> Result<double> {
      const auto printed = outside_.run_program({*pgbench, "-n", "-M", "prepared", "-c", connections, "-j", "1", "-T",
                                                 fmt::to_string(duration.count()), "-f", script},
                                                database_->environment());
      if (!printed) return tl::unexpected(printed.error());
      const auto transactions = parse_tps(*printed);
      if (!transactions) return failure(ErrorCode::internal, fmt::format("pgbench failed: {}", *printed));
      return *transactions * static_cast<double>(mutations);
    };
    return measure(engine, limit);
  }

  // Pulls.

  struct Page {
    std::string cursor;
    bool has_more = false;
    std::string_view body;
  };
  /// The members after the rows, which hold no such text.
  static Result<Page> read_page(int status, std::string_view body) {
    constexpr std::string_view kCursor = R"("cursor":")";
    const auto at = body.rfind(kCursor);
    if (status != 200 || at == std::string_view::npos)
      return failure(ErrorCode::internal, fmt::format("a pull was answered {}: {}", status, body.substr(0, 500)));
    const std::string_view rest = body.substr(at + kCursor.size());
    return Page{std::string(rest.substr(0, rest.find('"'))), rest.find(R"("hasMore":true)") != std::string_view::npos,
                body};
  }

  static std::size_t rows_of(std::string_view body) {
    constexpr std::string_view kId = R"("id":")";
    std::size_t rows = 0;
    for (auto at = body.find(kId); at != std::string_view::npos; at = body.find(kId, at + kId.size())) ++rows;
    return rows;
  }

  static std::string pull_request(const Device& device, const std::string& cursor) {
    protocol::PullRequest pull;
    pull.cursor = cursor;
    pull.device_id = device.client_id;
    pull.limit = kPageRows;
    return http_post(protocol::kPullPath, device.token, protocol::encode_pull_request(pull));
  }

  /// One complete pull from the start.
  struct Pulled {
    std::size_t rows = 0;
    std::string cursor;
  };
  Result<Pulled> pull_all(HttpPeer& peer, const Device& device) {
    Pulled pulled;
    for (bool more = true; more;) {
      if (auto on = go_on(); !on) return tl::unexpected(on.error());
      const auto answer = peer.exchange(pull_request(device, pulled.cursor));
      if (!answer) return tl::unexpected(answer.error());
      auto page = read_page(answer->status, answer->body);
      if (!page) return tl::unexpected(page.error());
      pulled.rows += rows_of(page->body);
      pulled.cursor = std::move(page->cursor);
      more = page->has_more;
    }
    return pulled;
  }

  Result<void> insert_rows(std::string_view owner, std::size_t rows) {
    return database_->run(
        fmt::format("INSERT INTO {} (id, owner_id, body, amount) SELECT gen_random_uuid(), '{}', repeat('x', {}), i "
                    "FROM generate_series(1, {}) AS i",
                    kItemTable, owner, kBodyBytes, rows));
  }

  Result<void> measure_bootstrap() {
    figure_.unit = "rows/s";
    if (auto inserted = insert_rows(kBootstrapOwner, options_.rows); !inserted) return inserted;
    if (auto vacuumed = database_->run(fmt::format("VACUUM ANALYZE {}", kItemTable)); !vacuumed) return vacuumed;
    Device device;
    device.client_id = random_uuid(outside_.random);
    device.token = token_of("user-of-all", kBootstrapOwner);
    say("rows", fmt::to_string(options_.rows));
    say("page rows", fmt::to_string(kPageRows));
    say("connections", "1");
    say("limit", "COPY (SELECT row_to_json(…)) TO STDOUT");

    using Clock = std::chrono::steady_clock;
    const auto rate = [&](Clock::time_point start) {
      return static_cast<double>(options_.rows) / std::chrono::duration<double>(Clock::now() - start).count();
    };
    // However long it takes: a bootstrap is all rows, once.
    const Side engine = [&](std::chrono::seconds) -> Result<double> {
      auto peer = HttpPeer::connect(server_->port());
      if (!peer) return tl::unexpected(peer.error());
      const auto start = Clock::now();
      const auto pulled = pull_all(*peer, device);
      if (!pulled) return tl::unexpected(pulled.error());
      if (pulled->rows != options_.rows)
        return failure(ErrorCode::internal, fmt::format("{} rows came of {}", pulled->rows, options_.rows));
      return rate(start);
    };
    const Side limit = [&](std::chrono::seconds) -> Result<double> {
      const auto start = Clock::now();
      const auto copied = database_->copy_out(
          fmt::format("SELECT row_to_json(r) FROM (SELECT id, owner_id, body, amount FROM {} WHERE owner_id = '{}') r",
                      kItemTable, kBootstrapOwner));
      if (!copied) return tl::unexpected(copied.error());
      if (copied->rows != options_.rows)
        return failure(ErrorCode::internal, fmt::format("COPY gave {} rows of {}", copied->rows, options_.rows));
      return rate(start);
    };
    return measure(engine, limit);
  }

  /// Each device has some rows, so that its cursor is a usual one.
  Result<void> prepare_idle(std::vector<Device>& devices) {
    auto peer = HttpPeer::connect(server_->port());
    if (!peer) return tl::unexpected(peer.error());
    for (Device& device : devices) {
      const auto pushed = peer->exchange(push_request(device, kIdleDeviceRows));
      if (!pushed) return tl::unexpected(pushed.error());
      if (auto fine = applied(pushed->status, pushed->body, kIdleDeviceRows); !fine)
        return tl::unexpected(fine.error());
    }
    for (Device& device : devices) {
      const auto pulled = pull_all(*peer, device);
      if (!pulled) return tl::unexpected(pulled.error());
      if (pulled->rows != kIdleDeviceRows)
        return failure(ErrorCode::internal, fmt::format("{} rows came of {}", pulled->rows, kIdleDeviceRows));
      device.request = pull_request(device, pulled->cursor);
    }
    return {};
  }

  Result<void> measure_idle_pull() {
    figure_.unit = "pulls/s";
    std::vector<Device> devices = make_devices();
    if (auto prepared = prepare_idle(devices); !prepared) return prepared;
    auto peer = HttpPeer::connect(server_->port());
    if (!peer) return tl::unexpected(peer.error());
    const auto idle = peer->exchange(devices[0].request);
    if (!idle) return tl::unexpected(idle.error());
    auto constant = outside_.start_server({.body_bytes = idle->body.size()});
    if (!constant) return tl::unexpected(constant.error());
    say("connections", fmt::to_string(options_.connections));
    say("seconds", fmt::to_string(options_.seconds));
    say("limit", fmt::format("the same HTTP server with a constant answer of {} bytes", idle->body.size()));

    const auto side = [&](std::uint16_t port, std::string_view expected) -> Side {
      return [this, &devices, port, expected = std::string(expected)](std::chrono::seconds duration) -> Result<double> {
        LoadPlan plan;
        plan.port = port;
        plan.connections = devices.size();
        plan.duration = duration;
        plan.next = [&](std::size_t i) { return devices[i].request; };
        plan.done = [&](std::size_t, int status, std::string_view body) -> Result<std::uint64_t> {
          if (auto on = go_on(); !on) return tl::unexpected(on.error());
          if (status == 200 && body.starts_with(expected)) return 1;
          return failure(ErrorCode::internal, fmt::format("a pull was answered {}: {}", status, body.substr(0, 500)));
        };
        const auto result = run_load(plan);
        if (!result) return tl::unexpected(result.error());
        return result->per_second();
      };
    };
    return measure(side(server_->port(), R"({"changed":[],"tombstoned":[],"removed":[],"removedBuckets":[],)"),
                   side((*constant)->port(), "x"));
  }

  const Benchmark benchmark_;
  const Options& options_;
  const Outside& outside_;
  std::string secret_, db_;
  Figure figure_;
  // In this order: the server ends before its database and its directory go.
  Directory directory_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<RunningServer> server_;
};

}  // namespace

const char* to_string(Benchmark benchmark) {
  switch (benchmark) {
    case Benchmark::push:
      return "push";
    case Benchmark::push_batch:
      return "push-batch";
    case Benchmark::bootstrap:
      return "bootstrap";
    case Benchmark::idle_pull:
      return "idle-pull";
    case Benchmark::poke:
      return "poke";
    case Benchmark::fanout:
      return "fanout";
    case Benchmark::sockets:
      return "sockets";
    case Benchmark::live_order:
      return "live-order";
    case Benchmark::live_fold:
      return "live-fold";
    case Benchmark::live_join:
      return "live-join";
    case Benchmark::mutate:
      return "mutate";
    case Benchmark::apply:
      return "apply";
    case Benchmark::crdt_keystrokes:
      return "crdt-keystrokes";
    case Benchmark::crdt_bulk:
      return "crdt-bulk";
    case Benchmark::crdt_edit:
      return "crdt-edit";
  }
  return "";
}

std::optional<Benchmark> parse_benchmark(std::string_view name) {
  for (const Benchmark benchmark : kAllBenchmarks)
    if (name == to_string(benchmark)) return benchmark;
  return std::nullopt;
}

bool is_live(Benchmark benchmark) {
  return benchmark == Benchmark::live_order || benchmark == Benchmark::live_fold || benchmark == Benchmark::live_join;
}

bool needs_postgres(Benchmark benchmark) {
  return benchmark != Benchmark::idle_pull && benchmark != Benchmark::sockets && !is_live(benchmark) &&
         !is_of_device(benchmark) && !is_of_crdt(benchmark);
}

Result<Figure> run_benchmark(Benchmark benchmark, const Options& options, const Outside& outside) {
  if (is_of_crdt(benchmark)) return run_crdt_benchmark(benchmark, options, outside);
  if (is_of_device(benchmark)) return run_device_benchmark(benchmark, options, outside);
  if (needs_postgres(benchmark) && options.db.empty())
    return failure(ErrorCode::usage,
                   fmt::format("{} is measured beside PostgreSQL; name a server: --db postgresql://USER@HOST/NAME",
                               to_string(benchmark)));
  if (is_realtime(benchmark)) return run_realtime_benchmark(benchmark, options, outside);
  if (is_live(benchmark)) return run_live_benchmark(benchmark, options, outside);
  return Runner(benchmark, options, outside).run();
}

}  // namespace nizhal::bench
