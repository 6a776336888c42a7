// The SQL that pulls and mutators run over and over, made once per domain. Every text of one bucket and table is a
// range of one index in the order of that index, so that a page costs what it carries and not what is left.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "domain/compiled_domain.hpp"
#include "sqlite/connection.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

/// Of one table entry of a bucket definition. Parameters ?1…?n are the bucket's values.
struct EntrySql {
  std::size_t table = 0;
  std::vector<ColumnType> parameter_types;
  /// Version, then the declared columns, then stamps where the table has them; ?n+1 < version ≤ ?n+2; by version, then
  /// key. `live_recent` has the recent updates behind them; empty where the table has none.
  std::string live, live_recent;
  /// The same columns by key, from the start and from above ?n+1.
  std::string backfill, backfill_after;
  /// `FROM … WHERE` of the bucket's rows, to count them.
  std::string from_where;

  int parameter_count() const { return static_cast<int>(parameter_types.size()); }
  /// Binds a bucket's values from parameter `first` on; false when no row can have them.
  bool bind_values(sqlite::Statement& statement, const Bucket& bucket, int first = 1) const;
};

/// Of one table.
struct TableSql {
  std::string buckets_of_key;  // bucket key and version, for each bucket of the row with key ?1; empty: none ever
  /// Version, the declared columns, the engine's to merge, and per entry of `delivered_by` the bucket's key or null. Of
  /// the rows whose version is above ?1, the ?2 lowest by version; and of the row with key ?1. Empty: the table's rows
  /// are in no bucket ever.
  std::string changed, changed_row;
  std::vector<std::size_t> delivered_by;  // definitions, one per table entry
  std::vector<std::string> names;         // `{"id":`, `,"body":`, … for writing rows as JSON
  bool has_stamps = false, has_recent = false;
};

struct DomainSql {
  explicit DomainSql(const CompiledDomain& domain);
  std::vector<std::vector<EntrySql>> entries;  // [definition][its table entry]
  std::vector<std::string> grant_ids;          // by definition; empty for static ones
  std::vector<TableSql> tables;
};

/// The row that a statement stands on, from `first_column` on in declared order, as append_row_json writes it.
void append_stored_row_json(std::string& out, const TableSql& sql, const TableDef& table,
                            const sqlite::Statement& statement, int first_column);

/// What the table keeps to merge, read from `next` on, which is then behind it.
void read_merge_columns(EncodedRow& row, const TableSql& sql, const sqlite::Statement& statement, int& next,
                        bool with_recent);

/// The condition that a row is in one of the buckets, for a query over `table` without alias. JSON texts of bucket
/// values are to be bound as `?first`, `?first + 1`, …; "0" when no bucket can hold rows of the table.
struct ScopeSql {
  std::string condition;
  std::vector<std::string> parameters;
};
ScopeSql scope_sql(const CompiledDomain& domain, std::size_t table, const std::vector<Bucket>& buckets, int first);

}  // namespace nizhal::storage
