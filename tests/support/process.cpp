// See process.hpp.
#include "tests/support/process.hpp"

#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include "storage/database_url.hpp"

namespace nizhal::testing {

std::string domain_library(std::string_view name) {
  return std::string(NIZHAL_LIB_DIR) + "/lib" + std::string(name) + "_domain.so";
}

SpawnOptions nizhal_environment() {
  SpawnOptions options;
  options.environment = {{"NIZHAL_JWT_SECRET", std::string(kTestSecret)},
                         {"NIZHAL_JWT_SECRET_FILE", ""},
                         {"NIZHAL_DB", ""},
                         {"NIZHAL_DB_FILE", ""},
                         {"NIZHAL_TOKEN", ""},
                         {"NIZHAL_TOKEN_FILE", ""},
                         {"NIZHAL_ADMIN_PASSWORD", ""},
                         {"NIZHAL_ADMIN_PASSWORD_FILE", ""}};
  return options;
}

Finished nizhal(std::vector<std::string> arguments, std::string_view input, const SpawnOptions& options) {
  arguments.insert(arguments.begin(), NIZHAL_BIN);
  auto finished = process::run_process(std::move(arguments), options, input, kPatience);
  if (!finished) {
    Finished failed;
    failed.err = finished.error().message;
    return failed;
  }
  if (finished->timed_out) {
    finished->status.code = -1;
    finished->err += "\n(killed: it did not end in time)";
  }
  return *finished;
}

std::unique_ptr<ChildProcess> start_nizhal(std::vector<std::string> arguments, const SpawnOptions& options) {
  arguments.insert(arguments.begin(), NIZHAL_BIN);
  auto child = ChildProcess::spawn(std::move(arguments), options);
  if (!child) {
    std::fprintf(stderr, "%s\n", child.error().message.c_str());
    std::abort();
  }
  return std::move(*child);
}

std::string make_token(std::string_view user, std::string_view owner, std::string_view expires) {
  std::string text =
      nizhal({"token", "--user", std::string(user), "--owner", std::string(owner), "--expires", std::string(expires)})
          .out;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

ServerProcess::ServerProcess(std::string_view domain, std::string db, std::vector<std::string> extra)
    : domain_(domain), db_(storage::kind_of_database(db) ? std::move(db) : "sqlite:" + db), extra_(std::move(extra)) {
  start();
}

bool ServerProcess::start() {
  std::vector<std::string> arguments{"serve",
                                     "--domain",
                                     domain_library(domain_),
                                     "--db",
                                     db_,
                                     "--listen",
                                     "127.0.0.1:" + std::to_string(port_.port()),
                                     "--end-with-parent"};
  arguments.insert(arguments.end(), extra_.begin(), extra_.end());
  process_ = start_nizhal(std::move(arguments));
  const auto line = process_->wait_for_line("listening on ", kPatience);
  if (!line) {
    process_->signal(SIGKILL);
    process_->wait(kPatience);
    return false;
  }
  url_ = line->substr(line->find("http://"));
  return true;
}

std::string ServerProcess::why() const { return process_ ? process_->err() : "not started"; }

void ServerProcess::kill() {
  process_->signal(SIGKILL);
  process_->wait(kPatience);
}

ExitStatus ServerProcess::terminate() {
  process_->signal(SIGTERM);
  const auto status = process_->wait(kPatience);
  return status.value_or(ExitStatus{});
}

std::vector<std::string> ClientCommand::arguments(std::vector<std::string> command) const {
  std::vector<std::string> all{"client", "--domain", domain_library(domain), "--store", store};
  if (!server.empty()) all.insert(all.end(), {"--server", server});
  if (!token.empty()) all.insert(all.end(), {"--token", token});
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

Finished ClientCommand::run(std::vector<std::string> command, std::string_view input) const {
  return nizhal(arguments(std::move(command)), input);
}

}  // namespace nizhal::testing
