// The mutations that the app follows, from the device to the server and back. What became of each is told by commits;
// what is not known yet, or what another process may have learned, is looked up in the file.
//
// The fact that must not break: a callback is called at most once, on the store's thread, and everything that waits
// ends: with the tier, its time, or the store. It remembers only what is followed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/ticket.hpp>

#include "base/log.hpp"
#include "client/commit.hpp"
#include "client/local_store.hpp"

namespace nizhal::detail {

/// Any thread.
class TicketBoard : public client::CommitListener, public std::enable_shared_from_this<TicketBoard> {
 public:
  using Callback = std::function<void(const Outcome&)>;
  struct Outside {
    std::function<Result<client::Standing>(const std::string& id)> look_up;  // in the file
    std::function<void(std::function<void()>)> post;                         // to the store's thread
    std::function<bool()> is_own_thread;
    Log log = {};
  };
  explicit TicketBoard(Outside outside);

  void follow(const std::string& id, Tier tier, Callback callback);
  /// As Ticket::wait; one that was withdrawn ends with a rejected Outcome that says why.
  Result<Outcome> wait(const std::string& id, Tier tier, std::chrono::milliseconds timeout);
  struct Ending {
    Outcome outcome;
    bool is_dropped = false;  // withdrawn: the server knows nothing of it
  };
  /// Until the server answered or it was withdrawn. Errors as wait.
  Result<Ending> wait_for_ending(const std::string& id, std::chrono::milliseconds timeout);
  /// Ends what waits; when it returns nothing of the outside is used any more.
  void close();
  std::size_t followed() const;

  void committed(std::shared_ptr<const client::Commit> commit) override;

 private:
  struct Followed {
    std::optional<Tier> tier;
    Outcome outcome;
    bool is_dropped = false;
    std::vector<std::pair<Tier, Callback>> callbacks;
    std::size_t waiters = 0;
    bool has_reached(Tier wanted) const { return tier && *tier >= wanted; }
  };
  using Entries = std::map<std::string, Followed, std::less<>>;
  class Use;

  Result<Ending> wait_until(const std::string& id, Tier tier, std::chrono::milliseconds timeout);
  // Under the mutex
  void reach(Entries::iterator entry, const client::Standing& standing);
  void forget_if_idle(Entries::iterator entry);

  void look_again();

  const Outside outside_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Entries entries_;
  std::size_t uses_ = 0;  // calls that use the outside
  bool is_closed_ = false;
  bool will_look_again_ = false;
};

}  // namespace nizhal::detail
