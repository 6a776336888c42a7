#include <fmt/format.h>
#include <sqlite3.h>

#include <filesystem>
#include <utility>

#include "base/ids.hpp"
#include "storage/sqlite/sqlite_storage.hpp"
#include "tests/backends/backend.hpp"

namespace nizhal::testing {
namespace {

class SqliteProgram : public OtherProgram {
 public:
  explicit SqliteProgram(const std::string& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &database_), SQLITE_OK);
    sqlite3_busy_timeout(database_, 5000);
    run("PRAGMA synchronous = OFF");  // tests lose nothing to a power cut
  }
  ~SqliteProgram() override { sqlite3_close(database_); }
  SqliteProgram(const SqliteProgram&) = delete;

  std::string try_run(const std::string& sql) override {
    char* message = nullptr;
    sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, &message);
    std::string text = message != nullptr ? message : "";
    sqlite3_free(message);
    return text;
  }
  std::vector<std::string> query(const std::string& sql) override {
    std::vector<std::string> rows;
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(database_, sql.c_str(), -1, &statement, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database_) << ": " << sql;
    while (sqlite3_step(statement) == SQLITE_ROW) {
      std::string row;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        if (i > 0) row += '|';
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
        row += text != nullptr ? text : "-";
      }
      rows.push_back(std::move(row));
    }
    sqlite3_finalize(statement);
    return rows;
  }

 private:
  sqlite3* database_ = nullptr;
};

class SqliteBackend : public Backend {
 public:
  SqliteBackend() {
    directory_ = std::filesystem::temp_directory_path() / ("nizhal-backend-" + random_uuid(system_random()));
    std::filesystem::create_directories(directory_);
  }
  ~SqliteBackend() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  BackendKind kind() const override { return BackendKind::sqlite; }
  std::string location() const override { return (directory_ / "server.db").string(); }

  Result<std::unique_ptr<storage::Storage>> try_open(std::shared_ptr<const CompiledDomain> domain,
                                                     const OpenOptions& options) override {
    return storage::open_sqlite_storage(
        {.path = location(), .lock_timeout_ms = static_cast<int>(options.lock_timeout.count())}, std::move(domain),
        options.random ? *options.random : system_random(), options.log);
  }
  std::unique_ptr<OtherProgram> other_program() override { return std::make_unique<SqliteProgram>(location()); }
  Result<std::vector<std::string>> fit(std::shared_ptr<const CompiledDomain> domain) override {
    auto storage = try_open(std::move(domain), {});
    if (!storage) return tl::unexpected(storage.error());
    auto report = (*storage)->provision();
    if (!report) return tl::unexpected(report.error());
    return std::move(report->changes);
  }

  std::string engine_table(std::string_view name) const override {
    return fmt::format("nizhal_{}", name == "bucket_grant" ? "grant" : name);
  }
  std::string empty_table(std::string_view table) const override { return fmt::format("DELETE FROM {}", table); }
  std::string blind_deletes(std::string_view table) const override {
    return fmt::format("DROP TRIGGER nizhal_delete_{}", table);
  }
  std::string now_seconds() const override { return "CAST(strftime('%s', 'now') AS INTEGER)"; }
  std::string boolean(bool value) const override { return value ? "1" : "0"; }
  std::string refusing_trigger(std::string_view name, std::string_view event, std::string_view table,
                               std::string_view when, std::string_view how) const override {
    return fmt::format("CREATE TRIGGER {} BEFORE {} ON {} WHEN {} BEGIN SELECT RAISE({}, 'refused by {}'); END", name,
                       event, table, when, how, name);
  }
  std::string written() override {
    std::error_code none;
    return fmt::format("{}", std::filesystem::file_size(location() + "-wal", none));
  }

 private:
  std::filesystem::path directory_;
};

}  // namespace

std::unique_ptr<Backend> make_sqlite_backend() { return std::make_unique<SqliteBackend>(); }

}  // namespace nizhal::testing
