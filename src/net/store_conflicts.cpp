// nizhal::Store, conflicts: which of this device's edits lost to later ones.
#include <nizhal/store.hpp>

#include <exception>
#include <utility>

#include <fmt/format.h>

#include "net/store_implementation.hpp"

namespace nizhal {

void net::ConflictFollower::committed(std::shared_ptr<const client::Commit> commit) {
  if (commit->lost_edits.empty()) return;
  // Who subscribes after this commit is not told of it: conflicts() has it.
  runtime_.post([commit = std::move(commit), callbacks = callbacks_->all(), log = log_] {
    for (const LostEdit& edit : commit->lost_edits) {
      for (const auto& callback : callbacks) {
        try {
          (*callback)(edit);
        } catch (const std::exception& error) {
          log.error("store", fmt::format("a conflict callback threw: {}", error.what()));
        } catch (...) {
          log.error("store", "a conflict callback threw");
        }
      }
    }
  });
}

Result<std::vector<LostEdit>> Store::conflicts() const { return implementation_->local->conflicts(); }

Subscription Store::on_conflict(std::function<void(const LostEdit&)> callback) {
  return implementation_->conflict_follower.add(std::move(callback));
}

Result<void> Store::dismiss_conflict(std::int64_t id) { return implementation_->local->dismiss_conflict(id); }

}  // namespace nizhal
