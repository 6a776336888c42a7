// What main.cpp and the commands agree on: a command declares its options and sets the action that runs once they are
// parsed. One file per command; none holds logic of the engine.
#pragma once

#include <functional>
#include <string>

#include "cli/log_output.hpp"

namespace CLI {
class App;
}

namespace nizhal::cli {

struct Globals {
  bool json = false;
  LogOptions log;
};

/// Answers the exit code.
using Action = std::function<int()>;

/// Where a command is added. Globals are complete when the action runs.
struct Commands {
  CLI::App& app;
  Globals& globals;
  Action& action;
};

/// The subcommand of that name; nullptr when there is none.
const CLI::App* find_command(const CLI::App& app, const std::string& name);

void add_serve_command(const Commands& commands);
void add_token_command(const Commands& commands);
void add_client_command(const Commands& commands);
void add_migrate_command(const Commands& commands);
void add_introspect_command(const Commands& commands);
void add_gc_command(const Commands& commands);
void add_epoch_command(const Commands& commands);
void add_inspect_command(const Commands& commands);
void add_lint_command(const Commands& commands);
void add_demo_command(const Commands& commands);
void add_chaos_command(const Commands& commands);
void add_bench_command(const Commands& commands);
void add_sim_command(const Commands& commands);
/// `nizhal 0.6.0 (wire protocol 1, domain ABI 3)`.
std::string version_line();
void add_version_command(const Commands& commands);
void add_help_command(const Commands& commands);

}  // namespace nizhal::cli
