#include "storage/sqlite/provision.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/json.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/sqlite/engine_tables.hpp"
#include "storage/sqlite/table_check.hpp"
#include "storage/sqlite/triggers.hpp"

namespace nizhal::storage {
namespace {

std::string version_column_ddl() { return fmt::format("{} INTEGER NOT NULL DEFAULT 0", kVersionColumn); }
std::string merge_column_ddl(std::string_view column) {
  return fmt::format("{} {}", column,
                     column == kStampsColumn ? "TEXT NOT NULL DEFAULT ''" : "BLOB NOT NULL DEFAULT x''");
}

std::string columns_json(const TableDef& table) {
  std::string text = "[";
  for (const ColumnDef& column : table.columns) {
    if (text.size() > 1) text += ',';
    append_json_string(text, column.name);
  }
  return text + "]";
}

std::string digest(const std::vector<SchemaObject>& objects) {
  std::string text;
  for (const SchemaObject& object : objects) text += fmt::format("{}\n{}\n", object.name, object.sql);
  return to_hex(sha256(as_bytes(text)));
}

void sort_by_name(std::vector<SchemaObject>& objects) {
  std::sort(objects.begin(), objects.end(),
            [](const SchemaObject& left, const SchemaObject& right) { return left.name < right.name; });
}

/// What the last provisioning left of a table.
struct Recorded {
  std::vector<std::string> columns;
  bool delivered = false;
  std::string triggers;  // digest
};

/// The engine's triggers and indexes on one synced table, by name.
struct Installed {
  std::vector<SchemaObject> triggers, indexes;
};

class Provisioner {
 public:
  Provisioner(sqlite::Connection& connection, const CompiledDomain& domain, Random& random, const Log& log)
      : connection_(connection), domain_(domain), random_(random), log_(log) {}

  Result<ProvisionReport> run(bool keeps) {
    auto transaction = sqlite::Transaction::begin(connection_, sqlite::Transaction::Mode::immediate);
    if (!transaction) return tl::unexpected(transaction.error());
    if (auto done = engine_tables(); !done) return tl::unexpected(done.error());
    if (auto done = read_recorded(); !done) return tl::unexpected(done.error());
    if (auto done = read_installed(); !done) return tl::unexpected(done.error());
    for (std::size_t i = 0; i < domain_.tables().size(); ++i)
      if (auto done = table(i); !done) return tl::unexpected(done.error());
    if (auto done = undeclared_tables(); !done) return tl::unexpected(done.error());
    if (!is_changed_) return report_;  // the transaction is dropped: an unchanged database is not written
    for (const std::string& sql : recompute_grants_sql(domain_))
      if (auto done = execute(sql); !done) return tl::unexpected(done.error());
    if (auto done = execute("UPDATE nizhal_state SET writing = 0"); !done) return tl::unexpected(done.error());
    if (!keeps) return report_;
    if (auto done = transaction->commit(); !done) return tl::unexpected(done.error());
    return report_;
  }

 private:
  Result<void> execute(const std::string& sql) { return connection_.execute(sql); }

  void changed(std::string sentence) {
    is_changed_ = true;
    report_.changes.push_back(std::move(sentence));
  }

  Result<bool> table_exists(std::string_view name) {
    auto statement =
        connection_.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind_text(1, name);
    return statement->step();
  }

  Result<void> engine_tables() {
    auto exists = table_exists("nizhal_state");
    if (!exists) return tl::unexpected(exists.error());
    if (!*exists) {
      auto device = table_exists("nizhal_outbox");
      if (!device) return tl::unexpected(device.error());
      if (*device)
        return failure(ErrorCode::schema_mismatch,
                       "this file is a device's store, not a server's database; give the server a file of its own");
      report_.created = true;
      is_changed_ = true;
      if (auto done = execute(engine_tables_sql()); !done) return done;
      auto statement =
          connection_.prepare("INSERT INTO nizhal_state (id, epoch, format, domain) VALUES (1, ?1, ?2, ?3)");
      if (!statement) return tl::unexpected(statement.error());
      statement->bind_text(1, random_uuid(random_)).bind(2, kEngineFormat).bind_text(3, domain_.domain().name());
      if (auto done = statement->run(); !done) return done;
    } else {
      auto format = connection_.query_integer("SELECT format FROM nizhal_state");
      if (!format) return tl::unexpected(format.error());
      if (!*format) return failure(ErrorCode::corrupt, "the table nizhal_state is empty; restore a backup of the file");
      if (**format > kEngineFormat)
        return failure(ErrorCode::schema_mismatch,
                       fmt::format("the database was provisioned by a newer Nizhal (format {}, this one knows {}); "
                                   "upgrade this program",
                                   **format, kEngineFormat));
      if (auto same = check_domain(); !same) return same;
      if (**format < kEngineFormat) {
        for (std::int64_t from = **format; from < kEngineFormat; ++from)
          if (auto done = execute(from_format_sql(from)); !done) return done;
        changed(fmt::format("the engine's tables have format {} now", kEngineFormat));
      }
    }
    // What is written from here on has one version; it is kept only if something is.
    return execute("UPDATE nizhal_state SET version = version + 1, writing = 1");
  }

  /// Under another domain all tables would count as no longer declared and lose their triggers.
  Result<void> check_domain() {
    const auto stored = connection_.query_text("SELECT domain FROM nizhal_state");
    if (!stored) return tl::unexpected(stored.error());
    const std::string& name = domain_.domain().name();
    if (*stored == name) return {};
    return failure(
        ErrorCode::schema_mismatch,
        fmt::format("this database belongs to the domain \"{0}\", not to \"{1}\"; give \"{1}\" a file of its "
                    "own. If the domain was renamed, tell the file: UPDATE nizhal_state SET domain = '{1}'",
                    stored->value_or(""), name));
  }

  Result<void> read_recorded() {
    auto statement = connection_.prepare("SELECT table_name, columns, delivered, triggers FROM nizhal_schema");
    if (!statement) return tl::unexpected(statement.error());
    for (;;) {
      const auto row = statement->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) return {};
      Recorded recorded;
      auto columns = parse_json(statement->text(1));
      const json::array* names = columns ? columns->if_array() : nullptr;
      if (names == nullptr)
        return failure(ErrorCode::corrupt, "the table nizhal_schema is damaged; restore a backup of the file");
      for (const json::value& name : *names)
        if (const auto* text = name.if_string()) recorded.columns.emplace_back(text->data(), text->size());
      recorded.delivered = statement->integer(2) != 0;
      recorded.triggers = std::string(statement->text(3));
      recorded_.emplace(std::string(statement->text(0)), std::move(recorded));
    }
  }

  Result<void> read_installed() {
    auto statement = connection_.prepare(
        "SELECT tbl_name, type, name, sql FROM sqlite_schema WHERE type IN ('trigger', 'index') AND sql IS NOT NULL "
        "AND substr(name, 1, 7) = 'nizhal_' AND substr(tbl_name, 1, 7) <> 'nizhal_' ORDER BY name");
    if (!statement) return tl::unexpected(statement.error());
    for (;;) {
      const auto row = statement->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) return {};
      Installed& installed = installed_[std::string(statement->text(0))];
      auto& objects = statement->text(1) == "trigger" ? installed.triggers : installed.indexes;
      objects.push_back({std::string(statement->text(2)), std::string(statement->text(3))});
    }
  }

  Result<void> table(std::size_t index) {
    const TableDef& def = domain_.table(index);
    const auto found = recorded_.find(def.name);
    const Recorded* recorded = found == recorded_.end() ? nullptr : &found->second;
    if (auto kind = check_kind(def); !kind) return kind;
    auto exists = table_exists(def.name);
    if (!exists) return tl::unexpected(exists.error());
    bool has_rows = false;
    if (!*exists) {
      if (auto done = create(index); !done) return done;
    } else {
      auto rows = connection_.query_integer(fmt::format("SELECT 1 FROM {} LIMIT 1", quote_identifier(def.name)));
      if (!rows) return tl::unexpected(rows.error());
      has_rows = rows->has_value();
      if (auto done = extend(index, recorded, has_rows); !done) return done;
    }
    return engine_objects(index, recorded, has_rows);
  }

  Result<void> check_kind(const TableDef& def) {
    auto statement = connection_.prepare(
        "SELECT type || CASE WHEN sql LIKE 'CREATE VIRTUAL%' THEN ' (virtual)' ELSE '' END, name FROM sqlite_schema "
        "WHERE name = ?1 COLLATE NOCASE");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind_text(1, def.name);
    const auto row = statement->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return {};
    if (statement->text(0) != "table")
      return failure(ErrorCode::schema_mismatch,
                     fmt::format("\"{}\" is a {} in the database, and a table in the domain; "
                                 "rename one of them",
                                 def.name, statement->text(0)));
    if (statement->text(1) != def.name)
      return failure(ErrorCode::schema_mismatch,
                     fmt::format("table \"{}\" is called \"{}\" in the database; declare it in that spelling", def.name,
                                 statement->text(1)));
    return {};
  }

  Result<void> create(std::size_t index) {
    std::vector<std::string> extra;
    if (domain_.is_delivered(index)) extra.push_back(version_column_ddl());
    for (const std::string& column : merge_columns(domain_, index)) extra.push_back(merge_column_ddl(column));
    if (auto done = execute(sqlite::table_ddl(domain_.table(index), extra)); !done) return done;
    if (!report_.created) changed(fmt::format("table \"{}\" created", domain_.table(index).name));
    return {};
  }

  Result<void> extend(std::size_t index, const Recorded* recorded, bool has_rows) {
    const TableDef& def = domain_.table(index);
    auto stored = read_stored_table(connection_, def.name);
    if (!stored) return tl::unexpected(stored.error());
    if (stored->has_unique_expression && domain_.is_delivered(index))
      log_.warning("storage",
                   fmt::format("table \"{}\" has a unique index on an expression: rows that INSERT OR REPLACE "
                               "of other programs removes because of it are not seen",
                               def.name));
    auto missing =
        missing_columns(def, *stored, recorded != nullptr ? recorded->columns : std::vector<std::string>(), has_rows);
    if (!missing) return tl::unexpected(missing.error());
    for (const std::size_t column : *missing) {
      if (auto done = execute(fmt::format("ALTER TABLE {} ADD COLUMN {}", quote_identifier(def.name),
                                          sqlite::column_ddl(def, def.columns[column])));
          !done)
        return done;
      changed(fmt::format("column \"{}\" added to table \"{}\"", def.columns[column].name, def.name));
    }
    if (auto done = extend_merging(index, *stored); !done) return done;
    if (!domain_.is_delivered(index)) return {};
    if (stored->find(kVersionColumn) == nullptr) {
      if (auto done =
              execute(fmt::format("ALTER TABLE {} ADD COLUMN {}", quote_identifier(def.name), version_column_ddl()));
          !done)
        return done;
    } else if (recorded != nullptr && recorded->delivered) {
      return {};
    }
    // Rows that were here before the table was delivered were changed, as far as devices know, just now.
    if (auto done = execute(fmt::format("UPDATE {} SET {} = (SELECT version FROM nizhal_state)",
                                        quote_identifier(def.name), kVersionColumn));
        !done)
      return done;
    changed(fmt::format("table \"{}\" is delivered from now on, with the rows it had", def.name));
    return {};
  }

  /// A row without stamps is older than any edit; one without recent updates is sent whole.
  Result<void> extend_merging(std::size_t index, const StoredTable& stored) {
    const TableDef& def = domain_.table(index);
    const std::string name = quote_identifier(def.name);
    for (const std::string& column : merge_columns(domain_, index)) {
      const std::string ddl = merge_column_ddl(column);
      const StoredColumn* found = stored.find(column);
      if (found == nullptr) {
        if (auto done = execute(fmt::format("ALTER TABLE {} ADD COLUMN {}", name, ddl)); !done) return done;
        changed(fmt::format("table \"{}\" has the engine's column \"{}\" from now on", def.name, column));
        continue;
      }
      if (auto checked = check_engine_column(def, *found, ddl); !checked) return checked;
      const auto& triggers = installed_[def.name].triggers;
      if (std::any_of(triggers.begin(), triggers.end(),
                      [&column](const SchemaObject& trigger) { return trigger.sql.find(column) != std::string::npos; }))
        continue;
      // Left from a time when the table merged; what was written since is not in it.
      if (auto done =
              execute(fmt::format("UPDATE {} SET {} = {}", name, column, column == kStampsColumn ? "''" : "x''"));
          !done)
        return done;
      changed(
          fmt::format("the engine's column \"{}\" of table \"{}\" was not kept, and begins anew", column, def.name));
    }
    return {};
  }

  Result<void> engine_objects(std::size_t index, const Recorded* recorded, bool has_rows) {
    const TableDef& def = domain_.table(index);
    auto stored = read_stored_table(connection_, def.name);
    if (!stored) return tl::unexpected(stored.error());
    std::vector<SchemaObject> triggers = triggers_of(domain_, index, stored->unique_keys);
    std::vector<SchemaObject> indexes = indexes_of(domain_, index);
    sort_by_name(triggers);
    sort_by_name(indexes);
    const Installed& installed = installed_[def.name];
    const std::string wanted_digest = digest(triggers);
    if (recorded != nullptr && digest(installed.triggers) != recorded->triggers) {
      if (auto done = unseen_writes(def); !done) return done;
    }
    const bool is_same_triggers = triggers == installed.triggers;
    const bool is_same_indexes = indexes == installed.indexes;
    if (!is_same_triggers)
      if (auto done = replace("TRIGGER", installed.triggers, triggers); !done) return done;
    if (!is_same_indexes)
      if (auto done = replace("INDEX", installed.indexes, indexes); !done) return done;
    if ((!is_same_triggers || !is_same_indexes) && !report_.created) {
      if (recorded != nullptr)
        changed(fmt::format("triggers and indexes of table \"{}\" made anew for changed rules", def.name));
      else if (has_rows)
        changed(fmt::format("triggers and indexes added to table \"{}\"", def.name));
    }
    const std::string columns = columns_json(def);
    if (recorded != nullptr && is_same_triggers && is_same_indexes && recorded->columns.size() == def.columns.size() &&
        recorded->delivered == domain_.is_delivered(index) && recorded->triggers == wanted_digest)
      return {};
    is_changed_ = true;
    auto statement = connection_.prepare(
        "INSERT INTO nizhal_schema (table_name, columns, delivered, triggers) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (table_name) DO UPDATE SET columns = excluded.columns, delivered = excluded.delivered, "
        "triggers = excluded.triggers");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind_text(1, def.name)
        .bind_text(2, columns)
        .bind(3, std::int64_t{domain_.is_delivered(index)})
        .bind_text(4, wanted_digest);
    return statement->run();
  }

  /// Without its triggers a table may have lost rows and grants that nobody recorded: every device starts afresh.
  Result<void> unseen_writes(const TableDef& def) {
    if (!has_new_epoch_) {
      auto statement = connection_.prepare("UPDATE nizhal_state SET epoch = ?1");
      if (!statement) return tl::unexpected(statement.error());
      statement->bind_text(1, random_uuid(random_));
      if (auto done = statement->run(); !done) return done;
      // Nor can counters rely on versions then.
      if (auto done = execute("UPDATE nizhal_counter SET through = 0"); !done) return done;
      has_new_epoch_ = true;
    }
    changed(
        fmt::format("table \"{}\" was without the engine's triggers, so writes may have gone unseen: a new epoch "
                    "makes devices fill again",
                    def.name));
    return {};
  }

  Result<void> replace(std::string_view kind, const std::vector<SchemaObject>& from,
                       const std::vector<SchemaObject>& to) {
    is_changed_ = true;
    for (const SchemaObject& object : from) {
      if (std::find(to.begin(), to.end(), object) != to.end()) continue;
      if (auto done = execute(fmt::format("DROP {} {}", kind, quote_identifier(object.name))); !done) return done;
    }
    for (const SchemaObject& object : to) {
      if (std::find(from.begin(), from.end(), object) != from.end()) continue;
      if (auto done = execute(object.sql); !done) return done;
    }
    return {};
  }

  Result<void> undeclared_tables() {
    for (const auto& [name, recorded] : recorded_) {
      if (domain_.table_index(name)) continue;
      if (auto done = replace("TRIGGER", installed_[name].triggers, {}); !done) return done;
      if (auto done = replace("INDEX", installed_[name].indexes, {}); !done) return done;
      auto statement = connection_.prepare("DELETE FROM nizhal_schema WHERE table_name = ?1");
      if (!statement) return tl::unexpected(statement.error());
      statement->bind_text(1, name);
      if (auto done = statement->run(); !done) return done;
      changed(fmt::format("table \"{}\" is no longer declared: it stays, without triggers and indexes of the engine",
                          name));
    }
    return {};
  }

  sqlite::Connection& connection_;
  const CompiledDomain& domain_;
  Random& random_;
  const Log& log_;
  ProvisionReport report_;
  bool is_changed_ = false;
  bool has_new_epoch_ = false;
  std::map<std::string, Recorded> recorded_;
  std::map<std::string, Installed> installed_;
};

}  // namespace

Result<ProvisionReport> provision_database(sqlite::Connection& connection, const CompiledDomain& domain, Random& random,
                                           const Log& log) {
  return Provisioner(connection, domain, random, log).run(true);
}

Result<ProvisionReport> try_provision(sqlite::Connection& connection, const CompiledDomain& domain, Random& random,
                                      const Log& log) {
  return Provisioner(connection, domain, random, log).run(false);
}

}  // namespace nizhal::storage
