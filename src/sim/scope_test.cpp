#include "sim/scope.hpp"

#include <gtest/gtest.h>

#include "examples/notes/notes.hpp"
#include "sim/disk/simulation_folder.hpp"

namespace nizhal::sim {
namespace {

class Scope : public ::testing::Test {
 protected:
  Scope() {
    auto file = *sqlite::Connection::open(folder_.file("server.db"), {});
    const auto made = file->execute(
        "CREATE TABLE notes(id TEXT PRIMARY KEY, owner_id TEXT, body TEXT);"
        "CREATE TABLE team_members(id TEXT PRIMARY KEY, user_id TEXT, team_id TEXT);"
        "CREATE TABLE team_notes(id TEXT PRIMARY KEY, team_id TEXT, body TEXT);"
        "INSERT INTO notes VALUES('mine', 'o1', 'a'), ('theirs', 'o2', 'b');"
        "INSERT INTO team_members VALUES('m1', 'u1', 'red'), ('m2', 'u1', 'blue'), ('m3', 'u2', 'green');"
        "INSERT INTO team_notes VALUES('r', 'red', 'c'), ('b', 'blue', 'd'), ('g', 'green', 'e')");
    EXPECT_TRUE(made) << made.error().message;
  }
  std::set<std::string> names(const std::optional<ChosenBuckets>& chosen) {
    std::set<std::string> found;
    const auto rows = scopes_.of({"u1", "o1"}, chosen);
    EXPECT_TRUE(rows);
    if (rows)
      for (const auto& [name, text] : *rows) found.insert(name);
    return found;
  }
  SimulationFolder folder_ = std::move(*SimulationFolder::make());
  std::shared_ptr<const CompiledDomain> domain_ = *CompiledDomain::compile(notes::domain());
  Scopes scopes_{domain_, folder_.file("server.db")};
};

using Names = std::set<std::string>;

TEST_F(Scope, IsAllThatTheRulesGiveTheActorWhoChoosesNothing) {
  EXPECT_EQ(names(std::nullopt),
            (Names{"notes/mine", "team_members/m1", "team_members/m2", "team_notes/b", "team_notes/r"}));
}

TEST_F(Scope, IsOfTheChosenRulesAndBucketsOnly) {
  EXPECT_EQ(names(ChosenBuckets{}), Names{});
  EXPECT_EQ(names(ChosenBuckets{.rules = {"myNotes"}}), Names{"notes/mine"});
  EXPECT_EQ(names(ChosenBuckets{.keys = {"team:red"}}), (Names{"team_members/m1", "team_notes/r"}));
  EXPECT_EQ(names(ChosenBuckets{.keys = {"team:red"}, .rules = {"myNotes"}}),
            (Names{"notes/mine", "team_members/m1", "team_notes/r"}));
  EXPECT_EQ(names(ChosenBuckets{.keys = {"team:red"}, .rules = {"myTeams"}}),
            (Names{"team_members/m1", "team_members/m2", "team_notes/b", "team_notes/r"}))
      << "the rule has the bucket, too";
}

TEST_F(Scope, IsNeverMoreThanTheActorMayHave) {
  EXPECT_EQ(names(ChosenBuckets{.keys = {"team:green", "o2", "no bucket at all"}}), Names{});
}

TEST(ChosenBy, APullThatNamesNothingWantsEverything) {
  EXPECT_FALSE(chosen_by({}));
  protocol::PullRequest request;
  request.buckets.emplace();
  ASSERT_TRUE(chosen_by(request));
  EXPECT_TRUE(chosen_by(request)->keys.empty());
}

}  // namespace
}  // namespace nizhal::sim
