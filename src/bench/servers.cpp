#include "bench/servers.hpp"

#include <csignal>

#include <nizhal/server.hpp>

#include "base/log.hpp"
#include "bench/bench_domain.hpp"
#include "net/http_server.hpp"
#include "net/http_service.hpp"
#include "net/worker_pool.hpp"

namespace nizhal::bench {
namespace {

/// Sends back what comes: the least that a stream can do.
class EchoStream : public net::StreamHandler {
 public:
  void opened(std::shared_ptr<server::StreamPeer> peer) override { peer_ = std::move(peer); }
  void frame(std::string_view text) override { peer_->send(std::string(text)); }
  void closed() override { peer_.reset(); }

 private:
  std::shared_ptr<server::StreamPeer> peer_;
};

/// Answers on the I/O thread: the least that this HTTP server can do.
class ConstantService : public net::HttpService {
 public:
  explicit ConstantService(std::size_t body_bytes) {
    response_.headers["content-type"] = "application/json";
    response_.body.assign(body_bytes, 'x');
  }
  bool is_immediate(const protocol::HttpRequest&) const override { return true; }
  protocol::HttpResponse handle(const protocol::HttpRequest&) override { return response_; }
  tl::expected<std::shared_ptr<net::StreamHandler>, protocol::HttpResponse> authorize_stream(
      const protocol::HttpRequest&) override {
    return std::make_shared<EchoStream>();
  }

 private:
  protocol::HttpResponse response_;
};

}  // namespace

int run_sync_server(const ServerSettings& settings) {
  ServerOptions options{.domain = bench_domain()};
  options.storage = {settings.db};
  options.auth = bearer_token_auth({.secret = settings.secret});
  options.workers = settings.workers;
  options.log = settings.log;
  Server server(std::move(options));
  ListenOptions listen;
  listen.port = 0;
  listen.on_ready = settings.on_ready;
  return server.listen(listen);
}

int run_constant_server(const ServerSettings& settings) {
  Log log([&](LogLevel level, std::string_view area, std::string_view message) {
    settings.log(to_string(level), area, message);
  });
  ConstantService service(settings.body_bytes);
  net::WorkerPool workers(1, 1, log);
  net::HttpServerOptions options;
  options.handle_signals = true;
  options.stream.events_per_second = 1e9;  // an echo has no other work to protect
  auto server = net::HttpServer::open(std::move(options), service, workers, log);
  if (!server) {
    log.error("server", server.error().message);
    return 4;
  }
  std::signal(SIGPIPE, SIG_IGN);
  settings.on_ready((*server)->port());
  (*server)->run();
  workers.stop();
  return 0;
}

}  // namespace nizhal::bench
