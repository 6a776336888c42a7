// One run of a mutator on the device: its door to the app's tables, and the recorder of before-images.
//
// Place in the loop: mutate and rebase run mutators through it. The fact that must not break: before a run first
// touches a row, the row's image is in nizhal_undo, in the same transaction; so undoing is exact (S3).
#pragma once

#include <optional>
#include <string>

#include <nizhal/mutator.hpp>

#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client {

/// Runs a new entry's mutator inside a savepoint of the open transaction; `values` are its arguments, checked. A
/// refusal leaves no trace; the error is a failure of the storage, or `refused` when a trigger's RAISE(ROLLBACK) ended
/// the transaction. `only_tried`: it leaves no trace in any case.
enum class Effects { kept, only_tried };
[[nodiscard]] Result<Outcome> run_entry(StoreState& state, const outbox::Entry& entry, const MutatorDef& mutator,
                                        MutatorDef::Values values, Effects effects);
/// The same for a rebase, with the arguments that the entry keeps: arguments that do not fit, and a mutator that this
/// domain lacks, refuse the run. A refused run stays known by what it looked at, which may change.
[[nodiscard]] Result<Outcome> rerun_entry(StoreState& state, const outbox::Entry& entry);

class MutationRun : public MutatorBackend {
 public:
  /// Adds what it looks at and writes to `footprint`.
  MutationRun(StoreState& state, std::int64_t ordinal, Timestamp now, std::string id_seed, Footprint& footprint);

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
  Timestamp now() override { return now_; }
  std::string new_id() override;
  const Actor& actor() const override { return state_.actor; }
  bool on_server() const override { return false; }
  void mark_unscoped() override {}
  void fail_usage(std::string message) override { refuse("internal", std::move(message)); }

  const std::optional<Error>& failed() const { return failed_; }
  const std::optional<Outcome>& refused() const { return refused_; }

 private:
  bool stopped() const { return failed_ || refused_; }
  void refuse(std::string code, std::string message);
  void fail(Error error);
  /// A constraint or trigger that the app added refuses the run; every other error is the storage's.
  void fail_write(const TableDef& table, const Error& error);
  /// The domain's own definition of the table, or nothing when it has none (then the run is refused).
  const TableDef* resolve(const TableDef& table);
  /// The same for a call that names a row, which the run then depends on. A key of the wrong shape names none.
  const TableDef* resolve(const TableDef& table, const Value& key);
  bool check_row(const TableDef& table, const Row& row);
  /// Refuses what would change or remove a row of an append-only table; `what` ends the sentence "its rows are never".
  bool check_changeable(const TableDef& table, const char* what);
  /// What is written into CRDT columns becomes what they come to; a refusal when it cannot be merged.
  bool merge(const TableDef& table, const Result<void>& merged);
  /// Takes down that the run's outcome depends on this row, there or not.
  void note_read(const TableDef& table, const Value& key);
  void note_written(const TableDef& table, const Value& key);
  void note_searched(const TableDef& table);
  /// The row as it is; nothing when it is not there, or cannot be read (then the run failed).
  std::optional<Row> row_now(const TableDef& table, const Value& key);
  /// Keeps the row's image unless this run already has it.
  bool remember(const TableDef& table, const Value& key, const std::optional<Row>& before);
  bool wrote(const TableDef& table, const Result<bool>& written);

  StoreState& state_;
  std::int64_t ordinal_;
  Timestamp now_;
  std::string id_seed_;
  Footprint& footprint_;
  std::uint64_t ids_made_ = 0;
  std::optional<Error> failed_;
  std::optional<Outcome> refused_;
};

}  // namespace nizhal::client
