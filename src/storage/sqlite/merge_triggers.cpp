#include "storage/sqlite/merge_triggers.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "domain/field_stamps.hpp"
#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/sqlite/bucket_sql.hpp"

namespace nizhal::storage {
namespace {

/// The text of an Hlc: the same throughout a statement.
std::string now_sql() { return fmt::format("strftime('%Y-%m-%dT%H:%M:%fZ', 'now') || '-0000-{}'", foreign_node()); }

/// Each column once, with its highest stamp: the text of FieldStamps, however often it is written. What is no list at
/// all counts as edited now.
std::string each_once_sql(const std::string& stamps) {
  return fmt::format(
      "(SELECT coalesce(group_concat(name || '=' || stamp, ';'), '') FROM (SELECT substr(e.value, 1, instr(e.value, "
      "'=') - 1) AS name,\n      max(substr(e.value, instr(e.value, '=') + 1)) AS stamp FROM (SELECT '[\"' || "
      "replace({}, ';', '\",\"') || '\"]' AS list) AS l,\n      json_each(CASE WHEN json_valid(l.list) THEN l.list "
      "ELSE '[\"*=' || {} || '\"]' END) AS e WHERE instr(e.value, '=') > 0 GROUP BY 1 ORDER BY 1))",
      stamps, now_sql());
}

std::string same_sql(const std::vector<std::string>& columns) {
  std::string text;
  for (const std::string& column : columns)
    text +=
        fmt::format("{}{} IS {}", text.empty() ? "" : " AND ", column_sql("OLD", column), column_sql("NEW", column));
  return text;
}

SchemaObject trigger(std::string_view verb, const TableDef& table, std::string_view event, const std::string& what) {
  std::string name = fmt::format("nizhal_{}_{}", verb, table.name);
  const std::string on = quote_identifier(table.name), key = quote_identifier(table.key);
  std::string sql = fmt::format(
      "CREATE TRIGGER {} AFTER {} ON {} WHEN (SELECT writing FROM nizhal_state) = 0 BEGIN\n"
      "  UPDATE {} SET {}\n  WHERE {} = {};\nEND",
      quote_identifier(name), event, on, on, what, key, column_sql("NEW", table.key));
  return {std::move(name), std::move(sql)};
}

}  // namespace

std::vector<SchemaObject> merge_triggers_of(const CompiledDomain& domain, std::size_t index) {
  const TableDef& table = domain.table(index);
  std::string inserted, updated;
  const auto set = [](std::string& list, std::string_view column, const std::string& value) {
    list += fmt::format("{}{} = {}", list.empty() ? "" : ",\n    ", column, value);
  };
  if (has_stamps(table)) {
    const std::string all = fmt::format("'*=' || {}", now_sql());
    std::string stamps = kStampsColumn;
    for (const std::string& column : stamped_columns(table))
      stamps +=
          fmt::format("\n      || CASE WHEN {} THEN '' ELSE ';{}=' || {} END", same_sql({column}), column, now_sql());
    set(inserted, kStampsColumn, all);
    set(updated, kStampsColumn,
        fmt::format("CASE WHEN {} THEN {} ELSE {} END", same_sql({table.key}), each_once_sql(stamps), all));
  }
  if (has_recent(domain, index)) {
    set(inserted, kRecentColumn, "x''");
    set(updated, kRecentColumn,
        fmt::format("CASE WHEN {} THEN {} ELSE x'' END", same_sql(columns_of_recent(domain, index)), kRecentColumn));
  }
  if (inserted.empty()) return {};
  std::string columns;
  for (const ColumnDef& column : table.columns)
    columns += (columns.empty() ? "" : ", ") + quote_identifier(column.name);
  return {trigger("stamp", table, "INSERT", inserted), trigger("restamp", table, "UPDATE OF " + columns, updated)};
}

}  // namespace nizhal::storage
