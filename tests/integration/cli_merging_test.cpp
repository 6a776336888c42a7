// The binary's commands for columns that merge, called wrongly: what is wrong and what to do instead is said, by exit
// code and on standard error, and nothing is written. A broken update is refused on the device and on the server.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/process.hpp"
#include "tests/support/raw_http.hpp"

namespace nizhal::testing {
namespace {

class CliMerging : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(server_.url().empty()) << server_.why();
    answer_of(a_.run({"mutate", "createSpace", R"({"space_id":"s1"})", "--json"}));
    answer_of(a_.run({"sync", "--json"}));
    answer_of(a_.run({"mutate", "createDocument", R"({"id":"d1","space_id":"s1","title":"t"})", "--json"}));
    answer_of(a_.run({"sync", "--json"}));
  }
  struct Wrong {
    std::vector<std::string> words;
    int code = 0;
    std::vector<std::string> says;
  };
  void expect_refused(const Wrong& wrong) const {
    const Finished finished = a_.run(wrong.words);
    std::string shown;
    for (const std::string& word : wrong.words) shown += word + " ";
    EXPECT_EQ(finished.status.code, wrong.code) << shown << finished.err;
    EXPECT_EQ(finished.out, "") << shown;
    for (const std::string& part : wrong.says)
      EXPECT_NE(finished.err.find(part), std::string::npos) << shown << "\n" << finished.err;
  }

  TempDir directory_;
  ServerProcess server_{"docs", directory_.file("server.db")};
  const ClientCommand a_{"docs", directory_.file("a.db"), server_.url(), make_token("u1", "o1")};
};

TEST_F(CliMerging, AnEditThatCannotBeSaysWhatIsWrongAndWhatThereIs) {
  const std::string texts = "insert POSITION TEXT", maps = "set NAME JSON, or unset NAME";
  for (const Wrong& wrong : std::vector<Wrong>{
           {{"edit", "papers", "d1", "body", "insert", "end", "x"},
            2,
            {"client edit", "no table \"papers\"", "space_members, documents"}},
           {{"edit", "documents", "d1", "text", "insert", "end", "x"},
            2,
            {"table \"documents\" has no column \"text\"", "body, meta"}},
           {{"edit", "documents", "d1", "title", "insert", "end", "x"}, 2, {"\"title\" is of type text", "body, meta"}},
           {{"edit", "space_members", "m1", "user_id", "insert", "end", "x"}, 2, {"CRDT columns are: none"}},
           {{"edit", "documents", "d9", "body", "insert", "end", "x"}, 1, {"\"documents\" has no row \"d9\"", "sync"}},
           {{"edit", "documents", "d1", "body", "append", "end", "x"}, 2, {"crdt_text", texts}},
           {{"edit", "documents", "d1", "body", "set", "name", "5"}, 2, {"crdt_text", texts}},
           {{"edit", "documents", "d1", "body", "insert", "end"}, 2, {"crdt_text", texts}},
           {{"edit", "documents", "d1", "meta", "insert", "end", "x"}, 2, {"crdt_map", maps}},
           {{"edit", "documents", "d1", "meta", "unset", "a", "b"}, 2, {"crdt_map", maps}},
           {{"edit", "documents", "d1", "body", "insert", "first", "x"}, 2, {"POSITION", "whole number", "first"}},
           {{"edit", "documents", "d1", "body", "insert", "-1", "x"}, 2, {"-1"}},
           {{"edit", "documents", "d1", "body", "remove", "0", "all"}, 2, {"LENGTH", "all"}},
           {{"edit", "documents", "d1", "body", "insert", "99", "x"}, 2, {"99"}},
           {{"edit", "documents", "d1", "body", "remove", "0", "99"}, 2, {"99"}},
           {{"edit", "documents", "d1", "meta", "set", "name", "{"}, 2, {"must be JSON"}},
           {{"edit", "documents", "d1", "body"}, 2, {"OPERATION"}},
           {{"edit", "documents", "d1", "body", "insert", "end", "x", "--mutator", "nothing"},
            2,
            {"no mutator \"nothing\""}},
           {{"edit", "documents", "d1", "body", "insert", "end", "x", "--mutator", "setTitle"},
            2,
            {"\"setTitle\"", "documents", "leave --mutator out"}},
           {{"conflicts", "dismiss", "7"}, 1, {"conflicts dismiss", "no conflict 7"}},
           {{"conflicts", "dismiss", "first"}, 2, {"first"}},
           {{"conflicts", "dismiss"}, 2, {"ID"}},
           {{"conflicts", "forget", "7"}, 2, {"forget"}},
       })
    expect_refused(wrong);
  EXPECT_EQ(a_.run({"outbox", "--json"}).out, "[]\n");
  EXPECT_EQ(a_.run({"conflicts", "--json"}).out, "[]\n");
}

TEST_F(CliMerging, AnEditThatLostIsListedAndStandsInTheFile) {
  const ClientCommand b{"docs", directory_.file("b.db"), server_.url(), make_token("u1", "o1")};
  answer_of(b.run({"sync", "--json"}));
  answer_of(a_.run({"mutate", "setTitle", R"({"id":"d1","title":"mine"})", "--json"}));
  answer_of(b.run({"mutate", "setTitle", R"({"id":"d1","title":"later"})", "--json"}));
  answer_of(b.run({"sync", "--json"}));
  answer_of(a_.run({"sync", "--json"}));
  EXPECT_EQ(a_.run({"query", "SELECT title FROM documents", "--json"}).out, "[{\"title\":\"later\"}]\n");
  EXPECT_EQ(answer_of(a_.run({"conflicts", "--json"})).if_array()->size(), 1U);
  const json::value file = answer_of(nizhal({"inspect", directory_.file("a.db"), "--json"}));
  const json::array& conflicts = *member(file, "conflicts")->if_array();
  ASSERT_EQ(conflicts.size(), 1U);
  EXPECT_EQ(string_member(conflicts[0], "columnName"), "title");
  EXPECT_EQ(string_member(conflicts[0], "lost"), "mine");
  EXPECT_NE(nizhal({"inspect", directory_.file("a.db")}).out.find("conflicts (1)"), std::string::npos);
}

TEST_F(CliMerging, ABrokenUpdateIsRefusedByTheDeviceAndByTheServerAndTheTextStaysAsItIs) {
  EXPECT_EQ(a_.run({"edit", "documents", "d1", "body", "insert", "end", "kept", "--mutator", "editBody", "--json"})
                .status.code,
            0);
  answer_of(a_.run({"sync", "--json"}));
  const std::string broken = "////";  // base64 of three bytes that are no update
  expect_refused(
      {{"mutate", "editBody", R"({"id":"d1","update":")" + broken + R"("})"}, 1, {"invalid_update", "\"body\""}});
  expect_refused({{"mutate", "editBody", R"({"id":"d1","update":"no base64!"})"}, 1, {"update"}});
  EXPECT_EQ(a_.run({"outbox", "--json"}).out, "[]\n");
  EXPECT_EQ(a_.run({"dead-letters", "--json"}).out, "[]\n");

  // As a client sends it that does not look.
  const auto push = [&](const std::string& id, const std::string& update) {
    const std::string body = R"({"results":true,"mutations":[{"name":"editBody","clientMutationId":")" + id +
                             R"(","args":{"id":"d1","update":")" + update + R"("}}]})";
    return request(server_.port(), "POST", "/sync/push",
                   {{"authorization", "Bearer " + make_token("u1", "o1")}, {"content-type", "application/json"}}, body);
  };
  for (const auto& [id, update, code] : std::vector<std::array<std::string, 3>>{
           {"00000000-0000-4000-8000-000000000001", broken, "invalid_update"},
           {"00000000-0000-4000-8000-000000000002", "no base64!", "invalid_args"}}) {
    const RawResponse answer = push(id, update);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_NE(answer.body.find(R"("rejected")"), std::string::npos) << answer.body;
    EXPECT_NE(answer.body.find(code), std::string::npos) << answer.body;
  }
  answer_of(a_.run({"sync", "--json"}));
  EXPECT_EQ(a_.run({"query", "SELECT crdt_text(body, 'body') AS t FROM documents", "--json"}).out,
            "[{\"t\":\"kept\"}]\n");
}

}  // namespace
}  // namespace nizhal::testing
