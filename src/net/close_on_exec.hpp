// Sockets stay with this process: a program that the host app starts must not inherit them, or a connection that was
// closed here stays open there, and a port that was given back stays taken. Asio asks for this of everything but sockets.
#pragma once

#include <fcntl.h>

namespace nizhal::net {

/// `socket`: one of Asio's, open. A child that is forked by another thread before this call still has it.
template <class Socket>
void close_on_exec(Socket& socket) {
  (void)::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
}

}  // namespace nizhal::net
