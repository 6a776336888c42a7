#include "storage/postgres/merge_triggers.hpp"

#include <fmt/format.h>

#include "domain/field_stamps.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/triggers.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

// Each column once, with its highest stamp: the text of FieldStamps, however often it is written.
constexpr const char* kEachOnce =
    "(SELECT coalesce(string_agg(e.name || '=' || e.stamp, ';' ORDER BY e.name), '')\n"
    "        FROM (SELECT split_part(s, '=', 1) COLLATE \"C\" AS name, max(split_part(s, '=', 2) COLLATE \"C\") AS "
    "stamp\n"
    "                FROM unnest(string_to_array(known, ';')) AS s WHERE s <> '' GROUP BY 1) AS e)";

}  // namespace

const char* merge_column_type(std::string_view column) { return column == kStampsColumn ? "text" : "bytea"; }

std::string merge_column_ddl(std::string_view column) {
  return fmt::format("{} {} NOT NULL DEFAULT ''", column, merge_column_type(column));
}

std::string unchanged_sql(const TableDef& table, const std::vector<std::string>& columns) {
  std::string text;
  for (const std::string& name : columns) {
    const std::size_t index = table.index_of(name);
    const bool is_text = index == TableDef::npos || table.columns[index].type == ColumnType::text ||
                         table.columns[index].type == ColumnType::json;  // of the type json there is no equality
    const auto value = [&](std::string_view row) { return is_text ? text_sql(row, name) : column_sql(row, name); };
    text += fmt::format("{}{} IS NOT DISTINCT FROM {}", text.empty() ? "" : " AND ", value("OLD"), value("NEW"));
  }
  return text;
}

std::string merge_body(const CompiledDomain& domain, std::size_t index) {
  const TableDef& table = domain.table(index);
  const bool stamps = has_stamps(table), recent = has_recent(domain, index);
  std::string body = stamps ? "DECLARE\n  written text;\n  known text;\nBEGIN\n" : "BEGIN\n";
  if (recent) body += fmt::format("  IF current_setting('{}', true) = 'on' THEN RETURN NEW; END IF;\n", kQuietSetting);
  if (is_versioned(domain, index))
    body +=
        "  NEW.nizhal_version := coalesce(nullif(current_setting('nizhal.version', true), '')::bigint, "
        "nizhal.begin_version());\n";
  body += "  IF current_setting('nizhal.now_us', true) <> '' THEN RETURN NEW; END IF;\n";
  if (stamps)
    body += fmt::format(
        "  written := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') || "
        "'-0000-{}';\n",
        foreign_node());
  const std::string all = "NEW.nizhal_stamps := '*=' || written;";
  body += fmt::format("  IF TG_OP = 'INSERT' THEN\n{}{}    RETURN NEW;\n  END IF;\n", stamps ? "    " + all + "\n" : "",
                      recent ? "    NEW.nizhal_recent := ''::bytea;\n" : "");
  if (stamps) {
    body += fmt::format("  IF NOT ({}) THEN\n    {}\n  ELSE\n    known := OLD.nizhal_stamps;\n",
                        unchanged_sql(table, {table.key}), all);
    for (const std::string& column : stamped_columns(table))
      body += fmt::format("    IF NOT ({}) THEN known := known || ';{}=' || written; END IF;\n",
                          unchanged_sql(table, {column}), column);
    body += fmt::format(
        "    IF known <> OLD.nizhal_stamps THEN\n      NEW.nizhal_stamps := {};\n    END IF;\n  END IF;\n", kEachOnce);
  }
  if (recent)
    body += fmt::format("  IF NOT ({}) THEN\n    NEW.nizhal_recent := ''::bytea;\n  END IF;\n",
                        unchanged_sql(table, columns_of_recent(domain, index)));
  return body + "  RETURN NEW;\nEND";
}

}  // namespace nizhal::storage::postgres_schema
