#include "protocol/push.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace nizhal::protocol {
namespace {

constexpr std::string_view kOne = R"({"mutations":[{"name":"addNote","args":{"id":"n1"},"clientMutationId":"m1"}]})";

std::string refusal(std::string_view body) {
  const auto decoded = decode_push_request(body);
  if (decoded) return "decoded";
  EXPECT_EQ(decoded.error().code, ErrorCode::bad_request) << body;
  return decoded.error().message;
}

std::string mutation_refusal(std::string_view members) {
  return refusal(R"({"mutations":[{"name":"a","clientMutationId":"m0"},{)" + std::string(members) + "}]}");
}

std::string escaped_control() { return R"("a\u0000b")"; }

TEST(PushRequest, ReadsASequencedMutationWithAllItsFields) {
  const auto decoded = decode_push_request(
      R"({"mutations":[{"name":"addNote","args":{"id":"n1","body":"é"},"clientMutationId":"m1","clientID":"c1",)"
      R"("mutationID":3,"hlc":"h","dependsOn":["m0"],"idSeed":"s","argsVersion":2,"unknown":[1]}],"results":true})");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_TRUE(decoded->results);
  ASSERT_EQ(decoded->mutations.size(), 1U);
  const PushMutation& mutation = decoded->mutations[0];
  EXPECT_EQ(mutation.name, "addNote");
  EXPECT_EQ(string_member(mutation.args, "body"), "é");
  EXPECT_EQ(mutation.client_mutation_id, "m1");
  EXPECT_EQ(mutation.client_id, "c1");
  EXPECT_EQ(mutation.mutation_id, MutationId{3});
  EXPECT_EQ(mutation.hlc, "h");
  EXPECT_EQ(mutation.depends_on, std::vector<std::string>{"m0"});
  EXPECT_EQ(mutation.id_seed, "s");
  EXPECT_EQ(mutation.args_version, 2);
}

TEST(PushRequest, WithoutResultsTheSimpleFormIsMeant) {
  const auto decoded = decode_push_request(kOne);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_FALSE(decoded->results);
  EXPECT_FALSE(decoded->mutations[0].client_id.has_value());
  EXPECT_FALSE(decoded->mutations[0].hlc.has_value());
}

TEST(PushRequest, NullAndAbsentAreTheSame) {
  const auto decoded = decode_push_request(
      R"({"mutations":[{"name":"a","args":null,"clientMutationId":"m","clientID":null,"mutationID":null,"hlc":null,)"
      R"("dependsOn":null,"idSeed":null,"argsVersion":null}],"results":null})");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_TRUE(decoded->mutations[0].args.is_object());
  EXPECT_FALSE(decoded->mutations[0].mutation_id.has_value());
  EXPECT_FALSE(decoded->results);
}

TEST(PushRequest, AnEmptyListIsARequest) {
  const auto decoded = decode_push_request(R"({"mutations":[]})");
  ASSERT_TRUE(decoded.has_value());
  EXPECT_TRUE(decoded->mutations.empty());
}

TEST(PushRequest, RefusesBodiesThatAreNoObject) {
  for (const std::string_view body :
       {"", "null", "[]", "7", "\"x\"", "{", "{}x", "{\"mutations\":[],}", "\xff", "nope"})
    EXPECT_NE(refusal(body).find("the body"), std::string::npos) << body;
}

TEST(PushRequest, TheListOfMutationsMustBeThere) {
  for (const std::string_view body :
       {R"({})", R"({"mutations":null})", R"({"mutations":{}})", R"({"mutations":"m"})", R"({"mutations":1})"})
    EXPECT_EQ(refusal(body), "mutations must be an array") << body;
  EXPECT_EQ(refusal(R"({"mutations":[7]})"), "mutations[0] must be an object");
  EXPECT_EQ(refusal(R"({"mutations":[null]})"), "mutations[0] must be an object");
}

TEST(PushRequest, ResultsMustBeABoolean) {
  EXPECT_EQ(refusal(R"({"mutations":[],"results":1})"), "results must be true or false");
  EXPECT_EQ(refusal(R"({"mutations":[],"results":"true"})"), "results must be true or false");
}

TEST(PushRequest, NamesTheWrongFieldAndItsMutation) {
  const struct {
    std::string members, message;
  } cases[] = {
      {R"("clientMutationId":"m")", "mutations[1].name must be a non-empty string without control characters"},
      {R"("name":"","clientMutationId":"m")",
       "mutations[1].name must be a non-empty string without control characters"},
      {R"("name":7,"clientMutationId":"m")", "mutations[1].name must be a non-empty string without control characters"},
      {R"("name":"a","clientMutationId":"m","args":[])", "mutations[1].args must be an object"},
      {R"("name":"a","clientMutationId":"m","args":"{}")", "mutations[1].args must be an object"},
      {R"("name":"a","clientMutationId":"m","args":7)", "mutations[1].args must be an object"},
      {R"("name":"a")", "mutations[1].clientMutationId must be a string of 1 to 128 bytes without control characters"},
      {R"("name":"a","clientMutationId":"")",
       "mutations[1].clientMutationId must be a string of 1 to 128 bytes without control characters"},
      {R"("name":"a","clientMutationId":")" + std::string(129, 'm') + "\"",
       "mutations[1].clientMutationId must be a string of 1 to 128 bytes without control characters"},
      {R"("name":"a","clientMutationId":)" + escaped_control(),
       "mutations[1].clientMutationId must be a string of 1 to 128 bytes without control characters"},
      {R"("name":"a","clientMutationId":"m","clientID":"c")",
       "mutations[1].mutationID must be there, because clientID is"},
      {R"("name":"a","clientMutationId":"m","mutationID":1)",
       "mutations[1].clientID must be there, because mutationID is"},
      {R"("name":"a","clientMutationId":"m","clientID":"","mutationID":1)",
       "mutations[1].clientID must be a string of 1 to 128 bytes without control characters"},
      {R"("name":"a","clientMutationId":"m","clientID":7,"mutationID":1)",
       "mutations[1].clientID must be a string of 1 to 128 bytes without control characters"},
      {R"("name":"a","clientMutationId":"m","hlc":7)", "mutations[1].hlc must be a string"},
      {R"("name":"a","clientMutationId":"m","dependsOn":"x")", "mutations[1].dependsOn must be an array of strings"},
      {R"("name":"a","clientMutationId":"m","dependsOn":[7])", "mutations[1].dependsOn must be an array of strings"},
      {R"("name":"a","clientMutationId":"m","idSeed":7)",
       "mutations[1].idSeed must be a string of at most 128 bytes without control characters"},
      {R"("name":"a","clientMutationId":"m","argsVersion":"2")",
       "mutations[1].argsVersion must be an integer ≥ 1 and ≤ 2147483647"},
  };
  for (const auto& test : cases) EXPECT_EQ(mutation_refusal(test.members), test.message) << test.members;
}

TEST(PushRequest, MutationIdsArePositiveIntegersThatJsonKeepsExactly) {
  for (const std::string_view id :
       {"0", "-1", "1.5", "\"1\"", "true", "[1]", "9007199254740993", "18446744073709551616", "1e300"}) {
    const std::string message =
        mutation_refusal(R"("name":"a","clientMutationId":"m","clientID":"c","mutationID":)" + std::string(id));
    EXPECT_EQ(message, "mutations[1].mutationID must be an integer ≥ 1 and ≤ 9007199254740992") << id;
  }
  for (const std::string_view id : {"1", "1.0", "9007199254740992"})
    EXPECT_EQ(mutation_refusal(R"("name":"a","clientMutationId":"m","clientID":"c","mutationID":)" + std::string(id)),
              "decoded")
        << id;
}

TEST(PushRequest, ComesBackAsItWasWritten) {
  PushRequest request;
  request.results = true;
  request.mutations.push_back({.name = "plain", .args = json::object(), .client_mutation_id = "m1"});
  PushMutation full;
  full.name = "full \"quoted\"";
  full.args = parse_json(R"({"n":[1,null,{"é":"\n"}]})").value_or(json::value());
  full.client_mutation_id = "m2";
  full.client_id = "client";
  full.mutation_id = MutationId{9'007'199'254'740'992};
  full.hlc = "2026-01-02T03:04:05.678Z-0000-00000000000000000000000000000001";
  full.depends_on = {"m1", "m0"};
  full.id_seed = "seed";
  full.args_version = 3;
  request.mutations.push_back(full);

  const auto decoded = decode_push_request(encode_push_request(request));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(encode_push_request(*decoded), encode_push_request(request));
  EXPECT_TRUE(decoded->results);
  ASSERT_EQ(decoded->mutations.size(), 2U);
  EXPECT_EQ(decoded->mutations[1].args, full.args);
  EXPECT_EQ(decoded->mutations[1].mutation_id, full.mutation_id);
  EXPECT_EQ(decoded->mutations[1].depends_on, full.depends_on);
}

TEST(PushReply, IsWrittenWithTheNamesOfTheProtocol) {
  PushReply reply;
  reply.results.push_back({.client_mutation_id = "m1",
                           .status = PushStatus::applied,
                           .server_id = "s1",
                           .affected_buckets = std::vector<std::string>{"shop-1"}});
  reply.results.push_back(
      {.client_mutation_id = "m2", .status = PushStatus::rejected, .code = "overpayment", .error = "too much"});
  reply.last_mutation_id = MutationId{7};
  reply.client_sequences = {{"c1", MutationId{7}}, {"c2", MutationId{1}}};
  reply.clock_skew_ms = -61'000;
  EXPECT_EQ(encode_push_reply(reply),
            R"({"results":[{"clientMutationId":"m1","status":"applied","serverId":"s1","affectedBuckets":["shop-1"]},)"
            R"({"clientMutationId":"m2","status":"rejected","code":"overpayment","error":"too much"}],)"
            R"("lastMutationId":7,"clientSequences":{"c1":7,"c2":1},"clockSkewMs":-61000})");
}

TEST(PushReply, ComesBackAsItWasWritten) {
  PushReply reply;
  for (const PushStatus status : {PushStatus::applied, PushStatus::duplicate, PushStatus::rejected,
                                  PushStatus::out_of_order, PushStatus::outcome_unknown, PushStatus::client_cloned,
                                  PushStatus::client_id_taken, PushStatus::retry, PushStatus::not_tried})
    reply.results.push_back({.client_mutation_id = to_string(status), .status = status});
  reply.last_mutation_id = MutationId{0};
  reply.clock_skew_ms = 90'000;
  const auto decoded = decode_push_reply(encode_push_reply(reply));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  ASSERT_EQ(decoded->results.size(), reply.results.size());
  for (std::size_t i = 0; i < reply.results.size(); ++i) EXPECT_EQ(decoded->results[i].status, reply.results[i].status);
  EXPECT_EQ(decoded->last_mutation_id, MutationId{0});
  EXPECT_EQ(decoded->clock_skew_ms, 90'000);
  EXPECT_TRUE(decoded->client_sequences.empty());
}

TEST(PushReply, RefusesWhatItCannotUnderstand) {
  const struct {
    std::string_view body, message;
  } cases[] = {
      {R"({})", "results must be an array"},
      {R"({"results":[7]})", "results[0] must be an object"},
      {R"({"results":[{"status":"applied"}]})", "results[0].clientMutationId must be a string"},
      {R"({"results":[{"clientMutationId":"m"}]})", "results[0].status must be a string"},
      {R"({"results":[{"clientMutationId":"m","status":"maybe"}]})",
       "results[0].status is not a status that this version knows"},
      {R"({"results":[],"lastMutationId":-1})", "lastMutationId must be an integer ≥ 0 and ≤ 9007199254740992"},
      {R"({"results":[],"clientSequences":{"c":"1"}})", "clientSequences must hold integers ≥ 0"},
      {R"({"results":[],"clientSequences":[]})", "clientSequences must be an object"},
  };
  for (const auto& test : cases) {
    const auto decoded = decode_push_reply(test.body);
    ASSERT_FALSE(decoded.has_value()) << test.body;
    EXPECT_EQ(decoded.error().code, ErrorCode::bad_request);
    EXPECT_EQ(decoded.error().message, test.message);
  }
  EXPECT_FALSE(decode_push_reply("<html>502</html>").has_value());
}

PushConflict a_conflict(std::string lost) {
  return {.table = "cards",
          .key = "c\"1",
          .column = "title",
          .lost = std::move(lost),
          .at = Timestamp{1'767'323'045'000'000},
          .winner_at = Timestamp{1'767'323'046'500'000}};
}

TEST(PushConflicts, AreInTheResultAndReadBack) {
  PushReply reply;
  reply.results.push_back({.client_mutation_id = "m1", .status = PushStatus::applied});
  reply.results.back().conflicts = {a_conflict(R"("my title")"), a_conflict("null")};
  const std::string body = encode_push_reply(reply);
  EXPECT_EQ(body,
            R"({"results":[{"clientMutationId":"m1","status":"applied","conflicts":[)"
            R"({"table":"cards","key":"c\"1","column":"title","lost":"my title","at":"2026-01-02T03:04:05.000000Z",)"
            R"("winnerAt":"2026-01-02T03:04:06.500000Z"},)"
            R"({"table":"cards","key":"c\"1","column":"title","lost":null,"at":"2026-01-02T03:04:05.000000Z",)"
            R"("winnerAt":"2026-01-02T03:04:06.500000Z"}]}]})");
  const auto decoded = decode_push_reply(body);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->results[0].conflicts, reply.results[0].conflicts);
}

TEST(PushConflicts, WhatIsRecordedIsReadAgain) {
  EXPECT_EQ(encode_conflicts({}), "");
  EXPECT_TRUE(decode_conflicts("").empty());
  const std::vector<PushConflict> conflicts = {a_conflict(R"({"a":[1,2]})"), a_conflict("true")};
  const std::string text = encode_conflicts(conflicts);
  EXPECT_EQ(decode_conflicts(text), conflicts);
  EXPECT_EQ(encode_conflicts(decode_conflicts(text)), text);
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_TRUE(decode_conflicts(text.substr(0, size)).empty());
  for (const char* other : {"7", "{}", "[7]", "[{}]", R"([{"table":"a","key":"b","column":"c","lost":1}])"})
    EXPECT_TRUE(decode_conflicts(other).empty()) << other;
}

TEST(PushConflicts, ThatAreNoneAreRefused) {
  for (const char* conflicts :
       {"7", "[7]", "[{}]",
        R"([{"table":"a","key":"b","column":"c","at":"2026-01-02T03:04:05Z","winnerAt":"2026-01-02T03:04:05Z"}])",
        R"([{"table":"a","key":"b","column":"c","lost":1,"at":"now","winnerAt":"2026-01-02T03:04:05Z"}])"}) {
    const auto decoded = decode_push_reply(
        std::string(R"({"results":[{"clientMutationId":"m","status":"applied","conflicts":)") + conflicts + "}]}");
    ASSERT_FALSE(decoded) << conflicts;
    EXPECT_EQ(decoded.error().code, ErrorCode::bad_request);
    EXPECT_NE(decoded.error().message.find("results[0].conflicts must"), std::string::npos) << decoded.error().message;
  }
}

TEST(ErrorBody, CarriesCodeMessageAndMore) {
  json::object extra;
  extra["lastMutationId"] = 4;
  const std::string body = encode_error("out_of_order", "the next mutation id is 5", extra);
  EXPECT_EQ(body, R"({"error":"the next mutation id is 5","code":"out_of_order","lastMutationId":4})");
  const ErrorBody error = decode_error(body);
  EXPECT_EQ(error.code, "out_of_order");
  EXPECT_EQ(error.message, "the next mutation id is 5");
  ASSERT_NE(error.members.if_contains("lastMutationId"), nullptr);
}

TEST(ErrorBody, AnyOtherBodyGivesNoCodeAndAShortMessage) {
  for (const std::string_view body :
       {"", "<html>Bad gateway</html>", "[]", "null", "{", "{}", R"({"code":7,"error":[]})"}) {
    const ErrorBody error = decode_error(body);
    EXPECT_EQ(error.code, "") << body;
    EXPECT_FALSE(error.message.empty()) << body;
    EXPECT_LT(error.message.size(), 100U) << body;
  }
}

}  // namespace
}  // namespace nizhal::protocol
