#include "workload/sources.hpp"

#include <algorithm>

#include "domain/arguments_codec.hpp"
#include "domain/value_json.hpp"
#include "workload/draw.hpp"

namespace nizhal::workload {
namespace {

bool can_name_rows(ColumnType type) {
  return type == ColumnType::text || type == ColumnType::uuid || type == ColumnType::integer ||
         type == ColumnType::bigint;
}

/// A key or claim as a value of the argument's type, if it is one that its declaration takes.
std::optional<Value> as_value(const ArgumentDef& argument, const Value& value) {
  auto converted = value_of_text(argument.type, key_text(value));
  if (!converted) return std::nullopt;
  MutatorDef declared;
  declared.arguments = {argument};
  const auto parsed = parse_json(encode_arguments(declared, {*converted}));
  if (!parsed || !decode_arguments(declared.arguments, *parsed)) return std::nullopt;
  return converted;
}

/// What the visible rows hold, in the order of the tables and rows, each once.
std::vector<Value> seen_values(Seen& seen, const BucketColumns& columns, std::size_t naming) {
  std::vector<Value> values;
  for (const auto& [table, column] : columns.columns_of(naming))
    for (const Row& row : seen.rows(table))
      if (!is_null(row[column]) && std::find(values.begin(), values.end(), row[column]) == values.end())
        values.push_back(row[column]);
  return values;
}

template <class List>
std::optional<Value> any_of(const List& values, Random& random) {
  if (values.empty()) return std::nullopt;
  return values[random.below(values.size())];
}

std::optional<Value> drawn(const Source& source, const ArgumentDef& argument, Seen& seen, const BucketColumns& columns,
                           const std::vector<Actor>& actors, Random& random) {
  switch (source.kind) {
    case Source::Kind::plain:
      return draw_value(argument, random);
    case Source::Kind::new_id:
      return draw_new_id(argument, random);
    case Source::Kind::key: {
      const std::vector<Row>& rows = seen.rows(source.table);
      if (rows.empty()) return std::nullopt;
      // Half of the draws meet in a few rows.
      const std::size_t among = random.below(2) == 0 ? std::min<std::size_t>(rows.size(), 3) : rows.size();
      return rows[random.below(among)][seen.domain().table(source.table).key_index()];
    }
    case Source::Kind::seen: {
      const Naming& naming = columns.namings()[source.naming];
      if (!naming.claim.empty() && random.below(2) == 0)
        if (const auto own = seen.actor().claim(naming.claim)) return Value(*own);
      return any_of(seen_values(seen, columns, source.naming), random);
    }
    case Source::Kind::of_others: {
      const Naming& naming = columns.namings()[source.naming];
      if (naming.claim.empty()) return nth_value(naming, random.below(seed_buckets(actors.size())));
      if (actors.empty()) return std::nullopt;
      if (const auto claim = actors[random.below(actors.size())].claim(naming.claim)) return Value(*claim);
      return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

std::vector<Source> sources_of(const CompiledDomain& domain, const BucketColumns& columns,
                               const ArgumentDef& argument) {
  using Kind = Source::Kind;
  std::vector<Source> sources;
  if (!can_name_rows(argument.type) || !argument.one_of.empty()) return {{Kind::plain}};
  if (!argument.new_id_of.empty()) {
    sources.push_back({.kind = Kind::new_id, .weight = 15});
    if (const auto table = domain.table_index(argument.new_id_of))
      sources.push_back({.kind = Kind::key, .table = *table});
    return sources;
  }
  if (!argument.references.empty()) {
    if (const auto table = domain.table_index(argument.references))
      sources.push_back({.kind = Kind::key, .table = *table, .weight = 15});
    sources.push_back({.kind = Kind::new_id});
    return sources;
  }
  if (const auto naming = columns.of_argument(argument)) {
    sources.push_back({.kind = Kind::seen, .naming = *naming, .weight = 3});
    sources.push_back({.kind = Kind::of_others, .naming = *naming, .weight = 2});
    sources.push_back({.kind = Kind::new_id, .weight = 2});
    return sources;
  }
  const std::string name = folded_name(argument.name);
  const bool is_key_column = std::any_of(domain.tables().begin(), domain.tables().end(),
                                         [&](const auto& table) { return folded_name(table->key) == name; });
  if (!is_key_column && !name.ends_with("id")) return {{Kind::plain}};
  for (std::size_t table = 0; table < domain.tables().size(); ++table)
    sources.push_back({.kind = Kind::key, .table = table, .weight = 2});
  sources.push_back({.kind = Kind::new_id, .weight = 2});
  return sources;
}

Value draw_from(const Source& source, const ArgumentDef& argument, Seen& seen, const BucketColumns& columns,
                const std::vector<Actor>& actors, Random& random) {
  if (source.kind != Source::Kind::plain && argument.is_optional && random.below(5) == 0) return {};
  if (const auto value = drawn(source, argument, seen, columns, actors, random)) {
    if (source.kind == Source::Kind::plain || source.kind == Source::Kind::new_id) return *value;
    if (auto fitting = as_value(argument, *value)) return *std::move(fitting);
  }
  return draw_new_id(argument, random);
}

std::size_t draw_weighted(const std::vector<unsigned>& weights, Random& random) {
  std::uint64_t total = 0;
  for (const unsigned weight : weights) total += weight;
  std::uint64_t place = random.below(total);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (place < weights[i]) return i;
    place -= weights[i];
  }
  return 0;
}

}  // namespace nizhal::workload
