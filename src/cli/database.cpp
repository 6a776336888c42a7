// See database.hpp.
#include "cli/database.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "base/environment.hpp"
#include "cli/parse.hpp"
#include "cli/variables.hpp"
#include "domain/compiled_domain.hpp"
#include "postgres/connection.hpp"
#include "storage/postgres/introspection.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::cli {

namespace {

using storage::DatabaseKind;

Result<void> check_file(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error)) return {};
  return failure(ErrorCode::io_error,
                 fmt::format("{}: there is no such database; `nizhal serve` creates it on its first start", path));
}

}  // namespace

Result<std::string> database_url(const std::string& given) {
  if (!given.empty()) return given;
  auto url = read_variable("NIZHAL_DB");
  if (url && url->empty())
    return failure(
        ErrorCode::usage,
        "no database was named; give --db postgresql://USER@HOST:5432/NAME or sqlite:PATH, or set NIZHAL_DB");
  return url;
}

std::string describe_database(const std::string& url) {
  return storage::kind_of_database(url) == DatabaseKind::postgres ? postgres::describe_url(url) : url;
}

Result<std::unique_ptr<storage::Storage>> open_database(const std::string& url, Domain domain, Log log) {
  const auto kind = parse_db(url);
  if (!kind) return tl::unexpected(kind.error());
  auto compiled = CompiledDomain::compile(std::move(domain));
  if (!compiled) return tl::unexpected(compiled.error());
  if (*kind == DatabaseKind::sqlite) {
    storage::SqliteStorageOptions options;
    options.path = storage::sqlite_path(url);
    if (auto there = check_file(options.path); !there) return tl::unexpected(there.error());
    return storage::open_sqlite_storage(std::move(options), *compiled, system_random(), std::move(log));
  }
  postgres::ConnectOptions connect;
  connect.url = url;
  const auto there = storage::has_engine(connect);
  if (!there) return tl::unexpected(there.error());
  if (!*there)
    return failure(
        ErrorCode::schema_mismatch,
        fmt::format("{}: there is nothing of Nizhal in this database; `nizhal migrate` puts it there, and so "
                    "does `nizhal serve` in an empty one",
                    describe_database(url)));
  storage::PostgresStorageOptions options;
  options.url = url;
  return storage::open_postgres_storage(std::move(options), *compiled, system_random(), std::move(log));
}

Result<std::unique_ptr<storage::Migrator>> open_migrator(const std::string& url, Domain domain, bool must_exist,
                                                         Log log) {
  DatabaseKind kind = DatabaseKind::postgres;
  if (!url.empty()) {
    const auto parsed = parse_db(url);
    if (!parsed) return tl::unexpected(parsed.error());
    kind = *parsed;
  }
  auto compiled = CompiledDomain::compile(std::move(domain));
  if (!compiled) return tl::unexpected(compiled.error());
  if (kind == DatabaseKind::sqlite) {
    storage::SqliteStorageOptions options;
    options.path = storage::sqlite_path(url);
    if (must_exist)
      if (auto there = check_file(options.path); !there) return tl::unexpected(there.error());
    return storage::sqlite_migrator(std::move(options), *compiled, system_random(), std::move(log));
  }
  storage::PostgresStorageOptions options;
  options.url = url;
  return storage::postgres_migrator(std::move(options), *compiled, system_random(), std::move(log));
}

}  // namespace nizhal::cli
