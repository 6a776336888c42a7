// The parts of `nizhal client`: opening the store, and its commands.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <nizhal/store.hpp>

#include "cli/command.hpp"

namespace nizhal::cli {

struct ClientOptions {
  std::string domain, store, server, token;
  OtherActor other_actor = OtherActor::Refuse;
};

/// The device's store, with the network untouched until sync_now. Errors: usage when it is the first use and no token
/// says whose store it is, identity_mismatch, and the store's.
Result<Store> open_client_store(const Globals& globals, const ClientOptions& options);

int client_mutate(const Globals& globals, Store& store, const std::string& name, const std::string& args);
/// One mutation a line of standard input, `NAME JSON`, each acknowledged with a line when it is durable.
int client_mutate_lines(const Globals& globals, Store& store);
int client_sync(const Globals& globals, Store& store, std::chrono::milliseconds timeout);
int client_query(const Globals& globals, const Store& store, const std::string& sql);
int client_status(const Globals& globals, const Store& store);
int client_outbox(const Globals& globals, const Store& store);
int client_dead_letters(const Globals& globals, const Store& store);
int client_retry(const Globals& globals, Store& store, std::int64_t dead_letter, const std::string* args);
int client_discard(const Globals& globals, Store& store, std::int64_t dead_letter);

}  // namespace nizhal::cli
