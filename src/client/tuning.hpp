// All tunables of the device's sync, with their units and reasons.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace nizhal::client {

struct Tuning {
  std::size_t push_mutations_max = 100;  // per request: what the server runs in one database transaction
  std::size_t push_body_bytes_max =
      512 << 10;                    // bytes; half of the server's default limit, so that headers never decide
  unsigned pushes_in_row_max = 10;  // before a pull that is wanted gets its turn
  std::size_t pull_limit = 1'000;   // rows per page: some milliseconds of decoding on a phone
  std::chrono::milliseconds request_timeout{30'000};     // the server answers within 10 s; the rest is a slow network
  std::chrono::milliseconds backoff_base{500};           // first retry at most this late
  std::chrono::milliseconds backoff_max{60'000};         // what a user still takes for "it noticed by itself"
  std::chrono::milliseconds reconnect_base{2'000};       // socket: full jitter over it spreads a server's restart
  std::chrono::milliseconds connect_timeout{20'000};     // of the socket, its upgrade included; then it is tried again
  std::chrono::milliseconds stable_after{30'000};        // a socket that was open for less counts as a failure too
  std::chrono::milliseconds heartbeat_interval{25'000};  // of silence before a ping: half of what proxies and NATs bear
  std::chrono::milliseconds pong_timeout{10'000};        // of silence after it: then the socket is dead
  std::chrono::milliseconds catch_up_spread{5'000};      // the pull after a reconnect: all devices lost the same server
  std::int64_t poked_interval_factor = 10;               // pulls by the clock are this much rarer with an open socket
  unsigned backoff_doublings_max = 16;                   // keeps the shift defined; the cap is reached long before
  unsigned busy_retries_of_sync = 5;                     // a "sync now" bears this many 503s in a row before it fails
  unsigned renumberings_max = 4;  // in a row without an outcome; more means that both sides disagree
  std::chrono::milliseconds presence_interval{15'000};  // the server forgets whoever it has not heard of for 30 s
  std::int64_t interval_jitter_percent = 10;            // of the pull interval: devices started together drift apart
};

/// How often a handle looks whether others wrote to its file: one PRAGMA, some microseconds. What another process
/// writes is shown, pushed or taken over within this, which a person takes for at once.
inline constexpr std::chrono::milliseconds kTick{250};
/// A page's server time corrects the device's clock when they differ by more than this. Less may be the network's
/// delay.
inline constexpr std::int64_t kClockCorrectionMs = 10'000;
/// An idle pull that only moves the cursor is written down when the last write is older than this. The server prunes
/// removals after days, so an hour loses nothing but repeats.
inline constexpr std::int64_t kCursorWriteMs = 3'600'000;
/// A transaction that changes more rows of watched tables than this is told to live queries by table only: they run
/// again, which is cheaper than keeping two images of each row.
inline constexpr std::size_t kListedRowChangesMax = 2'000;
/// A pull that changes more rows than this of what is pending is applied by a whole rebase: looking at each row would
/// cost more.
inline constexpr std::size_t kMetRowsMax = 20'000;
/// Commits that wait for live queries at most, when the store's thread is held up: beyond it they run again.
inline constexpr std::size_t kQueuedCommitsMax = 4'096;
/// Inverses of the newest mutations that are kept for Store::undo.
inline constexpr std::int64_t kInversesMax = 1'000;
/// Mutations of which it is still known what became of them after they left the outbox, for tickets of an earlier run:
/// more than a device sends in one go after days offline.
inline constexpr std::int64_t kSettledMax = 10'000;
/// What a user may say of itself with Store::track, bytes of JSON; servers take as much.
inline constexpr std::size_t kPresencePayloadBytesMax = 4 * 1024;
/// Who is there in all buckets together, bytes: some ten thousand people. More are not shown.
inline constexpr std::size_t kPresenceBytesMax = 8 << 20;
/// What a mutator may write into a CRDT column, bytes, and what that column may come to: a server's defaults, so that
/// what it would refuse is refused here at once.
inline constexpr std::size_t kCrdtUpdateBytesMax = 256 << 10;
inline constexpr std::size_t kCrdtStateBytesMax = 4 << 20;
/// A server re-stamps what is further ahead of its clock (S20): a stamp that it never let pass is not taken notice of.
inline constexpr std::int64_t kClockDriftMaxMs = 60'000;
/// Fixed part of an encoded mutation (names of its members, ids, stamp), for bounding a batch by bytes.
inline constexpr std::size_t kMutationOverheadBytes = 400;

}  // namespace nizhal::client
