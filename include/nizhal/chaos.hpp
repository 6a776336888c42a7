// Chaos scenarios: a real server process, devices with the real engine on real files, and a network between them that
// fails on demand. A scenario does something to them and says in sentences what it did and what held.
//
//   void lost_replies(nizhal::chaos::World& world) {
//     auto& device = world.device("till");
//     world.step("the replies to the next three pushes get lost");
//     device.network().fault("/sync/push", nizhal::chaos::Fault::lose_reply, 3);
//     device.write(20);
//     world.converge();
//   }
//   std::vector<nizhal::chaos::Scenario> scenarios() { return {{.name = "lost-replies", .what = "…", .run =
//   lost_replies}}; } NIZHAL_CHAOS(scenarios)   // beside NIZHAL_DOMAIN, in the domain's shared library
//
// `nizhal chaos --domain ./libmine.so --scenario lost-replies` runs it.
//
// Whatever cannot be done (a server that does not come up, a mutation that the device refuses) ends the scenario as
// failed, by an exception that only the runner catches. Threads: a scenario runs on one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/fault_proxy.hpp>
#include <nizhal/result.hpp>
#include <nizhal/store.hpp>

namespace nizhal::chaos {

/// Bumped whenever what crosses into a library of scenarios changes shape.
inline constexpr int kChaosAbi = 1;

class World;
class Server;

struct Scenario {
  std::string name;  // "lost-replies"
  std::string what;  // what is done to the system, one sentence
  bool needs_postgres = false;
  /// Empty: runs on whatever domain is tested. Else the example that it is about ("notes", "ledger"): it needs its
  /// tables.
  std::string domain = {};
  std::function<void(World&)> run = {};
};

struct DeviceOptions {
  /// Whose device it is. Empty: that of the world's person of that number, for whom some rows are there to begin with.
  std::string user = {};
  std::string owner = {};
  std::size_t person = 0;
  bool online = false;  // true: syncs by itself; false: when it is told to
  Coverage coverage = Coverage::everything;
  std::chrono::milliseconds pull_interval{30'000};  // see StoreOptions
  std::chrono::seconds clock_offset{0};             // how wrong the device's clock is; such a device has no store()
};

/// A `nizhal` process.
class Process {
 public:
  struct State;
  explicit Process(std::unique_ptr<State> state);
  ~Process();  // kills it
  Process(Process&&) noexcept;
  bool write(std::string_view text);
  void close_input();
  /// The next line of its output; nothing when it ended.
  std::optional<std::string> next_line();
  void kill();  // kill -9
  /// Waits for its end; the exit code, -1 after a signal.
  int wait();
  std::string out() const;
  std::string err() const;
  /// No file of it may grow beyond so many bytes: a disk that is full. Nothing: there is room again.
  void limit_files(std::optional<std::uint64_t> bytes);

 private:
  friend class Server;
  std::unique_ptr<State> state_;
};

/// `nizhal serve` on the world's database.
class Server {
 public:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  ~Server();
  /// On the same address each time. `options`: more of `nizhal serve`, kept for later starts.
  void start(std::vector<std::string> options = {});
  void stop();  // SIGTERM: it must drain and end with 0
  void kill();  // kill -9
  bool is_running() const;
  const std::string& url() const;
  Process& process();

 private:
  std::unique_ptr<State> state_;
};

/// A device: the engine on a file of its own, behind a network of its own.
class Device {
 public:
  struct State;
  explicit Device(std::unique_ptr<State> state);
  ~Device();
  const std::string& name() const;
  const DeviceOptions& options() const;
  FaultProxy& network();

  /// The store, opened if it is not open.
  Store& store();
  /// The app ends; what it has stays in the file.
  void close();
  std::string file() const;

  /// Writes on the device, never needing the network; the client mutation id. world.converge() holds what is written
  /// here against what the server has.
  std::string mutate(std::string_view mutator, std::string_view args, const MutateOptions& options = {});
  /// So many generated mutations that fit what the device has.
  void write(std::size_t mutations);
  /// Pushes and pulls until nothing is pending, or it fails.
  Result<SyncReport> sync();
  void set_online(bool online);
  StoreStatus status();
  std::vector<PendingMutation> outbox();
  std::vector<DeadLetter> dead_letters();
  /// The first column of the first row, as text; empty when there is none.
  std::string value(std::string_view sql);

  /// `nizhal client` on this file: a process that can be killed. Close the store first, or share the file.
  Process client(std::vector<std::string> arguments);
  /// The client mutation ids that such a process acknowledged, for converge().
  void acknowledged(std::string client_mutation_id);

  /// How many mutations it has taken from write() and mutate().
  std::size_t written() const;
  /// The token that it sends is one that expired an hour ago; false: a good one again.
  void expire_token(bool expired);
  /// A device on a copy of this one's file, with everything in it.
  Device& clone(std::string_view name);

  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

class World {
 public:
  struct State;
  explicit World(std::unique_ptr<State> state);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// What is done to the system next, as a sentence.
  void step(std::string_view sentence);
  /// What must hold, as a sentence. The first that does not ends the scenario.
  void expect(bool holds, std::string_view sentence);
  /// Waits for it, and fails only after minutes.
  void wait_until(std::string_view sentence, const std::function<bool()>& holds);

  std::uint64_t seed() const;
  std::uint64_t draw(std::uint64_t below);

  /// The first server runs from the beginning. More of them need PostgreSQL, and stand behind the devices' networks
  /// in turns.
  Server& server(std::size_t number = 0);
  /// Made when first asked for by that name; the options count then.
  Device& device(std::string_view name, const DeviceOptions& options = {});
  std::vector<Device*> devices();

  bool is_postgres() const;
  /// Another program on the server's database: a script, and the first column of the first row.
  void sql(const std::string& script);
  std::string value(const std::string& query);
  /// `nizhal COMMAND --domain … --db …` to its end, as `gc`; its output.
  std::string command(std::vector<std::string> arguments);
  /// Another program's transaction: the script runs and stays open until the returned function ends it with COMMIT.
  std::function<void()> hold_transaction(const std::string& script);
  /// A copy of the server's database, and back to it; the server must not run. Of what was applied since, nothing is
  /// expected any more.
  void backup();
  void restore();
  std::string folder() const;

  /// Ends every fault, syncs every open device until nothing is left to do, and expects that nothing was lost or
  /// doubled and that every device equals what its actor may see of the server's tables.
  void converge();
  /// Syncs as converge() does, without looking.
  void settle();

  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::chaos

/// Exports scenarios from a domain's shared library: a function `std::vector<nizhal::chaos::Scenario> scenarios()`.
#define NIZHAL_CHAOS(function)                                                                                  \
  extern "C" __attribute__((visibility("default"))) int nizhal_chaos_abi() { return nizhal::chaos::kChaosAbi; } \
  extern "C" __attribute__((visibility("default"))) void* nizhal_chaos_scenarios() {                            \
    return new std::vector<nizhal::chaos::Scenario>(function());                                                \
  }
