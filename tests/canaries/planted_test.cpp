#include "tests/canaries/planted.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "examples/notes/notes.hpp"
#include "storage/sqlite/triggers.hpp"

namespace nizhal::canaries {
namespace {

TEST(Planted, EveryBugHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (const Planted bug : all_planted()) {
    EXPECT_FALSE(to_string(bug).empty());
    EXPECT_TRUE(names.insert(to_string(bug)).second) << to_string(bug);
    EXPECT_EQ(parse_planted(to_string(bug)), bug);
  }
  EXPECT_EQ(parse_planted("nothing"), std::nullopt);
  EXPECT_EQ(parse_planted("no such bug"), std::nullopt);
}

TEST(Planted, IsInTheEnginesCodeFromThePlantingOn) {
  const auto domain = CompiledDomain::compile(notes::domain());
  ASSERT_TRUE(domain);
  const auto table = (*domain)->table_index("team_notes");
  ASSERT_TRUE(table);
  const auto told_of_exits = [&] {
    for (const auto& trigger : storage::triggers_of(**domain, *table, {}))
      if (trigger.name == "nizhal_update_team_notes") return trigger.sql.find("nizhal_removal") != std::string::npos;
    ADD_FAILURE() << "no update trigger";
    return false;
  };
  EXPECT_TRUE(told_of_exits());
  plant(Planted::forget_an_exit);
  EXPECT_FALSE(told_of_exits());
  plant(Planted::apply_twice);
  EXPECT_TRUE(told_of_exits());
  plant(Planted::nothing);
}

TEST(Planted, ThereIsNothingOfItInTheProduct) {
  std::ifstream file(NIZHAL_BIN, std::ios::binary);
  std::ostringstream copied;
  copied << file.rdbuf();
  const std::string binary = copied.str();
  const auto holds = [&](std::string_view name) {
    return memmem(binary.data(), binary.size(), name.data(), name.size()) != nullptr;
  };
  ASSERT_TRUE(holds("nizhal"));
  for (const std::string_view name : {"is_planted", "with_planted", "8Planted"})
    EXPECT_FALSE(holds(name)) << name << " is in " << NIZHAL_BIN;
}

}  // namespace
}  // namespace nizhal::canaries
