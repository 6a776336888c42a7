#include "net/http_server.hpp"

#include <sys/resource.h>

#include <csignal>
#include <exception>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include "net/close_on_exec.hpp"
#include "net/server_loop.hpp"

namespace nizhal::net {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

/// Ten thousand sockets need more descriptors than the usual soft limit of 1,024.
void raise_descriptor_limit(std::uint64_t wanted, const Log& log) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  if (limit.rlim_cur >= wanted) return;
  log.warning("server", fmt::format("at most {} files may be open, and each connected device is one: further devices "
                                    "will wait until others leave; for 10,000 of them raise the hard limit to {} or "
                                    "more (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of a container)",
                                    limit.rlim_cur, wanted));
}

Result<tcp::endpoint> listen_endpoint(asio::io_context& io, const std::string& host, std::uint16_t port) {
  std::string_view bare = host;
  if (bare.starts_with('[') && bare.ends_with(']')) bare = bare.substr(1, bare.size() - 2);
  error_code error;
  const auto address = asio::ip::make_address(bare, error);
  if (!error) return tcp::endpoint(address, port);
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, fmt::format("{}", port), error);
  if (error || found.empty())
    return failure(ErrorCode::unreachable,
                   fmt::format("cannot listen on \"{}\": it is neither an IP address nor a name of this machine ({})",
                               host, error.message()));
  return found.begin()->endpoint();
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::open(HttpServerOptions options, HttpService& service,
                                                     WorkerPool& workers, Log log) {
  raise_descriptor_limit(options.descriptors_wanted, log);
  auto loop = std::make_unique<Loop>(std::move(options), service, workers, std::move(log));
  const auto endpoint = listen_endpoint(loop->io, loop->options.host, loop->options.port);
  if (!endpoint) return tl::unexpected(endpoint.error());
  error_code error;
  auto& acceptor = loop->acceptor;
  acceptor.open(endpoint->protocol(), error);
  if (!error) close_on_exec(acceptor);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(*endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return failure(ErrorCode::unreachable, fmt::format("cannot listen on {}:{}: {}; is another program using it?",
                                                       loop->options.host, loop->options.port, error.message()));
  loop->port = acceptor.local_endpoint(error).port();
  // Before anybody learns that the server is there: what follows may be told to stop at once.
  if (loop->options.handle_signals) {
    loop->signals.add(SIGTERM, error);
    if (!error) loop->signals.add(SIGINT, error);
    if (error) loop->log.warning("server", "cannot watch for signals: " + error.message());
    loop->signals.async_wait([loop = loop.get()](error_code failed, int) {
      if (!failed) loop->begin_stop();
    });
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(loop)));
}

HttpServer::HttpServer(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const { return loop_->port; }

void HttpServer::run() {
  Loop& loop = *loop_;
  for (std::size_t i = 0; i < loop.options.periodic.size(); ++i) {
    loop.periodic_timers.push_back(std::make_unique<asio::steady_timer>(loop.io));
    loop.run_periodic(i, loop.options.periodic[i].first_after);
  }
  loop.accept();
  for (;;) {
    try {
      loop.io.run();
      return;
    } catch (const std::exception& error) {
      loop.log.error("server", std::string("an I/O handler threw: ") + error.what());
    } catch (...) {
      loop.log.error("server", "an I/O handler threw something that is no std::exception");
    }
  }
}

void HttpServer::stop() {
  asio::post(loop_->io, [loop = loop_.get()] { loop->begin_stop(); });
}

void HttpServer::after(std::chrono::microseconds delay, std::function<void()> work) {
  asio::post(loop_->io, [loop = loop_.get(), delay, work = std::move(work)]() mutable {
    const auto timer = std::make_shared<asio::steady_timer>(loop->io, delay);
    timer->async_wait([timer, work = std::move(work)](error_code failed) {
      if (!failed) work();
    });
  });
}

void HttpServer::Loop::accept() {
  if (stopping) return;
  acceptor.async_accept([this](error_code error, tcp::socket socket) {
    if (stopping || error == asio::error::operation_aborted) return;
    if (!error) {
      cannot_accept = false;
      close_on_exec(socket);
      error_code ignored;  // a socket that is gone already says so at its first read
      socket.set_option(tcp::no_delay(true), ignored);
      start_http_connection(*this, std::move(socket));
      accept();
      return;
    }
    // Out of descriptors or memory: the connection stays in the backlog, so trying at once would only spin.
    if (!std::exchange(cannot_accept, true))
      log.warning("server",
                  fmt::format("cannot accept connections ({}); they wait until others leave", error.message()));
    accept_pause.expires_after(milliseconds(100));
    accept_pause.async_wait([this](error_code cancelled) {
      if (!cancelled) accept();
    });
  });
}

void HttpServer::Loop::run_periodic(std::size_t index, milliseconds after) {
  if (stopping) return;
  auto& timer = *periodic_timers[index];
  timer.expires_after(after);
  timer.async_wait([this, index](error_code cancelled) {
    if (cancelled || stopping) return;
    WorkerPool* own = options.periodic[index].workers;
    (own ? *own : workers).post([this, index] {
      try {
        options.periodic[index].work();
      } catch (const std::exception& error) {
        log.error("server", std::string("background work threw: ") + error.what());
      } catch (...) {
        log.error("server", "background work threw something that is no std::exception");
      }
      asio::post(io, [this, index] { run_periodic(index, options.periodic[index].interval); });
    });
  });
}

void HttpServer::Loop::begin_stop() {
  if (stopping) return;
  stopping = true;
  if (options.on_stopping) options.on_stopping();
  error_code ignored;
  acceptor.close(ignored);
  signals.cancel(ignored);
  accept_pause.cancel();
  for (const auto& timer : periodic_timers) timer->cancel();
  const auto now_open = connections;  // a connection may leave the set while it is told
  for (const auto& connection : now_open) connection->begin_stop();
  if (connections.empty()) return;
  stop_deadline.expires_after(options.stop_timeout);
  stop_deadline.async_wait([this](error_code cancelled) {
    if (cancelled) return;
    log.warning("server", fmt::format("{} connections did not end in time and are cut", connections.size()));
    const auto left = connections;
    for (const auto& connection : left) connection->abort();
    // What is left now is waiting for workers; nobody is there to read the answers.
    io.stop();
  });
}

}  // namespace nizhal::net
