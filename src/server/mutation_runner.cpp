#include "server/mutation_runner.hpp"

#include <algorithm>

#include "base/ids.hpp"
#include "base/json.hpp"
#include "base/planted.hpp"
#include "base/reached.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/value_json.hpp"

namespace nizhal::server {
namespace {

constexpr std::string_view kInternal = "internal";
constexpr std::string_view kConstraintViolated = "constraint_violated";
constexpr std::string_view kNotAuthorized = "not_authorized";

Changes changes_to(const TableDef& table, const Row& row) {
  Changes changes;
  for (std::size_t column = 0; column < row.size(); ++column)
    if (column != table.key_index()) changes.emplace_back(column, row[column]);
  return changes;
}

}  // namespace

MutationRunner::MutationRunner(const CompiledDomain& domain, storage::WriteTransaction& transaction, const Actor& actor,
                               std::string seed, MergeRules rules, Log log)
    : domain_(domain),
      transaction_(transaction),
      actor_(actor),
      seed_(std::move(seed)),
      rules_(std::move(rules)),
      log_(std::move(log)) {}

Result<MutationRun> MutationRunner::run(const MutatorDef& mutator, const MutatorDef::Values& values) {
  mutator_ = mutator.name;
  MutationRun run;
  std::string thrown;
  if (mutator.authorize) {
    mark_unscoped();
    MutatorContext context(*this, Scope::unscoped);
    run.outcome = call_authorize(mutator, context, values, &thrown);
    ids_given_ = 0;  // the device does not run it, and the body's ids must be the device's
  }
  if (run.outcome.is_done() && !stopped()) {
    MutatorContext context(*this, mutator.authorize ? Scope::unscoped : Scope::actor);
    run.outcome = call_mutator(mutator, context, values, &thrown);
  }
  if (storage_error_) return tl::unexpected(*storage_error_);
  if (!thrown.empty()) log_.error("push", "mutator \"" + mutator.name + "\" threw: " + thrown);
  if (refusal_) {
    run.outcome = reject(refusal_->code, refusal_->message);
    run.http_status = refusal_->http_status;
  } else if (!run.outcome.is_done()) {
    if (!thrown.empty()) run.outcome = reject(std::string(kInternal), "the mutator failed; the server's log says why");
    if (run.outcome.code.empty()) run.outcome.code = "rejected";
    run.http_status = run.outcome.code == kNotAuthorized ? 403 : 422;
  }
  if (!run.outcome.is_done()) {
    run.effects.unscoped = effects_.unscoped;
    return run;
  }
  run.effects = std::move(effects_);
  if (!changes_.empty()) run.effects.changes = "[" + changes_ + "]";
  return run;
}

void MutationRunner::refuse(std::string code, std::string message, int http_status) {
  if (!stopped()) refusal_ = Refusal{std::move(code), std::move(message), http_status};
}

void MutationRunner::refuse_scope(const TableDef& table) {
  reached(Mark::out_of_reach_refused);
  refuse(std::string(kNotAuthorized), "table \"" + table.name + "\": the row is outside your buckets", 403);
}

void MutationRunner::fail(Error error) {
  // A wrong query is the mutator's mistake and would fail for ever; everything else is the storage's and may pass.
  if (error.code == ErrorCode::invalid_args) {
    fail_usage(std::move(error.message));
  } else if (!stopped()) {
    storage_error_ = std::move(error);
  }
}

void MutationRunner::fail_write(const TableDef& table, Error error) {
  if (error.code != ErrorCode::constraint_violated) return fail(std::move(error));
  if (stopped()) return;
  // The same write would fail for ever. The database's words may quote its schema, so only the log has them.
  log_.warning("push",
               "mutator \"" + mutator_ + "\" met a constraint of table \"" + table.name + "\": " + error.message);
  refuse(std::string(kConstraintViolated),
         "table \"" + table.name + "\": the write breaks a constraint of the server's database");
}

void MutationRunner::fail_usage(std::string message) {
  if (stopped()) return;
  log_.error("push", "mutator \"" + mutator_ + "\" is wrong: " + message);
  refuse(std::string(kInternal), "the mutator failed; the server's log says why");
}

std::optional<std::size_t> MutationRunner::index_of(const TableDef& table) {
  const auto index = domain_.table_index(table.name);
  if (!index) fail_usage("table \"" + table.name + "\" is not part of the domain; add it with Domain::add");
  return index;
}

bool MutationRunner::check_row(const TableDef& table, const Row& row) {
  if (row.size() != table.columns.size()) {
    fail_usage("table \"" + table.name + "\": a row has another number of values than the table has columns");
    return false;
  }
  std::string why;
  for (std::size_t column = 0; column < row.size(); ++column) {
    if (check_value(table.columns[column], row[column], &why)) continue;
    refuse("invalid_row", "table \"" + table.name + "\", column \"" + table.columns[column].name + "\": " + why);
    return false;
  }
  return true;
}

const storage::ScopeFilter* MutationRunner::actor_buckets() {
  if (!buckets_) {
    auto grants = transaction_.grants(actor_);
    if (!grants) {
      fail(std::move(grants.error()));
      return nullptr;
    }
    buckets_.emplace();
    bucket_keys_.clear();
    for (storage::Grant& grant : *grants) {
      if (bucket_keys_.insert(grant.bucket.key).second) buckets_->push_back(std::move(grant.bucket));
    }
  }
  return &*buckets_;
}

bool MutationRunner::in_reach(std::size_t table, const Row& row, Scope scope) {
  if (scope == Scope::unscoped) return true;
  if (!actor_buckets()) return false;
  const auto buckets = domain_.buckets_of(table, row);
  return std::any_of(buckets.begin(), buckets.end(),
                     [&](const Bucket& bucket) { return bucket_keys_.contains(bucket.key); });
}

std::optional<Row> MutationRunner::read(const TableDef& table, const Value& key) {
  auto row = transaction_.get(table, key);
  if (!row) {
    fail(std::move(row.error()));
    return std::nullopt;
  }
  return std::move(*row);
}

std::optional<Row> MutationRunner::get(const TableDef& table, const Value& key, Scope scope) {
  if (stopped()) return std::nullopt;
  const auto index = index_of(table);
  if (!index) return std::nullopt;
  auto row = read(table, key);
  if (!row || !in_reach(*index, *row, scope)) return std::nullopt;
  return row;
}

std::vector<Row> MutationRunner::find(const QuerySpec& query, Scope scope) {
  if (stopped() || !query.table || !index_of(*query.table)) return {};
  const storage::ScopeFilter* filter = nullptr;
  if (scope == Scope::actor) {
    filter = actor_buckets();
    if (!filter || filter->empty()) return {};
  }
  auto rows = transaction_.find(query, filter);
  if (!rows) {
    fail(std::move(rows.error()));
    return {};
  }
  return std::move(*rows);
}

bool MutationRunner::write_insert(std::size_t index, const TableDef& table, const Row& row) {
  if (merges(table)) return merge_insert(index, table, row);
  const auto inserted = transaction_.insert(table, row);
  if (!inserted) {
    fail_write(table, inserted.error());
    return false;
  }
  if (*inserted) note_change(index, table, row[table.key_index()], "insert", nullptr, &row);
  return *inserted;
}

void MutationRunner::insert(const TableDef& table, const Row& row, Scope scope) {
  if (stopped()) return;
  const auto index = index_of(table);
  if (!index || !check_row(table, row)) return;
  // Judged before it is written: a membership row must not vouch for itself.
  if (!in_reach(*index, row, scope)) return refuse_scope(table);
  if (write_insert(*index, table, row) || stopped()) return;
  const auto existing = read(table, row[table.key_index()]);
  if (existing && !in_reach(*index, *existing, scope)) return refuse_scope(table);
  refuse("already_exists", "table \"" + table.name + "\": there is a row with this key");
}

void MutationRunner::upsert(const TableDef& table, const Row& row, Scope scope) {
  if (stopped()) return;
  const auto index = index_of(table);
  if (!index || !check_row(table, row)) return;
  const Value& key = row[table.key_index()];
  bool exists = false;
  if (merges(table)) {
    exists = merge_update(*index, table, key, changes_to(table, row), true, scope).has_value();
  } else if (const auto existing = read(table, key)) {
    exists = true;
    write_update(*index, table, key, *existing, changes_to(table, row), scope);
  }
  if (exists || stopped()) return;
  if (!in_reach(*index, row, scope)) return refuse_scope(table);
  write_insert(*index, table, row);
}

bool MutationRunner::update(const TableDef& table, const Value& key,
                            const std::vector<std::pair<std::size_t, Value>>& changes, Scope scope) {
  if (stopped()) return false;
  const auto index = index_of(table);
  if (!index) return false;
  if (merges(table)) return merge_update(*index, table, key, changes, false, scope).value_or(false);
  const auto existing = read(table, key);
  if (stopped() || !existing) return false;
  return write_update(*index, table, key, *existing, changes, scope);
}

bool MutationRunner::replace(const TableDef& table, const Row& row, Scope scope) {
  if (!merges(table)) return MutatorBackend::replace(table, row, scope);
  if (stopped()) return false;
  const auto index = index_of(table);
  if (!index || !check_row(table, row)) return false;
  return merge_update(*index, table, row[table.key_index()], changes_to(table, row), true, scope).value_or(false);
}

bool MutationRunner::refuse_append_only(const TableDef& table) {
  if (!table.append_only) return false;
  refuse("append_only", "table \"" + table.name + "\" is append-only: its rows are never changed");
  return true;
}

/// Without the key, when it is given as it is.
bool MutationRunner::check_changes(const TableDef& table, const Value& key, const Changes& changes, Changes& checked) {
  for (const auto& [column, value] : changes) {
    if (column >= table.columns.size()) {
      fail_usage("table \"" + table.name + "\": an update names a column that the table lacks");
      return false;
    }
    if (column == table.key_index()) {
      if (value == key) continue;
      fail_usage("table \"" + table.name + "\": the key cannot be updated; remove the row and insert another");
      return false;
    }
    checked.emplace_back(column, value);
  }
  return true;
}

bool MutationRunner::write_update(std::size_t index, const TableDef& table, const Value& key, const Row& before,
                                  const std::vector<std::pair<std::size_t, Value>>& changes, Scope scope) {
  if (!in_reach(index, before, scope)) {
    if (is_planted(Planted::leak_in_a_refusal)) refuse("not_authorized", key_text(before.back()), 403);
    refuse_scope(table);
    return false;
  }
  if (refuse_append_only(table)) return false;
  Row after = before;
  Changes written;
  if (!check_changes(table, key, changes, written)) return false;
  for (const auto& [column, value] : written) after[column] = value;
  if (!check_row(table, after)) return false;
  if (!in_reach(index, after, scope)) {
    refuse_scope(table);
    return false;
  }
  if (stopped() || written.empty()) return !stopped();
  const auto updated = transaction_.update(table, key, written);
  if (!updated) {
    fail_write(table, updated.error());
    return false;
  }
  note_change(index, table, key, "update", &before, &after);
  return true;
}

bool MutationRunner::remove(const TableDef& table, const Value& key, Scope scope) {
  if (stopped()) return false;
  const auto index = index_of(table);
  if (!index) return false;
  const auto existing = read(table, key);
  if (stopped() || !existing) return false;
  if (!in_reach(*index, *existing, scope)) {
    if (is_planted(Planted::leak_in_a_refusal)) refuse("not_authorized", key_text(existing->back()), 403);
    refuse_scope(table);
    return false;
  }
  if (refuse_append_only(table)) return false;
  const auto removed = transaction_.remove(table, key);
  if (!removed) {
    fail_write(table, removed.error());
    return false;
  }
  forget_conflicts(table, key);
  note_change(*index, table, key, "remove", &*existing, nullptr);
  return true;
}

std::int64_t MutationRunner::next_in_bucket(const TableDef& table, std::string_view number_column,
                                            std::string_view bucket_column, const Value& bucket, Scope scope) {
  if (stopped() || !index_of(table)) return 0;
  if (scope == Scope::actor) {
    // Where the grouping column is also what puts rows into buckets, the group must be one of the actor's: numbers
    // tell how much another group has, and taking one leaves a hole there.
    const auto* buckets = actor_buckets();
    if (!buckets) return 0;
    const auto text = bucket_text(bucket);
    bool scoped = false, reachable = false;
    for (std::size_t definition = 0; definition < domain_.definitions().size(); ++definition) {
      for (const BucketTable& entry : domain_.definitions()[definition].tables) {
        if (domain_.table(entry.table).name != table.name) continue;
        for (std::size_t parameter = 0; parameter < entry.parameter_columns.size(); ++parameter) {
          if (entry.parameter_columns[parameter] != bucket_column) continue;
          scoped = true;
          reachable = reachable || std::any_of(buckets->begin(), buckets->end(), [&](const Bucket& granted) {
                        return granted.definition == definition && text && granted.values[parameter] == *text;
                      });
        }
      }
    }
    if (scoped && !reachable) {
      refuse_scope(table);
      return 0;
    }
  }
  const auto number = transaction_.next_number(table, number_column, bucket_column, bucket);
  if (!number) {
    fail(number.error());
    return 0;
  }
  return *number;
}

std::string MutationRunner::new_id() { return derived_uuid(seed_, ids_given_++); }

void MutationRunner::note_change(std::size_t index, const TableDef& table, const Value& key, std::string_view operation,
                                 const Row* before, const Row* after, std::string_view lost) {
  for (const Row* row : {before, after}) {
    if (!row) continue;
    for (const Bucket& bucket : domain_.buckets_of(index, *row)) effects_.buckets.insert(bucket.key);
  }
  if (domain_.is_membership(index)) buckets_.reset();
  if (!changes_.empty()) changes_ += ',';
  changes_ += R"({"table":)";
  append_json_string(changes_, table.name);
  changes_ += R"(,"key":)";
  append_json_string(changes_, key_text(key));
  changes_ += R"(,"op":)";
  append_json_string(changes_, operation);
  if (!lost.empty()) changes_.append(R"(,"lost":)").append(lost);
  changes_ += '}';
}

}  // namespace nizhal::server
