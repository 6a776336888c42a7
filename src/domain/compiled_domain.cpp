// Compilation of a domain, and buckets: their keys, whose they are, which rows are in them.
#include "domain/compiled_domain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/bytes.hpp"
#include "domain/conditions.hpp"
#include "domain/registration.hpp"

namespace nizhal {
namespace {

constexpr std::size_t kFingerprintDigits = 12;  // 48 bits: a device compares a handful of them, not billions

std::string fingerprint_of(std::string_view text) {
  return to_hex(sha256(as_bytes(text))).substr(0, kFingerprintDigits);
}

void append_part(std::string& out, std::string_view part) {
  out += std::to_string(part.size());
  out += ':';
  out += part;
  out += ';';
}

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '%')
      out += "%25";
    else if (c == '/')
      out += "%2F";
    else
      out += c;
  }
}

/// The reverse of escaping; nothing for what escaping cannot have written, so that one bucket has one key.
std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string_view code = text.substr(i, 3);
    if (code == "%25")
      out += '%';
    else if (code == "%2F")
      out += '/';
    else
      return std::nullopt;
    i += 2;
  }
  return out;
}

bool is_canonical_whole_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [stopped, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  return fault == std::errc() && stopped == text.data() + text.size() && std::to_string(number) == text;
}

std::string columns_text(const TableDef& table) {
  std::string text;
  append_part(text, table.name);
  append_part(text, table.key);
  for (const ColumnDef& column : table.columns) {
    append_part(text, column.name);
    append_part(text, to_string(column.type));
    append_part(text, column.nullable ? "null" : "not null");
  }
  return text;
}

}  // namespace

Result<std::shared_ptr<const CompiledDomain>> CompiledDomain::compile(Domain domain) {
  LintReport errors{registration_errors(domain)};
  if (!errors.findings.empty())
    return failure(ErrorCode::invalid_domain,
                   fmt::format("the domain \"{}\" cannot be used:\n{}", domain.name(), errors.text()));
  return std::shared_ptr<const CompiledDomain>(new CompiledDomain(std::move(domain)));
}

CompiledDomain::CompiledDomain(Domain domain)
    : domain_(std::move(domain)),
      delivered_(domain_.tables().size()),
      membership_(domain_.tables().size()),
      scopes_(domain_.tables().size()) {
  std::map<std::string, std::size_t> by_prefix;
  for (const auto& rule : domain_.rules()) add_rule(*rule, by_prefix);
  for (BucketDefinition& definition : definitions_)
    std::stable_sort(definition.tables.begin(), definition.tables.end(),
                     [](const BucketTable& left, const BucketTable& right) { return left.priority > right.priority; });
  add_fingerprints();
}

void CompiledDomain::add_rule(const RuleDef& rule, std::map<std::string, std::size_t>& by_prefix) {
  // Registration made sure that rules of one prefix have the same parameters.
  const auto [found, is_new] = by_prefix.emplace(rule.prefix, definitions_.size());
  const std::size_t index = found->second;
  if (is_new) {
    BucketDefinition definition;
    definition.prefix = rule.prefix;
    definition.parameters = rule.parameters;
    definition.membership_table = rule.membership_table;
    definition.membership_filters = rule.membership_filters;
    definition.priority = rule.priority;
    definitions_.push_back(std::move(definition));
    is_whole_number_.emplace_back(rule.parameters.size(), false);
  }
  BucketDefinition& definition = definitions_[index];
  definition.rules.push_back(rule.name);
  definition.priority = std::max(definition.priority, rule.priority);
  if (const auto table = table_index(rule.membership_table)) membership_[*table] = true;

  for (const RuleDataDef& data : rule.data) {
    const auto table_position = table_index(data.table);
    if (!table_position) continue;
    const TableDef& def = table(*table_position);
    BucketTable bucket_table;
    bucket_table.table = *table_position;
    bucket_table.priority = rule.priority;
    bucket_table.rule = rule.name;
    bucket_table.parameter_columns.resize(rule.parameters.size());
    Scope scope;
    scope.definition = index;
    scope.parameter_columns.resize(rule.parameters.size());
    for (const Condition& condition : data.conditions) {
      const std::size_t column = def.index_of(condition.column);
      if (!names_parameter(condition)) {
        bucket_table.conditions.push_back(condition);
        scope.conditions.push_back({column, def.columns[column].type, condition.comparison, condition.operand});
        continue;
      }
      const std::string& name = std::get<std::string>(condition.operand);
      for (std::size_t i = 0; i < rule.parameters.size(); ++i) {
        if (rule.parameters[i].name != name) continue;
        bucket_table.parameter_columns[i] = condition.column;
        scope.parameter_columns[i] = column;
        if (is_whole_number_type(def.columns[column].type)) is_whole_number_[index][i] = true;
      }
    }
    delivered_[*table_position] = true;
    scopes_[*table_position].push_back(std::move(scope));
    definition.tables.push_back(std::move(bucket_table));
  }
}

void CompiledDomain::add_fingerprints() {
  // Names of rules and parameters, priorities and the order of declaration change nothing of what a device has; so a
  // table's part is the sorted set of the ways in which it is delivered.
  std::vector<std::set<std::string>> deliveries(tables().size());
  for (const auto& rule : domain_.rules()) {
    for (const RuleDataDef& data : rule->data) {
      const auto index = table_index(data.table);
      if (!index) continue;
      std::vector<std::string> bound(rule->parameters.size());
      std::set<std::string> constants;
      for (const Condition& condition : data.conditions) {
        if (names_parameter(condition)) {
          for (std::size_t i = 0; i < rule->parameters.size(); ++i)
            if (rule->parameters[i].name == std::get<std::string>(condition.operand)) bound[i] = condition.column;
          continue;
        }
        std::string text;
        append_part(text, condition.column);
        append_part(text, comparison_name(condition.comparison));
        append_part(text, constant_text(condition.operand));
        constants.insert(std::move(text));
      }
      std::string text;
      append_part(text, rule->prefix);
      append_part(text, parameter_signature(*rule));
      for (const std::string& column : bound) append_part(text, column);
      text += "where ";
      for (const std::string& constant : constants) append_part(text, constant);
      deliveries[*index].insert(std::move(text));
    }
  }
  for (std::size_t i = 0; i < tables().size(); ++i) {
    std::string rules;
    for (const std::string& delivery : deliveries[i]) append_part(rules, delivery);
    fingerprints_.push_back({fingerprint_of(columns_text(table(i))), fingerprint_of(rules)});
  }
}

std::optional<std::size_t> CompiledDomain::table_index(std::string_view name) const {
  for (std::size_t i = 0; i < tables().size(); ++i)
    if (table(i).name == name) return i;
  return std::nullopt;
}

std::optional<std::size_t> CompiledDomain::definition_of(std::string_view key) const {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < definitions_.size(); ++i)
    if (key.starts_with(definitions_[i].prefix) &&
        (!best || definitions_[i].prefix.size() > definitions_[*best].prefix.size()))
      best = i;
  return best;
}

bool CompiledDomain::are_bucket_values(std::size_t definition, const std::vector<std::string>& values) const {
  const std::vector<bool>& is_whole_number = is_whole_number_[definition];
  if (values.size() != is_whole_number.size()) return false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].empty() || values[i].find('\0') != std::string::npos) return false;
    if (is_whole_number[i] && !is_canonical_whole_number(values[i])) return false;
  }
  return true;
}

std::optional<Bucket> CompiledDomain::parse_bucket(std::string_view key) const {
  const auto definition = definition_of(key);
  if (!definition) return std::nullopt;
  std::string_view rest = key.substr(definitions_[*definition].prefix.size());
  std::vector<std::string> values;
  if (definitions_[*definition].parameters.size() == 1) {
    values.emplace_back(rest);
  } else {
    while (true) {
      const std::size_t slash = rest.find('/');
      auto value = unescaped(rest.substr(0, slash));
      if (!value) return std::nullopt;
      values.push_back(*std::move(value));
      if (slash == std::string_view::npos) break;
      rest.remove_prefix(slash + 1);
    }
  }
  if (!are_bucket_values(*definition, values)) return std::nullopt;
  return Bucket{*definition, std::string(key), std::move(values)};
}

std::optional<Bucket> CompiledDomain::make_bucket(std::size_t definition, std::vector<std::string> values) const {
  if (definition >= definitions_.size() || !are_bucket_values(definition, values)) return std::nullopt;
  std::string key = definitions_[definition].prefix + join_bucket_values(values);
  if (definition_of(key) != definition) return std::nullopt;
  return Bucket{definition, std::move(key), std::move(values)};
}

std::optional<Bucket> CompiledDomain::static_bucket(std::size_t definition, const Actor& actor) const {
  if (definition >= definitions_.size() || !definitions_[definition].is_static()) return std::nullopt;
  std::vector<std::string> values;
  for (const ParameterDef& parameter : definitions_[definition].parameters) {
    auto claim = actor.claim(parameter.claim);
    if (!claim) return std::nullopt;
    values.push_back(*std::move(claim));
  }
  return make_bucket(definition, std::move(values));
}

std::optional<std::string> CompiledDomain::grant_subject(std::size_t definition, const Actor& actor) const {
  if (definition >= definitions_.size() || definitions_[definition].is_static()) return std::nullopt;
  std::vector<std::string> values;
  for (const MembershipFilter& filter : definitions_[definition].membership_filters) {
    if (filter.claim.empty()) continue;
    auto claim = actor.claim(filter.claim);
    // An actor without a name must not meet membership rows without one.
    if (!claim || claim->empty()) return std::nullopt;
    values.push_back(*std::move(claim));
  }
  return join_bucket_values(values);
}

std::vector<Bucket> CompiledDomain::buckets_of(std::size_t table, const Row& row) const {
  std::vector<Bucket> buckets;
  for (const Scope& scope : scopes_[table]) {
    const bool holds =
        std::all_of(scope.conditions.begin(), scope.conditions.end(), [&row](const ScopeCondition& condition) {
          return condition.column < row.size() &&
                 comparison_holds(condition.comparison, condition.type, row[condition.column], condition.operand);
        });
    if (!holds) continue;
    std::vector<std::string> values;
    values.reserve(scope.parameter_columns.size());
    for (const std::size_t column : scope.parameter_columns) {
      auto text = column < row.size() ? bucket_text(row[column]) : std::nullopt;
      if (!text) break;
      values.push_back(*std::move(text));
    }
    auto bucket = make_bucket(scope.definition, std::move(values));
    if (bucket && std::find(buckets.begin(), buckets.end(), *bucket) == buckets.end())
      buckets.push_back(*std::move(bucket));
  }
  return buckets;
}

std::string join_bucket_values(const std::vector<std::string>& values) {
  if (values.size() == 1) return values.front();
  std::string out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += '/';
    append_escaped(out, values[i]);
  }
  return out;
}

std::optional<std::string> bucket_text(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  return std::nullopt;
}

}  // namespace nizhal
