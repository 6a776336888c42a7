// See database.hpp.
#include "chaos/database.hpp"

#include <fmt/format.h>

#include <libpq-fe.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "base/environment.hpp"
#include "domain/value_json.hpp"
#include "postgres/connection.hpp"
#include "query/to_sql.hpp"
#include "sqlite/connection.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::chaos {
namespace {

constexpr std::chrono::milliseconds kStatementPatience{120'000};
constexpr std::size_t kBackfillRows = 5'000;

class SqliteHeld : public Held {
 public:
  explicit SqliteHeld(std::unique_ptr<sqlite::Connection> file) : file_(std::move(file)) {}
  Result<void> commit() override { return file_->execute("COMMIT"); }

 private:
  std::unique_ptr<sqlite::Connection> file_;
};

class PostgresHeld : public Held {
 public:
  explicit PostgresHeld(std::unique_ptr<postgres::Connection> connection) : connection_(std::move(connection)) {}
  Result<void> commit() override {
    auto done = connection_->execute("COMMIT");
    if (!done) return tl::unexpected(done.error());
    return {};
  }

 private:
  std::unique_ptr<postgres::Connection> connection_;
};

Result<void> copy_file(const std::string& from, const std::string& to) {
  std::error_code error;
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, error);
  if (error) return failure(ErrorCode::io_error, fmt::format("{} to {}: {}", from, to, error.message()));
  return {};
}

class SqliteDatabase : public Database {
 public:
  explicit SqliteDatabase(const std::string& folder) : path_(folder + "/server.db"), url_("sqlite:" + path_) {}
  bool is_postgres() const override { return false; }
  const std::string& url() const override { return url_; }
  Result<void> run(const std::string& script) override {
    auto file = sqlite::Connection::open(path_, {.create = false, .busy_timeout_ms = 60'000});
    if (!file) return tl::unexpected(file.error());
    return (*file)->execute(script);
  }
  Result<std::vector<std::string>> query(const std::string& sql) override {
    auto file = sqlite::Connection::open(path_, {.read_only = true, .create = false, .busy_timeout_ms = 60'000});
    if (!file) return tl::unexpected(file.error());
    auto statement = (*file)->prepare(sql);
    if (!statement) return tl::unexpected(statement.error());
    std::vector<std::string> rows;
    for (;;) {
      const auto has_row = statement->step();
      if (!has_row) return tl::unexpected(has_row.error());
      if (!*has_row) return rows;
      std::string row;
      for (int column = 0; column < statement->column_count(); ++column)
        row += (column > 0 ? "|" : "") + std::string(statement->text(column));
      rows.push_back(std::move(row));
    }
  }
  Result<std::unique_ptr<Held>> hold(const std::string& script) override {
    auto file = sqlite::Connection::open(path_, {.create = false, .busy_timeout_ms = 60'000});
    if (!file) return tl::unexpected(file.error());
    if (auto begun = (*file)->execute("BEGIN IMMEDIATE;" + script); !begun) return tl::unexpected(begun.error());
    return std::make_unique<SqliteHeld>(*std::move(file));
  }
  Result<void> backup() override {
    // All that is in the write-ahead log goes into the file first.
    auto done = run("PRAGMA wal_checkpoint(TRUNCATE)");
    return done ? copy_file(path_, path_ + ".backup") : done;
  }
  Result<void> restore() override {
    std::error_code ignored;
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(path_ + suffix, ignored);
    return copy_file(path_ + ".backup", path_);
  }
  std::string engine_table(const std::string& name) const override { return "nizhal_" + name; }
  Result<std::unique_ptr<storage::Storage>> open(std::shared_ptr<const CompiledDomain> domain) override {
    return storage::open_sqlite_storage({.path = path_, .lock_timeout_ms = 60'000, .readers_max = 2}, std::move(domain),
                                        system_random(), {});
  }

 private:
  const std::string path_, url_;
};

Result<std::unique_ptr<postgres::Connection>> connect(const std::string& url) {
  postgres::ConnectOptions options;
  options.url = url;
  options.connect_timeout = options.statement_timeout = options.lock_timeout = kStatementPatience;
  return postgres::Connection::connect(options);
}

/// The same server, another database, as key=value pairs.
Result<std::string> with_database(const std::string& url, const std::string& name) {
  char* message = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(url.c_str(), &message);
  if (!parsed) {
    auto error = failure(ErrorCode::usage, fmt::format("--db: {}", message ? message : "it cannot be read"));
    PQfreemem(message);
    return error;
  }
  std::string text;
  for (const PQconninfoOption* option = parsed; option->keyword; ++option) {
    if (!option->val || std::string_view(option->keyword) == "dbname") continue;
    text += fmt::format("{}='", option->keyword);
    for (const char* at = option->val; *at; ++at) {
      if (*at == '\'' || *at == '\\') text += '\\';
      text += *at;
    }
    text += "' ";
  }
  PQconninfoFree(parsed);
  return text + "dbname=" + name;
}

class PostgresDatabase : public Database {
 public:
  PostgresDatabase(std::string beside, std::string name, std::string url)
      : beside_(std::move(beside)), name_(std::move(name)), url_(std::move(url)) {}
  ~PostgresDatabase() override {
    // What is still connected is a server of ours that is about to end.
    if (auto connection = connect(beside_))
      for (const char* which : {"", "_backup"})
        (void)(*connection)->execute(fmt::format("DROP DATABASE IF EXISTS {}{} WITH (FORCE)", name_, which));
  }
  bool is_postgres() const override { return true; }
  const std::string& url() const override { return url_; }
  Result<void> run(const std::string& script) override {
    auto connection = connect(url_);
    if (!connection) return tl::unexpected(connection.error());
    auto done = (*connection)->execute(script);
    if (!done) return tl::unexpected(done.error());
    return {};
  }
  Result<std::vector<std::string>> query(const std::string& sql) override {
    auto connection = connect(url_);
    if (!connection) return tl::unexpected(connection.error());
    auto found = (*connection)->execute(sql);
    if (!found) return tl::unexpected(found.error());
    std::vector<std::string> rows;
    for (int row = 0; row < found->size(); ++row) {
      std::string text;
      for (int column = 0; column < found->columns(); ++column)
        text += (column > 0 ? "|" : "") + std::string(found->text(row, column));
      rows.push_back(std::move(text));
    }
    return rows;
  }
  Result<std::unique_ptr<Held>> hold(const std::string& script) override {
    auto connection = connect(url_);
    if (!connection) return tl::unexpected(connection.error());
    auto begun = (*connection)->execute("BEGIN");
    if (begun) begun = (*connection)->execute(script);
    if (!begun) return tl::unexpected(begun.error());
    return std::make_unique<PostgresHeld>(*std::move(connection));
  }
  Result<void> backup() override { return beside("CREATE DATABASE {0}_backup TEMPLATE {0}"); }
  Result<void> restore() override {
    auto dropped = beside("DROP DATABASE {0} WITH (FORCE)");
    return dropped ? beside("CREATE DATABASE {0} TEMPLATE {0}_backup") : dropped;
  }
  std::string engine_table(const std::string& name) const override { return "nizhal." + name; }
  Result<std::unique_ptr<storage::Storage>> open(std::shared_ptr<const CompiledDomain> domain) override {
    storage::PostgresStorageOptions options;
    options.url = url_;
    options.connections_max = 2;
    options.statement_timeout = options.lock_timeout = options.connect_timeout = kStatementPatience;
    return storage::open_postgres_storage(std::move(options), std::move(domain), system_random(), {});
  }

 private:
  Result<void> beside(const char* statement) {
    auto connection = connect(beside_);
    if (!connection) return tl::unexpected(connection.error());
    auto done = (*connection)->execute(fmt::format(fmt::runtime(statement), name_));
    if (!done) return tl::unexpected(done.error());
    return {};
  }
  const std::string beside_, name_, url_;
};

}  // namespace

Result<Rows> Database::in_scope(std::shared_ptr<const CompiledDomain> domain, const Actor& actor) {
  auto storage = open(domain);
  if (!storage) return tl::unexpected(storage.error());
  auto snapshot = (*storage)->snapshot();
  if (!snapshot) return tl::unexpected(snapshot.error());
  const auto grants = (*snapshot)->grants(actor);
  if (!grants) return tl::unexpected(grants.error());
  Rows rows;
  for (const storage::Grant& grant : *grants) {
    for (const BucketTable& part : domain->definitions()[grant.bucket.definition].tables) {
      std::optional<std::string> after;
      for (;;) {
        const auto page = (*snapshot)->backfill(grant.bucket, part.table, after, kBackfillRows);
        if (!page) return tl::unexpected(page.error());
        for (const storage::EncodedRow& row : *page) rows[domain->table(row.table).name + "/" + row.key] = row.json;
        if (page->size() < kBackfillRows) break;
        after = page->back().key;
      }
    }
  }
  return rows;
}

std::unique_ptr<Database> sqlite_database(const std::string& folder) {
  return std::make_unique<SqliteDatabase>(folder);
}

Result<std::unique_ptr<Database>> postgres_database(const std::string& url, const std::string& name) {
  auto own_url = with_database(url, name);
  if (!own_url) return tl::unexpected(own_url.error());
  auto connection = connect(url);
  if (!connection) return tl::unexpected(connection.error());
  if (auto made = (*connection)->execute("CREATE DATABASE " + name); !made) return tl::unexpected(made.error());
  return std::make_unique<PostgresDatabase>(url, name, *std::move(own_url));
}

Result<Rows> rows_of_device(const std::string& path, const CompiledDomain& domain) {
  auto file = sqlite::Connection::open(path, {.read_only = true, .create = false, .busy_timeout_ms = 60'000});
  if (!file) return tl::unexpected(file.error());
  Rows rows;
  for (std::size_t index = 0; index < domain.tables().size(); ++index) {
    if (!domain.is_delivered(index)) continue;
    const TableDef& table = domain.table(index);
    std::string columns;
    for (const ColumnDef& column : table.columns)
      columns += (columns.empty() ? "" : ", ") + quote_identifier(column.name);
    auto statement = (*file)->prepare(fmt::format("SELECT {} FROM {}", columns, quote_identifier(table.name)));
    if (!statement) return tl::unexpected(statement.error());
    for (;;) {
      const auto has_row = statement->step();
      if (!has_row) return tl::unexpected(has_row.error());
      if (!*has_row) break;
      Row row;
      std::string key;
      for (std::size_t i = 0; i < table.columns.size(); ++i) {
        row.push_back(statement->value(static_cast<int>(i), table.columns[i].type));
        if (table.columns[i].name == table.key) key = key_text(row.back());
      }
      std::string text;
      append_row_json(text, table, row);
      rows[table.name + "/" + key] = std::move(text);
    }
  }
  return rows;
}

}  // namespace nizhal::chaos
