#include "bench/load.hpp"

#include <fmt/format.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

namespace nizhal::bench {
namespace {

constexpr std::chrono::seconds kPatience{kPatienceSeconds};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool starts_with_name(std::string_view line, std::string_view name) {
  if (line.size() < name.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i)
    if (lower(line[i]) != name[i]) return false;
  return true;
}

}  // namespace

std::string http_post(std::string_view path, std::string_view token, std::string_view body,
                      std::string_view more_headers) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"
      "{}Content-Length: {}\r\n\r\n{}",
      path, token, more_headers, body.size(), body);
}

Result<bool> AnswerReader::take(std::string_view bytes) {
  buffer_ += bytes;
  if (header_bytes_ == 0) {
    const std::size_t end = buffer_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    std::string_view header(buffer_.data(), end + 2);
    constexpr std::string_view kStart = "HTTP/1.1 ";
    if (!header.starts_with(kStart)) return failure(ErrorCode::bad_request, "the answer is no HTTP/1.1");
    std::from_chars(header.data() + kStart.size(), header.data() + header.size(), status_);
    constexpr std::string_view kLength = "content-length:";
    bool has_length = false;
    for (std::size_t at = header.find("\r\n"); at + 2 < header.size(); at = header.find("\r\n", at + 2)) {
      std::string_view line = header.substr(at + 2);
      if (!starts_with_name(line, kLength)) continue;
      line.remove_prefix(kLength.size());
      while (line.starts_with(' ')) line.remove_prefix(1);
      has_length = std::from_chars(line.data(), line.data() + line.size(), body_bytes_).ec == std::errc();
    }
    if (status_ < 100 || !has_length)
      return failure(ErrorCode::bad_request, "the answer's header has no status or no length");
    header_bytes_ = end + 4;
    buffer_.reserve(header_bytes_ + body_bytes_);
  }
  if (buffer_.size() > header_bytes_ + body_bytes_)
    return failure(ErrorCode::bad_request, "the server sent more than one answer to one request");
  return buffer_.size() == header_bytes_ + body_bytes_;
}

void AnswerReader::begin_next() {
  buffer_.clear();
  header_bytes_ = body_bytes_ = 0;
  status_ = 0;
}

Result<HttpPeer> HttpPeer::connect(std::uint16_t port) {
  auto socket = connect_to(port);
  if (!socket) return tl::unexpected(socket.error());
  return HttpPeer(std::move(*socket));
}

Result<void> HttpPeer::send(std::string_view request) { return send_all(socket_.number(), request); }

Result<HttpPeer::Answer> HttpPeer::receive() {
  AnswerReader reader;
  std::array<char, 65'536> buffer;
  for (;;) {
    const auto bytes = bench::receive(socket_.number(), buffer);
    if (!bytes) return tl::unexpected(bytes.error());
    const auto complete = reader.take(*bytes);
    if (!complete) return tl::unexpected(complete.error());
    if (*complete) return Answer{reader.status(), std::string(reader.body())};
  }
}

Result<HttpPeer::Answer> HttpPeer::exchange(std::string_view request) {
  if (auto sent = send(request); !sent) return tl::unexpected(sent.error());
  return receive();
}

Result<LoadResult> run_load(const LoadPlan& plan) {
  using Clock = std::chrono::steady_clock;
  struct Peer {
    Socket socket;
    AnswerReader reader;
  };
  Socket poll(::epoll_create1(EPOLL_CLOEXEC));
  if (poll.number() < 0) return io_failure("no epoll");
  std::vector<Peer> peers(plan.connections);
  for (std::size_t i = 0; i < peers.size(); ++i) {
    auto socket = connect_to(plan.port);
    if (!socket) return tl::unexpected(socket.error());
    peers[i].socket = std::move(*socket);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    if (::epoll_ctl(poll.number(), EPOLL_CTL_ADD, peers[i].socket.number(), &event) != 0)
      return io_failure("no epoll for a socket");
  }

  LoadResult result;
  const auto start = Clock::now();
  const auto deadline = start + plan.duration;
  std::size_t under_way = 0;
  for (std::size_t i = 0; i < peers.size(); ++i, ++under_way)
    if (auto sent = send_all(peers[i].socket.number(), plan.next(i)); !sent) return tl::unexpected(sent.error());

  std::array<epoll_event, 64> events;
  std::array<char, 65'536> buffer;
  while (under_way > 0) {
    const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience);
    const int ready =
        ::epoll_wait(poll.number(), events.data(), static_cast<int>(events.size()), static_cast<int>(patience.count()));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return io_failure("epoll");
    if (ready == 0)
      return failure(ErrorCode::unreachable, fmt::format("no answer from the server in {} s", kPatience.count()));
    for (int e = 0; e < ready; ++e) {
      const auto i = static_cast<std::size_t>(events[static_cast<std::size_t>(e)].data.u64);
      Peer& peer = peers[i];
      const auto bytes = receive(peer.socket.number(), buffer);
      if (!bytes) return tl::unexpected(bytes.error());
      const auto complete = peer.reader.take(*bytes);
      if (!complete) return tl::unexpected(complete.error());
      if (!*complete) continue;
      const auto units = plan.done(i, peer.reader.status(), peer.reader.body());
      if (!units) return tl::unexpected(units.error());
      peer.reader.begin_next();
      const bool in_time = Clock::now() < deadline;
      if (in_time) result.units += *units;
      --under_way;
      if (!in_time) continue;
      if (auto sent = send_all(peer.socket.number(), plan.next(i)); !sent) return tl::unexpected(sent.error());
      ++under_way;
    }
  }
  result.seconds = std::chrono::duration<double>(plan.duration).count();
  return result;
}

}  // namespace nizhal::bench
