// pgbench, PostgreSQL's own load generator, with a script of the bare transaction: what the database itself can do.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <nizhal/result.hpp>

namespace nizhal::bench {

/// The program's path. not_found says how to install it.
Result<std::string> find_pgbench();

/// Creates the tables of the bare transaction in the schema `bare`, with a row per client.
std::string bare_tables(std::size_t clients);

/// A transaction as pgbench runs it: the client's sequence is looked at and held, `mutations` records and rows are
/// written, the sequence moves on.
std::string bare_transaction(std::size_t mutations);

/// Transactions per second, out of what pgbench prints; nothing when it does not say, or says that some failed.
std::optional<double> parse_tps(std::string_view output);

}  // namespace nizhal::bench
