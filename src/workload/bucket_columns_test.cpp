#include "workload/bucket_columns.hpp"

#include <gtest/gtest.h>

#include <set>

#include "domain/value_json.hpp"
#include "examples/docs/docs.hpp"
#include "examples/ledger/ledger.hpp"
#include "examples/notes/notes.hpp"
#include "workload/test_domains.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {
namespace {

std::shared_ptr<const CompiledDomain> compiled(Domain domain) {
  auto result = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return *std::move(result);
}

/// "table.column" of a naming's membership, or the claim.
std::string name_of(const BucketColumns& columns, std::optional<std::size_t> naming) {
  if (!naming) return "none";
  const Naming& found = columns.namings()[*naming];
  return found.claim.empty() ? found.table + "." + found.column : found.claim;
}
std::string of_column(const CompiledDomain& domain, const std::string& table, const std::string& column) {
  const BucketColumns columns(domain);
  const std::size_t t = *domain.table_index(table);
  return name_of(columns, columns.of_column(t, domain.table(t).index_of(column)));
}
std::string of_argument(const CompiledDomain& domain, const std::string& mutator, std::size_t argument) {
  const BucketColumns columns(domain);
  return name_of(columns, columns.of_argument(domain.domain().find_mutator(mutator)->arguments[argument]));
}

TEST(BucketColumns, MembershipsAndTheTablesOfARuleShareTheirValues) {
  const auto ledger = compiled(ledger::domain());
  EXPECT_EQ(of_column(*ledger, "shop_members", "shop_id"), "shop_members.shop_id");
  EXPECT_EQ(of_column(*ledger, "shop_members", "user_id"), "userId");
  EXPECT_EQ(of_column(*ledger, "shops", "id"), "shop_members.shop_id");
  EXPECT_EQ(of_column(*ledger, "customers", "shop_id"), "shop_members.shop_id");
  EXPECT_EQ(of_column(*ledger, "customers", "id"), "none");
  EXPECT_EQ(of_column(*ledger, "customers", "name"), "none");
  const auto notes = compiled(notes::domain());
  EXPECT_EQ(of_column(*notes, "notes", "owner_id"), "ownerId");
  EXPECT_EQ(of_column(*notes, "team_notes", "team_id"), "team_members.team_id");
}

TEST(BucketColumns, ArgumentsAreFoundByTheNameOfAColumnOrOfAParameter) {
  const auto notes = compiled(notes::domain());
  EXPECT_EQ(of_argument(*notes, "createTeam", 0), "team_members.team_id");
  EXPECT_EQ(of_argument(*notes, "removeTeamMember", 0), "userId");
  EXPECT_EQ(of_argument(*notes, "addTeamNote", 0), "none");
  EXPECT_EQ(of_argument(*notes, "addTeamNote", 1), "team_members.team_id");
  EXPECT_EQ(of_argument(*compiled(docs::domain()), "createDocument", 1), "space_members.space_id");
  EXPECT_EQ(of_argument(*compiled(testing::domain()), "beginVoyage", 1), "crews.ship");
}

TEST(BucketColumns, ValuesAreOfTheTypeOfTheColumn) {
  const auto domain = compiled(testing::domain());
  const BucketColumns columns(*domain);
  const auto ship = columns.of_argument(domain->domain().find_mutator("beginVoyage")->arguments[1]);
  ASSERT_TRUE(ship);
  EXPECT_EQ(columns.namings()[*ship].type, ColumnType::uuid);
  EXPECT_TRUE(
      check_value({"ship", ColumnType::uuid, false, std::nullopt}, nth_value(columns.namings()[*ship], 3), nullptr));
  EXPECT_NE(nth_value(columns.namings()[*ship], 3), nth_value(columns.namings()[*ship], 4));
}

TEST(Actors, HaveEveryClaimThatTheRulesUseAndShareSome) {
  const auto domain = compiled(testing::domain());
  const auto actors = make_actors(*domain, 4);
  std::set<std::string> users, fleets;
  for (const Actor& actor : actors) {
    users.insert(actor.user_id);
    ASSERT_TRUE(actor.claim("fleet"));
    fleets.insert(*actor.claim("fleet"));
  }
  EXPECT_EQ(users.size(), 4U);
  EXPECT_EQ(fleets.size(), 2U);
}

}  // namespace
}  // namespace nizhal::workload
