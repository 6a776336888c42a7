// The device's sync as one state machine: events in, effects out. It owns no thread, socket, timer or clock; the
// native runtime gives it those, a test or the simulator a loop. Its state worth keeping is in the LocalStore.
//
// Place in the loop: outbox ▶ pusher ▶ (push) and (pull) ▶ puller ▶ applier. This file's switch is the only place
// where these stages meet.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/store.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "protocol/transport.hpp"

namespace nizhal::client {

class LocalStore;

using RequestId = std::uint64_t;
enum class TimerId { pull, retry, socket, presence };

// Events
/// Online from now on, unless WentOffline came before. A machine that never hears it touches the network only for a
/// SyncRequested, opens no socket for it and rests again afterwards.
struct Started {};
struct Mutated {};          // the outbox has something new
struct CoverageChanged {};  // other buckets are wanted than before
/// It has something whose caller waits for the server: it is tried now, whatever the backoff says, and what cannot be
/// sent is withdrawn.
struct Awaited {};
/// The file could not be written, or can be again (LocalStore::facts).
struct StorageChanged {};
/// Sync now: forget backoff, push and pull until done. One that comes while another is under way joins it; both end
/// with one SyncFinished, and the joined one may have missed what was pulled before.
struct SyncRequested {};
struct WentOnline {};
struct WentOffline {};
struct Answered {  // any HTTP answer, also 4xx and 5xx
  RequestId request = 0;
  protocol::HttpResponse response;
};
struct Failed {  // no answer: unreachable, timed out, cut off
  RequestId request = 0;
  std::string reason;
  bool never_left = false;  // for sure: the server saw nothing of it
};
struct TokenFetched {  // answer to FetchToken; empty: there is none
  std::string token;
};
struct SocketOpened {};
struct SocketClosed {
  std::string reason;
};
struct SocketFrame {
  std::string text;
};
struct TimerFired {
  TimerId timer = TimerId::pull;
};
/// This user is to be seen in the bucket, with a JSON object beside the name; no more.
struct Tracked {
  std::string bucket, payload;
};
struct Untracked {
  std::string bucket;
};
/// Some times a second while the store is open (kTick): time to see what other handles of the file did (S8).
struct Ticked {};
/// Nobody waits for the SyncRequested any more. One that another handle was asked to do ends; one that is under way
/// here goes on.
struct SyncAbandoned {};
struct Stopped {};
using Event = std::variant<Started, Mutated, CoverageChanged, Awaited, StorageChanged, SyncRequested, WentOnline,
                           WentOffline, Answered, Failed, TokenFetched, SocketOpened, SocketClosed, SocketFrame,
                           TimerFired, Tracked, Untracked, Ticked, SyncAbandoned, Stopped>;

// Effects
struct SendRequest {  // POST path with headers and body; answered by Answered or Failed
  RequestId request = 0;
  protocol::HttpRequest http;
  std::chrono::milliseconds timeout{30'000};
};
struct FetchToken {
  bool after_refusal = false;
};
struct OpenSocket {
  std::string path;
  std::string token;
};  // path with query
struct CloseSocket {};
struct SendFrame {  // on the open socket; lost when it is not open any more
  std::string text;
};
struct SetTimer {
  TimerId timer = TimerId::pull;
  std::chrono::milliseconds delay{0};
};  // replaces one that is set
struct CancelTimer {
  TimerId timer = TimerId::pull;
};
/// The status changed, or rows did.
struct Notify {};
/// Others are there than before (ClientSync::presence).
struct PresenceChanged {
  std::string bucket;
};
/// A SyncRequested has come to its end: nothing is left to send and a pull is complete, or it failed: unreachable,
/// unauthorized, upgrade_required, busy (several times in a row), usage (no server), closed, or the file's own errors.
/// A refused mutation is no failure.
struct SyncFinished {
  Result<SyncReport> report;
};
using Effect = std::variant<SendRequest, FetchToken, OpenSocket, CloseSocket, SendFrame, SetTimer, CancelTimer, Notify,
                            PresenceChanged, SyncFinished>;
using Effects = std::vector<Effect>;

struct SyncOptions {
  std::string server;  // empty: local only
  bool has_token = false;
  bool use_socket = true;
  bool is_target = false;  // `server` is the app's own backend: one mutation a push, and it signs in by itself
  std::chrono::milliseconds pull_interval{30'000};  // while no socket is open; with one, Tuning says how much rarer
};

class ClientSync {
 public:
  ClientSync(LocalStore& store, Clock& clock, Random& random, Log log, SyncOptions options);
  ~ClientSync();
  /// Never blocks on anything but the local file. One thread at a time.
  Effects handle(const Event& event);
  /// Thread-safe snapshot.
  StoreStatus status() const;
  /// Who is in the bucket, by user and connection. Thread-safe.
  std::vector<Presence> presence(std::string_view bucket) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::client
