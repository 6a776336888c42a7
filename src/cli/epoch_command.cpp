// `nizhal epoch --rotate`: a new generation after a database was restored from a backup, so that every device starts
// afresh and replays its outbox (S24).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/command.hpp"
#include "cli/database.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

namespace {

struct Options {
  std::string db;
  bool rotate = false;
};

// The epoch is the engine's own: no table of the database's domain is looked at, but a domain has one.
Domain any_domain() {
  struct Row {
    std::string id;
  };
  Domain domain("epoch");
  domain.add(table<Row>("rows").key("id", &Row::id));
  return domain;
}

int run(const Globals& globals, const Options& options) {
  if (!options.rotate)
    return fail("epoch", kUsage, "nothing to do; --rotate makes every device start afresh and replay its outbox");
  const auto url = database_url(options.db);
  if (!url) return fail("epoch", url.error());
  auto storage = open_database(*url, any_domain(), Log(make_log_sink(globals.log, LogLevel::warning)));
  if (!storage) return fail("epoch", storage.error());
  const auto epoch = (*storage)->rotate_epoch();
  if (!epoch) return fail("epoch", epoch.error());
  if (globals.json) {
    print_json(json::object{{"epoch", *epoch}});
  } else {
    print_line(fmt::format("new epoch {}; devices start afresh on their next pull and replay their outbox", *epoch));
  }
  return kDone;
}

}  // namespace

void add_epoch_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("epoch", "Start a new epoch after a restore from a backup");
  auto options = std::make_shared<Options>();
  command->add_option("--db", options->db, "The database: postgresql://… or sqlite:PATH (or NIZHAL_DB)");
  command->add_flag("--rotate", options->rotate, "Do it");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, options] {
    action = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace nizhal::cli
