// The tables of a PostgreSQL database, read for a domain skeleton.
#pragma once

#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "postgres/connection.hpp"
#include "storage/introspection.hpp"

namespace nizhal::storage {

/// The tables of the first schema of the connection's search path, or the named ones of it. Changes nothing. Errors:
/// not_found (a table that is not there), and the connection's.
Result<IntrospectedSchema> introspect_postgres(const postgres::ConnectOptions& options,
                                               const std::vector<std::string>& tables);

/// Whether the database has the engine's schema. Changes nothing.
Result<bool> has_engine(const postgres::ConnectOptions& options);

}  // namespace nizhal::storage
