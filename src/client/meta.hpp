// nizhal_meta: the device's few facts that are not rows, as text by name. Read once, cached, written through.
//
// The fact that must not break: what the cache says inside a transaction is undone with it, from memory: after a disk
// error the file may not be readable, and a cursor that was never committed would skip rows. And what another process
// wrote is read again before it is used (LocalStore::State::notice_others).
// Lazy facts (the cursor of an idle pull) may be lost by a crash: losing them only costs repeats.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nizhal/result.hpp>

#include "sqlite/connection.hpp"

namespace nizhal::client {

namespace meta_key {
inline constexpr std::string_view kFormat = "format";       // version of the control tables
inline constexpr std::string_view kDomain = "domain";       // its name
inline constexpr std::string_view kClientId = "client_id";  // a UUID; new after a clone was noticed (S19)
inline constexpr std::string_view kActor = "actor";         // JSON {userId, ownerId, claims}
inline constexpr std::string_view kServer = "server";       // address
inline constexpr std::string_view kSchema = "schema";       // JSON: the app tables as they are in this file
inline constexpr std::string_view kDeclared =
    "declared";                                        // JSON: tables and fingerprints of the domain last opened with
inline constexpr std::string_view kCursor = "cursor";  // of the last applied page
inline constexpr std::string_view kStagedCursor = "staged_cursor";  // of the last staged page
inline constexpr std::string_view kEpoch = "epoch";                 // of the applied pages
inline constexpr std::string_view kStagedEpoch = "staged_epoch";    // of the staged pages: another one after a reset
inline constexpr std::string_view kBuckets = "covered_buckets";     // JSON array of bucket keys
inline constexpr std::string_view kHeldRules =
    "held_rules";  // JSON array: rules of which the last complete pull was asked for every bucket
inline constexpr std::string_view kSyncState = "first_sync";  // see SyncState
inline constexpr std::string_view kLastGiven = "last_given_mutation_id";
inline constexpr std::string_view kConfirmedId = "last_confirmed_mutation_id";
inline constexpr std::string_view kConfirmedClientId = "last_confirmed_client_mutation_id";
/// Ordinal: what is pending up to here may be in the server's rows under a client id of before (S19); "0": nothing is.
inline constexpr std::string_view kPushFirst = "push_before_pull";
inline constexpr std::string_view kLastHlc = "last_hlc";
inline constexpr std::string_view kSeenHlc = "seen_hlc";  // the highest of the stamps that pulls brought
inline constexpr std::string_view kClockOffset = "clock_offset_ms";
inline constexpr std::string_view kServerTime = "last_server_time";
inline constexpr std::string_view kStorageTried = "storage_tried";  // when a failing file was last tried (S11)
inline constexpr std::string_view kLastSynced = "last_synced";
inline constexpr std::string_view kSyncAsked = "sync_asked";  // number of the latest request
inline constexpr std::string_view kHolder = "holder";  // JSON: how the handle that syncs stands, see sync_requests.cpp
inline constexpr std::string_view kSyncAnswered = "sync_answered";  // JSON: its latest answer, see sync_requests.cpp
}  // namespace meta_key

class Meta {
 public:
  explicit Meta(sqlite::Connection& connection) : connection_(&connection) {}
  /// Changes nothing here when it fails. A lazy fact that another process has written meanwhile is dropped: the
  /// file's is the newer one.
  [[nodiscard]] Result<void> load();
  /// A transaction begins: roll_back() goes back to here.
  void begin();
  void roll_back();
  /// Empty when absent.
  const std::string& get(std::string_view key) const;
  /// 0 when absent or no number.
  std::int64_t integer(std::string_view key) const;
  [[nodiscard]] Result<void> set(std::string_view key, std::string_view value);
  [[nodiscard]] Result<void> set(std::string_view key, std::int64_t value);
  /// Kept in memory until the next flush.
  void set_lazy(std::string_view key, std::string_view value);
  bool has_lazy() const { return !lazy_.empty(); }
  [[nodiscard]] Result<void> flush();
  /// Whether a fact may have changed since this was asked last; true the first time.
  bool take_changed() { return std::exchange(has_changed_, false); }

 private:
  [[nodiscard]] Result<void> write(std::string_view key, std::string_view value);
  sqlite::Connection* connection_;
  using Values = std::map<std::string, std::string, std::less<>>;
  Values values_;
  Values lazy_;
  std::map<std::string, std::optional<std::string>, std::less<>> before_;  // what the open transaction replaced
  Values lazy_before_;
  bool has_changed_ = true;
};

}  // namespace nizhal::client
