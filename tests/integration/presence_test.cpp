// `nizhal client track` and `presence`, with real processes.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "base/test_temp_dir.hpp"
#include "tests/postgres_server/postgres_server.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

class PresenceCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(server_.url().empty()) << server_.why();
    const ClientCommand ann = device("ann-first", "ann");
    ASSERT_EQ(ann.run({"mutate", "createTeam", R"({"team_id":"t1"})"}).status.code, 0);
    ASSERT_EQ(ann.run({"mutate", "addTeamMember", R"({"id":"m2","user_id":"bob","team_id":"t1"})"}).status.code, 0);
    const Finished synced = ann.run({"sync"});
    ASSERT_EQ(synced.status.code, 0) << synced.err;
  }
  ClientCommand device(const std::string& name, const std::string& user) {
    return {"notes", directory_.file(name + ".db"), server_.url(), make_token(user, "o-" + user)};
  }
  std::unique_ptr<ChildProcess> start(const ClientCommand& client, std::vector<std::string> command) {
    return start_nizhal(client.arguments(std::move(command)));
  }
  TempDir directory_;
  ServerProcess server_{"notes", directory_.file("server.db")};
};

TEST_F(PresenceCommands, WhoeverTracksIsSeenUntilItEnds) {
  const auto watch = start(device("bob", "bob"), {"presence", "--watch", "team:t1"});
  EXPECT_EQ(watch->next_line(kPatience), "nobody") << watch->err();
  const auto track = start(device("ann", "ann"), {"--json", "track", "team:t1", R"({"at": "till 2"})"});
  EXPECT_EQ(track->next_line(kPatience), R"({"bucket":"team:t1","present":false})") << track->err();
  EXPECT_EQ(track->next_line(kPatience), R"({"bucket":"team:t1","present":true})") << track->err();
  EXPECT_EQ(watch->next_line(kPatience), R"(ann {"at":"till 2"})");
  // Once, from a third device: as soon as somebody is there.
  const Finished once = device("tablet", "bob").run({"--json", "presence", "--timeout", "1m", "team:t1"});
  EXPECT_EQ(once.status.code, 0) << once.err;
  EXPECT_TRUE(once.out.starts_with(R"([{"userId":"ann","ref":")")) << once.out;
  EXPECT_TRUE(once.out.ends_with(R"(","payload":{"at":"till 2"}}])"
                                 "\n"))
      << once.out;
  track->signal(SIGTERM);
  const auto ended = track->wait(kPatience);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->code, 0) << track->err();
  EXPECT_EQ(watch->next_line(kPatience), "nobody");
}

TEST_F(PresenceCommands, TrackingEndsAfterTheGivenTime) {
  const Finished track = device("ann", "ann").run({"track", "--for", "1ms", "team:t1"});
  EXPECT_EQ(track.status.code, 0) << track.err;
}

TEST_F(PresenceCommands, WhoMayNotHaveTheBucketSeesNobody) {
  const auto track = start(device("ann", "ann"), {"--json", "track", "team:t1"});
  EXPECT_EQ(track->next_line(kPatience), R"({"bucket":"team:t1","present":false})");
  EXPECT_EQ(track->next_line(kPatience), R"({"bucket":"team:t1","present":true})");
  // It waits in vain for all of that time. On a busy machine it may not be connected so soon: then it is given longer.
  Finished stranger;
  for (const char* time : {"2s", "10s", "60s"}) {
    stranger = device("eve", "eve").run({"--json", "presence", "--timeout", time, "team:t1"});
    if (stranger.status.code != 4) break;
  }
  EXPECT_EQ(stranger.status.code, 0) << stranger.err;
  EXPECT_EQ(stranger.out, "[]\n");
}

TEST_F(PresenceCommands, WrongUsageIsSaid) {
  ClientCommand ann = device("ann", "ann");
  const Finished text = ann.run({"track", "team:t1", "at the till"});
  EXPECT_EQ(text.status.code, 2);
  EXPECT_NE(text.err.find("JSON"), std::string::npos) << text.err;
  const Finished list = ann.run({"track", "team:t1", "[]"});
  EXPECT_EQ(list.status.code, 2);
  const Finished time = ann.run({"track", "--for", "soon", "team:t1"});
  EXPECT_EQ(time.status.code, 2);
  EXPECT_NE(time.err.find("--for"), std::string::npos) << time.err;
  ClientCommand alone = device("alone", "ann");
  alone.server.clear();
  for (const char* command : {"track", "presence"}) {
    const Finished offline = alone.run({command, "team:t1"});
    EXPECT_EQ(offline.status.code, 2) << offline.err;
    EXPECT_NE(offline.err.find("--server"), std::string::npos) << offline.err;
  }
  ClientCommand away = device("away", "ann");
  away.server = "http://127.0.0.1:1";
  const Finished unreachable = away.run({"presence", "--timeout", "2s", "team:t1"});
  EXPECT_EQ(unreachable.status.code, 4) << unreachable.err;
}

TEST(PresenceOnPostgres, IsSharedByTwoServerProcessesThatNotifyEachOther) {
  TempDir directory;
  const std::string database = shared_server().create_database();
  ServerProcess one("notes", database, {"--realtime", "listen-notify"});
  ServerProcess two("notes", database, {"--realtime", "listen-notify"});
  ASSERT_FALSE(one.url().empty()) << one.why();
  ASSERT_FALSE(two.url().empty()) << two.why();
  const ClientCommand ann{"notes", directory.file("ann.db"), one.url(), make_token("ann", "o-ann")};
  const ClientCommand bob{"notes", directory.file("bob.db"), two.url(), make_token("bob", "o-bob")};
  ASSERT_EQ(ann.run({"mutate", "createTeam", R"({"team_id":"t1"})"}).status.code, 0);
  ASSERT_EQ(ann.run({"mutate", "addTeamMember", R"({"id":"m2","user_id":"bob","team_id":"t1"})"}).status.code, 0);
  const Finished synced = ann.run({"sync"});
  ASSERT_EQ(synced.status.code, 0) << synced.err;

  const auto watch = start_nizhal(bob.arguments({"presence", "--watch", "team:t1"}));
  EXPECT_EQ(watch->next_line(kPatience), "nobody") << watch->err();
  const auto track = start_nizhal(ann.arguments({"track", "team:t1", R"({"at":"till"})"}));
  EXPECT_EQ(watch->next_line(kPatience), R"(ann {"at":"till"})") << watch->err();
  track->signal(SIGTERM);
  ASSERT_TRUE(track->wait(kPatience));
  EXPECT_EQ(watch->next_line(kPatience), "nobody");
}

}  // namespace
}  // namespace nizhal::testing
