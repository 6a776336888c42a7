// What stands behind nizhal::Store: the local store, the machine that syncs it, and the thread that drives both.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include <nizhal/store.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "client/client_sync.hpp"
#include "client/live_queries.hpp"
#include "client/local_store.hpp"
#include "net/store_runtime.hpp"

namespace nizhal {
namespace net {

class CoreMachine : public SyncMachine {
 public:
  CoreMachine(client::LocalStore& store, Log log, client::SyncOptions options)
      : sync_(store, system_clock(), system_random(), std::move(log), std::move(options)) {}
  client::Effects handle(const client::Event& event) override { return sync_.handle(event); }
  StoreStatus status() const override { return sync_.status(); }

 private:
  client::ClientSync sync_;
};

}  // namespace net

class Store::Implementation {
 public:
  Implementation(std::unique_ptr<client::LocalStore> opened, Log given_log, client::SyncOptions sync,
                 net::StoreRuntimeOptions options)
      : local(std::move(opened)),
        log(std::move(given_log)),
        live(std::make_shared<client::LiveQueries>(
            *local, [this] { runtime.post([queries = live.get()] { queries->process(); }); })),
        machine(*local, log, std::move(sync)),
        runtime(machine, std::move(options)) {}

  Result<Ticket> mutate(const MutatorDef& mutator, const MutatorDef::Values& values, const MutateOptions& options);
  Result<const MutatorDef*> find(std::string_view name) const;

  std::unique_ptr<client::LocalStore> local;
  const Log log;
  std::shared_ptr<client::LiveQueries> live;  // shared with subscriptions only while they end; outlives the thread
  net::CoreMachine machine;
  net::StoreRuntime runtime;
};

}  // namespace nizhal
