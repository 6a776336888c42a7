// The commands of `nizhal client` that go on until a signal, and those that came with them: watch, status --watch,
// undo.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <string>

#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

class Watch : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_FALSE(server_.url().empty()) << server_.why(); }
  ClientCommand device(const std::string& name) {
    return {"notes", directory_.file(name + ".db"), server_.url(), make_token("u1", "o1")};
  }
  std::unique_ptr<ChildProcess> start(const ClientCommand& client, std::vector<std::string> command) {
    return start_nizhal(client.arguments(std::move(command)));
  }
  static void add_note(const ClientCommand& client, const std::string& id, const std::string& body) {
    const Finished added = client.run({"mutate", "addNote", R"({"id":")" + id + R"(","body":")" + body + R"("})"});
    ASSERT_EQ(added.status.code, 0) << added.err;
  }

  TempDir directory_;
  ServerProcess server_{"notes", directory_.file("server.db")};
};

constexpr const char* kQuery = "SELECT id, body FROM notes ORDER BY id";

TEST_F(Watch, ShowsTheRowsAndThenEachChangeThatAnotherProcessMakes) {
  const ClientCommand phone = device("phone");
  add_note(phone, "n1", "first");
  const auto watch = start(phone, {"--json", "watch", kQuery});
  EXPECT_EQ(watch->next_line(kPatience), R"({"rows":[{"id":"n1","body":"first"}]})") << watch->err();
  add_note(phone, "n2", "second");
  EXPECT_EQ(watch->next_line(kPatience),
            R"({"changes":[{"step":"inserted","index":1,"row":{"id":"n2","body":"second"}}]})");
  watch->signal(SIGTERM);
  const auto ended = watch->wait(kPatience);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->code, 0) << watch->err();
}

TEST_F(Watch, OnlineItShowsWhatOtherDevicesWrite) {
  const ClientCommand phone = device("phone"), tablet = device("tablet");
  const auto watch = start(phone, {"--json", "watch", "--online", kQuery});
  EXPECT_EQ(watch->next_line(kPatience), R"({"rows":[]})") << watch->err();
  add_note(tablet, "n1", "from the tablet");
  ASSERT_EQ(tablet.run({"sync"}).status.code, 0);
  EXPECT_EQ(watch->next_line(kPatience),
            R"({"changes":[{"step":"inserted","index":0,"row":{"id":"n1","body":"from the tablet"}}]})");
}

TEST_F(Watch, EndsAfterAsManyLinesAsWereAskedFor) {
  const ClientCommand phone = device("phone");
  const Finished watch = phone.run({"--json", "watch", "--count", "1", kQuery});
  EXPECT_EQ(watch.status.code, 0) << watch.err;
  EXPECT_EQ(watch.out, "{\"rows\":[]}\n");
}

TEST_F(Watch, RefusesWhatDoesNotReadAndWhatHasNoServer) {
  const ClientCommand phone = device("phone");
  const Finished writes = phone.run({"watch", "DELETE FROM notes"});
  EXPECT_EQ(writes.status.code, 2) << writes.err;
  EXPECT_NE(writes.err.find("only reading is allowed"), std::string::npos) << writes.err;
  ClientCommand alone = device("alone");
  alone.server.clear();
  const Finished offline = alone.run({"watch", "--online", kQuery});
  EXPECT_EQ(offline.status.code, 2) << offline.err;
  EXPECT_NE(offline.err.find("--server"), std::string::npos) << offline.err;
}

TEST_F(Watch, TheStatusIsALinePerChange) {
  const ClientCommand phone = device("phone");
  add_note(phone, "n1", "x");
  const auto watch = start(phone, {"--json", "status", "--watch", "--online"});
  const auto first = watch->next_line(kPatience);
  ASSERT_TRUE(first) << watch->err();
  EXPECT_NE(first->find(R"("pending":1)"), std::string::npos) << *first;
  const auto synced = watch->wait_for_line(R"("pending":0)", kPatience);
  ASSERT_TRUE(synced) << watch->err();
  EXPECT_NE(synced->find(R"("storage":"ok")"), std::string::npos) << *synced;
}

TEST_F(Watch, AMutationIsUndoneByTheInverseThatItsMutatorDeclares) {
  const ClientCommand phone = device("phone");
  add_note(phone, "n1", "before");
  const json::value edited = answer_of(phone.run({"--json", "mutate", "editNote", R"({"id":"n1","body":"after"})"}));
  const std::string id(string_member(edited, "clientMutationId").value_or(""));
  ASSERT_EQ(phone.run({"sync"}).status.code, 0);
  const Finished undone = phone.run({"undo", id});
  ASSERT_EQ(undone.status.code, 0) << undone.err;
  EXPECT_EQ(phone.run({"--json", "query", kQuery}).out, "[{\"id\":\"n1\",\"body\":\"before\"}]\n");
  const Finished again = phone.run({"undo", id});
  EXPECT_NE(again.status.code, 0);
  const Finished unknown = phone.run({"undo", "no-such-mutation"});
  EXPECT_EQ(unknown.status.code, 1) << unknown.err;
}

}  // namespace
}  // namespace nizhal::testing
