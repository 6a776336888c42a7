// Trap 1 against a real server process: frames by the thousand, random, valid and damaged. The process lives, and
// serves.
#include <gtest/gtest.h>

#include <charconv>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "base/test_temp_dir.hpp"
#include "server/authenticator.hpp"
#include "tests/support/process.hpp"
#include "tests/support/raw_http.hpp"

namespace nizhal::testing {
namespace {

std::string random_text(Random& random, std::size_t most) {
  std::string text(static_cast<std::size_t>(random.below(most + 1)), '\0');
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

/// What a client may say, what it must not say, and bytes.
void send_something(Random& random, RawWebSocket& socket) {
  const auto opcode = static_cast<std::uint8_t>(random.below(16));
  switch (random.below(6)) {
    case 0:
      socket.send_bytes(random_text(random, 200));
      return;
    case 1:
      socket.send_frame(opcode, random_text(random, 300), random.below(4) != 0, random.below(4) != 0);
      return;
    case 2:
      socket.send_frame(0x1, random_text(random, 70'000));
      return;
    case 3:
      socket.send_text("presence:track:{\"bucket\":\"o1\",\"payload\":" + random_text(random, 20));
      return;
    case 4:
      socket.send_text(random.below(2) ? "ping" : "presence:heartbeat:{\"bucket\":\"o1\"}");
      return;
    default:
      socket.send_frame(0x8, random_text(random, 4));
  }
}

TEST(Trap, MalformedFramesByTheThousandDoNotEndTheProcess) {
  const std::uint64_t seed = test_seed("malformed frames");
  SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  TempDir directory;
  ServerProcess server("notes", directory.file("server.db"));
  ASSERT_FALSE(server.url().empty()) << server.why();
  std::uint16_t port = 0;
  const std::string& url = server.url();
  std::from_chars(url.data() + url.rfind(':') + 1, url.data() + url.size(), port);
  const Headers auth{{"Authorization",
                      "Bearer " + server::make_jwt(kTestSecret, R"({"userId":"u1","ownerId":"o1","exp":4102444800})")}};
  const auto still_serves = [&] {
    RawWebSocket socket(port, "/sync/stream", auth);
    if (!socket.send_text("ping")) return false;
    for (;;) {
      const auto frame = socket.read_frame();
      if (!frame || frame->payload == "pong") return frame.has_value();
    }
  };

  constexpr int kSockets = 1'000, kFramesMax = 8;
  for (int i = 0; i < kSockets; ++i) {
    RawWebSocket socket(port, "/sync/stream", auth);
    ASSERT_EQ(socket.response().status, 101) << i;
    for (std::uint64_t n = 1 + random.below(kFramesMax); n > 0; --n) send_something(random, socket);
    if (i % 100 == 0) {
      ASSERT_TRUE(still_serves()) << i;
    }
  }
  EXPECT_TRUE(still_serves());
  EXPECT_EQ(request(port, "GET", "/healthz").status, 200);
  EXPECT_EQ(server.terminate().code, 0);
}

}  // namespace
}  // namespace nizhal::testing
