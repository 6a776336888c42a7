// For tests only: three tables that refer to each other, random rows of them and random queries over them. Values come
// from small sets, so that rows meet, tie, and come back.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/table.hpp>

#include "base/environment.hpp"
#include "query/compiled_query.hpp"
#include "query/fold.hpp"

namespace nizhal::testing {

struct Region {
  std::string id, owner_id;
  std::optional<std::string> name;
};
struct Team {
  std::string id, owner_id;
  std::optional<std::string> region_id;
  std::optional<std::int64_t> weight;
};
struct Item {
  std::string id, owner_id;
  std::optional<std::string> team_id, other_team_id;
  std::optional<std::int64_t> size;
  std::int32_t score = 0;
  std::optional<std::string> label;
  bool is_open = false;
  std::optional<Timestamp> at;
  std::optional<double> ratio;
  std::optional<Numeric> price;
};

inline const auto regions =
    table<Region>("regions").key("id", &Region::id).column("owner_id", &Region::owner_id).column("name", &Region::name);
inline const auto teams = table<Team>("teams")
                              .key("id", &Team::id)
                              .column("owner_id", &Team::owner_id)
                              .column("region_id", &Team::region_id)
                              .column("weight", &Team::weight);
inline const auto items = table<Item>("items")
                              .key("id", &Item::id)
                              .column("owner_id", &Item::owner_id)
                              .column("team_id", &Item::team_id)
                              .column("other_team_id", &Item::other_team_id)
                              .column("size", &Item::size)
                              .column("score", &Item::score)
                              .column("label", &Item::label)
                              .column("is_open", &Item::is_open)
                              .column("at", &Item::at)
                              .column("ratio", &Item::ratio)
                              .column("price", &Item::price);

class RandomQueries {
 public:
  explicit RandomQueries(Random& random) : random_(random) {}

  bool chance(std::uint64_t of) { return random_.below(of) == 0; }
  template <class T>
  T pick(const std::vector<T>& from) {
    return from[random_.below(from.size())];
  }
  static std::string id(const char* kind, std::uint64_t number) { return kind + std::to_string(number); }

  // Rows
  static constexpr std::uint64_t kRegions = 4, kTeams = 8;
  Row region(const std::string& key) { return regions.to_row({key, "o1", maybe_text({"north", "south", "East"})}); }
  Row team(const std::string& key) {
    Team team{key, "o1", {}, {}};
    // Some refer to what is not there.
    if (!chance(5)) team.region_id = id("r", random_.below(kRegions + 1));
    if (!chance(5)) team.weight = static_cast<std::int64_t>(random_.below(4));
    return teams.to_row(team);
  }
  Row item(const std::string& key) {
    Item item;
    item.id = key;
    item.owner_id = "o1";
    if (!chance(5)) item.team_id = id("t", random_.below(kTeams + 1));
    if (!chance(3)) item.other_team_id = id("t", random_.below(kTeams + 1));
    if (!chance(6)) item.size = pick<std::int64_t>({-3, 0, 1, 2, 1'000'000'000'000});
    item.score = static_cast<std::int32_t>(random_.below(5)) - 1;
    item.label = maybe_text({"", "ant", "Ant", "bee", "a%b", "\xC3\xA9t\xC3\xA9"});
    item.is_open = chance(2);
    if (!chance(5)) item.at = Timestamp{1'767'312'000'000'000 + static_cast<std::int64_t>(random_.below(4)) * 1'500};
    if (!chance(5)) item.ratio = pick<double>({-0.5, 0.0, 0.1, 0.2, 1e17, -1e17});
    if (!chance(5)) item.price = Numeric{pick<std::string>({"-2", "0", "0.10", "0.1", "10.5", "9.25"})};
    return items.to_row(item);
  }

  // Queries
  QuerySpec query() {
    QuerySpec spec;
    const bool is_of_items = !chance(5);
    spec.table = is_of_items ? &items.def() : &teams.def();
    if (chance(2)) add_joins(spec, is_of_items);
    for (std::uint64_t i = random_.below(3); i > 0; --i) spec.predicates.push_back(predicate(spec, 2));
    if (chance(4)) spec.conditions.push_back(condition(spec));
    if (chance(3)) {
      fold(spec);
    } else {
      for (std::uint64_t i = random_.below(3); i > 0; --i) order(spec, column(spec).name);
    }
    if (chance(2)) spec.limit = random_.below(9);
    if (chance(4)) spec.offset = random_.below(6);
    return spec;
  }

 private:
  struct Column {
    std::string name;
    ColumnType type = ColumnType::text;
  };

  std::optional<std::string> maybe_text(const std::vector<std::string>& from) {
    if (chance(5)) return std::nullopt;
    return pick(from);
  }

  void add_joins(QuerySpec& spec, bool is_of_items) {
    const auto add = [&](const TableDef& table, std::string by, std::string name) {
      spec.joins.push_back({&table, std::move(by), chance(2), std::move(name)});
    };
    if (!is_of_items) return add(regions.def(), "region_id", "");
    const bool has_second = chance(3);
    add(teams.def(), "team_id", "");
    if (has_second) add(teams.def(), "other_team_id", "other");
    if (chance(2)) add(regions.def(), has_second && chance(2) ? "other.region_id" : "teams.region_id", "");
  }

  /// Any column of the query's tables, by its full name.
  Column column(const QuerySpec& spec) {
    std::vector<Column> all;
    const auto add = [&](const TableDef& table, const std::string& name) {
      for (const ColumnDef& one : table.columns)
        all.push_back({spec.joins.empty() ? one.name : name + "." + one.name, one.type});
    };
    add(*spec.table, spec.table->name);
    for (const JoinSpec& join : spec.joins) add(*join.table, join.name.empty() ? join.table->name : join.name);
    return pick(all);
  }

  Value operand(ColumnType type) {
    if (chance(12)) return {};
    switch (type) {
      case ColumnType::bigint:
      case ColumnType::integer:
        return static_cast<std::int64_t>(random_.below(4)) - 1;
      case ColumnType::boolean:
        return chance(2);
      case ColumnType::timestamp:
        return std::int64_t{1'767'312'000'000'000 + static_cast<std::int64_t>(random_.below(4)) * 1'500};
      case ColumnType::real:
        return pick<double>({-0.5, 0.0, 0.15, 1e17});
      case ColumnType::numeric:
        return pick<std::string>({"0.1", "0.100", "9.5", "10"});
      default:
        return pick<std::string>({"ant", "Ant", "b", "north", "t1", "t3", "r1", "i20", "o1"});
    }
  }

  Condition condition(const QuerySpec& spec) {
    const Column on = column(spec);
    const auto comparison = static_cast<Comparison>(random_.below(8));
    Condition made{on.name, comparison, {}, true};
    if (comparison != Comparison::is_null && comparison != Comparison::is_not_null) made.operand = operand(on.type);
    return made;
  }

  Predicate predicate(const QuerySpec& spec, int depth) {
    const std::uint64_t kind = random_.below(depth > 0 ? 8 : 4);
    if (kind == 2) {
      const Column on = column(spec);
      std::vector<Value> values;
      for (std::uint64_t i = random_.below(4); i > 0; --i) values.push_back(operand(on.type));
      return in(on.name, values);
    }
    if (kind == 3 && spec.table == &items.def())
      return like(spec.joins.empty() ? "label" : "items.label",
                  pick<std::string>({"a%", "%e%", "_nt", "a\\%b", "", "\xC3\xA9_\xC3\xA9"}));
    if (kind == 4 || kind == 5) return predicate(spec, depth - 1) && predicate(spec, depth - 1);
    if (kind == 6) return predicate(spec, depth - 1) || predicate(spec, depth - 1);
    if (kind == 7) return !predicate(spec, depth - 1);
    return condition(spec);
  }

  void order(QuerySpec& spec, std::string by) {
    spec.order.push_back({std::move(by), chance(2) ? Direction::descending : Direction::ascending});
  }

  void fold(QuerySpec& spec) {
    std::vector<std::string> names;
    for (std::uint64_t i = random_.below(3); i > 0; --i) {
      const std::string by = column(spec).name;
      if (std::find(names.begin(), names.end(), by) == names.end()) names.push_back(by);
    }
    spec.group_by = names;
    for (std::uint64_t i = random_.below(4); i > 0 || names.empty(); i = i > 0 ? i - 1 : 0) {
      FoldSpec made{static_cast<FoldSpec::Kind>(random_.below(5)), {}, "fold" + std::to_string(names.size())};
      const bool counts_rows = made.kind == FoldSpec::Kind::count && chance(2);
      while (!counts_rows) {
        const Column on = column(spec);
        made.column = on.name;
        const bool is_numeric = on.type == ColumnType::numeric;
        const bool is_number =
            on.type == ColumnType::integer || on.type == ColumnType::bigint || on.type == ColumnType::real;
        if (made.kind == FoldSpec::Kind::sum && !is_number && !is_numeric) continue;
        if (made.kind == FoldSpec::Kind::average && !is_number) continue;
        break;
      }
      names.push_back(made.name);
      spec.folds.push_back(std::move(made));
    }
    for (std::uint64_t i = random_.below(3); i > 0; --i) order(spec, pick(names));
  }

  Random& random_;
};

}  // namespace nizhal::testing
