// Migrations of an embedded file: everything is one transaction of the provisioner, so a check is a provisioning that
// is rolled back, and the plan is what an empty file is left with.
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "query/to_sql.hpp"
#include "sqlite/connection.hpp"
#include "storage/sqlite/engine_tables.hpp"
#include "storage/sqlite/provision.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::storage {
namespace {

/// The first column of all rows.
Result<std::vector<std::string>> lines_of(sqlite::Connection& connection, std::string_view sql) {
  std::vector<std::string> lines;
  auto statement = connection.prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  for (;;) {
    const auto row = statement->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return lines;
    lines.emplace_back(statement->text(0));
  }
}

class SqliteMigrator : public Migrator {
 public:
  SqliteMigrator(SqliteStorageOptions options, std::shared_ptr<const CompiledDomain> domain, Random& random, Log log)
      : options_(std::move(options)), domain_(std::move(domain)), random_(random), log_(std::move(log)) {}

  std::string plan() const override {
    const auto lines = planned();
    if (!lines) return fmt::format("-- The plan could not be made: {}\n", lines.error().message);
    std::string text = fmt::format(
        "-- What an SQLite file is given for the domain \"{}\", format {}. `nizhal serve` and `nizhal migrate` give "
        "an\n"
        "-- empty file the same, and extend one that is there.\nPRAGMA journal_mode = WAL;\nBEGIN;\n",
        domain_->domain().name(), kEngineFormat);
    for (const std::string& line : *lines) text += "\n" + line + ";\n";
    return text + "\nCOMMIT;\n";
  }

  Result<std::vector<Difference>> check() override {
    std::vector<Difference> differences;
    const auto add = [&](std::string what) {
      differences.push_back({"file \"" + options_.path + "\"", std::move(what),
                             "`nizhal migrate` or `nizhal serve` does it", false, true});
    };
    std::error_code fault;
    if (!std::filesystem::exists(options_.path, fault)) {
      add("is not there yet");
      return differences;
    }
    auto connection = connect();
    if (!connection) return tl::unexpected(connection.error());
    const auto report = try_provision(**connection, *domain_, random_, Log());
    if (!report && report.error().code == ErrorCode::schema_mismatch) {
      differences.push_back({"file \"" + options_.path + "\"", "cannot be extended to fit the domain",
                             report.error().message, false, false});
      return differences;
    }
    if (!report) return tl::unexpected(report.error());
    if (report->created) add("has nothing of the engine yet");
    for (const std::string& change : report->changes) add("lacks something; what would be done: " + change);
    return differences;
  }

  Result<MigrateReport> apply(const MigrateOptions& options) override {
    if (options.progress) options.progress("bringing the file in line, in one transaction");
    auto connection = connect();
    if (!connection) return tl::unexpected(connection.error());
    auto report = provision_database(**connection, *domain_, random_, log_);
    if (!report) return tl::unexpected(report.error());
    MigrateReport migrated;
    migrated.created = report->created;
    migrated.changes = std::move(report->changes);
    if (migrated.created)
      migrated.changes.insert(migrated.changes.begin(),
                              fmt::format("created the tables of the domain \"{}\"", domain_->domain().name()));
    return migrated;
  }

  Result<void> reset() override {
    std::error_code fault;
    if (!std::filesystem::exists(options_.path, fault)) return {};
    auto connection = connect();
    if (!connection) return tl::unexpected(connection.error());
    auto transaction = sqlite::Transaction::begin(**connection, sqlite::Transaction::Mode::immediate);
    if (!transaction) return tl::unexpected(transaction.error());
    // A device's store has tables of the same kind of names, and loses what it has not sent with them.
    auto is_servers = lines_of(**connection, "SELECT name FROM sqlite_schema WHERE name = 'nizhal_state'");
    if (!is_servers) return tl::unexpected(is_servers.error());
    if (is_servers->empty()) return {};
    auto domain = (*connection)->query_text("SELECT domain FROM nizhal_state");
    if (!domain) return tl::unexpected(domain.error());
    if (*domain && **domain != domain_->domain().name())
      return failure(ErrorCode::schema_mismatch,
                     fmt::format("nothing was changed: the file belongs to the domain \"{}\", not to \"{}\"", **domain,
                                 domain_->domain().name()));
    // Triggers and indexes before the columns that they name; the names are the engine's alone.
    for (const char* find :
         {"SELECT 'DROP TRIGGER \"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_schema WHERE type = 'trigger' "
          "AND "
          "substr(name, 1, 7) = 'nizhal_'",
          "SELECT 'DROP INDEX \"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_schema WHERE type = 'index' AND "
          "sql "
          "IS NOT NULL AND substr(name, 1, 7) = 'nizhal_'",
          "SELECT 'DROP TABLE \"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_schema WHERE type = 'table' AND "
          "substr(name, 1, 7) = 'nizhal_'",
          "SELECT 'ALTER TABLE \"' || replace(s.name, '\"', '\"\"') || '\" DROP COLUMN ' || c.name FROM sqlite_schema "
          "AS s, pragma_table_info(s.name) AS c WHERE s.type = 'table' AND c.name IN ('nizhal_version', "
          "'nizhal_stamps', 'nizhal_recent')"}) {
      auto statements = lines_of(**connection, find);
      if (!statements) return tl::unexpected(statements.error());
      for (const std::string& sql : *statements)
        if (auto done = (*connection)->execute(sql); !done) return done;
    }
    return transaction->commit();
  }

 private:
  Result<std::unique_ptr<sqlite::Connection>> connect() const {
    sqlite::OpenOptions options;
    options.busy_timeout_ms = options_.lock_timeout_ms;
    return sqlite::Connection::open(options_.path, options);
  }

  /// What an empty database is left with.
  Result<std::vector<std::string>> planned() const {
    auto connection = sqlite::Connection::open(":memory:", {});
    if (!connection) return tl::unexpected(connection.error());
    if (auto report = provision_database(**connection, *domain_, random_, Log()); !report)
      return tl::unexpected(report.error());
    auto lines = lines_of(**connection, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid");
    if (!lines) return tl::unexpected(lines.error());
    auto state = lines_of(**connection,
                          "SELECT 'INSERT INTO nizhal_state (id, epoch, format, domain, version) VALUES (1, "
                          "lower(hex(randomblob(16))), ' || format || ', ' || quote(domain) || ', ' || version || ')' "
                          "FROM nizhal_state");
    if (!state) return tl::unexpected(state.error());
    auto schema =
        lines_of(**connection,
                 "SELECT 'INSERT INTO nizhal_schema VALUES (' || quote(table_name) || ', ' || quote(columns) || "
                 "', ' || delivered || ', ' || quote(triggers) || ')' FROM nizhal_schema ORDER BY table_name");
    if (!schema) return tl::unexpected(schema.error());
    for (auto* more : {&*state, &*schema}) lines->insert(lines->end(), more->begin(), more->end());
    return lines;
  }

  const SqliteStorageOptions options_;
  const std::shared_ptr<const CompiledDomain> domain_;
  Random& random_;
  const Log log_;
};

}  // namespace

std::unique_ptr<Migrator> sqlite_migrator(SqliteStorageOptions options, std::shared_ptr<const CompiledDomain> domain,
                                          Random& random, Log log) {
  return std::make_unique<SqliteMigrator>(std::move(options), std::move(domain), random, std::move(log));
}

}  // namespace nizhal::storage
