// The first part of an incremental view over several tables: from changed rows of the tables to changed joined rows.
//
// It holds the first table's rows that the query's own conditions on that table leave, and of each joined table the
// rows that those refer to, by key, with who refers to them. So a changed row of either side finds the other by index.
//
// The fact that must not break: a row of the first table gives at most one joined row, because joins go by key.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include <nizhal/result.hpp>

#include "query/compiled_query.hpp"
#include "query/incremental_view.hpp"

namespace nizhal {

class JoinedRows {
 public:
  /// `own_filter` judges rows of the first table alone.
  JoinedRows(const CompiledQuery& query, CompiledPredicate own_filter);

  /// All joined rows that pass `own_filter`, left-joined throughout. Answers those of the query.
  std::vector<Row> load(std::vector<Row> rows);

  struct Change {
    std::optional<Row> before, after;
  };
  /// Nothing: a joined row is not known at this commit; it must be loaded.
  [[nodiscard]] Result<std::optional<std::vector<Change>>> apply(const std::vector<TableChange>& changes,
                                                                 RowLookup& lookup);

 private:
  struct Less {
    bool operator()(const Value& left, const Value& right) const { return compare_values(left, right) < 0; }
  };
  struct Entry;
  struct Partner {
    std::optional<Row> row;  // nothing: there is no row with this key
    std::set<Entry*> users;
  };
  using Partners = std::map<Value, Partner, Less>;
  /// A row of the first table.
  struct Entry {
    Row row;
    std::vector<Partners::value_type*> partners;  // per joined table; null: it refers to none
  };
  using Entries = std::map<Value, Entry, Less>;
  using Touched = std::map<Value, std::optional<Row>, Less>;  // by key: the joined row before

  std::size_t joins() const { return partners_.size(); }
  const CompiledSource& source_of(std::size_t join) const { return query_.sources[join + 1]; }
  Value reference(const Entry& entry, std::size_t join) const;
  std::optional<Row> joined(const Entry& entry) const;
  void touch(const Value& key, const Entry& entry, Touched& touched) const;
  void change_partner(const TableChange& change, Touched& touched);
  void change_own(const TableChange& change, Touched& touched);
  void refer(Entry& entry, std::size_t join, Partners::value_type* partner);
  /// False: a row that it refers to is not known.
  Result<bool> resolve(Entry& entry, const std::vector<TableChange>& changes, RowLookup& lookup);
  Result<RowLookup::Found> find(const CompiledSource& source, const Value& key, const std::vector<TableChange>& changes,
                                RowLookup& lookup, Row& row) const;

  const CompiledQuery& query_;
  CompiledPredicate own_filter_;
  Entries entries_;
  std::vector<Partners> partners_;
};

}  // namespace nizhal
