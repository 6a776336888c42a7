// See load.hpp.
#include "tests/postgres_failures/load.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace nizhal::testing {
namespace {

/// Longer than any of it takes: reaching it is a failure.
constexpr std::chrono::seconds kPatience{120};
constexpr std::size_t kSenders = 4;

}  // namespace

Load::Load(Host& host) : host_(host) {
  for (std::size_t i = 0; i < kSenders; ++i) senders_.emplace_back("s" + std::to_string(i));
  for (std::size_t i = 0; i < kSenders; ++i) threads_.emplace_back([this, i] { run(senders_[i], i); });
}

Load::~Load() { end(); }

void Load::end() {
  is_over_ = true;
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

void Load::run(Sender& sender, std::size_t number) {
  Reader reader(sender.owner());
  auto deadline = std::chrono::steady_clock::now() + kPatience;
  while ((!is_over_ || !sender.is_done()) && std::chrono::steady_clock::now() < deadline) {
    if (!is_over_ && sender.is_done()) sender.queue(number == 0 ? "search" : number == 1 ? "addOnly" : "add", 3);
    const std::size_t before = sender.acknowledged();
    sender.push(host_);
    reader.pull(host_);
    if (sender.acknowledged() == before) continue;
    deadline = std::chrono::steady_clock::now() + kPatience;
    const std::lock_guard lock(mutex_);
    acknowledged_ += sender.acknowledged() - before;
    advanced_.notify_all();
  }
}

void Load::wait_for_more(std::size_t mutations) {
  std::unique_lock lock(mutex_);
  const std::size_t wanted = acknowledged_ + mutations;
  EXPECT_TRUE(advanced_.wait_for(lock, kPatience, [&] { return acknowledged_ >= wanted; }))
      << "the load does not get on:\n"
      << host_.log();
}

void Load::finish_and_compare(const std::string& url) {
  end();
  for (const Sender& sender : senders_) {
    EXPECT_TRUE(sender.is_done()) << sender.last_answer();
    sender.expect_exactly_once(url);
    Reader fresh(sender.owner());
    EXPECT_TRUE(fresh.pull(host_)) << host_.log();
    fresh.expect_equal(url);
  }
}

}  // namespace nizhal::testing
