// `nizhal version` and `nizhal help`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include <nizhal/domain.hpp>

#include "cli/command.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

namespace {
constexpr int kWireProtocol = 1;
}

std::string version_line() {
  return fmt::format("nizhal {} (wire protocol {}, domain ABI {})", NIZHAL_VERSION, kWireProtocol, kDomainAbi);
}

const CLI::App* find_command(const CLI::App& app, const std::string& name) {
  const auto found = app.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
  return found.empty() ? nullptr : found.front();
}

void add_version_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("version", "Print the version, the wire protocol and the domain ABI");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action] {
    action = [&globals] {
      if (globals.json) {
        print_json(json::object{{"version", NIZHAL_VERSION}, {"protocol", kWireProtocol}, {"domainAbi", kDomainAbi}});
      } else {
        print_line(version_line());
      }
      return kDone;
    };
  });
}

void add_help_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("help", "Print this, or what one command takes");
  auto words = std::make_shared<std::vector<std::string>>();
  command->add_option("COMMAND", *words, "The command to explain");
  command->fallthrough();
  command->callback([&app = commands.app, &action = commands.action, words] {
    action = [&app, words]() -> int {
      const CLI::App* asked = &app;
      std::string path;
      for (const std::string& word : *words) {
        path += (path.empty() ? "" : " ") + asked->get_name();
        asked = find_command(*asked, word);
        if (!asked) return fail("help", kUsage, fmt::format("{} has no command \"{}\"", path, word));
      }
      // "help" itself was parsed, so the program's own help has to be asked for without it.
      fmt::print("{}", asked == &app ? app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal)
                                     : asked->help(path));
      return kDone;
    };
  });
}

}  // namespace nizhal::cli
