#include "net/worker_pool.hpp"

#include <gtest/gtest.h>

#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;

TEST(WorkerPool, RequestsBeyondTheQueueAreRefusedAndFollowUpsAreNot) {
  WorkerPool pool(1, 2, Log());
  Gate begun, release;
  ASSERT_TRUE(pool.try_post([&] {
    begun.open();
    release.wait();
  }));
  ASSERT_TRUE(begun.wait());
  std::atomic<int> ran{0};
  Gate done;
  EXPECT_TRUE(pool.try_post([&] { ++ran; }));
  EXPECT_TRUE(pool.try_post([&] { ++ran; }));
  EXPECT_FALSE(pool.try_post([&] { ++ran; }));
  pool.post([&] { done.open(); });
  release.open();
  EXPECT_TRUE(done.wait());
  EXPECT_EQ(ran, 2);
}

TEST(WorkerPool, WorkThatThrowsIsLoggedAndTheThreadGoesOn) {
  Mailbox<std::string> lines;
  WorkerPool pool(1, 2, Log([&](LogLevel, std::string_view, std::string_view line) { lines.put(std::string(line)); }));
  pool.post([] { throw std::runtime_error("boom"); });
  EXPECT_NE(lines.take()->find("boom"), std::string::npos);
  Gate done;
  pool.post([&] { done.open(); });
  EXPECT_TRUE(done.wait());
}

TEST(WorkerPool, StoppingDropsWhatWaits) {
  WorkerPool pool(1, 1'000'000'000, Log());
  Gate begun, release;
  std::atomic<bool> ran{false};
  pool.post([&] {
    begun.open();
    release.wait();
  });
  ASSERT_TRUE(begun.wait());
  pool.post([&] { ran = true; });
  std::thread stopper([&] { pool.stop(); });
  while (pool.try_post([] {})) std::this_thread::yield();
  release.open();
  stopper.join();
  EXPECT_FALSE(ran);
  EXPECT_FALSE(pool.try_post([] {}));
}

}  // namespace
}  // namespace nizhal::net
