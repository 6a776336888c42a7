#include "client/poke_socket.hpp"

#include <fmt/format.h>

#include <utility>

#include "protocol/transport.hpp"

namespace nizhal::client {

using std::chrono::microseconds;
using std::chrono::milliseconds;

PokeSocket::PokeSocket(Clock& clock, Random& random, Log log)
    : clock_(clock), log_(std::move(log)), backoff_(random, Tuning{}.reconnect_base) {}

void PokeSocket::set_timer(Effects& effects, milliseconds delay) const {
  effects.emplace_back(SetTimer{TimerId::socket, delay});
}

void PokeSocket::open(Effects& effects, const std::string& token) {
  wants_token_ = false;
  phase_ = Phase::opening;
  effects.emplace_back(OpenSocket{std::string(protocol::kStreamPath), token});
  set_timer(effects, Tuning{}.connect_timeout);
}

void PokeSocket::close(Effects& effects) {
  wants_token_ = was_open_ = false;
  if (phase_ == Phase::opening || is_open()) effects.emplace_back(CloseSocket{});
  if (phase_ != Phase::closed) effects.emplace_back(CancelTimer{TimerId::socket});
  phase_ = Phase::closed;
}

PokeSocket::Opened PokeSocket::opened(Effects& effects) {
  if (phase_ != Phase::opening) return Opened::not_wanted;
  phase_ = Phase::open;
  opened_at_ = heard_at_ = clock_.monotonic();
  set_timer(effects, Tuning{}.heartbeat_interval);
  return std::exchange(was_open_, true) ? Opened::again : Opened::first;
}

void PokeSocket::heard() {
  if (!is_open()) return;
  phase_ = Phase::open;
  heard_at_ = clock_.monotonic();
}

void PokeSocket::closed(Effects& effects, const std::string& reason) {
  if (phase_ != Phase::opening && !is_open()) return;
  // A socket that is closed as soon as it is open is a failure too.
  if (is_open() && clock_.monotonic() - opened_at_ >= Tuning{}.stable_after) backoff_.reset();
  phase_ = Phase::waiting;
  const milliseconds delay = backoff_.next();
  log_.debug("poke", fmt::format("socket closed: {}; reconnecting in {} ms", reason, delay.count()));
  set_timer(effects, delay);
}

void PokeSocket::give_up(Effects& effects, const std::string& reason) {
  effects.emplace_back(CloseSocket{});
  closed(effects, reason);
}

bool PokeSocket::timer_fired(Effects& effects) {
  const Tuning tuning;
  const microseconds silence = clock_.monotonic() - heard_at_;
  switch (phase_) {
    case Phase::closed:
      return false;
    case Phase::waiting:
      phase_ = Phase::closed;
      return true;
    case Phase::opening:
      give_up(effects, fmt::format("not open after {} ms", tuning.connect_timeout.count()));
      return false;
    case Phase::silent:
      give_up(effects, fmt::format("no answer to a ping for {} ms", tuning.pong_timeout.count()));
      return false;
    case Phase::open:
      break;
  }
  if (silence < tuning.heartbeat_interval) {
    // Whole milliseconds, rounded up: the timer must not fire just before its time again and again.
    const auto rest = std::chrono::ceil<milliseconds>(tuning.heartbeat_interval - silence);
    set_timer(effects, rest);
    return false;
  }
  phase_ = Phase::silent;
  effects.emplace_back(SendFrame{"ping"});
  set_timer(effects, tuning.pong_timeout);
  return false;
}

}  // namespace nizhal::client
