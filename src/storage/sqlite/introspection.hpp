// The tables of a SQLite file, read for a domain skeleton.
#pragma once

#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "storage/introspection.hpp"

namespace nizhal::storage {

/// All tables but the engine's, or the named ones. Changes nothing. Errors: io_error (no such file), not_found (a table
/// that is not there), and SQLite's.
Result<IntrospectedSchema> introspect_sqlite(const std::string& path, const std::vector<std::string>& tables);

}  // namespace nizhal::storage
