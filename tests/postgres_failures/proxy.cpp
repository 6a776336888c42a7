// See proxy.hpp.
#include "tests/postgres_failures/proxy.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <string_view>

namespace nizhal::testing {
namespace {

constexpr int kLookMilliseconds = 20;  // how soon it is noticed that the test is over

bool send_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace

Proxy::Proxy(const PostgresServer& server)
    : user_(server.user()), socket_path_(fmt::format("{}/.s.PGSQL.{}", server.folder(), server.port())) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("the proxy cannot listen");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

Proxy::~Proxy() {
  is_over_ = true;
  acceptor_.join();
  for (auto& carrier : carriers_) carrier.join();
  ::close(listener_);
}

std::string Proxy::url(const std::string& server_url) const {
  return fmt::format("postgresql://{}@127.0.0.1:{}{}?sslmode=disable", user_, port_,
                     server_url.substr(server_url.rfind('/')));
}

void Proxy::accept_all() {
  while (!is_over_) {
    pollfd descriptor{listener_, POLLIN, 0};
    if (::poll(&descriptor, 1, kLookMilliseconds) <= 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) carriers_.emplace_back([this, client] { carry(client); });
  }
}

void Proxy::carry(int client) {
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path_.c_str(), sizeof address.sun_path - 1);
  bool is_open = ::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  bool loses_answer = false;
  std::string sent_so_far;
  std::vector<char> buffer(1 << 18);
  while (is_open && !is_over_) {
    pollfd ends[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (::poll(ends, 2, kLookMilliseconds) <= 0) continue;
    if (ends[0].revents != 0) {
      const ssize_t size = ::recv(client, buffer.data(), buffer.size(), 0);
      if (size <= 0) break;
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(size));
      sent_so_far += bytes;
      const auto records = sent_so_far.find("INSERT INTO nizhal.mutation");
      if (armed_ && records != std::string::npos && sent_so_far.find("COMMIT", records) != std::string::npos) {
        armed_ = false;
        loses_answer = true;
      }
      is_open = send_all(server, bytes);
    }
    if (ends[1].revents != 0) {
      const ssize_t size = ::recv(server, buffer.data(), buffer.size(), 0);
      if (size <= 0) break;
      sent_so_far.clear();
      if (loses_answer) {
        ++lost_;
        break;
      }
      is_open = send_all(client, std::string_view(buffer.data(), static_cast<std::size_t>(size)));
    }
  }
  ::close(client);
  ::close(server);
}

}  // namespace nizhal::testing
