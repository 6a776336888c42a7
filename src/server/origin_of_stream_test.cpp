// A stream's upgrade from a web page: CORS does not protect it, so the server does.
#include <gtest/gtest.h>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

Limits with_origins(std::vector<std::string> origins) {
  Limits limits;
  limits.allowed_origins = std::move(origins);
  return limits;
}

int status_of(World& world, const std::string& origin, std::string_view user = "u1") {
  protocol::HttpRequest request;
  request.path = "/sync/stream";
  request.headers["host"] = "sync.example.com";
  if (!origin.empty()) request.headers["origin"] = origin;
  if (!user.empty()) request.query.emplace("token", world.token(user));
  const auto ticket = world.server->authorize_stream(request);
  if (ticket) return 101;
  if (ticket.error().status == 403) {
    EXPECT_NE(ticket.error().body.find("\"origin_not_allowed\""), std::string::npos) << ticket.error().body;
  }
  return ticket.error().status;
}

TEST(OriginOfStream, DevicesAndAllowedPagesAreServedAndOthersRefused) {
  World world(with_origins({"https://app.example.com"}));
  EXPECT_EQ(status_of(world, ""), 101) << "a device sends none";
  EXPECT_EQ(status_of(world, "https://app.example.com"), 101);
  EXPECT_EQ(status_of(world, "https://sync.example.com"), 101) << "the server's own pages";
  EXPECT_EQ(status_of(world, "https://evil.example"), 403);
  EXPECT_EQ(status_of(world, "null"), 403);
  EXPECT_EQ(status_of(world, "https://evil.example", ""), 403) << "whatever its credential";
  EXPECT_EQ(status_of(world, "https://app.example.com", ""), 401);
}

TEST(OriginOfStream, WithoutAListOnlyDevicesAndTheServersOwnPagesAreServed) {
  World world;
  EXPECT_EQ(status_of(world, ""), 101);
  EXPECT_EQ(status_of(world, "https://sync.example.com"), 101);
  EXPECT_EQ(status_of(world, "https://app.example.com"), 403);
}

}  // namespace
}  // namespace nizhal::server::testing
