// `nizhal lint`: what is wrong with a domain before it runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include <nizhal/lint.hpp>

#include "cli/command.hpp"
#include "cli/domain_library.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

namespace {

using Level = LintFinding::Level;

const char* name_of(Level level) {
  switch (level) {
    case Level::error:
      return "error";
    case Level::warning:
      return "warning";
    default:
      return "note";
  }
}

std::string heading(Level level, std::uint64_t count) {
  const std::string text = counted(count, name_of(level));
  return level == Level::error ? red(text) : level == Level::warning ? yellow(text) : bold(text);
}

int run(const Globals& globals, const std::string& library) {
  const auto domain = load_domain(library);
  if (!domain) return fail("lint", domain.error());
  const LintReport report = lint(*domain);

  json::object answer{{"domain", domain->name()}, {"version", domain->options().version}};
  json::array findings;
  std::string text;
  bool is_bad = false;
  for (const Level level : {Level::error, Level::warning, Level::note}) {
    std::uint64_t count = 0;
    std::string paragraphs;
    for (const LintFinding& finding : report.findings) {
      if (finding.level != level) continue;
      ++count;
      findings.push_back(json::object{{"level", name_of(level)},
                                      {"code", finding.code},
                                      {"place", finding.place},
                                      {"message", finding.message},
                                      {"fix", finding.fix}});
      paragraphs += fmt::format("  {}  [{}]\n    {}\n", finding.place, finding.code, finding.message);
      if (!finding.fix.empty()) paragraphs += fmt::format("    fix: {}\n", finding.fix);
    }
    if (count > 0) text += heading(level, count) + "\n" + paragraphs;
    if (count > 0 && level != Level::note) is_bad = true;
    answer[std::string(name_of(level)) + "s"] = count;
  }
  if (globals.json) {
    answer["findings"] = std::move(findings);
    print_json(answer);
  } else {
    if (!is_bad)
      text += fmt::format("{} {} {}: no errors, no warnings\n", green("ok"), domain->name(), domain->options().version);
    text.pop_back();
    print_line(text);
  }
  return is_bad ? kNo : kDone;
}

}  // namespace

void add_lint_command(const Commands& commands) {
  CLI::App* command =
      commands.app.add_subcommand("lint", "Check a domain: leaks, collisions, anti-patterns, unscoped code");
  auto library = std::make_shared<std::string>();
  command->add_option("--domain", *library, "The domain's shared library")->required();
  command->footer("Exit 1 when there is an error or a warning; notes only inform.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, library] {
    action = [&globals, library] { return run(globals, *library); };
  });
}

}  // namespace nizhal::cli
