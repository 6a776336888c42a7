// What lies between the devices and the servers: it takes time, and it loses, doubles, delays, cuts and lies when told
// to. Requests are carried one by one; a socket's frames keep their order.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/cluster.hpp"
#include "sim/device.hpp"
#include "sim/event_queue.hpp"
#include "sim/history.hpp"
#include "sim/options.hpp"
#include "sim/oracles.hpp"

namespace nizhal::sim {

class Network : public DeviceNetwork {
 public:
  Network(const Options& options, EventQueue& queue, History& history, Cluster& cluster, Oracles& oracles);
  ~Network() override;

  void send(Device& device, client::SendRequest request) override;
  void open_socket(Device& device, const client::OpenSocket& wanted) override;
  void close_socket(Device& device) override;
  void send_frame(Device& device, std::string text) override;
  std::string fetch_token(Device& device, bool after_refusal) override;

  enum class Cut { none, both_ways, answers };
  /// Until it is cut or mended otherwise.
  void cut(const Device& device, Cut how);
  /// The socket stays open and carries nothing any more.
  void mute_socket(const Device& device);
  bool has_socket(const Device& device) const;
  void instance_down(std::size_t instance);
  /// From now on every token lasts so long.
  void set_token_life(Micros life) { token_life_ = life; }
  void overload(bool is_overloaded) { is_overloaded_ = is_overloaded; }
  /// No faults of messages from now on, and no cuts.
  void calm();
  /// How often each fault of messages happened.
  const std::map<Fault, std::uint64_t>& happened() const { return happened_; }

 private:
  struct Socket;
  struct Exchange;
  class Peer;
  bool strikes(Fault fault);
  Micros latency();
  std::size_t instance_for(const Device& device);
  void deliver(const std::shared_ptr<Exchange>& exchange, bool is_copy);
  void answer(const std::shared_ptr<Exchange>& exchange, Answer answer);
  void fail(const std::shared_ptr<Exchange>& exchange, const std::string& reason, bool never_left);
  bool is_current(const std::shared_ptr<Socket>& socket) const;
  void close_from_server(std::shared_ptr<Socket> socket, const std::string& reason);

  EventQueue& queue_;
  History& history_;
  Cluster& cluster_;
  Oracles& oracles_;
  SeededRandom random_;
  std::map<Fault, std::uint64_t> rates_, happened_;
  std::map<std::size_t, Cut> cuts_;  // by device
  std::map<std::size_t, std::shared_ptr<Socket>> sockets_;
  Micros token_life_{std::chrono::hours(24 * 365)};
  bool is_overloaded_ = false;
};

}  // namespace nizhal::sim
