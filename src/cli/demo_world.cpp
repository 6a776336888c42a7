// See demo_world.hpp.
#include "cli/demo_world.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/bytes.hpp"
#include "base/environment.hpp"
#include "base/json.hpp"
#include "cli/files.hpp"
#include "cli/output.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::cli {

namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr const char* kDatabase = "server.db";

// One query for devices and server: a balance is never stored, it is the sum of a customer's entries.
constexpr const char* kBalances =
    "SELECT c.name AS customer, sum(e.amount) AS balance FROM ledger_entries e JOIN customers c ON c.id = "
    "e.customer_id "
    "GROUP BY c.id HAVING sum(e.amount) <> 0 ORDER BY c.name";

std::string indented(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string out = "     ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "     ";
  }
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + shell_quoted(word);
  return out;
}

}  // namespace

std::string shell_quoted(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,@%+";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

Result<std::unique_ptr<DemoWorld>> DemoWorld::create() {
  std::unique_ptr<DemoWorld> world(new DemoWorld());
  auto program = own_program();
  if (!program) return tl::unexpected(program.error());
  world->program_ = std::move(*program);
  std::error_code error;
  world->library_ =
      (std::filesystem::path(world->program_).parent_path().parent_path() / "lib" / "libledger_domain.so").string();
  if (!std::filesystem::exists(world->library_, error))
    return failure(ErrorCode::io_error,
                   fmt::format("the ledger example is not at {}; `make build` makes it", world->library_));

  std::string pattern = (std::filesystem::temp_directory_path(error) / "nizhal-demo-XXXXXX").string();
  if (error || !::mkdtemp(pattern.data()))
    return failure(ErrorCode::io_error, fmt::format("no temporary directory {}: {}", pattern, std::strerror(errno)));
  world->directory_ = pattern;
  std::array<std::uint8_t, 32> secret{};
  system_random().fill(secret);
  world->secret_ = to_hex(secret);
  return world;
}

DemoWorld::~DemoWorld() {
  if (server_) {
    server_->signal(SIGTERM);
    server_->wait(std::chrono::seconds(15));
  }
  server_.reset();
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

void DemoWorld::step(const std::string& title) {
  print_line(fmt::format("\n{}", bold(fmt::format("{}  {}", ++steps_, title))));
}

void DemoWorld::say(const std::string& text) { print_line("   " + text); }

Result<void> DemoWorld::start_server() {
  const std::vector<std::string> options{"--db", fmt::format("sqlite:{}", kDatabase), "--listen", listen_};
  say(dim("$ nizhal serve --domain libledger_domain.so " + joined(options)));
  std::vector<std::string> arguments{program_, "serve", "--domain", library_, "--end-with-parent"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  auto started = ChildProcess::spawn(std::move(arguments), {.environment = {{"NIZHAL_JWT_SECRET", secret_},
                                                                            {"NIZHAL_JWT_SECRET_FILE", ""},
                                                                            {"NIZHAL_DB", ""},
                                                                            {"NIZHAL_DB_FILE", ""}},
                                                            .directory = directory_.string(),
                                                            .own_group = true});
  if (!started) return tl::unexpected(started.error());
  server_ = std::move(*started);
  const auto line = server_->wait_for_line("listening on ", kPatience);
  if (!line)
    return failure(ErrorCode::unreachable, fmt::format("the server did not come up; it says:\n{}", server_->err()));
  say("  " + *line);
  url_ = line->substr(line->find("http://"));
  // The devices remember the address, so the next start takes the same.
  listen_ = url_.substr(std::string_view("http://").size());
  return {};
}

Result<void> DemoWorld::stop_server() {
  say(dim(fmt::format("$ kill -TERM {}", server_->pid())));
  server_->signal(SIGTERM);
  const auto status = server_->wait(kPatience);
  if (!status || *status != ExitStatus{0, 0})
    return failure(ErrorCode::internal,
                   fmt::format("the server did not drain and end with 0; it says:\n{}", server_->err()));
  server_.reset();
  return {};
}

bool DemoWorld::server_runs() { return server_ && !server_->wait(std::chrono::milliseconds(0)); }

Result<DemoDevice> DemoWorld::add_device(std::string letter, std::string user) {
  const auto finished = run_process({program_, "token", "--user", user, "--owner", "corner-shop", "--expires", "1d"},
                                    {.environment = {{"NIZHAL_JWT_SECRET", secret_}, {"NIZHAL_JWT_SECRET_FILE", ""}}});
  if (!finished) return tl::unexpected(finished.error());
  if (finished->status != ExitStatus{0, 0}) return failure(ErrorCode::internal, "no token: " + finished->err);
  DemoDevice device{letter, user, fmt::format("device-{}.db", letter == "A" ? "a" : "b"), finished->out};
  while (!device.token.empty() && device.token.back() == '\n') device.token.pop_back();
  return device;
}

std::vector<std::string> DemoWorld::client_arguments(const DemoDevice& device,
                                                     const std::vector<std::string>& command) const {
  std::vector<std::string> arguments{program_,  "client",     "--domain", library_,
                                     "--store", device.store, "--server", url_};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

SpawnOptions DemoWorld::client_environment(const DemoDevice& device) const {
  return {.environment = {{"NIZHAL_TOKEN", device.token}, {"NIZHAL_TOKEN_FILE", ""}},
          .directory = directory_.string(),
          .own_group = true};
}

Result<Finished> DemoWorld::run(const DemoDevice& device, const std::vector<std::string>& command, int expected) {
  say(dim(fmt::format("{}$ {}", device.letter, joined(command))));
  auto finished = run_process(client_arguments(device, command), client_environment(device));
  if (!finished) return tl::unexpected(finished.error());
  if (!finished->out.empty()) print_line(indented(finished->out));
  if (!finished->err.empty()) print_line(indented(finished->err));
  if (finished->status.code != expected)
    return failure(ErrorCode::internal, fmt::format("device {}: exit code {} where {} was expected", device.letter,
                                                    finished->status.code, expected));
  return finished;
}

Result<std::string> DemoWorld::look(const DemoDevice& device, const std::vector<std::string>& command) {
  auto arguments = client_arguments(device, command);
  arguments.push_back("--json");
  auto finished = run_process(std::move(arguments), client_environment(device));
  if (!finished) return tl::unexpected(finished.error());
  if (finished->status != ExitStatus{0, 0})
    return failure(ErrorCode::internal, fmt::format("device {}: {}", device.letter, finished->err));
  return finished->out;
}

Result<std::unique_ptr<ChildProcess>> DemoWorld::start_writer(const DemoDevice& device) {
  say(dim(fmt::format("{}$ mutate -", device.letter)));
  return ChildProcess::spawn(client_arguments(device, {"mutate", "-", "--json"}), client_environment(device));
}

Result<Balances> DemoWorld::balances_on(const DemoDevice& device) {
  const auto text = look(device, {"query", kBalances});
  if (!text) return tl::unexpected(text.error());
  const auto rows = parse_json(*text);
  if (!rows || !rows->is_array()) return failure(ErrorCode::internal, "query --json gave no array: " + *text);
  Balances balances;
  for (const json::value& row : *rows->if_array()) {
    const json::value* amount = member(row, "balance");
    balances[std::string(string_member(row, "customer").value_or(""))] = amount ? as_integer(*amount).value_or(0) : 0;
  }
  return balances;
}

Result<Balances> DemoWorld::balances_on_server() {
  auto file = sqlite::Connection::open((directory_ / kDatabase).string(), {.read_only = true, .create = false});
  if (!file) return tl::unexpected(file.error());
  auto rows = (*file)->prepare(kBalances);
  if (!rows) return tl::unexpected(rows.error());
  Balances balances;
  while (true) {
    const auto has_row = rows->step();
    if (!has_row) return tl::unexpected(has_row.error());
    if (!*has_row) return balances;
    balances[std::string(rows->text(0))] = rows->integer(1);
  }
}

std::string DemoWorld::shell_function(const std::string& name) const {
  return fmt::format("{}() {{ {} client --domain {} \"$@\"; }}", name, shell_quoted(program_), shell_quoted(library_));
}

}  // namespace nizhal::cli
