#include "storage/postgres/migration.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/ids.hpp"
#include "domain/contract.hpp"
#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/drift.hpp"
#include "storage/postgres/engine_objects.hpp"
#include "storage/postgres/live_schema.hpp"
#include "storage/postgres/migration_session.hpp"
#include "storage/postgres/table_ddl.hpp"
#include "storage/postgres/table_migration.hpp"

namespace nizhal::storage {
namespace {

using namespace postgres_schema;  // NOLINT: this file is its front

constexpr const char* kCommand = "nizhal migrate --domain … --db …";

class Migration {
 public:
  Migration(postgres::Connection& connection, const CompiledDomain& domain, Random& random, const Log& log,
            const MigrateOptions& options, const MigrationTuning& tuning)
      : session_(connection, random, options, tuning),
        domain_(domain),
        random_(random),
        log_(log),
        options_(options),
        tuning_(tuning) {}

  Result<MigrateReport> run() {
    if (auto done = session_.become_the_only_one(); !done) return tl::unexpected(done.error());
    if (auto done = look(); !done) return tl::unexpected(done.error());
    if (auto allowed = guard(); !allowed) return tl::unexpected(allowed.error());
    for (const auto step : {&Migration::formats, &Migration::engine, &Migration::oldest_client, &Migration::tables,
                            &Migration::undeclared_tables, &Migration::engine_indexes, &Migration::old_grants,
                            &Migration::nothing_is_left})
      if (auto done = (this->*step)(); !done) return tl::unexpected(done.error());
    return std::move(report_);
  }

 private:
  Result<void> look() {
    auto live = read_live_schema(session_.connection(), domain_);
    if (!live) return tl::unexpected(session_.explained("reading the catalogs", live.error()));
    live_ = *std::move(live);
    return {};
  }

  void changed(std::string sentence) {
    log_.info("migrate", sentence);
    report_.changes.push_back(std::move(sentence));
  }

  Result<void> guard() {
    std::vector<Difference> in_the_way;
    for (Difference& difference : differences_of(domain_, live_, tuning_.format)) {
      if (difference.breaking) is_breaking_ = true;
      if (!difference.additive && !(difference.breaking && options_.allow_breaking))
        in_the_way.push_back(std::move(difference));
    }
    if (in_the_way.empty()) return {};
    return failure(ErrorCode::schema_mismatch,
                   fmt::format("nothing was changed, because of {}:\n{}",
                               in_the_way.size() == 1 ? "a difference that is to be decided by you"
                                                      : "differences that are to be decided by you",
                               text_of(in_the_way)));
  }

  Result<void> formats() {
    if (!live_.has_state || live_.format == tuning_.format) return {};
    for (const FormatMigration& migration : tuning_.formats) {
      if (migration.from != live_.format) continue;
      session_.tell(fmt::format("bringing the engine's tables from format {} to {}", live_.format, live_.format + 1));
      auto done = session_.in_transaction("schema \"nizhal\"", [&]() -> Result<void> {
        for (const std::string& sql : migration.statements)
          if (auto ran = session_.run(sql); !ran) return ran;
        return session_.run(fmt::format("UPDATE nizhal.state SET format = {}", migration.from + 1));
      });
      if (!done) return done;
      changed(fmt::format("the engine's tables have format {} now", migration.from + 1));
      live_.format = migration.from + 1;
    }
    if (live_.format != tuning_.format)
      return failure(ErrorCode::schema_mismatch,
                     fmt::format("the database has format {}, from which this program knows no way to its own ({})",
                                 live_.format, tuning_.format));
    if (auto done = look(); !done) return done;
    return guard();
  }

  Result<void> engine() { return live_.has_engine_schema ? mend_engine() : create(); }

  /// All that is not there at all in one transaction; tables that are there come later, one by one.
  Result<void> create() {
    session_.tell("creating the engine's schema and the tables that are missing");
    auto done = session_.in_transaction("schema \"nizhal\"", [&]() -> Result<void> {
      std::string script;
      for (const std::string& sql : engine_ddl(domain_.domain().name())) script += sql + ";\n";
      script += state_sql(domain_, text_literal(random_uuid(random_))) + ";\n";
      for (std::size_t i = 0; i < domain_.tables().size(); ++i) {
        if (live_.tables.contains(domain_.table(i).name)) continue;
        for (const std::string& sql : create_table_sql(domain_, i, live_.schema)) script += sql + ";\n";
      }
      return session_.run(script);
    });
    if (!done) return done;
    report_.created = true;
    changed(fmt::format("created the engine's schema for the domain \"{}\"", domain_.domain().name()));
    for (const auto& table : domain_.tables())
      if (!live_.tables.contains(table->name)) changed(fmt::format("created table \"{}\"", table->name));
    return look();
  }

  Result<void> mend_engine() {
    std::vector<const EngineFunction*> wrong;
    const EngineObjects objects = engine_objects(domain_.domain().name());
    for (const EngineFunction& function : objects.functions) {
      const auto found = live_.functions.find(function.name);
      if (found == live_.functions.end() || found->second.body != function.body ||
          found->second.language != function.language || found->second.security_definer != function.security_definer ||
          found->second.settings != (function.sets_path ? kFunctionSettings : ""))
        wrong.push_back(&function);
    }
    const LiveSequence& sequence = *live_.sequence;
    const bool is_behind = sequence.last_value < live_.greatest_version;
    if (wrong.empty() && sequence.settings == kSequenceSettings && sequence.is_used && !is_behind) return {};
    session_.tell("mending the engine's functions and its sequence");
    auto done = session_.in_transaction("schema \"nizhal\"", [&]() -> Result<void> {
      // Nobody may have a version from the old functions whose bound the new ones do not see.
      if (!wrong.empty()) {
        std::string tables = "nizhal.mutation, nizhal.client";
        for (const auto& [name, table] : live_.tables)
          if (table.kind == 'r') tables += ", " + qualified(live_.schema, name);
        if (auto ran = session_.run(fmt::format("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables)); !ran) return ran;
      }
      for (const EngineFunction* function : wrong)
        if (auto ran = session_.run(function->replace_sql); !ran) return ran;
      if (auto ran = session_.run(kMendSequence); !ran) return ran;
      const std::string move_on =
          fmt::format("SELECT setval('nizhal.version_seq', greatest(last_value, {}), true) FROM nizhal.version_seq",
                      live_.greatest_version);
      if (auto ran = session_.run(move_on); !ran) return ran;
      return wrong.empty() && !is_behind ? Result<void>() : session_.run(new_epoch_sql(random_));
    });
    if (!done) return done;
    for (const EngineFunction* function : wrong) changed(fmt::format("made function nizhal.{}() anew", function->name));
    if (sequence.settings != kSequenceSettings || !sequence.is_used || is_behind)
      changed("mended the sequence nizhal.version_seq");
    if (!wrong.empty() || is_behind)
      changed("versions may not have been kept as they should: a new epoch makes devices start afresh");
    return look();
  }

  /// Before anything breaks for clients that do not know the new schema.
  Result<void> oldest_client() {
    if (!is_breaking_) return {};
    const std::string& version = domain_.domain().options().version;
    const std::string& before = live_.min_client_version;
    if (!before.empty() && compare_versions(version, before).value_or(1) <= 0) return {};
    if (auto done = session_.run(fmt::format("UPDATE nizhal.state SET min_client_version = {}", text_literal(version)));
        !done)
      return done;
    report_.min_client_version = version;
    changed(fmt::format("writes of clients older than {} are refused from now on; they may still read", version));
    return {};
  }

  Result<void> tables() {
    for (std::size_t i = 0; i < domain_.tables().size(); ++i) {
      auto sentences = migrate_table(session_, domain_, i, live_, random_, tuning_);
      if (!sentences) return tl::unexpected(sentences.error());
      for (std::string& sentence : *sentences) changed(std::move(sentence));
    }
    return {};
  }

  Result<void> undeclared_tables() {
    for (const auto& [name, recorded] : live_.recorded) {
      if (domain_.table_index(name)) continue;
      session_.tell(fmt::format("table \"{}\" is no longer synced", name));
      if (auto done = release_table(session_, live_, name); !done) return done;
      changed(fmt::format("table \"{}\" is no longer declared: it stays, without triggers and indexes of the engine",
                          name));
    }
    return {};
  }

  Result<void> engine_indexes() {
    for (const EngineIndex& index : engine_objects(domain_.domain().name()).indexes) {
      const auto found = live_.engine_tables.find(index.table);
      if (found == live_.engine_tables.end()) continue;
      const LiveIndex* live = found->second.index(index.name);
      if (live != nullptr && live->is_valid && live->method == index.method && live->columns == index.columns) continue;
      const std::string what = fmt::format("index \"nizhal.{}\"", index.name);
      session_.tell("building " + what);
      if (live != nullptr)
        if (auto done = session_.concurrently(what, fmt::format("DROP INDEX CONCURRENTLY nizhal.{}", index.name));
            !done)
          return done;
      std::string sql = index.create_sql;
      sql.insert(std::string_view("CREATE INDEX ").size(), "CONCURRENTLY ");
      if (auto done = session_.concurrently(what, sql); !done) return done;
      changed("built " + what);
    }
    return {};
  }

  /// Of definitions that no trigger counts any more.
  Result<void> old_grants() {
    std::string known;
    for (std::size_t i = 0; i < domain_.tables().size(); ++i)
      for (const std::string& id : grant_definitions_of(domain_, i))
        known += (known.empty() ? "" : ", ") + text_literal(id);
    const std::string condition = fmt::format("definition <> ALL (ARRAY[{}]::text[])", known);
    auto found = session_.query(fmt::format("SELECT EXISTS (SELECT FROM nizhal.bucket_grant WHERE {})", condition));
    if (!found) return tl::unexpected(found.error());
    if (!found->boolean(0, 0)) return {};
    auto done = session_.in_transaction("table \"nizhal.bucket_grant\"", [&]() -> Result<void> {
      return session_.run(
          fmt::format("DELETE FROM nizhal.bucket_grant WHERE {}; "
                      "INSERT INTO nizhal.grant_change VALUES (nizhal.begin_version())",
                      condition));
    });
    if (!done) return done;
    changed("buckets of memberships that are no longer declared are lost to those who had them");
    return {};
  }

  Result<void> nothing_is_left() {
    if (auto done = look(); !done) return done;
    const std::vector<Difference> left = differences_of(domain_, live_, tuning_.format);
    if (left.empty()) return {};
    return failure(ErrorCode::schema_mismatch, fmt::format("the database was changed while it was migrated, and still "
                                                           "differs; migrate again:\n{}",
                                                           text_of(left)));
  }

  MigrationSession session_;
  const CompiledDomain& domain_;
  Random& random_;
  const Log& log_;
  const MigrateOptions& options_;
  const MigrationTuning& tuning_;
  LiveSchema live_;
  MigrateReport report_;
  bool is_breaking_ = false;
};

/// Whether there is nothing: neither the engine nor a table of the domain.
Result<bool> is_empty(postgres::Connection& connection, const CompiledDomain& domain, std::string& schema) {
  std::string names;
  for (const auto& table : domain.tables()) names += (names.empty() ? "" : ", ") + text_literal(table->name);
  auto found = connection.query(fmt::format(
      "SELECT current_schema(), to_regnamespace('nizhal') IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c "
      "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relname = "
      "ANY (ARRAY[{}]::name[])) AND pg_encoding_to_char(d.encoding) = 'UTF8' FROM pg_catalog.pg_database AS d "
      "WHERE d.datname = current_database()",
      names));
  if (!found) return tl::unexpected(found.error());
  schema = std::string(found->text(0, 0));
  return found->boolean(0, 1) && !schema.empty() && schema != "nizhal" && !schema.starts_with("pg_");
}

}  // namespace

Result<MigrateReport> migrate_database(postgres::Connection& connection, const CompiledDomain& domain, Random& random,
                                       const Log& log, const MigrateOptions& options, const MigrationTuning& tuning) {
  return Migration(connection, domain, random, log, options, tuning).run();
}

Result<std::vector<Difference>> check_database(postgres::Connection& connection, const CompiledDomain& domain,
                                               const MigrationTuning& tuning) {
  auto live = read_live_schema(connection, domain);
  if (!live) return tl::unexpected(live.error());
  return differences_of(domain, *live, tuning.format);
}

Result<ProvisionReport> provision_database(postgres::Connection& connection, const CompiledDomain& domain,
                                           Random& random, const Log& log) {
  ProvisionReport report;
  std::string schema;
  auto empty = is_empty(connection, domain, schema);
  if (!empty) return tl::unexpected(empty.error());
  if (*empty) {
    auto transaction = Transaction::begin(connection, "ISOLATION LEVEL READ COMMITTED READ WRITE");
    if (!transaction) return tl::unexpected(transaction.error());
    // Another server may be at the same.
    if (auto done = connection.query(fmt::format("SELECT pg_catalog.pg_advisory_xact_lock({})", kMigrationLock)); !done)
      return tl::unexpected(done.error());
    empty = is_empty(connection, domain, schema);
    if (!empty) return tl::unexpected(empty.error());
    if (*empty) {
      std::string script = "SET LOCAL search_path = pg_catalog, pg_temp;\n";
      for (const std::string& sql : create_all(domain, schema, text_literal(random_uuid(random))))
        script += sql + ";\n";
      if (auto done = connection.execute(script); !done)
        return failure(done.error().code,
                       fmt::format("the tables could not be created: {}",
                                   connection.error_text().empty() ? done.error().message : connection.error_text()));
      if (auto done = transaction->commit(); !done) return tl::unexpected(done.error());
      log.info("storage", fmt::format("created the tables of the domain \"{}\"", domain.domain().name()));
      report.created = true;
      return report;
    }
  }
  auto differences = check_database(connection, domain);
  if (!differences) return tl::unexpected(differences.error());
  if (differences->empty()) return report;
  return failure(ErrorCode::schema_mismatch,
                 fmt::format("the database does not fit the domain \"{}\":\n{}\nTo bring it in line: {}",
                             domain.domain().name(), text_of(*differences), kCommand));
}

Result<void> reset_database(postgres::Connection& connection, const CompiledDomain& domain, Random& random,
                            const MigrationTuning& tuning) {
  const MigrateOptions options;
  MigrationSession session(connection, random, options, tuning);
  if (auto done = session.become_the_only_one(); !done) return done;
  auto live = read_live_schema(connection, domain);
  if (!live) return tl::unexpected(live.error());
  if (!live->has_engine_schema) return {};
  if (!live->has_state || live->domain != domain.domain().name())
    return failure(ErrorCode::schema_mismatch,
                   fmt::format("nothing was changed: {}", text_of(obstacles_of(domain, *live, tuning.format))));
  return session.in_transaction("the synced tables", [&]() -> Result<void> {
    // Also of tables that were synced once. Names of the engine's alone.
    const auto found = session.query(fmt::format(
        "SELECT format('ALTER TABLE %I.%I DROP COLUMN %I', n.nspname, c.relname, a.attname) FROM "
        "pg_catalog.pg_attribute AS a "
        "JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = "
        "c.relnamespace WHERE n.nspname = {0} AND c.relkind = 'r' AND a.attname IN ('{1}', '{2}', '{3}') AND NOT "
        "a.attisdropped "
        "UNION ALL SELECT format('DROP TRIGGER %I ON %I.%I', t.tgname, n.nspname, c.relname) "
        "FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN "
        "pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid "
        "JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.pronamespace "
        "WHERE NOT t.tgisinternal AND pn.nspname = 'nizhal' "
        "UNION ALL SELECT format('DROP INDEX %I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c JOIN "
        "pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = {0} AND c.relkind = 'i' AND "
        "(starts_with(c.relname::text, 'nizhal_live:') OR starts_with(c.relname::text, 'nizhal_backfill:') OR "
        "starts_with(c.relname::text, 'nizhal_version:')) "
        "ORDER BY 1 DESC",  // triggers, then indexes, then columns
        text_literal(live->schema), kVersionColumn, kStampsColumn, kRecentColumn));
    if (!found) return tl::unexpected(found.error());
    std::string script;
    for (int i = 0; i < found->size(); ++i) script += std::string(found->text(i, 0)) + ";\n";
    return session.run(script + "DROP SCHEMA nizhal CASCADE");
  });
}

}  // namespace nizhal::storage
