#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "realtime/realtime.hpp"

namespace nizhal::realtime {

struct InProcessBus::State {
  struct Member {
    std::mutex mutex;  // one call at a time; held while the listener is called, so that stop() waits for it
    std::weak_ptr<Listener> listener;
  };
  std::mutex mutex;  // of the list; taken before a member's, never while one is held
  std::vector<std::shared_ptr<Member>> members;

  std::vector<std::shared_ptr<Member>> all() {
    const std::lock_guard lock(mutex);
    return members;
  }
};

namespace {

class InProcess : public Realtime {
 public:
  using State = InProcessBus::State;

  explicit InProcess(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~InProcess() override { InProcess::stop(); }

  void start(std::weak_ptr<Listener> listener) override {
    {
      const std::lock_guard lock(self_->mutex);
      self_->listener = std::move(listener);
    }
    const std::lock_guard lock(state_->mutex);
    state_->members.push_back(self_);
  }

  void tell(Message message) override {
    for (const auto& member : state_->all()) {
      if (member == self_) continue;
      const std::lock_guard lock(member->mutex);
      if (const auto listener = member->listener.lock()) listener->heard(message);
    }
  }

  void stop() override {
    {
      const std::lock_guard lock(state_->mutex);
      std::erase(state_->members, self_);
    }
    const std::lock_guard lock(self_->mutex);
    self_->listener.reset();
  }

  bool reaches_others() const override { return state_->all().size() > 1; }
  std::string describe() const override { return "in-process"; }

 private:
  const std::shared_ptr<State> state_;
  const std::shared_ptr<State::Member> self_ = std::make_shared<State::Member>();
};

}  // namespace

InProcessBus::InProcessBus() : state_(std::make_shared<State>()) {}
InProcessBus::~InProcessBus() = default;

std::unique_ptr<Realtime> InProcessBus::join() { return std::make_unique<InProcess>(state_); }

}  // namespace nizhal::realtime
