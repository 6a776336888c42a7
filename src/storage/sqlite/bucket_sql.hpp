// Bucket membership as SQL over one row, for triggers, indexes and queries. It says the same as
// CompiledDomain::buckets_of and grant_subject, for whatever another program may have stored: a value that cannot be
// read as its column's type counts as null.
//
// `row` names the row: "NEW", "OLD", a table alias, or "" where bare column names do. Every condition is 0 or 1, never
// null, so that it can be negated.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage {

/// `row."column"`.
std::string column_sql(std::string_view row, std::string_view column);
/// True when the column holds a value of its type.
std::string readable_sql(std::string_view row, const ColumnDef& column);
/// key_text of the primary key.
std::string key_sql(std::string_view row, const TableDef& table);
/// The row's client_id column where it has one that differs from the key; else null.
std::string client_key_sql(std::string_view row, const TableDef& table);

/// The constant conditions alone.
std::string conditions_hold_sql(std::string_view row, const TableDef& table, const std::vector<Condition>& conditions);

/// True when the row is in a bucket through this table entry of the definition.
std::string in_bucket_sql(const CompiledDomain& domain, std::size_t definition, const BucketTable& entry,
                          std::string_view row);
/// That bucket's key; only meaningful where in_bucket_sql holds.
std::string bucket_key_sql(const CompiledDomain& domain, std::size_t definition, const BucketTable& entry,
                           std::string_view row);

/// True when a row of the membership table grants a bucket.
std::string grants_sql(const CompiledDomain& domain, std::size_t definition, std::string_view row);
std::string grant_subject_sql(const CompiledDomain& domain, std::size_t definition, std::string_view row);
std::string grant_bucket_sql(const CompiledDomain& domain, std::size_t definition, std::string_view row);

}  // namespace nizhal::storage
