// A server core and two clients in one thread: given the same seed, two runs end with the same digest of everything,
// since time, randomness, the executor and the network are all handed in.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/test_seed.hpp"
#include "examples/notes/notes.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

/// A hash over every table of a SQLite file: columns, rows, engine tables included.
std::string digest_of(OtherProgram& program) {
  std::string everything;
  for (const std::string& table : program.query(
           "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")) {
    everything += "# " + table + "\n";
    std::vector<std::string> rows = program.query("SELECT * FROM \"" + table + "\"");
    std::sort(rows.begin(), rows.end());
    for (const std::string& row : rows) everything += row + "\n";
  }
  return to_hex(sha256(as_bytes(everything)));
}

struct RunEnd {
  std::string digest;
  std::vector<std::string> rows_a, rows_b, rows_server;
  std::uint64_t mutations = 0;
};

void run(std::uint64_t seed, RunEnd& end) {
  World world(seed, notes::domain(), {}, BackendKind::sqlite);
  world.faults = {.lost_requests_per_mille = 100, .lost_replies_per_mille = 100};
  // The same person on two devices.
  Device& a = world.device("a", {"u1", "o1", ""});
  Device& b = world.device("b", {"u1", "o1", ""});
  ASSERT_EQ(a.mutate("createTeam", R"({"team_id":"t1"})"), "");
  for (int step = 0; step < 400; ++step) {
    Device& device = world.random.below(2) ? a : b;
    const auto id = world.random.below(30);
    std::string refusal;
    switch (world.random.below(12)) {
      case 0:
        refusal = device.mutate("addNote", fmt::format(R"({{"id":"n{}","body":"body {}"}})", id, step));
        break;
      case 1:
        refusal = device.mutate("editNote", fmt::format(R"({{"id":"n{}","body":"edit {}"}})", id, step));
        break;
      case 2:
        refusal = device.mutate("deleteNote", fmt::format(R"({{"id":"n{}"}})", id));
        break;
      case 3:
        refusal = device.mutate("addNote", fmt::format(R"({{"id":"x{}","body":"reject"}})", step));
        break;
      case 4:
        refusal = device.mutate("addTeamNote", fmt::format(R"({{"id":"r{}","team_id":"t1","body":"{}"}})", id, step));
        break;
      case 5:
        if (world.random.below(3) == 0) device.cut();
        break;
      case 6:
        device.mend();
        break;
      case 7:
        if (world.random.below(10) == 0) device.restart();
        break;
      default:
        world.step();
    }
    if (refusal.empty()) ++end.mutations;
  }
  a.mend();
  b.mend();
  world.faults = {};
  ASSERT_TRUE(world.settle()) << "the outboxes did not drain";

  const std::string query = "SELECT id, body FROM notes UNION ALL SELECT id, body FROM team_notes ORDER BY 1, 2";
  end.rows_a = a.rows(query);
  end.rows_b = b.rows(query);
  end.rows_server = world.server_rows(query);
  end.digest = digest_of(world.outside());
}

TEST(Determinism, TwoRunsOfOneSeedEndWithTheSameDigestAndConverge) {
  const std::uint64_t seed = test_seed("determinism", 7);
  for (std::uint64_t i = 0; i < 10; ++i) {
    RunEnd first, second;
    run(seed + i, first);
    if (HasFatalFailure()) return;
    run(seed + i, second);
    if (HasFatalFailure()) return;
    EXPECT_EQ(first.digest, second.digest) << "seed " << seed + i;
    EXPECT_EQ(first.rows_a, first.rows_server) << "seed " << seed + i;
    EXPECT_EQ(first.rows_b, first.rows_server) << "seed " << seed + i;
    EXPECT_GT(first.mutations, 40U);
    EXPECT_GT(first.rows_server.size(), 5U);
  }
  RunEnd other;
  run(seed + 1'000, other);
  RunEnd base;
  run(seed, base);
  EXPECT_NE(other.digest, base.digest) << "the digest does not depend on the history";
}

}  // namespace
}  // namespace nizhal::testing
