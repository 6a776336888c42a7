// Server instances with real sockets, as nizhal::Server builds them, on one storage and one bus in this process.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <nizhal/store.hpp>

#include "base/environment.hpp"
#include "base/test_temp_dir.hpp"
#include "domain/compiled_domain.hpp"
#include "examples/notes/notes.hpp"
#include "net/http_server.hpp"
#include "net/http_service.hpp"
#include "net/worker_pool.hpp"
#include "realtime/realtime.hpp"
#include "server/authenticator.hpp"
#include "server/server_sync.hpp"
#include "storage/sqlite/sqlite_storage.hpp"
#include "tests/support/process.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {

/// The database and the bus that the instances share.
struct Shared {
  Shared() {
    storage = require(storage::open_sqlite_storage({.path = directory.file("server.db")}, domain, system_random(), {}),
                      "open the storage");
    require(storage->provision(), "provision");
  }
  TempDir directory;
  std::shared_ptr<const CompiledDomain> domain = require(CompiledDomain::compile(notes::domain()), "compile");
  std::unique_ptr<storage::Storage> storage;
  server::JwtAuthenticator authenticator{std::string(kTestSecret)};
  realtime::InProcessBus bus;
};

class Instance : private net::HttpService {
 public:
  explicit Instance(Shared& shared, std::uint16_t port = 0)
      : realtime_(shared.bus.join()),
        workers_(4, 1000, Log()),
        sync_(shared.domain,
              {.clock = system_clock(),
               .random = system_random(),
               .executor = workers_,
               .storage = *shared.storage,
               .authenticator = shared.authenticator,
               .log = {},
               .realtime = realtime_.get()},
              {}) {
    net::HttpServerOptions http;
    http.port = port;
    http.on_stopping = [this] { sync_.begin_shutdown(); };
    http.periodic.push_back({.interval = server::Limits{}.look_interval, .work = [this] { sync_.tick(); }});
    server_ = require(net::HttpServer::open(std::move(http), *this, workers_, Log()), "listen");
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Instance() {
    server_->stop();
    thread_.join();
    workers_.stop();
  }
  std::uint16_t port() const { return server_->port(); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }

 private:
  class Stream : public net::StreamHandler {
   public:
    Stream(server::ServerSync& sync, std::shared_ptr<server::ServerSync::StreamTicket> ticket)
        : sync_(sync), ticket_(std::move(ticket)) {}
    void opened(std::shared_ptr<server::StreamPeer> peer) override {
      id_ = sync_.open_stream(std::exchange(ticket_, nullptr), std::move(peer));
    }
    void frame(std::string_view text) override { sync_.stream_frame(*id_, text); }
    void closed() override { sync_.close_stream(*id_); }

   private:
    server::ServerSync& sync_;
    std::shared_ptr<server::ServerSync::StreamTicket> ticket_;
    std::optional<server::StreamId> id_;
  };
  bool is_immediate(const protocol::HttpRequest& request) const override { return sync_.is_immediate(request); }
  protocol::HttpResponse handle(const protocol::HttpRequest& request) override { return sync_.handle(request); }
  tl::expected<std::shared_ptr<net::StreamHandler>, protocol::HttpResponse> authorize_stream(
      const protocol::HttpRequest& request) override {
    auto ticket = sync_.authorize_stream(request);
    if (!ticket) return tl::unexpected(std::move(ticket.error()));
    return std::make_shared<Stream>(sync_, std::move(*ticket));
  }

  std::unique_ptr<realtime::Realtime> realtime_;
  net::WorkerPool workers_;
  server::ServerSync sync_;
  std::unique_ptr<net::HttpServer> server_;
  std::thread thread_;
};

inline std::string token_of(const std::string& user) {
  return server::make_jwt(std::string(kTestSecret),
                          R"({"userId":")" + user + R"(","ownerId":"o-)" + user + R"(","exp":4102444800})");
}

/// A device, and what it was told of who is in one bucket.
class Follower {
 public:
  Follower(Shared& shared, const std::string& user, const std::string& url, std::string bucket)
      : store(require(open_store({.path = shared.directory.file(user + ".db"),
                                  .domain = notes::domain(),
                                  .actor = {.user_id = user, .owner_id = "o-" + user},
                                  .server = url,
                                  .token = [user] { return token_of(user); }}),
                      "open the store")),
        bucket_(std::move(bucket)),
        observed_(store.on_presence(bucket_, [this](const std::vector<Presence>& people) {
          const std::lock_guard lock(mutex_);
          ++told_;
          seen_ = names(people);
          changed_.notify_all();
        })) {}

  /// "ann{"at":"till"} bob{}"
  static std::string names(const std::vector<Presence>& people) {
    std::string all;
    for (const Presence& one : people) all += (all.empty() ? "" : " ") + one.user_id + one.payload;
    return all;
  }
  /// Waits until its observer was told exactly this; what it was told last.
  std::string until(const std::string& expected) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] { return seen_ == expected; });
    return seen_;
  }
  std::size_t told() {
    const std::lock_guard lock(mutex_);
    return told_;
  }
  std::string now() const { return names(store.presence(bucket_)); }
  void mutate(const std::string& name, const std::string& args) {
    const auto ticket = store.mutate_json(name, args);
    ASSERT_TRUE(ticket) << ticket.error().message;
    const auto synced = store.sync_now(kPatience);
    ASSERT_TRUE(synced) << synced.error().message;
    ASSERT_EQ(synced->rejected, 0U);
  }

  Store store;

 private:
  const std::string bucket_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string seen_ = "not told yet";
  std::size_t told_ = 0;
  Subscription observed_;
};

}  // namespace nizhal::testing
