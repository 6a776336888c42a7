#include "net/dial.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cctype>
#include <mutex>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/async_result.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "net/close_on_exec.hpp"

namespace nizhal::net {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

struct Resolved {
  std::mutex mutex;
  bool done = false;
  error_code error;
  std::vector<tcp::endpoint> endpoints;
};

/// getaddrinfo blocks for as long as the name servers make it, and cannot be cancelled. It runs on a thread of its own
/// that shares nothing but `Resolved`, so that a store that closes meanwhile need not wait for it.
void resolve_apart(std::string host, std::uint16_t port, std::shared_ptr<Resolved> resolved) {
  std::thread([host = std::move(host), port, resolved = std::move(resolved)] {
    error_code error;
    std::vector<tcp::endpoint> endpoints;
    try {
      asio::io_context io;
      tcp::resolver resolver(io);
      for (const auto& entry : resolver.resolve(host, fmt::format("{}", port), error))
        endpoints.push_back(entry.endpoint());
    } catch (...) {
      error = asio::error::no_memory;
    }
    const std::lock_guard lock(resolved->mutex);
    resolved->error = error;
    resolved->endpoints = std::move(endpoints);
    resolved->done = true;
  }).detach();
}

asio::awaitable<Result<std::vector<tcp::endpoint>>> resolve(asio::io_context& io, const Url& url, TimePoint deadline) {
  error_code error;
  const auto address = asio::ip::make_address(url.host, error);
  if (!error) co_return std::vector<tcp::endpoint>{tcp::endpoint(address, url.port)};
  auto resolved = std::make_shared<Resolved>();
  resolve_apart(url.host, url.port, resolved);
  // The answer is looked for, from quickly to slowly: a notice would need this loop to outlive the other thread.
  asio::steady_timer timer(io);
  auto pause = std::chrono::microseconds(200);
  for (;;) {
    timer.expires_after(pause);
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return failure(ErrorCode::unreachable, describe(error, url));
    {
      const std::lock_guard lock(resolved->mutex);
      if (resolved->done) {
        if (resolved->error || resolved->endpoints.empty())
          co_return failure(ErrorCode::unreachable,
                            fmt::format("cannot find the host \"{}\": {}", url.host, resolved->error.message()));
        co_return std::move(resolved->endpoints);
      }
    }
    if (std::chrono::steady_clock::now() >= deadline)
      co_return failure(ErrorCode::unreachable,
                        fmt::format("cannot find the host \"{}\": no answer in time", url.host));
    if (pause < std::chrono::milliseconds(50)) pause *= 2;
  }
}

}  // namespace

std::string describe(const error_code& error, const Url& url) {
  std::string text;
  if (error == beast::error::timeout || error == asio::error::timed_out)
    text = "no answer in time";
  else if (error == asio::error::eof || error == asio::ssl::error::stream_truncated ||
           error == asio::error::connection_reset || error == asio::error::broken_pipe)
    text = "the server closed the connection";
  else
    text = error.message();
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return fmt::format("{} ({})", text, url.endpoint());
}

asio::awaitable<Result<beast::tcp_stream>> dial(asio::io_context& io, Url url, TimePoint deadline) {
  auto endpoints = co_await resolve(io, url, deadline);
  if (!endpoints) co_return tl::unexpected(endpoints.error());
  beast::tcp_stream stream(io);
  error_code error;
  stream.expires_at(deadline);
  co_await stream.async_connect(*endpoints, asio::redirect_error(asio::use_awaitable, error));
  if (error == beast::error::timeout)
    co_return failure(ErrorCode::unreachable, fmt::format("no connection in time ({})", url.endpoint()));
  if (error) co_return failure(ErrorCode::unreachable, describe(error, url));
  close_on_exec(stream.socket());
  error_code ignored;
  stream.socket().set_option(tcp::no_delay(true), ignored);
  co_return std::move(stream);
}

Result<std::shared_ptr<asio::ssl::context>> make_tls_context(const std::string& ca_file) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  error_code error;
  context->set_options(
      asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1, error);
  if (!error) context->set_default_verify_paths(error);
  if (!error) context->set_verify_mode(asio::ssl::verify_peer, error);
  if (error) return failure(ErrorCode::internal, "cannot set up TLS: " + error.message());
  if (!ca_file.empty()) {
    context->load_verify_file(ca_file, error);
    if (error)
      return failure(ErrorCode::usage, fmt::format("cannot read certificates from {}: {}", ca_file, error.message()));
  }
  return context;
}

asio::awaitable<Result<std::unique_ptr<TlsStream>>> start_tls(beast::tcp_stream socket, asio::ssl::context& context,
                                                              Url url, TimePoint deadline) {
  auto stream = std::make_unique<TlsStream>(std::move(socket), context);
  error_code error;
  asio::ip::make_address(url.host, error);
  // Server name indication is for names only (RFC 6066, 3).
  if (error && SSL_set_tlsext_host_name(stream->native_handle(), url.host.c_str()) != 1)
    co_return failure(ErrorCode::internal, fmt::format("cannot name the host \"{}\" to TLS", url.host));
  stream->set_verify_callback(asio::ssl::host_name_verification(url.host), error);
  if (error) co_return failure(ErrorCode::internal, "cannot set up TLS: " + error.message());
  beast::get_lowest_layer(*stream).expires_at(deadline);
  co_await stream->async_handshake(asio::ssl::stream_base::client, asio::redirect_error(asio::use_awaitable, error));
  if (error) {
    const long verified = SSL_get_verify_result(stream->native_handle());
    if (verified != X509_V_OK)
      co_return failure(ErrorCode::unreachable, fmt::format("the certificate of {} cannot be trusted: {}",
                                                            url.endpoint(), X509_verify_cert_error_string(verified)));
    co_return failure(ErrorCode::unreachable, "TLS: " + describe(error, url));
  }
  co_return std::move(stream);
}

}  // namespace nizhal::net
