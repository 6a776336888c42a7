// `nizhal serve`: the sync server.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include <nizhal/server.hpp>

#include "cli/command.hpp"
#include "cli/database.hpp"
#include "cli/domain_library.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "cli/serve_options.hpp"
#include "cli/variables.hpp"
#include "domain/compiled_domain.hpp"

namespace nizhal::cli {

namespace {

struct Options {
  ServeSettings settings;
  std::string config;
  bool print_config = false;
  bool end_with_parent = false;
};

void log_as_texts(ServerOptions& options, LogSink sink) {
  options.log = [sink = std::move(sink)](std::string_view level, std::string_view area, std::string_view message) {
    sink(parse_log_level(level), area, message);
  };
}

int run(const Globals& globals, Options& options) {
  ServeSettings& settings = options.settings;
  if (!options.config.empty()) {
    auto applied = apply_config_file(options.config, settings);
    if (!applied) return fail("serve", applied.error());
  }
  if (settings.value("db").empty()) {
    auto url = read_variable("NIZHAL_DB");
    if (!url) return fail("serve", url.error());
    settings["db"].value = *url;
  }
  if (options.print_config) {
    print_line(globals.json ? as_json(settings) : as_toml(settings));
    if (!globals.json)
      for (const char* name : {"NIZHAL_JWT_SECRET", "NIZHAL_ADMIN_PASSWORD"}) {
        const auto value = read_variable(name);
        print_line(fmt::format("# {} is {}", name, value && !value->empty() ? "set" : "not set"));
      }
    return kDone;
  }
  if (settings.value("domain").empty())
    return fail("serve", kUsage, "no domain was named; give --domain ./libyour_domain.so");
  if (settings.value("db").empty())
    return fail("serve", kUsage,
                "no database was named; give --db postgresql://USER@HOST:5432/NAME or sqlite:PATH, or set NIZHAL_DB");
  auto plan = plan_of(settings);
  if (!plan) return fail("serve", plan.error());
  auto secret = read_jwt_secret();
  if (!secret) return fail("serve", secret.error());
  auto admin_password = read_variable("NIZHAL_ADMIN_PASSWORD");
  if (!admin_password) return fail("serve", admin_password.error());
  auto domain = load_domain(settings.value("domain"));
  if (!domain) return fail("serve", domain.error());
  // Told here, with the exit code of what cannot be used; the server would take it for a wrong option.
  if (auto compiled = CompiledDomain::compile(*domain); !compiled) return fail("serve", compiled.error());

  ServerOptions server_options = std::move(plan->server);
  server_options.domain = std::move(*domain);
  server_options.auth = bearer_token_auth({.secret = std::move(*secret)});
  server_options.admin_password = std::move(*admin_password);
  if (!settings.value("seed").empty()) {
    auto script = read_file(settings.value("seed"));
    if (!script) return fail("serve", kUnusable, "--seed: " + script.error().message);
    server_options.seed_sql = std::move(*script);
  }
  log_as_texts(server_options, make_log_sink(globals.log, LogLevel::info));

  if (options.end_with_parent) {
    const pid_t parent = ::getppid();
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    // The parent may have ended before the line above.
    if (::getppid() != parent) return kDone;
  }
  Server server(std::move(server_options));
  ListenOptions listen;
  listen.host = plan->address.host;
  listen.port = plan->address.port;
  listen.on_ready = [&globals, address = plan->address](std::uint16_t port) mutable {
    address.port = port;
    if (globals.json) {
      print_json(json::object{{"listening", address.url()}, {"port", port}});
    } else {
      print_line("listening on " + address.url());
    }
  };
  return server.listen(listen);
}

}  // namespace

void add_serve_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("serve", "Run the sync server");
  auto options = std::make_shared<Options>();
  for (Setting& setting : options->settings.all) {
    CLI::Option* option = command->add_option("--" + setting.name, setting.value, setting.help);
    if (!setting.value.empty()) option->capture_default_str();
    if (setting.is_list) option->join(' ');
  }
  command->add_option("--config", options->config, "A TOML file with the settings above; the command line wins");
  command->add_flag("--print-config", options->print_config, "Print the effective settings and end");
  command->add_flag("--end-with-parent", options->end_with_parent, "Drain and end when the parent process ends");
  command->footer(
      "Needs NIZHAL_JWT_SECRET (at least 16 bytes). SIGTERM and SIGINT drain and end it with 0. An empty\n"
      "database is provisioned. One that does not fit ends it with 3 and the command to run: PostgreSQL is\n"
      "changed by `nizhal migrate` only; a SQLite file is extended here, and what was added is logged.");
  command->fallthrough();
  command->callback([command, &globals = commands.globals, &action = commands.action, options] {
    for (Setting& setting : options->settings.all) setting.is_given = command->count("--" + setting.name) > 0;
    action = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace nizhal::cli
