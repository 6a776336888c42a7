// Runs one mutator authoritatively inside a write transaction: the server's side of MutatorContext. Here lies the
// scope check (S21): what a mutator reads and writes is judged against the actor's buckets at the moment of the call.
//
// The facts that must not break: a write outside the actor's buckets refuses the whole mutation, whatever the mutator
// answers; and when storage fails, the mutation is neither done nor refused, it is to be tried again.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nizhal/conflict.hpp>
#include <nizhal/mutator.hpp>
#include <nizhal/result.hpp>

#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "server/merging.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// What a mutation did, for its audit row and the pokes.
struct MutationEffects {
  std::set<std::string> buckets;  // keys of the buckets of written rows, before and after
  std::string changes = "[]";     // JSON: [{"table","key","op","lost"?}], lost: [{"column","stamp","winner"}]
  bool unscoped = false;
  std::set<std::string> lost_buckets;  // of rows in which an edit lost, for the audit: it may have changed nothing
  struct Lost {
    Conflict conflict;        // the mutator and the mutation are the caller's to name
    bool is_in_reach = true;  // false: the row is outside the actor's buckets, and its device is told nothing of it
  };
  std::vector<Lost> conflicts;  // each column once
};

struct MutationRun {
  Outcome outcome;
  int http_status = 200;
  MutationEffects effects;
};

class MutationRunner : public MutatorBackend {
 public:
  /// The seed and the rules' stamp are the mutation's own, so that ids and time are those of the device's run (S7).
  MutationRunner(const CompiledDomain& domain, storage::WriteTransaction& transaction, const Actor& actor,
                 std::string seed, MergeRules rules, Log log);

  /// The authorisation, when the mutator has one, then its body. An error is the storage's; the transaction can
  /// then only be dropped. The caller rolls a refused mutation's writes back.
  Result<MutationRun> run(const MutatorDef& mutator, const MutatorDef::Values& values);

  std::optional<Row> get(const TableDef& table, const Value& key, Scope scope) override;
  std::vector<Row> find(const QuerySpec& query, Scope scope) override;
  void insert(const TableDef& table, const Row& row, Scope scope) override;
  void upsert(const TableDef& table, const Row& row, Scope scope) override;
  bool update(const TableDef& table, const Value& key, const std::vector<std::pair<std::size_t, Value>>& changes,
              Scope scope) override;
  bool replace(const TableDef& table, const Row& row, Scope scope) override;
  bool remove(const TableDef& table, const Value& key, Scope scope) override;
  std::int64_t next_in_bucket(const TableDef& table, std::string_view number_column, std::string_view bucket_column,
                              const Value& bucket, Scope scope) override;
  Timestamp now() override { return rules_.stamp.time(); }
  std::string new_id() override;
  const Actor& actor() const override { return actor_; }
  bool on_server() const override { return true; }
  void mark_unscoped() override { effects_.unscoped = true; }
  void fail_usage(std::string message) override;

 private:
  struct Refusal {
    std::string code, message;
    int http_status = 422;
  };
  bool stopped() const { return refusal_ || storage_error_; }
  /// Keeps the first refusal: what follows it is a consequence.
  void refuse(std::string code, std::string message, int http_status = 422);
  void refuse_scope(const TableDef& table);
  void fail(Error error);
  /// A constraint that says no refuses the mutation; every other error is the storage's.
  void fail_write(const TableDef& table, Error error);
  std::optional<std::size_t> index_of(const TableDef& table);
  bool check_row(const TableDef& table, const Row& row);
  bool in_reach(std::size_t table, const Row& row, Scope scope);
  const storage::ScopeFilter* actor_buckets();
  bool refuse_append_only(const TableDef& table);
  std::optional<Row> read(const TableDef& table, const Value& key);
  /// False: the key is taken and nothing was written, or the mutation has ended.
  bool write_insert(std::size_t index, const TableDef& table, const Row& row);
  bool write_update(std::size_t index, const TableDef& table, const Value& key, const Row& before,
                    const std::vector<std::pair<std::size_t, Value>>& changes, Scope scope);
  void note_change(std::size_t index, const TableDef& table, const Value& key, std::string_view operation,
                   const Row* before, const Row* after, std::string_view lost = {});

  // Of tables that merge (merged_writes.cpp).
  void refuse_merge(const TableDef& table, MergeRefusal refusal);
  std::optional<storage::MergeRow> read_to_merge(const TableDef& table, const Value& key);
  bool merge_insert(std::size_t index, const TableDef& table, const Row& row);
  /// As write_update; nothing: there is no such row. Of a `whole` object, only what differs counts as edited.
  std::optional<bool> merge_update(std::size_t index, const TableDef& table, const Value& key, const Changes& changes,
                                   bool whole, Scope scope);
  bool check_changes(const TableDef& table, const Value& key, const Changes& changes, Changes& checked);
  std::string note_lost(std::size_t index, const TableDef& table, const Value& key, const MergedEdit& edit);
  /// A row that this mutation made or removed has no edit of it that lost.
  void forget_conflicts(const TableDef& table, const Value& key);

  const CompiledDomain& domain_;
  storage::WriteTransaction& transaction_;
  const Actor& actor_;
  const std::string seed_;
  const MergeRules rules_;
  const Log log_;
  std::string mutator_;  // its name, for the log
  std::uint64_t ids_given_ = 0;
  std::optional<storage::ScopeFilter> buckets_;  // nothing: to be read
  std::unordered_set<std::string> bucket_keys_;
  std::optional<Refusal> refusal_;
  std::optional<Error> storage_error_;
  MutationEffects effects_;
  std::string changes_;
};

}  // namespace nizhal::server
