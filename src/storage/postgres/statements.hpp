// The SQL that pulls and mutators run over and over, made once per domain. Every page of a bucket and table is a range
// of one index in the order of that index, for many buckets as for one, so that a page costs what it carries and not
// what is left.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "postgres/connection.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// A statement's parameters, which it owns.
using Parameters = std::vector<std::optional<std::string>>;

/// The text of an array parameter, built element by element.
class ArrayText {
 public:
  void add(std::string_view element);  // as text
  void add_null();
  bool is_empty() const { return text_.size() == 1; }
  std::string finish() &&;

 private:
  void separate();
  std::string text_ = "{";
};

/// Of one table entry of a bucket definition.
struct EntrySql {
  std::size_t table = 0;
  std::vector<ColumnType> parameter_types;
  /// Pages of many buckets: version, the declared columns, and the bucket's place in the lists, from 1. $1…$n: lists of
  /// the buckets' values, one element per bucket; $n+1: above which version each is asked; $n+2: through which version;
  /// by version, then key, the $n+3 lowest of each bucket and the $n+4 lowest of all (all when null). Stamps stand
  /// behind the columns where the table has them, and in `live_recent` the recent updates behind those; it is empty
  /// where the table has none.
  std::string live, live_recent;
  /// Pages of one bucket: the same columns by key, from the start or from above $n+2. $1…$n: the bucket's values;
  /// $n+1: how many.
  std::string backfill, backfill_after;
  /// `FROM … WHERE` of one bucket's rows ($1…$n), with the table as r.
  std::string from_where;

  /// A bucket's values as parameters; nothing when no row can have them.
  std::optional<Parameters> values_of(const Bucket& bucket) const;
  /// Those of many buckets, as lists; each must have some.
  Parameters values_of(const std::vector<const Bucket*>& buckets) const;
};

/// Of one table.
struct TableSql {
  std::string name;                // "schema"."table"
  std::string key_parameter_type;  // "text", "uuid" or "bigint", to compare keys with
  /// Ordinal (from 1), bucket key and version for every bucket of the rows whose keys are in the array $1; empty: the
  /// table's rows are in no bucket ever.
  std::string buckets_of_keys;
  std::vector<std::string> names;  // `{"id":`, `,"body":`, … for writing rows as JSON
  bool has_stamps = false, has_recent = false;
};

struct DomainSql {
  DomainSql(const CompiledDomain& domain, std::string_view schema);
  std::vector<std::vector<EntrySql>> entries;       // [definition][its table entry]
  std::vector<std::string> grant_ids;               // by definition; empty for static ones
  std::vector<std::vector<std::size_t>> tables_of;  // by definition: its tables, each once
  std::vector<TableSql> tables;
  /// Keeps TRUNCATE and what rewrites tables off the delivered ones until the transaction ends; empty: there are none.
  std::string hold_tables;
};

/// The row at `row` of the answer, from `first_column` on in declared order, as append_row_json writes it.
void append_stored_row_json(std::string& out, const TableSql& sql, const TableDef& table, const postgres::Rows& rows,
                            int row, int first_column);

/// What the table keeps to merge, read from `next` on, which is then behind it.
void read_merge_columns(EncodedRow& row, const TableSql& sql, const postgres::Rows& rows, int at, int& next,
                        bool with_recent);

/// The condition that a row is in one of the buckets, for a query over `table` without alias. The parameters are to be
/// bound as $first, $first + 1, …; "false" when no bucket can hold rows of the table.
struct ScopeSql {
  std::string condition;
  Parameters parameters;
};
ScopeSql scope_sql(const CompiledDomain& domain, std::size_t table, const std::vector<Bucket>& buckets,
                   std::size_t first);

}  // namespace nizhal::storage::pg
