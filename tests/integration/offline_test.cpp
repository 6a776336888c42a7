// A thousand mutations with no server, the device killed with SIGKILL, then a sync: real processes, and at the end the
// device, the server and a second device have the same rows, each mutation once (S1, S2, S4, S19).
#include <gtest/gtest.h>
#include <signal.h>

#include <fmt/format.h>
#include <set>
#include <string>
#include <vector>

#include "base/test_temp_dir.hpp"
#include "sqlite/connection.hpp"
#include "tests/support/process.hpp"
#include "tests/support/select_text.hpp"

namespace nizhal::testing {
namespace {

constexpr int kMutations = 1'000;

std::vector<std::string> select(const std::string& file, std::string_view sql) {
  auto connection = sqlite::Connection::open(file, {.read_only = true});
  EXPECT_TRUE(connection) << connection.error().message;
  return connection ? select_text(**connection, sql) : std::vector<std::string>();
}

TEST(Offline, AThousandMutationsSurviveAKillAndReachTheServerOnce) {
  const TempDir directory;
  const std::string database = directory.file("server.db");
  ServerProcess server("notes", database);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const std::string token = make_token("u1", "o1");
  const ClientCommand device{"notes", directory.file("a.db"), server.url(), token};
  const ClientCommand other{"notes", directory.file("b.db"), server.url(), token};
  ASSERT_EQ(device.run({"sync"}).status.code, 0);
  ASSERT_EQ(server.terminate().code, 0);

  // Two thirds add a note, the rest edit one; some are such that the server will refuse them.
  auto writer = start_nizhal(device.arguments({"mutate", "-"}));
  std::set<std::string> notes;
  int refused = 0;
  for (int i = 0; i < kMutations; ++i) {
    if (i % 3 == 2) {
      ASSERT_TRUE(writer->write(fmt::format("editNote {{\"id\":\"n{}\",\"body\":\"edited {}\"}}\n", i - 1, i)));
      continue;
    }
    const bool is_refused = i % 99 == 0;
    ASSERT_TRUE(writer->write(
        fmt::format("addNote {{\"id\":\"n{}\",\"body\":\"{}\"}}\n", i, is_refused ? "reject" : "offline")));
    if (is_refused) {
      ++refused;
    } else {
      notes.insert(fmt::format("n{}", i));
    }
  }
  for (int i = 0; i < kMutations; ++i) ASSERT_TRUE(writer->wait_for_line("pending", kPatience)) << i << writer->err();
  writer->signal(SIGKILL);
  ASSERT_TRUE(writer->wait(kPatience));

  EXPECT_EQ(device.run({"sync", "--timeout", "1s"}).status.code, 4) << "the server is down";
  EXPECT_EQ(select(device.store, "SELECT count(*) FROM nizhal_outbox"), std::vector<std::string>{"1000"});
  ASSERT_TRUE(server.start()) << server.why();
  const Finished synced = device.run({"sync", "--json"});
  ASSERT_EQ(synced.status.code, 0) << synced.err;
  EXPECT_NE(synced.out.find(fmt::format("\"applied\":{},\"rejected\":{}", kMutations - refused, refused)),
            std::string::npos)
      << synced.out;
  ASSERT_EQ(other.run({"sync"}).status.code, 0);

  constexpr std::string_view kRows = "SELECT id, owner_id, body FROM notes ORDER BY id";
  const auto rows = select(database, kRows);
  EXPECT_EQ(select(device.store, kRows), rows);
  EXPECT_EQ(select(other.store, kRows), rows);
  EXPECT_EQ(rows.size(), notes.size());
  EXPECT_EQ(select(database, "SELECT count(*), count(DISTINCT client_mutation_id) FROM nizhal_audit"),
            std::vector<std::string>{"1000|1000"});
  EXPECT_EQ(select(device.store, "SELECT count(*) FROM nizhal_dead_letter"),
            std::vector<std::string>{std::to_string(refused)});
}

}  // namespace
}  // namespace nizhal::testing
