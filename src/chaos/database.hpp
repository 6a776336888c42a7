// The server's database as a scenario sees it: another program on it, and what an actor may see of it, read through the
// server's own storage in one snapshot and never through a cursor: the truth that devices are held against.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

#include "domain/compiled_domain.hpp"
#include "storage/storage.hpp"

namespace nizhal::chaos {

/// "table/key" → the row as JSON.
using Rows = std::map<std::string, std::string>;

/// Another program's open transaction; dropping it rolls back.
class Held {
 public:
  virtual ~Held() = default;
  virtual Result<void> commit() = 0;
};

class Database {
 public:
  virtual ~Database() = default;
  virtual bool is_postgres() const = 0;
  /// As `nizhal serve --db` takes it.
  virtual const std::string& url() const = 0;
  /// A script of statements.
  virtual Result<void> run(const std::string& script) = 0;
  /// All rows as text, columns joined with "|".
  virtual Result<std::vector<std::string>> query(const std::string& sql) = 0;
  virtual Result<std::unique_ptr<Held>> hold(const std::string& script) = 0;
  /// A copy of all of it, and back to the copy. Nobody may be connected.
  virtual Result<void> backup() = 0;
  virtual Result<void> restore() = 0;
  /// The engine's table: "audit" → "nizhal_audit".
  virtual std::string engine_table(const std::string& name) const = 0;
  /// Opens it for one look.
  virtual Result<std::unique_ptr<storage::Storage>> open(std::shared_ptr<const CompiledDomain> domain) = 0;

  /// Every row that the actor may see.
  Result<Rows> in_scope(std::shared_ptr<const CompiledDomain> domain, const Actor& actor);
};

/// A file in the folder, not there yet.
std::unique_ptr<Database> sqlite_database(const std::string& folder);
/// A new database beside the one of the URL, gone with the object. Errors: unreachable, and what CREATE DATABASE says.
Result<std::unique_ptr<Database>> postgres_database(const std::string& url, const std::string& name);

/// What a device's file holds of the tables that are delivered, in the same words.
Result<Rows> rows_of_device(const std::string& file, const CompiledDomain& domain);

}  // namespace nizhal::chaos
