// What the sync machine knows from one event to the next. Its events are handled in client_sync.cpp, what comes back
// from the server in client_sync_answers.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "client/backoff.hpp"
#include "client/client_sync.hpp"
#include "client/local_store.hpp"
#include "client/poke_socket.hpp"
#include "client/presence_board.hpp"
#include "client/tuning.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"

namespace nizhal::client {

/// A request that left and was not answered yet. There is at most one: push and pull take turns.
struct InFlight {
  RequestId id = 0;
  enum class Kind { push, pull } kind = Kind::push;
  protocol::PushRequest push{};
  protocol::PullRequest pull{};
};

inline constexpr const char* kUpgrade =
    "the server takes no more writes from this version of the app; update it. Every write is kept";

struct ClientSync::State {
  State(LocalStore& store_in, Clock& clock_in, Random& random_in, Log log_in, SyncOptions options_in);

  LocalStore& store;
  Random& random;
  Log log;
  SyncOptions options;
  Tuning tuning;
  Effects effects;

  // What is wanted
  bool started = false;
  bool stopped = false;
  bool online_wanted = true;  // until WentOffline
  bool push_wanted = false;
  bool pull_wanted = false;
  bool catch_up_wanted = false;  // a pull soon, not at once: the socket was away, and so was everybody's
  bool sync_active = false;      // a SyncRequested has not come to its end
  SyncReport sync_report;

  // Who syncs the file (client_sync_role.cpp)
  bool holds_role = false;
  std::uint64_t others_wrote = 0;            // as the store last told
  bool request_noticed = false;              // another handle may have asked for a sync
  bool sync_again = false;                   // a SyncRequested came while another handle's sync was under way
  std::optional<std::int64_t> serving;       // the active sync answers the requests up to this one
  std::optional<std::int64_t> asked_holder;  // the active sync is done by the holder: the number of the request to it
  std::optional<LocalStore::HolderStatus> told_status;  // what the handles that stand by were told
  std::string look_error;                               // told once, not every time

  // What is under way
  RequestId last_request = 0;
  std::optional<InFlight> in_flight;
  std::optional<protocol::PullRequest> last_pull;  // that was sent; the buckets that it named
  unsigned pushes_in_row = 0;                      // since the last pull
  bool push_paused = false;                        // 426: until a newer app, or the user's own try
  bool waiting_for_retry = false;
  Backoff backoff;
  unsigned busy_answers = 0;
  unsigned renumberings = 0;  // in a row, without any outcome
  std::size_t push_mutations_max = Tuning{}.push_mutations_max;

  // Credentials
  std::string token;
  bool token_fresh = false;
  bool token_on_socket = false;  // a socket was opened with it
  bool token_asked = false;
  bool token_refused = false;  // the server said 401 to a token that was just fetched

  PokeSocket socket;
  PresenceBoard presence;

  mutable std::mutex status_mutex;
  StoreStatus status;

  template <class Change>
  void set_status(Change change) {
    {
      const std::lock_guard lock(status_mutex);
      change(status);
    }
    notify();
  }
  void notify() {
    const bool is_there = std::any_of(effects.begin(), effects.end(),
                                      [](const Effect& effect) { return std::holds_alternative<Notify>(effect); });
    if (!is_there) effects.emplace_back(Notify{});
  }

  bool may_send() const { return !stopped && !options.server.empty() && (sync_active || (started && online_wanted)); }

  // Sending
  void send(InFlight request, std::string_view path, std::string body);
  void ask_for_token(bool after_refusal);
  /// True when a push left. The outbox may turn out to hold nothing.
  bool try_push();
  bool try_pull();
  /// Another handle of the file subscribed or unsubscribed since the last pull.
  bool is_coverage_new() const;
  /// Starts whatever is next. Called at the end of every event; does nothing while a request is under way.
  void advance();
  /// Nothing to do until the next event.
  void rest();
  void begin_sync();
  /// The end of a SyncRequested, or of a sync that another handle asked for.
  void finish_sync(std::optional<Error> error);
  void end_sync(Result<SyncReport> report);

  // Who syncs the file
  /// True when this handle is the one that syncs, or has just become it. Else it stands by.
  bool has_role();
  void took_role();
  void stand_by();
  void role_failed(const Error& error);
  /// This handle does not want the network.
  void leave_role();
  /// The handles that stand by show how this one stands. Nothing is written where there are none.
  void tell_standbys();
  void follow_holder();
  /// What other handles wrote is read, and what they ask for is seen.
  void notice_others();
  /// A sync that was asked for while another one was active, here or by another handle. False: there is none.
  bool begin_next_sync();

  // Failures
  /// Waits and tries again. `kind` stays wanted.
  void try_later(InFlight::Kind kind, Error error, std::chrono::milliseconds at_least);
  /// The local file cannot be read or written: nothing is lost, and sync goes on when it can be again (S11).
  void storage_failed(std::string_view stage, const Error& error);
  /// True when the file can be written. Else it waits and tries again.
  bool try_storage();
  void request_failed(const InFlight& request, Error error, std::chrono::milliseconds at_least = {});
  /// The server did nothing of the request, for sure.
  void not_handled(const InFlight& request);
  /// What nobody can send now, and whose caller waits for that, is taken back.
  void withdraw_awaited(const Error& why);

  // Answers
  void answered(const protocol::HttpResponse& response);
  void went_well();
  void push_answered(const InFlight& request, const protocol::HttpResponse& response);
  void settle(const InFlight& request, const protocol::PushReply& reply);
  void pull_answered(const InFlight& request, const protocol::HttpResponse& response);
  void unauthorized(const InFlight& request, const protocol::HttpResponse& response);
  void upgrade_required(const InFlight& request, const protocol::HttpResponse& response);
  void split(const InFlight& request, const protocol::HttpResponse& response);

  // Timers and the socket
  void set_pull_timer();
  void cancel_timers();
  void open_socket();
  void forget_backoff();

  // Events
  void on(const Started&);
  void on(const Mutated&);
  void on(const CoverageChanged&);
  void on(const Awaited&);
  void on(const StorageChanged&);
  void on(const SyncRequested&);
  void on(const WentOnline&);
  void on(const WentOffline&);
  void on(const Answered& event);
  void on(const Failed& event);
  void on(const TokenFetched& event);
  void on(const SocketOpened&);
  void on(const SocketClosed& event);
  void on(const SocketFrame& event);
  void on(const TimerFired& event);
  void on(const Tracked& event) { presence.track(effects, event.bucket, event.payload); }
  void on(const Untracked& event) { presence.untrack(effects, event.bucket); }
  void on(const Ticked&);
  void on(const SyncAbandoned&);
  void on(const Stopped&);
  Effects handle(const Event& event);
};

}  // namespace nizhal::client
