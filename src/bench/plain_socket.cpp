#include "bench/plain_socket.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace nizhal::bench {

tl::unexpected<Error> io_failure(std::string_view what) {
  return failure(ErrorCode::io_error, fmt::format("{}: {}", what, std::strerror(errno)));
}

Socket::~Socket() {
  if (number_ >= 0) ::close(number_);
}

Result<Socket> connect_to(std::uint16_t port) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.number() < 0) return io_failure("no socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return io_failure(fmt::format("cannot connect to 127.0.0.1:{}", port));
  const int on = 1;
  ::setsockopt(socket.number(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(socket.number(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket.number(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return socket;
}

Result<void> send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return io_failure("the server does not take the request");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<std::string_view> receive(int socket, std::array<char, 65'536>& buffer) {
  for (;;) {
    const ssize_t count = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_failure("no answer from the server");
    if (count == 0) return failure(ErrorCode::unreachable, "the server closed the connection");
    return std::string_view(buffer.data(), static_cast<std::size_t>(count));
  }
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return RLIM_INFINITY;  // the system will say when it is too much
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

Result<void> check_room_for_sockets(std::size_t sockets, std::uint64_t descriptors_max, std::size_t streams_max) {
  constexpr std::size_t kOtherFiles = 300;  // logs, databases, and sockets that are open beside those that count
  const auto fits = [](std::uint64_t most) { return most > kOtherFiles ? most - kOtherFiles : 0; };
  if (sockets > fits(descriptors_max))
    return failure(
        ErrorCode::usage,
        fmt::format("{} sockets at once do not fit: a process may have {} files open here, which is room for "
                    "{}; ask for fewer (--sockets), or raise the hard limit (ulimit -Hn, LimitNOFILE= of "
                    "systemd, --ulimit nofile= of a container)",
                    sockets, descriptors_max, fits(descriptors_max)));
  if (sockets > fits(streams_max))
    return failure(ErrorCode::usage, fmt::format("{} sockets at once do not fit: one server takes {} streams, which is "
                                                 "room for {}; ask for fewer (--sockets)",
                                                 sockets, streams_max, fits(streams_max)));
  return {};
}

}  // namespace nizhal::bench
