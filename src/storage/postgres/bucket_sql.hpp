// Bucket membership as SQL over one row, for triggers, indexes and queries. It says the same as
// CompiledDomain::buckets_of and grant_subject, for whatever another program may have stored: a value that the wire
// cannot say (infinity, NaN, years beyond 9999, json nested too deep) counts as null.
//
// `row` names the row: "NEW", "OLD", a table alias, or "" where bare column names do. Every condition is true or false,
// never null, so that it can be negated. Texts are compared as bytes, whatever the column's collation; all text
// expressions have the type text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage::postgres_schema {

/// `row."column"`.
std::string column_sql(std::string_view row, std::string_view column);
/// The column's text, compared as bytes: `(row."column"::text COLLATE "C")`.
std::string text_sql(std::string_view row, std::string_view column);
/// `'text'`, read the same whatever standard_conforming_strings says.
std::string text_literal(std::string_view text);
/// True when the column holds a value that the wire can say.
std::string readable_sql(std::string_view row, const ColumnDef& column);
/// key_text of the primary key.
std::string key_sql(std::string_view row, const TableDef& table);
/// The key as rows are ordered and paged by it, and as the engine's indexes hold it: `"id" COLLATE "C"` for texts.
std::string key_order_sql(std::string_view row, const TableDef& table);
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

}  // namespace nizhal::storage::postgres_schema
