#include "workload/bucket_columns.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/ids.hpp"
#include "base/json.hpp"
#include "domain/names.hpp"
#include "domain/value_json.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {

std::string folded_name(std::string_view name) {
  std::string folded = lower_case(name);
  std::erase(folded, '_');
  return folded;
}

BucketColumns::BucketColumns(const CompiledDomain& domain) {
  // Memberships first: a column of theirs says best what its name means.
  for (const BucketDefinition& definition : domain.definitions()) {
    for (const MembershipFilter& filter : definition.membership_filters)
      if (!filter.claim.empty())
        add_column(domain, definition.membership_table, filter.column, naming_of({filter.claim, {}, {}}));
    for (const ParameterDef& parameter : definition.parameters)
      if (parameter.claim.empty())
        add_column(domain, definition.membership_table, parameter.membership_column,
                   naming_of({{}, definition.membership_table, parameter.membership_column}));
  }
  for (const BucketDefinition& definition : domain.definitions()) {
    for (std::size_t i = 0; i < definition.parameters.size(); ++i) {
      const ParameterDef& parameter = definition.parameters[i];
      const std::size_t naming = parameter.claim.empty()
                                     ? naming_of({{}, definition.membership_table, parameter.membership_column})
                                     : naming_of({parameter.claim, {}, {}});
      by_name_.try_emplace(folded_name(parameter.name), naming);
      for (const BucketTable& table : definition.tables)
        add_column(domain, domain.table(table.table).name, table.parameter_columns[i], naming);
    }
  }
}

std::size_t BucketColumns::naming_of(Naming naming) {
  for (std::size_t i = 0; i < namings_.size(); ++i)
    if (namings_[i].claim == naming.claim && namings_[i].table == naming.table && namings_[i].column == naming.column)
      return i;
  namings_.push_back(std::move(naming));
  return namings_.size() - 1;
}

void BucketColumns::add_column(const CompiledDomain& domain, std::string_view table, std::string_view column,
                               std::size_t naming) {
  const auto place = domain.table_index(table);
  if (!place) return;
  const TableDef& def = domain.table(*place);
  const std::size_t position = def.index_of(column);
  if (position == TableDef::npos) return;
  by_column_.try_emplace({*place, position}, naming);
  // The key of a table is named by the table, not by a word like "id".
  if (def.columns[position].name != def.key) by_name_.try_emplace(folded_name(column), naming);
  if (typed_.insert(naming).second) namings_[naming].type = def.columns[position].type;
}

std::optional<std::size_t> BucketColumns::of_column(std::size_t table, std::size_t column) const {
  const auto found = by_column_.find({table, column});
  if (found == by_column_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::size_t> BucketColumns::of_argument(const ArgumentDef& argument) const {
  const auto found = by_name_.find(folded_name(argument.name));
  if (found == by_name_.end()) return std::nullopt;
  return found->second;
}

std::vector<std::pair<std::size_t, std::size_t>> BucketColumns::columns_of(std::size_t naming) const {
  std::vector<std::pair<std::size_t, std::size_t>> columns;
  for (const auto& [place, held] : by_column_)
    if (held == naming) columns.push_back(place);
  return columns;
}

std::optional<std::size_t> BucketColumns::of_parameter(const ParameterDef& parameter,
                                                       const BucketDefinition& definition) const {
  for (std::size_t i = 0; i < namings_.size(); ++i) {
    const Naming& naming = namings_[i];
    if (parameter.claim.empty() ? naming.claim.empty() && naming.table == definition.membership_table &&
                                      naming.column == parameter.membership_column
                                : naming.claim == parameter.claim)
      return i;
  }
  return std::nullopt;
}

std::optional<std::size_t> BucketColumns::of_claim(std::string_view claim) const {
  for (std::size_t i = 0; i < namings_.size(); ++i)
    if (namings_[i].claim == claim && !claim.empty()) return i;
  return std::nullopt;
}

Value nth_value(const Naming& naming, std::size_t n) {
  const std::string name = naming.claim.empty() ? naming.table + "." + naming.column : naming.claim;
  switch (naming.type) {
    case ColumnType::uuid:
      return Value(derived_uuid(name, n));
    case ColumnType::integer:
    case ColumnType::bigint:
      return Value(static_cast<std::int64_t>(n + 1));
    default:
      return Value(fmt::format("{}-{}", naming.claim.empty() ? naming.column : naming.claim, n + 1));
  }
}

std::optional<Value> value_of_text(ColumnType type, std::string_view text) {
  TableDef table;
  table.key = "key";
  table.columns.push_back({"key", type, false, std::nullopt});
  return key_from_text(table, text);
}

std::vector<Actor> make_actors(const CompiledDomain& domain, std::size_t count) {
  const BucketColumns columns(domain);
  std::vector<Actor> actors;
  for (std::size_t i = 0; i < count; ++i) {
    const auto text_of = [&](std::string_view claim, std::size_t n) {
      const auto naming = columns.of_claim(claim);
      return key_text(nth_value(naming ? columns.namings()[*naming] : Naming{std::string(claim), {}, {}}, n));
    };
    Actor actor{text_of("userId", i), text_of("ownerId", i), {}};
    json::object payload{{"userId", json::string(actor.user_id)}, {"ownerId", json::string(actor.owner_id)}};
    for (const Naming& naming : columns.namings())  // other claims are shared by two
      if (!naming.claim.empty() && !payload.contains(naming.claim))
        payload[naming.claim] = json::string(text_of(naming.claim, i / 2));
    actor.claims = to_text(payload);
    actors.push_back(std::move(actor));
  }
  return actors;
}

}  // namespace nizhal::workload
