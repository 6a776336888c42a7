// What the typed builders make of a query, and of its rows.
#include <gtest/gtest.h>

#include <type_traits>

#include <nizhal/table.hpp>

namespace nizhal {
namespace {

struct Person {
  std::string id, name;
};
struct Task {
  std::string id;
  std::optional<std::string> owner_id;
  std::string reviewer_id;
  std::int64_t points = 0;
};
const auto people = table<Person>("people").key("id", &Person::id).column("name", &Person::name);
const auto tasks = table<Task>("tasks")
                       .key("id", &Task::id)
                       .column("owner_id", &Task::owner_id)
                       .column("reviewer_id", &Task::reviewer_id)
                       .column("points", &Task::points);

Value text(const char* value) { return Value(std::string(value)); }

TEST(Builder, OperatorsMakeFlatTrees) {
  const Predicate all = eq("a", 1) && eq("b", 2) && (eq("c", 3) && eq("d", 4));
  EXPECT_EQ(all.kind, Predicate::Kind::all);
  EXPECT_EQ(all.parts.size(), 4U);
  const Predicate mixed = eq("a", 1) || (eq("b", 2) && !eq("c", 3));
  EXPECT_EQ(mixed.kind, Predicate::Kind::any);
  ASSERT_EQ(mixed.parts.size(), 2U);
  EXPECT_EQ(mixed.parts[0].kind, Predicate::Kind::condition);
  EXPECT_EQ(mixed.parts[0].condition.column, "a");
  ASSERT_EQ(mixed.parts[1].kind, Predicate::Kind::all);
  EXPECT_EQ(mixed.parts[1].parts[1].kind, Predicate::Kind::negation);
  EXPECT_EQ(mixed.parts[1].parts[1].parts[0].condition.column, "c");
}

TEST(Builder, ALongChainStaysFlatAndKeepsItsOrder) {
  Predicate any = eq("n", 0);
  for (int i = 1; i < 5000; ++i) any = std::move(any) || eq("n", i);
  ASSERT_EQ(any.parts.size(), 5000U);
  EXPECT_EQ(any.parts[4999].condition.operand, Value(std::int64_t{4999}));
}

TEST(Builder, InTakesListsAndContainers) {
  const Predicate listed = in("status", {"open", "held"});
  EXPECT_EQ(listed.kind, Predicate::Kind::in);
  EXPECT_EQ(listed.values, (std::vector<Value>{text("open"), text("held")}));
  EXPECT_EQ(in("n", std::vector<int>{1, 2}).values.size(), 2U);
  EXPECT_TRUE(in("n", std::vector<std::string>{}).values.empty());
  EXPECT_TRUE(is_null(in("n", std::vector<std::optional<std::string>>{std::nullopt}).values[0]));
}

TEST(Builder, StepsWorkInAChainAndOnAnObjectThatIsKept) {
  const auto chained = from(tasks).where(eq("points", 1)).where(!is_null("owner_id")).order_by("points").limit(3);
  auto kept = from(tasks);
  kept.where(eq("points", 1)).where(!is_null("owner_id"));
  kept.order_by("points").order_by("id", Direction::descending).limit(3).offset(2);
  EXPECT_EQ(chained.spec().conditions.size(), 1U);
  EXPECT_EQ(chained.spec().predicates.size(), 1U);
  EXPECT_EQ(kept.spec().predicates.size(), 1U);
  ASSERT_EQ(kept.spec().order.size(), 2U);
  EXPECT_EQ(kept.spec().order[1].direction, Direction::descending);
  EXPECT_EQ(kept.spec().limit, 3U);
  EXPECT_EQ(kept.spec().offset, 2U);
}

TEST(Builder, AJoinGivesTheRowsSideBySide) {
  const auto query = from(tasks)
                         .where(gt("points", 0))
                         .left_join(people, "owner_id", "owner")
                         .join(people, "reviewer_id", "reviewer")
                         .order_by("owner.name");
  using Result = std::tuple<Task, std::optional<Person>, Person>;
  static_assert(std::is_same_v<decltype(query)::Result, Result>);
  static_assert(TypedQuery<decltype(query)>);
  ASSERT_EQ(query.spec().joins.size(), 2U);
  EXPECT_EQ(query.spec().joins[0].table, &people.def());
  EXPECT_TRUE(query.spec().joins[0].keeps_unmatched);
  EXPECT_FALSE(query.spec().joins[1].keeps_unmatched);
  EXPECT_EQ(query.spec().joins[1].name, "reviewer");
  EXPECT_EQ(query.spec().joins[1].column, "reviewer_id");
  EXPECT_EQ(query.spec().conditions.size(), 1U);
  EXPECT_EQ(query.spec().order[0].column, "owner.name");

  const Row met = {text("t"), text("p"), text("q"), std::int64_t{5}, text("p"), text("Paul"), text("q"), text("Quinn")};
  const auto [task, owner, reviewer] = query.from_row(met);
  EXPECT_EQ(task.id, "t");
  EXPECT_EQ(task.points, 5);
  ASSERT_TRUE(owner.has_value());
  EXPECT_EQ(owner->name, "Paul");
  EXPECT_EQ(reviewer.name, "Quinn");
  const Row met_none = {text("t"), Value{}, text("q"), std::int64_t{5}, Value{}, Value{}, text("q"), text("Quinn")};
  EXPECT_FALSE(std::get<1>(query.from_row(met_none)).has_value());
  EXPECT_EQ(std::get<2>(query.from_row(met_none)).name, "Quinn");
}

TEST(Builder, AFoldGivesItsValuesByName) {
  const auto query = from(tasks)
                         .join(people, "reviewer_id")
                         .where(ne("tasks.id", "x"))
                         .group_by("people.name")
                         .fold(sum("points").as("total"))
                         .fold(max("tasks.points"))
                         .fold(count())
                         .order_by("total");
  static_assert(std::is_same_v<decltype(query)::Result, FoldRow>);
  static_assert(TypedQuery<decltype(query)>);
  EXPECT_EQ(query.spec().joins.size(), 1U);
  EXPECT_EQ(query.spec().group_by, std::vector<std::string>{"people.name"});
  const FoldRow row = query.from_row({text("Paul"), std::int64_t{7}, Value{}, std::int64_t{2}});
  EXPECT_EQ(row.names(), (FoldRow::Names{"people.name", "total", "max_points", "count"}));
  EXPECT_EQ(row.get<std::string>("people.name"), "Paul");
  EXPECT_EQ(row.get<std::int64_t>("total"), 7);
  EXPECT_EQ(row.get<std::int64_t>("max_points"), 0) << "null";
  EXPECT_EQ(row.get<std::optional<std::int64_t>>("max_points"), std::nullopt);
  EXPECT_TRUE(row.is_null("max_points"));
  EXPECT_FALSE(row.is_null("count"));
}

TEST(Builder, AQueryCanBeContinuedInMoreThanOneWay) {
  const auto open = from(tasks).where(gt("points", 0));
  const auto total = open.fold(sum("points"));
  const auto joined = open.join(people, "owner_id");
  EXPECT_TRUE(open.spec().joins.empty());
  EXPECT_TRUE(open.spec().folds.empty());
  EXPECT_EQ(total.spec().folds.size(), 1U);
  EXPECT_TRUE(total.spec().group_by.empty());
  EXPECT_EQ(joined.spec().joins.size(), 1U);
}

TEST(Builder, AQueryKeepsItsTablesAlive) {
  auto query = [] {
    const auto own = table<Person>("own").key("id", &Person::id);
    return from(own).join(own, "id", "again").fold(count());
  }();
  EXPECT_EQ(query.spec().table->name, "own");
  EXPECT_EQ(query.spec().joins[0].table->name, "own");
}

}  // namespace
}  // namespace nizhal
