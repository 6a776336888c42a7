#include "storage/postgres/engine_objects.hpp"

#include <algorithm>

#include "storage/postgres/engine_schema.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// What stands after `start`, up to one of `ends`.
std::string word_after(std::string_view text, std::string_view start, std::string_view ends) {
  const std::size_t at = text.find(start);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + start.size());
  return std::string(text.substr(0, text.find_first_of(ends)));
}

/// `a, b, c` of the first parentheses after `start`.
std::vector<std::string> list_after(std::string_view text, std::string_view start) {
  std::vector<std::string> names;
  std::size_t at = text.find(start);
  if (at == std::string_view::npos) return names;
  at = text.find('(', at);
  std::string_view list = text.substr(at + 1, text.find(')', at) - at - 1);
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(", "), list.size());
    names.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 2, list.size()));
  }
  return names;
}

/// One column or constraint a line, as engine_ddl writes them.
EngineTable table_of(std::string_view sql) {
  EngineTable table;
  table.name = word_after(sql, "CREATE TABLE nizhal.", " ");
  std::string_view lines = sql.substr(sql.find('(') + 1);
  if (!contains(lines, "\n")) lines = lines.substr(0, lines.find(')'));
  std::vector<std::string> primary;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    while (line.starts_with(' ')) line.remove_prefix(1);
    if (line.empty() || line.starts_with(')')) continue;
    if (line.starts_with("PRIMARY KEY (")) {
      primary = list_after(line, "PRIMARY KEY");
    } else if (line.starts_with("UNIQUE (")) {
      table.keys.push_back(list_after(line, "UNIQUE"));
    } else {
      EngineColumn column;
      column.name = std::string(line.substr(0, line.find(' ')));
      column.type = word_after(line, " ", " ,");
      column.by_bytes = contains(line, "COLLATE \"C\"");
      column.not_null = contains(line, "NOT NULL") || contains(line, "PRIMARY KEY") || contains(line, "IDENTITY");
      if (contains(line, "PRIMARY KEY")) primary = {column.name};
      table.columns.push_back(std::move(column));
    }
  }
  table.keys.insert(table.keys.begin(), std::move(primary));
  return table;
}

EngineIndex index_of(const std::string& sql) {
  EngineIndex index;
  index.name = word_after(sql, "CREATE INDEX ", " ");
  index.table = word_after(sql, " ON nizhal.", " ");
  index.method = contains(sql, " USING ") ? word_after(sql, " USING ", " ") : "btree";
  index.columns = list_after(sql, " ON nizhal.");
  index.create_sql = sql;
  return index;
}

EngineFunction function_of(const std::string& sql) {
  EngineFunction function;
  function.name = word_after(sql, "CREATE FUNCTION nizhal.", "(");
  function.language = word_after(sql, "LANGUAGE ", " ");
  const std::string_view head = std::string_view(sql).substr(0, sql.find("$$"));
  function.security_definer = contains(head, "SECURITY DEFINER");
  function.sets_path = contains(head, "SET search_path");
  const std::size_t from = sql.find("$$") + 2;
  function.body = sql.substr(from, sql.rfind("$$") - from);
  function.replace_sql = "CREATE OR REPLACE" + sql.substr(std::string_view("CREATE").size());
  return function;
}

}  // namespace

EngineObjects engine_objects(std::string_view domain_name) {
  EngineObjects objects;
  for (const std::string& sql : engine_ddl(domain_name)) {
    if (sql.starts_with("CREATE TABLE "))
      objects.tables.push_back(table_of(sql));
    else if (sql.starts_with("CREATE INDEX "))
      objects.indexes.push_back(index_of(sql));
    else if (sql.starts_with("CREATE FUNCTION "))
      objects.functions.push_back(function_of(sql));
  }
  return objects;
}

}  // namespace nizhal::storage::postgres_schema
