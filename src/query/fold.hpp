// Folds: count, sum, min, max and average of a group's values, which may come and go in any order.
//
// The fact that must not break: the value depends on what is in the fold and not on the order in which it came. Sums
// are therefore exact inside (128 bits, or as many as it takes for reals and numerics) and rounded once, at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/value.hpp>

#include "query/compiled_query.hpp"
#include "query/real_sum.hpp"

namespace nizhal {

/// One fold of one group. Nulls are not counted; without any value sum, min, max and average are null.
class Fold {
 public:
  Fold(FoldSpec::Kind kind, ColumnType type);
  explicit Fold(const CompiledFold& fold) : Fold(fold.kind, fold.type) {}

  /// `value` is of the fold's column type. O(1); min and max O(log n).
  void add(const Value& value);
  /// What was added before. The same cost.
  void remove(const Value& value);
  /// Errors: invalid_args when a sum does not fit its type; the message begins with `subject`.
  [[nodiscard]] Result<Value> value(std::string_view subject) const;

 private:
  __extension__ typedef __int128 Wide;
  struct Less {
    ColumnType type;
    bool operator()(const Value& left, const Value& right) const { return compare_values(left, right, type) < 0; }
  };
  using Sorted = std::map<Value, std::size_t, Less>;  // how often each is there
  void add(const Value& value, int sign);

  FoldSpec::Kind kind_;
  ColumnType type_;
  std::int64_t count_ = 0;
  /// count: none; integers; reals; numerics as text; min and max.
  std::variant<std::monostate, Wide, RealSum, std::string, Sorted> state_;
};

/// All folds of one group, and how many joined rows are in it.
class FoldGroup {
 public:
  explicit FoldGroup(const CompiledQuery& query);
  void add(const CompiledQuery& query, const Row& joined_row);
  void remove(const CompiledQuery& query, const Row& joined_row);
  std::size_t rows() const { return rows_; }
  /// `group` as group_of gives it.
  [[nodiscard]] Result<Row> result(const CompiledQuery& query, const Row& group) const;

 private:
  std::vector<Fold> folds_;
  std::size_t rows_ = 0;
};

}  // namespace nizhal
