#include "client/poke_socket.hpp"

#include <fmt/format.h>

#include <utility>

#include "protocol/transport.hpp"

namespace nizhal::client {

PokeSocket::PokeSocket(Clock& clock, Random& random, Log log)
    : clock_(clock), log_(std::move(log)), backoff_(random, Tuning{}.reconnect_base) {}

void PokeSocket::open(Effects& effects, const std::string& token) {
  wants_token_ = false;
  phase_ = Phase::opening;
  effects.emplace_back(OpenSocket{std::string(protocol::kStreamPath), token});
}

void PokeSocket::close(Effects& effects) {
  wants_token_ = false;
  if (phase_ == Phase::opening || phase_ == Phase::open) effects.emplace_back(CloseSocket{});
  phase_ = Phase::closed;
}

bool PokeSocket::opened() {
  if (phase_ != Phase::opening) return false;
  phase_ = Phase::open;
  opened_at_ = clock_.monotonic();
  return true;
}

void PokeSocket::closed(Effects& effects, const std::string& reason) {
  if (phase_ != Phase::opening && phase_ != Phase::open) return;
  // A socket that is closed as soon as it is open is a failure too.
  if (phase_ == Phase::open && clock_.monotonic() - opened_at_ >= Tuning{}.backoff_max) backoff_.reset();
  phase_ = Phase::waiting;
  const std::chrono::milliseconds delay = backoff_.next();
  log_.debug("poke", fmt::format("socket closed: {}; reconnecting in {} ms", reason, delay.count()));
  effects.emplace_back(SetTimer{TimerId::reconnect, delay});
}

bool PokeSocket::is_due() {
  if (phase_ != Phase::waiting) return false;
  phase_ = Phase::closed;
  return true;
}

}  // namespace nizhal::client
