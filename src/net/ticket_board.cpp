#include "net/ticket_board.hpp"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

namespace nizhal {
namespace detail {

/// Keeps the outside there for as long as it lives, when it was there at its beginning.
class TicketBoard::Use {
 public:
  explicit Use(TicketBoard& board) : board_(board) {
    const std::lock_guard lock(board_.mutex_);
    is_open_ = !board_.is_closed_;
    if (is_open_) ++board_.uses_;
  }
  ~Use() {
    const std::lock_guard lock(board_.mutex_);
    if (!is_open_) return;
    --board_.uses_;
    board_.changed_.notify_all();
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  explicit operator bool() const { return is_open_; }

 private:
  TicketBoard& board_;
  bool is_open_ = false;
};

namespace {

void call(const TicketBoard::Callback& callback, const Outcome& outcome, const Log& log) {
  try {
    callback(outcome);
  } catch (const std::exception& error) {
    log.error("ticket", fmt::format("a ticket's callback threw: {}", error.what()));
  } catch (...) {
    log.error("ticket", "a ticket's callback threw something that is no std::exception");
  }
}

Error not_found(const std::string& id) {
  return Error{ErrorCode::not_found,
               fmt::format("this store knows nothing of a mutation \"{}\": it is none of its own, it never left, or it "
                           "was settled too long ago",
                           id)};
}

}  // namespace

TicketBoard::TicketBoard(Outside outside) : outside_(std::move(outside)) {}

void TicketBoard::follow(const std::string& id, Tier tier, Callback callback) {
  if (!callback) return;
  const Use use(*this);
  if (!use) return;
  {
    const std::lock_guard lock(mutex_);
    entries_[id].callbacks.emplace_back(tier, std::move(callback));
  }
  // Only now: what is settled from here on is told, and what was settled before is found.
  const auto standing = outside_.look_up(id);
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  if (standing && standing->tier) return reach(entry, *standing);
  if (!standing) {
    // Told when the mutation is settled all the same.
    outside_.log.error("ticket", standing.error().message);
  } else if (!entry->second.tier) {
    outside_.log.info("ticket", not_found(id).message);
    entry->second.callbacks.clear();
    forget_if_idle(entry);
  }
}

Result<Outcome> TicketBoard::wait(const std::string& id, Tier tier, std::chrono::milliseconds timeout) {
  auto ending = wait_until(id, tier, timeout);
  if (!ending) return tl::unexpected(ending.error());
  return std::move(ending->outcome);
}

Result<TicketBoard::Ending> TicketBoard::wait_for_ending(const std::string& id, std::chrono::milliseconds timeout) {
  return wait_until(id, Tier::on_server, timeout);
}

Result<TicketBoard::Ending> TicketBoard::wait_until(const std::string& id, Tier tier,
                                                    std::chrono::milliseconds timeout) {
  constexpr std::chrono::hours kLongest(24 * 365);  // keeps the sum defined
  const auto deadline = std::chrono::steady_clock::now() + std::min<std::chrono::milliseconds>(timeout, kLongest);
  const Use use(*this);
  if (!use) return failure(ErrorCode::closed, "the store was closed");
  if (outside_.is_own_thread())
    return failure(ErrorCode::usage,
                   "wait() would wait for the thread that this callback runs on; use on_server() or on_confirmed()");
  std::unique_lock lock(mutex_);
  const auto entry = entries_.try_emplace(id).first;
  ++entry->second.waiters;
  const auto leave = [&](Result<Ending> answer) {
    --entry->second.waiters;
    forget_if_idle(entry);
    return answer;
  };
  lock.unlock();
  const auto standing = outside_.look_up(id);
  lock.lock();
  if (!standing) return leave(tl::unexpected(standing.error()));
  if (standing->tier) {
    reach(entry, *standing);
  } else if (!entry->second.tier) {
    return leave(tl::unexpected(not_found(id)));
  }
  const bool is_over =
      changed_.wait_until(lock, deadline, [&] { return is_closed_ || entry->second.has_reached(tier); });
  if (entry->second.has_reached(tier)) return leave(Ending{entry->second.outcome, entry->second.is_dropped});
  if (is_over) return leave(failure(ErrorCode::closed, "the store was closed; what it has not sent stays in its file"));
  return leave(failure(ErrorCode::busy, fmt::format("not yet after {} ms; the mutation goes on", timeout.count())));
}

void TicketBoard::close() {
  std::unique_lock lock(mutex_);
  is_closed_ = true;
  changed_.notify_all();
  changed_.wait(lock, [&] { return uses_ == 0; });
  Entries dropped = std::exchange(entries_, {});
  lock.unlock();  // what the callbacks hold goes without the lock: it may be a ticket's last owner
}

std::size_t TicketBoard::followed() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

void TicketBoard::reach(Entries::iterator entry, const client::Standing& standing) {
  Followed& followed = entry->second;
  // What was looked up may be older than what was told meanwhile.
  if (!followed.tier || *followed.tier < *standing.tier) {
    followed.tier = standing.tier;
    followed.outcome = standing.outcome;
    followed.is_dropped = standing.is_dropped;
  }
  changed_.notify_all();
  std::vector<Callback> due;
  for (const Tier step : {Tier::on_device, Tier::on_server, Tier::confirmed}) {
    if (!followed.has_reached(step)) break;
    for (auto& [wanted, callback] : followed.callbacks) {
      if (wanted == step && callback) due.push_back(std::exchange(callback, nullptr));
    }
  }
  if (due.empty()) return;
  std::erase_if(followed.callbacks, [](const auto& waiting) { return !waiting.second; });
  outside_.post([due = std::move(due), outcome = followed.outcome, log = outside_.log] {
    for (const Callback& callback : due) call(callback, outcome, log);
  });
  forget_if_idle(entry);
}

void TicketBoard::forget_if_idle(Entries::iterator entry) {
  if (entry->second.waiters == 0 && entry->second.callbacks.empty()) entries_.erase(entry);
}

void TicketBoard::committed(std::shared_ptr<const client::Commit> commit) {
  const std::lock_guard lock(mutex_);
  if (is_closed_ || entries_.empty()) return;
  for (const client::Settlement& settlement : commit->settlements) {
    const auto entry = entries_.find(settlement.client_mutation_id);
    if (entry == entries_.end()) continue;
    const bool is_applied = settlement.kind == client::Settlement::Kind::applied;
    reach(entry, {.tier = is_applied ? Tier::on_server : Tier::confirmed,
                  .outcome = settlement.outcome,
                  .is_dropped = settlement.kind == client::Settlement::Kind::dropped});
  }
  if (!commit->changes.is_unknown || entries_.empty() || std::exchange(will_look_again_, true)) return;
  // The file cannot be asked here: whoever commits holds its lock.
  outside_.post([weak = weak_from_this()] {
    if (const auto board = weak.lock()) board->look_again();
  });
}

void TicketBoard::look_again() {
  const Use use(*this);
  if (!use) return;
  std::vector<std::string> ids;
  {
    const std::lock_guard lock(mutex_);
    will_look_again_ = false;
    for (const auto& [id, followed] : entries_) ids.push_back(id);
  }
  for (const std::string& id : ids) {
    const auto standing = outside_.look_up(id);
    if (!standing) {
      outside_.log.error("ticket", standing.error().message);
      continue;
    }
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(id);
    if (entry != entries_.end() && standing->tier) reach(entry, *standing);
  }
}

}  // namespace detail

void Ticket::on_server(std::function<void(const Outcome&)> callback) const {
  if (const auto board = board_.lock()) board->follow(client_mutation_id, Tier::on_server, std::move(callback));
}

void Ticket::on_confirmed(std::function<void(const Outcome&)> callback) const {
  if (const auto board = board_.lock()) board->follow(client_mutation_id, Tier::confirmed, std::move(callback));
}

Result<Outcome> Ticket::wait(Tier tier, std::chrono::milliseconds timeout) const {
  if (const auto board = board_.lock()) return board->wait(client_mutation_id, tier, timeout);
  return failure(ErrorCode::closed, "the store of this ticket was closed");
}

}  // namespace nizhal
