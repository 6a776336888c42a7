// What the status tells of the file, kept beside it: asking costs no query and waits for no transaction.
//
// The fact that must not break: the counts are those of the last commit; what a rolled back transaction counted is
// forgotten, and what another process wrote makes them be counted anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <nizhal/store.hpp>

namespace nizhal::client {

struct FileFacts {
  Actor actor;
  std::string client_id;
  std::optional<Timestamp> last_synced;
  std::int64_t clock_offset_ms = 0;
  std::uint64_t pending = 0, dead_letters = 0, conflicts = 0;
  StoreStatus::Storage storage = StoreStatus::Storage::ok;
  std::string storage_error;
};

/// What a failure of the file means for the status; nothing when it says nothing of the file (busy, refused, …).
std::optional<StoreStatus::Storage> storage_of(ErrorCode code);

/// How many mutations are pending, how many are dead letters, and how many edits lost.
class Tally {
 public:
  struct Counts {
    std::int64_t pending = 0, dead_letters = 0, conflicts = 0;
  };
  // In a transaction
  void added_pending() { ++change_.pending; }
  void removed_pending(std::size_t count = 1) { change_.pending -= static_cast<std::int64_t>(count); }
  void added_dead_letter() { ++change_.dead_letters; }
  void removed_dead_letter() { --change_.dead_letters; }
  void added_conflict() { ++change_.conflicts; }
  void removed_conflict() { --change_.conflicts; }

  void committed() {
    counts_.pending += change_.pending;
    counts_.dead_letters += change_.dead_letters;
    counts_.conflicts += change_.conflicts;
    rolled_back();
  }
  void rolled_back() { change_ = {}; }

  /// Another process wrote.
  void forget() { is_known_ = false; }
  bool is_known() const { return is_known_; }
  /// As counted outside a transaction.
  void counted(Counts counts) {
    counts_ = counts;
    is_known_ = true;
  }
  std::uint64_t pending() const { return static_cast<std::uint64_t>(counts_.pending); }
  std::uint64_t dead_letters() const { return static_cast<std::uint64_t>(counts_.dead_letters); }
  std::uint64_t conflicts() const { return static_cast<std::uint64_t>(counts_.conflicts); }

 private:
  bool is_known_ = false;
  Counts counts_;
  Counts change_;  // of the open transaction
};

}  // namespace nizhal::client
