// For tests only: what a page's statement really did, from EXPLAIN (ANALYZE, BUFFERS) of the plan that a snapshot runs.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "query/to_sql.hpp"
#include "storage/postgres/other_program.hpp"
#include "storage/postgres/page_walk.hpp"
#include "storage/postgres/snapshot.hpp"
#include "storage/postgres/statements.hpp"

namespace nizhal::storage {

struct Plan {
  std::set<std::string> nodes;    // "Index Scan", "Sort", …
  std::set<std::string> indexes;  // those walked along
  std::int64_t rows_walked = 0;   // that index scans gave, and that they read and left out
  std::int64_t rows_sorted = 0;
  std::int64_t buffers = 0;
  std::string text;

  bool uses_index(const std::string& part) const {
    for (const std::string& name : indexes)
      if (name.find(part) != std::string::npos) return true;
    return false;
  }
};

namespace plan_detail {

inline std::int64_t number_of(const json::value& node, std::string_view name) {
  const json::value* found = member(node, name);
  if (found == nullptr) return 0;
  if (found->is_double()) return static_cast<std::int64_t>(found->as_double());
  return as_integer(*found).value_or(0);
}

inline void add(const json::value& node, Plan& plan) {
  const std::string type(string_member(node, "Node Type").value_or(""));
  plan.nodes.insert(type);
  const std::int64_t loops = number_of(node, "Actual Loops");
  if (const auto index = string_member(node, "Index Name")) {
    plan.indexes.emplace(*index);
    plan.rows_walked += loops * (number_of(node, "Actual Rows") + number_of(node, "Rows Removed by Filter") +
                                 number_of(node, "Rows Removed by Index Recheck"));
  }
  if (const json::value* children = member(node, "Plans"))
    for (const json::value& child : *children->if_array()) {
      if (type.find("Sort") != std::string::npos)
        plan.rows_sorted += number_of(child, "Actual Loops") * number_of(child, "Actual Rows");
      add(child, plan);
    }
}

}  // namespace plan_detail

/// Runs the statement as a snapshot would.
inline Plan plan_of(OtherProgram& program, const std::string& sql, const pg::Parameters& parameters) {
  program.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  program.query(pg::kTakeSnapshotSql);
  program.run("PREPARE page AS " + sql);
  std::string values;
  for (const auto& parameter : parameters)
    values += fmt::format("{}{}", values.empty() ? "" : ", ", parameter ? quote_text(*parameter) : "NULL");
  Plan plan;
  plan.text =
      program.value(fmt::format("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE page ({})", values));
  program.run("ROLLBACK; DEALLOCATE page");
  const auto parsed = parse_json(plan.text);
  EXPECT_TRUE(parsed.has_value()) << plan.text;
  if (!parsed) return plan;
  const json::value& top = *member(parsed->if_array()->front(), "Plan");
  plan_detail::add(top, plan);
  plan.buffers = plan_detail::number_of(top, "Shared Hit Blocks") + plan_detail::number_of(top, "Shared Read Blocks");
  return plan;
}

}  // namespace nizhal::storage
