// Real processes killed with SIGKILL: a device keeps every mutation that it acknowledged, a server loses nothing that
// it answered and applies nothing twice. When a kill strikes is random; what must hold afterwards is not.
#include <gtest/gtest.h>

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "base/json.hpp"
#include "base/test_seed.hpp"
#include "base/test_temp_dir.hpp"
#include "sqlite/connection.hpp"
#include "tests/support/process.hpp"
#include "tests/support/select_text.hpp"

namespace nizhal::testing {
namespace {

/// Lets the other process run for a random while, so that the kill lands anywhere in its work.
void let_run(Random& random, std::uint64_t microseconds_max) {
  const timespec while_it_works{0, static_cast<long>(random.below(microseconds_max) * 1'000)};
  ::nanosleep(&while_it_works, nullptr);
}

std::vector<std::string> server_select(const std::string& file, std::string_view sql) {
  auto connection = sqlite::Connection::open(file, {.read_only = true});
  EXPECT_TRUE(connection) << connection.error().message;
  return connection ? select_text(**connection, sql) : std::vector<std::string>();
}

/// Each client mutation id has been applied at most once.
void expect_nothing_doubled(const std::string& file) {
  EXPECT_EQ(server_select(file,
                          "SELECT client_mutation_id FROM nizhal_audit WHERE outcome = 'applied' "
                          "GROUP BY client_mutation_id HAVING count(*) > 1"),
            std::vector<std::string>());
}

TEST(Kill, AKilledDeviceKeepsEveryMutationThatItAcknowledged) {
  SeededRandom random(test_seed("killed device", 11));
  const TempDir directory;
  ServerProcess server("notes", directory.file("server.db"));
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand device{"notes", directory.file("a.db"), server.url(), make_token("u1", "o1")};
  ASSERT_EQ(device.run({"sync"}).status.code, 0);

  std::set<std::string> acknowledged;
  std::uint64_t killed_before_answer = 0;
  for (int i = 0; i < 60; ++i) {
    const std::string id = fmt::format("n{}", i);
    auto child =
        start_nizhal(device.arguments({"mutate", "addNote", fmt::format(R"({{"id":"{}","body":"b"}})", id), "--json"}));
    // Every other one is killed as soon as it has acknowledged, the others anywhere in their work, before it mostly.
    if (i % 2 == 0) {
      ASSERT_TRUE(child->wait_for_line("pending", kPatience)) << child->err();
    } else {
      let_run(random, 10'000);
    }
    child->signal(SIGKILL);
    ASSERT_TRUE(child->wait(kPatience));
    if (child->out().find("\"pending\"") != std::string::npos) {
      acknowledged.insert(id);
    } else {
      ++killed_before_answer;
    }
    if (i % 7 == 6) {  // a sync is killed as well, anywhere between its requests
      auto sync = start_nizhal(device.arguments({"sync"}));
      let_run(random, 60'000);
      sync->signal(SIGKILL);
      ASSERT_TRUE(sync->wait(kPatience));
    }
  }
  const Finished last = device.run({"sync", "--json"});
  ASSERT_EQ(last.status.code, 0) << last.err;
  const auto there = server_select(directory.file("server.db"), "SELECT id FROM notes");
  for (const std::string& id : acknowledged)
    EXPECT_TRUE(std::find(there.begin(), there.end(), id) != there.end()) << id << " was acknowledged and is lost";
  expect_nothing_doubled(directory.file("server.db"));
  std::cout << acknowledged.size() << " acknowledged, " << killed_before_answer << " killed before they answered\n";
  EXPECT_GE(acknowledged.size(), 30U);
}

TEST(Kill, AServerKilledInTheMiddleOfPushesLosesAndDoublesNothing) {
  SeededRandom random(test_seed("killed server", 12));
  const TempDir directory;
  ServerProcess server("ledger", directory.file("server.db"));
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand device{"ledger", directory.file("a.db"), server.url(), make_token("u1", "shop")};
  ASSERT_EQ(device.run({"mutate", "createShop", R"({"id":"s1","name":"Shop"})"}).status.code, 0);
  ASSERT_EQ(device.run({"mutate", "addCustomer", R"({"id":"c1","shop_id":"s1","name":"Customer"})"}).status.code, 0);
  ASSERT_EQ(device.run({"sync"}).status.code, 0);

  std::uint64_t credits = 0;
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 12; ++i, ++credits) {
      const Finished done = device.run(
          {"mutate", "recordCredit", fmt::format(R"({{"id":"e{}","customer_id":"c1","amount":1}})", credits)});
      ASSERT_EQ(done.status.code, 0) << done.err;
    }
    auto sync = start_nizhal(device.arguments({"sync", "--timeout", "20s"}));
    let_run(random, 40'000);
    server.kill();
    ASSERT_TRUE(server.start()) << server.why();
    ASSERT_TRUE(sync->wait(kPatience));
  }
  const Finished last = device.run({"sync", "--json"});
  ASSERT_EQ(last.status.code, 0) << last.err;
  EXPECT_NE(last.out.find("\"pending\":0"), std::string::npos) << last.out;
  EXPECT_NE(last.out.find("\"deadLetters\":0"), std::string::npos) << last.out;
  EXPECT_EQ(server_select(directory.file("server.db"), "SELECT count(*), sum(amount) FROM ledger_entries"),
            std::vector<std::string>{fmt::format("{}|{}", credits, credits)});
  const Finished local = device.run({"query", "SELECT sum(amount) AS balance FROM ledger_entries", "--json"});
  EXPECT_EQ(local.out, fmt::format("[{{\"balance\":{}}}]\n", credits));
  expect_nothing_doubled(directory.file("server.db"));
}

TEST(TwoDevices, WhatWasWrittenWithoutAServerConvergesOnceThereIsOne) {
  const TempDir directory;
  ServerProcess server("notes", directory.file("server.db"));
  ASSERT_FALSE(server.url().empty()) << server.why();
  const std::string token = make_token("u1", "o1");
  const ClientCommand a{"notes", directory.file("a.db"), server.url(), token};
  const ClientCommand b{"notes", directory.file("b.db"), server.url(), token};
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  ASSERT_EQ(server.terminate().code, 0);

  EXPECT_EQ(a.run({"mutate", "addNote", R"({"id":"n1","body":"from a"})"}).status.code, 0);
  EXPECT_EQ(b.run({"mutate", "addNote", R"({"id":"n2","body":"from b"})"}).status.code, 0);
  EXPECT_EQ(b.run({"mutate", "addNote", R"({"id":"n3","body":"reject"})"}).status.code, 0);
  EXPECT_EQ(a.run({"sync"}).status.code, 4) << "the server is down";
  EXPECT_EQ(b.run({"mutate", "editNote", R"({"id":"absent","body":"x"})"}).status.code, 1) << "refused locally";

  ASSERT_TRUE(server.start()) << server.why();
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  const Finished synced = b.run({"sync", "--json"});
  ASSERT_EQ(synced.status.code, 0) << "a refusal is no failure of the sync: " << synced.err;
  EXPECT_NE(synced.out.find("\"rejected\":1"), std::string::npos) << synced.out;
  ASSERT_EQ(a.run({"sync"}).status.code, 0);

  const std::vector<std::string> query{"query", "SELECT id, body FROM notes ORDER BY id", "--json"};
  const std::string expected = R"([{"id":"n1","body":"from a"},{"id":"n2","body":"from b"}])"
                               "\n";
  EXPECT_EQ(a.run(query).out, expected);
  EXPECT_EQ(b.run(query).out, expected);
  const Finished letters = b.run({"dead-letters", "--json"});
  EXPECT_NE(letters.out.find("refused_body"), std::string::npos) << letters.out;
}

}  // namespace
}  // namespace nizhal::testing
