// What `mutate` gives back: a handle to follow one mutation from the device to the server and back.
//
// Threads: every member may be called from any thread. Callbacks run on the store's own thread and must not block.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <nizhal/outcome.hpp>
#include <nizhal/result.hpp>

namespace nizhal {

/// How far a mutation has come. Each tier includes those before it.
enum class Tier {
  on_device,  // in this file: the rows are shown, a killed process keeps it. The tier at which `mutate` returns
  on_server,  // the server answered: applied, or refused for good (then it is a dead letter here)
  confirmed,  // a pull brought what the server made of it; for a refused one the same moment as on_server
};

namespace detail {
class TicketBoard;
}

/// A mutation that is durably in the outbox. A cheap handle; it may outlive the store, whose end settles nothing:
/// waits end with `closed`, callbacks that were not called yet never are. After a restart Store::ticket(id) gives it
/// again.
class Ticket {
 public:
  Ticket() = default;
  explicit Ticket(std::string id, std::weak_ptr<detail::TicketBoard> board = {})
      : client_mutation_id(std::move(id)), board_(std::move(board)) {}

  std::string client_mutation_id;

  /// Called once, on the store's thread: at once when the tier is reached already. The outcome says done, or
  /// rejected with the server's code and message.
  void on_server(std::function<void(const Outcome&)> callback) const;
  void on_confirmed(std::function<void(const Outcome&)> callback) const;
  /// Waits until the tier is reached. Errors: busy (the time is up; nothing changed, the mutation goes on), closed,
  /// not_found (this store knows nothing of it), usage (called from a callback of the store, which would wait for
  /// itself). A refused mutation is an Outcome, not an error.
  Result<Outcome> wait(Tier tier, std::chrono::milliseconds timeout) const;

 private:
  std::weak_ptr<detail::TicketBoard> board_;
};

}  // namespace nizhal
