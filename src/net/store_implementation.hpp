// What stands behind nizhal::Store: the local store, the machine that syncs it, and the thread that drives both.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <nizhal/store.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "client/client_sync.hpp"
#include "client/live_queries.hpp"
#include "client/local_store.hpp"
#include "net/callbacks.hpp"
#include "net/store_runtime.hpp"
#include "net/ticket_board.hpp"

namespace nizhal {
namespace net {

class CoreMachine : public SyncMachine {
 public:
  CoreMachine(client::LocalStore& store, Clock& clock, Log log, client::SyncOptions options)
      : sync_(store, clock, system_random(), std::move(log), std::move(options)) {}
  client::Effects handle(const client::Event& event) override { return sync_.handle(event); }
  StoreStatus status() const override { return sync_.status(); }
  std::vector<Presence> presence(std::string_view bucket) const override { return sync_.presence(bucket); }

 private:
  client::ClientSync sync_;
};

/// Lets the status be told anew after each commit, whoever made it.
class StatusFollower : public client::CommitListener {
 public:
  explicit StatusFollower(StoreRuntime& runtime) : runtime_(runtime) {}
  void committed(std::shared_ptr<const client::Commit>) override { runtime_.status_changed(); }
  void storage_changed() override { runtime_.storage_changed(); }

 private:
  StoreRuntime& runtime_;
};

/// Tells the app of edits that lost, on the store's thread.
class ConflictFollower : public client::CommitListener {
 public:
  ConflictFollower(StoreRuntime& runtime, Log log) : runtime_(runtime), log_(std::move(log)) {}
  void committed(std::shared_ptr<const client::Commit> commit) override;
  Subscription add(std::function<void(const LostEdit&)> callback) {
    return callbacks_->add(std::move(callback)).second;
  }

 private:
  StoreRuntime& runtime_;
  const Log log_;
  std::shared_ptr<Callbacks<const LostEdit&>> callbacks_ = std::make_shared<Callbacks<const LostEdit&>>();
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
        machine(*local, system_clock(), log, std::move(sync)),
        runtime(machine, std::move(options)),
        status_follower(runtime),
        conflict_follower(runtime, log),
        board(make_board()) {
    local->add_listener(status_follower);
    local->add_listener(conflict_follower);
    local->add_listener(*board);
  }
  ~Implementation() {
    board->close();
    local->remove_listener(*board);
    local->remove_listener(conflict_follower);
    local->remove_listener(status_follower);
  }

  Result<Ticket> mutate(const MutatorDef& mutator, const MutatorDef::Values& values, const MutateOptions& options);
  /// Does `enqueue`, and waits for the server if that is the mode. `what` names it in errors.
  Result<Ticket> decide(std::string_view what, const MutateOptions& options,
                        const std::function<Result<Ticket>()>& enqueue);
  Result<const MutatorDef*> find(std::string_view name) const;
  /// The ticket as the app gets it: with what follows it.
  Ticket followed(std::string client_mutation_id) const { return Ticket(std::move(client_mutation_id), board); }

  std::unique_ptr<client::LocalStore> local;
  const Log log;
  std::shared_ptr<client::LiveQueries> live;  // shared with subscriptions only while they end; outlives the thread
  /// After the thread's end and before the file's: a subscription that ends just now may keep the queries longer.
  struct LiveEnd {
    client::LiveQueries& queries;
    ~LiveEnd() { queries.close(); }
  } live_end{*live};
  net::CoreMachine machine;
  net::StoreRuntime runtime;
  net::StatusFollower status_follower;
  net::ConflictFollower conflict_follower;
  std::shared_ptr<detail::TicketBoard> board;

 private:
  std::shared_ptr<detail::TicketBoard> make_board();
  /// Enqueued already: its outcome.
  Result<Ticket> wait_for_server(const std::string& client_mutation_id, std::chrono::milliseconds timeout);
};

}  // namespace nizhal
