// See balancer.hpp.
#include "tests/support/balancer.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace nizhal::testing {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// -1: nobody answers there.
int connect_to(std::uint16_t port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

/// Passes on what has come from one end. False: that end is over, or the other is.
bool pass(int from, int to) {
  std::array<char, 1 << 16> buffer;
  const ssize_t size = ::recv(from, buffer.data(), buffer.size(), 0);
  if (size <= 0) return false;
  std::string_view bytes(buffer.data(), static_cast<std::size_t>(size));
  while (!bytes.empty()) {
    const ssize_t sent = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace

struct Balancer::State {
  struct Server {
    std::uint16_t port = 0;
    std::atomic<std::size_t> taken{0};
  };

  std::vector<std::unique_ptr<Server>> servers;
  int listener = -1;
  std::uint16_t port = 0;
  std::size_t turn = 0;
  std::thread acceptor;

  // Once the end has come, a carrier's sockets are shut down, which wakes it. They are closed by it.
  std::mutex mutex;
  bool is_over = false;
  std::vector<std::array<int, 2>> open;
  std::vector<std::thread> carriers;

  void accept_all() {
    for (;;) {
      const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      const int server = next_server();
      const std::lock_guard lock(mutex);
      if (server < 0 || is_over) {
        ::close(client);
        if (server >= 0) ::close(server);
        continue;
      }
      const int on = 1;
      for (const int end : {client, server}) ::setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      open.push_back({client, server});
      carriers.emplace_back([this, client, server] { carry(client, server); });
    }
  }

  int next_server() {
    for (std::size_t i = 0; i < servers.size(); ++i) {
      Server& server = *servers[turn++ % servers.size()];
      const int descriptor = connect_to(server.port);
      if (descriptor < 0) continue;
      ++server.taken;
      return descriptor;
    }
    return -1;
  }

  void carry(int client, int server) {
    for (bool is_open = true; is_open;) {
      std::array<pollfd, 2> ends{{{client, POLLIN, 0}, {server, POLLIN, 0}}};
      if (::poll(ends.data(), ends.size(), -1) <= 0) continue;
      if (ends[0].revents != 0) is_open = pass(client, server);
      if (is_open && ends[1].revents != 0) is_open = pass(server, client);
    }
    const std::lock_guard lock(mutex);
    std::erase(open, std::array<int, 2>{client, server});
    ::close(client);
    ::close(server);
  }
};

Balancer::Balancer(const std::vector<std::string>& servers) : state_(std::make_unique<State>()) {
  for (const std::string& url : servers) {
    state_->servers.push_back(std::make_unique<State::Server>());
    state_->servers.back()->port =
        static_cast<std::uint16_t>(std::strtoul(url.substr(url.rfind(':') + 1).c_str(), nullptr, 10));
  }
  state_->listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(state_->listener, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(state_->listener, 1024) != 0 ||
      ::getsockname(state_->listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("the balancer cannot listen");
  state_->port = ntohs(address.sin_port);
  state_->acceptor = std::thread([state = state_.get()] { state->accept_all(); });
}

Balancer::~Balancer() {
  ::shutdown(state_->listener, SHUT_RDWR);
  state_->acceptor.join();
  ::close(state_->listener);
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_over = true;
    for (const auto& ends : state_->open)
      for (const int end : ends) ::shutdown(end, SHUT_RDWR);
  }
  for (auto& carrier : state_->carriers) carrier.join();
}

std::string Balancer::url() const { return "http://127.0.0.1:" + std::to_string(state_->port); }

std::size_t Balancer::taken(std::size_t server) const { return state_->servers[server]->taken; }

}  // namespace nizhal::testing
