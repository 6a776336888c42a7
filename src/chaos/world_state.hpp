// What stands behind the public classes of nizhal/chaos.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/chaos.hpp>

#include "base/environment.hpp"
#include "base/reserved_port.hpp"
#include "chaos/database.hpp"
#include "domain/compiled_domain.hpp"
#include "process/child_process.hpp"
#include "workload/workload.hpp"

namespace nizhal::chaos {

/// Longer than any step takes, on a loaded machine too: reaching it is a failure.
inline constexpr std::chrono::milliseconds kPatience{120'000};

/// Hears of a scenario as it goes.
class Narrator {
 public:
  virtual ~Narrator() = default;
  virtual void did(std::string_view sentence) = 0;
  virtual void held(std::string_view sentence) = 0;
  virtual void failed(std::string_view sentence) = 0;
};

/// A scenario that cannot go on; why was told to the narrator.
struct Ended {};

struct DomainLibrary {
  std::string path;
  Domain domain{""};
};

/// What a world is made of.
struct Surroundings {
  std::string program;  // the path of `nizhal`
  DomainLibrary domain;
  const std::map<std::string, DomainLibrary>* examples = nullptr;
  bool is_seeded = false;     // rows and memberships for the world's people, to begin with
  std::string database = {};  // PostgreSQL's URL, beside whose database others are made; empty: SQLite files
  bool may_kill_postgres = false;
  std::uint64_t seed = 1;
};

struct Process::State {
  std::unique_ptr<process::ChildProcess> child;
  std::string name;  // for messages
  World::State* world = nullptr;
};

struct Server::State {
  World::State* world = nullptr;
  std::size_t number = 0;
  ReservedPort port{};
  std::string url{};
  std::vector<std::string> options{};
  std::optional<Process> process{};
};

/// The engine of a device, with or without its public door.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual Store* store() = 0;  // nullptr: it has none
  virtual Result<std::string> mutate(std::string_view mutator, std::string_view args, const MutateOptions& options) = 0;
  virtual Result<SyncReport> sync() = 0;
  virtual void set_online(bool online) = 0;
  virtual StoreStatus status() = 0;
  virtual Result<std::vector<PendingMutation>> outbox() = 0;
  virtual Result<std::vector<DeadLetter>> dead_letters() = 0;
  virtual Result<SqlResult> sql(std::string_view text) = 0;
};
/// The engine as an app has it.
Result<std::unique_ptr<Engine>> open_engine(StoreOptions options);
/// The same engine, file and network with another clock.
Result<std::unique_ptr<Engine>> open_engine_with_clock(StoreOptions options, std::chrono::seconds offset);

struct Device::State {
  World::State* world = nullptr;
  std::string name{};
  DeviceOptions options{};
  std::string file{};
  std::unique_ptr<FaultProxy> network{};
  std::shared_ptr<std::atomic<bool>> is_token_expired = std::make_shared<std::atomic<bool>>(false);
  std::unique_ptr<Engine> engine{};
  std::set<std::string> written{};  // client mutation ids
  std::set<std::string> refused{};  // those of dead letters that somebody has looked at

  Engine& opened();
  std::string token() const;
  Actor actor() const;
};

struct World::State {
  Surroundings surroundings;
  Narrator* narrator = nullptr;
  SeededRandom random{1};
  std::string folder{}, secret{};
  std::shared_ptr<const CompiledDomain> domain{};
  std::vector<Actor> people{};
  std::unique_ptr<workload::Generator> generator{};
  std::unique_ptr<Database> database{};
  std::vector<std::unique_ptr<Server>> servers{};
  std::list<std::unique_ptr<Device>> devices{};
  /// What the server's records have said, also those pruned since: whether it was applied.
  std::map<std::string, bool> outcomes{};

  ~State();
  [[noreturn]] void end(std::string_view why);
  template <class T>
  T need(Result<T> result, std::string_view doing) {
    if (!result) end(std::string(doing) + ": " + result.error().message);
    if constexpr (!std::is_void_v<T>) return *std::move(result);
  }
  process::SpawnOptions environment(const std::string& token = {}) const;
  Device& add_device(std::string_view name, const DeviceOptions& options);
  Server& add_server();
  void settle();
  void compare();
  void remember_history();
  /// From now on the server, and devices that are opened, are of this domain.
  void adopt(const DomainLibrary& library);
  void seed_rows();
};

/// A folder, a database and a running server. Errors: unreachable, io_error, usage.
Result<std::unique_ptr<World>> make_world(Surroundings surroundings, Narrator& narrator);

}  // namespace nizhal::chaos
