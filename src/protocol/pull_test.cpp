#include "protocol/pull.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace nizhal::protocol {
namespace {

struct Note {
  std::string id, body;
};
struct Item {
  std::int64_t id = 0;
  std::optional<std::string> client_id;
};

Domain test_domain() {
  Domain domain("test");
  domain.add(table<Note>("notes").key("id", &Note::id).column("body", &Note::body));
  domain.add(table<Item>("items").key("id", &Item::id).column("client_id", &Item::client_id));
  return domain;
}

std::string refusal(std::string_view body) {
  const auto decoded = decode_pull_request(body);
  if (decoded) return "decoded";
  EXPECT_EQ(decoded.error().code, ErrorCode::bad_request) << body;
  return decoded.error().message;
}

TEST(PullRequest, AnEmptyBodyAsksFromTheStart) {
  for (const std::string_view body :
       {"", "{}", R"({"cursor":""})", R"({"cursor":null,"limit":null,"deviceId":null})"}) {
    const auto decoded = decode_pull_request(body);
    ASSERT_TRUE(decoded.has_value()) << body << ": " << decoded.error().message;
    EXPECT_EQ(decoded->cursor, "");
    EXPECT_FALSE(decoded->limit.has_value());
    EXPECT_FALSE(decoded->device_id.has_value());
    EXPECT_FALSE(decoded->buckets.has_value());
    EXPECT_FALSE(decoded->schema.has_value());
  }
}

TEST(PullRequest, ReadsAllItsFields) {
  const auto decoded = decode_pull_request(
      R"({"cursor":"abc","deviceId":"d1","limit":50,"syncRule":"r","buckets":["a","b"],"schema":{"notes":"1.2"},"x":{}})");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->cursor, "abc");
  EXPECT_EQ(decoded->device_id, "d1");
  EXPECT_EQ(decoded->limit, 50U);
  EXPECT_EQ(decoded->sync_rule, "r");
  EXPECT_EQ(decoded->buckets, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(decoded->schema, (std::map<std::string, std::string>{{"notes", "1.2"}}));
}

TEST(PullRequest, NoBucketsAndAnEmptyListDiffer) {
  const auto decoded = decode_pull_request(R"({"buckets":[]})");
  ASSERT_TRUE(decoded.has_value());
  ASSERT_TRUE(decoded->buckets.has_value());
  EXPECT_TRUE(decoded->buckets->empty());
}

TEST(PullRequest, RefusesBodiesThatAreNoObject) {
  for (const std::string_view body :
       {" ", "null", "[]", "7", "\"x\"", "{", "{}{}", "{'cursor':1}", "\xff\xfe", "{\"a\":\"\xc3\"}"})
    EXPECT_NE(refusal(body).find("the body"), std::string::npos) << body;
}

TEST(PullRequest, NamesTheWrongField) {
  const struct {
    std::string body, message;
  } cases[] = {
      {R"({"cursor":7})", "cursor must be a string"},
      {R"({"cursor":{}})", "cursor must be a string"},
      {R"({"limit":0})", "limit must be an integer ≥ 1"},
      {R"({"limit":-5})", "limit must be an integer ≥ 1"},
      {R"({"limit":1.5})", "limit must be an integer ≥ 1"},
      {R"({"limit":"10"})", "limit must be an integer ≥ 1"},
      {R"({"limit":true})", "limit must be an integer ≥ 1"},
      {R"({"limit":[10]})", "limit must be an integer ≥ 1"},
      {R"({"deviceId":""})", "deviceId must be a string of 1 to 128 bytes without control characters"},
      {R"({"deviceId":7})", "deviceId must be a string of 1 to 128 bytes without control characters"},
      {R"({"deviceId":"a\nb"})", "deviceId must be a string of 1 to 128 bytes without control characters"},
      {R"({"deviceId":"a\u0000"})", "deviceId must be a string of 1 to 128 bytes without control characters"},
      {R"({"deviceId":"a\u007f"})", "deviceId must be a string of 1 to 128 bytes without control characters"},
      {R"({"deviceId":")" + std::string(129, 'd') + "\"}",
       "deviceId must be a string of 1 to 128 bytes without control characters"},
      {R"({"syncRule":[]})", "syncRule must be a string"},
      {R"({"buckets":"b"})", "buckets must be an array of strings"},
      {R"({"buckets":["b",7]})", "buckets must be an array of strings"},
      {R"({"syncRules":"r"})", "syncRules must be an array of strings"},
      {R"({"schema":[]})", "schema must be an object"},
      {R"({"schema":{"notes":7}})", "schema must hold strings"},
  };
  for (const auto& test : cases) EXPECT_EQ(refusal(test.body), test.message) << test.body;
}

TEST(PullRequest, TakesTheLongestDeviceIdInBytes) {
  EXPECT_EQ(refusal(R"({"deviceId":")" + std::string(128, 'd') + "\"}"), "decoded");
  std::string snowmen;
  for (int i = 0; i < 43; ++i) snowmen += "☃";
  EXPECT_NE(refusal(R"({"deviceId":")" + snowmen + "\"}"), "decoded");
}

TEST(PullRequest, ComesBackAsItWasWritten) {
  PullRequest request;
  request.cursor = "c\"";
  request.device_id = "d";
  request.limit = 7;
  request.sync_rule = "rule";
  request.buckets = std::vector<std::string>{"team:1", ""};
  request.sync_rules = std::vector<std::string>{"myTeams"};
  request.schema = std::map<std::string, std::string>{{"notes", "a.b"}, {"x", ""}};
  const auto decoded = decode_pull_request(encode_pull_request(request));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->cursor, request.cursor);
  EXPECT_EQ(decoded->device_id, request.device_id);
  EXPECT_EQ(decoded->limit, request.limit);
  EXPECT_EQ(decoded->sync_rule, request.sync_rule);
  EXPECT_EQ(decoded->buckets, request.buckets);
  EXPECT_EQ(decoded->sync_rules, request.sync_rules);
  EXPECT_EQ(decoded->schema, request.schema);
}

TEST(Page, AnEmptyPageStillHasItsFirstSixFields) {
  PageWriter writer;
  PageWriter::Tail tail;
  tail.cursor = "c";
  tail.epoch = "e";
  EXPECT_EQ(
      writer.finish(tail),
      R"({"changed":[],"tombstoned":[],"removed":[],"removedBuckets":[],"cursor":"c","hasMore":false,"epoch":"e",)"
      R"("serverTime":"1970-01-01T00:00:00.000000Z"})");
}

PageWriter::Tail full_tail() {
  PageWriter::Tail tail;
  tail.removed_buckets = {"team:\"9\""};
  tail.cursor = "c";
  tail.has_more = true;
  tail.buckets = std::vector<std::string>{"o1", "team:1"};
  tail.epoch = "e";
  tail.cursor_reset = true;
  tail.last_mutation_id = MutationId{5};
  tail.last_client_mutation_id = "m5";
  tail.progress = PullProgress{.rows = 10, .total = 20};
  tail.server_time = Timestamp{1'767'323'045'678'901};
  return tail;
}

PageWriter full_writer() {
  PageWriter writer;
  writer.add_changed("notes", R"({"id":"n1","body":"one"})");
  writer.add_changed("items", R"({"id":"7","client_id":null})");
  writer.add_changed("notes", R"({"id":"n2","body":"two"})");
  writer.add_tombstoned("items", R"("8")", "local-8");
  writer.add_tombstoned("notes", R"("n3")", std::nullopt);
  writer.add_removed("notes", R"("n4")", std::nullopt);
  return writer;
}

TEST(Page, HasItsFieldsInTheOrderOfTheProtocol) {
  EXPECT_EQ(
      full_writer().finish(full_tail()),
      R"({"changed":[{"table":"notes","rows":[{"id":"n1","body":"one"},{"id":"n2","body":"two"}]},)"
      R"({"table":"items","rows":[{"id":"7","client_id":null}]}],)"
      R"("tombstoned":[{"table":"items","id":"8","key":"local-8"},{"table":"notes","id":"n3"}],)"
      R"("removed":[{"table":"notes","id":"n4"}],"removedBuckets":["team:\"9\""],"cursor":"c","hasMore":true,)"
      R"("buckets":["o1","team:1"],"epoch":"e","cursorReset":true,"lastMutationId":5,"lastClientMutationId":"m5",)"
      R"("progress":{"rows":10,"total":20},"serverTime":"2026-01-02T03:04:05.678901Z"})");
}

TEST(Page, ADeviceReadsWhatTheServerWrote) {
  const auto page = decode_page(test_domain(), full_writer().finish(full_tail()));
  ASSERT_TRUE(page.has_value()) << page.error().message;
  ASSERT_EQ(page->changed.size(), 2U);
  EXPECT_EQ(page->changed[0].table, "notes");
  EXPECT_EQ(page->changed[0].rows, (std::vector<Row>{{"n1", "one"}, {"n2", "two"}}));
  EXPECT_EQ(page->changed[1].rows, (std::vector<Row>{{std::int64_t{7}, std::monostate{}}}));
  ASSERT_EQ(page->tombstoned.size(), 2U);
  EXPECT_EQ(page->tombstoned[0].table, "items");
  EXPECT_EQ(page->tombstoned[0].id, Value(std::int64_t{8}));
  EXPECT_EQ(page->tombstoned[0].key, "local-8");
  EXPECT_FALSE(page->tombstoned[1].key.has_value());
  ASSERT_EQ(page->removed.size(), 1U);
  EXPECT_EQ(page->removed[0].id, Value("n4"));
  EXPECT_EQ(page->removed_buckets, std::vector<std::string>{"team:\"9\""});
  EXPECT_EQ(page->cursor, "c");
  EXPECT_TRUE(page->has_more);
  EXPECT_EQ(page->buckets, (std::vector<std::string>{"o1", "team:1"}));
  EXPECT_EQ(page->epoch, "e");
  EXPECT_TRUE(page->cursor_reset);
  EXPECT_EQ(page->last_mutation_id, MutationId{5});
  EXPECT_EQ(page->last_client_mutation_id, "m5");
  ASSERT_TRUE(page->progress.has_value());
  EXPECT_EQ(page->progress->rows, 10U);
  EXPECT_EQ(page->progress->total, 20U);
  EXPECT_EQ(page->server_time, Timestamp{1'767'323'045'678'901});
}

std::string page_with(std::string_view field, std::string_view json) {
  const std::pair<std::string_view, std::string_view> fields[] = {
      {"changed", "[]"},        {"tombstoned", "[]"}, {"removed", "[]"},
      {"removedBuckets", "[]"}, {"cursor", "\"c\""},  {"hasMore", "false"},
  };
  std::string body = "{";
  bool replaced = false;
  for (const auto& [name, usual] : fields) {
    const bool here = name == field;
    replaced = replaced || here;
    if (here && json.empty()) continue;
    if (body.size() > 1) body += ',';
    body += "\"" + std::string(name) + "\":" + std::string(here ? json : usual);
  }
  if (!replaced) body += ",\"" + std::string(field) + "\":" + std::string(json);
  return body + "}";
}

TEST(Page, WhatTheDeviceDoesNotHaveIsLeftOut) {
  std::string body =
      page_with("changed", R"([{"table":"other","rows":[{"whatever":[1]},7]},{"table":"notes","rows":[]}])");
  auto page = decode_page(test_domain(), body);
  ASSERT_TRUE(page.has_value()) << page.error().message;
  ASSERT_EQ(page->changed.size(), 1U);
  EXPECT_EQ(page->changed[0].table, "notes");

  body = page_with("removed", R"([{"table":"other","id":{"a":1}},{"table":"notes","id":"n1"}])");
  page = decode_page(test_domain(), body);
  ASSERT_TRUE(page.has_value()) << page.error().message;
  ASSERT_EQ(page->removed.size(), 1U);
  EXPECT_EQ(page->removed[0].id, Value("n1"));
}

TEST(Page, TheFirstSixFieldsMustBeThere) {
  for (const std::string_view field : {"changed", "tombstoned", "removed", "removedBuckets", "cursor", "hasMore"}) {
    for (const std::string_view value : {"", "null", "7"}) {
      const auto page = decode_page(test_domain(), page_with(field, value));
      ASSERT_FALSE(page.has_value()) << field << " " << value;
      EXPECT_EQ(page.error().code, ErrorCode::bad_request);
      EXPECT_EQ(page.error().message.rfind(std::string(field) + " must be ", 0), 0U) << page.error().message;
    }
  }
}

TEST(Page, NamesTheWrongField) {
  const struct {
    std::string_view field, value, message;
  } cases[] = {
      {"changed", "[7]", "changed[0] must be an object"},
      {"changed", R"([{"rows":[]}])", "changed[0].table must be a string"},
      {"changed", R"([{"table":"notes"}])", "changed[0].rows must be an array"},
      {"tombstoned", "[[]]", "tombstoned[0] must be an object"},
      {"tombstoned", R"([{"id":"n"}])", "tombstoned[0].table must be a string"},
      {"removed", R"([{"table":"notes"}])", "removed[0].id must be the row's key"},
      {"removed", R"([{"table":"notes","id":"n","key":7}])", "removed[0].key must be a string"},
      {"buckets", "7", "buckets must be an array of strings"},
      {"epoch", "7", "epoch must be a string"},
      {"cursorReset", "1", "cursorReset must be true or false"},
      {"lastMutationId", "-1", "lastMutationId must be an integer ≥ 0 and ≤ 9007199254740992"},
      {"lastClientMutationId", "1", "lastClientMutationId must be a string"},
      {"progress", R"({"rows":1})", "progress must hold rows and total, integers ≥ 0"},
      {"progress", R"({"rows":-1,"total":2})", "progress must hold rows and total, integers ≥ 0"},
      {"serverTime", R"("yesterday")", "serverTime must be ISO 8601"},
  };
  for (const auto& test : cases) {
    const auto page = decode_page(test_domain(), page_with(test.field, test.value));
    ASSERT_FALSE(page.has_value()) << test.field << " " << test.value;
    EXPECT_EQ(page.error().message, test.message);
  }
}

TEST(Page, ARowThatDoesNotFitItsTableIsNamed) {
  auto page = decode_page(test_domain(),
                          page_with("changed", R"([{"table":"notes","rows":[{"id":"a","body":"b"},{"id":7}]}])"));
  ASSERT_FALSE(page.has_value());
  EXPECT_EQ(page.error().message.rfind("changed[0].rows[1]: ", 0), 0U) << page.error().message;
  page = decode_page(test_domain(), page_with("tombstoned", R"([{"table":"items","id":[]}])"));
  ASSERT_FALSE(page.has_value());
  EXPECT_EQ(page.error().message.rfind("tombstoned[0].id must ", 0), 0U) << page.error().message;
}

TEST(Page, AProxysErrorPageIsNoPage) {
  for (const std::string_view body : {"", "<html></html>", "[]", "{"}) {
    const auto page = decode_page(test_domain(), body);
    ASSERT_FALSE(page.has_value()) << body;
    EXPECT_EQ(page.error().code, ErrorCode::bad_request);
  }
}

struct Doc {
  std::string id;
  CrdtText body;
  CrdtMap marks;
};
Domain doc_domain() {
  Domain domain("docs");
  domain.add(table<Doc>("docs").key("id", &Doc::id).column("body", &Doc::body).column("marks", &Doc::marks));
  return domain;
}
std::string page_with(std::string_view rows) {
  return R"({"changed":[{"table":"docs","rows":[)" + std::string(rows) +
         R"(]}],"tombstoned":[],"removed":[],"removedBuckets":[],"cursor":"c","hasMore":false})";
}

TEST(PullUpdates, AreAskedForOnlyWhenNamed) {
  PullRequest request;
  request.cursor = "c";
  EXPECT_EQ(encode_pull_request(request), R"({"cursor":"c"})");
  request.updates = true;
  EXPECT_EQ(encode_pull_request(request), R"({"cursor":"c","updates":true})");
  EXPECT_TRUE(decode_pull_request(R"({"updates":true})")->updates);
  EXPECT_FALSE(decode_pull_request(R"({"updates":false})")->updates);
  EXPECT_FALSE(decode_pull_request("{}")->updates);
  EXPECT_EQ(refusal(R"({"updates":1})"), "updates must be true or false");
}

TEST(PullUpdates, AreReadAsTheColumnsValueAndNamed) {
  const auto page =
      decode_page(doc_domain(), page_with(R"({"id":"1","body":"AQI=","marks":"AAA="},)"
                                          R"({"id":"2","body":{"update":"AwQ="},"marks":"AAA="},)"
                                          R"({"id":"3","body":"AQI=","marks":"AAA="},)"
                                          R"({"id":"4","body":{"update":"AAA="},"marks":{"update":"AQI=","more":1}})"));
  ASSERT_TRUE(page) << page.error().message;
  const ChangedTable& changed = page->changed[0];
  using Columns = std::vector<std::size_t>;
  EXPECT_EQ(changed.updates, (std::vector<Columns>{{}, {1}, {}, {1, 2}}));
  EXPECT_EQ(changed.rows[1][1], Value(Blob{{3, 4}}));
  EXPECT_EQ(changed.rows[3][2], Value(Blob{{1, 2}}));
  EXPECT_EQ(changed.rows[0][1], Value(Blob{{1, 2}}));
  EXPECT_TRUE(
      decode_page(doc_domain(), page_with(R"({"id":"1","body":"AQI=","marks":"AAA="})"))->changed[0].updates.empty());
}

TEST(PullUpdates, ThatAreNoneAreRefused) {
  for (const char* body : {R"({"update":7})", R"({"update":"%"})", R"({})", R"({"update":null})", R"([])", "7"}) {
    const auto page =
        decode_page(doc_domain(), page_with(R"({"id":"1","marks":"AAA=","body":)" + std::string(body) + "}"));
    ASSERT_FALSE(page) << body;
    EXPECT_NE(page.error().message.find("changed[0].rows[0]"), std::string::npos) << page.error().message;
  }
  // Another column than a CRDT column takes no update.
  EXPECT_FALSE(decode_page(doc_domain(), page_with(R"({"id":{"update":"AAA="}})")));
}

TEST(PullPage, TellsTheHighestStampOfItsRows) {
  PageWriter::Tail tail;
  tail.hlc = "2026-01-02T03:04:05.000Z-0001-00000000000000000000000000000000";
  const std::string body = PageWriter().finish(tail);
  EXPECT_NE(body.find(R"(,"hlc":"2026-01-02T03:04:05.000Z-0001-00000000000000000000000000000000","serverTime":)"),
            std::string::npos)
      << body;
  EXPECT_EQ(decode_page(doc_domain(), body)->hlc, tail.hlc);
  const std::string without = PageWriter().finish({});
  EXPECT_EQ(without.find("hlc"), std::string::npos);
  EXPECT_EQ(decode_page(doc_domain(), without)->hlc, std::nullopt);
}

}  // namespace
}  // namespace nizhal::protocol
