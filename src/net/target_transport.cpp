#include "net/target_transport.hpp"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/post.hpp>

namespace nizhal::net {

namespace asio = boost::asio;

struct TargetTransport::State {
  State(asio::io_context& given_io, std::unique_ptr<TargetAdapter> given) : io(given_io), adapter(std::move(given)) {}

  asio::io_context& io;
  std::unique_ptr<TargetAdapter> adapter;

  // Of the io_context's thread
  std::uint64_t last_id = 0;
  Done done;  // of request `last_id`; empty: none is under way
  /// Outlives this; empty once it is gone.
  std::shared_ptr<State*> self = std::make_shared<State*>(this);

  std::mutex mutex;
  std::condition_variable wake;
  std::optional<std::pair<std::uint64_t, protocol::HttpRequest>> next;  // guarded by `mutex`, as is `is_ending`
  bool is_ending = false;
  std::thread thread;

  void run() {
    for (;;) {
      std::unique_lock lock(mutex);
      wake.wait(lock, [this] { return is_ending || next; });
      if (is_ending) return;
      const auto [id, request] = std::move(*std::exchange(next, std::nullopt));
      lock.unlock();
      auto answer = adapter->answer(request);
      asio::post(io, [held = self, id = id, answer = std::move(answer)]() mutable {
        if (State* state = *held) state->finish(id, std::move(answer));
      });
    }
  }

  void finish(std::uint64_t id, Result<protocol::HttpResponse> answer) {
    if (id != last_id || !done) return;
    std::exchange(done, nullptr)(std::move(answer));
  }
};

TargetTransport::TargetTransport(asio::io_context& io, std::unique_ptr<TargetAdapter> adapter)
    : state_(std::make_unique<State>(io, std::move(adapter))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

TargetTransport::~TargetTransport() {
  *state_->self = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_ending = true;
  }
  state_->wake.notify_all();
  state_->thread.join();
}

void TargetTransport::send(protocol::HttpRequest request, Done done) {
  const std::uint64_t id = ++state_->last_id;
  state_->done = std::move(done);
  {
    const std::lock_guard lock(state_->mutex);
    state_->next.emplace(id, std::move(request));
  }
  state_->wake.notify_all();
}

void TargetTransport::cancel() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->next.reset();
  }
  if (state_->done) std::exchange(state_->done, nullptr)(failure(ErrorCode::closed, "cancelled"));
}

bool TargetTransport::is_own_thread() const { return std::this_thread::get_id() == state_->thread.get_id(); }

}  // namespace nizhal::net
