// `nizhal gc`: prunes tombstones and old records now, also beside a running server.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/environment.hpp"
#include "cli/command.hpp"
#include "cli/database.hpp"
#include "cli/domain_library.hpp"
#include "cli/output.hpp"
#include "cli/parse.hpp"

namespace nizhal::cli {

namespace {

struct Options {
  std::string domain, db, retention = "30d";
};

int run(const Globals& globals, const Options& options) {
  const auto retention = parse_duration(options.retention);
  if (!retention) return fail("gc", kUsage, "--retention: " + retention.error().message);
  const auto url = database_url(options.db);
  if (!url) return fail("gc", url.error());
  auto domain = load_domain(options.domain);
  if (!domain) return fail("gc", domain.error());
  auto storage = open_database(*url, std::move(*domain), Log(make_log_sink(globals.log, LogLevel::warning)));
  if (!storage) return fail("gc", storage.error());
  if (auto fits = (*storage)->provision(); !fits) return fail("gc", fits.error());

  // Nothing kept means everything that is settled, whatever this clock says against the one that wrote it.
  Timestamp before = system_clock().now();
  if (retention->count() == 0) {
    before.microseconds += std::chrono::microseconds(std::chrono::hours(24)).count();
  } else {
    before.microseconds -= std::chrono::microseconds(*retention).count();
  }
  const auto report = (*storage)->gc(before);
  if (!report) return fail("gc", report.error());
  if (globals.json) {
    print_json(json::object{{"removals", report->removals},
                            {"mutations", report->mutations},
                            {"auditRows", report->audit_rows},
                            {"recent", report->recent},
                            {"prunedThrough", number(report->pruned_through)}});
  } else {
    print_line(fmt::format("pruned {}, {}, {}, and the recent updates of {}; cursors from version {} on stay valid",
                           counted(report->removals, "removal"), counted(report->mutations, "mutation record"),
                           counted(report->audit_rows, "audit row"), counted(report->recent, "row"),
                           number(report->pruned_through)));
  }
  return kDone;
}

}  // namespace

void add_gc_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("gc", "Prune tombstones and old records of a server's database now");
  auto options = std::make_shared<Options>();
  command->add_option("--domain", options->domain, "The domain's shared library")->required();
  command->add_option("--db", options->db, "The database: postgresql://… or sqlite:PATH (or NIZHAL_DB)");
  command->add_option("--retention", options->retention, "How old what is kept may be; 0s prunes all that is settled")
      ->capture_default_str();
  command->footer("Works beside a running server. A device that was away for longer than the retention syncs afresh.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, options] {
    action = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace nizhal::cli
