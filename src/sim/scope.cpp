#include "sim/scope.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "domain/value_json.hpp"
#include "query/to_sql.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::sim {

namespace {

std::string literal(const Value& value, ColumnType type) { return sql_literal(Dialect::sqlite, type, value); }

std::string condition_sql(const TableDef& table, const Condition& condition) {
  const ColumnType type = table.columns[table.index_of(condition.column)].type;
  std::string text = fmt::format("d.{} {}", quote_identifier(condition.column), comparison_sql(condition.comparison));
  if (condition.comparison != Comparison::is_null && condition.comparison != Comparison::is_not_null)
    text += " " + literal(condition.operand, type);
  return text;
}

const Condition* parameter_condition(const RuleDataDef& data, const std::string& parameter) {
  for (const Condition& condition : data.conditions)
    if (!condition.is_literal && condition.comparison == Comparison::eq &&
        std::holds_alternative<std::string>(condition.operand) && std::get<std::string>(condition.operand) == parameter)
      return &condition;
  return nullptr;
}

/// Of a membership row `m`. Nothing: a claim that is needed is missing, so nobody is a member.
std::optional<std::string> filters_sql(const TableDef& members, const std::vector<MembershipFilter>& filters,
                                       const Actor& actor) {
  std::string text;
  for (const MembershipFilter& filter : filters) {
    const std::string column = "m." + quote_identifier(filter.column);
    if (filter.claim.empty()) {
      text += fmt::format(" AND {} = {}", column,
                          literal(filter.constant, members.columns[members.index_of(filter.column)].type));
      continue;
    }
    const auto claim = actor.claim(filter.claim);
    if (!claim || claim->empty()) return std::nullopt;
    text += fmt::format(" AND CAST({} AS TEXT) = {}", column, quote_text(*claim));
  }
  return text;
}

/// Nothing: a claim that the rule needs is missing, so nobody is in it.
std::optional<std::string> rule_sql(const CompiledDomain& domain, const RuleDef& rule, const RuleDataDef& data,
                                    const Actor& actor) {
  const TableDef& table = *domain.domain().find_table(data.table);
  std::vector<std::string> parts;
  std::string membership;
  for (const Condition& condition : data.conditions) {
    bool is_parameter = false;
    for (const ParameterDef& parameter : rule.parameters)
      is_parameter |= parameter_condition(data, parameter.name) == &condition;
    if (!is_parameter) parts.push_back(condition_sql(table, condition));
  }
  for (const ParameterDef& parameter : rule.parameters) {
    const Condition* condition = parameter_condition(data, parameter.name);
    if (!condition) return std::nullopt;
    const std::string column = "d." + quote_identifier(condition->column);
    if (parameter.claim.empty()) {
      membership += fmt::format(" AND m.{} = {}", quote_identifier(parameter.membership_column), column);
    } else {
      const auto claim = actor.claim(parameter.claim);
      if (!claim || claim->empty()) return std::nullopt;
      parts.push_back(fmt::format("CAST({} AS TEXT) = {}", column, quote_text(*claim)));
    }
  }
  if (!rule.membership_table.empty()) {
    const auto filters =
        filters_sql(*domain.domain().find_table(rule.membership_table), rule.membership_filters, actor);
    if (!filters) return std::nullopt;
    membership += *filters;
    parts.push_back(
        fmt::format("EXISTS (SELECT 1 FROM {} AS m WHERE 1{})", quote_identifier(rule.membership_table), membership));
  }
  std::string where = "1";
  for (const std::string& part : parts) where += " AND " + part;
  return fmt::format("SELECT {} FROM {} AS d WHERE {}", column_list(table, "d"), quote_identifier(table.name), where);
}

/// Of one bucket, in the order of the rule's parameters; empty: of all.
using ParameterValues = std::vector<std::string>;

/// The rule's buckets that were chosen.
std::vector<ParameterValues> chosen_values(const CompiledDomain& domain, const RuleDef& rule,
                                           const ChosenBuckets& chosen) {
  std::vector<ParameterValues> values;
  for (std::size_t i = 0; i < domain.definitions().size(); ++i) {
    // A bucket is the same one for all rules that share its definition.
    const auto& sharing = domain.definitions()[i].rules;
    if (std::find(sharing.begin(), sharing.end(), rule.name) == sharing.end()) continue;
    for (const std::string& other : sharing)
      if (chosen.rules.contains(other)) return {{}};
    for (const std::string& key : chosen.keys)
      if (const auto bucket = domain.parse_bucket(key); bucket && bucket->definition == i)
        values.push_back(bucket->values);
  }
  return values;
}

std::string values_sql(const RuleDef& rule, const RuleDataDef& data, const ParameterValues& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i)
    text += fmt::format(" AND CAST(d.{} AS TEXT) = {}",
                        quote_identifier(parameter_condition(data, rule.parameters[i].name)->column),
                        quote_text(values[i]));
  return text;
}

Result<void> add_rows(sqlite::Connection& connection, const std::string& sql, const TableDef& table, RowTexts& into) {
  auto select = connection.prepare(sql);
  if (!select) return tl::unexpected(select.error());
  for (;;) {
    const auto more = select->step();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return {};
    const Row row = sqlite::read_row(*select, table);
    into[row_name(table, key_text(row[table.key_index()]))] = row_text(table, row);
  }
}

}  // namespace

std::optional<ChosenBuckets> chosen_by(const protocol::PullRequest& request) {
  if (!request.buckets && !request.sync_rules) return std::nullopt;
  ChosenBuckets chosen;
  if (request.buckets) chosen.keys.insert(request.buckets->begin(), request.buckets->end());
  if (request.sync_rules) chosen.rules.insert(request.sync_rules->begin(), request.sync_rules->end());
  return chosen;
}

std::string row_name(const TableDef& table, std::string_view key) { return table.name + "/" + std::string(key); }

std::string row_text(const TableDef& table, const Row& row) {
  std::string text;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const ColumnDef& column = table.columns[i];
    text += (i > 0 ? "|" : "") + column.name + "=";
    const Blob* state = std::get_if<Blob>(&row[i]);
    if (!is_crdt(column.type) || !state) {
      append_value_json(text, column.type, row[i]);
      continue;
    }
    const auto shown = column.type == ColumnType::crdt_text ? to_string(CrdtText{state->bytes}, column.name)
                                                            : to_json(CrdtMap{state->bytes}, column.name);
    const auto vector = crdt::state_vector_of_update(state->bytes);
    text += shown && vector ? *shown + "@" + to_hex(*vector) : "damaged " + to_hex(state->bytes);
  }
  return text;
}

Scopes::Scopes(std::shared_ptr<const CompiledDomain> domain, std::string path)
    : domain_(std::move(domain)), path_(std::move(path)) {}

Result<sqlite::Connection*> Scopes::connection() {
  if (!connection_) {
    auto opened = sqlite::Connection::open(path_, {.create = false});
    if (!opened) return tl::unexpected(opened.error());
    connection_ = std::move(*opened);
  }
  return connection_.get();
}

Result<RowTexts> Scopes::of(const Actor& actor, const std::optional<ChosenBuckets>& chosen) {
  const auto connection = this->connection();
  if (!connection) return tl::unexpected(connection.error());
  RowTexts rows;
  for (const auto& rule : domain_->domain().rules()) {
    const auto narrowed = chosen ? chosen_values(*domain_, *rule, *chosen) : std::vector<ParameterValues>{{}};
    for (const RuleDataDef& data : rule->data) {
      const auto sql = rule_sql(*domain_, *rule, data, actor);
      if (!sql) continue;
      for (const ParameterValues& values : narrowed) {
        const auto added = add_rows(**connection, *sql + values_sql(*rule, data, values),
                                    *domain_->domain().find_table(data.table), rows);
        if (!added) return tl::unexpected(added.error());
      }
    }
  }
  return rows;
}

Result<bool> Scopes::has_bucket(const Actor& actor, std::string_view key) {
  const auto bucket = domain_->parse_bucket(key);
  if (!bucket) return false;
  const auto connection = this->connection();
  if (!connection) return tl::unexpected(connection.error());
  const BucketDefinition& definition = domain_->definitions()[bucket->definition];
  std::string where = "1";
  for (std::size_t i = 0; i < definition.parameters.size(); ++i) {
    const ParameterDef& parameter = definition.parameters[i];
    if (!parameter.claim.empty()) {
      const auto claim = actor.claim(parameter.claim);
      if (!claim || *claim != bucket->values[i]) return false;
    } else {
      where += fmt::format(" AND CAST(m.{} AS TEXT) = {}", quote_identifier(parameter.membership_column),
                           quote_text(bucket->values[i]));
    }
  }
  if (definition.is_static()) return true;
  const TableDef& members = *domain_->domain().find_table(definition.membership_table);
  const auto filters = filters_sql(members, definition.membership_filters, actor);
  if (!filters) return false;
  const auto found = (*connection)
                         ->query_integer(fmt::format("SELECT EXISTS (SELECT 1 FROM {} AS m WHERE {}{})",
                                                     quote_identifier(members.name), where, *filters));
  if (!found) return tl::unexpected(found.error());
  return found->value_or(0) != 0;
}

Result<RowTexts> Scopes::everything() {
  const auto connection = this->connection();
  if (!connection) return tl::unexpected(connection.error());
  RowTexts rows;
  for (const auto& table : domain_->tables()) {
    const auto added =
        add_rows(**connection, fmt::format("SELECT {} FROM {}", column_list(*table), quote_identifier(table->name)),
                 *table, rows);
    if (!added) return tl::unexpected(added.error());
  }
  return rows;
}

Result<std::vector<Row>> Scopes::rows(const TableDef& table) {
  const auto connection = this->connection();
  if (!connection) return tl::unexpected(connection.error());
  QuerySpec all;
  all.table = &table;
  return sqlite::select_rows(**connection, all);
}

}  // namespace nizhal::sim
