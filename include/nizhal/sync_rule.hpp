// Sync rules: which rows reach whom, in buckets. One rule scopes reads, writes and pokes alike.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/query.hpp>
#include <nizhal/table.hpp>

namespace nizhal {

/// A parameter of a rule. Its values, one or several per bucket, make the bucket key:
/// the rule's prefix, then the values as text (several are joined with "/", with "/" and "%" escaped as %2F and %25).
struct ParameterDef {
  std::string name;
  std::string claim;              // static: taken from the actor; empty for a membership parameter
  std::string membership_column;  // membership: a column of the membership table
};

/// A filter on the membership table: `column = the actor's claim` or `column = constant`.
struct MembershipFilter {
  std::string column;
  std::string claim;  // empty: compare with `constant`
  Value constant;
};

/// Rows of `table` for which every condition holds are in the rule's bucket. A condition whose operand is a
/// bare text compares the column with the rule's parameter of that name.
struct RuleDataDef {
  std::string table;
  std::vector<Condition> conditions;
};

struct RuleDef {
  std::string name;
  std::string prefix;
  int priority = 0;  // higher is backfilled earlier
  std::vector<ParameterDef> parameters;
  std::string membership_table;  // empty: all parameters are the actor's
  std::vector<MembershipFilter> membership_filters;
  std::vector<RuleDataDef> data;
};

struct BucketColumn {
  std::string parameter;
  std::string column;
};
/// The membership column whose values are the buckets: bucket("shopId", "shop_id").
inline BucketColumn bucket(std::string parameter, std::string column) {
  return BucketColumn{std::move(parameter), std::move(column)};
}
/// A filter of a membership table.
inline MembershipFilter where(std::string column, const actor::Claim& claim) {
  return MembershipFilter{std::move(column), claim.name, Value{}};
}
template <class T>
MembershipFilter where(std::string column, const T& constant) {
  return MembershipFilter{std::move(column), "", to_value(constant)};
}

/// Returned by Domain::rule.
class RuleBuilder {
 public:
  explicit RuleBuilder(std::shared_ptr<RuleDef> def) : def_(std::move(def)) {}

  /// A static parameter: `.parameter("ownerId", actor::owner_id)`.
  RuleBuilder& parameter(std::string name, const actor::Claim& claim) {
    def_->parameters.push_back({std::move(name), claim.name, ""});
    return *this;
  }
  /// `.membership(members, where("user_id", actor::user_id), bucket("shopId", "shop_id"))`
  template <class T, class... Parts>
  RuleBuilder& membership(const Table<T>& table, const Parts&... parts) {
    def_->membership_table = table.def().name;
    (add(parts), ...);
    return *this;
  }
  /// `.data(notes, eq("owner_id", "ownerId"))`; all conditions must hold.
  template <class T, class... Conditions>
  RuleBuilder& data(const Table<T>& table, const Conditions&... conditions) {
    def_->data.push_back({table.def().name, {conditions...}});
    return *this;
  }
  RuleBuilder& prefix(std::string text) {
    def_->prefix = std::move(text);
    return *this;
  }
  RuleBuilder& priority(int number) {
    def_->priority = number;
    return *this;
  }

 private:
  void add(const MembershipFilter& filter) { def_->membership_filters.push_back(filter); }
  void add(const BucketColumn& column) { def_->parameters.push_back({column.parameter, "", column.column}); }
  std::shared_ptr<RuleDef> def_;
};

}  // namespace nizhal
