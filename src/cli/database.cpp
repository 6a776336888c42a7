// See database.hpp.
#include "cli/database.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "base/environment.hpp"
#include "cli/parse.hpp"
#include "cli/variables.hpp"
#include "domain/compiled_domain.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::cli {

Result<std::string> database_url(const std::string& given) {
  if (!given.empty()) return given;
  auto url = read_variable("NIZHAL_DB");
  if (url && url->empty())
    return failure(ErrorCode::usage, "no database was named; give --db sqlite:PATH or set NIZHAL_DB");
  return url;
}

Result<std::unique_ptr<storage::Storage>> open_database(const std::string& url, Domain domain, Log log) {
  const auto path = parse_db(url);
  if (!path) return tl::unexpected(path.error());
  std::error_code error;
  if (!std::filesystem::is_regular_file(*path, error))
    return failure(ErrorCode::io_error,
                   fmt::format("{}: there is no such database; `nizhal serve` creates it on its first start", *path));
  auto compiled = CompiledDomain::compile(std::move(domain));
  if (!compiled) return tl::unexpected(compiled.error());
  storage::SqliteStorageOptions options;
  options.path = *path;
  return storage::open_sqlite_storage(std::move(options), *compiled, system_random(), std::move(log));
}

}  // namespace nizhal::cli
