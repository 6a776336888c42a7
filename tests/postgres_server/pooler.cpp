// See pooler.hpp.
#include "tests/postgres_server/pooler.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace nizhal::testing {
namespace {

constexpr std::chrono::seconds kPatience{120};
constexpr std::chrono::milliseconds kPollInterval{5};

}  // namespace

Pooler::Pooler(PostgresServer& server, int sessions) : server_(server) {
  std::ofstream file(server.folder() + "/pooler.ini");
  file << "[databases]\n* = host=" << server.folder() << " port=" << server.port() << " user=" << server.user()
       << "\n[pgbouncer]\n"
       << "listen_addr = 127.0.0.1\nlisten_port = " << port_.port() << "\nunix_socket_dir =\nauth_type = any\n"
       << "pool_mode = transaction\nmax_client_conn = 200\ndefault_pool_size = " << sessions << "\n"
       << "ignore_startup_parameters = extra_float_digits\nserver_login_retry = 0.1\nquery_wait_timeout = 10\n";
  file.close();
  if (!file) throw std::runtime_error("cannot write the pooler's settings");
  start();
}

Pooler::~Pooler() { stop(); }

std::string Pooler::url(const std::string& server_url) const {
  return fmt::format("postgresql://{}@127.0.0.1:{}{}", server_.user(), port_.port(),
                     server_url.substr(server_url.rfind('/')));
}

void Pooler::start() {
  process_ = server_.spawn({"pgbouncer", server_.folder() + "/pooler.ini"}, "pooler");
  const std::string probe = url(server_.url());
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (PQping(probe.c_str()) != PQPING_OK) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the pooler did not start");
    std::this_thread::sleep_for(kPollInterval);
  }
}

void Pooler::stop() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  server_.reap(process_);
  process_ = -1;
}

}  // namespace nizhal::testing
