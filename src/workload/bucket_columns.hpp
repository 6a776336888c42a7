// What names a bucket or a user in a domain, found in its rules: which columns hold what a membership grants, which
// hold a claim of the actor, and which arguments of mutators are named like one of them.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::workload {

/// A set of values that columns of several tables share: the ids of shops, the ids of users.
struct Naming {
  std::string claim;                   // of the actor; empty: what a membership grants
  std::string table, column;           // without a claim: the column of the membership table
  ColumnType type = ColumnType::text;  // of the first column found that holds it
};

class BucketColumns {
 public:
  explicit BucketColumns(const CompiledDomain& domain);

  const std::vector<Naming>& namings() const { return namings_; }
  /// The naming that a column of a table holds.
  std::optional<std::size_t> of_column(std::size_t table, std::size_t column) const;
  /// Of an argument that is named like such a column or like the parameter of a rule (`shop_id`, `shopId`).
  std::optional<std::size_t> of_argument(const ArgumentDef& argument) const;
  /// All columns that hold it: table and column.
  std::vector<std::pair<std::size_t, std::size_t>> columns_of(std::size_t naming) const;
  /// The naming of a definition's parameter.
  std::optional<std::size_t> of_parameter(const ParameterDef& parameter, const BucketDefinition& definition) const;
  std::optional<std::size_t> of_claim(std::string_view claim) const;

 private:
  std::size_t naming_of(Naming naming);
  void add_column(const CompiledDomain& domain, std::string_view table, std::string_view column, std::size_t naming);
  std::vector<Naming> namings_;
  std::map<std::pair<std::size_t, std::size_t>, std::size_t> by_column_;
  std::map<std::string, std::size_t> by_name_;  // folded
  std::set<std::size_t> typed_;
};

/// Lower case and without underscores: shop_id and shopId are one name.
std::string folded_name(std::string_view name);
/// A value of the type for the n-th bucket or user of a naming. The same each time.
Value nth_value(const Naming& naming, std::size_t n);
/// How many buckets of each membership rule there are to begin with.
constexpr std::size_t seed_buckets(std::size_t actors) { return actors < 2 ? 2 : actors > 4 ? 4 : actors; }
/// A claim's text as a value of a column; nothing where it is none.
std::optional<Value> value_of_text(ColumnType type, std::string_view text);

}  // namespace nizhal::workload
