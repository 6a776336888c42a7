// One database of a test's own, of either kind, and other programs beside the engine on it. What is true of both kinds
// is tested once, against this; the few places where the SQL of other programs differs are functions here.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/domain.hpp>
#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "storage/storage.hpp"

namespace nizhal::testing {

enum class BackendKind { sqlite, postgres };
void PrintTo(BackendKind kind, std::ostream* out);

/// "Sqlite" or "Postgres": the last part of a test's name.
std::string kind_name(const ::testing::TestParamInfo<BackendKind>& info);

/// Both kinds, for INSTANTIATE_TEST_SUITE_P(…, every_backend(), kind_name).
inline auto every_backend() { return ::testing::Values(BackendKind::sqlite, BackendKind::postgres); }

/// Another program on the database: the database's own library without anything of ours.
class OtherProgram {
 public:
  virtual ~OtherProgram() = default;
  /// Runs a script of statements; the database's message, or nothing. Outside a transaction of its own a script is one
  /// transaction on PostgreSQL and one per statement on SQLite.
  virtual std::string try_run(const std::string& sql) = 0;
  /// All rows: columns joined with "|", null as "-", booleans as 1 and 0.
  virtual std::vector<std::string> query(const std::string& sql) = 0;

  void run(const std::string& sql) { EXPECT_EQ(try_run(sql), "") << sql; }
  std::string value(const std::string& sql) {
    const auto rows = query(sql);
    return rows.empty() ? std::string("nothing") : rows.front();
  }
};

struct OpenOptions {
  std::chrono::milliseconds lock_timeout{5'000};
  Random* random = nullptr;  // the system's
  Log log = {};
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual BackendKind kind() const = 0;
  bool is_sqlite() const { return kind() == BackendKind::sqlite; }

  virtual Result<std::unique_ptr<storage::Storage>> try_open(std::shared_ptr<const CompiledDomain> domain,
                                                             const OpenOptions& options) = 0;
  std::unique_ptr<storage::Storage> open(std::shared_ptr<const CompiledDomain> domain, const OpenOptions& options = {});
  virtual std::unique_ptr<OtherProgram> other_program() = 0;
  /// Makes the database fit the domain, whatever it fitted before: by provision(), or as `nizhal migrate` does. What
  /// was changed, one sentence each.
  virtual Result<std::vector<std::string>> fit(std::shared_ptr<const CompiledDomain> domain) = 0;
  /// A file's path or a URL.
  virtual std::string location() const = 0;

  // The SQL of other programs, where it differs.

  /// The engine's table: "removal" → "nizhal_removal".
  virtual std::string engine_table(std::string_view name) const = 0;
  /// Takes all rows of a table in the way in which programs of this database do.
  virtual std::string empty_table(std::string_view table) const = 0;
  /// Writes to the table that follow are seen by no delete trigger of the engine.
  virtual std::string blind_deletes(std::string_view table) const = 0;
  /// Seconds since 1970.
  virtual std::string now_seconds() const = 0;
  virtual std::string boolean(bool value) const = 0;
  /// A user's trigger that refuses writes of rows: `event` as in "INSERT", `when` over `old` and `new`; `how` is
  /// SQLite's word for how much goes with the write (ABORT, FAIL, ROLLBACK), where PostgreSQL knows one way.
  virtual std::string refusing_trigger(std::string_view name, std::string_view event, std::string_view table,
                                       std::string_view when, std::string_view how = "ABORT") const = 0;
  /// Changes when anything was written to the database, whatever it was.
  virtual std::string written() = 0;
};

/// What tests run on that say nothing of it: SQLite, or what NIZHAL_TEST_STORAGE names ("sqlite", "postgres"), so that
/// whole suites can be run on the other.
BackendKind default_backend();

/// A new, empty database that goes with the object.
std::unique_ptr<Backend> make_backend(BackendKind kind);

std::unique_ptr<Backend> make_sqlite_backend();
/// `icu_locale`: the database's collation, as "en-US"; empty: bytes.
std::unique_ptr<Backend> make_postgres_backend(const std::string& icu_locale = {});

std::shared_ptr<const CompiledDomain> compiled(Domain domain);

}  // namespace nizhal::testing
