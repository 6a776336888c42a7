#include "workload/trial.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "domain/arguments_codec.hpp"
#include "domain/conditions.hpp"
#include "workload/bucket_columns.hpp"

namespace nizhal::workload {
namespace {

constexpr Timestamp kTrialTime{1'767'312'000'000'000};  // 2026-01-02

template <class Rows>
auto position(const TableDef& table, Rows& rows, const Value& key) {
  return std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row[table.key_index()] == key; });
}

/// Answers as the server's would, with the rows that were seen in place of its tables.
class TrialBackend : public MutatorBackend {
 public:
  explicit TrialBackend(Seen& seen) : seen_(seen) {}

  std::optional<Row> get(const TableDef& table, const Value& key, Scope) override {
    const std::vector<Row>& rows = rows_of(table);
    const auto found = position(table, rows, key);
    return found == rows.end() ? std::nullopt : std::optional<Row>(*found);
  }
  std::vector<Row> find(const QuerySpec& query, Scope) override {
    if (!query.table) return {};
    TableRows rows;
    rows[query.table->name] = rows_of(*query.table);
    auto found = evaluate(query, rows);
    if (!found) is_refused_ = true;
    return found ? *std::move(found) : std::vector<Row>{};
  }
  void insert(const TableDef& table, const Row& row, Scope scope) override {
    std::vector<Row>& rows = rows_of(table);
    if (position(table, rows, row[table.key_index()]) != rows.end()) {
      is_refused_ = true;
      return;
    }
    write(table, row, scope);
    rows.push_back(row);
  }
  void upsert(const TableDef& table, const Row& row, Scope scope) override {
    std::vector<Row>& rows = rows_of(table);
    if (const auto found = position(table, rows, row[table.key_index()]); found != rows.end()) rows.erase(found);
    write(table, row, scope);
    rows.push_back(row);
  }
  bool update(const TableDef& table, const Value& key, const std::vector<std::pair<std::size_t, Value>>& changes,
              Scope scope) override {
    std::vector<Row>& rows = rows_of(table);
    const auto found = position(table, rows, key);
    if (found == rows.end()) return false;
    if (table.append_only) is_refused_ = true;
    for (const auto& [column, value] : changes)
      if (column < found->size()) (*found)[column] = value;
    // Only what is set is merged; the rest of the row stands as it is.
    Row after = *found;
    write(table, after, scope, &changes);
    return true;
  }
  bool remove(const TableDef& table, const Value& key, Scope) override {
    std::vector<Row>& rows = rows_of(table);
    const auto found = position(table, rows, key);
    if (found == rows.end()) return false;
    if (table.append_only) is_refused_ = true;
    rows.erase(found);
    return true;
  }
  std::int64_t next_in_bucket(const TableDef&, std::string_view, std::string_view, const Value&, Scope) override {
    return ++numbers_;
  }
  Timestamp now() override { return kTrialTime; }
  std::string new_id() override { return fmt::format("00000000-0000-8000-8000-{:012x}", ++ids_); }
  const Actor& actor() const override { return seen_.actor(); }
  bool on_server() const override { return true; }
  void mark_unscoped() override {}
  void fail_usage(std::string) override { is_refused_ = true; }

  bool is_refused() const { return is_refused_; }
  std::vector<CrdtWrite> take_crdt_writes() { return std::move(crdt_writes_); }

 private:
  std::vector<Row>& rows_of(const TableDef& table) {
    const auto index = seen_.domain().table_index(table.name);
    if (!index) {
      is_refused_ = true;
      return nothing_;
    }
    const auto found = rows_.find(*index);
    return found != rows_.end() ? found->second : rows_.emplace(*index, seen_.rows(*index)).first->second;
  }
  void write(const TableDef& table, const Row& row, Scope scope,
             const std::vector<std::pair<std::size_t, Value>>* changes = nullptr) {
    const auto index = seen_.domain().table_index(table.name);
    if (!index) return;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (!is_crdt(table.columns[i].type)) continue;
      const bool is_set = !changes || std::any_of(changes->begin(), changes->end(),
                                                  [i](const auto& change) { return change.first == i; });
      if (const auto* blob = std::get_if<Blob>(&row[i]); blob && is_set)
        crdt_writes_.push_back({*index, i, row[table.key_index()], *blob});
    }
    if (scope == Scope::unscoped) return;
    for (const Bucket& bucket : seen_.domain().buckets_of(*index, row))
      if (seen_.buckets().contains(bucket.key)) return;
    is_refused_ = true;
  }

  Seen& seen_;
  std::map<std::size_t, std::vector<Row>> rows_;
  std::vector<Row> nothing_;
  std::vector<CrdtWrite> crdt_writes_;
  std::int64_t numbers_ = 0;
  std::uint64_t ids_ = 0;
  bool is_refused_ = false;
};

/// The buckets of a membership rule, from membership rows that name the actor.
void add_granted(const CompiledDomain& domain, std::size_t d, const std::vector<Row>& members, const Actor& actor,
                 std::set<std::string>& buckets) {
  const BucketDefinition& definition = domain.definitions()[d];
  const TableDef& table = *domain.domain().find_table(definition.membership_table);
  for (const Row& row : members) {
    const bool is_mine =
        std::all_of(definition.membership_filters.begin(), definition.membership_filters.end(),
                    [&](const MembershipFilter& filter) {
                      const Value& value = row[table.index_of(filter.column)];
                      if (filter.claim.empty())
                        return comparison_holds(Comparison::eq, table.columns[table.index_of(filter.column)].type,
                                                value, filter.constant);
                      return bucket_text(value) && bucket_text(value) == actor.claim(filter.claim);
                    });
    if (!is_mine) continue;
    std::vector<std::string> values;
    for (const ParameterDef& parameter : definition.parameters) {
      auto text = bucket_text(row[table.index_of(parameter.membership_column)]);
      values.push_back(text ? *std::move(text) : std::string{});
    }
    if (const auto bucket = domain.make_bucket(d, std::move(values))) buckets.insert(bucket->key);
  }
}

}  // namespace

Seen::Seen(const CompiledDomain& domain, View& view, std::size_t rows_max)
    : domain_(domain), view_(view), rows_max_(rows_max) {}

const std::vector<Row>& Seen::rows(std::size_t table) {
  const auto found = rows_.find(table);
  if (found != rows_.end()) return found->second;
  std::vector<Row>& rows = rows_[table];
  if (error_) return rows;
  auto sampled = view_.sample(table, rows_max_);
  if (sampled)
    rows = *std::move(sampled);
  else
    error_ = std::move(sampled.error());
  return rows;
}

const Row* Seen::find(std::size_t table, const Value& key) {
  for (const Row& row : rows(table))
    if (row[domain_.table(table).key_index()] == key) return &row;
  return nullptr;
}

const std::set<std::string>& Seen::buckets() {
  if (buckets_) return *buckets_;
  buckets_.emplace();
  for (std::size_t d = 0; d < domain_.definitions().size(); ++d) {
    const BucketDefinition& definition = domain_.definitions()[d];
    if (definition.is_static()) {
      if (const auto bucket = domain_.static_bucket(d, actor())) buckets_->insert(bucket->key);
      continue;
    }
    const auto members = domain_.table_index(definition.membership_table);
    if (members && domain_.is_delivered(*members)) {
      add_granted(domain_, d, rows(*members), actor(), *buckets_);
      continue;
    }
    // Memberships that no device is told of: whatever is visible is in some bucket of the actor's.
    for (const BucketTable& table : definition.tables)
      for (const Row& row : rows(table.table))
        for (const Bucket& bucket : domain_.buckets_of(table.table, row))
          if (bucket.definition == d) buckets_->insert(bucket.key);
  }
  return *buckets_;
}

Trial try_call(Seen& seen, const MutatorDef& mutator, const MutatorDef::Values& values) {
  TrialBackend backend(seen);
  // What an authorisation allows sees all rows.
  const auto scope = mutator.authorize ? MutatorBackend::Scope::unscoped : MutatorBackend::Scope::actor;
  MutatorContext context(backend, scope);
  Trial trial;
  if (mutator.authorize && !call_authorize(mutator, context, values, nullptr).is_done()) return trial;
  trial.is_applied = call_mutator(mutator, context, values, nullptr).is_done() && !backend.is_refused();
  trial.crdt_writes = backend.take_crdt_writes();
  return trial;
}

}  // namespace nizhal::workload
