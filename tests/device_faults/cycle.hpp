// A whole life of a device, step by step, on a disk that may fail: opening, mutations (some refused here, some by the
// server, with dependents), pushes whose replies get lost, ids that the server gives, a first sync and later pulls of
// several pages, rebases, retried dead letters, closing and reopening. And what must hold of the file at any moment and
// at the end.
//
// The fact that must not break: a step that failed can be run again, as an app would do, and one life is the same every
// time for the same seed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/client_test_support.hpp"
#include "client/commit.hpp"

namespace nizhal::testing {

class Cycle : client::CommitListener {
 public:
  Cycle(std::string path, Durability durability);

  struct Step {
    std::string name;
    std::function<Result<void>()> run;
  };
  const std::vector<Step>& steps() const { return steps_; }

  const std::string& path() const { return path_; }
  bool is_open() const { return store_ != nullptr; }
  Result<void> open();
  /// As a process that ends: the handle goes, and with it what it had only in memory.
  void close();
  /// The process ended in the step that is run next, a second time: what it did may be found done.
  void set_ended_in_step(bool ended) { may_be_there_ = ended; }
  /// What the app was told: client mutation ids in order.
  const std::vector<std::string>& acknowledged() const { return acknowledged_; }
  std::vector<std::string> visible_notes();

  /// What must hold of the file now, whatever happened before: it is whole, and what is shown is the base with the
  /// pending mutations run on it in order. Empty, or what is wrong.
  std::string check_file() { return check_file(path_); }
  static std::string check_file(const std::string& path);
  /// Pushes and pulls until nothing is pending.
  Result<void> settle();
  /// After settle(): the device has what the server has; what was acknowledged is there exactly once, or was refused
  /// and is a dead letter. `unknown`: how many mutations may be there that were not acknowledged (the process ended
  /// between the commit and the return). Empty, or what is wrong.
  std::string check_settled(std::size_t unknown);

  /// One mutation more, after a life that was cut short.
  Result<void> add_another() { return add("another", "after it"); }
  /// The app starts over with what the file still knows: what was lost is no longer acknowledged.
  void forget_lost();

  /// Everything that the file holds, as a digest; empty when the store was not created yet.
  std::string content() { return content(path_); }
  static std::string content(const std::string& path);
  /// Called after each commit of the store, and after each opening.
  void on_commit(std::function<void()> callback) { on_commit_ = std::move(callback); }

  /// Client mutation ids that the file holds, the server applied, or the user retried or discarded.
  std::set<std::string> known();

 private:
  Result<void> mutate(const std::string& name, std::vector<std::string> args, MutateOptions options = {},
                      std::string* id = nullptr);
  /// The attempt before had failed, the process ended with it, and its commit had reached the disk after all.
  bool was_given_up(const std::vector<DeadLetter>& letters);
  Result<void> add(const std::string& id, const std::string& body);
  enum class Reply { arrives, is_lost };
  /// False: there was nothing to send.
  Result<bool> push(Reply reply, std::size_t mutations_max);
  Result<bool> pull_page();
  Result<void> pull();
  void build();
  void committed(std::shared_ptr<const client::Commit> commit) override;

  std::string path_;
  Durability durability_;
  ManualClock clock_{client::testing::kStart};
  SeededRandom random_{7};
  client::testing::FakeServer server_{clock_};
  std::unique_ptr<client::LocalStore> store_;
  std::vector<Step> steps_;
  std::function<void()> on_commit_;
  std::vector<std::string> acknowledged_;
  std::set<std::string> given_up_;  // dead letters that were retried or discarded
  std::string giving_up_;           // the last one for which that was asked
  bool may_be_there_ = false;
  std::string refused_;  // the mutation that the server refuses, others depend on it
};

}  // namespace nizhal::testing
