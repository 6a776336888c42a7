// Bad input against a real server process: twelve classes, each case with the status and code that docs/protocol.md
// gives it, and after each class the server still serves.
#include <gtest/gtest.h>

#include <charconv>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "protocol/cursor.hpp"
#include "server/authenticator.hpp"
#include "tests/support/process.hpp"
#include "tests/support/raw_http.hpp"

namespace nizhal::testing {
namespace {

class BadInput : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::make_unique<TempDir>();
    server_ = std::make_unique<ServerProcess>("notes", directory_->file("server.db"));
    ASSERT_FALSE(server_->url().empty()) << server_->why();
    const std::string& url = server_->url();
    const std::size_t colon = url.rfind(':');
    std::from_chars(url.data() + colon + 1, url.data() + url.size(), port_);
    // u1 has the team t1 with one note, u2 the team t2.
    ASSERT_EQ(push("u1", "o1", mutation("createTeam", R"({"team_id":"t1"})")).status, 200);
    ASSERT_EQ(push("u2", "o2", mutation("createTeam", R"({"team_id":"t2"})")).status, 200);
    ASSERT_EQ(push("u1", "o1", mutation("addTeamNote", R"({"id":"r1","team_id":"t1","body":"x"})")).status, 200);
    ASSERT_EQ(push("u2", "o2", mutation("addNote", R"({"id":"of-u2","body":"x"})")).status, 200);
  }
  static void TearDownTestSuite() {
    ASSERT_EQ(server_->terminate().code, 0);
    server_.reset();
    directory_.reset();
  }

  void TearDown() override {
    ASSERT_EQ(request(port(), "GET", "/healthz").status, 200);
    const auto pulled = pull("u1", "o1", "{}");
    ASSERT_EQ(pulled.status, 200);
    ASSERT_NE(pulled.body.find("\"r1\""), std::string::npos) << pulled.body;
  }

  static std::uint16_t port() { return port_; }
  static Headers auth(const std::string& token) { return {{"Authorization", "Bearer " + token}}; }
  static std::string sign(const std::string& payload) { return server::make_jwt(kTestSecret, payload); }
  static std::string token(const std::string& user, const std::string& owner) {
    return sign(fmt::format(R"({{"userId":"{}","ownerId":"{}","exp":4102444800}})", user, owner));
  }
  static RawResponse pull(const std::string& user, const std::string& owner, const std::string& body) {
    return request(port(), "POST", "/sync/pull", auth(token(user, owner)), body);
  }
  static RawResponse push_body(const std::string& user, const std::string& owner, const std::string& body) {
    return request(port(), "POST", "/sync/push", auth(token(user, owner)), body);
  }
  static RawResponse push(const std::string& user, const std::string& owner, const std::string& mutations) {
    return push_body(user, owner, R"({"mutations":[)" + mutations + "]}");
  }
  static std::string mutation(const std::string& name, const std::string& args, const std::string& more = {}) {
    return fmt::format(R"({{"name":"{}","args":{},"clientMutationId":"bad-{}"{}}})", name, args, ++serial_, more);
  }
  static void expect(const RawResponse& response, int status, const std::string& code, const std::string& what) {
    EXPECT_EQ(response.status, status) << what << ": " << response.body;
    const auto body = parse_json(response.body);
    ASSERT_TRUE(body && body->if_object()) << what << ": not a JSON object: " << response.body;
    EXPECT_EQ(string_member(*body, "code").value_or(""), code) << what << ": " << response.body;
    EXPECT_FALSE(string_member(*body, "error").value_or("").empty()) << what << ": " << response.body;
    for (const char* leak : {"SELECT", "INSERT", "sqlite", "nizhal_", "exception"})
      EXPECT_EQ(response.body.find(leak), std::string::npos) << what << " leaks " << leak << ": " << response.body;
  }

  static std::unique_ptr<TempDir> directory_;
  static std::unique_ptr<ServerProcess> server_;
  static std::uint16_t port_;
  static std::uint64_t serial_;
};
std::unique_ptr<TempDir> BadInput::directory_;
std::unique_ptr<ServerProcess> BadInput::server_;
std::uint16_t BadInput::port_ = 0;
std::uint64_t BadInput::serial_ = 0;

TEST_F(BadInput, Tokens) {
  const auto signed_as = [](const std::string& header, const std::string& payload) {
    return to_base64url(as_bytes(header)) + "." + to_base64url(as_bytes(payload)) + ".";
  };
  const std::string good = R"({"userId":"u1","ownerId":"o1","exp":4102444800})";
  const std::string valid = sign(good);
  ASSERT_EQ(request(port(), "POST", "/sync/pull", auth(valid), "{}").status, 200);
  std::string flipped = valid;
  flipped[valid.size() - 10] = flipped[valid.size() - 10] == 'A' ? 'B' : 'A';
  const std::pair<const char*, std::string> cases[] = {
      {"empty", ""},
      {"garbage", "not-a-token"},
      {"two parts", "e30.e30"},
      {"four parts", valid + ".x"},
      {"wrong signature", flipped},
      {"alg none", signed_as(R"({"alg":"none"})", good)},
      {"alg HS512 named", signed_as(R"({"alg":"HS512"})", good) + "AAAA"},
      {"expired", sign(R"({"userId":"u1","ownerId":"o1","exp":1})")},
      {"no exp", sign(R"({"userId":"u1","ownerId":"o1"})")},
      {"exp is a text", sign(R"({"userId":"u1","ownerId":"o1","exp":"4102444800"})")},
      {"no userId", sign(R"({"ownerId":"o1","exp":4102444800})")},
      {"userId is a number", sign(R"({"userId":1,"ownerId":"o1","exp":4102444800})")},
      {"no ownerId", sign(R"({"userId":"u1","exp":4102444800})")},
      {"payload is no object", sign("[1]")},
      {"payload is no JSON", sign("{")},
  };
  for (const auto& [what, bearer] : cases)
    expect(request(port(), "POST", "/sync/pull", auth(bearer), "{}"), 401, "unauthorized", what);
  expect(request(port(), "POST", "/sync/pull", {}, "{}"), 401, "unauthorized", "no header");
  expect(request(port(), "POST", "/sync/pull", {{"Authorization", "Basic dTpw"}}, "{}"), 401, "unauthorized", "Basic");
  expect(request(port(), "POST", "/sync/push", {{"Authorization", valid}}, "{}"), 401, "unauthorized", "no scheme");
}

TEST_F(BadInput, Headers) {
  const auto with_version = [&](const std::string& version) {
    Headers headers = auth(token("u1", "o1"));
    headers.emplace("x-nizhal-contract-version", version);
    return request(port(), "POST", "/sync/push", headers, R"({"mutations":[]})");
  };
  for (const char* version : {"abc", "1..2", "-1", "1.2.x", "1,2"})
    expect(with_version(version), 400, "bad_request", std::string("contract version ") + version);
  EXPECT_EQ(with_version("1.0.0").status, 200);

  const auto raw = [](const std::string& bytes) {
    RawSocket socket(port());
    return send_and_read(socket, bytes);
  };
  const std::string host = "Host: x\r\n";
  expect(raw("POST /sync/pull HTTP/1.1\r\n" + host + "Content-Length: ten\r\n\r\n"), 400, "bad_request",
         "Content-Length is no number");
  expect(raw("POST /sync/pull HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400,
         "bad_request", "two Content-Lengths");
  expect(raw("POST /sync/pull HTTP/9.9\r\n" + host + "\r\n"), 400, "bad_request", "HTTP version");
  expect(raw("POST /sync/pull HTTP/1.1\r\nno colon here\r\n\r\n"), 400, "bad_request", "a line without a colon");
  expect(raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400, "bad_request", "a TLS greeting");
  expect(request(port(), "GET", "/sync/pull", auth(token("u1", "o1"))), 405, "method_not_allowed", "GET on pull");
  expect(request(port(), "DELETE", "/sync/push", auth(token("u1", "o1"))), 405, "method_not_allowed", "DELETE on push");
  expect(request(port(), "GET", "/no/such/path"), 404, "not_found", "unknown path");
  expect(request(port(), "GET", "/../../etc/passwd"), 404, "not_found", "a path that climbs");
}

TEST_F(BadInput, Bodies) {
  const std::string deep(200, '[');
  const std::pair<const char*, std::string> cases[] = {
      {"no JSON", "mutations"},
      {"truncated", R"({"mutations":[)"},
      {"an array", "[]"},
      {"a number", "17"},
      {"a text", R"("x")"},
      {"null", "null"},
      {"deep nesting", R"({"mutations":)" + deep},
      {"two documents", "{} {}"},
      {"broken UTF-8", "{\"mutations\":[{\"name\":\"\xff\xfe\"}]}"},
      {"a NUL byte", std::string("{\"a\":\0}", 7)},
  };
  for (const auto& [what, body] : cases) {
    expect(push_body("u1", "o1", body), 400, "bad_request", std::string("push: ") + what);
    expect(pull("u1", "o1", body), 400, "bad_request", std::string("pull: ") + what);
  }
  const std::string large = R"({"cursor":")" + std::string(2 << 20, 'x') + R"("})";
  expect(pull("u1", "o1", large), 413, "too_large", "2 MiB");
  expect(request(port(), "POST", "/sync/pull", {}, large), 401, "unauthorized", "2 MiB without a token");
  RawSocket cut(port());
  ASSERT_TRUE(cut.send(fmt::format(
      "POST /sync/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 500\r\n\r\n{{\"mutations\":[",
      token("u1", "o1"))));
  cut.shut_down_sending();  // the rest never comes
}

TEST_F(BadInput, Types) {
  for (const char* body :
       {R"({"cursor":5})", R"({"cursor":{}})", R"({"limit":"10"})", R"({"deviceId":7})", R"({"buckets":"o1"})",
        R"({"buckets":[1]})", R"({"schema":[]})", R"({"schema":{"notes":1}})", R"({"syncRule":true})"})
    expect(pull("u1", "o1", body), 400, "bad_request", body);
  for (const char* body : {R"({})", R"({"mutations":{}})", R"({"mutations":[1]})", R"({"mutations":[{}]})",
                           R"({"mutations":[{"name":1,"args":{},"clientMutationId":"a"}]})",
                           R"({"mutations":[{"name":"addNote","args":[],"clientMutationId":"a"}]})",
                           R"({"mutations":[{"name":"addNote","args":{},"clientMutationId":3}]})",
                           R"({"mutations":[{"name":"addNote","args":{},"clientMutationId":"a","dependsOn":"b"}]})",
                           R"({"mutations":[{"name":"addNote","args":{},"clientMutationId":"a","hlc":1}]})",
                           R"({"mutations":[],"results":"yes"})"})
    expect(push_body("u1", "o1", body), 400, "bad_request", body);
}

TEST_F(BadInput, Cursors) {
  const auto first = parse_json(pull("u1", "o1", "{}").body);
  ASSERT_TRUE(first);
  const std::string good(*string_member(*first, "cursor"));
  auto decoded = protocol::decode_cursor(good);
  ASSERT_TRUE(decoded);
  auto other_epoch = *decoded;
  other_epoch.epoch = "another";
  auto future = *decoded;
  future.position = Version{1ULL << 40};
  std::string flipped = good;
  flipped[flipped.size() / 2] = flipped[flipped.size() / 2] == 'A' ? 'B' : 'A';
  const std::pair<const char*, std::string> cases[] = {
      {"garbage", "garbage"},
      {"other alphabet", "%%%%"},
      {"truncated", good.substr(0, good.size() / 2)},
      {"one character changed", flipped},
      {"doubled", good + good},
      {"another epoch", protocol::encode_cursor(other_epoch)},
      {"from the future", protocol::encode_cursor(future)},
      {"long", std::string(100'000, 'A')},
  };
  for (const auto& [what, cursor] : cases) {
    const auto response = pull("u1", "o1", R"({"cursor":")" + cursor + R"("})");
    EXPECT_EQ(response.status, 200) << what << ": " << response.body;
    EXPECT_NE(response.body.find(R"("cursorReset":true)"), std::string::npos) << what << ": " << response.body;
    EXPECT_NE(response.body.find("\"r1\""), std::string::npos) << what << ": starts afresh: " << response.body;
  }
  // A cursor of one actor in the hands of another gives the other nothing of the first.
  const auto foreign = pull("u2", "o2", R"({"cursor":")" + good + R"("})");
  EXPECT_EQ(foreign.status, 200);
  EXPECT_EQ(foreign.body.find("\"r1\""), std::string::npos) << foreign.body;
}

TEST_F(BadInput, Limits) {
  for (const char* limit : {"0", "-1", "1.5", "\"10\"", "true", "[]", "1e300"})
    expect(pull("u1", "o1", fmt::format(R"({{"limit":{}}})", limit)), 400, "bad_request", limit);
  EXPECT_EQ(pull("u1", "o1", R"({"limit":1000000000})").status, 200) << "a large limit is capped";
  EXPECT_EQ(pull("u1", "o1", R"({"limit":null})").status, 200);
  std::string many;
  for (int i = 0; i < 1'001; ++i)
    many += fmt::format(R"({}{{"name":"nizhal.skip","clientMutationId":"many{}"}})", i ? "," : "", i);
  expect(push("u1", "o1", many), 400, "bad_request", "more mutations than a push may carry");
}

TEST_F(BadInput, Ids) {
  const std::string long_id(129, 'x');
  expect(pull("u1", "o1", R"({"deviceId":""})"), 400, "bad_request", "empty deviceId");
  expect(pull("u1", "o1", R"({"deviceId":")" + long_id + "\"}"), 400, "bad_request", "long deviceId");
  const auto one = [](const std::string& members) {
    return R"({"name":"addNote","args":{"id":"never","body":"x"},)" + members + "}";
  };
  expect(push("u1", "o1", one(R"("clientMutationId":"")")), 400, "bad_request", "empty clientMutationId");
  expect(push("u1", "o1", one(R"("clientMutationId":")" + long_id + "\"")), 400, "bad_request",
         "long clientMutationId");
  expect(push("u1", "o1", one(R"("clientMutationId":"i1","clientID":"c1")")), 400, "bad_request",
         "clientID without mutationID");
  expect(push("u1", "o1", one(R"("clientMutationId":"i1","mutationID":1)")), 400, "bad_request",
         "mutationID without clientID");
  for (const char* id : {"0", "-1", "1.5", "\"1\""})
    expect(push("u1", "o1", one(fmt::format(R"("clientMutationId":"i1","clientID":"c1","mutationID":{})", id))), 400,
           "bad_request", std::string("mutationID ") + id);
  const auto gap = push("u1", "o1", one(R"("clientMutationId":"i2","clientID":"c1","mutationID":5)"));
  expect(gap, 409, "out_of_order", "a gap");
  EXPECT_NE(gap.body.find(R"("lastMutationId":0)"), std::string::npos) << gap.body;
  const std::string first = R"({"name":"nizhal.skip","clientMutationId":"i3","clientID":"c1","mutationID":1})";
  EXPECT_EQ(push("u1", "o1", first).status, 200);
  EXPECT_EQ(push("u1", "o1", first).status, 200) << "sent again";
  expect(push("u1", "o1", one(R"("clientMutationId":"i4","clientID":"c1","mutationID":1)")), 409, "client_cloned",
         "same mutation id, other client mutation id");
  expect(push("u2", "o2", one(R"("clientMutationId":"i5","clientID":"c1","mutationID":2)")), 403, "client_id_taken",
         "client id of another actor");
  const auto foreign = pull("u2", "o2", R"({"deviceId":"c1"})");
  EXPECT_EQ(foreign.status, 200);
  EXPECT_EQ(foreign.body.find("lastMutationId"), std::string::npos) << "another actor's sequence: " << foreign.body;
}

TEST_F(BadInput, Hlc) {
  for (const char* hlc : {"", "now", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z-0000-xyz",
                          "2026-13-02T03:04:05.678Z-0000-00000000000000000000000000000001",
                          "2026-01-02T03:04:05.678Z-00000-0000000000000000000000000000001",
                          "2026-01-02 03:04:05.678Z-0000-00000000000000000000000000000001"})
    expect(push("u1", "o1", mutation("addNote", R"({"id":"hlc","body":"x"})", fmt::format(R"(,"hlc":"{}")", hlc))), 422,
           "invalid_hlc", hlc);
  const auto future =
      push_body("u1", "o1",
                R"({"results":true,"mutations":[)" +
                    mutation("addNote", R"({"id":"hlc-future","body":"x"})",
                             R"(,"hlc":"9999-12-31T23:59:59.999Z-ffff-00000000000000000000000000000001")") +
                    "]}");
  EXPECT_EQ(future.status, 200);
  EXPECT_NE(future.body.find(R"("applied")"), std::string::npos) << future.body;
  EXPECT_NE(future.body.find("clockSkewMs"), std::string::npos) << future.body;
}

TEST_F(BadInput, Arguments) {
  const std::string long_body(10'001, 'x');
  for (const std::string& args :
       {std::string("{}"), std::string(R"({"id":"a"})"), std::string(R"({"body":"a"})"),
        std::string(R"({"id":5,"body":"a"})"), std::string(R"({"id":"a","body":null})"),
        std::string(R"({"id":"","body":"a"})"), std::string(R"({"id":"a","body":"\u0000"})"),
        std::string(R"({"id":"a","body":["x"]})"), R"({"id":"a","body":")" + long_body + "\"}"})
    expect(push("u1", "o1", mutation("addNote", args)), 422, "invalid_args", args.substr(0, 60));
}

TEST_F(BadInput, Mutators) {
  for (const char* name : {"noSuchMutator", "ADDNOTE", "addNote ", "nizhal.other", "drop table notes"})
    expect(push("u1", "o1", mutation(name, "{}")), 400, "unknown_mutator", name);
  expect(push("u1", "o1", mutation("", "{}")), 400, "bad_request", "an empty name");
  EXPECT_EQ(push("u1", "o1", mutation("addNote", R"({"id":"twice","body":"x"})")).status, 200);
  expect(push("u1", "o1", mutation("addNote", R"({"id":"twice","body":"x"})")), 422, "already_exists", "an id twice");
  expect(push("u1", "o1", mutation("addNote", R"({"id":"refused","body":"reject"})")), 422, "refused_body", "refused");
  expect(push("u1", "o1", mutation("editNote", R"({"id":"absent","body":"x"})")), 422, "not_found", "an absent note");
  expect(push("u1", "o1", mutation("deleteTeamNote", R"({"id":"absent"})")), 422, "not_found", "an absent team note");
}

TEST_F(BadInput, Scopes) {
  expect(push("u2", "o2", mutation("addTeamNote", R"({"id":"s1","team_id":"t1","body":"x"})")), 403, "not_authorized",
         "a note into a foreign team");
  expect(push("u2", "o2", mutation("addTeamMember", R"({"id":"s2","user_id":"u2","team_id":"t1"})")), 403,
         "not_authorized", "joining a foreign team");
  expect(push("u1", "o1", mutation("moveTeamNote", R"({"id":"r1","team_id":"t2"})")), 403, "not_authorized",
         "moving a note into a foreign team");
  expect(push("u1", "o1", mutation("addNote", R"({"id":"of-u2","body":"x"})")), 403, "not_authorized",
         "an id that another owner has");
  expect(push("u2", "o2", mutation("createTeam", R"({"team_id":"t1"})")), 422, "already_exists",
         "creating a team that exists");
  expect(push("u2", "o2", mutation("editTeamNote", R"({"id":"r1","body":"x"})")), 403, "not_authorized",
         "editing a foreign note");
  expect(push("u2", "o2", mutation("deleteTeamNote", R"({"id":"r1"})")), 403, "not_authorized",
         "deleting a foreign note");
  expect(push("u2", "o2", mutation("removeTeamMember", R"({"user_id":"u1","team_id":"t1"})")), 422, "not_found",
         "a foreign membership");
  const auto narrowed = pull("u2", "o2", R"({"buckets":["team:t1","o1"]})");
  EXPECT_EQ(narrowed.status, 200);
  EXPECT_NE(narrowed.body.find(R"("changed":[])"), std::string::npos) << narrowed.body;
  expect(pull("u2", "o2", R"({"syncRule":"noSuchRule"})"), 400, "bad_request", "an unknown rule");
  const RawWebSocket foreign(port(), "/sync/stream?bucket=team:t1", auth(token("u2", "o2")));
  expect(foreign.response(), 403, "bucket_not_allowed", "a stream of a foreign bucket");
  const RawWebSocket stranger(port(), "/sync/stream?token=nonsense");
  expect(stranger.response(), 401, "unauthorized", "a stream without a credential");
}

TEST_F(BadInput, Frames) {
  const auto open = [&] { return std::make_unique<RawWebSocket>(port(), "/sync/stream", auth(token("u1", "o1"))); };
  const auto expect_alive = [](RawWebSocket& socket, const std::string& what) {
    ASSERT_TRUE(socket.send_text("ping")) << what;
    auto frame = socket.read_frame();
    // Pokes and presence may come at any time.
    while (frame && (frame->payload.starts_with("repull:") || frame->payload.starts_with("presence:")))
      frame = socket.read_frame();
    ASSERT_TRUE(frame) << what << ": the socket was closed";
    EXPECT_EQ(frame->payload, "pong") << what;
  };
  // Nonsense in well-formed frames is ignored (and counted).
  for (const std::string& text :
       {std::string("hello"), std::string(), std::string("presence:track:{"), std::string("presence:track:[]"),
        std::string("repull:o1"), std::string("presence:unknown:{}")}) {
    auto socket = open();
    ASSERT_EQ(socket->response().status, 101);
    ASSERT_TRUE(socket->send_text(text));
    expect_alive(*socket, text);
  }
  // Broken frames cost their sender the connection.
  const auto expect_closed = [&](const std::string& what, const std::function<void(RawWebSocket&)>& send, int code) {
    auto socket = open();
    ASSERT_EQ(socket->response().status, 101) << what;
    send(*socket);
    auto frame = socket->read_frame();
    while (frame && frame->opcode == 0x1) frame = socket->read_frame();
    if (frame) {
      EXPECT_EQ(frame->opcode, 0x8) << what << ": " << frame->payload;
      if (code != 0) {
        EXPECT_EQ(frame->close_code(), code) << what;
      }
    }
    auto other = open();
    expect_alive(*other, what + ": another socket");
  };
  expect_closed(
      "unmasked", [](RawWebSocket& s) { s.send_frame(0x1, "ping", false); }, 0);
  expect_closed(
      "reserved opcode", [](RawWebSocket& s) { s.send_frame(0x3, "x"); }, 0);
  expect_closed(
      "reserved bits", [](RawWebSocket& s) { s.send_bytes(std::string("\xf1\x80\0\0\0\0", 6)); }, 0);
  expect_closed(
      "fragmented ping", [](RawWebSocket& s) { s.send_frame(0x9, "x", true, false); }, 0);
  expect_closed(
      "continuation of nothing", [](RawWebSocket& s) { s.send_frame(0x0, "x"); }, 0);
  expect_closed(
      "broken UTF-8", [](RawWebSocket& s) { s.send_text("\xff\xfe"); }, 0);
  expect_closed(
      "too large", [](RawWebSocket& s) { s.send_text(std::string(1 << 20, 'x')); }, 1009);
  expect_closed(
      "a length of 2^63",
      [](RawWebSocket& s) { s.send_bytes(std::string("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14)); }, 0);
  expect_closed(
      "a flood of nonsense",
      [](RawWebSocket& s) {
        for (int i = 0; i < 200; ++i)
          if (!s.send_text("nonsense")) break;
      },
      1008);
}

}  // namespace
}  // namespace nizhal::testing
