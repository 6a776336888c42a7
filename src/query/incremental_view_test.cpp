// Views held against their definition: whatever changes, their rows are the query's result, and the steps lead there.
#include "query/incremental_view.hpp"

#include <gtest/gtest.h>

#include <map>

#include "base/test_seed.hpp"
#include "query/fold.hpp"
#include "query/row_diff.hpp"
#include "query/test_random_queries.hpp"

namespace nizhal {
namespace {

using testing::RandomQueries;

using Tables = std::map<const TableDef*, std::map<std::string, Row>>;

std::string key_of(const TableDef& table, const Row& row) { return *std::get_if<std::string>(&row[table.key_index()]); }

/// By definition: every joined row is made and judged, groups are folded, all are sorted.
std::vector<Row> result_of(const QuerySpec& spec, const Tables& tables) {
  const CompiledQuery query = *compile_query(spec);
  std::vector<Row> rows;
  for (const auto& [key, first] : tables.at(query.sources[0].table)) {
    Row row = first;
    bool is_there = true;
    for (std::size_t i = 1; i < query.sources.size() && is_there; ++i) {
      const CompiledSource& source = query.sources[i];
      const auto* reference = std::get_if<std::string>(&row[source.join_column]);
      const auto& others = tables.at(source.table);
      const auto met = reference ? others.find(*reference) : others.end();
      is_there = met != others.end() || source.keeps_unmatched;
      if (met != others.end()) row.insert(row.end(), met->second.begin(), met->second.end());
      row.resize(source.first_column + source.table->columns.size());
    }
    if (is_there && passes(query, row)) rows.push_back(std::move(row));
  }
  if (query.is_folded) {
    std::map<Row, FoldGroup> groups;
    if (query.group_by.empty()) groups.try_emplace(Row(), query);
    for (const Row& row : rows) groups.try_emplace(group_of(query, row), query).first->second.add(query, row);
    rows.clear();
    for (const auto& [values, group] : groups) rows.push_back(*group.result(query, values));
  }
  std::sort(rows.begin(), rows.end(),
            [&](const Row& left, const Row& right) { return compare_results(query, left, right) < 0; });
  const Window window = window_of(query, rows.size());
  return {rows.begin() + static_cast<std::ptrdiff_t>(window.begin),
          rows.begin() + static_cast<std::ptrdiff_t>(window.end)};
}

std::vector<Row> rows_of(const View& view) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < view.size(); ++i) rows.push_back(view.row(i));
  return rows;
}

/// Fails the test where a step does not fit what is there.
void follow(std::vector<Row>& rows, const std::vector<RawChange>& steps) {
  for (const RawChange& step : steps) {
    const auto at = rows.begin() + static_cast<std::ptrdiff_t>(step.index);
    ASSERT_LE(step.index + (step.step == Step::inserted ? 0 : 1), rows.size());
    if (step.step == Step::inserted) rows.insert(at, step.row);
    if (step.step == Step::updated) {
      EXPECT_NE(*at, step.row);
      *at = step.row;
    }
    if (step.step == Step::removed) {
      EXPECT_EQ(*at, step.row);
      rows.erase(at);
    }
  }
}

class TablesLookup : public RowLookup {
 public:
  explicit TablesLookup(const Tables& tables) : tables_(tables) {}
  bool is_behind = false;
  Result<Found> find(const TableDef& table, const Value& key, Row& row) override {
    if (is_behind) return Found::unknown;
    const auto& rows = tables_.at(&table);
    const auto it = rows.find(*std::get_if<std::string>(&key));
    if (it == rows.end()) return Found::no;
    row = it->second;
    return Found::yes;
  }

 private:
  const Tables& tables_;
};

struct Change {
  const TableDef* table = nullptr;
  std::optional<Row> before, after;
};

/// Changes a few rows of `tables`, each once.
std::vector<Change> random_commit(RandomQueries& random, Random& dice, Tables& tables) {
  std::map<std::pair<const TableDef*, std::string>, Change> changes;
  for (std::uint64_t i = 1 + dice.below(random.chance(10) ? 30 : 3); i > 0; --i) {
    const std::uint64_t kind = dice.below(10);
    const TableDef* table = kind == 0  ? &testing::regions.def()
                            : kind < 3 ? &testing::teams.def()
                                       : &testing::items.def();
    const std::string key = kind == 0  ? RandomQueries::id("r", dice.below(RandomQueries::kRegions))
                            : kind < 3 ? RandomQueries::id("t", dice.below(RandomQueries::kTeams))
                                       : RandomQueries::id("i", dice.below(40));
    auto& rows = tables[table];
    const auto it = rows.find(key);
    Change change{table, it == rows.end() ? std::nullopt : std::optional<Row>(it->second), {}};
    if (!changes.try_emplace({table, key}).second) continue;
    if (it == rows.end() || !random.chance(3)) {
      change.after = kind == 0 ? random.region(key) : kind < 3 ? random.team(key) : random.item(key);
      rows[key] = *change.after;
    } else {
      rows.erase(it);
    }
    changes[{table, key}] = std::move(change);
  }
  std::vector<Change> listed;
  for (auto& [key, change] : changes)
    if (change.before != change.after) listed.push_back(std::move(change));
  return listed;
}

std::vector<TableChange> as_told(const std::vector<Change>& changes) {
  std::vector<TableChange> told;
  for (const Change& change : changes)
    told.push_back({change.table, change.before ? &*change.before : nullptr, change.after ? &*change.after : nullptr});
  return told;
}

TEST(IncrementalView, EqualsTheQueryRunFromScratchAndItsStepsLeadThere) {
  SeededRandom dice(test_seed("IncrementalView"));
  RandomQueries random(dice);
  std::size_t cases = 0;
  std::size_t loads = 0;
  for (int history = 0; history < 150; ++history) {
    Tables tables{{&testing::regions.def(), {}}, {&testing::teams.def(), {}}, {&testing::items.def(), {}}};
    for (int i = 0; i < 10; ++i) random_commit(random, dice, tables);
    const QuerySpec spec = random.query();
    auto made = make_view(spec);
    ASSERT_TRUE(made) << made.error().message;
    View& view = **made;
    std::vector<Row> followed;
    for (int commit = 0; commit < 40; ++commit) {
      std::vector<RawChange> steps;
      const auto changes = commit == 0 ? std::vector<Change>() : random_commit(random, dice, tables);
      TablesLookup lookup(tables);
      lookup.is_behind = random.chance(10);
      auto applied = View::Applied::needs_load;
      if (commit > 0) {
        const auto result = view.apply(as_told(changes), lookup, steps);
        ASSERT_TRUE(result) << result.error().message;
        applied = *result;
      }
      if (applied == View::Applied::needs_load) {
        ++loads;
        const auto loaded = view.load(result_of(view.source(), tables), steps);
        ASSERT_TRUE(loaded) << loaded.error().message;
      }
      const std::vector<Row> expected = result_of(spec, tables);
      ASSERT_EQ(rows_of(view), expected) << "history " << history << ", commit " << commit;
      follow(followed, steps);
      ASSERT_EQ(followed, expected) << "history " << history << ", commit " << commit;
      ++cases;
    }
  }
  std::printf("%zu results compared, %zu of them loaded\n", cases, loads);
  EXPECT_LT(loads, cases / 5);
}

TEST(IncrementalView, ALimitsWindowIsRefilledOnlyWhenWhatIsHeldBehindItIsUsedUp) {
  QuerySpec spec = from(testing::items).order_by("score").limit(10).offset(2).spec();
  auto view = std::move(*make_view(spec));
  Tables tables{{&testing::items.def(), {}}};
  SeededRandom dice(1);
  RandomQueries random(dice);
  for (int i = 0; i < 3'000; ++i)
    tables[spec.table][RandomQueries::id("i", i)] = random.item(RandomQueries::id("i", i));
  std::vector<RawChange> steps;
  ASSERT_TRUE(view->load(result_of(view->source(), tables), steps));
  std::vector<Row> followed = rows_of(*view);
  TablesLookup lookup(tables);
  std::size_t loads = 0;
  for (int i = 0; i < 2'000; ++i) {
    steps.clear();
    const Row first = view->row(i % 3 == 0 ? 0 : 5);
    tables[spec.table].erase(key_of(*spec.table, first));
    const TableChange gone{spec.table, &first, nullptr};
    if (*view->apply({gone}, lookup, steps) == View::Applied::needs_load) {
      ++loads;
      ASSERT_TRUE(view->load(result_of(view->source(), tables), steps));
    }
    follow(followed, steps);
    ASSERT_EQ(followed, rows_of(*view)) << i;
  }
  EXPECT_EQ(followed, result_of(spec, tables));
  EXPECT_GT(loads, 0u);
  EXPECT_LT(loads, 6u);
}

TEST(IncrementalView, ARowThatStaysInItsPlaceIsUpdatedAndOneThatMovesIsRemovedAndInserted) {
  const QuerySpec spec = from(testing::teams).order_by("weight").spec();
  auto view = std::move(*make_view(spec));
  const auto team = [](const char* id, std::int64_t weight, const char* region) {
    return testing::teams.to_row({id, "o1", region, weight});
  };
  const std::vector<Row> rows{team("a", 1, "r1"), team("b", 3, "r1"), team("c", 5, "r1")};
  std::vector<RawChange> steps;
  ASSERT_TRUE(view->load(rows, steps));
  Tables tables{{spec.table, {}}};
  TablesLookup lookup(tables);
  steps.clear();
  const Row stays = team("b", 4, "r2");
  ASSERT_EQ(*view->apply({{spec.table, &rows[1], &stays}}, lookup, steps), View::Applied::yes);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].step, Step::updated);
  EXPECT_EQ(steps[0].index, 1u);
  EXPECT_EQ(steps[0].row, stays);
  steps.clear();
  const Row moves = team("a", 9, "r1");
  ASSERT_EQ(*view->apply({{spec.table, &rows[0], &moves}}, lookup, steps), View::Applied::yes);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].step, Step::removed);
  EXPECT_EQ(steps[0].index, 0u);
  EXPECT_EQ(steps[1].step, Step::inserted);
  EXPECT_EQ(steps[1].index, 2u);
}

TEST(IncrementalView, WhatItHoldsAndWhatIsToldMustAgreeElseItIsLoadedAgain) {
  const QuerySpec spec = from(testing::teams).order_by("weight").spec();
  auto view = std::move(*make_view(spec));
  Tables tables{{spec.table, {}}};
  TablesLookup lookup(tables);
  std::vector<RawChange> steps;
  const Row unknown = testing::teams.to_row({"a", "o1", {}, 1});
  EXPECT_EQ(*view->apply({{spec.table, &unknown, nullptr}}, lookup, steps), View::Applied::needs_load);
  EXPECT_EQ(view->size(), 0u);
}

TEST(IncrementalView, ASumThatLeaves64BitsIsAnErrorAndGoesWellAgainWhenItFits) {
  const QuerySpec spec = from(testing::teams).fold(sum("weight")).spec();
  auto view = std::move(*make_view(spec));
  Tables tables{{spec.table, {}}};
  TablesLookup lookup(tables);
  std::vector<RawChange> steps;
  const Row large = testing::teams.to_row({"a", "o1", {}, std::numeric_limits<std::int64_t>::max()});
  const Row more = testing::teams.to_row({"b", "o1", {}, 1});
  ASSERT_TRUE(view->load({large}, steps));
  const auto applied = view->apply({{spec.table, nullptr, &more}}, lookup, steps);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, ErrorCode::invalid_args);
  EXPECT_FALSE(view->load({large, more}, steps));
  EXPECT_TRUE(view->load({more}, steps));
  EXPECT_EQ(view->row(0), Row{std::int64_t{1}});
}

TEST(IncrementalView, ExplainsWhichWayAQueryIsKeptAndWhoseChangesItFollows) {
  const auto limited = explain_upkeep(from(testing::items).order_by("at").limit(50).spec());
  ASSERT_TRUE(limited);
  EXPECT_EQ(limited->upkeep, Explanation::Upkeep::incremental);
  EXPECT_EQ(limited->tables, std::vector<std::string>{"items"});
  const auto joined = explain_upkeep(
      from(testing::items).join(testing::teams, "team_id").group_by("teams.id").fold(sum("size")).spec());
  ASSERT_TRUE(joined) << joined.error().message;
  EXPECT_EQ(joined->upkeep, Explanation::Upkeep::incremental);
  EXPECT_EQ(joined->tables, (std::vector<std::string>{"items", "teams"}));
  const auto far = explain_upkeep(from(testing::items).limit(10).offset(1'000'000).spec());
  ASSERT_TRUE(far);
  EXPECT_EQ(far->upkeep, Explanation::Upkeep::rerun);
  EXPECT_NE(far->reason.find("1000000"), std::string::npos) << far->reason;
  EXPECT_FALSE(explain_upkeep(from(testing::items).order_by("nothing").spec()));
}

TEST(RowDiff, ByValueLeadsFromAnyListToAnyOtherAndKeepsWhatCanStay) {
  SeededRandom dice(test_seed("RowDiff"));
  for (int round = 0; round < 2'000; ++round) {
    const auto list = [&] {
      std::vector<Row> rows;
      for (std::uint64_t i = dice.below(9); i > 0; --i) rows.push_back({static_cast<std::int64_t>(dice.below(6))});
      return rows;
    };
    std::vector<Row> before = list();
    const std::vector<Row> after = list();
    const auto pointers = [](const std::vector<Row>& rows) {
      RowPointers all;
      for (const Row& row : rows) all.push_back(&row);
      return all;
    };
    std::vector<RawChange> steps;
    diff_by_value(pointers(before), pointers(after), steps);
    EXPECT_EQ(steps.empty(), before == after);
    EXPECT_LE(steps.size(), std::max(before.size(), after.size()) * 2);
    follow(before, steps);
    ASSERT_EQ(before, after) << "round " << round;
  }
  // One row more at the front moves no other.
  const std::vector<Row> old{{std::int64_t{1}}, {std::int64_t{2}}};
  const std::vector<Row> now{{std::int64_t{0}}, {std::int64_t{1}}, {std::int64_t{2}}};
  std::vector<RawChange> steps;
  diff_by_value({&old[0], &old[1]}, {&now[0], &now[1], &now[2]}, steps);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].step, Step::inserted);
  EXPECT_EQ(steps[0].index, 0u);
}

TEST(OrderedRows, AreAListThatFindsByOrder) {
  SeededRandom dice(test_seed("OrderedRows"));
  const RowOrder order = [](const Row& left, const Row& right) { return compare_values(left[0], right[0]); };
  OrderedRows rows(order);
  std::map<std::int64_t, std::int64_t> expected;
  for (int round = 0; round < 5'000; ++round) {
    const auto key = static_cast<std::int64_t>(dice.below(400));
    const Row row{key, std::int64_t{round}};
    const auto place = rows.find(row);
    const auto it = expected.lower_bound(key);
    ASSERT_EQ(place.index, static_cast<std::size_t>(std::distance(expected.begin(), it)));
    ASSERT_EQ(place.is_found, it != expected.end() && it->first == key);
    if (!place.is_found) {
      rows.insert(place.index, row);
      expected[key] = round;
    } else if (dice.below(3) == 0) {
      rows.replace(place.index, row);
      expected[key] = round;
    } else {
      ASSERT_EQ(std::get<std::int64_t>(rows.erase(place.index)[1]), expected[key]);
      expected.erase(key);
    }
    ASSERT_EQ(rows.size(), expected.size());
    if (round % 100 != 0) continue;
    const std::size_t first = dice.below(expected.size() + 2);
    const std::size_t count = dice.below(50);
    std::vector<std::int64_t> part;
    for (const Row* one : rows.rows(first, count)) part.push_back(std::get<std::int64_t>((*one)[0]));
    std::vector<std::int64_t> same;
    for (std::size_t i = first; i < std::min(first + count, expected.size()); ++i)
      same.push_back(std::next(expected.begin(), static_cast<std::ptrdiff_t>(i))->first);
    ASSERT_EQ(part, same);
    if (round % 1'000 == 0) {
      rows.truncate(100);
      while (expected.size() > 100) expected.erase(std::prev(expected.end()));
    }
  }
}

}  // namespace
}  // namespace nizhal
