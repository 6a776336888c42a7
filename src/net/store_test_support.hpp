// For the tests of Server and Store as a user has them: a server of the notes example in a thread, and its devices.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nizhal/server.hpp>
#include <nizhal/store.hpp>

#include "../../examples/notes/notes.hpp"
#include "base/reserved_port.hpp"
#include "base/test_temp_dir.hpp"
#include "net/net_test_support.hpp"
#include "server/authenticator.hpp"

namespace nizhal::net::test {

inline constexpr const char* kSecret = "a secret for tests only";

inline std::string token(const std::string& user, const std::string& owner) {
  return server::make_jwt(kSecret, R"({"userId":")" + user + R"(","ownerId":")" + owner + R"(","exp":4102444800})");
}

inline ServerOptions server_options(const std::string& path) {
  return {.domain = notes::domain(), .storage = sqlite_storage(path), .auth = bearer_token_auth({.secret = kSecret})};
}

/// A Server in a thread. Its port is its own for as long as the object lives, also when the server was stopped.
class Running {
 public:
  explicit Running(const std::string& path, std::uint16_t port = 0) : Running(server_options(path), port) {}
  explicit Running(ServerOptions options, std::uint16_t port = 0) : server_(std::move(options)) {
    thread_ = std::thread([this, chosen = port != 0 ? port : reserved_.port()] {
      code_ = server_.listen(
          {.port = chosen, .on_ready = [this](std::uint16_t real) { ready_.put(real); }, .handle_signals = false});
    });
    port_ = ready_.take().value_or(0);
  }
  ~Running() { stop(); }
  int stop() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
    return code_;
  }
  std::uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  const ReservedPort reserved_;
  Server server_;
  Mailbox<std::uint16_t> ready_;
  std::uint16_t port_ = 0;
  std::atomic<int> code_{-1};
  std::thread thread_;
};

inline StoreOptions device(const std::string& path, const std::string& url, const std::string& user = "u1",
                           const std::string& owner = "o1") {
  return {.path = path,
          .domain = notes::domain(),
          .actor = {.user_id = user, .owner_id = owner},
          .server = url,
          .token = [user, owner] { return token(user, owner); }};
}
inline StoreOptions offline(StoreOptions options) {
  options.start_online = false;
  return options;
}

/// Waits for a status that satisfies the condition; status changes wake it.
template <class Condition>
bool wait_for(Store& store, Condition condition) {
  Mailbox<bool> changed;
  const auto observed = store.on_status([&](const StoreStatus&) { changed.put(true); });
  const auto deadline = std::chrono::steady_clock::now() + kDeadline;
  bool holds = condition();
  while (!holds && std::chrono::steady_clock::now() < deadline) {
    changed.take();
    holds = condition();
  }
  return holds;
}

inline std::vector<std::string> bodies(const Store& store) {
  std::vector<std::string> found;
  const auto rows = store.query(from(notes::notes).order_by("id"));
  EXPECT_TRUE(rows) << rows.error().message;
  if (rows)
    for (const auto& note : *rows) found.push_back(note.id + "=" + note.body);
  return found;
}

}  // namespace nizhal::net::test
