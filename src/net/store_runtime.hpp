// What carries the device's state machine: one thread that feeds events to ClientSync and carries out its effects with
// real sockets, timers and the user's callbacks.
//
// The fact that must not break: ClientSync is touched by this one thread only, and the end of the store waits for
// nothing but that thread's current step and a sync target's running call: no connect, answer or name look-up holds it
// up.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/store.hpp>

#include "base/log.hpp"
#include "client/client_sync.hpp"
#include "net/client_net.hpp"
#include "net/target_adapter.hpp"

namespace nizhal::net {

/// The state machine as the runtime sees it; a test may put its own in its place.
class SyncMachine {
 public:
  virtual ~SyncMachine() = default;
  virtual client::Effects handle(const client::Event& event) = 0;
  virtual StoreStatus status() const = 0;
  virtual std::vector<Presence> presence(std::string_view) const { return {}; }  // any thread
};

struct StoreRuntimeOptions {
  std::optional<ClientNetOptions> net = {};    // nothing, and no target: local only
  std::unique_ptr<TargetAdapter> target = {};  // in the place of `net`
  std::function<std::string()> token = {};
  bool start_online = true;
  Log log = {};
  std::chrono::milliseconds tick{0};  // how often the machine may look at other handles of the file; 0: never
};

class StoreRuntime {
 public:
  StoreRuntime(SyncMachine& machine, StoreRuntimeOptions options);
  ~StoreRuntime();  // stops promptly; callbacks are not called afterwards
  StoreRuntime(const StoreRuntime&) = delete;
  StoreRuntime& operator=(const StoreRuntime&) = delete;

  // Any thread.
  void mutated();
  void coverage_changed();
  /// Somebody waits for the server to take what is in the outbox.
  void awaited();
  void storage_changed();
  /// Whoever observes the status is told if it is another than before.
  void status_changed();
  void set_online(bool online);
  [[nodiscard]] Subscription on_status(std::function<void(const StoreStatus&)> callback);
  /// There is one to be present at: not for a store that is local only or syncs with a target.
  bool has_server() const;
  void track(std::string bucket, std::string payload);
  void untrack(std::string bucket);
  [[nodiscard]] Subscription on_presence(std::string bucket,
                                         std::function<void(const std::vector<Presence>&)> callback);
  /// Runs on the store's thread, unless the store ends before.
  void post(std::function<void()> work);
  /// The thread of the callbacks, or that of the target's calls: syncing goes on only when these return.
  bool is_own_thread() const;
  /// Waits for one complete sync that began after this call. Not from a callback (usage).
  Result<SyncReport> sync_now(std::chrono::milliseconds timeout);

 private:
  struct Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace nizhal::net
