// `nizhal client`: its options, and the store that its commands work on.
#include "cli/client_command.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>

#include "cli/domain_library.hpp"
#include "cli/output.hpp"
#include "cli/parse.hpp"
#include "cli/token_payload.hpp"
#include "cli/variables.hpp"

namespace nizhal::cli {

Result<Store> open_client_store(const Globals& globals, const ClientOptions& options) {
  std::string token = options.token;
  if (token.empty()) {
    auto from_environment = read_variable("NIZHAL_TOKEN");
    if (!from_environment) return tl::unexpected(from_environment.error());
    token = std::move(*from_environment);
  }
  Actor actor;
  if (!token.empty()) {
    auto decoded = actor_of_token(token);
    if (!decoded) return tl::unexpected(decoded.error());
    actor = std::move(*decoded);
  }
  std::error_code ignored;
  if (token.empty() && !std::filesystem::exists(options.store, ignored))
    return failure(ErrorCode::usage,
                   fmt::format("{} is a new store, and nothing says whose; give --token T (or NIZHAL_TOKEN) the first "
                               "time, as printed by `nizhal token --user U --owner O`",
                               options.store));
  auto domain = load_domain(options.domain);
  if (!domain) return tl::unexpected(domain.error());

  return open_store({.path = options.store,
                     .domain = std::move(*domain),
                     .actor = std::move(actor),
                     .server = options.server,
                     .token = [token] { return token; },
                     .other_actor = options.other_actor,
                     .start_online = false,
                     .log = [sink = make_log_sink(globals.log, LogLevel::error)](
                                std::string_view level,
                                std::string_view message) { sink(parse_log_level(level), "client", message); }});
}

namespace {

struct Words {
  ClientOptions client;
  std::string name, args, sql, timeout = "10m";
  std::int64_t dead_letter = 0;
  std::int64_t conflict = 0;
  std::string client_mutation_id;
  bool watches = false;
  WatchOptions watch;
  PresenceWords presence;
  EditWords edit;
  std::string present_for, presence_timeout = "5s";
};

using Run = int (*)(const Globals&, Store&, const Words&);

int run_mutate(const Globals& globals, Store& store, const Words& words) {
  if (words.name == "-" && words.args.empty()) return client_mutate_lines(globals, store);
  return client_mutate(globals, store, words.name, words.args.empty() ? "{}" : words.args);
}

int run_sync(const Globals& globals, Store& store, const Words& words) {
  const auto timeout = parse_duration(words.timeout);
  if (!timeout) return fail("client sync", kUsage, "--timeout: " + timeout.error().message);
  return client_sync(globals, store, *timeout);
}

int run_track(const Globals& globals, Store& store, const Words& words) {
  PresenceWords presence = words.presence;
  presence.duration = words.present_for;
  return client_track(globals, store, presence);
}

int run_presence(const Globals& globals, Store& store, const Words& words) {
  PresenceWords presence = words.presence;
  presence.duration = words.presence_timeout;
  presence.count = words.watch.count;
  return client_presence(globals, store, presence);
}

}  // namespace

void add_client_command(const Commands& commands) {
  CLI::App* client = commands.app.add_subcommand("client", "A device in the terminal, the tool to debug with");
  auto words = std::make_shared<Words>();
  client->add_option("--domain", words->client.domain, "The domain's shared library")->required();
  client->add_option("--store", words->client.store, "The device's file, created when absent")->required();
  client->add_option("--server", words->client.server, "http(s)://HOST:PORT; kept in the store at first open");
  client->add_option("--token", words->client.token,
                     "The bearer token (or NIZHAL_TOKEN); its actor is kept at first open");
  client
      ->add_option("--other-actor", words->client.other_actor,
                   "When the file belongs to another actor: refuse it, archive it and start afresh, or discard it with "
                   "all that is pending")
      ->transform(CLI::CheckedTransformer(std::map<std::string, OtherActor>{{"refuse", OtherActor::Refuse},
                                                                            {"archive", OtherActor::Archive},
                                                                            {"discard", OtherActor::Discard}})
                      .description("refuse|archive|discard"))
      ->option_text(" ");
  client->require_subcommand(1);
  client->fallthrough();
  client->footer(
      "A new store needs --token, and --server to sync; later both may be left out. Only sync,\n"
      "track, presence, and watching with --online, touch the network. An expired token still allows local work.");

  const auto add = [&commands, words](CLI::App* parent, const std::string& name, const std::string& help, Run run) {
    CLI::App* command = parent->add_subcommand(name, help);
    command->fallthrough();
    command->callback([command, &globals = commands.globals, &action = commands.action, words, run, name] {
      // The innermost command decides: a parent's callback runs as well.
      if (!command->get_subcommands().empty()) return;
      action = [&globals, words, run, name]() -> int {
        if (words->watches) keep_signals_for_watch();
        auto store = open_client_store(globals, words->client);
        if (!store) return fail("client " + name, store.error());
        return run(globals, *store, *words);
      };
    });
    return command;
  };

  CLI::App* mutate =
      add(client, "mutate", "Run a mutator here and put it in the outbox; never touches the network", run_mutate);
  mutate->add_option("NAME", words->name, "The mutator; - reads `NAME JSON` lines from standard input")->required();
  mutate->add_option("JSON", words->args, "Its arguments, one JSON object");

  CLI::App* edit = add(client, "edit", "Edit a CRDT column of a row: print the update, or run a mutator with it",
                       [](const Globals& globals, Store& store, const Words& given) {
                         return client_edit(globals, store, given.client.domain, given.edit);
                       });
  edit->add_option("TABLE", words->edit.table, "The table")->required();
  edit->add_option("KEY", words->edit.key, "The row's key")->required();
  edit->add_option("COLUMN", words->edit.column, "The column, of type crdt_text or crdt_map")->required();
  edit->add_option("OPERATION", words->edit.operation,
                   "insert POSITION TEXT, remove POSITION LENGTH (of a text); set NAME JSON, unset NAME (of a map)")
      ->required();
  edit->add_option("OPERANDS", words->edit.operands, "As the operation says")->required()->expected(1, 2);
  edit->add_option("--mutator", words->edit.mutator, "Run this mutator, whose arguments are the key and the update");

  CLI::App* sync = add(client, "sync", "Push and pull until nothing is pending, or until it fails", run_sync);
  sync->add_option("--timeout", words->timeout, "How long to try: 30s, 10m")->capture_default_str();

  CLI::App* query = add(
      client, "query", "Run read-only SQL over the device's tables",
      [](const Globals& globals, Store& store, const Words& given) { return client_query(globals, store, given.sql); });
  query->add_option("SQL", words->sql, "One statement that reads")->required();

  const auto add_watch_options = [words](CLI::App* command) {
    command->add_flag("--online", words->watch.online, "Sync all the time meanwhile; else the network is not touched");
    command->add_option("--count", words->watch.count, "End after that many lines; else at SIGINT or SIGTERM");
  };
  CLI::App* watch = add(client, "watch", "Show the rows of a query, and then each change of them",
                        [](const Globals& globals, Store& store, const Words& given) {
                          return client_watch(globals, store, given.sql, given.watch);
                        });
  watch->add_option("SQL", words->sql, "One statement that reads")->required();
  watch->parse_complete_callback([words] { words->watches = true; });
  add_watch_options(watch);

  CLI::App* status =
      add(client, "status", "Show what is pending, what failed, and when it last synced",
          [](const Globals& globals, Store& store, const Words& given) {
            return given.watches ? client_watch_status(globals, store, given.watch) : client_status(globals, store);
          });
  status->add_flag("--watch", words->watches, "Go on: one line for each change of it");
  add_watch_options(status);
  add(client, "outbox", "List the mutations that wait for the server",
      [](const Globals& globals, Store& store, const Words&) { return client_outbox(globals, store); });

  CLI::App* track =
      add(client, "track", "Be present in a bucket until SIGINT or SIGTERM, for others to see", run_track);
  track->add_option("BUCKET", words->presence.bucket, "The bucket's key, as in team:t1")->required();
  track->add_option("JSON", words->presence.payload, "What to say of this device, one JSON object");
  track->add_option("--for", words->present_for, "End after that time: 30s, 10m");
  track->parse_complete_callback([words] { words->watches = true; });
  CLI::App* presence = add(client, "presence", "Show who is present in a bucket", run_presence);
  presence->add_option("BUCKET", words->presence.bucket, "The bucket's key, as in team:t1")->required();
  presence->add_flag("--watch", words->presence.watches, "Go on: one line for each change of it");
  presence->add_option("--count", words->watch.count, "With --watch, end after that many lines");
  presence->add_option("--timeout", words->presence_timeout, "How long to wait until somebody is there")
      ->capture_default_str();
  presence->parse_complete_callback([words] { words->watches = true; });

  CLI::App* undo = add(client, "undo", "Take a mutation back, by the inverse that its mutator declares",
                       [](const Globals& globals, Store& store, const Words& given) {
                         return client_undo(globals, store, given.client_mutation_id);
                       });
  undo->add_option("ID", words->client_mutation_id, "Its client mutation id, as `mutate` printed it")->required();

  CLI::App* dead_letters =
      add(client, "dead-letters", "List what the server refused, with the reason",
          [](const Globals& globals, Store& store, const Words&) { return client_dead_letters(globals, store); });
  dead_letters->require_subcommand(0, 1);
  CLI::App* retry = add(dead_letters, "retry", "Put one back into the outbox",
                        [](const Globals& globals, Store& store, const Words& given) {
                          return client_retry(globals, store, given.dead_letter, nullptr);
                        });
  retry->add_option("ID", words->dead_letter, "Its id in the list")->required();
  CLI::App* edit_letter = add(dead_letters, "edit", "Put one back into the outbox with other arguments",
                              [](const Globals& globals, Store& store, const Words& given) {
                                return client_retry(globals, store, given.dead_letter, &given.args);
                              });
  edit_letter->add_option("ID", words->dead_letter, "Its id in the list")->required();
  edit_letter->add_option("JSON", words->args, "All arguments, one JSON object")->required();
  CLI::App* discard =
      add(dead_letters, "discard", "Drop one for good", [](const Globals& globals, Store& store, const Words& given) {
        return client_discard(globals, store, given.dead_letter);
      });
  discard->add_option("ID", words->dead_letter, "Its id in the list")->required();

  CLI::App* conflicts =
      add(client, "conflicts", "List the edits of this device that lost to later ones of others",
          [](const Globals& globals, Store& store, const Words&) { return client_conflicts(globals, store); });
  conflicts->require_subcommand(0, 1);
  CLI::App* dismiss =
      add(conflicts, "dismiss", "Take one off the list", [](const Globals& globals, Store& store, const Words& given) {
        return client_dismiss(globals, store, given.conflict);
      });
  dismiss->add_option("ID", words->conflict, "Its id in the list")->required();
}

}  // namespace nizhal::cli
