#include <fmt/format.h>
#include <libpq-fe.h>

#include <utility>

#include "storage/postgres/postgres_storage.hpp"
#include "tests/backends/backend.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::testing {
namespace {

constexpr Oid kBooleanType = 16;

class PostgresProgram : public OtherProgram {
 public:
  explicit PostgresProgram(const std::string& url) : connection_(PQconnectdb(url.c_str())) {
    EXPECT_EQ(PQstatus(connection_), CONNECTION_OK) << PQerrorMessage(connection_);
    PQsetNoticeProcessor(
        connection_, [](void*, const char*) {}, nullptr);
    run("SET synchronous_commit = off");  // tests lose nothing to a power cut
  }
  ~PostgresProgram() override { PQfinish(connection_); }
  PostgresProgram(const PostgresProgram&) = delete;

  std::string try_run(const std::string& sql) override {
    PGresult* result = PQexec(connection_, sql.c_str());
    const ExecStatusType status = PQresultStatus(result);
    std::string message;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
      message = PQresultErrorMessage(result);
    PQclear(result);
    return message;
  }
  std::vector<std::string> query(const std::string& sql) override {
    PGresult* result = PQexec(connection_, sql.c_str());
    EXPECT_EQ(PQresultStatus(result), PGRES_TUPLES_OK) << PQresultErrorMessage(result) << ": " << sql;
    std::vector<std::string> rows;
    for (int i = 0; i < PQntuples(result); ++i) {
      std::string row;
      for (int j = 0; j < PQnfields(result); ++j) {
        if (j > 0) row += '|';
        const std::string_view text = PQgetvalue(result, i, j);
        if (PQgetisnull(result, i, j))
          row += '-';
        else if (PQftype(result, j) == kBooleanType)
          row += text == "t" ? '1' : '0';
        else
          row += text;
      }
      rows.push_back(std::move(row));
    }
    PQclear(result);
    return rows;
  }

 private:
  PGconn* connection_;
};

class PostgresBackend : public Backend {
 public:
  explicit PostgresBackend(const DatabaseOptions& options) : url_(shared_server().create_database(options)) {}
  BackendKind kind() const override { return BackendKind::postgres; }
  std::string location() const override { return url_; }

  Result<std::unique_ptr<storage::Storage>> try_open(std::shared_ptr<const CompiledDomain> domain,
                                                     const OpenOptions& options) override {
    storage::PostgresStorageOptions postgres;
    postgres.url = url_;
    postgres.lock_timeout = options.lock_timeout;
    return storage::open_postgres_storage(std::move(postgres), std::move(domain),
                                          options.random ? *options.random : system_random(), options.log);
  }
  std::unique_ptr<OtherProgram> other_program() override { return std::make_unique<PostgresProgram>(url_); }
  Result<std::vector<std::string>> fit(std::shared_ptr<const CompiledDomain> domain) override {
    storage::PostgresStorageOptions postgres;
    postgres.url = url_;
    const auto migrator = storage::postgres_migrator(std::move(postgres), std::move(domain), system_random(), Log{});
    auto report = migrator->apply({});
    if (!report) return tl::unexpected(report.error());
    return std::move(report->changes);
  }

  std::string engine_table(std::string_view name) const override { return fmt::format("nizhal.{}", name); }
  std::string empty_table(std::string_view table) const override { return fmt::format("TRUNCATE {}", table); }
  std::string blind_deletes(std::string_view table) const override {
    return fmt::format("ALTER TABLE {} DISABLE TRIGGER USER", table);
  }
  std::string now_seconds() const override { return "extract(epoch FROM now())::bigint"; }
  std::string boolean(bool value) const override { return value ? "true" : "false"; }
  std::string refusing_trigger(std::string_view name, std::string_view event, std::string_view table,
                               std::string_view when, std::string_view) const override {
    return fmt::format(
        "CREATE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused by {0}'; END $$; "
        "CREATE TRIGGER {0} BEFORE {1} ON {2} FOR EACH ROW WHEN ({3}) EXECUTE FUNCTION {0}()",
        name, event, table, when);
  }
  /// Whatever writes has a transaction id.
  std::string written() override { return other_program()->value("SELECT pg_snapshot_xmax(pg_current_snapshot())"); }

 private:
  const std::string url_;
};

}  // namespace

std::unique_ptr<Backend> make_postgres_backend(const std::string& icu_locale) {
  return std::make_unique<PostgresBackend>(DatabaseOptions{.icu_locale = icu_locale});
}

}  // namespace nizhal::testing
