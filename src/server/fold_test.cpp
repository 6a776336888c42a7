// The fold oracle at random: after every complete pull a device equals the in-scope SELECT, exactly (S13–S16).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "base/test_seed.hpp"
#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

class Churn {
 public:
  Churn(World& world, std::uint64_t seed) : world_(world), random_(seed) {}

  std::uint64_t pick(std::uint64_t bound) { return random_.below(bound); }
  std::string team() { return std::string(1, static_cast<char>('a' + pick(4))); }
  std::string user() { return "u" + std::to_string(1 + pick(3)); }
  std::string doc() { return "d" + std::to_string(pick(40)); }

  /// One push of some mutations, refused ones among them; u0 is in every team and moves rows about.
  void push() {
    std::vector<Sent> mutations;
    for (std::uint64_t i = 0; i <= pick(5); ++i) {
      Sent sent{.name = "addDoc", .cmid = "churn-" + std::to_string(++count_), .id = doc(), .place = team()};
      sent.text = "t" + std::to_string(pick(1000));
      switch (pick(8)) {
        case 0:
          sent.name = "removeDoc";
          break;
        case 1:
        case 2:
          sent.name = "moveDoc";
          break;
        case 3:
          sent.name = "setDoc";
          break;
        case 4:
          sent.name = "addEvent";
          break;
        case 5:
          sent.name = "addThenRefuse";
          break;
        default:
          break;
      }
      mutations.push_back(std::move(sent));
    }
    EXPECT_EQ(world_.push("u0", mutations).status, 200);
  }
  void notes() {
    const std::string who = user();
    world_.push(who, {{.name = pick(3) ? "putNoteFor" : "removeNote",
                       .cmid = "churn-" + std::to_string(++count_),
                       .id = who + "-" + std::to_string(pick(20)),
                       .place = "o" + who.substr(1),
                       .text = std::to_string(pick(1000))}});
  }
  void membership() {
    const std::string who = user(), where = team(), id = who + where;
    world_.push("u0", {{.name = pick(5) < 3 ? "addMember" : "removeMember",
                        .cmid = "churn-" + std::to_string(++count_),
                        .id = id,
                        .place = where,
                        .text = who}});
  }
  void other_program() {
    const std::string statement =
        pick(3) == 0   ? fmt::format("DELETE FROM docs WHERE id = '{}'", doc())
        : pick(2) == 0 ? fmt::format("UPDATE docs SET team_id = '{}' WHERE id IN ('{}', '{}')", team(), doc(), doc())
        : world_.backend->is_sqlite() && pick(2) == 0
            ? fmt::format("INSERT OR REPLACE INTO docs (id, team_id, title) VALUES ('{}', '{}', 'by hand')", doc(),
                          team())
            : fmt::format(
                  "INSERT INTO docs (id, team_id, title) VALUES ('{}', '{}', 'by hand') ON CONFLICT (id) DO "
                  "UPDATE SET team_id = excluded.team_id, title = excluded.title",
                  doc(), team());
    EXPECT_TRUE(world_.storage->run_script(statement)) << statement;
  }

 private:
  World& world_;
  SeededRandom random_;
  std::uint64_t count_ = 0;
};

class Fold : public ::testing::TestWithParam<std::tuple<BackendKind, std::uint64_t>> {};

TEST_P(Fold, AfterEveryCompletePullADeviceEqualsTheInScopeSelect) {
  const std::uint64_t seed = test_seed("fold", std::get<1>(GetParam()));
  SCOPED_TRACE(fmt::format("NIZHAL_SEED={}", seed));
  World world(std::get<0>(GetParam()));
  Churn churn(world, seed);
  for (const char* team : {"a", "b", "c", "d"}) world.run("u0", "createTeam", "x", team);
  std::vector<Device> devices;
  for (const char* user : {"u1", "u2", "u3"}) devices.emplace_back(world, user);
  std::size_t checks = 0, lost = 0, resets = 0;
  const auto step = [&] {
    const auto what = churn.pick(10);
    if (what < 5)
      churn.push();
    else if (what < 7)
      churn.notes();
    else if (what < 9)
      churn.membership();
    else
      churn.other_program();
  };
  for (int round = 0; round < 60; ++round) {
    for (std::uint64_t i = 0; i <= churn.pick(4); ++i) step();
    if (churn.pick(15) == 0) {
      world.clock.advance(std::chrono::hours(24 * churn.pick(40)));
      ASSERT_TRUE(world.server->gc());
    }
    Device& device = devices[churn.pick(devices.size())];
    device.limit = 1 + churn.pick(12);
    // Writes go on while the pull is under way, and replies get lost.
    decltype(device.rows) at_last_page;
    device.lose_reply = [&] {
      at_last_page = device.expected();  // nothing was written since the page's snapshot
      if (churn.pick(3) == 0) step();
      const bool lose = churn.pick(6) == 0;
      if (lose) ++lost;
      return lose;
    };
    device.sync();
    if (::testing::Test::HasFatalFailure()) return;
    ++checks;
    for (const Answer& answer : device.answers) resets += answer.has("cursorReset");
    ASSERT_EQ(device.rows, at_last_page) << "round " << round;
  }
  RecordProperty("checks", static_cast<int>(checks));
  RecordProperty("lost", static_cast<int>(lost));
  RecordProperty("resets", static_cast<int>(resets));
}

INSTANTIATE_TEST_SUITE_P(On, Fold,
                         ::testing::Combine(nizhal::testing::every_backend(), ::testing::Values(1, 2, 3, 4, 5, 6)));

}  // namespace
}  // namespace nizhal::server::testing
