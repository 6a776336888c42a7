// What web pages of other origins may read, over real sockets.
#include <gtest/gtest.h>

#include "net/http_server.hpp"
#include "net/net_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;

constexpr const char* kApp = "https://app.example.com";

std::string from(const std::string& origin, const std::string& method, const std::string& path,
                 const std::string& more = "") {
  return method + " " + path + " HTTP/1.1\r\nHost: sync.example.com\r\nOrigin: " + origin + "\r\n" + more +
         "Content-Length: 0\r\n\r\n";
}

bool has(const std::string& response, const std::string& line) {
  return response.find(line + "\r\n") != std::string::npos;
}

struct Cors : ::testing::Test {
  FakeService service;
  HttpServerOptions options{.allowed_origins = {kApp}};
};

TEST_F(Cors, EveryAnswerMayBeReadByAnAllowedPageAndByNoOther) {
  service.answer = [](const auto& request) { return text_response(request.path == "/sync/push" ? 401 : 200, "{}"); };
  TestServer server(service, {.http = options});
  RawSocket socket(server.port());
  for (const char* path : {"/sync/pull", "/sync/pull?x=1", "/sync/push", "/nizhal/contract"}) {
    socket.send(from(kApp, "POST", path));
    const std::string allowed = socket.read_response();
    EXPECT_TRUE(has(allowed, std::string("access-control-allow-origin: ") + kApp)) << allowed;
    EXPECT_TRUE(has(allowed, "access-control-expose-headers: Retry-After")) << allowed;
    EXPECT_TRUE(has(allowed, "vary: Origin")) << allowed;
    EXPECT_EQ(allowed.find("credentials"), std::string::npos);
    socket.send(from("https://evil.example", "POST", path));
    const std::string other = socket.read_response();
    EXPECT_EQ(other.find("access-control"), std::string::npos) << other;
    EXPECT_TRUE(has(other, "vary: Origin")) << other;
  }
  socket.send(from(kApp, "GET", "/nizhal/audit"));
  EXPECT_EQ(socket.read_response().find("access-control"), std::string::npos);
}

TEST_F(Cors, AnAnswerInPlaceOfTheServicesToo) {
  Gate may_end;
  service.answer = [&](const auto&) {
    may_end.wait();
    return text_response(200, "late");
  };
  options.answer_timeout = milliseconds(50);
  TestServer server(service, {.http = options});
  RawSocket socket(server.port());
  socket.send(from(kApp, "POST", "/sync/pull"));
  const std::string busy = socket.read_response();
  may_end.open();
  EXPECT_TRUE(busy.starts_with("HTTP/1.1 503 ")) << busy;
  EXPECT_TRUE(has(busy, std::string("access-control-allow-origin: ") + kApp)) << busy;
}

TEST_F(Cors, ABrowserThatAsksBeforehandIsAnsweredWithoutTheService) {
  service.answer = [](const auto&) { return text_response(500, "not asked"); };
  TestServer server(service, {.http = options});
  RawSocket socket(server.port());
  const std::string asks = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";
  socket.send(from(kApp, "OPTIONS", "/sync/push", asks));
  const std::string yes = socket.read_response(false);
  EXPECT_TRUE(yes.starts_with("HTTP/1.1 204 ")) << yes;
  EXPECT_TRUE(has(yes, std::string("access-control-allow-origin: ") + kApp)) << yes;
  EXPECT_TRUE(has(yes, "access-control-allow-methods: POST")) << yes;
  socket.send(from("https://evil.example", "OPTIONS", "/sync/push", asks));
  const std::string no = socket.read_response();
  EXPECT_TRUE(no.starts_with("HTTP/1.1 403 ")) << no;
  EXPECT_EQ(no.find("access-control"), std::string::npos) << no;
  socket.send(from(kApp, "OPTIONS", "/sync/push"));
  EXPECT_TRUE(has(socket.read_response(false), "allow: GET, HEAD, POST, PUT, OPTIONS"))
      << "that is no question of CORS";
}

TEST_F(Cors, WithoutAListNothingIsSaid) {
  TestServer server(service);
  RawSocket socket(server.port());
  socket.send(from(kApp, "POST", "/sync/pull"));
  const std::string answer = socket.read_response();
  EXPECT_EQ(answer.find("access-control"), std::string::npos) << answer;
  EXPECT_EQ(answer.find("vary"), std::string::npos) << answer;
}

}  // namespace
}  // namespace nizhal::net
