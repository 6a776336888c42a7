// A whole system in one thread: devices, network, servers, storage, clocks and a token service, driven by one seed.
// First the faults' phase, in which every answer must be safe; then calm, in which everything must come to rest.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "sim/cluster.hpp"
#include "sim/device.hpp"
#include "sim/disk/sqlite_outside.hpp"
#include "sim/event_queue.hpp"
#include "sim/history.hpp"
#include "sim/network.hpp"
#include "sim/options.hpp"
#include "sim/oracles.hpp"
#include "sim/serial_replay.hpp"
#include "sim/workload.hpp"

namespace nizhal::sim {

class System {
 public:
  /// `folder` is the run's own, and is emptied by whoever made it.
  System(std::shared_ptr<const CompiledDomain> domain, Options options, Workload& workload, std::string folder);
  ~System();

  /// Both phases; what was violated, if anything, is in the history.
  void run();
  const History& history() const { return history_; }
  void tell_history_to(std::function<void(std::string_view line)> listener) { history_.on_line = std::move(listener); }
  const Oracles& oracles() const { return oracles_; }
  Micros virtual_time() const { return queue_.now(); }
  /// Faults that are on, and never happened.
  std::vector<std::string> silent_faults() const;

 private:
  void open();
  void carry_out(const Action& action);
  void provoke();
  void use(Device& device, Random& random);
  void mutate(Device& device, Random& random);
  void was_made(Device& device, std::string_view mutator, const Result<Ticket>& ticket);
  bool tend_letter(Device& device, Random& random);
  bool take_back(Device& device);
  bool choose_buckets(Device& device, Random& random);
  void strike(const Action& action, Random& random);
  void strike_server(Fault fault, Random& random);
  void strike_device(Fault fault, Device& device, Random& random);
  void mute_socket(std::size_t first, int tries);
  void lift_later(Device& device, Fault fault, Micros after);
  void strike_storage(Fault fault, Random& random);
  void strike_world(Fault fault, Random& random);
  void upgrade_servers(Random& random);
  void begin_release();
  void settle(const std::string& client_mutation_id, bool is_applied);
  void settle_from_audit();
  void upgrade_app(Device& device);
  void send_hostile(Random& random);
  std::string hostile_body(const std::string& path, Random& random);
  void run_script(const std::vector<std::string>& statements, std::string_view what);
  void run_until(Micros end);
  bool is_over() const { return history_.violation().has_value(); }
  void write_more();
  void calm();
  bool drain(Micros bound);
  void check_serial();
  void check_growth();
  bool come_to_rest(Micros bound);
  void send_again();
  std::string standing() const;

  std::shared_ptr<const CompiledDomain> domain_;
  std::shared_ptr<const CompiledDomain> next_release_;  // once the servers are upgraded
  const Options options_;
  Workload& workload_;
  std::string folder_;
  EventQueue queue_;
  std::optional<Timestamp> replayed_time_;  // while the serial replay runs
  SeededRandom sqlite_random_;
  SqliteOutside sqlite_outside_;
  History history_;
  Scopes scopes_;
  Oracles oracles_;
  SerialReplay serial_;
  Cluster cluster_;
  Network network_;
  std::vector<Actor> actors_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::map<Fault, std::uint64_t> happened_;
  std::set<std::string> settled_;                   // client mutation ids of which the workload knows what became
  std::map<const Device*, std::string> made_last_;  // the client mutation id
  bool is_calm_ = false;
  bool has_backup_ = false;
  bool has_begun_release_ = false;
  std::map<std::size_t, std::size_t> users_;  // device → actor
};

}  // namespace nizhal::sim
