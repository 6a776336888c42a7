// Makes a database fit a domain, step by step and under load: `nizhal migrate`. Both storages implement it.
//
// Threads: a Migrator belongs to one thread; several processes may migrate one database at once, one waits.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

namespace nizhal::storage {

/// One way in which the live database is not what the plan says.
struct Difference {
  std::string place;      // `table "notes", column "body"`
  std::string what;       // "is missing"
  std::string fix;        // what brings it in line: a statement of the plan, or what a person has to decide
  bool breaking = false;  // needs --allow-breaking: devices with the old schema cannot go on writing
  bool additive = false;  // apply() does it without being asked twice
  bool operator==(const Difference&) const = default;
};

struct MigrateOptions {
  bool allow_breaking = false;
  /// A line about each step, as it begins.
  std::function<void(std::string_view line)> progress = {};
};

struct MigrateReport {
  bool created = false;
  std::vector<std::string> changes;  // one sentence each; empty: the database fitted already
  std::string min_client_version;    // set when a breaking change raised it
};

class Migrator {
 public:
  virtual ~Migrator() = default;
  /// The whole DDL for the domain, in a stable order: what an empty database is given. Needs no database.
  virtual std::string plan() const = 0;
  /// How the live database differs from the plan; empty: not at all. A user's own triggers, indexes, columns and tables
  /// are no difference. Changes nothing.
  virtual Result<std::vector<Difference>> check() = 0;
  /// Brings the database in line; safe to run twice and while servers run. schema_mismatch: a difference that it may
  /// not or cannot mend, named with its fix, and nothing was changed; busy: a lock was not to be had in time.
  virtual Result<MigrateReport> apply(const MigrateOptions& options) = 0;
  /// Takes everything of the engine out of the database: its tables, triggers, indexes and columns. The user's tables
  /// keep their rows. All devices start afresh, and outcomes of handled mutations are forgotten.
  virtual Result<void> reset() = 0;
};

}  // namespace nizhal::storage
