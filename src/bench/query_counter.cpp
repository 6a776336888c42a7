#include "bench/query_counter.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <list>
#include <thread>
#include <utility>
#include <vector>

#include "bench/plain_socket.hpp"

namespace nizhal::bench {
namespace {

constexpr std::size_t kLengthBytes = 4;

Socket connect_unix(const std::string& host, const std::string& port) {
  const std::string path = fmt::format("{}/.s.PGSQL.{}", host, port);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};
  std::copy(path.begin(), path.end(), address.sun_path);
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return socket;
}

Socket connect_database(const std::string& host, const std::string& port) {
  if (host.starts_with('/')) return connect_unix(host, port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return {};
  Socket socket;
  for (const addrinfo* one = found; one && socket.number() < 0; one = one->ai_next) {
    Socket tried(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(tried.number(), one->ai_addr, one->ai_addrlen) == 0) socket = std::move(tried);
  }
  ::freeaddrinfo(found);
  const int on = 1;
  ::setsockopt(socket.number(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

}  // namespace

std::uint64_t QueryReader::take(const char* bytes, std::size_t count) {
  std::uint64_t queries = 0;
  for (std::size_t at = 0; at < count;) {
    if (to_skip_ > 0) {
      const auto skipped = std::min<std::uint64_t>(to_skip_, count - at);
      to_skip_ -= skipped;
      at += static_cast<std::size_t>(skipped);
      continue;
    }
    header_.push_back(bytes[at++]);
    const std::size_t type_bytes = started_ ? 1 : 0;
    if (header_.size() < type_bytes + kLengthBytes) continue;
    std::uint64_t length = 0;
    for (std::size_t i = type_bytes; i < header_.size(); ++i)
      length = length * 256 + static_cast<unsigned char>(header_[i]);
    to_skip_ = length > kLengthBytes ? length - kLengthBytes : 0;
    if (started_ && (header_[0] == 'Q' || header_[0] == 'E')) ++queries;
    started_ = true;
    header_.clear();
  }
  return queries;
}

struct QueryCounter::State {
  std::string host, database_port;
  Socket listener, end;  // `end` becomes readable when everything is to end
  std::uint16_t port = 0;
  std::atomic<std::uint64_t> queries{0};
  std::thread thread;

  struct Pair {
    Socket client, database;
    QueryReader reader;
  };

  /// False: one side is gone.
  bool relay(const Socket& from, const Socket& to, QueryReader* reader) {
    std::array<char, 65'536> buffer;
    const ssize_t count = ::recv(from.number(), buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    if (reader) queries += reader->take(buffer.data(), static_cast<std::size_t>(count));
    return send_all(to.number(), {buffer.data(), static_cast<std::size_t>(count)}).has_value();
  }

  void accept(std::list<Pair>& pairs) {
    Socket client(::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client.number() < 0) return;
    const int on = 1;
    ::setsockopt(client.number(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Socket database = connect_database(host, database_port);
    if (database.number() >= 0) pairs.push_back({std::move(client), std::move(database), {}});
  }

  void run() {
    std::list<Pair> pairs;
    for (;;) {
      std::vector<pollfd> waiting{{end.number(), POLLIN, 0}, {listener.number(), POLLIN, 0}};
      for (const Pair& pair : pairs) {
        waiting.push_back({pair.client.number(), POLLIN, 0});
        waiting.push_back({pair.database.number(), POLLIN, 0});
      }
      if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
      if (waiting[0].revents != 0) return;
      std::size_t i = 2;
      for (auto it = pairs.begin(); it != pairs.end(); i += 2) {
        bool is_there = true;
        if (waiting[i].revents != 0) is_there = relay(it->client, it->database, &it->reader);
        if (is_there && waiting[i + 1].revents != 0) is_there = relay(it->database, it->client, nullptr);
        it = is_there ? std::next(it) : pairs.erase(it);
      }
      if (waiting[1].revents != 0) accept(pairs);
    }
  }
};

QueryCounter::QueryCounter(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<QueryCounter>> QueryCounter::start(std::string host, std::string port) {
  auto state = std::make_unique<State>();
  state->host = std::move(host);
  state->database_port = std::move(port);
  state->listener = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  state->end = Socket(::eventfd(0, EFD_CLOEXEC));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (state->end.number() < 0 || ::bind(state->listener.number(), any, size) != 0 ||
      ::listen(state->listener.number(), SOMAXCONN) != 0 || ::getsockname(state->listener.number(), any, &size) != 0)
    return io_failure("no relay before the database");
  state->port = ntohs(address.sin_port);
  state->thread = std::thread([running = state.get()] { running->run(); });
  return std::unique_ptr<QueryCounter>(new QueryCounter(std::move(state)));
}

QueryCounter::~QueryCounter() {
  static_cast<void>(::eventfd_write(state_->end.number(), 1));
  state_->thread.join();
}

std::uint16_t QueryCounter::port() const { return state_->port; }
std::uint64_t QueryCounter::queries() const { return state_->queries; }

}  // namespace nizhal::bench
