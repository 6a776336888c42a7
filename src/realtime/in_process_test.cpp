#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "realtime/realtime.hpp"

namespace nizhal::realtime {
namespace {

class Heard : public Listener {
 public:
  void heard(Message message) override { messages.push_back(std::move(message)); }
  void missed() override { ++misses; }
  std::vector<Message> messages;
  int misses = 0;
};

TEST(InProcessBus, AnInstanceHearsTheOthersAndNeverItself) {
  InProcessBus bus;
  const auto a = bus.join(), b = bus.join();
  const auto heard_a = std::make_shared<Heard>(), heard_b = std::make_shared<Heard>();
  a->start(heard_a);
  EXPECT_FALSE(a->reaches_others());
  b->start(heard_b);
  EXPECT_TRUE(a->reaches_others());

  a->tell({.commits = {{Version{7}, {"shop-1", "shop-2"}}}});
  EXPECT_TRUE(heard_a->messages.empty());
  ASSERT_EQ(heard_b->messages.size(), 1U);
  EXPECT_EQ(heard_b->messages[0].commits[0].version, Version{7});
  EXPECT_EQ(heard_b->messages[0].commits[0].buckets.size(), 2U);

  b->stop();
  a->tell({.commits = {{Version{8}, {"shop-1"}}}});
  EXPECT_EQ(heard_b->messages.size(), 1U);
  EXPECT_FALSE(a->reaches_others());
}

}  // namespace
}  // namespace nizhal::realtime
