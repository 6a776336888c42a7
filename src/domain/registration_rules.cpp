// Registration checks of sync rules. The fact that must not break: a rule that passes puts a row only into buckets that
// name a value of that row, and an actor only into buckets that name the actor or a membership of the actor. Everything
// that could deliver rows to everybody is an error here.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/bytes.hpp"
#include "domain/conditions.hpp"
#include "domain/names.hpp"
#include "domain/registration.hpp"
#include "domain/value_json.hpp"

namespace nizhal {
namespace {

constexpr std::size_t kPrefixBytesMax = 128;

std::vector<std::string> parameter_names(const RuleDef& rule) {
  std::vector<std::string> names;
  for (const ParameterDef& parameter : rule.parameters) names.push_back(parameter.name);
  return names;
}

/// Of one parameter: the first column that it was bound to, to which all others must fit.
struct Binding {
  std::string column;  // "shop_members.shop_id"
  bool is_whole_number = false;
};
using Bindings = std::vector<std::optional<Binding>>;  // by position of the parameter

class RuleCheck {
 public:
  RuleCheck(const Domain& domain, const RuleDef& rule, Bindings& bindings, Findings& findings)
      : domain_(domain),
        rule_(rule),
        place_(fmt::format("rule \"{}\"", rule.name)),
        bindings_(bindings),
        findings_(findings) {}

  void run() {
    check_names();
    check_parameters();
    if (!rule_.membership_table.empty()) check_membership();
    if (rule_.data.empty())
      findings_.error("rule_without_data", place_, "the rule delivers nothing",
                      "name a table with .data(table, eq(…))");
    for (const RuleDataDef& data : rule_.data) check_data(data);
  }

 private:
  void check_names() {
    if (const std::string fault = name_fault(rule_.name); !fault.empty())
      findings_.error("bad_name", place_, fmt::format("the name \"{}\" {}", rule_.name, fault),
                      "use letters, digits and underscores, at most 63, not starting with a digit, nizhal_ or sqlite_");
    const bool has_control = std::any_of(rule_.prefix.begin(), rule_.prefix.end(),
                                         [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    if (rule_.prefix.size() > kPrefixBytesMax || has_control || !is_utf8(rule_.prefix))
      findings_.error("bad_prefix", place_, "the prefix cannot be part of a bucket key",
                      fmt::format("use at most {} bytes of UTF-8 without control characters", kPrefixBytesMax));
  }

  void check_parameters() {
    if (rule_.parameters.empty())
      findings_.error("rule_without_parameters", place_, "the rule has no parameters, so everybody would get its rows",
                      rule_.membership_table.empty()
                          ? "add .parameter(\"ownerId\", actor::owner_id) and bind it in .data(…)"
                          : "name the buckets with bucket(\"shopId\", \"shop_id\") in .membership(…)");
    std::set<std::string> names;
    for (const ParameterDef& parameter : rule_.parameters) {
      const std::string place = fmt::format("{}, parameter \"{}\"", place_, parameter.name);
      if (const std::string fault = name_fault(parameter.name); !fault.empty())
        findings_.error("bad_name", place, fmt::format("the name \"{}\" {}", parameter.name, fault),
                        "use letters, digits and underscores, at most 63");
      if (!names.insert(parameter.name).second)
        findings_.error("duplicate_parameter", place, "the parameter is declared twice", "rename or remove one");
      const bool is_static = parameter.membership_column.empty();
      if (is_static && parameter.claim.empty())
        findings_.error("parameter_without_source", place, "the parameter has no source",
                        "take it from the actor (actor::owner_id, actor::claim(\"name\")) or from a membership column");
      if (is_static && !rule_.membership_table.empty())
        findings_.error("mixed_parameters", place,
                        "a rule takes its parameters from the actor or from a membership, not both",
                        "filter the membership by the claim with where(column, actor::claim(…)), or use two rules");
    }
  }

  /// The column, or nothing after an error that suggests a near name.
  const ColumnDef* find_column(const TableDef& table, const std::string& name, const std::string& place) {
    const std::size_t index = table.index_of(name);
    if (index != TableDef::npos) return &table.columns[index];
    findings_.error("unknown_column", place, fmt::format("table \"{}\" has no column \"{}\"", table.name, name),
                    suggest_name(name, column_names(table)));
    return nullptr;
  }

  const TableDef* find_table(const std::string& name, const std::string& place) {
    const TableDef* table = domain_.find_table(name);
    if (!table)
      findings_.error("unknown_table", place, fmt::format("the domain has no table \"{}\"", name),
                      fmt::format("add() it; {}", suggest_name(name, table_names(domain_))));
    return table;
  }

  void check_constant(const ColumnDef& column, const Value& constant, const std::string& place) {
    if (is_null(constant)) {
      findings_.error("bad_constant", place,
                      fmt::format("column \"{}\" is compared with null, which is never true", column.name),
                      "use is_null or is_not_null in a data condition, or a constant");
      return;
    }
    if (column.type == ColumnType::json || column.type == ColumnType::blob || column.type == ColumnType::crdt_text ||
        column.type == ColumnType::crdt_map) {
      findings_.error(
          "bad_constant", place,
          fmt::format("column \"{}\" is of type {}, which cannot be compared", column.name, to_string(column.type)),
          "compare a column of another type; is_null and is_not_null fit every type");
      return;
    }
    std::string why;
    if (!check_value(column, constant, &why))
      findings_.error("bad_constant", place, fmt::format("the constant for column \"{}\" {}", column.name, why),
                      fmt::format("give a constant of type {}", to_string(column.type)));
  }

  void check_bucket_type(const TableDef& table, const ColumnDef& column, const std::string& place) {
    if (!is_bucket_type(column.type))
      findings_.error(
          "bad_parameter_type", place,
          fmt::format("column \"{}\" of table \"{}\" is of type {}", column.name, table.name, to_string(column.type)),
          "bucket keys are made of text, uuid, integer and bigint columns");
  }

  /// All columns of a parameter must be texts or all whole numbers: else "07" and 7 would be one bucket in SQL and two
  /// by key.
  void bind(std::size_t parameter, const TableDef& table, const ColumnDef& column, const std::string& place) {
    check_bucket_type(table, column, place);
    if (!is_bucket_type(column.type)) return;
    const Binding binding{table.name + "." + column.name, is_whole_number_type(column.type)};
    std::optional<Binding>& first = bindings_[parameter];
    if (!first) first = binding;
    if (first->is_whole_number != binding.is_whole_number)
      findings_.error("parameter_types_differ", place,
                      fmt::format("{} is {}, but {} is {}, and both stand for one parameter", binding.column,
                                  binding.is_whole_number ? "a number" : "a text", first->column,
                                  first->is_whole_number ? "a number" : "a text"),
                      "use columns of one type");
  }

  void check_membership() {
    const std::string place = fmt::format("{}, membership table \"{}\"", place_, rule_.membership_table);
    const TableDef* table = find_table(rule_.membership_table, place);
    if (!table) return;
    for (std::size_t i = 0; i < rule_.parameters.size(); ++i) {
      if (rule_.parameters[i].membership_column.empty()) continue;
      if (const ColumnDef* column = find_column(*table, rule_.parameters[i].membership_column, place))
        bind(i, *table, *column, place);
    }
    bool names_actor = false;
    for (const MembershipFilter& filter : rule_.membership_filters) {
      if (!filter.claim.empty()) names_actor = true;
      const ColumnDef* column = find_column(*table, filter.column, place);
      if (!column) continue;
      if (filter.claim.empty())
        check_constant(*column, filter.constant, place);
      else
        check_bucket_type(*table, *column, place);
    }
    if (!names_actor)
      findings_.error("membership_leaks", place, "no filter names the actor, so everybody would get every bucket",
                      "add where(\"user_id\", actor::user_id)");
  }

  void check_data(const RuleDataDef& data) {
    const std::string place = fmt::format("{}, data of table \"{}\"", place_, data.table);
    const TableDef* table = find_table(data.table, place);
    if (!table) return;
    std::vector<std::size_t> times_bound(rule_.parameters.size(), 0);
    for (const Condition& condition : data.conditions) {
      const ColumnDef* column = find_column(*table, condition.column, place);
      if (names_parameter(condition)) {
        check_parameter_condition(condition, *table, column, place, times_bound);
      } else if (column && condition.comparison != Comparison::is_null &&
                 condition.comparison != Comparison::is_not_null) {
        check_constant(*column, condition.operand, place);
      }
    }
    for (std::size_t i = 0; i < times_bound.size(); ++i) {
      const std::string& name = rule_.parameters[i].name;
      if (times_bound[i] == 0)
        findings_.error("rule_scopes_nothing", place,
                        fmt::format("no condition binds parameter \"{}\", so every bucket would hold these rows", name),
                        fmt::format("add eq(\"<column>\", \"{}\")", name));
      else if (times_bound[i] > 1)
        findings_.error("parameter_bound_twice", place, fmt::format("parameter \"{}\" is bound to two columns", name),
                        "bind each parameter to one column; compare other columns with constants");
    }
  }

  void check_parameter_condition(const Condition& condition, const TableDef& table, const ColumnDef* column,
                                 const std::string& place, std::vector<std::size_t>& times_bound) {
    const std::string& name = std::get<std::string>(condition.operand);
    const std::vector<std::string> known = parameter_names(rule_);
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end()) {
      findings_.error("unknown_parameter", place,
                      fmt::format("column \"{}\" is compared with \"{}\", which is not a parameter of the rule",
                                  condition.column, name),
                      fmt::format("for a constant text write literal(\"{}\"); among the parameters {}", name,
                                  suggest_name(name, known)));
      return;
    }
    if (condition.comparison != Comparison::eq) {
      findings_.error("parameter_needs_eq", place,
                      fmt::format("column \"{}\" is compared with parameter \"{}\" by {}", condition.column, name,
                                  comparison_name(condition.comparison)),
                      fmt::format("a bucket holds the rows that are equal to its parameter: eq(\"{}\", \"{}\")",
                                  condition.column, name));
      return;
    }
    const auto parameter = static_cast<std::size_t>(found - known.begin());
    ++times_bound[parameter];
    if (column) bind(parameter, table, *column, place);
  }

  const Domain& domain_;
  const RuleDef& rule_;
  std::string place_;
  Bindings& bindings_;
  Findings& findings_;
};

void append_part(std::string& out, std::string_view part) { out += fmt::format("{}:{};", part.size(), part); }

}  // namespace

bool names_parameter(const Condition& condition) {
  return !condition.is_literal && condition.comparison != Comparison::is_null &&
         condition.comparison != Comparison::is_not_null && std::holds_alternative<std::string>(condition.operand);
}

std::string constant_text(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  if (const auto* real = std::get_if<double>(&value)) return fmt::format("real {}", *real);
  if (const auto* text = std::get_if<std::string>(&value)) return "text " + *text;
  if (const auto* blob = std::get_if<Blob>(&value)) return "blob " + to_hex(blob->bytes);
  return "null";
}

std::string parameter_signature(const RuleDef& rule) {
  std::string out;
  append_part(out, rule.membership_table);
  for (const ParameterDef& parameter : rule.parameters) {
    append_part(out, parameter.claim);
    append_part(out, parameter.membership_column);
  }
  std::set<std::string> filters;
  for (const MembershipFilter& filter : rule.membership_filters) {
    std::string text;
    append_part(text, filter.column);
    append_part(text, filter.claim);
    append_part(text, constant_text(filter.constant));
    filters.insert(std::move(text));
  }
  out += "where ";
  for (const std::string& filter : filters) append_part(out, filter);
  return out;
}

void check_rules(const Domain& domain, Findings& findings) {
  struct Shared {
    const RuleDef* first = nullptr;
    std::string signature;
    Bindings bindings;
  };
  std::map<std::string, Shared> by_prefix;
  std::set<std::string> names;
  for (const auto& rule : domain.rules()) {
    const std::string place = fmt::format("rule \"{}\"", rule->name);
    if (!names.insert(rule->name).second)
      findings.error("duplicate_rule", place, "the rule is declared twice", "rename or remove one");
    Shared& shared = by_prefix[rule->prefix];
    const std::string signature = parameter_signature(*rule);
    Bindings own(rule->parameters.size());
    if (!shared.first) {
      shared = {rule.get(), signature, std::move(own)};
      RuleCheck(domain, *rule, shared.bindings, findings).run();
      continue;
    }
    const bool shares = shared.signature == signature;
    RuleCheck(domain, *rule, shares ? shared.bindings : own, findings).run();
    if (!shares)
      findings.error(
          "bucket_key_collision", place,
          fmt::format("its bucket keys could be those of rule \"{}\": both have the prefix \"{}\" but other parameters",
                      shared.first->name, rule->prefix),
          "give one of them another .prefix(\"…:\")");
  }
}

}  // namespace nizhal
