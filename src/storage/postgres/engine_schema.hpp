// The engine's own objects in PostgreSQL, all in the schema `nizhal`, and its column on synced tables. Those of tables
// that merge: storage/merge_columns.hpp.
//
//   nizhal.version_seq   versions (S12): one per transaction that writes synced rows
//   nizhal.state         one row: the stored epoch, the domain's name, the format, what is pruned, the oldest client
//   nizhal.synced_table  what the last migration left of each table of the domain
//   nizhal.removal       tombstones and exits, one per bucket that a row was in
//   nizhal.bucket_grant  who has which bucket through a membership table, since which version, by how many rows
//   nizhal.grant_change  whose grants a transaction changed, for some time; empty where it is anybody's
//   nizhal.client        per client id the last mutation; kept for ever
//   nizhal.mutation      outcomes of handled mutations, for their retention
//   nizhal.id_map, nizhal.audit, nizhal.counter
//
//   nizhal.begin_version()  the transaction's version, taken at its first call
//   nizhal.now_us()         the time for retention: the engine's where the engine writes, else the clock's
//   nizhal.horizon()        one consistent look at where the database stands
//   nizhal.stamp()          the trigger that writes the version into a row
//   nizhal.gain_grant(), nizhal.lose_grant()  what the triggers of membership tables call
//
// Settings of a transaction (set_config(…, true)): `nizhal.version`, its version once taken; `nizhal.now_us`, the
// engine's time. A savepoint that is rolled back takes them and the published bound back with it, as it must.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nizhal::storage::postgres_schema {

/// Format of the engine's objects. History: 1 (0.2.0) first; 2 whose grants changed, what is pruned of changes; 3
/// conflicts of mutations, how far recent updates are emptied.
inline constexpr std::int64_t kFormat = 3;

/// The engine's column on delivered tables and on membership tables: the version that last changed the row; 0 for rows
/// that were there before the engine and have not changed since. On membership tables 0 also means that the row is not
/// yet counted in nizhal.bucket_grant.
inline constexpr const char* kVersionColumn = "nizhal_version";

/// Identifiers that do not fit into PostgreSQL's 63 bytes are cut off silently there; here they end in a digest.
std::string bounded_name(std::string name);

/// A function body between dollar quotes that it does not contain.
std::string dollar_quoted(const std::string& body);

/// The class of the domain's advisory locks: 1 … 2³¹ − 1.
std::int32_t lock_class(std::string_view domain_name);

/// Statements that create everything above except the state's row, in order.
std::vector<std::string> engine_ddl(std::string_view domain_name);

/// Statements that bring format 1 to format 2; indexes are left to whoever builds them beside the writers.
std::vector<std::string> from_format_1();
/// And those that bring format 2 to format 3.
std::vector<std::string> from_format_2();

}  // namespace nizhal::storage::postgres_schema
