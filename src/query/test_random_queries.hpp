// For tests only: three tables that refer to each other, random rows of them and random queries over them. Values come
// from small sets, so that rows meet, tie, and come back.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/table.hpp>

#include "base/environment.hpp"
#include "query/test_queries.hpp"

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

class RandomQueries : public test_queries::RandomQueries {
 public:
  explicit RandomQueries(Random& random)
      : test_queries::RandomQueries(random, {&items.def(), &teams.def(), &regions.def()}) {}

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
    const TableDef& from = chance(5) ? teams.def() : items.def();
    return next(from, {.joins = chance(2), .folds = chance(3), .filters_max = 1, .depth_max = 2});
  }

 protected:
  Value value(ColumnType type) override {
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
  std::string pattern() override {
    return pick<std::string>({"a%", "%e%", "_nt", "a\\%b", "", "i%", "t_", "\xC3\xA9_\xC3\xA9"});
  }
  /// Along the keys, so that rows meet.
  void add_joins() override {
    const auto add = [&](const TableDef& table, std::string by, std::string name) {
      add_join({&table, std::move(by), chance(2), std::move(name)});
    };
    if (&from_table() == &teams.def()) return add(regions.def(), "region_id", "");
    const bool has_second = chance(3);
    add(teams.def(), "team_id", "");
    if (has_second) add(teams.def(), "other_team_id", "other");
    if (chance(2)) add(regions.def(), has_second && chance(2) ? "other.region_id" : "teams.region_id", "");
  }

 private:
  std::optional<std::string> maybe_text(const std::vector<std::string>& from) {
    if (chance(5)) return std::nullopt;
    return pick(from);
  }
};

}  // namespace nizhal::testing
