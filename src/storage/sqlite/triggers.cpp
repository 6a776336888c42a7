#include "storage/sqlite/triggers.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.hpp"
#include "query/to_sql.hpp"
#include "storage/bucket_entries.hpp"
#include "storage/grant_definition.hpp"
#include "storage/sqlite/bucket_sql.hpp"
#include "storage/sqlite/engine_tables.hpp"
#include "storage/sqlite/merge_triggers.hpp"

namespace nizhal::storage {
namespace {

/// A version of its own for a change by another program; nothing inside an engine transaction, which took its own.
constexpr const char* kTakeVersion = "  UPDATE nizhal_state SET version = version + 1 WHERE writing = 0;\n";

/// Time of a change, for retention: the engine's where the engine writes, else the clock of this machine.
constexpr const char* kAtMicroseconds =
    "CASE s.writing WHEN 0 THEN CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) ELSE s.now_us END";

class TriggerWriter {
 public:
  TriggerWriter(const CompiledDomain& domain, std::size_t table,
                const std::vector<std::vector<std::string>>& unique_keys)
      : domain_(domain),
        table_(domain.table(table)),
        name_(quote_identifier(table_.name)),
        delivered_(domain.is_delivered(table)),
        entries_(entries_of(domain, table)),
        grants_(granting_definitions(domain, table)),
        unique_keys_(unique_keys) {}

  std::vector<SchemaObject> all() const {
    if (!delivered_ && grants_.empty()) return {};
    return {replace(), displace(), insert(), update(), remove()};
  }

 private:
  SchemaObject trigger(std::string_view verb, const std::string& when_and_what, const std::string& body) const {
    std::string name = fmt::format("nizhal_{}_{}", verb, table_.name);
    std::string sql = fmt::format("CREATE TRIGGER {} {} BEGIN\n{}END", quote_identifier(name), when_and_what, body);
    return {std::move(name), std::move(sql)};
  }

  /// Rows `r` that an insert of NEW, or an update to it, would have to replace.
  std::string conflicts() const {
    const auto equal = [](const std::string& column) {
      return fmt::format("{} = {}", column_sql("r", column), column_sql("NEW", column));
    };
    std::string text = equal(table_.key);
    for (const auto& columns : unique_keys_) {
      text += " OR (";
      for (std::size_t i = 0; i < columns.size(); ++i) text += (i > 0 ? " AND " : "") + equal(columns[i]);
      text += ")";
    }
    return "(" + text + ")";
  }

  SchemaObject replace() const {
    return trigger(
        "replace",
        fmt::format("BEFORE INSERT ON {} WHEN EXISTS (SELECT 1 FROM {} AS r WHERE {})", name_, name_, conflicts()),
        kTakeVersion + replaced(conflicts()));
  }
  SchemaObject displace() const {
    const std::string others =
        fmt::format("{} AND {} IS NOT {}", conflicts(), column_sql("r", table_.key), column_sql("OLD", table_.key));
    return trigger("displace",
                   fmt::format("BEFORE UPDATE OF {} ON {} WHEN EXISTS (SELECT 1 FROM {} AS r WHERE {})",
                               unique_columns(), name_, name_, others),
                   kTakeVersion + replaced(others));
  }
  /// What is recorded of rows that may be replaced; whether they are is up to the statement.
  std::string replaced(const std::string& which) const {
    std::string body;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      body += fmt::format(
          "  INSERT INTO nizhal_removal (version, bucket, table_name, key, client_key, deleted, at_us)\n"
          "  SELECT s.version, {}, {}, {}, {}, 0, {}\n  FROM {} AS r, nizhal_state AS s WHERE {} AND {}{};\n",
          bucket_key(entries_[i], "r"), quote_text(table_.name), key_sql("r", table_), client_key_sql("r", table_),
          kAtMicroseconds, name_, which, in_bucket(entries_[i], "r"), not_through_earlier(i, "r"));
    }
    for (const std::size_t d : grants_) {
      body += fmt::format(
          "  INSERT INTO nizhal_replaced (definition, subject, bucket)\n"
          "  SELECT {}, {}, {} FROM {} AS r WHERE {} AND {};\n",
          definition_id(d), grant_subject_sql(domain_, d, "r"), grant_bucket_sql(domain_, d, "r"), name_, which,
          grants_sql(domain_, d, "r"));
    }
    return body;
  }

  SchemaObject insert() const {
    return trigger("insert", "AFTER INSERT ON " + name_, kTakeVersion + stamp() + forget_replaced() + gain("NEW"));
  }
  SchemaObject update() const {
    const std::string same_key = fmt::format("{} IS {}", column_sql("OLD", table_.key), column_sql("NEW", table_.key));
    std::string body = kTakeVersion + stamp();
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (is_planted(Planted::forget_an_exit)) continue;
      std::string stays;
      for (const BucketEntry& other : entries_) {
        if (other.definition != entries_[i].definition) continue;
        stays += fmt::format("{}({} AND {} = {})", stays.empty() ? "" : " OR ", in_bucket(other, "NEW"),
                             bucket_key(other, "NEW"), bucket_key(entries_[i], "OLD"));
      }
      body += removal(i, fmt::format("NOT ({})", same_key), fmt::format(" AND NOT ({} AND ({}))", same_key, stays));
    }
    body += forget_replaced() + lose("OLD") + gain("NEW");
    std::string columns;
    for (const ColumnDef& column : table_.columns)
      columns += (columns.empty() ? "" : ", ") + quote_identifier(column.name);
    // Only the declared columns: setting the version inside the trigger must not fire it again.
    return trigger("update", fmt::format("AFTER UPDATE OF {} ON {}", columns, name_), body);
  }
  SchemaObject remove() const {
    std::string body = kTakeVersion;
    for (std::size_t i = 0; i < entries_.size(); ++i) body += removal(i, "1", "");
    return trigger("delete", "AFTER DELETE ON " + name_, body + lose("OLD"));
  }

  std::string removal(std::size_t entry, const std::string& deleted, const std::string& condition) const {
    return fmt::format(
        "  INSERT INTO nizhal_removal (version, bucket, table_name, key, client_key, deleted, at_us)\n"
        "  SELECT s.version, {}, {}, {}, {}, {}, {}\n  FROM nizhal_state AS s WHERE {}{}{};\n",
        bucket_key(entries_[entry], "OLD"), quote_text(table_.name), key_sql("OLD", table_),
        client_key_sql("OLD", table_), deleted, kAtMicroseconds, in_bucket(entries_[entry], "OLD"),
        not_through_earlier(entry, "OLD"), condition);
  }

  /// An engine write sets the version with the row; then there is nothing left to do here.
  std::string stamp() const {
    if (!delivered_) return "";
    return fmt::format(
        "  UPDATE {0} SET {1} = (SELECT version FROM nizhal_state)\n"
        "  WHERE {2} = {3} AND {1} <> (SELECT version FROM nizhal_state);\n",
        name_, kVersionColumn, quote_identifier(table_.key), column_sql("NEW", table_.key));
  }

  // A conflict clause would not do: inside a trigger the one of the statement that fired it counts.
  std::string gain(std::string_view row) const {
    std::string body;
    for (const std::size_t d : grants_)
      body += fmt::format(
          "  INSERT INTO nizhal_grant (definition, subject, bucket, gained)\n"
          "  SELECT {0}, {1}, {2}, s.version FROM nizhal_state AS s WHERE {3} AND NOT EXISTS\n"
          "  (SELECT 1 FROM nizhal_grant WHERE definition = {0} AND subject = {1} AND bucket = {2});\n",
          definition_id(d), grant_subject_sql(domain_, d, row), grant_bucket_sql(domain_, d, row),
          grants_sql(domain_, d, row));
    return body;
  }
  /// A bucket is lost only when no granting row remains.
  std::string lose(std::string_view row) const {
    std::string body;
    for (const std::size_t d : grants_)
      body += fmt::format(
          "  DELETE FROM nizhal_grant WHERE {} AND definition = {} AND subject = {} AND bucket = {}\n"
          "  AND NOT {};\n",
          grants_sql(domain_, d, row), definition_id(d), grant_subject_sql(domain_, d, row),
          grant_bucket_sql(domain_, d, row), still_granted(d));
    return body;
  }
  std::string forget_replaced() const {
    if (grants_.empty()) return "";
    std::string body;
    for (const std::size_t d : grants_)
      body += fmt::format(
          "  DELETE FROM nizhal_grant WHERE (definition, subject, bucket) IN\n"
          "  (SELECT definition, subject, bucket FROM nizhal_replaced WHERE definition = {0}) AND NOT {1};\n",
          definition_id(d), still_granted(d));
    return body + "  DELETE FROM nizhal_replaced;\n";
  }
  std::string still_granted(std::size_t definition) const {
    return fmt::format(
        "EXISTS (SELECT 1 FROM {} AS r WHERE {} = nizhal_grant.subject AND {} = nizhal_grant.bucket AND {})", name_,
        grant_subject_sql(domain_, definition, "r"), grant_bucket_sql(domain_, definition, "r"),
        grants_sql(domain_, definition, "r"));
  }

  std::string definition_id(std::size_t definition) const {
    return quote_text(grant_definition_id(domain_, definition));
  }
  std::string in_bucket(const BucketEntry& entry, std::string_view row) const {
    return in_bucket_sql(domain_, entry.definition, *entry.table, row);
  }
  std::string bucket_key(const BucketEntry& entry, std::string_view row) const {
    return bucket_key_sql(domain_, entry.definition, *entry.table, row);
  }
  /// A row may be in one bucket through several rules; one removal is enough.
  std::string not_through_earlier(std::size_t index, std::string_view row) const {
    std::string text;
    for (std::size_t i = 0; i < index; ++i) {
      if (entries_[i].definition != entries_[index].definition) continue;
      text += fmt::format(" AND NOT ({} AND {} = {})", in_bucket(entries_[i], row), bucket_key(entries_[i], row),
                          bucket_key(entries_[index], row));
    }
    return text;
  }
  std::string unique_columns() const {
    std::vector<std::string> names{table_.key};
    for (const auto& columns : unique_keys_)
      for (const std::string& column : columns)
        if (std::find(names.begin(), names.end(), column) == names.end()) names.push_back(column);
    std::string text;
    for (const std::string& column : names) text += (text.empty() ? "" : ", ") + quote_identifier(column);
    return text;
  }

  const CompiledDomain& domain_;
  const TableDef& table_;
  std::string name_;
  bool delivered_;
  std::vector<BucketEntry> entries_;
  std::vector<std::size_t> grants_;
  const std::vector<std::vector<std::string>>& unique_keys_;
};

/// An index name that says what it holds; index names are shared by all tables, so the parts must not run together.
std::string index_name(std::string_view kind, const TableDef& table, const std::vector<std::string>& columns) {
  std::string name = fmt::format("nizhal_{}:{}", kind, table.name);
  for (const std::string& column : columns) name += ":" + column;
  return name;
}

SchemaObject column_index(std::string name, const TableDef& table, const std::vector<std::string>& columns) {
  std::string list;
  for (const std::string& column : columns) list += (list.empty() ? "" : ", ") + quote_identifier(column);
  std::string sql =
      fmt::format("CREATE INDEX {} ON {} ({})", quote_identifier(name), quote_identifier(table.name), list);
  return {std::move(name), std::move(sql)};
}

void add_once(std::vector<SchemaObject>& objects, SchemaObject object) {
  for (const SchemaObject& other : objects)
    if (other.name == object.name) return;
  objects.push_back(std::move(object));
}

bool holds_key(const TableDef& table, const BucketTable& entry) {
  const auto& columns = entry.parameter_columns;
  return std::find(columns.begin(), columns.end(), table.key) != columns.end();
}

}  // namespace

std::vector<SchemaObject> triggers_of(const CompiledDomain& domain, std::size_t table,
                                      const std::vector<std::vector<std::string>>& unique_keys) {
  std::vector<SchemaObject> triggers = TriggerWriter(domain, table, unique_keys).all();
  for (SchemaObject& trigger : merge_triggers_of(domain, table)) triggers.push_back(std::move(trigger));
  return triggers;
}

std::string live_index_name(const TableDef& table, const BucketTable& entry) {
  return index_name("live", table, entry.parameter_columns);
}

std::string backfill_index_name(const TableDef& table, const BucketTable& entry) {
  return holds_key(table, entry) ? std::string() : index_name("backfill", table, entry.parameter_columns);
}

std::string version_index_name(const TableDef& table) { return index_name("version", table, {}); }

std::vector<SchemaObject> indexes_of(const CompiledDomain& domain, std::size_t table_index) {
  const TableDef& table = domain.table(table_index);
  std::vector<SchemaObject> objects;
  for (const BucketEntry& entry : entries_of(domain, table_index)) {
    std::vector<std::string> columns = entry.table->parameter_columns;
    columns.push_back(kVersionColumn);
    if (!holds_key(table, *entry.table)) columns.push_back(table.key);
    add_once(objects, column_index(live_index_name(table, *entry.table), table, columns));
    const std::string backfill = backfill_index_name(table, *entry.table);
    if (backfill.empty()) continue;
    columns = entry.table->parameter_columns;
    columns.push_back(table.key);
    add_once(objects, column_index(backfill, table, columns));
  }
  if (domain.is_delivered(table_index))
    add_once(objects, column_index(version_index_name(table), table, {kVersionColumn}));
  for (const std::size_t d : granting_definitions(domain, table_index)) {
    std::string name = fmt::format("nizhal_grants:{}:{}", table.name, grant_definition_id(domain, d));
    std::string sql =
        fmt::format("CREATE INDEX {} ON {} ({}, {})", quote_identifier(name), quote_identifier(table.name),
                    grant_subject_sql(domain, d, ""), grant_bucket_sql(domain, d, ""));
    add_once(objects, {std::move(name), std::move(sql)});
  }
  return objects;
}

std::vector<std::string> recompute_grants_sql(const CompiledDomain& domain) {
  std::vector<std::string> statements;
  std::string known;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
    const BucketDefinition& definition = domain.definitions()[d];
    if (definition.is_static()) continue;
    const std::string id = quote_text(grant_definition_id(domain, d));
    known += (known.empty() ? "" : ", ") + id;
    const std::string table = quote_identifier(definition.membership_table);
    const std::string subject = grant_subject_sql(domain, d, "r"), bucket = grant_bucket_sql(domain, d, "r");
    const std::string grants = grants_sql(domain, d, "r");
    statements.push_back(
        fmt::format("DELETE FROM nizhal_grant WHERE definition = {} AND NOT EXISTS (SELECT 1 FROM {} AS r WHERE {} = "
                    "nizhal_grant.subject AND {} = nizhal_grant.bucket AND {})",
                    id, table, subject, bucket, grants));
    statements.push_back(
        fmt::format("INSERT OR IGNORE INTO nizhal_grant (definition, subject, bucket, gained) SELECT DISTINCT {}, {}, "
                    "{}, s.version FROM {} AS r, nizhal_state AS s WHERE {}",
                    id, subject, bucket, table, grants));
  }
  statements.insert(statements.begin(),
                    known.empty() ? std::string("DELETE FROM nizhal_grant")
                                  : fmt::format("DELETE FROM nizhal_grant WHERE definition NOT IN ({})", known));
  return statements;
}

}  // namespace nizhal::storage
