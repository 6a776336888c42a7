#include "client/mutation_run.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "client/crdt_columns.hpp"
#include "client/rebase.hpp"
#include "client/row_writer.hpp"
#include "crdt/column.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/upcast.hpp"
#include "domain/value_json.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client {
namespace {

/// What the server calls the row, when it gave it another key (S7).
Result<std::optional<std::string>> mapped_key(StoreState& state, std::string_view table, std::string_view client_key,
                                              std::string_view only_of_mutation) {
  auto select = state.connection->prepare(
      "SELECT server_key FROM nizhal_id_map WHERE table_name = ?1 AND client_key = ?2 AND (?3 = '' OR "
      "client_mutation_id = ?3)");
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, table).bind_text(2, client_key).bind_text(3, only_of_mutation);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return std::optional<std::string>();
  return std::optional<std::string>(select->text(0));
}

/// Arguments that name rows under this device's ids name them under the server's. The mutation that made the row
/// itself makes it under the server's id too, so that what depends on it still finds it.
Result<void> resolve_ids(StoreState& state, const MutatorDef& mutator, const outbox::Entry& entry,
                         MutatorDef::Values& values, Footprint& footprint) {
  if (!state.has_id_map) {
    auto found = state.connection->query_integer("SELECT 1 FROM nizhal_id_map LIMIT 1");
    if (!found) return tl::unexpected(found.error());
    state.has_id_map = found->has_value();
  }
  for (std::size_t i = 0; i < mutator.arguments.size() && i < values.size(); ++i) {
    const ArgumentDef& argument = mutator.arguments[i];
    const bool names_row = !argument.references.empty();
    const std::string& table_name = names_row ? argument.references : argument.new_id_of;
    if (table_name.empty() || is_null(values[i])) continue;
    const std::string client_key = key_text(values[i]);
    footprint.rows.push_back({mapped_id(table_name, client_key), false});
    if (!*state.has_id_map) continue;
    auto key = mapped_key(state, table_name, client_key, names_row ? "" : entry.client_mutation_id);
    if (!key) return tl::unexpected(key.error());
    if (!*key) continue;
    const TableDef* table = state.domain().domain().find_table(table_name);
    if (!table) continue;
    if (auto value = key_from_text(*table, **key)) values[i] = std::move(*value);
  }
  return {};
}

Result<Outcome> run_in_savepoint(StoreState& state, const outbox::Entry& entry, const MutatorDef& mutator,
                                 const MutatorDef::Values& values, Footprint& footprint) {
  const auto stamp = parse_hlc(entry.hlc);
  MutationRun run(state, entry.ordinal, stamp ? stamp->time() : state.now(), entry.id_seed, footprint);
  MutatorContext context(run);
  std::string thrown;
  Outcome outcome = call_mutator(mutator, context, values, &thrown);
  if (!thrown.empty()) state.log.error("mutate", fmt::format("mutator \"{}\" threw: {}", entry.name, thrown));
  if (run.failed()) return tl::unexpected(*run.failed());
  if (run.refused()) return *run.refused();
  return outcome;
}

/// A prepared statement: it runs for every mutation.
Result<void> execute(StoreState& state, std::string_view sql) {
  auto statement = state.connection->prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  return statement->run();
}

Result<Outcome> run(StoreState& state, const outbox::Entry& entry, const MutatorDef& mutator, MutatorDef::Values values,
                    Effects effects, Footprint& footprint) {
  if (auto resolved = resolve_ids(state, mutator, entry, values, footprint); !resolved)
    return tl::unexpected(resolved.error());

  if (auto begun = execute(state, "SAVEPOINT nizhal_run"); !begun) return tl::unexpected(begun.error());
  auto outcome = run_in_savepoint(state, entry, mutator, values, footprint);
  // After a failure the whole transaction is dropped, so only a refusal needs its own way back.
  if (!outcome) return outcome;
  if (!state.connection->in_transaction())  // RAISE(ROLLBACK) took the savepoint along
    return failure(ErrorCode::refused, fmt::format("{}: {}", outcome->code, outcome->message));
  const bool is_kept = outcome->is_done() && effects == Effects::kept;
  if (!is_kept) {
    if (auto back = execute(state, "ROLLBACK TO nizhal_run"); !back) return tl::unexpected(back.error());
  }
  if (auto ended = execute(state, "RELEASE nizhal_run"); !ended) return tl::unexpected(ended.error());
  footprint.tidy(is_kept ? Footprint::Effects::kept : Footprint::Effects::rolled_back);
  return outcome;
}

Result<Outcome> run_as_kept(StoreState& state, const outbox::Entry& entry, Footprint& footprint) {
  const MutatorDef* mutator = state.domain().domain().find_mutator(entry.name);
  if (!mutator) return reject("unknown_mutator", fmt::format("this domain has no mutator \"{}\"", entry.name));
  auto args = parse_json(entry.args);
  if (!args) return reject("invalid_args", args.error().message);
  // Of a newer app: kept and sent, but nobody here can say what it does.
  auto values = decode_arguments_of(*mutator, entry.args_version, *args);
  if (!values) return std::move(values.error());
  return run(state, entry, *mutator, std::move(*values), Effects::kept, footprint);
}

}  // namespace

Result<Outcome> run_entry(StoreState& state, const outbox::Entry& entry, const MutatorDef& mutator,
                          MutatorDef::Values values, Effects effects) {
  // What left the outbox in this transaction is not to be seen, and its ordinal may be this one.
  if (auto settled = settle_marks(state); !settled) return tl::unexpected(settled.error());
  Footprint footprint;
  auto outcome = run(state, entry, mutator, std::move(values), effects, footprint);
  if (outcome && outcome->is_done() && effects == Effects::kept)
    state.footprints.put(entry.ordinal, std::move(footprint));
  return outcome;
}

Result<Outcome> rerun_entry(StoreState& state, const outbox::Entry& entry) {
  Footprint footprint;
  auto outcome = run_as_kept(state, entry, footprint);
  if (outcome) state.footprints.put(entry.ordinal, std::move(footprint));
  return outcome;
}

MutationRun::MutationRun(StoreState& state, std::int64_t ordinal, Timestamp now, std::string id_seed,
                         Footprint& footprint)
    : state_(state), ordinal_(ordinal), now_(now), id_seed_(std::move(id_seed)), footprint_(footprint) {}

void MutationRun::refuse(std::string code, std::string message) {
  if (!stopped()) refused_ = reject(std::move(code), std::move(message));
}

void MutationRun::fail(Error error) {
  if (!stopped()) failed_ = std::move(error);
}

void MutationRun::fail_write(const TableDef& table, const Error& error) {
  if (error.code != ErrorCode::constraint_violated) return fail(error);
  if (stopped()) return;
  // Which rows stand in the way is not known, nor of which table: a trigger may look anywhere.
  for (const auto& any : state_.domain().tables()) note_searched(*any);
  state_.log.warning("mutate", fmt::format("a constraint of table \"{}\" was met: {}", table.name, error.message));
  refuse(to_string(error.code), fmt::format("table \"{}\": the write breaks a constraint of the file", table.name));
}

const TableDef* MutationRun::resolve(const TableDef& table) {
  const TableDef* own = state_.domain().domain().find_table(table.name);
  if (!own) refuse("internal", fmt::format("table \"{}\" is not registered in this domain", table.name));
  return own;
}

const TableDef* MutationRun::resolve(const TableDef& table, const Value& key) {
  const TableDef* own = resolve(table);
  std::string why;
  if (!own || !check_value(own->key_column(), key, &why)) return nullptr;
  note_read(*own, key);
  return own;
}

bool MutationRun::check_row(const TableDef& table, const Row& row) {
  if (row.size() != table.columns.size()) {
    refuse("internal", fmt::format("a row of \"{}\" must have {} values", table.name, table.columns.size()));
    return false;
  }
  std::string why;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (check_value(table.columns[i], row[i], &why)) continue;
    refuse("internal", fmt::format("{}.{} {}", table.name, table.columns[i].name, why));
    return false;
  }
  return true;
}

bool MutationRun::check_changeable(const TableDef& table, const char* what) {
  if (table.append_only)
    refuse("append_only", fmt::format("\"{}\" is append-only: its rows are never {}", table.name, what));
  return !table.append_only;
}

bool MutationRun::merge(const TableDef& table, const Result<void>& merged) {
  if (merged) return true;
  const char* code = crdt::refusal_of(merged.error());
  if (merged.error().code != ErrorCode::bad_request && merged.error().code != ErrorCode::invalid_args)
    state_.log.error("mutate", fmt::format("table \"{}\": {}", table.name, merged.error().message));
  refuse(code, fmt::format("table \"{}\", {}", table.name, merged.error().message));
  return false;
}

void MutationRun::note_read(const TableDef& table, const Value& key) {
  footprint_.rows.push_back({row_id(table_id(table.name), key), false});
}

void MutationRun::note_written(const TableDef& table, const Value& key) {
  const TableId id = table_id(table.name);
  footprint_.rows.push_back({row_id(id, key), true});
  footprint_.written.push_back(id);
}

void MutationRun::note_searched(const TableDef& table) { footprint_.searched.push_back(table_id(table.name)); }

std::optional<Row> MutationRun::row_now(const TableDef& table, const Value& key) {
  auto row = sqlite::select_row(*state_.connection, table, key);
  if (row) return std::move(*row);
  fail(row.error());
  return std::nullopt;
}

bool MutationRun::remember(const TableDef& table, const Value& key, const std::optional<Row>& before) {
  note_written(table, key);
  auto insert = state_.connection->prepare(
      "INSERT OR IGNORE INTO nizhal_undo(ordinal, table_name, key, before) VALUES(?1, ?2, ?3, ?4)");
  if (!insert) {
    fail(insert.error());
    return false;
  }
  insert->bind(1, ordinal_).bind_text(2, table.name).bind_text(3, key_text(key));
  if (before) {
    std::string image;
    append_row_json(image, table, *before);
    insert->bind_text(4, image);
  } else {
    insert->bind_null(4);
  }
  if (auto done = insert->run(); !done) {
    fail(done.error());
    return false;
  }
  return true;
}

bool MutationRun::wrote(const TableDef& table, const Result<bool>& written) {
  if (!written) fail_write(table, written.error());
  return written.value_or(false);
}

std::optional<Row> MutationRun::get(const TableDef& table, const Value& key, Scope) {
  if (stopped()) return std::nullopt;
  const TableDef* own = resolve(table, key);
  if (!own) return std::nullopt;
  return row_now(*own, key);
}

std::vector<Row> MutationRun::find(const QuerySpec& query, Scope) {
  if (stopped()) return {};
  const TableDef* own = query.table ? resolve(*query.table) : nullptr;
  if (!own) {
    refuse("internal", "a query without a table");
    return {};
  }
  QuerySpec resolved = query;
  resolved.table = own;
  note_searched(*own);
  auto rows = sqlite::select_rows(*state_.connection, resolved);
  if (!rows) {
    if (rows.error().code == ErrorCode::invalid_args) {
      refuse("internal", rows.error().message);
    } else {
      fail(rows.error());
    }
    return {};
  }
  return std::move(*rows);
}

void MutationRun::insert(const TableDef& table, const Row& row, Scope) {
  if (stopped()) return;
  const TableDef* own = resolve(table);
  if (!own || !check_row(*own, row)) return;
  const Value& key = row[own->key_index()];
  note_read(*own, key);
  std::optional<Row> made;
  if (own->has_crdt() && !merge(*own, crdt_columns::merge_written(*own, nullptr, made.emplace(row)))) return;
  auto inserted = row_writer::insert(state_, *own, made ? *made : row);
  if (!inserted) return fail_write(*own, inserted.error());
  if (!*inserted)
    return refuse("already_exists", fmt::format("there is already a row with this key in \"{}\"", own->name));
  remember(*own, key, std::nullopt);
}

void MutationRun::upsert(const TableDef& table, const Row& row, Scope) {
  if (stopped()) return;
  const TableDef* own = resolve(table);
  if (!own || !check_row(*own, row)) return;
  const Value& key = row[own->key_index()];
  note_read(*own, key);
  const std::optional<Row> before = row_now(*own, key);
  if (stopped() || (before && !check_changeable(*own, "changed"))) return;
  std::optional<Row> made;
  if (own->has_crdt() &&
      !merge(*own, crdt_columns::merge_written(*own, before ? &*before : nullptr, made.emplace(row))))
    return;
  if (!remember(*own, key, before)) return;
  if (auto done = row_writer::upsert(state_, *own, made ? *made : row, &before); !done) fail_write(*own, done.error());
}

bool MutationRun::update(const TableDef& table, const Value& key,
                         const std::vector<std::pair<std::size_t, Value>>& changes, Scope) {
  if (stopped()) return false;
  const TableDef* own = resolve(table, key);
  if (!own || !check_changeable(*own, "changed")) return false;
  std::string why;
  for (const auto& [column, value] : changes) {
    if (column < own->columns.size() && column != own->key_index() && check_value(own->columns[column], value, &why))
      continue;
    refuse("internal", column < own->columns.size()
                           ? fmt::format("update of {}.{}: {}", own->name, own->columns[column].name,
                                         why.empty() ? "the key cannot be set" : why)
                           : fmt::format("update of \"{}\": no such column", own->name));
    return false;
  }
  const std::optional<Row> before = row_now(*own, key);
  if (!before) return false;
  if (changes.empty()) return true;
  if (!own->has_crdt())
    return remember(*own, key, before) && wrote(*own, row_writer::update(state_, *own, key, changes, &before));
  std::vector<std::pair<std::size_t, Value>> merged = changes;
  return merge(*own, crdt_columns::merge_changes(*own, *before, merged)) && remember(*own, key, before) &&
         wrote(*own, row_writer::update(state_, *own, key, merged, &before));
}

bool MutationRun::replace(const TableDef& table, const Row& row, Scope) {
  if (stopped()) return false;
  const TableDef* own = resolve(table);
  if (!own || !check_row(*own, row) || !check_changeable(*own, "changed")) return false;
  const Value& key = row[own->key_index()];
  note_read(*own, key);
  const std::optional<Row> before = row_now(*own, key);
  if (!before) return false;
  Row made = row;
  if (own->has_crdt() && !merge(*own, crdt_columns::merge_written(*own, &*before, made))) return false;
  std::vector<std::pair<std::size_t, Value>> changes;
  for (std::size_t i = 0; i < made.size(); ++i)
    if (made[i] != (*before)[i]) changes.emplace_back(i, std::move(made[i]));
  if (changes.empty()) return true;
  return remember(*own, key, before) && wrote(*own, row_writer::update(state_, *own, key, changes, &before));
}

bool MutationRun::remove(const TableDef& table, const Value& key, Scope) {
  if (stopped()) return false;
  const TableDef* own = resolve(table, key);
  if (!own || !check_changeable(*own, "removed")) return false;
  const std::optional<Row> before = row_now(*own, key);
  return before && remember(*own, key, before) && wrote(*own, row_writer::remove(state_, *own, key, &before));
}

std::int64_t MutationRun::next_in_bucket(const TableDef& table, std::string_view number_column,
                                         std::string_view bucket_column, const Value& bucket, Scope scope) {
  QuerySpec highest;
  highest.table = &table;
  highest.conditions.push_back({std::string(bucket_column), Comparison::eq, bucket, true});
  highest.conditions.push_back(is_not_null(std::string(number_column)));
  highest.order.push_back({std::string(number_column), Direction::descending});
  highest.limit = 1;
  const std::vector<Row> rows = find(highest, scope);
  if (stopped()) return 0;
  const std::size_t column = table.index_of(number_column);
  if (rows.empty() || column >= rows.front().size()) return 1;
  const auto* last = std::get_if<std::int64_t>(&rows.front()[column]);
  if (!last) {
    refuse("internal", fmt::format("next_in_bucket: {}.{} is no integer column", table.name, number_column));
    return 0;
  }
  return *last + 1;
}

std::string MutationRun::new_id() {
  // The count goes on after a stop, so that the n-th call stays the n-th.
  return derived_uuid(id_seed_, ids_made_++);
}

}  // namespace nizhal::client
