#include "sim/cluster.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/json.hpp"
#include "sim/disk/simulation_folder.hpp"
#include "sim/streams.hpp"
#include "sqlite/connection.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::sim {

namespace {

constexpr Micros kTick{1'000'000};

class Posted : public Executor {
 public:
  void post(std::function<void()> work) override { queue_.push_back(std::move(work)); }
  void run_all() {
    while (!queue_.empty()) {
      const auto work = std::move(queue_.front());
      queue_.pop_front();
      work();
    }
  }

 private:
  std::deque<std::function<void()>> queue_;
};

server::Limits limits_of(const Cluster::Setup& setup) {
  server::Limits limits;
  if (setup.page_rows_max > 0) limits.pull_limit_max = setup.page_rows_max;
  if (!setup.has_tail) limits.tail_bytes_max = 0;
  limits.tail_rows_max = 200;                          // so that it is outrun now and then
  limits.gather_streams_min = 2;                       // with a handful of devices
  limits.retry_budget = std::chrono::milliseconds(0);  // nobody else runs while one waits
  return limits;
}

}  // namespace

/// What the servers and the token service have in common.
class Cluster::Gate : public server::Authenticator {
 public:
  Result<server::Credential> authenticate(std::string_view token, Timestamp now) const override {
    return server::JwtAuthenticator(secret()).authenticate(token, now);
  }
  std::string secret() const { return fmt::format("secret {} of a simulated token service", generation_); }
  void rotate() { ++generation_; }

 private:
  std::uint64_t generation_ = 1;
};

struct Cluster::Instance {
  explicit Instance(std::uint64_t seed) : random(seed) {}
  SeededRandom random;
  StorageFaults faults;
  Micros down_for{0};  // once it dies at a call
  Micros stalled_until{0};
  std::unique_ptr<storage::Storage> storage;
  std::shared_ptr<realtime::Realtime> realtime;
  Posted executor;
  std::unique_ptr<server::ServerSync> server;
  std::uint64_t run = 0;

  void drop() {
    if (realtime) realtime->stop();
    server.reset();
    realtime.reset();
    storage.reset();
    executor = {};
    ++run;
  }
};

Cluster::Cluster(Setup setup, EventQueue& queue, History& history)
    : setup_(std::move(setup)),
      queue_(queue),
      history_(history),
      clock_(queue, setup_.start),
      disk_(setup_.path),
      timers_(queue),
      gate_(std::make_unique<Gate>()) {
  for (std::size_t i = 0; i < setup_.instances; ++i)
    instances_.push_back(std::make_unique<Instance>(stream_seed(setup_.seed, "server", i)));
}
Cluster::~Cluster() {
  for (const auto& instance : instances_) instance->drop();
}

Result<void> Cluster::open() {
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    const auto started = start(i);
    if (!started) return started;
  }
  return {};
}

bool Cluster::is_up(std::size_t instance) const { return instances_[instance]->server != nullptr; }
server::ServerSync* Cluster::server(std::size_t instance) { return instances_[instance]->server.get(); }
std::uint64_t Cluster::run_of(std::size_t instance) const { return instances_[instance]->run; }

Result<void> Cluster::start(std::size_t number) {
  Instance& instance = *instances_[number];
  const Log log([this](LogLevel level, std::string_view area, std::string_view message) {
    if (level >= LogLevel::warning) history_.count(fmt::format("server {}s", to_string(level)));
    if (on_log) on_log(fmt::format("{}: {}", area, message));
  });
  auto opened = storage::open_sqlite_storage({.path = setup_.path}, setup_.domain, instance.random, log);
  if (!opened) return tl::unexpected(opened.error());
  instance.storage = std::make_unique<FaultyStorage>(std::move(*opened), instance.faults);
  const auto provisioned = instance.storage->provision();
  if (!provisioned) return tl::unexpected(provisioned.error());
  if (instances_.size() > 1) instance.realtime = bus_.join();
  instance.server = std::make_unique<server::ServerSync>(setup_.domain,
                                                         server::ServerOutside{.clock = clock_,
                                                                               .random = instance.random,
                                                                               .executor = instance.executor,
                                                                               .storage = *instance.storage,
                                                                               .authenticator = *gate_,
                                                                               .log = log,
                                                                               .realtime = instance.realtime.get(),
                                                                               .timers = &timers_},
                                                         limits_of(setup_));
  ++instance.run;
  queue_.after(kTick, [this, number, run = instance.run] { tick(number, run); });
  if (on_started) on_started(setup_.domain);
  return {};
}

void Cluster::tick(std::size_t number, std::uint64_t run) {
  if (instances_[number]->run != run) return;
  instances_[number]->server->tick();
  run_posted(number);
  if (bury()) return;
  if (instances_[number]->run == run) queue_.after(kTick, [this, number, run] { tick(number, run); });
}

void Cluster::run_posted(std::size_t instance) { instances_[instance]->executor.run_all(); }

void Cluster::handle(std::size_t number, const protocol::HttpRequest& request, Reply reply) {
  Instance& instance = *instances_[number];
  const std::uint64_t run = instance.run;
  if (queue_.now() < instance.stalled_until) {
    queue_.at(instance.stalled_until, [this, number, run, request, reply] {
      if (instances_[number]->run != run) return reply(std::nullopt);
      handle(number, request, reply);
    });
    return;
  }
  if (on_request) on_request(request);
  const auto is_dead = [this, number] { return disk_.is_off() || instances_[number]->faults.is_dead(); };
  // As the network's part does it: first whether it can wait together with others.
  const bool is_deferred = instance.server->try_defer(
      request, [this, number, run, request, reply, is_dead](std::optional<protocol::HttpResponse> answer) {
        if (instances_[number]->run != run) return reply(std::nullopt);
        if (!answer) answer = instances_[number]->server->handle(request);
        // Whoever died in the middle says nothing any more.
        reply(is_dead() ? std::nullopt : std::move(answer));
      });
  if (!is_deferred) {
    auto answer = instance.server->handle(request);
    reply(is_dead() ? std::nullopt : std::optional(std::move(answer)));
  }
  if (!bury()) run_posted(number);
  bury();
}

bool Cluster::bury() {
  bool has_died = false;
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    if (!is_up(i) || !instances_[i]->faults.is_dead()) continue;
    history_.note(fmt::format("server {} died at a call to its storage", i));
    kill(i);
    start_later(i, instances_[i]->down_for);
    if (on_storage_dead) on_storage_dead();
    has_died = true;
  }
  if (!disk_.is_off()) return has_died;
  history_.note("the servers died in the middle of a call to their disk");
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    kill(i);
    start_later(i, down_for_);
  }
  if (on_disk_off) on_disk_off();
  disk_.lift();
  return true;
}

void Cluster::kill_in_disk(std::uint64_t calls, DiskFault how, Micros down_for) {
  down_for_ = down_for;
  disk_.arm({.call = DiskCall::write, .fault = how, .nth = calls});
}

void Cluster::kill_in_storage(std::size_t number, std::uint64_t calls, StorageFault how, Micros down_for) {
  instances_[number]->down_for = down_for;
  instances_[number]->faults.arm({.fault = how, .nth = calls});
}

void Cluster::fail_storage(std::size_t number, StorageFault how, std::uint64_t one_in, std::uint64_t seed,
                           Micros lasts) {
  const auto random = std::make_shared<SeededRandom>(seed);
  instances_[number]->faults.arm(
      {.fault = how, .one_in = one_in, .draw = [random](std::uint64_t bound) { return random->below(bound); }});
  queue_.after(lasts, [this, number, how] { instances_[number]->faults.lift(how); });
}

void Cluster::stall(std::size_t number, Micros lasts) {
  instances_[number]->stalled_until = std::max(instances_[number]->stalled_until, queue_.now() + lasts);
}

void Cluster::lift_faults() {
  bury();
  disk_.lift();
  for (const auto& instance : instances_) {
    instance->faults.lift();
    instance->stalled_until = Micros(0);
  }
}

std::uint64_t Cluster::struck(StorageFault how) const {
  std::uint64_t all = 0;
  for (const auto& instance : instances_) all += instance->faults.struck(how);
  return all;
}

bool Cluster::is_storage_failing() const {
  return struck(StorageFault::busy) + struck(StorageFault::io_error) + struck(StorageFault::lost_answer) > 0;
}

void Cluster::upgrade(std::shared_ptr<const CompiledDomain> domain, Micros between) {
  setup_.domain = std::move(domain);
  // One that is down comes back with it anyway.
  for (std::size_t i = 0; i < instances_.size(); ++i)
    queue_.after(between * static_cast<int>(i), [this, i] { restart(i, Micros(1'000'000)); });
}

void Cluster::kill(std::size_t instance) {
  if (!is_up(instance)) return;
  history_.note(fmt::format("server {} is killed", instance));
  instances_[instance]->drop();
  if (on_down) on_down(instance);
}

void Cluster::start_later(std::size_t instance, Micros delay) {
  queue_.after(delay, [this, instance] {
    if (is_up(instance)) return;
    const auto started = start(instance);
    // The message names the file, which lies elsewhere in every run.
    history_.note(fmt::format("server {} {}", instance,
                              started ? "starts" : fmt::format("does not start: {}", to_string(started.error().code))));
    if (started) return;
    if (instances_[instance]->faults.is_dead() && on_storage_dead) on_storage_dead();
    // What kept it may be that the disk went off under it.
    if (!bury()) start_later(instance, Micros(5'000'000));
  });
}

void Cluster::restart(std::size_t instance, Micros down_for) {
  if (!is_up(instance)) return;
  instances_[instance]->server->begin_shutdown();
  run_posted(instance);
  kill(instance);
  start_later(instance, down_for);
}

void Cluster::kill_and_restart(std::size_t instance, Micros down_for) {
  if (!is_up(instance)) return;
  kill(instance);
  start_later(instance, down_for);
}

Result<void> Cluster::backup(const std::string& path) {
  const auto connection = sqlite::Connection::open(setup_.path, {.create = false});
  if (!connection) return tl::unexpected(connection.error());
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  return (*connection)->execute(fmt::format("VACUUM INTO '{}'", path));
}

Result<void> Cluster::restore(const std::string& path) {
  for (std::size_t i = 0; i < instances_.size(); ++i) kill(i);
  disk_.lift();  // it comes back on another one
  const auto copied = copy_database(path, setup_.path);
  if (!copied) return copied;
  // As the manual tells whoever restores a backup: a new epoch before anybody connects.
  auto opened = storage::open_sqlite_storage({.path = setup_.path}, setup_.domain, instances_[0]->random, Log{});
  if (!opened) return tl::unexpected(opened.error());
  const auto rotated = (*opened)->rotate_epoch();
  if (!rotated) return tl::unexpected(rotated.error());
  for (std::size_t i = 0; i < instances_.size(); ++i) start_later(i, Micros(2'000'000));
  return {};
}

Result<void> Cluster::rotate_epoch() {
  for (const auto& instance : instances_) {
    if (!instance->storage) continue;
    const auto rotated = instance->storage->rotate_epoch();
    return rotated ? Result<void>() : tl::unexpected(rotated.error());
  }
  return failure(ErrorCode::busy, "no server is up");
}

Result<void> Cluster::prune_all() {
  for (const auto& instance : instances_) {
    if (!instance->storage) continue;
    const auto pruned = instance->storage->gc(clock_.now());
    return pruned ? Result<void>() : tl::unexpected(pruned.error());
  }
  return failure(ErrorCode::busy, "no server is up");
}

std::string Cluster::token(const Actor& actor, Micros valid_for) {
  json::object claims;
  claims["userId"] = actor.user_id;
  claims["ownerId"] = actor.owner_id;
  claims["exp"] = (clock_.now().microseconds + valid_for.count()) / 1'000'000;
  return server::make_jwt(gate_->secret(), to_text(claims));
}

void Cluster::rotate_secret() { gate_->rotate(); }

}  // namespace nizhal::sim
