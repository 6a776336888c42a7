// The parts of `nizhal client`: opening the store, and its commands.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

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

/// What the commands that follow a store have in common.
struct WatchOptions {
  bool online = false;      // sync all the time meanwhile
  std::uint64_t count = 0;  // end after that many lines; 0: never
};
/// SIGINT and SIGTERM are kept for the end of a watch. Before the store is opened, so that its threads leave them
/// alone.
void keep_signals_for_watch();
/// One line per status; until SIGINT or SIGTERM.
int client_watch_status(const Globals& globals, Store& store, const WatchOptions& options);
/// The rows of a query, then what changes; until SIGINT or SIGTERM.
int client_watch(const Globals& globals, Store& store, const std::string& sql, const WatchOptions& options);

struct PresenceWords {
  std::string bucket;
  std::string payload = "{}";
  std::string duration = {};  // how long to be present, or to wait until somebody is; empty: until a signal
  bool watches = false;
  std::uint64_t count = 0;  // of lines when watching; 0: until a signal
};
/// Present in the bucket until a signal, or for the given time. One line whenever it begins or ends to be seen there.
int client_track(const Globals& globals, Store& store, const PresenceWords& words);
/// Who is present in the bucket; one line per change when watching.
int client_presence(const Globals& globals, Store& store, const PresenceWords& words);

struct EditWords {
  std::string table, key, column;
  std::string operation;              // insert, remove, set, unset
  std::vector<std::string> operands;  // of it
  std::string mutator;                // to run with the update; empty: print it
};
/// An edit of a CRDT column, made from what the device has: prints the update, or runs a mutator with it.
int client_edit(const Globals& globals, Store& store, const std::string& library, const EditWords& words);

int client_outbox(const Globals& globals, const Store& store);
int client_dead_letters(const Globals& globals, const Store& store);
int client_retry(const Globals& globals, Store& store, std::int64_t dead_letter, const std::string* args);
int client_undo(const Globals& globals, Store& store, const std::string& client_mutation_id);
/// This device's edits that lost to later ones.
int client_conflicts(const Globals& globals, const Store& store);
int client_dismiss(const Globals& globals, Store& store, std::int64_t conflict);
int client_discard(const Globals& globals, Store& store, std::int64_t dead_letter);

}  // namespace nizhal::cli
