// Blocking sockets to a server on this machine, as all the loads use them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <nizhal/result.hpp>

namespace nizhal::bench {

inline constexpr int kPatienceSeconds = 30;  // for one answer: above the server's own limit of 10 s

/// io_error with what the system says.
tl::unexpected<Error> io_failure(std::string_view what);

/// A socket that closes itself.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int number) : number_(number) {}
  Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Socket();
  int number() const { return number_; }

 private:
  int number_ = -1;
};

/// To 127.0.0.1; waits no longer than the patience, for anything.
Result<Socket> connect_to(std::uint16_t port);
/// What is sent fits into a socket's buffer, or nearly: the rest is waited for.
Result<void> send_all(int socket, std::string_view bytes);
/// What is there now, at most one buffer of it; waits for the first byte.
Result<std::string_view> receive(int socket, std::array<char, 65'536>& buffer);

/// Thousands of sockets need more descriptors than a process has at first. How many it may have now.
std::uint64_t raise_descriptor_limit();
/// usage, naming what stands in the way and how many would do: a server and its load, a process each, cannot have so
/// many sockets at once.
Result<void> check_room_for_sockets(std::size_t sockets, std::uint64_t descriptors_max, std::size_t streams_max);

}  // namespace nizhal::bench
