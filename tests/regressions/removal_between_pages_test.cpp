// A row leaves bucket A at version v and is rewritten in bucket B at w > v. A page ends between v and w, then B is lost
// before the next page. The removal from A has to be in the first page: afterwards the cursor is past it.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "examples/notes/notes.hpp"
#include "tests/support/model_device.hpp"
#include "tests/support/notes_model.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

class RemovalBetweenPages : public ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, RemovalBetweenPages, every_backend(), kind_name);

TEST_P(RemovalBetweenPages, ARowWhoseNewBucketIsLostBeforeItsImageComesIsRemoved) {
  World world(1, notes::domain(), {}, GetParam());
  const Actor actor{"u1", "o1", ""};
  ModelDevice device(notes_buckets);
  const auto pull = [&] {
    const auto response =
        world.post("/sync/pull", actor, fmt::format(R"({{"cursor":"{}","limit":2}})", device.cursor()));
    EXPECT_EQ(response.status, 200) << response.body;
    std::string problem;
    const bool complete = device.take(response.body, problem);
    EXPECT_EQ(problem, "");
    return complete;
  };
  world.sql(
      "INSERT INTO team_members(id, user_id, team_id) VALUES('m1', 'u1', 'A'), ('m2', 'u1', 'B');"
      "INSERT INTO team_notes(id, team_id, body) VALUES('r', 'A', 'old')");
  while (!pull()) {
  }
  ASSERT_TRUE(device.rows().contains("team_notes|\"r\""));

  world.sql("UPDATE team_notes SET team_id = 'B' WHERE id = 'r'");
  world.sql(
      "INSERT INTO notes(id, owner_id, body) VALUES('n1', 'o1', 'x'), ('n2', 'o1', 'x'), ('n3', 'o1', 'x'), ('n4', "
      "'o1', "
      "'x')");
  world.sql("UPDATE team_notes SET body = 'new' WHERE id = 'r'");
  ASSERT_FALSE(pull()) << "the first page is to end before the row's new image";
  world.sql("DELETE FROM team_members WHERE id = 'm2'");
  while (!pull()) {
  }
  EXPECT_FALSE(device.rows().contains("team_notes|\"r\"")) << "a ghost row";
  EXPECT_EQ(device.rows().size(), 5U);  // the membership of A and four notes
}

}  // namespace
}  // namespace nizhal::testing
