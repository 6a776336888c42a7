// A device of a run: the real store and sync machine, with a disk, a clock, a token and a network of its own that can
// fail. Between two events it is quiet; what belongs to an earlier run of the app (`run`) never reaches a later one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client_sync.hpp"
#include "client/live_queries.hpp"
#include "client/local_store.hpp"
#include "sim/disk/disk.hpp"
#include "sim/event_queue.hpp"
#include "sim/history.hpp"
#include "sim/scope.hpp"

namespace nizhal::sim {

class Device;

/// What carries a device's requests and its socket.
class DeviceNetwork {
 public:
  virtual ~DeviceNetwork() = default;
  virtual void send(Device& device, client::SendRequest request) = 0;
  virtual void open_socket(Device& device, const client::OpenSocket& wanted) = 0;
  virtual void close_socket(Device& device) = 0;
  virtual void send_frame(Device& device, std::string text) = 0;
  /// A token of the token service; empty: it does not answer.
  virtual std::string fetch_token(Device& device, bool after_refusal) = 0;
};

class Device {
 public:
  struct Setup {
    std::shared_ptr<const CompiledDomain> domain;
    std::size_t number = 0;
    std::string path;
    Actor actor;
    Timestamp start;
    std::uint64_t seed = 0;
    bool keeps_medium = false;  // its power may be cut
    bool chooses = false;       // its app holds the buckets that it asks for
  };
  Device(Setup setup, EventQueue& queue, History& history, DeviceNetwork& network);
  ~Device();

  std::size_t number() const { return setup_.number; }
  const std::string& name() const { return name_; }
  const Actor& actor() const { return setup_.actor; }
  const std::string& path() const { return setup_.path; }
  const CompiledDomain& domain() const { return *setup_.domain; }
  /// The app's release from its next start on.
  void upgrade(std::shared_ptr<const CompiledDomain> domain) { setup_.domain = std::move(domain); }
  VirtualClock& clock() { return clock_; }
  std::uint64_t run() const { return run_; }

  /// The app starts, and goes on trying when its file cannot be opened.
  void start();
  bool is_open() const { return store_ != nullptr; }
  bool chooses() const { return setup_.chooses; }
  client::LocalStore& store() { return *store_; }
  StoreStatus status() const { return sync_->status(); }
  /// The process is gone between two of its instructions; nothing is said to anybody.
  void kill();
  /// Signs out and in as somebody else; what was pending goes with the old file.
  void switch_actor(Actor actor);
  Disk& disk() { return disk_; }
  /// The process goes, and with it what was not synced, as far as `unsynced` says.
  void cut_power(Disk::Unsynced unsynced, Random& random);
  /// The file is exchanged while the app does not run.
  Result<void> copy_file_to(const std::string& path);
  Result<void> take_file_from(const std::string& path);

  // What its app does
  Result<Ticket> mutate(std::string_view mutator, const MutatorDef::Values& values, const MutateOptions& options = {});
  Result<Ticket> undo(std::string_view client_mutation_id);
  Result<Ticket> retry(std::int64_t dead_letter);
  Result<void> discard(std::int64_t dead_letter);
  Result<void> subscribe(std::string_view rule, const RuleParameters& parameters);
  /// What it asked for and has not given up; nothing: everything.
  Result<std::optional<ChosenBuckets>> chosen();
  Result<void> unsubscribe(std::string_view rule, const RuleParameters& parameters, std::chrono::seconds keep);
  void handle(const client::Event& event);
  /// Its app was told that there is no network, and not yet that there is one again.
  bool is_told_offline() const { return is_told_offline_; }
  void request_sync() { handle(client::SyncRequested{}); }
  std::uint64_t syncs_finished() const { return syncs_finished_; }
  bool last_sync_held() const { return last_sync_held_; }

  /// The confirmed base: what is visible, with the pending mutations' first before-images in their rows' places.
  Result<RowTexts> base();
  Result<RowTexts> visible();
  /// What the live queries delivered last, against the same queries run now; a sentence when they differ.
  std::string live_difference();

 private:
  struct Live;
  Result<std::unique_ptr<client::LocalStore>> open_store(OtherActor other_actor);
  Result<Ticket> was_made(Result<Ticket> ticket);
  Result<void> has_chosen(Result<void> done);
  void subscribe_to_all();
  void carry_out(const client::Effect& effect);
  void watch();

  Setup setup_;
  std::string name_;
  EventQueue& queue_;
  History& history_;
  DeviceNetwork& network_;
  VirtualClock clock_;
  Disk disk_;
  SeededRandom random_;
  std::unique_ptr<client::LocalStore> store_;
  std::unique_ptr<client::ClientSync> sync_;
  std::unique_ptr<Live> live_;
  std::map<client::TimerId, std::uint64_t> timers_;  // which setting of it counts
  std::uint64_t timers_set_ = 0;
  std::uint64_t run_ = 0;
  bool is_switching_ = false;
  bool is_told_offline_ = false;
  std::uint64_t syncs_finished_ = 0;
  bool last_sync_held_ = false;
};

}  // namespace nizhal::sim
