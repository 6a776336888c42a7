#include "sim/network.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "sim/streams.hpp"

namespace nizhal::sim {

/// One request on its way and back. The device's run may end before.
struct Network::Exchange {
  Device* device = nullptr;
  std::uint64_t run = 0;
  Actor actor;
  client::SendRequest sent;
  bool is_done = false;  // the device has its answer, or has given up
};

struct Network::Socket {
  Device* device = nullptr;
  std::uint64_t run = 0;
  Actor actor;
  std::size_t instance = 0;
  std::uint64_t instance_run = 0;
  std::optional<server::StreamId> stream;
  bool is_open = false, is_mute = false;
  Micros last_up{0}, last_down{0};  // frames keep their order
  std::size_t waiting = 0;

  bool is_of_device() const { return device->run() == run; }
};

class Network::Peer : public server::StreamPeer {
 public:
  Peer(Network& network, std::shared_ptr<Socket> socket) : network_(network), socket_(std::move(socket)) {}

  void send(std::string frame) override {
    network_.oracles_.frame_sent(socket_->actor, frame);
    if (socket_->is_mute || network_.cuts_[socket_->device->number()] != Cut::none) return;
    socket_->last_down = std::max(socket_->last_down, network_.queue_.now() + network_.latency());
    network_.queue_.at(socket_->last_down, [socket = socket_, frame = std::move(frame)] {
      if (socket->is_open && !socket->is_mute && socket->is_of_device())
        socket->device->handle(client::SocketFrame{frame});
    });
  }
  void close(int code, std::string_view reason) override {
    network_.close_from_server(socket_, fmt::format("{} {}", code, reason));
  }

 private:
  Network& network_;
  std::shared_ptr<Socket> socket_;
};

Network::Network(const Options& options, EventQueue& queue, History& history, Cluster& cluster, Oracles& oracles)
    : queue_(queue),
      history_(history),
      cluster_(cluster),
      oracles_(oracles),
      random_(stream_seed(options.seed, "network")),
      rates_(options.faults) {}
Network::~Network() = default;

bool Network::strikes(Fault fault) {
  const auto rate = rates_.find(fault);
  // Drawn in any case: a fault less moves no other draw.
  const bool does = random_.below(1000) < (rate == rates_.end() ? 0 : rate->second);
  if (does) ++happened_[fault];
  return does;
}

Micros Network::latency() { return Micros(spread(random_, 2'000, 150'000)); }

std::size_t Network::instance_for(const Device& device) {
  // A balancer: mostly the same one.
  const auto usual = device.number() % cluster_.instances();
  return random_.below(5) == 0 ? random_.below(cluster_.instances()) : usual;
}

void Network::cut(const Device& device, Cut how) {
  cuts_[device.number()] = how;
  const auto socket = sockets_.find(device.number());
  if (how == Cut::both_ways && socket != sockets_.end()) close_from_server(socket->second, "the network is gone");
}

void Network::mute_socket(const Device& device) {
  if (!has_socket(device)) return;
  sockets_[device.number()]->is_mute = true;
  ++happened_[Fault::half_open_socket];
}

bool Network::has_socket(const Device& device) const {
  const auto socket = sockets_.find(device.number());
  return socket != sockets_.end() && socket->second->is_open;
}

void Network::calm() {
  rates_.clear();
  cuts_.clear();
  is_overloaded_ = false;
  token_life_ = std::chrono::hours(24 * 365);
}

void Network::fail(const std::shared_ptr<Exchange>& exchange, const std::string& reason, bool never_left) {
  if (std::exchange(exchange->is_done, true) || exchange->device->run() != exchange->run) return;
  exchange->device->handle(client::Failed{exchange->sent.request, reason, never_left});
}

void Network::send(Device& device, client::SendRequest request) {
  auto exchange = std::make_shared<Exchange>();
  exchange->device = &device;
  exchange->run = device.run();
  exchange->actor = device.actor();
  exchange->sent = std::move(request);
  oracles_.sent(exchange->actor, exchange->sent.http.body);
  queue_.after(exchange->sent.timeout,
               [this, exchange] { fail(exchange, "the server did not answer in time", false); });
  const Micros there = latency();
  const bool is_lost = strikes(Fault::lost_request), is_doubled = strikes(Fault::duplicated_request),
             is_late = strikes(Fault::delayed_message);
  const Micros delay = there + (is_late ? Micros(spread(random_, 500'000, 40'000'000)) : Micros(0));
  const Micros copy_delay = delay + Micros(spread(random_, 1'000, 20'000'000));
  if (cuts_[device.number()] == Cut::both_ways) {
    queue_.after(Micros(5'000), [this, exchange] { fail(exchange, "there is no network", true); });
    return;
  }
  if (is_lost) return;
  queue_.after(delay, [this, exchange] { deliver(exchange, false); });
  if (is_doubled) queue_.after(copy_delay, [this, exchange] { deliver(exchange, true); });
}

void Network::deliver(const std::shared_ptr<Exchange>& exchange, bool is_copy) {
  const std::size_t instance = instance_for(*exchange->device);
  const Micros back = latency();
  const bool is_lost = strikes(Fault::lost_reply), is_late = strikes(Fault::delayed_message),
             is_cut_short = strikes(Fault::truncated_answer), is_foreign = strikes(Fault::foreign_answer),
             is_held_back = strikes(Fault::refused_body);
  const Micros delay = back + (is_late ? Micros(spread(random_, 500'000, 40'000'000)) : Micros(0));
  if (!cluster_.is_up(instance)) {
    queue_.after(back, [this, exchange] { fail(exchange, "the connection is refused", true); });
    return;
  }
  if (is_foreign && !is_copy) {
    Answer foreign;
    const bool is_portal = random_.below(2) == 0;
    foreign.response.status = is_portal ? 200 : 502;
    foreign.response.headers["content-type"] = "text/html";
    foreign.response.body =
        is_portal ? "<html><body>Welcome! Please sign in.</body></html>" : "<html>Bad Gateway</html>";
    queue_.after(delay, [this, exchange, foreign] { answer(exchange, foreign); });
    return;
  }
  if (is_held_back) {
    Answer too_large;
    too_large.response.status = 413;
    too_large.response.headers["content-type"] = "text/html";
    too_large.response.body = "<html>Content Too Large</html>";
    queue_.after(delay, [this, exchange, too_large] { answer(exchange, too_large); });
    return;
  }
  if (is_overloaded_) {
    Answer busy;
    busy.response.status = 503;
    busy.response.headers["retry-after"] = "1";
    busy.response.body = protocol::encode_error("busy", "too many requests are waiting");
    queue_.after(delay, [this, exchange, busy] { answer(exchange, busy); });
    return;
  }
  cluster_.handle(instance, exchange->sent.http, [=, this](std::optional<protocol::HttpResponse> response) {
    if (!response) {
      queue_.after(back, [this, exchange] { fail(exchange, "the connection broke", false); });
      return;
    }
    history_.note(fmt::format("{} {} → {} ({} bytes){}", exchange->device->name(), exchange->sent.http.path,
                              response->status, response->body.size(), is_copy ? ", again" : ""));
    Answer told = oracles_.answered(exchange->actor, exchange->sent.http, std::move(*response));
    if (is_copy || is_lost || cuts_[exchange->device->number()] != Cut::none) return;
    if (is_cut_short) {
      told.response.body.resize(told.response.body.size() / 2);
      told.scope.reset();
    }
    queue_.after(delay, [this, exchange, told = std::move(told)] { answer(exchange, told); });
  });
}

void Network::answer(const std::shared_ptr<Exchange>& exchange, Answer told) {
  if (std::exchange(exchange->is_done, true) || exchange->device->run() != exchange->run) return;
  Device& device = *exchange->device;
  device.handle(client::Answered{exchange->sent.request, told.response});
  if (device.run() == exchange->run) oracles_.dealt_with(device, told);
}

std::string Network::fetch_token(Device& device, bool) {
  if (cuts_[device.number()] == Cut::both_ways) return {};
  return cluster_.token(device.actor(), token_life_);
}

void Network::open_socket(Device& device, const client::OpenSocket& wanted) {
  auto socket = std::make_shared<Socket>();
  socket->device = &device;
  socket->run = device.run();
  socket->actor = device.actor();
  sockets_[device.number()] = socket;
  const std::size_t instance = instance_for(device);
  const bool is_lost = strikes(Fault::lost_request);
  const auto refuse = [this, socket](const std::string& why) {
    queue_.after(Micros(10'000), [socket, why] {
      if (socket->is_of_device()) socket->device->handle(client::SocketClosed{why});
    });
  };
  if (cuts_[device.number()] == Cut::both_ways) return refuse("there is no network");
  if (is_lost) return;  // the machine gives up by itself
  protocol::HttpRequest request;
  request.path = wanted.path.substr(0, wanted.path.find('?'));
  if (const auto mark = wanted.path.find('?'); mark != std::string::npos) {
    std::string_view query = std::string_view(wanted.path).substr(mark + 1);
    while (!query.empty()) {
      const auto end = std::min(query.find('&'), query.size());
      const auto part = query.substr(0, end);
      const auto equals = part.find('=');
      request.query.emplace(std::string(part.substr(0, equals)),
                            equals == std::string_view::npos ? "" : std::string(part.substr(equals + 1)));
      query.remove_prefix(std::min(end + 1, query.size()));
    }
  }
  if (!wanted.token.empty()) request.headers["authorization"] = "Bearer " + wanted.token;
  queue_.after(latency(), [this, socket, instance, request, refuse] {
    if (!socket->is_of_device() || !is_current(socket)) return;
    if (!cluster_.is_up(instance)) return refuse("the connection is refused");
    auto ticket = cluster_.server(instance)->authorize_stream(request);
    if (!ticket) return refuse(fmt::format("the server answered {}", ticket.error().status));
    socket->instance = instance;
    socket->instance_run = cluster_.run_of(instance);
    socket->is_open = true;
    queue_.after(latency(), [socket] {
      if (socket->is_open && socket->is_of_device()) socket->device->handle(client::SocketOpened{});
    });
    socket->last_down = queue_.now() + Micros(200'000);  // nothing overtakes the opening
    socket->stream = cluster_.server(instance)->open_stream(*ticket, std::make_shared<Peer>(*this, socket));
    cluster_.run_posted(instance);
  });
}

void Network::close_socket(Device& device) {
  const auto it = sockets_.find(device.number());
  if (it == sockets_.end()) return;
  const auto socket = it->second;
  sockets_.erase(it);
  if (!std::exchange(socket->is_open, false)) return;
  queue_.after(latency(), [this, socket] {
    if (socket->stream && cluster_.is_up(socket->instance) && cluster_.run_of(socket->instance) == socket->instance_run)
      cluster_.server(socket->instance)->close_stream(*socket->stream);
  });
}

bool Network::is_current(const std::shared_ptr<Socket>& socket) const {
  const auto it = sockets_.find(socket->device->number());
  return it != sockets_.end() && it->second == socket;
}

void Network::close_from_server(std::shared_ptr<Socket> socket, const std::string& reason) {
  if (!std::exchange(socket->is_open, false)) return;
  const auto stream = socket->stream;
  queue_.after(latency(), [this, socket, reason, stream] {
    if (stream && cluster_.is_up(socket->instance) && cluster_.run_of(socket->instance) == socket->instance_run)
      cluster_.server(socket->instance)->close_stream(*stream);
    if (!socket->is_mute && socket->is_of_device() && is_current(socket))
      socket->device->handle(client::SocketClosed{reason});
  });
}

void Network::instance_down(std::size_t instance) {
  for (const auto& [device, socket] : sockets_)
    if (socket->is_open && socket->instance == instance) close_from_server(socket, "the connection broke");
}

void Network::send_frame(Device& device, std::string text) {
  const auto it = sockets_.find(device.number());
  if (it == sockets_.end() || !it->second->is_open) return;
  const auto socket = it->second;
  oracles_.sent(socket->actor, text);
  if (socket->is_mute || cuts_[device.number()] == Cut::both_ways) return;
  socket->last_up = std::max(socket->last_up, queue_.now() + latency());
  queue_.at(socket->last_up, [this, socket, text = std::move(text)] {
    if (!socket->is_open || !socket->stream || !cluster_.is_up(socket->instance) ||
        cluster_.run_of(socket->instance) != socket->instance_run)
      return;
    cluster_.server(socket->instance)->stream_frame(*socket->stream, text);
    cluster_.run_posted(socket->instance);
  });
}

}  // namespace nizhal::sim
