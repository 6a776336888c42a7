// nizhal::Server: the parts of a server, built top to bottom and run until told to stop.
#include <nizhal/server.hpp>

#include <atomic>
#include <csignal>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "base/timers.hpp"
#include "domain/compiled_domain.hpp"
#include "net/http_server.hpp"
#include "net/http_service.hpp"
#include "net/worker_pool.hpp"
#include "realtime/postgres/instance_watch.hpp"
#include "realtime/postgres/listen_notify.hpp"
#include "server/authenticator.hpp"
#include "server/origins.hpp"
#include "server/server_sync.hpp"
#include "storage/database_url.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal {
namespace {

constexpr std::size_t kSecretBytesMin = 16;
/// What is under way when the server is told to stop has this long; then its storage work is cancelled. Below the 10 s
/// that service managers give at the least.
constexpr std::chrono::milliseconds kDrainTime{8'000};
constexpr std::size_t kWorkersSqlite = 4;     // one of them writes, the others read
constexpr std::size_t kWorkersPostgres = 16;  // most of their time is the network's and the database's

/// How often an instance that hears of no others looks whether there are some.
constexpr std::chrono::milliseconds kInstancesInterval{30'000};

constexpr int kStopped = 0, kWrongOptions = 2, kDrift = 3, kUnusable = 4;

/// The core behind the sockets.
class CoreService : public net::HttpService {
 public:
  explicit CoreService(server::ServerSync& sync) : sync_(sync) {}

  bool is_immediate(const protocol::HttpRequest& request) const override { return sync_.is_immediate(request); }
  protocol::HttpResponse handle(const protocol::HttpRequest& request) override { return sync_.handle(request); }
  bool try_defer(const protocol::HttpRequest& request,
                 std::function<void(std::optional<protocol::HttpResponse>)> answer) override {
    return sync_.try_defer(request, std::move(answer));
  }
  tl::expected<std::shared_ptr<net::StreamHandler>, protocol::HttpResponse> authorize_stream(
      const protocol::HttpRequest& request) override {
    auto ticket = sync_.authorize_stream(request);
    if (!ticket) return tl::unexpected(std::move(ticket.error()));
    return std::make_shared<Stream>(sync_, std::move(*ticket));
  }

 private:
  class Stream : public net::StreamHandler {
   public:
    Stream(server::ServerSync& sync, std::shared_ptr<server::ServerSync::StreamTicket> ticket)
        : sync_(sync), ticket_(std::move(ticket)) {}
    void opened(std::shared_ptr<server::StreamPeer> peer) override {
      id_ = sync_.open_stream(std::exchange(ticket_, nullptr), std::move(peer));
    }
    void frame(std::string_view text) override {
      if (id_) sync_.stream_frame(*id_, text);
    }
    void closed() override {
      if (id_) sync_.close_stream(*id_);
    }

   private:
    server::ServerSync& sync_;
    std::shared_ptr<server::ServerSync::StreamTicket> ticket_;
    std::optional<server::StreamId> id_;
  };

  server::ServerSync& sync_;
};

/// The socket server's, for the core, which is built before it; until then nothing is due.
class SocketTimers : public Timers {
 public:
  void attach(net::HttpServer& server) { server_ = &server; }
  void after(std::chrono::microseconds delay, std::function<void()> work) override {
    if (net::HttpServer* server = server_) server->after(delay, std::move(work));
  }

 private:
  std::atomic<net::HttpServer*> server_{nullptr};
};

/// Of the database, past any pooler in transaction mode, in which a session is nobody's own; empty when there is none.
std::string direct_url(const ServerOptions& options) {
  const StorageOptions& storage = options.storage;
  if (!options.realtime.url.empty()) return options.realtime.url;
  if (!storage.postgres.listen_url.empty()) return storage.postgres.listen_url;
  return storage.postgres.transaction_pooler ? std::string() : storage.url;
}

std::optional<std::string> find_mistake(const ServerOptions& options) {
  if (options.auth.bearer.secret.size() < kSecretBytesMin)
    return fmt::format(
        "the secret of bearer tokens must have at least {} bytes; set NIZHAL_JWT_SECRET to a long "
        "random text",
        kSecretBytesMin);
  if (!storage::kind_of_database(options.storage.url))
    return "the database must be given as sqlite:PATH or postgresql://USER@HOST:5432/NAME";
  if (options.realtime.kind == RealtimeOptions::Kind::listen_notify) {
    if (storage::kind_of_database(options.storage.url) == storage::DatabaseKind::sqlite)
      return "LISTEN/NOTIFY is PostgreSQL's; a SQLite file has one serving process, and several instances need a "
             "PostgreSQL database";
    if (direct_url(options).empty())
      return "LISTEN/NOTIFY needs a direct connection where the database is reached through a pooler in transaction "
             "mode; give one (--listen-db)";
  }
  if (options.pull_limit_default == 0 || options.pull_limit_max < options.pull_limit_default)
    return "pull_limit_default must be at least 1 and no more than pull_limit_max";
  for (const std::string& origin : options.allowed_origins)
    if (const auto parsed = server::parse_origin(origin); !parsed) return parsed.error().message;
  if (options.body_bytes_max == 0) return "body_bytes_max must be at least 1";
  return std::nullopt;
}

std::size_t workers_of(const ServerOptions& options) {
  if (options.workers > 0) return options.workers;
  return storage::kind_of_database(options.storage.url) == storage::DatabaseKind::postgres ? kWorkersPostgres
                                                                                           : kWorkersSqlite;
}

Result<std::unique_ptr<storage::Storage>> open_storage(const ServerOptions& options,
                                                       std::shared_ptr<const CompiledDomain> domain, const Log& log) {
  if (storage::kind_of_database(options.storage.url) == storage::DatabaseKind::sqlite)
    return storage::open_sqlite_storage({.path = storage::sqlite_path(options.storage.url)}, std::move(domain),
                                        system_random(), log);
  const PostgresOptions& given = options.storage.postgres;
  storage::PostgresStorageOptions postgres;
  postgres.url = options.storage.url;
  postgres.listen_url = given.listen_url;
  postgres.read_url = given.read_url;
  postgres.transaction_pooler = given.transaction_pooler;
  // A worker holds one for its transaction and may share another for where the database stands; pruning has one too.
  postgres.connections_max = given.connections_max > 0 ? given.connections_max : workers_of(options) + 4;
  postgres.statement_timeout = given.statement_timeout;
  postgres.lock_timeout = given.lock_timeout;
  return storage::open_postgres_storage(std::move(postgres), std::move(domain), system_random(), log);
}

std::unique_ptr<realtime::Realtime> open_realtime(const ServerOptions& options, const CompiledDomain& domain,
                                                  const Log& log) {
  if (options.realtime.kind != RealtimeOptions::Kind::listen_notify) return nullptr;
  const std::int32_t lock_class = storage::postgres_schema::lock_class(domain.domain().name());
  realtime::ListenNotifyOptions listen;
  listen.url = direct_url(options);
  listen.channel = fmt::format("nizhal_{}", lock_class);
  listen.instances_key = realtime::instances_key(lock_class);
  return realtime::listen_notify(std::move(listen), system_random(), log);
}

/// For an instance on PostgreSQL that does not hear the others.
std::unique_ptr<realtime::InstanceWatch> watch_instances(const ServerOptions& options, const CompiledDomain& domain,
                                                         const Log& log) {
  if (options.realtime.kind != RealtimeOptions::Kind::in_process ||
      storage::kind_of_database(options.storage.url) != storage::DatabaseKind::postgres || direct_url(options).empty())
    return nullptr;
  return std::make_unique<realtime::InstanceWatch>(
      direct_url(options), realtime::instances_key(storage::postgres_schema::lock_class(domain.domain().name())), log);
}

server::Limits limits_of(const ServerOptions& options) {
  server::Limits limits;
  limits.body_bytes_max = options.body_bytes_max;
  limits.pull_limit_default = options.pull_limit_default;
  limits.pull_limit_max = options.pull_limit_max;
  limits.retention = options.retention;
  limits.requests_per_second = options.rate_limit.requests_per_second;
  limits.request_burst = options.rate_limit.burst;
  for (const std::string& origin : options.allowed_origins)
    limits.allowed_origins.push_back(server::parse_origin(origin).value_or(origin));
  limits.tail_bytes_max = options.tail_bytes_max;
  limits.admin_password = options.admin_password;
  return limits;
}

}  // namespace

StorageOptions sqlite_storage(std::string path) { return {.url = "sqlite:" + path}; }

StorageOptions postgres_storage(std::string url, PostgresOptions options) {
  return {.url = std::move(url), .postgres = std::move(options)};
}

RealtimeOptions in_process_realtime() { return {}; }

RealtimeOptions listen_notify_realtime(std::string url) {
  return {.kind = RealtimeOptions::Kind::listen_notify, .url = std::move(url)};
}

AuthOptions bearer_token_auth(BearerTokenOptions options) { return {std::move(options)}; }

class Server::Implementation {
 public:
  explicit Implementation(ServerOptions options) : options_(std::move(options)) {
    if (options_.log)
      log_ = Log([sink = options_.log](LogLevel level, std::string_view area, std::string_view message) {
        sink(to_string(level), area, message);
      });
  }

  int listen(const ListenOptions& listen) {
    try {
      return serve(listen);
    } catch (const std::exception& error) {
      log_.error("server", fmt::format("the server cannot go on: {}", error.what()));
      return kUnusable;
    }
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stop_wanted_ = true;
    if (running_) running_->stop();
  }

 private:
  int serve(const ListenOptions& listen) {
    if (const auto mistake = find_mistake(options_)) return give_up(kWrongOptions, *mistake);
    auto domain = CompiledDomain::compile(options_.domain);
    if (!domain) return give_up(kWrongOptions, domain.error().message);

    auto storage = open_storage(options_, *domain, log_);
    if (!storage) return give_up(code_of(storage.error()), storage.error().message);
    const auto provisioned = (*storage)->provision();
    if (!provisioned) return give_up(code_of(provisioned.error()), provisioned.error().message);
    if (provisioned->created) log_.info("storage", fmt::format("{} was created", (*storage)->describe()));
    for (const std::string& change : provisioned->changes) log_.info("storage", change);
    // A role that may look at the database and not use it is told here, not to each device.
    if (const auto usable = (*storage)->position(); !usable)
      return give_up(kUnusable, fmt::format("{} cannot be used: {}", (*storage)->describe(), usable.error().message));
    if (!options_.seed_sql.empty()) {
      const auto seeded = (*storage)->run_script(options_.seed_sql);
      if (!seeded) return give_up(kUnusable, "the seed script failed: " + seeded.error().message);
    }

    const server::Limits limits = limits_of(options_);
    const server::JwtAuthenticator authenticator(options_.auth.bearer.secret);
    const auto realtime = open_realtime(options_, **domain, log_);
    const auto instances = watch_instances(options_, **domain, log_);
    // Declared so that what runs on the workers outlives them, and the core outlives nothing that it uses.
    net::WorkerPool workers(workers_of(options_), options_.queue_max, log_);
    net::WorkerPool maintenance(1, 1, log_);
    SocketTimers timers;
    server::ServerSync sync(*domain,
                            {.clock = system_clock(),
                             .random = system_random(),
                             .executor = workers,
                             .storage = **storage,
                             .authenticator = authenticator,
                             .log = log_,
                             .realtime = realtime.get(),
                             .timers = &timers,
                             .on_conflict = options_.on_conflict},
                            limits);
    CoreService service(sync);

    net::HttpServerOptions http;
    http.host = listen.host;
    http.port = listen.port;
    http.body_bytes_max = limits.body_bytes_max;
    http.allowed_origins = limits.allowed_origins;
    http.stream.frame_bytes_max = limits.stream_frame_bytes_max;
    http.stop_timeout = kDrainTime;
    http.handle_signals = listen.handle_signals;
    http.on_stopping = [this, &sync] {
      log_.info("server", "stopping: finishing what is under way");
      sync.begin_shutdown();
    };
    http.periodic.push_back({.interval = limits.look_interval, .work = [&sync] { sync.tick(); }});
    http.periodic.push_back({.interval = limits.gc_interval,
                             .work = [&sync] { (void)sync.gc(); },  // it logs what did not work
                             .first_after = limits.gc_first_after,
                             .workers = &maintenance});
    if (instances)
      http.periodic.push_back({.interval = kInstancesInterval,
                               .work = [&instances] { (void)instances->look(); },  // the next one tries again
                               .first_after = limits.look_interval,
                               .workers = &maintenance});
    auto opened = net::HttpServer::open(std::move(http), service, workers, log_);
    if (!opened) return give_up(kUnusable, opened.error().message);
    net::HttpServer& server = **opened;
    timers.attach(server);
    // A peer that is gone shows in the write's result.
    if (listen.handle_signals) std::signal(SIGPIPE, SIG_IGN);
    {
      const std::lock_guard lock(mutex_);
      running_ = &server;
      if (stop_wanted_) server.stop();
    }
    log_.info("server", fmt::format("listening on {}:{}, {}", listen.host, server.port(), (*storage)->describe()));
    if (realtime) log_.info("realtime", fmt::format("hears of other instances by {}", realtime->describe()));
    if (listen.on_ready) listen.on_ready(server.port());
    server.run();
    {
      const std::lock_guard lock(mutex_);
      running_ = nullptr;
      stop_wanted_ = false;
    }
    // Every answer has gone out by now, or its time is up; what still runs is pruning, or work that nobody waits for.
    (*storage)->interrupt();
    workers.stop();
    maintenance.stop();
    log_.info("server", "stopped");
    return kStopped;
  }

  int give_up(int code, std::string_view why) {
    log_.error("server", why);
    return code;
  }

  static int code_of(const Error& error) { return error.code == ErrorCode::schema_mismatch ? kDrift : kUnusable; }

  const ServerOptions options_;
  Log log_;
  std::mutex mutex_;
  net::HttpServer* running_ = nullptr;
  bool stop_wanted_ = false;
};

Server::Server(ServerOptions options) : implementation_(std::make_unique<Implementation>(std::move(options))) {}
Server::~Server() = default;

int Server::listen(const ListenOptions& options) { return implementation_->listen(options); }

void Server::stop() { implementation_->stop(); }

}  // namespace nizhal
