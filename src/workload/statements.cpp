// What other programs write: rows to begin with, memberships that come and go, and rows changed behind the engine's
// back.
#include <fmt/format.h>

#include <algorithm>

#include "base/environment.hpp"
#include "workload/draw.hpp"
#include "workload/generator_state.hpp"

namespace nizhal::workload {
namespace {

std::string literal(Dialect dialect, ColumnType type, const Value& value) {
  if (dialect == Dialect::postgres) {
    const auto* time = std::get_if<std::int64_t>(&value);
    if (time && type == ColumnType::timestamp) return quote_text(postgres_time_text(to_iso8601(Timestamp{*time})));
    const auto* day = std::get_if<std::string>(&value);
    if (day && type == ColumnType::date) return quote_text(postgres_time_text(*day));
  }
  return sql_literal(dialect, type, value);
}

std::string insert_sql(Dialect dialect, const TableDef& table, const Row& row) {
  std::string values;
  for (std::size_t i = 0; i < row.size(); ++i)
    values += (i > 0 ? ", " : "") + literal(dialect, table.columns[i].type, row[i]);
  return fmt::format("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING", quote_identifier(table.name),
                     column_list(table), values);
}

std::string where_key(Dialect dialect, const TableDef& table, const Row& row) {
  return fmt::format("WHERE {} = {}", quote_identifier(table.key),
                     literal(dialect, table.key_column().type, row[table.key_index()]));
}

std::string update_sql(Dialect dialect, const TableDef& table, const Row& row, std::size_t column, const Value& value) {
  return fmt::format("UPDATE {} SET {} = {} {}", quote_identifier(table.name),
                     quote_identifier(table.columns[column].name), literal(dialect, table.columns[column].type, value),
                     where_key(dialect, table, row));
}

std::string delete_sql(Dialect dialect, const TableDef& table, const Row& row) {
  return fmt::format("DELETE FROM {} {}", quote_identifier(table.name), where_key(dialect, table, row));
}

Row draw_row(const TableDef& table, Random& random) {
  Row row;
  for (const ColumnDef& column : table.columns) {
    if (column.name == table.key)
      row.push_back(draw_new_id(as_argument(column), random));
    else if (is_crdt(column.type))
      row.push_back(column.default_value ? *column.default_value : Value(Blob{{0, 0}}));
    else
      row.push_back(draw_value(as_argument(column), random));
  }
  return row;
}

/// Makes the row satisfy a rule's condition on a constant, where that is simple.
void satisfy(const Condition& condition, const TableDef& table, Row& row) {
  const std::size_t column = table.index_of(condition.column);
  if (column == TableDef::npos) return;
  switch (condition.comparison) {
    case Comparison::eq:
    case Comparison::le:
    case Comparison::ge:
      row[column] = condition.operand;
      break;
    case Comparison::lt:
    case Comparison::gt: {
      const int step = condition.comparison == Comparison::lt ? -1 : 1;
      if (const auto* whole = std::get_if<std::int64_t>(&condition.operand)) row[column] = *whole + step;
      if (const auto* real = std::get_if<double>(&condition.operand)) row[column] = *real + step;
      break;
    }
    case Comparison::is_null:
      row[column] = Value{};
      break;
    case Comparison::is_not_null: {
      ArgumentDef argument = as_argument(table.columns[column]);
      argument.is_optional = false;
      SeededRandom fixed(1);
      if (is_null(row[column])) row[column] = draw_value(argument, fixed);
      break;
    }
    case Comparison::ne:
      break;
  }
}

template <class Columns>
bool contains(const Columns& columns, const std::string& name) {
  return std::find(columns.begin(), columns.end(), name) != columns.end();
}

/// A claim, or the n-th bucket's value, as the column holds it.
std::optional<Value> claim_value(const ColumnDef& column, const Actor& actor, const std::string& claim) {
  const auto text = actor.claim(claim);
  return text ? value_of_text(column.type, *text) : std::nullopt;
}

class Statements {
 public:
  Statements(const CompiledDomain& domain, const BucketColumns& columns, const std::vector<Actor>& actors,
             const std::map<std::string, std::size_t>& references, Dialect dialect, Random& random)
      : domain_(domain),
        columns_(columns),
        actors_(actors),
        references_(references),
        dialect_(dialect),
        random_(random) {}

  std::vector<std::string> seed(std::size_t rows_per_bucket);
  Result<std::vector<std::string>> membership_change(const ServerRows& server);
  Result<std::vector<std::string>> foreign_write(const ServerRows& server);

 private:
  const Value nth_parameter(const BucketDefinition& definition, const ParameterDef& parameter, std::size_t n) const {
    const auto naming = columns_.of_parameter(parameter, definition);
    return naming ? nth_value(columns_.namings()[*naming], n) : Value{};
  }
  std::optional<Row> membership_row(const BucketDefinition& definition, const Actor& actor, std::size_t n);
  /// The n-th bucket of a definition: of a static one the n-th actor's.
  std::optional<Bucket> nth_bucket(std::size_t d, std::size_t n) const;
  std::size_t buckets(const BucketDefinition& definition) const {
    return definition.is_static() ? actors_.size() : seed_buckets(actors_.size());
  }
  std::optional<Row> data_row(const BucketTable& place, const Bucket& bucket);
  std::optional<std::string> move(std::size_t table, const Row& row);
  /// Tables of whose rows other programs may write: delivered, and neither facts nor memberships.
  std::vector<std::size_t> data_tables() const;

  const CompiledDomain& domain_;
  const BucketColumns& columns_;
  const std::vector<Actor>& actors_;
  const std::map<std::string, std::size_t>& references_;
  Dialect dialect_;
  Random& random_;
  std::map<std::pair<std::size_t, std::string>, std::vector<Value>> keys_;  // seeded, by table and bucket
};

std::optional<Row> Statements::membership_row(const BucketDefinition& definition, const Actor& actor, std::size_t n) {
  const TableDef& table = *domain_.domain().find_table(definition.membership_table);
  Row row = draw_row(table, random_);
  for (const MembershipFilter& filter : definition.membership_filters) {
    const std::size_t column = table.index_of(filter.column);
    if (filter.claim.empty()) {
      row[column] = filter.constant;
      continue;
    }
    const auto claim = claim_value(table.columns[column], actor, filter.claim);
    if (!claim) return std::nullopt;
    row[column] = *claim;
  }
  for (const ParameterDef& parameter : definition.parameters)
    row[table.index_of(parameter.membership_column)] = nth_parameter(definition, parameter, n);
  return row;
}

std::optional<Bucket> Statements::nth_bucket(std::size_t d, std::size_t n) const {
  const BucketDefinition& definition = domain_.definitions()[d];
  if (definition.is_static()) return domain_.static_bucket(d, actors_[n]);
  std::vector<std::string> values;
  for (const ParameterDef& parameter : definition.parameters)
    values.push_back(bucket_text(nth_parameter(definition, parameter, n)).value_or(std::string{}));
  return domain_.make_bucket(d, std::move(values));
}

std::optional<Row> Statements::data_row(const BucketTable& place, const Bucket& bucket) {
  const TableDef& table = domain_.table(place.table);
  Row row = draw_row(table, random_);
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const auto referred = references_.find(folded_name(table.columns[i].name));
    if (referred == references_.end() || i == table.key_index()) continue;
    const auto known = keys_.find({referred->second, bucket.key});
    if (known == keys_.end() || known->second.empty()) continue;
    row[i] = known->second[random_.below(known->second.size())];
  }
  for (std::size_t i = 0; i < place.parameter_columns.size(); ++i) {
    const std::size_t column = table.index_of(place.parameter_columns[i]);
    const auto value = value_of_text(table.columns[column].type, bucket.values[i]);
    if (!value) return std::nullopt;
    row[column] = *value;
  }
  for (const Condition& condition : place.conditions) satisfy(condition, table, row);
  const std::vector<Bucket> in = domain_.buckets_of(place.table, row);
  if (std::find(in.begin(), in.end(), bucket) == in.end()) return std::nullopt;
  return row;
}

std::vector<std::string> Statements::seed(std::size_t rows_per_bucket) {
  std::vector<std::string> statements;
  const auto add_rows = [&](bool named_by_key) {
    for (std::size_t t = 0; t < domain_.tables().size(); ++t) {
      const TableDef& table = domain_.table(t);
      if (table.append_only || domain_.is_membership(t)) continue;
      for (std::size_t d = 0; d < domain_.definitions().size(); ++d) {
        const BucketDefinition& definition = domain_.definitions()[d];
        for (const BucketTable& place : definition.tables) {
          if (place.table != t || contains(place.parameter_columns, table.key) != named_by_key) continue;
          for (std::size_t n = 0; n < buckets(definition); ++n) {
            const auto bucket = nth_bucket(d, n);
            for (std::size_t i = 0; bucket && i < (named_by_key ? 1 : rows_per_bucket); ++i) {
              const auto row = data_row(place, *bucket);
              if (!row) continue;
              keys_[{t, bucket->key}].push_back((*row)[table.key_index()]);
              statements.push_back(insert_sql(dialect_, table, *row));
            }
          }
        }
      }
    }
  };
  add_rows(true);  // the shops themselves, which memberships name
  for (const BucketDefinition& definition : domain_.definitions()) {
    if (definition.is_static()) continue;
    const TableDef& table = *domain_.domain().find_table(definition.membership_table);
    const std::size_t count = buckets(definition);
    for (std::size_t a = 0; a < actors_.size(); ++a)
      for (const std::size_t n : {a % count, (a + 1) % count})
        if (const auto row = membership_row(definition, actors_[a], n))
          statements.push_back(insert_sql(dialect_, table, *row));
  }
  add_rows(false);
  return statements;
}

Result<std::vector<std::string>> Statements::membership_change(const ServerRows& server) {
  std::vector<std::size_t> dynamic;
  for (std::size_t d = 0; d < domain_.definitions().size(); ++d)
    if (!domain_.definitions()[d].is_static()) dynamic.push_back(d);
  std::vector<std::string> statements;
  if (dynamic.empty() || actors_.empty()) return statements;
  const BucketDefinition& definition = domain_.definitions()[dynamic[random_.below(dynamic.size())]];
  const TableDef& table = *domain_.domain().find_table(definition.membership_table);
  const auto rows = server(*domain_.table_index(table.name));
  if (!rows) return tl::unexpected(rows.error());

  const std::uint64_t way = random_.below(10);
  if (way < 5 || rows->empty()) {
    auto granted =
        membership_row(definition, actors_[random_.below(actors_.size())], random_.below(seed_buckets(actors_.size())));
    if (!granted) return statements;
    // A bucket that the app made is as good as one that was there to begin with.
    if (!rows->empty() && random_.below(2) == 0) {
      const Row& other = (*rows)[random_.below(rows->size())];
      for (const ParameterDef& parameter : definition.parameters) {
        const std::size_t column = table.index_of(parameter.membership_column);
        (*granted)[column] = other[column];
      }
    }
    statements.push_back(insert_sql(dialect_, table, *granted));
  } else if (const Row& row = (*rows)[random_.below(rows->size())]; way < 9 || definition.parameters.empty()) {
    statements.push_back(delete_sql(dialect_, table, row));
  } else {
    const ParameterDef& parameter = definition.parameters[random_.below(definition.parameters.size())];
    const std::size_t column = table.index_of(parameter.membership_column);
    statements.push_back(column == table.key_index()
                             ? delete_sql(dialect_, table, row)
                             : update_sql(dialect_, table, row, column,
                                          nth_parameter(definition, parameter, random_.below(buckets(definition)))));
  }
  return statements;
}

std::vector<std::size_t> Statements::data_tables() const {
  std::vector<std::size_t> tables;
  for (std::size_t t = 0; t < domain_.tables().size(); ++t)
    if (domain_.is_delivered(t) && !domain_.is_membership(t) && !domain_.table(t).append_only) tables.push_back(t);
  return tables;
}

std::optional<std::string> Statements::move(std::size_t t, const Row& row) {
  const TableDef& table = domain_.table(t);
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const auto naming = columns_.of_column(t, i);
    if (!naming || i == table.key_index()) continue;
    const Naming& named = columns_.namings()[*naming];
    const auto value = named.claim.empty()
                           ? std::optional<Value>(nth_value(named, random_.below(seed_buckets(actors_.size()))))
                           : claim_value(table.columns[i], actors_[random_.below(actors_.size())], named.claim);
    if (value) return update_sql(dialect_, table, row, i, *value);
  }
  return std::nullopt;
}

Result<std::vector<std::string>> Statements::foreign_write(const ServerRows& server) {
  std::vector<std::string> statements;
  const std::vector<std::size_t> tables = data_tables();
  if (tables.empty() || actors_.empty()) return statements;
  const std::size_t t = tables[random_.below(tables.size())];
  const TableDef& table = domain_.table(t);
  const auto rows = server(t);
  if (!rows) return tl::unexpected(rows.error());
  const std::uint64_t way = random_.below(10);

  if (way < 2 || rows->empty()) {
    std::vector<std::pair<std::size_t, const BucketTable*>> places;
    for (std::size_t d = 0; d < domain_.definitions().size(); ++d)
      for (const BucketTable& place : domain_.definitions()[d].tables)
        if (place.table == t) places.emplace_back(d, &place);
    const auto& [d, place] = places[random_.below(places.size())];
    const auto bucket = nth_bucket(d, random_.below(buckets(domain_.definitions()[d])));
    if (const auto row = bucket ? data_row(*place, *bucket) : std::nullopt)
      statements.push_back(insert_sql(dialect_, table, *row));
    return statements;
  }
  const Row& row = (*rows)[random_.below(rows->size())];
  if (way < 3) {
    statements.push_back(delete_sql(dialect_, table, row));
    return statements;
  }
  if (way < 5) {
    if (auto moved = move(t, row)) {
      statements.push_back(*std::move(moved));
      return statements;
    }
  }
  std::vector<std::size_t> plain;
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    if (i != table.key_index() && !is_crdt(table.columns[i].type) && !columns_.of_column(t, i) &&
        !references_.contains(folded_name(table.columns[i].name)))
      plain.push_back(i);
  if (plain.empty()) return statements;
  const std::size_t column = plain[random_.below(plain.size())];
  statements.push_back(
      update_sql(dialect_, table, row, column, draw_value(as_argument(table.columns[column]), random_)));
  return statements;
}

}  // namespace

std::vector<std::string> Generator::seed_statements(Dialect dialect, Random& random) const {
  return Statements(*state_->domain, state_->columns, state_->actors, state_->references, dialect, random)
      .seed(state_->options.rows_per_bucket);
}

Result<std::vector<std::string>> Generator::membership_change(Dialect dialect, const ServerRows& server,
                                                              Random& random) const {
  return Statements(*state_->domain, state_->columns, state_->actors, state_->references, dialect, random)
      .membership_change(server);
}

Result<std::vector<std::string>> Generator::foreign_write(Dialect dialect, const ServerRows& server,
                                                          Random& random) const {
  return Statements(*state_->domain, state_->columns, state_->actors, state_->references, dialect, random)
      .foreign_write(server);
}

}  // namespace nizhal::workload
