#include "tests/backends/backend.hpp"

#include <cstdlib>
#include <utility>

namespace nizhal::testing {

void PrintTo(BackendKind kind, std::ostream* out) { *out << (kind == BackendKind::sqlite ? "Sqlite" : "Postgres"); }

std::string kind_name(const ::testing::TestParamInfo<BackendKind>& info) {
  return ::testing::PrintToString(info.param);
}

std::unique_ptr<storage::Storage> Backend::open(std::shared_ptr<const CompiledDomain> domain,
                                                const OpenOptions& options) {
  auto storage = try_open(std::move(domain), options);
  EXPECT_TRUE(storage.has_value()) << (storage ? "" : storage.error().message);
  return storage ? *std::move(storage) : nullptr;
}

BackendKind default_backend() {
  const char* named = std::getenv("NIZHAL_TEST_STORAGE");
  return named && std::string_view(named) == "postgres" ? BackendKind::postgres : BackendKind::sqlite;
}

std::unique_ptr<Backend> make_backend(BackendKind kind) {
  return kind == BackendKind::sqlite ? make_sqlite_backend() : make_postgres_backend();
}

std::shared_ptr<const CompiledDomain> compiled(Domain domain) {
  auto result = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message);
  return result ? *result : nullptr;
}

}  // namespace nizhal::testing
