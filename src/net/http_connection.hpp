// Between http_connection.cpp and stream_connection.cpp only: the hand-over of a socket at an upgrade.
#pragma once

#include <memory>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>

#include "net/server_loop.hpp"

namespace nizhal::net {

/// Takes over an authorised socket: answers the upgrade and serves the stream.
void start_stream_connection(HttpServer::Loop& loop, asio::ip::tcp::socket socket,
                             const boost::beast::http::request<boost::beast::http::empty_body>& upgrade,
                             std::shared_ptr<StreamHandler> handler);

}  // namespace nizhal::net
