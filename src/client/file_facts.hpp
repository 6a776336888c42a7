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
  std::uint64_t pending = 0, dead_letters = 0;
  StoreStatus::Storage storage = StoreStatus::Storage::ok;
  std::string storage_error;
};

/// What a failure of the file means for the status; nothing when it says nothing of the file (busy, refused, …).
std::optional<StoreStatus::Storage> storage_of(ErrorCode code);

/// How many mutations are pending and how many are dead letters.
class Tally {
 public:
  // In a transaction
  void added_pending() { ++pending_change_; }
  void removed_pending(std::size_t count = 1) { pending_change_ -= static_cast<std::int64_t>(count); }
  void added_dead_letter() { ++dead_letters_change_; }
  void removed_dead_letter() { --dead_letters_change_; }

  void committed() {
    pending_ += pending_change_;
    dead_letters_ += dead_letters_change_;
    rolled_back();
  }
  void rolled_back() { pending_change_ = dead_letters_change_ = 0; }

  /// Another process wrote.
  void forget() { is_known_ = false; }
  bool is_known() const { return is_known_; }
  /// As counted outside a transaction.
  void counted(std::int64_t pending, std::int64_t dead_letters) {
    pending_ = pending;
    dead_letters_ = dead_letters;
    is_known_ = true;
  }
  std::uint64_t pending() const { return static_cast<std::uint64_t>(pending_); }
  std::uint64_t dead_letters() const { return static_cast<std::uint64_t>(dead_letters_); }

 private:
  bool is_known_ = false;
  std::int64_t pending_ = 0, dead_letters_ = 0;
  std::int64_t pending_change_ = 0, dead_letters_change_ = 0;  // of the open transaction
};

}  // namespace nizhal::client
