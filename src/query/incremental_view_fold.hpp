// The middle part of an incremental view with folds: from changed joined rows to changed result rows, one per group.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include <nizhal/result.hpp>

#include "query/compiled_query.hpp"
#include "query/fold.hpp"

namespace nizhal {

class FoldedRows {
 public:
  explicit FoldedRows(const CompiledQuery& query) : query_(query) {}

  /// Empties it; then each joined row that passes is added, and `results` gives all groups.
  void clear();
  void add(const Row& joined_row);
  [[nodiscard]] Result<std::vector<Row>> results();

  struct Change {
    std::optional<Row> before, after;
  };
  /// Between `begin` and `finish`: joined rows before and now; null: there was, or is, none that passes.
  void begin() { touched_.clear(); }
  void change(const Row* before, const Row* after);
  [[nodiscard]] Result<std::vector<Change>> finish();

 private:
  struct Group {
    FoldGroup folds;
    std::optional<Row> result;  // as it was last given
  };
  using Groups = std::map<Row, Group>;
  Groups::iterator group_at(const Row& joined_row);
  /// A fold of everything is there even without rows.
  bool is_there(const Group& group) const { return group.folds.rows() > 0 || query_.group_by.empty(); }

  const CompiledQuery& query_;
  Groups groups_;
  std::map<Row, Groups::iterator> touched_;
};

}  // namespace nizhal
