// nizhal::Store: the app's door to a local store and to the runtime that syncs it.
#include <nizhal/store.hpp>
#include <nizhal/sync_target.hpp>

#include <exception>
#include <typeinfo>
#include <utility>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "base/json.hpp"
#include "client/tuning.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/compiled_domain.hpp"
#include "net/file_locks.hpp"
#include "net/store_implementation.hpp"
#include "net/url.hpp"

namespace nizhal {

Result<const MutatorDef*> Store::Implementation::find(std::string_view name) const {
  if (const MutatorDef* mutator = local->domain().domain().find_mutator(name)) return mutator;
  return failure(ErrorCode::not_found,
                 fmt::format("the domain \"{}\" has no mutator \"{}\"", local->domain().domain().name(), name));
}

Store::Store(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<Ticket> Store::mutate_values(std::string_view name, const void* args, const std::type_info& type,
                                    const MutateOptions& options) {
  const auto mutator = implementation_->find(name);
  if (!mutator) return tl::unexpected(mutator.error());
  if (!(*mutator)->args_type || *(*mutator)->args_type != type)
    return failure(
        ErrorCode::invalid_args,
        fmt::format("mutator \"{}\" was declared with other arguments than the type it is called with", name));
  return implementation_->mutate(**mutator, (*mutator)->values_of(args), options);
}

Result<Ticket> Store::mutate_json(std::string_view name, std::string_view args, const MutateOptions& options) {
  const auto mutator = implementation_->find(name);
  if (!mutator) return tl::unexpected(mutator.error());
  const auto parsed = parse_json(args);
  if (!parsed) return failure(ErrorCode::invalid_args, "arguments: " + parsed.error().message);
  const auto values = decode_arguments(**mutator, *parsed);
  if (!values) return tl::unexpected(values.error());
  return implementation_->mutate(**mutator, *values, options);
}

Result<std::vector<Row>> Store::query_rows(const QuerySpec& query) const {
  return implementation_->local->query(query);
}

Result<SqlResult> Store::sql(std::string_view text) const { return implementation_->local->sql(text); }

Result<SyncReport> Store::sync_now(std::chrono::milliseconds timeout) {
  return implementation_->runtime.sync_now(timeout);
}

void Store::set_online(bool online) { implementation_->runtime.set_online(online); }

StoreStatus Store::status() const { return implementation_->machine.status(); }

Subscription Store::on_status(std::function<void(const StoreStatus&)> callback) {
  return implementation_->runtime.on_status(std::move(callback));
}

Result<std::vector<PendingMutation>> Store::outbox() const { return implementation_->local->outbox(); }

Result<std::vector<DeadLetter>> Store::dead_letters() const { return implementation_->local->dead_letters(); }

Result<Ticket> Store::retry(std::int64_t dead_letter) {
  auto ticket = implementation_->local->retry(dead_letter, std::nullopt);
  if (!ticket) return ticket;
  implementation_->runtime.mutated();
  return implementation_->followed(std::move(ticket->client_mutation_id));
}

Result<Ticket> Store::retry_with(std::int64_t dead_letter, std::string_view args) {
  auto ticket = implementation_->local->retry(dead_letter, args);
  if (!ticket) return ticket;
  implementation_->runtime.mutated();
  return implementation_->followed(std::move(ticket->client_mutation_id));
}

Result<void> Store::discard(std::int64_t dead_letter) {
  auto discarded = implementation_->local->discard(dead_letter);
  if (discarded) implementation_->runtime.mutated();
  return discarded;
}

Result<Store> open_store(StoreOptions options) {
  if (options.target && !options.server.empty())
    return failure(ErrorCode::usage, "a store syncs with a server or with a target; leave one of them out");
  if (options.target && options.coverage == Coverage::subscribed)
    return failure(ErrorCode::usage, "a target decides by itself what its pulls bring; leave the coverage out");
  // Before the store is touched: it would remember a wrong address.
  if (!options.server.empty())
    if (const auto url = net::parse_url(options.server); !url) return tl::unexpected(url.error());
  auto domain = CompiledDomain::compile(std::move(options.domain));
  if (!domain) return tl::unexpected(domain.error());
  Log log;
  if (options.log)
    log = Log([sink = options.log](LogLevel level, std::string_view area, std::string_view message) {
      sink(to_string(level), fmt::format("{}: {}", area, message));
    });
  std::shared_ptr<client::StoreLocks> locks;
  if (options.path != ":memory:") locks = std::make_shared<net::FileLocks>(options.path);
  auto local = client::LocalStore::open({.path = std::move(options.path),
                                         .domain = std::move(*domain),
                                         .actor = std::move(options.actor),
                                         .server = options.server,
                                         .durability = options.durability,
                                         .other_actor = options.other_actor,
                                         .has_target = options.target != nullptr,
                                         .coverage = options.coverage,
                                         .locks = std::move(locks),
                                         .mode = options.mode},
                                        system_clock(), system_random(), log);
  if (!local) return tl::unexpected(local.error());

  net::StoreRuntimeOptions runtime;
  // With a target, the server that the file may remember is not asked.
  if (options.target) runtime.target = std::make_unique<net::TargetAdapter>(std::move(options.target), **local, log);
  const std::string server = runtime.target ? runtime.target->name() : (*local)->server();
  if (runtime.target) {
    // It is asked instead.
  } else if (!server.empty()) {
    const auto url = net::parse_url(server);
    if (!url) return tl::unexpected(url.error());
    runtime.net.emplace();
    runtime.net->server = *url;
  }
  client::SyncOptions sync;
  sync.server = server;
  sync.is_target = runtime.target != nullptr;
  sync.use_socket = !sync.is_target;
  sync.has_token = options.token != nullptr;
  sync.pull_interval = options.pull_interval;
  runtime.token = std::move(options.token);
  runtime.start_online = options.start_online;
  runtime.log = log;
  runtime.tick = client::kTick;
  try {
    return Store(std::make_unique<Store::Implementation>(std::move(*local), log, std::move(sync), std::move(runtime)));
  } catch (const std::exception& error) {
    return failure(ErrorCode::busy, fmt::format("the store's thread cannot be started: {}", error.what()));
  }
}

}  // namespace nizhal
