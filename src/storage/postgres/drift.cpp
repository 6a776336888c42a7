#include "storage/postgres/drift.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/engine_objects.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/merge_triggers.hpp"
#include "storage/postgres/table_ddl.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

constexpr const char* kMigrate = "`nizhal migrate` does it";
constexpr const char* kStartAnew =
    "restore a backup, or take the engine out with `nizhal migrate --reset --yes` and migrate again";

enum class Mending { by_person, additive, breaking };

class Comparison {
 public:
  Comparison(const CompiledDomain& domain, const LiveSchema& live, std::int64_t format)
      : domain_(domain), live_(live), format_(format) {}

  std::vector<Difference> all() {
    obstacles();
    if (!differences_.empty()) return std::move(differences_);
    if (!live_.has_engine_schema)
      add("database", "has nothing of the engine yet", kMigrate, Mending::additive);
    else if (live_.format < format_)
      add("schema \"nizhal\"", fmt::format("has format {}, and this program's is {}", live_.format, format_), kMigrate,
          Mending::additive);
    else
      engine();
    for (std::size_t i = 0; i < domain_.tables().size(); ++i) table(i);
    for (const auto& [name, recorded] : live_.recorded)
      if (!domain_.table_index(name))
        add(place_of(name), "was declared at the last migration and is not any more",
            "declare it again; with --allow-breaking it stays in the database and is no longer synced",
            Mending::breaking);
    return std::move(differences_);
  }

  std::vector<Difference> obstacles() {
    if (live_.schema.empty())
      add("search path", "names no schema that exists", "create one, or set search_path for the user",
          Mending::by_person);
    if (live_.schema == "nizhal" || live_.schema.starts_with("pg_"))
      add("search path", fmt::format("begins with \"{}\", which is not for synced tables", live_.schema),
          "let the user's search_path begin with another schema, such as public", Mending::by_person);
    if (live_.encoding != "UTF8")
      add("database", fmt::format("is encoded in {}", live_.encoding),
          "make one with ENCODING 'UTF8'; keys and texts are compared as bytes of UTF-8", Mending::by_person);
    if (live_.has_engine_schema && !live_.has_state)
      add("schema \"nizhal\"", "is there without the engine's tables",
          "it is another program's: rename it. If it was the engine's: " + std::string(kStartAnew), Mending::by_person);
    if (live_.has_state && live_.format > format_)
      add("schema \"nizhal\"",
          fmt::format("was made by a newer Nizhal (format {}, this one knows {})", live_.format, format_),
          "upgrade this program", Mending::by_person);
    const std::string& name = domain_.domain().name();
    if (live_.has_state && live_.domain != name)
      add("database", fmt::format("belongs to the domain \"{}\", not to \"{}\"", live_.domain, name),
          fmt::format(
              "give \"{}\" a database of its own. If the domain was renamed: UPDATE nizhal.state SET domain = {}", name,
              text_literal(name)),
          Mending::by_person);
    if (!live_.elsewhere.empty())
      add("search path",
          fmt::format("begins with \"{}\", but synced tables are elsewhere: {}", live_.schema,
                      fmt::join(live_.elsewhere, ", ")),
          "let the user's search_path begin with their schema", Mending::by_person);
    return differences_;
  }

 private:
  void add(std::string place, std::string what, std::string fix, Mending mending) {
    differences_.push_back({std::move(place), std::move(what), std::move(fix), mending == Mending::breaking,
                            mending == Mending::additive});
  }
  static std::string place_of(std::string_view table) { return fmt::format("table \"{}\"", table); }
  static std::string place_of(std::string_view table, std::string_view column) {
    return fmt::format("table \"{}\", column \"{}\"", table, column);
  }
  std::string alter(const TableDef& def, std::string_view column, std::string_view what) const {
    return fmt::format("ALTER TABLE {} ALTER COLUMN {} {}", qualified(live_.schema, def.name), quote_identifier(column),
                       what);
  }

  void engine() {
    const EngineObjects objects = engine_objects(domain_.domain().name());
    for (const EngineTable& table : objects.tables) engine_table(table);
    for (const EngineIndex& index : objects.indexes) {
      const auto found = live_.engine_tables.find(index.table);
      if (found == live_.engine_tables.end()) continue;
      const std::string place = fmt::format("index \"nizhal.{}\"", index.name);
      const LiveIndex* live = found->second.index(index.name);
      if (live == nullptr)
        add(place, "is missing", index.create_sql, Mending::additive);
      else if (!live->is_valid || live->method != index.method || live->columns != index.columns)
        add(place, live->is_valid ? "is another index" : "is invalid", index.create_sql, Mending::additive);
    }
    for (const EngineFunction& function : objects.functions) {
      const std::string place = fmt::format("function nizhal.{}()", function.name);
      const auto found = live_.functions.find(function.name);
      if (found == live_.functions.end())
        add(place, "is missing", kMigrate, Mending::additive);
      else if (found->second.body != function.body || found->second.language != function.language ||
               found->second.security_definer != function.security_definer ||
               found->second.settings != (function.sets_path ? kFunctionSettings : ""))
        add(place, "is not as the plan has it", kMigrate, Mending::additive);
    }
    sequence();
  }

  void engine_table(const EngineTable& table) {
    const std::string place = fmt::format("table \"nizhal.{}\"", table.name);
    const auto found = live_.engine_tables.find(table.name);
    if (found == live_.engine_tables.end()) return add(place, "is missing", kStartAnew, Mending::by_person);
    const LiveTable& live = found->second;
    if (live.persistence != 'p')
      add(place, "is not kept over a crash", fmt::format("ALTER TABLE nizhal.{} SET LOGGED", table.name),
          Mending::by_person);
    for (const EngineColumn& column : table.columns) {
      const LiveColumn* stored = live.column(column.name);
      const std::string at = fmt::format("table \"nizhal.{}\", column \"{}\"", table.name, column.name);
      if (stored == nullptr)
        add(at, "is missing", kStartAnew, Mending::by_person);
      else if (stored->type != column.type || stored->not_null != column.not_null ||
               stored->by_bytes != column.by_bytes)
        add(at, "is not as the plan has it", kStartAnew, Mending::by_person);
    }
    for (const auto& key : table.keys) {
      const bool has_key = std::any_of(live.indexes.begin(), live.indexes.end(), [&key](const LiveIndex& index) {
        return index.is_unique && index.is_valid && index.is_plain && index.columns == key;
      });
      if (!has_key)
        add(place, fmt::format("has no unique key ({})", fmt::join(key, ", ")), kStartAnew, Mending::by_person);
    }
  }

  void sequence() {
    const std::string place = "sequence \"nizhal.version_seq\"";
    if (!live_.sequence) return add(place, "is missing", kStartAnew, Mending::by_person);
    if (live_.sequence->settings != kSequenceSettings)
      add(place, fmt::format("has other settings ({}; the plan: {})", live_.sequence->settings, kSequenceSettings),
          kMendSequence, Mending::additive);
    if (!live_.sequence->is_used)
      add(place, "has not been used, so its first version could not be told from none",
          "SELECT setval('nizhal.version_seq', 1, true)", Mending::additive);
    if (live_.sequence->last_value < live_.greatest_version)
      add(place,
          fmt::format("is at {}, but version {} was given out", live_.sequence->last_value, live_.greatest_version),
          "`nizhal migrate` moves it on and starts a new epoch", Mending::additive);
  }

  void table(std::size_t index) {
    const TableDef& def = domain_.table(index);
    const std::string place = place_of(def.name);
    const auto found = live_.tables.find(def.name);
    const auto known = live_.recorded.find(def.name);
    const RecordedTable* recorded = known == live_.recorded.end() ? nullptr : &known->second;
    if (found == live_.tables.end()) {
      add(place, "is missing",
          recorded == nullptr ? kMigrate
                              : "`nizhal migrate` makes it anew, empty, and starts a new epoch because it was here",
          Mending::additive);
      return;
    }
    const LiveTable& live = found->second;
    if (!is_usable(place, def, live)) return;
    columns(def, live, recorded);
    const std::vector<std::string> to_merge = merge_columns(domain_, index);
    if (!live_.has_engine_schema && recorded == nullptr && !is_versioned(domain_, index) && to_merge.empty()) return;
    if (is_versioned(domain_, index)) engine_column(def, live, kVersionColumn, "bigint", version_column_ddl());
    for (const std::string& column : to_merge)
      engine_column(def, live, column, merge_column_type(column), merge_column_ddl(column));
    triggers(index, live);
    indexes(index, live);
    record(index, live, recorded);
  }

  bool is_usable(const std::string& place, const TableDef& def, const LiveTable& live) {
    const std::size_t before = differences_.size();
    if (live.kind != 'r') {
      add(place, live.kind == 'p' ? "is partitioned in the database" : "is no plain table in the database",
          "rename one of them, or make it a plain table: the engine's triggers need one", Mending::by_person);
      return false;
    }
    if (live.is_inherited)
      add(place, "has parents or children in the database", "take it out of the inheritance", Mending::by_person);
    if (live.persistence != 'p')
      add(place, "is not kept over a crash, so rows could vanish unseen",
          fmt::format("ALTER TABLE {} SET LOGGED", qualified(live_.schema, def.name)), Mending::by_person);
    if (live.hides_rows)
      add(place, "hides rows from this user (row security)",
          "let the engine's user own the table or have BYPASSRLS; sync rules decide who gets which rows",
          Mending::by_person);
    return differences_.size() == before;
  }

  void columns(const TableDef& def, const LiveTable& live, const RecordedTable* recorded) {
    for (const ColumnDef& column : def.columns) declared_column(def, column, live, recorded);
    if (recorded != nullptr) {
      for (const auto& [name, type] : recorded->columns) {
        if (def.index_of(name) != TableDef::npos) continue;
        add(place_of(def.name, name), "was declared at the last migration and is not any more",
            "declare it again (under the old name, if it was renamed); with --allow-breaking it stays in the database, "
            "may be null from then on, and is no longer synced",
            Mending::breaking);
      }
    }
    for (const LiveColumn& column : live.columns) {
      if (is_engine_column(column.name) || def.index_of(column.name) != TableDef::npos) continue;
      if (recorded != nullptr && recorded->column(column.name) != nullptr) continue;
      if (column.not_null && !column.has_default && !column.is_generated)
        add(place_of(def.name, column.name),
            "is NOT NULL without a default in the database and not declared, so no row could be inserted",
            fmt::format("declare it, give it a default, or {}", alter(def, column.name, "DROP NOT NULL")),
            Mending::by_person);
    }
  }

  void declared_column(const TableDef& def, const ColumnDef& column, const LiveTable& live,
                       const RecordedTable* recorded) {
    const std::string place = place_of(def.name, column.name);
    const LiveColumn* stored = live.column(column.name);
    const std::string* before = recorded == nullptr ? nullptr : recorded->column(column.name);
    if (stored == nullptr) return missing_column(place, def, column, live, before != nullptr);
    const bool is_key = column.name == def.key;
    if (stored->is_generated && !is_key)
      return add(place, "is generated in the database", "leave it out of the domain", Mending::by_person);
    if (!fits(column.type, stored->type)) {
      const bool was_retyped = before != nullptr && *before != recorded_type(column);
      const std::string what =
          fmt::format("is {} in the domain but {} in the database", to_string(column.type), stored->type);
      const std::string sql = retype_sql(live_.schema, def, column, stored->type);
      if (was_retyped)
        add(place, what,
            "declare the old type, or add a column under another name; with --allow-breaking: " + sql +
                " (it blocks the table while it is rewritten)",
            Mending::breaking);
      else
        add(place, what, "declare the stored type, or " + sql, Mending::by_person);
      return;
    }
    if (before != nullptr && before->substr(0, before->find(' ')) != to_string(column.type))
      add(place, fmt::format("was {} at the last migration and is {} now", *before, to_string(column.type)),
          "declare the old type, or add a column under another name; devices with the old one need --allow-breaking",
          Mending::breaking);
    if (is_key) return key(place, def, live, *stored);
    nullability(place, def, column, *stored, before);
    if (!stored->is_deterministic && names_bucket(def, column.name))
      add(place, "has a nondeterministic collation, under which different values are equal",
          alter(def, column.name, fmt::format("TYPE {} COLLATE \"default\"", stored->type)), Mending::by_person);
  }

  void missing_column(const std::string& place, const TableDef& def, const ColumnDef& column, const LiveTable& live,
                      bool was_there) {
    const std::string sql =
        fmt::format("ALTER TABLE {} ADD COLUMN {}", qualified(live_.schema, def.name), column_ddl(def, column));
    if (column.name == def.key)
      return add(place, "is the key in the domain and missing in the database",
                 "declare the table's primary key as key", Mending::by_person);
    if (!column.nullable && !column.default_value && live.has_rows)
      return add(place, "is missing, and the rows that are there would have no value in it",
                 fmt::format("declare it with default_value(…) or as std::optional; with --allow-breaking they get {}",
                             zero_sql(column.type)),
                 Mending::breaking);
    add(place, "is missing", was_there ? sql + "; its values are gone, so a new epoch makes devices start afresh" : sql,
        Mending::additive);
  }

  void nullability(const std::string& place, const TableDef& def, const ColumnDef& column, const LiveColumn& stored,
                   const std::string* before) {
    if (column.nullable && stored.not_null) {
      if (before != nullptr && !before->ends_with(" null"))
        add(place, "may be null now, which devices with the old schema cannot hold",
            "declare it without std::optional; with --allow-breaking: " + alter(def, column.name, "DROP NOT NULL"),
            Mending::breaking);
      else
        add(place, "may be null in the domain but is NOT NULL in the database",
            "declare it without std::optional, or " + alter(def, column.name, "DROP NOT NULL"), Mending::by_person);
    } else if (!column.nullable && !stored.not_null) {
      add(place, "is never null in the domain but may be null in the database",
          "declare it as std::optional, or " + alter(def, column.name, "SET NOT NULL"), Mending::by_person);
    } else if (before != nullptr && column.nullable && !before->ends_with(" null")) {
      add(place, "may be null now, which devices with the old schema cannot hold",
          "declare it without std::optional, or migrate with --allow-breaking", Mending::breaking);
    }
  }

  void key(const std::string& place, const TableDef& def, const LiveTable& live, const LiveColumn& stored) {
    const bool is_unique = std::any_of(live.indexes.begin(), live.indexes.end(), [&def](const LiveIndex& index) {
      return index.is_unique && index.is_valid && index.is_plain && index.columns == std::vector<std::string>{def.key};
    });
    if (!is_unique)
      add(place, "is the key in the domain, but not alone in a primary key or unique index of the database",
          fmt::format("CREATE UNIQUE INDEX CONCURRENTLY ON {} ({})", qualified(live_.schema, def.name),
                      quote_identifier(def.key)),
          Mending::by_person);
    if (!stored.not_null)
      add(place, "is the key in the domain but may be null in the database", alter(def, def.key, "SET NOT NULL"),
          Mending::by_person);
    if (!stored.is_deterministic)
      add(place, "has a nondeterministic collation, under which different keys are equal",
          alter(def, def.key, fmt::format("TYPE {} COLLATE \"default\"", stored.type)), Mending::by_person);
  }

  /// The column's values decide by equality who gets the row.
  bool names_bucket(const TableDef& def, const std::string& column) const {
    for (const BucketDefinition& definition : domain_.definitions()) {
      for (const BucketTable& entry : definition.tables)
        if (domain_.table(entry.table).name == def.name &&
            std::find(entry.parameter_columns.begin(), entry.parameter_columns.end(), column) !=
                entry.parameter_columns.end())
          return true;
    }
    return false;
  }

  void engine_column(const TableDef& def, const LiveTable& live, std::string_view column, std::string_view type,
                     const std::string& ddl) {
    const LiveColumn* stored = live.column(column);
    const std::string place = place_of(def.name, column);
    if (stored == nullptr)
      add(place, "is missing", fmt::format("ALTER TABLE {} ADD COLUMN {}", qualified(live_.schema, def.name), ddl),
          Mending::additive);
    else if (stored->type != type || !stored->not_null || !stored->has_default || stored->is_generated)
      add(place, "is not the engine's",
          fmt::format("ALTER TABLE {} DROP COLUMN {}, then migrate", qualified(live_.schema, def.name), column),
          Mending::by_person);
  }

  void triggers(std::size_t index, const LiveTable& live) {
    const TableDef& def = domain_.table(index);
    const std::vector<TableTrigger> planned = triggers_of(domain_, index);
    const auto place = [&def](std::string_view name) {
      return fmt::format("table \"{}\", trigger \"{}\"", def.name, name);
    };
    for (const TableTrigger& trigger : planned) {
      const auto found = std::find_if(live.triggers.begin(), live.triggers.end(),
                                      [&trigger](const LiveTrigger& other) { return other.name == trigger.name; });
      if (found == live.triggers.end())
        add(place(trigger.name), "is missing", trigger.create_sql(live_.schema, def.name), Mending::additive);
      else if (!found->is_enabled)
        add(place(trigger.name), "is disabled, so writes may have gone unseen",
            "`nizhal migrate` makes it anew and starts a new epoch", Mending::additive);
      else if (!found->is_plain || found->function != trigger.function || found->type != trigger.type)
        add(place(trigger.name), "is not as the plan has it", trigger.create_sql(live_.schema, def.name),
            Mending::additive);
    }
    for (const LiveTrigger& trigger : live.triggers)
      if (std::none_of(planned.begin(), planned.end(),
                       [&trigger](const TableTrigger& other) { return other.name == trigger.name; }))
        add(place(trigger.name), "is not in the plan",
            fmt::format("DROP TRIGGER {} ON {}", quote_identifier(trigger.name), qualified(live_.schema, def.name)),
            Mending::additive);
    const std::vector<TriggerFunction> functions = live_functions(live_, def.name);
    const std::vector<TriggerFunction> wanted = functions_of(domain_, index);
    for (const TriggerFunction& function : functions)
      if (std::none_of(wanted.begin(), wanted.end(),
                       [&function](const TriggerFunction& other) { return other.name == function.name; }))
        add(fmt::format("function nizhal.{}()", quote_identifier(function.name)), "is not in the plan", kMigrate,
            Mending::additive);
    for (const TriggerFunction& function : wanted) {
      const std::string at = fmt::format("function nizhal.{}()", quote_identifier(function.name));
      const auto found = std::find_if(functions.begin(), functions.end(), [&function](const TriggerFunction& other) {
        return other.name == function.name;
      });
      if (found == functions.end())
        add(at, "is missing", kMigrate, Mending::additive);
      else if (found->body != function.body)
        add(at, "is not as the plan has it: rules have changed, or somebody has changed it", kMigrate,
            Mending::additive);
    }
  }

  void indexes(std::size_t index, const LiveTable& live) {
    const TableDef& def = domain_.table(index);
    const std::vector<TableIndex> planned = indexes_of(domain_, index);
    const auto place = [&def](std::string_view name) {
      return fmt::format("table \"{}\", index \"{}\"", def.name, name);
    };
    for (const TableIndex& one : planned) {
      const LiveIndex* found = live.index(one.name);
      const std::string sql = one.create_sql(live_.schema, def.name, live.has_rows);
      if (found == nullptr)
        add(place(one.name), "is missing", sql, Mending::additive);
      else if (!found->is_valid)
        add(place(one.name), "is invalid", sql, Mending::additive);
      else if (!serves_as(*found, one))
        add(place(one.name), "is another index", sql, Mending::additive);
    }
    for (const LiveIndex& one : live.indexes)
      if (is_engine_index(one.name) && std::none_of(planned.begin(), planned.end(),
                                                    [&one](const TableIndex& other) { return other.name == one.name; }))
        add(place(one.name), "is not in the plan",
            fmt::format("DROP INDEX CONCURRENTLY {}", qualified(live_.schema, one.name)), Mending::additive);
  }

  void record(std::size_t index, const LiveTable& live, const RecordedTable* recorded) {
    const TableDef& def = domain_.table(index);
    const std::string place = place_of(def.name);
    if (recorded == nullptr) return add(place, "is not known to the engine yet", kMigrate, Mending::additive);
    if (!recorded->ready) add(place, "has a migration under way or broken off", kMigrate, Mending::additive);
    if (recorded->delivered != domain_.is_delivered(index))
      add(place, domain_.is_delivered(index) ? "is delivered from now on" : "is no longer delivered", kMigrate,
          Mending::additive);
    if (recorded->definitions != grant_definitions_of(domain_, index))
      add(place, "grants other buckets than at the last migration", kMigrate, Mending::additive);
    for (const ColumnDef& column : def.columns) {
      const std::string* before = recorded->column(column.name);
      if (before == nullptr)
        add(place_of(def.name, column.name), "is not synced yet", kMigrate, Mending::additive);
      else if (before->ends_with(" null") && !column.nullable)
        add(place_of(def.name, column.name), "might be null at the last migration and is never now", kMigrate,
            Mending::additive);
    }
    const std::string planned = trigger_digest(triggers_of(domain_, index), functions_of(domain_, index));
    const std::string stored = trigger_digest(live_triggers(live), live_functions(live_, def.name));
    if (recorded->triggers != planned && stored == planned)
      add(place, "has triggers that the last migration did not note", kMigrate, Mending::additive);
  }

  const CompiledDomain& domain_;
  const LiveSchema& live_;
  const std::int64_t format_;
  std::vector<Difference> differences_;
};

}  // namespace

std::vector<Difference> differences_of(const CompiledDomain& domain, const LiveSchema& live, std::int64_t format) {
  return Comparison(domain, live, format).all();
}

std::vector<Difference> obstacles_of(const CompiledDomain& domain, const LiveSchema& live, std::int64_t format) {
  return Comparison(domain, live, format).obstacles();
}

std::string text_of(const std::vector<Difference>& differences) {
  std::string text;
  for (const Difference& difference : differences)
    text += fmt::format("{}{} {}: {}", text.empty() ? "" : "\n", difference.place, difference.what, difference.fix);
  return text;
}

std::vector<TableTrigger> live_triggers(const LiveTable& table) {
  std::vector<TableTrigger> triggers;
  for (const LiveTrigger& live : table.triggers)
    triggers.push_back({live.name, live.function + (live.is_plain && live.is_enabled ? "" : "!"), live.type});
  return triggers;
}

std::vector<TriggerFunction> live_functions(const LiveSchema& live, std::string_view table) {
  std::vector<TriggerFunction> functions;
  for (const std::string& name : function_names(table)) {
    const auto found = live.functions.find(name);
    if (found == live.functions.end()) continue;
    std::string_view body = found->second.body;
    if (body.starts_with('\n')) body.remove_prefix(1);
    if (body.ends_with('\n')) body.remove_suffix(1);
    const bool is_plain = found->second.security_definer && found->second.language == "plpgsql" &&
                          found->second.settings == kFunctionSettings;
    functions.push_back({name, std::string(body) + (is_plain ? "" : "!")});
  }
  return functions;
}

bool serves_as(const LiveIndex& live, const TableIndex& planned) {
  if (live.method != "btree" || !live.is_plain || live.columns != planned.columns) return false;
  for (std::size_t i = 0; i < planned.columns.size(); ++i)
    if (planned.by_bytes[i] && !(i < live.by_bytes.size() && live.by_bytes[i])) return false;
  return true;
}

bool is_engine_column(std::string_view name) {
  return name == kVersionColumn || name == kStampsColumn || name == kRecentColumn;
}

bool is_engine_index(std::string_view name) {
  return name.starts_with("nizhal_live:") || name.starts_with("nizhal_backfill:") ||
         name.starts_with("nizhal_version:");
}

std::string recorded_type(const ColumnDef& column) {
  return std::string(to_string(column.type)) + (column.nullable ? " null" : "");
}

bool fits(ColumnType type, std::string_view stored) {
  if (stored.ends_with("[]")) return false;
  if (stored == type_sql(type)) return true;
  switch (type) {
    case ColumnType::text:
      return stored.starts_with("character varying");
    case ColumnType::integer:
      return stored == "smallint";
    case ColumnType::bigint:
      return stored == "smallint" || stored == "integer";
    case ColumnType::real:
      return stored == "real";
    case ColumnType::numeric:
      return stored.starts_with("numeric(");
    case ColumnType::timestamp:
      return stored.starts_with("timestamp") && stored.ends_with(" with time zone");
    case ColumnType::json:
      return stored == "json";
    default:
      return false;
  }
}

std::string zero_sql(ColumnType type) {
  switch (type) {
    case ColumnType::text:
      return "''";
    case ColumnType::uuid:
      return "'00000000-0000-0000-0000-000000000000'";
    case ColumnType::boolean:
      return "false";
    case ColumnType::timestamp:
      return "'1970-01-01T00:00:00Z'";
    case ColumnType::date:
      return "'1970-01-01'";
    case ColumnType::json:
      return "'null'";
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return "''";
    default:
      return "0";
  }
}

std::string retype_sql(std::string_view schema, const TableDef& table, const ColumnDef& column,
                       std::string_view stored) {
  const std::string name = quote_identifier(column.name);
  const bool is_local = column.type == ColumnType::timestamp && stored.find("without time zone") != std::string::npos;
  return fmt::format("ALTER TABLE {} ALTER COLUMN {} TYPE {} USING {}", qualified(schema, table.name), name,
                     type_sql(column.type),
                     is_local ? name + " AT TIME ZONE 'UTC'" : fmt::format("{}::{}", name, type_sql(column.type)));
}

}  // namespace nizhal::storage::postgres_schema
