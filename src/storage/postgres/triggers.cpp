#include "storage/postgres/triggers.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.hpp"
#include "query/to_sql.hpp"
#include "storage/bucket_entries.hpp"
#include "storage/grant_definition.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/merge_triggers.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

// pg_trigger.tgtype: bits of src/include/catalog/pg_trigger.h.
constexpr int kRow = 1, kBefore = 2, kInsert = 4, kDelete = 8, kUpdate = 16, kTruncate = 32;

std::string function_name(std::string_view verb, std::string_view table) {
  return bounded_name(fmt::format("{}_{}", verb, table));
}

/// The bodies of a table's trigger functions.
class BodyWriter {
 public:
  BodyWriter(const CompiledDomain& domain, std::size_t table)
      : domain_(domain),
        table_(domain.table(table)),
        entries_(entries_of(domain, table)),
        grants_(granting_definitions(domain, table)) {}

  std::string insert() const {
    std::string body = "BEGIN\n";
    for (const std::size_t d : grants_)
      body += fmt::format("  IF {} THEN\n    {}\n  END IF;\n", grants_sql(domain_, d, "NEW"),
                          change_grant("gain", d, "NEW", "NEW.nizhal_version"));
    return body + "  RETURN NULL;\nEND";
  }

  std::string update() const {
    const std::string same_key = fmt::format("{} = {}", key_sql("OLD", table_), key_sql("NEW", table_));
    std::string body = fmt::format("BEGIN\n  IF {} THEN RETURN NULL; END IF;\n", nothing_of_ours_changed());
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      std::string stays;
      for (const BucketEntry& other : entries_) {
        if (other.definition != entries_[i].definition) continue;
        stays += fmt::format("{}({} AND {} = {})", stays.empty() ? "" : " OR ", in_bucket(other, "NEW"),
                             bucket_key(other, "NEW"), bucket_key(entries_[i], "OLD"));
      }
      body += removal(i, "NEW.nizhal_version", fmt::format("NOT ({})", same_key),
                      fmt::format(" AND NOT ({} AND ({}))", same_key, stays));
    }
    for (const std::size_t d : grants_) {
      // A row that was there before the engine and is not counted yet cannot be counted out.
      const std::string had = fmt::format("OLD.nizhal_version <> 0 AND {}", grants_sql(domain_, d, "OLD"));
      const std::string has = grants_sql(domain_, d, "NEW");
      // In one order whichever way the row moves: two that move against each other must not wait for each other.
      body += fmt::format(
          "  IF NOT ({0} AND {1} AND {2} = {3} AND {4} = {5}) THEN\n"
          "    IF {0} AND {1} AND ({3}, {5}) < ({2}, {4}) THEN\n      {7}\n      {6}\n"
          "    ELSE\n"
          "      IF {0} THEN\n        {6}\n      END IF;\n"
          "      IF {1} THEN\n        {7}\n      END IF;\n"
          "    END IF;\n"
          "  END IF;\n",
          had, has, grant_subject_sql(domain_, d, "OLD"), grant_subject_sql(domain_, d, "NEW"),
          grant_bucket_sql(domain_, d, "OLD"), grant_bucket_sql(domain_, d, "NEW"),
          change_grant("lose", d, "OLD", "NEW.nizhal_version"), change_grant("gain", d, "NEW", "NEW.nizhal_version"));
    }
    return body + "  RETURN NULL;\nEND";
  }

  std::string remove() const {
    std::string body = "DECLARE\n  taken bigint := nizhal.begin_version();\nBEGIN\n";
    for (std::size_t i = 0; i < entries_.size(); ++i) body += removal(i, "taken", "true", "");
    for (const std::size_t d : grants_)
      body += fmt::format("  IF OLD.nizhal_version <> 0 AND {} THEN\n    {}\n  END IF;\n",
                          grants_sql(domain_, d, "OLD"), change_grant("lose", d, "OLD", "taken"));
    return body + "  RETURN NULL;\nEND";
  }

  /// The rows go without a row trigger, so they are read first. The statement is made at run time, because the search
  /// path of the function finds no table of the user's.
  std::string truncate() const {
    std::string body =
        "DECLARE\n  taken bigint;\nBEGIN\n"
        // The table is locked already, but an older snapshot does not show all that is going to be emptied.
        "  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN\n"
        "    RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',\n"
        "      MESSAGE = 'a synced table can only be truncated in READ COMMITTED',\n"
        "      HINT = 'An older snapshot may not show all of its rows, and devices would keep them. Use DELETE, or "
        "BEGIN ISOLATION LEVEL READ COMMITTED.';\n"
        "  END IF;\n"
        "  taken := nizhal.begin_version();\n";
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const std::string before = fmt::format(
          "INSERT INTO nizhal.removal (version, bucket, table_name, key, client_key, deleted, at_us)\n"
          "SELECT $1, {}, {}, {}, {}, true, nizhal.now_us() FROM ",
          bucket_key(entries_[i], "r"), text_literal(table_.name), key_sql("r", table_), client_key_sql("r", table_));
      const std::string after =
          fmt::format(" AS r WHERE {}{}", in_bucket(entries_[i], "r"), not_through_earlier(i, "r"));
      body += fmt::format(
          "  EXECUTE {} || quote_ident(TG_TABLE_SCHEMA) || '.' || quote_ident(TG_TABLE_NAME) || {} USING taken;\n",
          text_literal(before), text_literal(after));
    }
    if (!grants_.empty()) {
      std::string ids;
      for (const std::size_t d : grants_) ids += (ids.empty() ? "" : ", ") + definition_id(d);
      body += fmt::format(
          "  DELETE FROM nizhal.bucket_grant WHERE definition IN ({});\n"
          "  IF FOUND THEN\n    INSERT INTO nizhal.grant_change VALUES (taken) ON CONFLICT DO NOTHING;\n  END IF;\n",
          ids);
    }
    return body + "  RETURN NULL;\nEND";
  }

  bool grants() const { return !grants_.empty(); }

 private:
  /// The columns that decide about keys, buckets and grants are as they were.
  std::string nothing_of_ours_changed() const {
    std::vector<std::string> names{table_.key};
    const auto add = [&names](const std::string& name) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    };
    for (const BucketEntry& entry : entries_) {
      for (const std::string& name : entry.table->parameter_columns) add(name);
      for (const Condition& condition : entry.table->conditions) add(condition.column);
    }
    for (const std::size_t d : grants_) {
      const BucketDefinition& definition = domain_.definitions()[d];
      for (const MembershipFilter& filter : definition.membership_filters) add(filter.column);
      for (const ParameterDef& parameter : definition.parameters) add(parameter.membership_column);
    }
    std::string text = unchanged_sql(table_, names);
    if (!grants_.empty()) text += " AND OLD.nizhal_version <> 0";
    return text;
  }

  std::string removal(std::size_t entry, std::string_view version, const std::string& deleted,
                      const std::string& condition) const {
    return fmt::format(
        "  IF {}{}{} THEN\n"
        "    INSERT INTO nizhal.removal (version, bucket, table_name, key, client_key, deleted, at_us)\n"
        "    VALUES ({}, {}, {}, {}, {}, {}, nizhal.now_us());\n"
        "  END IF;\n",
        in_bucket(entries_[entry], "OLD"), not_through_earlier(entry, "OLD"), condition, version,
        bucket_key(entries_[entry], "OLD"), text_literal(table_.name), key_sql("OLD", table_),
        client_key_sql("OLD", table_), deleted);
  }

  std::string change_grant(std::string_view verb, std::size_t definition, std::string_view row,
                           std::string_view version) const {
    return fmt::format("PERFORM nizhal.{}_grant({}, {}, {}, {});", verb, definition_id(definition),
                       grant_subject_sql(domain_, definition, row), grant_bucket_sql(domain_, definition, row),
                       version);
  }

  std::string definition_id(std::size_t definition) const {
    return text_literal(grant_definition_id(domain_, definition));
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

  const CompiledDomain& domain_;
  const TableDef& table_;
  std::vector<BucketEntry> entries_;
  std::vector<std::size_t> grants_;
};

/// An index name that says what it holds; index names are shared by all tables, so the parts must not run together.
std::string index_name(std::string_view kind, const TableDef& table, const std::vector<std::string>& columns) {
  std::string name = fmt::format("nizhal_{}:{}", kind, table.name);
  for (const std::string& column : columns) name += ":" + column;
  return bounded_name(std::move(name));
}

bool holds_key(const TableDef& table, const BucketTable& entry) {
  const auto& columns = entry.parameter_columns;
  return std::find(columns.begin(), columns.end(), table.key) != columns.end();
}

TableIndex make_index(std::string name, const TableDef& table, const BucketTable& entry, bool has_version) {
  TableIndex index{std::move(name), entry.parameter_columns, std::vector<bool>(entry.parameter_columns.size(), false)};
  const auto add = [&index](std::string column, bool by_bytes) {
    index.columns.push_back(std::move(column));
    index.by_bytes.push_back(by_bytes);
  };
  if (has_version) add(kVersionColumn, false);
  if (!holds_key(table, entry)) add(table.key, table.key_column().type == ColumnType::text);
  return index;
}

void add_once(std::vector<TableIndex>& indexes, TableIndex index) {
  for (const TableIndex& other : indexes)
    if (other.name == index.name) return;
  indexes.push_back(std::move(index));
}

}  // namespace

std::string TriggerFunction::create_sql() const {
  return fmt::format(
      "CREATE OR REPLACE FUNCTION nizhal.{}() RETURNS trigger\n"
      "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {}",
      quote_identifier(name), dollar_quoted("\n" + body + "\n"));
}

std::string TableTrigger::create_sql(std::string_view schema, std::string_view table) const {
  std::string events;
  const auto add = [&](int bit, const char* event) {
    if ((type & bit) != 0) events += (events.empty() ? "" : " OR ") + std::string(event);
  };
  add(kInsert, "INSERT");
  add(kUpdate, "UPDATE");
  add(kDelete, "DELETE");
  add(kTruncate, "TRUNCATE");
  return fmt::format("CREATE TRIGGER {} {} {} ON {} FOR EACH {} EXECUTE FUNCTION nizhal.{}()", quote_identifier(name),
                     (type & kBefore) != 0 ? "BEFORE" : "AFTER", events, qualified(schema, table),
                     (type & kRow) != 0 ? "ROW" : "STATEMENT", quote_identifier(function));
}

std::string TableIndex::create_sql(std::string_view schema, std::string_view table, bool concurrently) const {
  std::string list;
  for (std::size_t i = 0; i < columns.size(); ++i)
    list += (i > 0 ? ", " : "") + quote_identifier(columns[i]) + (by_bytes[i] ? " COLLATE \"C\"" : "");
  return fmt::format("CREATE INDEX {}{} ON {} ({})", concurrently ? "CONCURRENTLY " : "", quote_identifier(name),
                     qualified(schema, table), list);
}

std::string qualified(std::string_view schema, std::string_view table) {
  return (schema.empty() ? std::string() : quote_identifier(schema) + ".") + quote_identifier(table);
}

bool is_versioned(const CompiledDomain& domain, std::size_t table) {
  return domain.is_delivered(table) || domain.is_membership(table);
}

std::string merge_function_name(std::string_view table) { return function_name("merge", table); }

std::vector<std::string> function_names(std::string_view table) {
  std::vector<std::string> names;
  for (const char* verb : {"insert", "update", "delete", "truncate", "merge"})
    names.push_back(function_name(verb, table));
  return names;
}

std::vector<TriggerFunction> functions_of(const CompiledDomain& domain, std::size_t table) {
  const TableDef& def = domain.table(table);
  std::vector<TriggerFunction> functions;
  if (merges(domain, table)) functions.push_back({function_name("merge", def.name), merge_body(domain, table)});
  if (!is_versioned(domain, table)) return functions;
  const BodyWriter writer(domain, table);
  if (writer.grants()) functions.push_back({function_name("insert", def.name), writer.insert()});
  functions.push_back({function_name("update", def.name), writer.update()});
  functions.push_back({function_name("delete", def.name), writer.remove()});
  functions.push_back({function_name("truncate", def.name), writer.truncate()});
  return functions;
}

std::vector<TableTrigger> triggers_of(const CompiledDomain& domain, std::size_t table) {
  const bool is_merging = merges(domain, table);
  if (!is_versioned(domain, table) && !is_merging) return {};
  const TableDef& def = domain.table(table);
  std::vector<TableTrigger> triggers{
      {"nizhal_stamp", is_merging ? function_name("merge", def.name) : "stamp", kRow | kBefore | kInsert | kUpdate}};
  if (!is_versioned(domain, table)) return triggers;
  if (BodyWriter(domain, table).grants())
    triggers.push_back({"nizhal_insert", function_name("insert", def.name), kRow | kInsert});
  triggers.push_back({"nizhal_update", function_name("update", def.name), kRow | kUpdate});
  triggers.push_back({"nizhal_delete", function_name("delete", def.name), kRow | kDelete});
  triggers.push_back({"nizhal_truncate", function_name("truncate", def.name), kBefore | kTruncate});
  return triggers;
}

std::string live_index_name(const TableDef& table, const BucketTable& entry) {
  return index_name("live", table, entry.parameter_columns);
}

std::string backfill_index_name(const TableDef& table, const BucketTable& entry) {
  return holds_key(table, entry) ? std::string() : index_name("backfill", table, entry.parameter_columns);
}

std::vector<TableIndex> indexes_of(const CompiledDomain& domain, std::size_t table_index) {
  const TableDef& table = domain.table(table_index);
  std::vector<TableIndex> indexes;
  for (const BucketEntry& entry : entries_of(domain, table_index)) {
    add_once(indexes, make_index(live_index_name(table, *entry.table), table, *entry.table, true));
    std::string backfill = backfill_index_name(table, *entry.table);
    if (!backfill.empty()) add_once(indexes, make_index(std::move(backfill), table, *entry.table, false));
  }
  if (domain.is_delivered(table_index))
    add_once(indexes, {index_name("version", table, {}), {std::string(kVersionColumn)}, {false}});
  return indexes;
}

std::vector<std::string> grant_definitions_of(const CompiledDomain& domain, std::size_t table) {
  std::vector<std::string> ids;
  for (const std::size_t d : granting_definitions(domain, table)) ids.push_back(grant_definition_id(domain, d));
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::string count_grants_sql(const CompiledDomain& domain, std::size_t table, std::string_view definition_id,
                             std::string_view schema) {
  for (const std::size_t d : granting_definitions(domain, table)) {
    if (grant_definition_id(domain, d) != definition_id) continue;
    return fmt::format(
        "WITH gained AS (INSERT INTO nizhal.bucket_grant (definition, subject, bucket, gained, granting_rows)\n"
        "SELECT {}, {}, {}, nizhal.begin_version(), count(*) FROM {} AS r WHERE r.nizhal_version <> 0 AND {}\n"
        "GROUP BY 2, 3 RETURNING gained)\n"
        "INSERT INTO nizhal.grant_change SELECT DISTINCT gained FROM gained ON CONFLICT DO NOTHING",
        text_literal(definition_id), grant_subject_sql(domain, d, "r"), grant_bucket_sql(domain, d, "r"),
        qualified(schema, domain.table(table).name), grants_sql(domain, d, "r"));
  }
  return "SELECT";
}

std::string trigger_digest(const std::vector<TableTrigger>& triggers, const std::vector<TriggerFunction>& functions) {
  std::vector<std::string> parts;
  for (const TableTrigger& trigger : triggers)
    parts.push_back(fmt::format("trigger {} {} {}\n", trigger.name, trigger.type, trigger.function));
  for (const TriggerFunction& function : functions)
    parts.push_back(fmt::format("function {} {}\n", function.name, function.body));
  std::sort(parts.begin(), parts.end());
  std::string text;
  for (const std::string& part : parts) text += part;
  return to_hex(sha256(as_bytes(text))).substr(0, 32);
}

}  // namespace nizhal::storage::postgres_schema
