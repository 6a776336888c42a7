// A server's database, for the commands that work beside a running server.
#pragma once

#include <memory>
#include <string>

#include <nizhal/domain.hpp>
#include <nizhal/result.hpp>

#include "base/log.hpp"
#include "storage/migrator.hpp"
#include "storage/storage.hpp"

namespace nizhal::cli {

/// `--db` as given, else NIZHAL_DB. Errors: usage when neither is there.
Result<std::string> database_url(const std::string& given);

/// The database for people, without its password.
std::string describe_database(const std::string& url);

/// Opens a database that exists and has the engine in it, as it is: nothing is created or changed. Errors: usage,
/// io_error (no such file), unreachable, schema_mismatch (nothing of the engine), invalid_domain, and the storage's.
Result<std::unique_ptr<storage::Storage>> open_database(const std::string& url, Domain domain, Log log);

/// What brings a database in line with a domain. Without a URL, PostgreSQL's, for its plan only. Errors: usage,
/// invalid_domain, and where `must_exist` io_error (no such file).
Result<std::unique_ptr<storage::Migrator>> open_migrator(const std::string& url, Domain domain, bool must_exist,
                                                         Log log);

}  // namespace nizhal::cli
