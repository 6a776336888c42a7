// What a run of the simulator is made of: how many devices, which faults, which actions when. All of it is drawn from
// the seed, printed first, and can be told instead, which is how a failing run is made shorter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "sim/event_queue.hpp"

namespace nizhal::sim {

enum class Fault {
  // of messages: the rate is per mille of them
  lost_request,
  lost_reply,  // the server has handled the request
  duplicated_request,
  delayed_message,   // so long that later ones overtake it
  truncated_answer,  // the first half of it comes as the whole
  foreign_answer,    // somebody in between answers: a captive portal, a proxy's 502
  // of the network: the rate is how many times
  partition,
  one_way_partition,  // requests arrive, answers do not
  half_open_socket,   // nothing comes any more, and nobody says so
  // of the server
  server_kill,           // between two requests
  server_kill_in_write,  // in the middle of one, at any write to its disk
  server_restart,
  second_instance,
  storage_error,
  full_server_disk,
  overload,
  // of the devices
  device_kill,           // between two events
  device_kill_in_write,  // in the middle of one, at any call to its disk
  device_disk_error,
  full_device_disk,
  power_cut,  // what was not synced is lost, kept, or in part
  clock_jump,
  clock_drift,
  long_absence,  // longer than removals are kept
  cloned_store,
  restored_store,  // an older copy of the file comes back
  actor_switch,
  token_expiry,
  // of the world
  membership_churn,
  foreign_write,
  epoch_rotation,
  server_restore,  // an older copy of the database comes back
  hostile_client,
  // of the server's storage: those above are of its disk
  storage_crash,    // one instance dies at any call, or right after it
  storage_failure,  // calls fail for a while: busy, broken, or done without an answer
  storage_stall,    // one instance waits
  // of a release: the servers', and then the apps', with what they have kept
  app_upgrade,
  token_rotation,  // the tokens that were given out count no more
  // of messages
  refused_body,  // a proxy's 413: what it holds back, the server never sees
};
inline constexpr std::size_t kFaults = static_cast<std::size_t>(Fault::refused_body) + 1;
const char* to_string(Fault fault);
/// It befalls messages by its rate, instead of being an action of the plan.
bool is_of_messages(Fault fault);
std::optional<Fault> parse_fault(std::string_view name);

struct Options {
  std::uint64_t seed = 1;
  std::size_t devices = 0, users = 0;
  std::size_t mutations = 0;      // tried in the faults' phase
  std::size_t page_rows_max = 0;  // of the servers' pages; 0: as many as in real life, which is one page
  bool has_tail = true;           // pulls may be answered from memory
  bool has_choosers = false;      // every other device's app chooses its buckets
  std::map<Fault, std::uint64_t> faults;
  /// The actions of the plan that are carried out; nothing: all.
  std::optional<std::set<std::size_t>> only = {};
  bool trace = false;  // every event goes to the log
};

/// What the command line may say instead of what the seed draws.
struct Overrides {
  std::optional<std::size_t> devices, mutations;
  std::optional<std::set<Fault>> faults;  // of those drawn or not: just these
  std::optional<std::set<std::size_t>> only;
};
Options draw_options(std::uint64_t seed, const Overrides& overrides = {});
/// The arguments that make the run again: "--seed 7 --devices 4 …".
std::string replay_arguments(const Options& options, bool is_whole);
/// For people: "4 devices of 3 users, 160 mutations; faults: lost_reply 40, partition 2".
std::string describe(const Options& options);

/// Something that happens to the system at a moment, with its own stream of numbers.
struct Action {
  Micros at{0};
  std::size_t number = 0;
  std::optional<Fault> fault;  // nothing: a device's app makes a mutation
  std::size_t device = 0;
  std::uint64_t seed = 0;
};
/// By time. `length`: of the faults' phase.
struct Plan {
  std::vector<Action> actions;
  Micros length{0};
};
Plan draw_plan(const Options& options);

}  // namespace nizhal::sim
