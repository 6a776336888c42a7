// Routing, the order of checks, and the endpoints that are no stage of the loop.
#include "server/server_sync.hpp"

#include <gtest/gtest.h>

#include <string>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

class Server : public ::testing::Test {
 protected:
  void expect(const Answer& answer, int status, std::string_view code) {
    EXPECT_EQ(answer.status, status) << answer.text;
    EXPECT_EQ(answer.code(), code) << answer.text;
    EXPECT_FALSE(answer.string_of("error").empty());
  }
  World world;
};

TEST_F(Server, UnknownPathsAreNotFound) {
  for (const char* path : {"/", "", "/sync", "/sync/pull/", "/sync/pull/x", "/SYNC/PULL", "//sync/pull", "/nizhal",
                           "/nizhal/audit", "/nizhal/stats", "/../healthz"})
    expect(world.request("GET", path, world.token("u1")), 404, "not_found");
}

TEST_F(Server, KnownPathsTakeTheirMethodOnly) {
  for (const auto& [path, method] : std::map<std::string, std::string>{{"/sync/pull", "POST"},
                                                                       {"/sync/push", "POST"},
                                                                       {"/nizhal/contract", "GET"},
                                                                       {"/healthz", "GET"},
                                                                       {"/readyz", "GET"},
                                                                       {"/sync/stream", "GET"}}) {
    for (const char* other : {"GET", "POST", "PUT", "DELETE", "PATCH", "get", "BREW"}) {
      if (other == method) continue;
      const Answer answer = world.request(other, path, world.token("u1"));
      expect(answer, 405, "method_not_allowed");
      EXPECT_EQ(answer.headers.at("allow"), method);
    }
  }
}

TEST_F(Server, APlainRequestForTheStreamIsABadRequest) {
  expect(world.request("GET", "/sync/stream", world.token("u1")), 400, "bad_request");
}

TEST_F(Server, TheContractIsPublicAndAnsweredFromMemory) {
  world.storage->plan = [](std::string_view) { return ErrorCode::io_error; };
  const Answer answer = world.request("GET", "/nizhal/contract", "");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("content-type"), "application/json");
  EXPECT_TRUE(answer.has("openapi")) << answer.text.substr(0, 200);
  protocol::HttpRequest request;
  for (const auto& [path, immediate] : std::map<std::string, bool>{
           {"/nizhal/contract", true}, {"/healthz", true}, {"/nothing", true}, {"/readyz", false}}) {
    request.path = path;
    EXPECT_EQ(world.server->is_immediate(request), immediate) << path;
  }
  request.path = "/sync/pull";
  EXPECT_TRUE(world.server->is_immediate(request)) << "a wrong method needs no storage";
  request.method = "POST";
  EXPECT_FALSE(world.server->is_immediate(request));
}

TEST_F(Server, HealthIsTheProcessAndReadinessTheStorage) {
  EXPECT_EQ(world.request("GET", "/healthz", "").text, R"({"status":"ok"})");
  EXPECT_EQ(world.request("GET", "/readyz", "").status, 200);
  world.storage->plan = fail_call("change_mark", ErrorCode::io_error, 1);
  expect(world.request("GET", "/readyz", ""), 503, "busy");
  EXPECT_EQ(world.request("GET", "/readyz", "").status, 200);
  world.server->begin_shutdown();
  expect(world.request("GET", "/readyz", ""), 503, "busy");
  EXPECT_EQ(world.request("GET", "/healthz", "").status, 200);
}

TEST_F(Server, TheCredentialIsCheckedBeforeAnythingElse) {
  const std::string huge(2 << 20, 'x');
  for (const char* path : {"/sync/pull", "/sync/push"}) {
    for (const std::string token : {"", "nonsense", "a.b.c"}) {
      const Answer answer = world.request("POST", path, token, huge, {{"x-nizhal-contract-version", "?"}});
      expect(answer, 401, "unauthorized");
      EXPECT_EQ(answer.headers.at("www-authenticate"), "Bearer");
    }
  }
  protocol::HttpRequest basic;
  basic.method = "POST";
  basic.path = "/sync/pull";
  for (const std::string header : {"Basic dTE6bzE=", "Bearer", "Bearer ", "", "bearer", "Token x"}) {
    basic.headers["authorization"] = header;
    EXPECT_EQ(world.server->handle(basic).status, 401) << header;
  }
  basic.headers["authorization"] = "bEaReR " + world.token("u1");
  EXPECT_EQ(world.server->handle(basic).status, 200);
}

TEST_F(Server, AQueryTokenIsForTheStreamOnly) {
  EXPECT_EQ(world.request("POST", "/sync/pull?token=" + world.token("u1"), "").status, 401);
}

TEST(ServerOrder, SizeThenRateThenVersionThenBody) {
  Limits limits;
  limits.body_bytes_max = 100;
  limits.requests_per_second = 1;
  limits.request_burst = 2;
  World world(limits, {.version = "2.0.0", .min_client_version = "1.5"});
  const std::string token = world.token("u1"), huge(101, 'x'), broken = "{";
  // A body that is too large uses up no token of the rate limit.
  for (int i = 0; i < 5; ++i) {
    const Answer large = world.request("POST", "/sync/push", token, huge);
    EXPECT_EQ(large.status, 413);
    EXPECT_EQ(large.code(), "too_large");
  }
  const Answer old = world.request("POST", "/sync/push", token, broken, {{"x-nizhal-contract-version", "1.4.9"}});
  EXPECT_EQ(old.status, 426);
  EXPECT_EQ(old.code(), "upgrade_required");
  EXPECT_EQ(old.string_of("contractVersion"), "2.0.0");
  EXPECT_EQ(old.string_of("minClientVersion"), "1.5");
  const Answer body = world.request("POST", "/sync/push", token, broken, {{"x-nizhal-contract-version", "1.5.0"}});
  EXPECT_EQ(body.status, 400);
  EXPECT_EQ(body.code(), "bad_request");
  const Answer fast = world.request("POST", "/sync/push", token, broken, {{"x-nizhal-contract-version", "0"}});
  EXPECT_EQ(fast.status, 429);
  EXPECT_EQ(fast.code(), "rate_limited");
  EXPECT_EQ(fast.headers.at("retry-after"), "1");
  EXPECT_EQ(world.pull("u2").status, 200) << "another actor has a limit of its own";
  world.clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(world.pull("u1").status, 200);
}

TEST(ServerVersion, OldClientsReadOnAndMalformedVersionsAreNamed) {
  World world(Limits{}, {.version = "2.0.0", .min_client_version = "1.5"});
  const std::string body = World::push_body({{.name = "addNote", .cmid = "m1", .id = "a"}}, true);
  const auto push = [&](std::map<std::string, std::string> headers) {
    return world.request("POST", "/sync/push", world.token("u1"), body, std::move(headers));
  };
  EXPECT_EQ(push({}).status, 426) << "absent is 0.0.0";
  EXPECT_EQ(world.pull("u1").status, 200);
  for (const char* version : {"one", "1..2", "1.5.", ".1", "1.5-beta", "v1.5", " 1.5", "1,5", "-1"}) {
    const Answer answer = push({{"x-nizhal-contract-version", version}});
    EXPECT_EQ(answer.status, 400) << version;
    EXPECT_EQ(answer.code(), "bad_request");
    EXPECT_NE(answer.string_of("error").find("x-nizhal-contract-version"), std::string::npos);
  }
  EXPECT_EQ(push({{"x-nizhal-contract-version", "1.10"}}).status, 200);
}

TEST(ServerVersion, ABreakingMigrationEndsOldClientsWritingWithinOneLook) {
  World world(Limits{}, {.version = "3.0.0", .min_client_version = "1.5"});
  const auto push = [&](const std::string& version) {
    const std::string body = World::push_body({{.name = "addNote", .cmid = "m" + version, .id = version}}, true);
    return world.request("POST", "/sync/push", world.token("u1"), body, {{"x-nizhal-contract-version", version}});
  };
  const auto database_says = [&](const std::string& minimum) {
    world.storage->alter_mark = [minimum](storage::ChangeMark& mark) { mark.min_client_version = minimum; };
    world.server->tick();
  };
  EXPECT_EQ(push("1.9").status, 200);
  database_says("2.10");
  const Answer old = push("2.9");
  EXPECT_EQ(old.status, 426);
  EXPECT_EQ(old.code(), "upgrade_required");
  EXPECT_EQ(old.string_of("minClientVersion"), "2.10");
  EXPECT_EQ(push("2.10.0").status, 200);
  EXPECT_EQ(world.pull("u1").status, 200) << "old clients read on";
  // The domain's own minimum holds, whatever the database says, and what was learned stays while it cannot be asked.
  world.storage->plan = fail_call("change_mark", ErrorCode::busy, 1);
  database_says("2.10");
  EXPECT_EQ(push("2.9").status, 426);
  database_says("0.1");
  EXPECT_EQ(push("1.4").status, 426);
}

TEST(ServerVersion, TheDatabasesMinimumIsKnownFromTheStart) {
  World world(Limits{}, {.version = "3.0.0"});
  const auto push = [&] {
    return world.request("POST", "/sync/push", world.token("u1"),
                         World::push_body({{.name = "addNote", .cmid = "m1", .id = "n1"}}, true),
                         {{"x-nizhal-contract-version", "2.0.0"}});
  };
  world.storage->alter_mark = [](storage::ChangeMark& mark) { mark.min_client_version = "3.0.0"; };
  world.restart_server();
  EXPECT_EQ(push().status, 426);
}

TEST(Retention, PrunesTombstonesMutationRecordsAndAuditRowsAndSaysSo) {
  World world;
  const auto lines = [&] {
    std::string text;
    for (const std::string& line : std::exchange(world.log_lines, {})) text += line + "\n";
    return text;
  };
  world.run("u1", "addNote", "n1");
  world.run("u1", "removeNote", "n1");
  world.clock.advance(std::chrono::hours(24 * 30) - std::chrono::seconds(1));
  world.run("u1", "addNote", "n2");
  lines();
  const auto early = world.server->gc();
  ASSERT_TRUE(early);
  EXPECT_EQ(early->removals + early->mutations + early->audit_rows, 0U);
  EXPECT_EQ(lines(), "") << "nothing to prune is nothing to tell";
  world.clock.advance(std::chrono::seconds(2));
  const auto report = world.server->gc();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->removals, 1U);
  EXPECT_EQ(report->mutations, 2U);
  EXPECT_EQ(report->audit_rows, 2U);
  EXPECT_EQ(lines(), "info gc: pruned 1 removals, 2 mutation records and 2 audit rows older than 720 h\n");
}

TEST_F(Server, BodiesThatAreWrongAreNamed) {
  const std::string token = world.token("u1");
  const auto error = [&](const char* path, std::string body) {
    const Answer answer = world.request("POST", path, token, std::move(body));
    expect(answer, 400, "bad_request");
    return answer.string_of("error");
  };
  EXPECT_NE(error("/sync/pull", R"({"limit":0})").find("limit"), std::string::npos);
  EXPECT_NE(error("/sync/pull", R"({"limit":"many"})").find("limit"), std::string::npos);
  EXPECT_NE(error("/sync/pull", R"({"cursor":7})").find("cursor"), std::string::npos);
  EXPECT_NE(error("/sync/pull", R"({"deviceId":""})").find("deviceId"), std::string::npos);
  EXPECT_NE(error("/sync/pull", R"({"buckets":"o1"})").find("buckets"), std::string::npos);
  error("/sync/pull", "[]");
  error("/sync/pull", "{");
  error("/sync/pull", "\xff");
  EXPECT_NE(error("/sync/push", "{}").find("mutations"), std::string::npos);
  EXPECT_NE(error("/sync/push", R"({"mutations":[{}]})").find("mutations[0]"), std::string::npos);
  EXPECT_NE(error("/sync/push", R"({"mutations":[{"name":"addNote","clientMutationId":"m","clientID":"c"}]})")
                .find("mutationID"),
            std::string::npos);
  error("/sync/push", "null");
  EXPECT_EQ(world.request("POST", "/sync/pull", token, "").status, 200) << "an empty body is an empty request";
}

TEST_F(Server, TokensAndQueriesAreNeverLogged) {
  world.storage->plan = [](std::string_view) { return ErrorCode::io_error; };
  const std::string token = world.token("u1");
  world.request("POST", "/sync/pull?token=hush", token, "{}");
  world.request("POST", "/sync/push", token, World::push_body({{.name = "addNote", .cmid = "m1", .id = "a"}}, true));
  world.request("POST", "/sync/pull", token + "x", "{}");
  protocol::HttpRequest stream;
  stream.path = "/sync/stream";
  stream.query.emplace("token", token);
  EXPECT_EQ(world.server->authorize_stream(stream).error().status, 500);
  EXPECT_FALSE(world.log_lines.empty());
  for (const std::string& line : world.log_lines) {
    EXPECT_EQ(line.find(token.substr(0, 20)), std::string::npos) << line;
    EXPECT_EQ(line.find("hush"), std::string::npos) << line;
  }
}

class AdminServer : public ::testing::Test {
 protected:
  AdminServer() : world(limits()) {}
  static Limits limits() {
    Limits limits;
    limits.admin_password = "let me in";
    return limits;
  }
  std::size_t rows(const std::string& query) {
    const Answer answer = world.request("GET", "/nizhal/audit" + query, "let me in");
    EXPECT_EQ(answer.status, 200) << answer.text;
    return answer.has("rows") ? answer.body.at("rows").get_array().size() : 999;
  }
  World world;
};

TEST_F(AdminServer, NeedsThePassword) {
  for (const char* path : {"/nizhal/audit", "/nizhal/stats"}) {
    EXPECT_EQ(world.request("GET", path, "").status, 401);
    EXPECT_EQ(world.request("GET", path, "let me i").status, 401);
    EXPECT_EQ(world.request("GET", path, "let me in ").status, 401);
    EXPECT_EQ(world.request("GET", path, world.token("u1")).status, 401);
    EXPECT_EQ(world.request("GET", path, "let me in").status, 200);
    EXPECT_EQ(world.request("POST", path, "let me in").status, 405);
  }
}

TEST_F(AdminServer, TheAuditIsFilteredAndBounded) {
  world.run("u1", "createTeam", "x", "a");
  for (int i = 0; i < 5; ++i) world.run("u1", "addDoc", "d" + std::to_string(i), "a");
  world.run("u2", "addNote", "n1");
  EXPECT_EQ(rows(""), 7U);
  EXPECT_EQ(rows("?actor=u2"), 1U);
  EXPECT_EQ(rows("?bucket=team:a"), 6U);
  EXPECT_EQ(rows("?bucket=team:a&limit=2"), 2U);
  EXPECT_EQ(rows("?bucket=team:a&actor=u2"), 0U);
  EXPECT_EQ(rows("?sinceVersion=" + std::to_string(world.last_version())), 1U);
  EXPECT_EQ(rows("?untilVersion=" + std::to_string(world.last_version() - 1)), 6U);
  const Answer some = world.request("GET", "/nizhal/audit?limit=2", "let me in");
  EXPECT_FALSE(some.body.at("scannedAll").get_bool());
  for (const char* query :
       {"?limit=0", "?limit=x", "?limit=-1", "?sinceVersion=1.5", "?untilVersion=99999999999999999999"})
    EXPECT_EQ(world.request("GET", std::string("/nizhal/audit") + query, "let me in").status, 400) << query;
}

TEST_F(AdminServer, StatsTellWhatHappened) {
  world.run("u1", "addNote", "n1");
  world.push("u1", {{.name = "addThenRefuse", .cmid = "m2", .id = "b"}});
  world.push("u1", {{.name = "addThenRefuse", .cmid = "m2", .id = "b"}});
  world.pull("u1");
  const Answer answer = world.request("GET", "/nizhal/stats", "let me in");
  EXPECT_EQ(answer.number_of("pushes"), 3);
  EXPECT_EQ(answer.number_of("pulls"), 1);
  EXPECT_EQ(answer.number_of("mutationsApplied"), 1);
  EXPECT_EQ(answer.number_of("mutationsRejected"), 2);
  EXPECT_EQ(answer.number_of("streams"), 0);
  EXPECT_EQ(answer.number_of("lastVersion"), static_cast<std::int64_t>(world.last_version()));
  // The first pull was a first sync, which only the tables can answer.
  const json::object& tail = answer.body.at("tail").get_object();
  EXPECT_TRUE(tail.at("on").get_bool());
  EXPECT_EQ(as_integer(tail.at("hits")), 0);
  EXPECT_EQ(as_integer(tail.at("misses")), 1);
  EXPECT_EQ(as_integer(tail.at("start")), static_cast<std::int64_t>(world.last_version()));
}

}  // namespace
}  // namespace nizhal::server::testing
