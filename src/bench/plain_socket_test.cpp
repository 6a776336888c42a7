#include "bench/plain_socket.hpp"

#include <gtest/gtest.h>

#include <string>

namespace nizhal::bench {
namespace {

TEST(PlainSocket, MoreSocketsThanFitAreRefusedBeforeAnythingIsMeasured) {
  EXPECT_TRUE(check_room_for_sockets(10'000, 20'000, 20'000));
  EXPECT_TRUE(check_room_for_sockets(19'700, 20'000, 20'000));
  const auto files = check_room_for_sockets(10'000, 1'024, 20'000);
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().code, ErrorCode::usage);
  EXPECT_NE(files.error().message.find("1024 files open here, which is room for 724;"), std::string::npos)
      << files.error().message;
  EXPECT_NE(files.error().message.find("ulimit -Hn"), std::string::npos) << files.error().message;
  const auto streams = check_room_for_sockets(25'000, 1'000'000, 20'000);
  ASSERT_FALSE(streams);
  EXPECT_NE(streams.error().message.find("20000 streams, which is room for 19700;"), std::string::npos)
      << streams.error().message;
  EXPECT_FALSE(check_room_for_sockets(1, 100, 20'000));
}

TEST(PlainSocket, TheLimitOfDescriptorsIsRaisedAsFarAsItMay) { EXPECT_GT(raise_descriptor_limit(), 0U); }

}  // namespace
}  // namespace nizhal::bench
