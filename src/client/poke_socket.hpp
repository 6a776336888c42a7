// The machine's view of the socket that brings pokes: whether it is wanted, on its way, open, or waiting to be opened
// again.
//
// Place in the loop: poker ▶ (poke) ▶ puller. The fact that must not break: without it nothing is lost, pulls by the
// clock go on; it only makes them prompt.
#pragma once

#include <chrono>
#include <string>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "client/backoff.hpp"
#include "client/client_sync.hpp"

namespace nizhal::client {

class PokeSocket {
 public:
  PokeSocket(Clock& clock, Random& random, Log log);

  bool is_closed() const { return phase_ == Phase::closed; }
  /// It is to be opened as soon as there is a fresh token.
  bool wants_token() const { return wants_token_; }

  void open(Effects& effects, const std::string& token);
  void open_after_token() { wants_token_ = true; }
  void close(Effects& effects);
  void forget_backoff() { backoff_.reset(); }

  // Events
  /// True when it is open now.
  bool opened();
  /// Sets the timer to the next try.
  void closed(Effects& effects, const std::string& reason);
  /// The timer fired: true when it is to be opened again.
  bool is_due();

 private:
  enum class Phase { closed, opening, open, waiting };
  Clock& clock_;
  Log log_;
  Backoff backoff_;
  Phase phase_ = Phase::closed;
  bool wants_token_ = false;
  std::chrono::microseconds opened_at_{0};
};

}  // namespace nizhal::client
