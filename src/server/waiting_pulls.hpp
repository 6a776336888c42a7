// Pulls that wait together for one look at where the database stands, and for one refresh of the tail, instead of a
// thread and queries each. Place in the loop: before pull_handler, for pulls that can probably be answered from memory.
//
// The fact that must not break: the look begins after the pull has come; what cannot be answered from memory goes the
// usual way.
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

struct WaitingPull {
  Actor actor;
  protocol::PullRequest request;
  std::optional<PullQuestion> question;  // where it may be told that nothing is new
  /// Called once, on a thread of the executor. Nothing: the pull is to be handled as any other.
  std::function<void(std::optional<protocol::HttpResponse>)> answer;
};

/// Makes the answers; nothing, where it takes more than what is in memory. Thread-safe.
class WaitingPullAnswers {
 public:
  virtual ~WaitingPullAnswers() = default;
  /// To a pull with a question that has come again, should nothing have happened.
  virtual std::optional<protocol::HttpResponse> idle_answer(const storage::Position& now, const WaitingPull& pull) = 0;
  /// Whether the tail may answer it; called before the tail is brought up to date.
  virtual bool may_be_in_tail(const WaitingPull& pull) = 0;
  virtual std::optional<protocol::HttpResponse> tail_answer(const storage::Position& now, const WaitingPull& pull) = 0;
};

/// Thread-safe.
class WaitingPulls : public std::enable_shared_from_this<WaitingPulls> {
 public:
  /// `answers` must outlive what is posted to the executor.
  WaitingPulls(storage::Storage& storage, std::shared_ptr<Tail> tail, Executor& executor, std::size_t waiting_max,
               WaitingPullAnswers& answers)
      : storage_(storage), tail_(std::move(tail)), executor_(executor), waiting_max_(waiting_max), answers_(answers) {}

  /// False: too many wait, and nothing was taken.
  bool try_add(WaitingPull pull);

 private:
  using Response = std::optional<protocol::HttpResponse>;
  void run();
  void answer_all(std::vector<WaitingPull> pulls);
  void answer_from_tail(const storage::Position& now, const std::vector<WaitingPull>& pulls, bool is_in_tail);

  storage::Storage& storage_;
  const std::shared_ptr<Tail> tail_;
  Executor& executor_;
  const std::size_t waiting_max_;
  WaitingPullAnswers& answers_;
  std::mutex mutex_;
  std::vector<WaitingPull> waiting_;
  bool is_running_ = false;  // or about to
};

}  // namespace nizhal::server
