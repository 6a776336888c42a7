// The server's side of a run: one database file, and one or two instances of the server core on it that can be killed,
// restarted and brought to their limits. Two instances see each other's commits as they see another program's.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "protocol/transport.hpp"
#include "realtime/realtime.hpp"
#include "server/server_sync.hpp"
#include "sim/disk/disk.hpp"
#include "sim/disk/faulty_storage.hpp"
#include "sim/event_queue.hpp"
#include "sim/history.hpp"
#include "sim/options.hpp"
#include "storage/storage.hpp"

namespace nizhal::sim {

class Cluster {
 public:
  struct Setup {
    std::shared_ptr<const CompiledDomain> domain;
    std::string path;  // of the database file
    Timestamp start;
    std::size_t instances = 1;
    std::size_t page_rows_max = 0;  // 0: as it comes
    bool has_tail = true;
    std::uint64_t seed = 0;
  };
  Cluster(Setup setup, EventQueue& queue, History& history);
  ~Cluster();

  Result<void> open();  // all instances
  std::size_t instances() const { return instances_.size(); }
  bool is_up(std::size_t instance) const;

  using Reply = std::function<void(std::optional<protocol::HttpResponse>)>;
  /// Gives the request to an instance that is up. `reply` is called at once or later; with nothing when the instance
  /// was killed over it.
  void handle(std::size_t instance, const protocol::HttpRequest& request, Reply reply);
  server::ServerSync* server(std::size_t instance);
  /// Counts up with each start of the instance: what belongs to an earlier one is gone.
  std::uint64_t run_of(std::size_t instance) const;
  /// What was posted while the server worked.
  void run_posted(std::size_t instance);

  void kill(std::size_t instance);
  /// As SIGTERM and a new start.
  void restart(std::size_t instance, Micros down_for);
  void kill_and_restart(std::size_t instance, Micros down_for);
  /// All instances end at the call after so many more to the disk, and start again later.
  void kill_in_disk(std::uint64_t calls, DiskFault how, Micros down_for);
  /// The instance ends at the call after so many more to its storage, and starts again later.
  void kill_in_storage(std::size_t instance, std::uint64_t calls, StorageFault how, Micros down_for);
  /// About every `one_in`-th call to the instance's storage fails, until the end of the time.
  void fail_storage(std::size_t instance, StorageFault how, std::uint64_t one_in, std::uint64_t seed, Micros lasts);
  /// What it is asked meanwhile, it does afterwards.
  void stall(std::size_t instance, Micros lasts);
  /// True when the disk went off, or an instance died at a call to its storage: what died is gone, and will be back.
  /// Asked after each thing that may write.
  bool bury();
  /// Nothing fails any more.
  void lift_faults();
  /// A server may say that it cannot answer, and that is no finding.
  bool is_storage_failing() const;
  /// Calls to the instances' storages that were struck.
  std::uint64_t struck(StorageFault how) const;
  Disk& disk() { return disk_; }
  /// The file can be read and written: no instance died in the middle of a call since.
  bool is_disk_on() const { return !disk_.is_off(); }

  Result<void> backup(const std::string& path);
  /// All instances go down, and come back with the older file under a new epoch.
  Result<void> restore(const std::string& path);
  Result<void> rotate_epoch();
  Result<void> prune_all();  // removals and records, whatever their age

  /// The next release: instance after instance is restarted with it.
  void upgrade(std::shared_ptr<const CompiledDomain> domain, Micros between);

  std::string token(const Actor& actor, Micros valid_for);
  /// The tokens of before are refused from now on.
  void rotate_secret();
  VirtualClock& clock() { return clock_; }
  std::function<void(std::size_t instance)> on_down = {};  // its connections break
  /// An instance takes it in hand.
  std::function<void(const protocol::HttpRequest& request)> on_request = {};
  /// An instance runs, of this release.
  std::function<void(const std::shared_ptr<const CompiledDomain>& domain)> on_started = {};
  std::function<void()> on_storage_dead = {};  // an instance ended at a call to it
  std::function<void(const std::string& line)> on_log = {};
  std::function<void()> on_disk_off = {};  // every handle of the file is dead

 private:
  struct Instance;
  void tick(std::size_t instance, std::uint64_t run);
  Result<void> start(std::size_t instance);
  void start_later(std::size_t instance, Micros delay);

  Setup setup_;
  EventQueue& queue_;
  History& history_;
  VirtualClock clock_;
  Disk disk_;
  Micros down_for_{0};  // once the disk goes off
  VirtualTimers timers_;
  class Gate;
  std::unique_ptr<Gate> gate_;
  realtime::InProcessBus bus_;
  std::vector<std::unique_ptr<Instance>> instances_;
};

}  // namespace nizhal::sim
