// The real engine behind a device: as an app has it, and with a clock that is wrong.
#include <fmt/format.h>

#include "chaos/world_state.hpp"
#include "client/tuning.hpp"
#include "domain/arguments_codec.hpp"
#include "net/file_locks.hpp"
#include "net/store_implementation.hpp"
#include "net/url.hpp"

namespace nizhal::chaos {
namespace {

class AppEngine : public Engine {
 public:
  explicit AppEngine(Store store) : store_(std::move(store)) {}
  Store* store() override { return &store_; }
  Result<std::string> mutate(std::string_view mutator, std::string_view args, const MutateOptions& options) override {
    auto ticket = store_.mutate_json(mutator, args, options);
    if (!ticket) return tl::unexpected(ticket.error());
    return ticket->client_mutation_id;
  }
  Result<SyncReport> sync() override { return store_.sync_now(kPatience); }
  void set_online(bool online) override { store_.set_online(online); }
  StoreStatus status() override { return store_.status(); }
  Result<std::vector<PendingMutation>> outbox() override { return store_.outbox(); }
  Result<std::vector<DeadLetter>> dead_letters() override { return store_.dead_letters(); }
  Result<SqlResult> sql(std::string_view text) override { return store_.sql(text); }

 private:
  Store store_;
};

class OffsetClock : public Clock {
 public:
  explicit OffsetClock(std::chrono::seconds offset) : offset_(offset) {}
  Timestamp now() override { return {system_clock().now().microseconds + std::chrono::microseconds(offset_).count()}; }
  std::chrono::microseconds monotonic() override { return system_clock().monotonic(); }

 private:
  const std::chrono::seconds offset_;
};

class OffsetEngine : public Engine {
 public:
  OffsetEngine(std::unique_ptr<OffsetClock> clock, std::unique_ptr<client::LocalStore> local, client::SyncOptions sync,
               net::StoreRuntimeOptions runtime)
      : clock_(std::move(clock)),
        local_(std::move(local)),
        machine_(*local_, *clock_, {}, std::move(sync)),
        runtime_(machine_, std::move(runtime)) {}
  Store* store() override { return nullptr; }
  Result<std::string> mutate(std::string_view name, std::string_view args, const MutateOptions& options) override {
    const MutatorDef* mutator = local_->domain().domain().find_mutator(name);
    if (!mutator) return failure(ErrorCode::not_found, fmt::format("there is no mutator {}", name));
    const auto parsed = parse_json(args);
    if (!parsed) return tl::unexpected(parsed.error());
    const auto values = decode_arguments(*mutator, *parsed);
    if (!values) return tl::unexpected(values.error());
    auto ticket = local_->mutate(name, *values, options);
    if (!ticket) return tl::unexpected(ticket.error());
    runtime_.mutated();
    return ticket->client_mutation_id;
  }
  Result<SyncReport> sync() override { return runtime_.sync_now(kPatience); }
  void set_online(bool online) override { runtime_.set_online(online); }
  StoreStatus status() override { return machine_.status(); }
  Result<std::vector<PendingMutation>> outbox() override { return local_->outbox(); }
  Result<std::vector<DeadLetter>> dead_letters() override { return local_->dead_letters(); }
  Result<SqlResult> sql(std::string_view text) override { return local_->sql(text); }

 private:
  std::unique_ptr<OffsetClock> clock_;
  std::unique_ptr<client::LocalStore> local_;
  net::CoreMachine machine_;
  net::StoreRuntime runtime_;
};

}  // namespace

Result<std::unique_ptr<Engine>> open_engine(StoreOptions options) {
  auto store = open_store(std::move(options));
  if (!store) return tl::unexpected(store.error());
  return std::make_unique<AppEngine>(*std::move(store));
}

Result<std::unique_ptr<Engine>> open_engine_with_clock(StoreOptions options, std::chrono::seconds offset) {
  auto domain = CompiledDomain::compile(std::move(options.domain));
  if (!domain) return tl::unexpected(domain.error());
  const auto url = net::parse_url(options.server);
  if (!url) return tl::unexpected(url.error());
  auto clock = std::make_unique<OffsetClock>(offset);
  auto local = client::LocalStore::open({.path = options.path,
                                         .domain = *std::move(domain),
                                         .actor = options.actor,
                                         .server = options.server,
                                         .durability = options.durability,
                                         .other_actor = options.other_actor,
                                         .has_target = false,
                                         .coverage = options.coverage,
                                         .locks = std::make_shared<net::FileLocks>(options.path),
                                         .mode = options.mode},
                                        *clock, system_random(), {});
  if (!local) return tl::unexpected(local.error());
  client::SyncOptions sync;
  sync.server = options.server;
  sync.has_token = true;
  sync.pull_interval = options.pull_interval;
  net::StoreRuntimeOptions runtime;
  runtime.net.emplace();
  runtime.net->server = *url;
  runtime.token = std::move(options.token);
  runtime.start_online = options.start_online;
  runtime.tick = client::kTick;
  return std::make_unique<OffsetEngine>(std::move(clock), *std::move(local), std::move(sync), std::move(runtime));
}

}  // namespace nizhal::chaos
