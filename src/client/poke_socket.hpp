// The machine's view of the socket that brings pokes: whether it is wanted, on its way, open, silent for too long, or
// waiting to be opened again.
//
// Place in the loop: poker ▶ (poke) ▶ puller. The fact that must not break: without it nothing is lost, pulls by the
// clock go on; it only makes them prompt. So a socket that only seems to be open must not last.
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
  bool is_open() const { return phase_ == Phase::open || phase_ == Phase::silent; }
  /// It is to be opened as soon as there is a fresh token.
  bool wants_token() const { return wants_token_; }

  void open(Effects& effects, const std::string& token);
  void open_after_token() { wants_token_ = true; }
  void close(Effects& effects);
  void forget_backoff() { backoff_.reset(); }

  // Events
  /// `again`: it had been open before, and nobody closed it here.
  enum class Opened { not_wanted, first, again };
  Opened opened(Effects& effects);
  /// A frame came, whatever it says: the other end is there.
  void heard();
  /// Sets the timer to the next try.
  void closed(Effects& effects, const std::string& reason);
  /// What has to happen next in time: giving up a connect, a ping, noticing that none is answered, the next try. True
  /// when it is to be opened again.
  bool timer_fired(Effects& effects);

 private:
  enum class Phase { closed, opening, open, silent, waiting };  // silent: a ping is under way
  void set_timer(Effects& effects, std::chrono::milliseconds delay) const;
  void give_up(Effects& effects, const std::string& reason);

  Clock& clock_;
  Log log_;
  Backoff backoff_;
  Phase phase_ = Phase::closed;
  bool wants_token_ = false;
  bool was_open_ = false;  // since it was last wanted
  std::chrono::microseconds opened_at_{0};
  std::chrono::microseconds heard_at_{0};
};

}  // namespace nizhal::client
