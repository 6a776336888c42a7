// Idle pulls that wait together for one look at where the database stands, instead of a thread each. Place in the
// loop: before pull_handler, for pulls that are probably told nothing new.
//
// The fact that must not break: the look begins after the pull has come; what it does not answer goes the usual way.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <nizhal/actor.hpp>

#include "base/environment.hpp"
#include "protocol/transport.hpp"
#include "server/pull_handler.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

struct IdlePull {
  Actor actor;
  protocol::PullRequest request;
  PullQuestion question{};
  /// Called once, on a thread of the executor. Nothing: the pull is to be handled as any other.
  std::function<void(std::optional<protocol::HttpResponse>)> answer;
};

/// Thread-safe.
class IdlePulls : public std::enable_shared_from_this<IdlePulls> {
 public:
  /// `respond` makes the answer of a pull out of the position, or nothing.
  using Respond =
      std::function<std::optional<protocol::HttpResponse>(const Result<storage::Position>& now, const IdlePull& pull)>;
  IdlePulls(storage::Storage& storage, Executor& executor, std::size_t waiting_max, Respond respond)
      : storage_(storage), executor_(executor), waiting_max_(waiting_max), respond_(std::move(respond)) {}

  /// False: too many wait, and nothing was taken.
  bool try_add(IdlePull pull);

 private:
  void run();
  void answer(const Result<storage::Position>& now, const IdlePull& pull) noexcept;

  storage::Storage& storage_;
  Executor& executor_;
  const std::size_t waiting_max_;
  const Respond respond_;
  std::mutex mutex_;
  std::vector<IdlePull> waiting_;
  bool is_running_ = false;  // or about to
};

}  // namespace nizhal::server
