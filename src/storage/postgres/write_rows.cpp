// The domain's rows in a write transaction: what mutators read and write.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "domain/value_json.hpp"
#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/postgres_write_transaction.hpp"
#include "storage/postgres/values.hpp"

namespace nizhal::storage::pg {
namespace {

using postgres::Rows;
using Ticket = postgres::Connection::Ticket;

// Locks the counter, whether it was there or not: whoever counts in the same group waits.
constexpr const char* kLockCounter =
    "INSERT INTO nizhal.counter AS c (table_name, number_column, bucket_column, bucket, last, through) "
    "VALUES ($1, $2, $3, $4, 0, -1) ON CONFLICT (table_name, number_column, bucket_column, bucket) "
    "DO UPDATE SET last = c.last RETURNING last";
constexpr const char* kCountOn =
    "UPDATE nizhal.counter SET last = $5 WHERE table_name = $1 AND number_column = $2 AND bucket_column = $3 "
    "AND bucket = $4";
constexpr const char* kCountOnThrough =
    "UPDATE nizhal.counter SET last = $5, through = $6 WHERE table_name = $1 AND number_column = $2 AND "
    "bucket_column = $3 AND bucket = $4";
/// From so many rows on a look at the numbers is worth a look at the horizon, which shortens the next ones.
constexpr std::int64_t kRowsLookedAtMax = 100;

/// `$n` of the type that the column is compared with.
std::string compared(const TableDef& table, std::size_t column, std::size_t parameter) {
  const ColumnType type = table.columns[column].type;
  return fmt::format("{} = ${}::{}", quote_identifier(table.columns[column].name), parameter,
                     postgres_type(type == ColumnType::integer ? ColumnType::bigint : type));
}

Row row_from(const Rows& rows, int row, const TableDef& table) {
  Row values;
  values.reserve(table.columns.size());
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const int column = static_cast<int>(i);
    if (rows.is_null(row, column))
      values.emplace_back();
    else
      values.push_back(value_from_text(table.columns[i].type, rows.text(row, column)));
  }
  return values;
}

std::string kept_parameter(std::string_view column, const MergeState& merge) {
  return column == kStampsColumn ? storable_text(merge.stamps) : bytes_parameter(merge.recent);
}

}  // namespace

/// Nothing: no row can have this key.
std::optional<std::string> PostgresWriteTransaction::key_parameter(const TableDef& table, const Value& key) const {
  const std::size_t index = table.key_index();
  if (index == TableDef::npos) return std::nullopt;
  const ColumnType type = table.columns[index].type;
  if (!check_value(ColumnDef{table.key, type, false, std::nullopt}, key, nullptr)) return std::nullopt;
  return parameter_text(type, key);
}

Result<Parameters> PostgresWriteTransaction::row_parameters(const TableDef& table, const Row& row) const {
  Parameters parameters;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto* text = std::get_if<std::string>(&row[i]);
    if (text && text->find('\0') != std::string::npos) {
      return failure(ErrorCode::constraint_violated,
                     fmt::format("table \"{}\", column \"{}\": PostgreSQL holds no text with a NUL character",
                                 table.name, table.columns[i].name));
    }
    parameters.push_back(parameter_text(table.columns[i].type, row[i]));
  }
  return parameters;
}

Result<std::optional<Row>> PostgresWriteTransaction::get(const TableDef& table, const Value& key) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto parameter = key_parameter(table, key);
  if (!parameter) return std::optional<Row>{};
  auto rows = ask(fmt::format("SELECT {} FROM {} WHERE {} FOR NO KEY UPDATE", column_list(table), table_name(table),
                              compared(table, table.key_index(), 1)),
                  {parameter});
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return std::optional<Row>{};
  return std::optional<Row>(row_from(*rows, 0, table));
}

std::vector<std::string> PostgresWriteTransaction::columns_to_merge(const TableDef& table) const {
  const auto index = domain_.table_index(table.name);
  return index ? merge_columns(domain_, *index) : std::vector<std::string>();
}

Result<std::optional<MergeRow>> PostgresWriteTransaction::get_to_merge(const TableDef& table, const Value& key) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto parameter = key_parameter(table, key);
  if (!parameter) return std::optional<MergeRow>{};
  const std::vector<std::string> kept = columns_to_merge(table);
  std::string columns = column_list(table);
  for (const std::string& column : kept) columns += ", " + column;
  auto rows = ask(fmt::format("SELECT {} FROM {} WHERE {} FOR NO KEY UPDATE", columns, table_name(table),
                              compared(table, table.key_index(), 1)),
                  {parameter});
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() == 0) return std::optional<MergeRow>{};
  MergeRow row;
  row.row = row_from(*rows, 0, table);
  int next = static_cast<int>(table.columns.size());
  for (const std::string& column : kept) {
    const std::string_view text = rows->text(0, next++);
    if (column == kStampsColumn)
      row.merge.stamps = std::string(text);
    else
      row.merge.recent = bytes_from_text(text);
  }
  return std::optional<MergeRow>(std::move(row));
}

Result<std::vector<Row>> PostgresWriteTransaction::find(const QuerySpec& query, const ScopeFilter* scope) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  if (query.table == nullptr) return failure(ErrorCode::internal, "a query was made without a table");
  const auto table = domain_.table_index(query.table->name);
  const auto compiled = compile_query(query);
  if (!compiled) return tl::unexpected(compiled.error());  // a mistake of the mutator, in every mode
  auto sql = query_sql(Dialect::postgres, *compiled, {}, catalog_->schema);
  if (!sql) return tl::unexpected(sql.error());
  if (scope && !table) return std::vector<Row>{};
  if (table) searched_->add(*table);
  if (mode_ != WriteMode::serializable) {
    is_aborted_ = true;
    return must_rise(WriteMode::serializable, "a search needs a serializable transaction");
  }
  Parameters parameters;
  for (const SqlParameter& parameter : sql->parameters)
    parameters.push_back(parameter_text(parameter.type, parameter.value));
  if (scope) {
    ScopeSql in_scope = scope_sql(domain_, *table, *scope, parameters.size() + 1);
    sql = query_sql(Dialect::postgres, *compiled, in_scope.condition, catalog_->schema);
    if (!sql) return tl::unexpected(sql.error());
    std::move(in_scope.parameters.begin(), in_scope.parameters.end(), std::back_inserter(parameters));
  }
  const auto found = ask(sql->text, parameters);
  if (!found) return tl::unexpected(found.error());
  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(found->size()));
  for (int row = 0; row < found->size(); ++row) rows.push_back(row_from(*found, row, *query.table));
  return rows;
}

/// What other transactions have found by searching must not change behind their backs.
Result<void> PostgresWriteTransaction::before_write(const TableDef& table) {
  const auto index = domain_.table_index(table.name);
  if (index && domain_.is_membership(*index)) known_grants_.reset();
  if (mode_ == WriteMode::serializable || !index || !searched_->contains(*index)) return {};
  is_aborted_ = true;
  return must_rise(WriteMode::serializable, fmt::format("table \"{}\" is one that mutators search", table.name));
}

/// True: a row was written. A pipelined write is taken to have worked until it is known.
Result<bool> PostgresWriteTransaction::write(const TableDef& table, Statement statement) {
  if (auto raised = before_write(table); !raised) return tl::unexpected(raised.error());
  if (is_pipelined()) {
    statement.rows = 1;
    waiting_.push_back(std::move(statement));
    return true;
  }
  waiting_.push_back(std::move(statement));
  send_waiting();
  const Ticket ticket = sent_.back().first;
  const auto rows = answer(ticket);
  if (!rows) return tl::unexpected(rows.error());
  return rows->affected() > 0;
}

Result<bool> PostgresWriteTransaction::write_new(const TableDef& table, const Row& row, const MergeState* merge) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  if (row.size() != table.columns.size())
    return failure(ErrorCode::internal, fmt::format("a row of table \"{}\" has {} values for {} columns", table.name,
                                                    row.size(), table.columns.size()));
  auto parameters = row_parameters(table, row);
  if (!parameters) return tl::unexpected(parameters.error());
  std::string columns = column_list(table), places;
  if (merge != nullptr) {
    for (const std::string& column : columns_to_merge(table)) {
      columns += ", " + column;
      parameters->push_back(kept_parameter(column, *merge));
    }
  }
  for (std::size_t i = 0; i < parameters->size(); ++i) places += fmt::format("{}${}", i > 0 ? ", " : "", i + 1);
  std::string sql = fmt::format("INSERT INTO {} ({}) VALUES ({})", table_name(table), columns, places);
  if (!is_pipelined()) sql += fmt::format(" ON CONFLICT ({}) DO NOTHING", quote_identifier(table.key));
  Statement statement{std::move(sql), *std::move(parameters)};
  if (is_pipelined()) statement.inserts_into = &table;
  statement.with_merge = merge != nullptr;
  return write(table, std::move(statement));
}

Result<bool> PostgresWriteTransaction::write_changes(const TableDef& table, const Value& key,
                                                     const std::vector<std::pair<std::size_t, Value>>& changes,
                                                     const MergeState* merge) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto key_text = key_parameter(table, key);
  if (!key_text) return false;
  std::string assignments;
  Parameters parameters;
  for (const auto& [column, value] : changes) {
    if (column >= table.columns.size())
      return failure(ErrorCode::internal, fmt::format("table \"{}\" has no column number {}", table.name, column));
    const auto* text = std::get_if<std::string>(&value);
    if (text && text->find('\0') != std::string::npos) {
      return failure(ErrorCode::constraint_violated,
                     fmt::format("table \"{}\", column \"{}\": PostgreSQL holds no text with a NUL character",
                                 table.name, table.columns[column].name));
    }
    parameters.push_back(parameter_text(table.columns[column].type, value));
    assignments += fmt::format("{}{} = ${}", assignments.empty() ? "" : ", ",
                               quote_identifier(table.columns[column].name), parameters.size());
  }
  if (merge != nullptr) {
    for (const std::string& column : columns_to_merge(table)) {
      parameters.push_back(kept_parameter(column, *merge));
      assignments += fmt::format("{}{} = ${}", assignments.empty() ? "" : ", ", column, parameters.size());
    }
  }
  // An update that changes nothing is one all the same: the row gets its version.
  if (assignments.empty()) assignments = fmt::format("{0} = {0}", quote_identifier(table.key));
  parameters.push_back(key_text);
  return write(table, {fmt::format("UPDATE {} SET {} WHERE {}", table_name(table), assignments,
                                   compared(table, table.key_index(), parameters.size())),
                       std::move(parameters)});
}

Result<bool> PostgresWriteTransaction::remove(const TableDef& table, const Value& key) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const auto key_text = key_parameter(table, key);
  if (!key_text) return false;
  return write(table, {fmt::format("DELETE FROM {} WHERE {}", table_name(table), compared(table, table.key_index(), 1)),
                       {key_text}});
}

Result<std::int64_t> PostgresWriteTransaction::next_number(const TableDef& table, std::string_view number_column,
                                                           std::string_view bucket_column, const Value& bucket) {
  if (auto usable = check_usable(); !usable) return tl::unexpected(usable.error());
  const std::size_t number_index = table.index_of(number_column), bucket_index = table.index_of(bucket_column);
  if (number_index == TableDef::npos || bucket_index == TableDef::npos)
    return failure(ErrorCode::invalid_args,
                   fmt::format("table \"{}\" has no column \"{}\"", table.name,
                               number_index == TableDef::npos ? number_column : bucket_column));
  const ColumnType number_type = table.columns[number_index].type;
  if (number_type != ColumnType::integer && number_type != ColumnType::bigint)
    return failure(ErrorCode::invalid_args, fmt::format("column \"{}\" of table \"{}\" is {}, not a whole number",
                                                        number_column, table.name, to_string(number_type)));
  const ColumnDef& group_column = table.columns[bucket_index];
  std::string why;
  if (!check_value(ColumnDef{group_column.name, group_column.type, false, std::nullopt}, bucket, &why))
    return failure(
        ErrorCode::invalid_args,
        fmt::format("numbers of table \"{}\" are counted within a group, and the group {}", table.name, why));

  const Parameters counter = {table.name, std::string(number_column), std::string(bucket_column), key_text(bucket)};
  const auto index = domain_.table_index(table.name);
  const bool has_versions = index && (domain_.is_delivered(*index) || domain_.is_membership(*index));
  // Rows may have numbers from elsewhere. Where rows have versions, only those above what earlier looks have settled
  // can have a number above the counter: a look then costs what has changed and not what there is.
  std::string sql = fmt::format("SELECT max({}), count(*) FROM {} WHERE {}", quote_identifier(number_column),
                                table_name(table), compared(table, bucket_index, 1));
  Parameters parameters = {parameter_text(group_column.type, bucket)};
  if (has_versions) {
    sql += fmt::format(
        " AND {} > (SELECT c.through FROM nizhal.counter AS c WHERE c.table_name = $2 AND c.number_column = $3 AND "
        "c.bucket_column = $4 AND c.bucket = $5)",
        postgres_schema::kVersionColumn);
    parameters.insert(parameters.end(), counter.begin(), counter.end());
  }
  send_waiting();
  const Ticket locked = queue(kLockCounter, counter);
  const auto looked = answer(queue(sql, parameters));
  const auto counted = connection_.take(locked);
  if (!looked) return tl::unexpected(looked.error());
  if (!counted) return failed(counted.error());
  std::int64_t last = std::max(counted->integer(0, 0), looked->integer(0, 0));

  std::optional<std::string> through;
  if (has_versions && mode_ != WriteMode::serializable && looked->integer(0, 1) > kRowsLookedAtMax) {
    // The horizon is read first: what it has settled is in the look that follows it. It lies below this transaction,
    // which may still write rows of its version.
    const Ticket settled = queue("SELECT settled FROM nizhal.horizon()", {});
    const auto again = answer(queue(sql, parameters));
    const auto horizon = connection_.take(settled);
    if (!again) return tl::unexpected(again.error());
    if (!horizon) return failed(horizon.error());
    last = std::max(last, again->integer(0, 0));
    through = std::string(horizon->text(0, 0));
  }
  const std::int64_t most = number_type == ColumnType::integer ? std::numeric_limits<std::int32_t>::max()
                                                               : std::numeric_limits<std::int64_t>::max();
  if (last >= most)
    return failure(ErrorCode::invalid_args,
                   fmt::format("column \"{}\" of table \"{}\" has no higher number left", number_column, table.name));
  Parameters count_on = counter;
  count_on.emplace_back(fmt::to_string(last + 1));
  if (through) count_on.push_back(through);
  waiting_.push_back({through ? kCountOnThrough : kCountOn, std::move(count_on), 1});
  return last + 1;
}

}  // namespace nizhal::storage::pg
