// A real server on loopback in the test's own process, so that a test can stop it in the middle of a mutation, and its
// database as SQL.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

#include <nizhal/server.hpp>
#include <nizhal/store.hpp>

#include "base/test_temp_dir.hpp"
#include "sqlite/connection.hpp"
#include "tests/support/select_text.hpp"
#include "tests/two_processes/device_process.hpp"
#include "tests/two_processes/domain.hpp"

namespace nizhal::testing {

class ServerWorld : public ::testing::Test {
 public:
  ServerWorld()
      : server_({.domain = gated_notes(&gate),
                 .storage = sqlite_storage(folder.file("server.db")),
                 .auth = bearer_token_auth({.secret = std::string(kTestSecret)})}) {
    std::promise<std::uint16_t> ready;
    thread_ = std::thread([this, &ready] {
      server_.listen(
          {.port = 0, .on_ready = [&ready](std::uint16_t port) { ready.set_value(port); }, .handle_signals = false});
    });
    url = "http://127.0.0.1:" + std::to_string(ready.get_future().get());
  }
  ~ServerWorld() override {
    gate.open();
    server_.stop();
    thread_.join();
  }

  std::vector<std::string> on_server(std::string_view sql) const {
    auto connection = sqlite::Connection::open(folder.file("server.db"), {.read_only = true});
    EXPECT_TRUE(connection) << connection.error().message;
    return connection ? select_text(**connection, sql) : std::vector<std::string>();
  }
  /// Ids of the notes that are there, in the order in which the server ran their mutations.
  std::vector<std::string> runs() const {
    return on_server("SELECT client_mutation_id FROM nizhal_audit WHERE outcome = 'applied' ORDER BY seq");
  }
  std::vector<std::string> notes_there() const { return on_server("SELECT id FROM notes ORDER BY id"); }
  void expect_nothing_doubled() const {
    EXPECT_EQ(on_server("SELECT client_mutation_id FROM nizhal_audit WHERE outcome = 'applied' "
                        "GROUP BY client_mutation_id HAVING count(*) > 1"),
              std::vector<std::string>());
  }

  TempDir folder;
  Gate gate;
  std::string url;

 private:
  Server server_;
  std::thread thread_;
};

}  // namespace nizhal::testing
