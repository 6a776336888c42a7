// Outgoing connections, as the HTTP and the WebSocket client both make them: names resolved without blocking the
// caller's end, TCP, TLS with the server's certificate and name checked. Included by the clients' .cpp files only.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include <nizhal/result.hpp>

#include "net/client_net.hpp"

namespace nizhal::net {

namespace asio = boost::asio;
namespace beast = boost::beast;

using TlsStream = beast::ssl_stream<beast::tcp_stream>;
using TimePoint = std::chrono::steady_clock::time_point;

/// "connection refused (127.0.0.1:4000)".
std::string describe(const boost::system::error_code& error, const Url& url);

/// A connected socket by `deadline`. Errors (unreachable) name the endpoint and what happened.
asio::awaitable<Result<beast::tcp_stream>> dial(asio::io_context& io, Url url, TimePoint deadline);

/// The system's certificate authorities and those of `ca_file`; made once per client.
Result<std::shared_ptr<asio::ssl::context>> make_tls_context(const std::string& ca_file);

/// TLS on a connected socket. The context must outlive the stream.
asio::awaitable<Result<std::unique_ptr<TlsStream>>> start_tls(beast::tcp_stream socket, asio::ssl::context& context,
                                                              Url url, TimePoint deadline);

}  // namespace nizhal::net
