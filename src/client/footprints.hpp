// What each pending mutation looked at and wrote when it last ran, and the index from rows and tables back to them: so
// that a rebase finds the few mutations that a change can reach.
//
// The fact that must not break: a mutation that is not reached would do exactly the same again. Rows are known by a
// hash, so two rows may be taken for one: that reaches too much, never too little.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nizhal/value.hpp>

namespace nizhal::client {

enum class RowId : std::uint64_t {};
enum class TableId : std::uint64_t {};
TableId table_id(std::string_view table);
RowId row_id(TableId table, const Value& key);
/// What the server calls a row that this device named: looking that up is reading, too.
RowId mapped_id(std::string_view table, std::string_view client_key);

/// Of one run.
struct Footprint {
  struct Touch {
    RowId row{};
    bool wrote = false;  // else read: found or missed
  };
  std::vector<Touch> rows;        // each row once, after tidy()
  std::vector<TableId> searched;  // a query went over them, or one of their constraints refused the run
  std::vector<TableId> written;   // of the rows written
  /// Sorts, and joins what came twice. A run whose effects were rolled back has only read.
  enum class Effects { kept, rolled_back };
  void tidy(Effects effects);
};

class Footprints {
 public:
  /// False: some pending mutation's footprint is not known (after a restart, or when another process wrote).
  bool is_complete() const { return is_complete_; }
  /// Everything pending ran since clear().
  void complete() { is_complete_ = true; }
  void forget();
  void clear();

  /// `footprint` must be tidy; replaces the one before.
  void put(std::int64_t ordinal, Footprint footprint);
  void drop(std::int64_t ordinal);
  void drop_up_to(std::int64_t ordinal);
  bool knows(std::int64_t ordinal) const { return entries_.contains(ordinal); }
  bool is_empty() const { return entries_.empty(); }

  /// Some mutation touched this row, or searched its table.
  bool meets(TableId table, RowId row) const;
  /// In order.
  std::vector<std::int64_t> writers_after(RowId row, std::int64_t ordinal) const;
  /// Mutations whose run may differ when this row does.
  void add_dependents(TableId table, RowId row, std::set<std::int64_t>& ordinals) const;
  void add_dependents(RowId row, std::set<std::int64_t>& ordinals) const;

  /// What must be taken back before these are: all later mutations that built on what they wrote and, for those that
  /// will run again, all later ones that wrote what they look at; and so on from each of those. Includes the seeds.
  struct Seeds {
    std::set<std::int64_t> leaving, running_again;
  };
  std::set<std::int64_t> closure(const Seeds& seeds) const;
  /// Later mutations that `ordinal` is connected with.
  std::set<std::int64_t> later_connected(std::int64_t ordinal) const;

  /// For a transaction that fails: did it change anything here?
  void begin() { is_changed_ = false; }
  bool is_changed() const { return is_changed_; }

 private:
  struct Use {
    std::int64_t ordinal = 0;
    bool wrote = false;
  };
  class Walk;
  void take_out(std::int64_t ordinal, const Footprint& footprint);

  bool is_complete_ = false;
  bool is_changed_ = false;
  std::map<std::int64_t, Footprint> entries_;
  std::unordered_map<RowId, std::vector<Use>> rows_;  // each list by ordinal
  std::unordered_map<TableId, std::vector<std::int64_t>> searchers_, writers_;
};

}  // namespace nizhal::client
