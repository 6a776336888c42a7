// Wire protocol 1, byte by byte: a conversation recorded in protocol_1.txt is replayed against a fresh server, request
// for request, and every answer must be the recorded one. A change that breaks a client that is out there shows here
// first. NIZHAL_RECORD=1 writes the file anew; the difference is then what a reviewer looks at.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "examples/notes/notes.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

struct Exchange {
  std::string title;
  std::string user, owner;
  std::string path;
  std::string body;  // `$cursor` stands for the cursor of this actor's last pull
};

std::vector<Exchange> conversation() {
  const std::string stamp = "2026-01-02T00:00:00.000Z-0000-00000000000000000000000000000001";
  const auto sequenced = [&](int id, const std::string& name, const std::string& args) {
    return fmt::format(
        R"({{"name":"{}","args":{},"clientMutationId":"cm-{}","clientID":"device-1","mutationID":{},"hlc":"{}"}})",
        name, args, id, id, stamp);
  };
  return {
      {"A first sync of nothing", "u1", "o1", "/sync/pull", "{}"},
      {"Mutations without a sequence, applied in order", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"addNote","args":{"id":"n1","body":"first"},"clientMutationId":"a"},{"name":"createTeam","args":{"team_id":"t1"},"clientMutationId":"b"}]})"},
      {"The same again: nothing happens twice", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"addNote","args":{"id":"n1","body":"first"},"clientMutationId":"a"}]})"},
      {"A refusal ends the request with its status", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"addNote","args":{"id":"n1","body":"again"},"clientMutationId":"c"}]})"},
      {"What was written comes with the next pull", "u1", "o1", "/sync/pull", R"({"cursor":"$cursor"})"},
      {"A sequenced mutation", "u1", "o1", "/sync/push",
       R"({"mutations":[)" + sequenced(1, "addTeamNote", R"({"id":"r1","team_id":"t1","body":"for the team"})") + "]}"},
      {"A gap in the sequence", "u1", "o1", "/sync/push",
       R"({"mutations":[)" + sequenced(5, "deleteTeamNote", R"({"id":"r1"})") + "]}"},
      {"Several at once with results: one refused, the next goes on", "u1", "o1", "/sync/push",
       R"({"results":true,"mutations":[)" + sequenced(2, "addNote", R"({"id":"n2","body":"reject"})") + "," +
           sequenced(3, "addNote", R"({"id":"n3","body":"third"})") + "]}"},
      {"A pull with a device id tells how far its mutations are", "u1", "o1", "/sync/pull",
       R"({"cursor":"$cursor","deviceId":"device-1"})"},
      {"The same device id under another actor", "u2", "o2", "/sync/pull", R"({"deviceId":"device-1"})"},
      {"A write outside the actor's buckets", "u2", "o2", "/sync/push",
       R"({"mutations":[{"name":"addTeamNote","args":{"id":"r2","team_id":"t1","body":"x"},"clientMutationId":"d"}]})"},
      {"A new member", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"addTeamMember","args":{"id":"m2","user_id":"u2","team_id":"t1"},"clientMutationId":"e"}]})"},
      {"The member gains a bucket, page by page", "u2", "o2", "/sync/pull", R"({"cursor":"$cursor","limit":2})"},
      {"The next page", "u2", "o2", "/sync/pull", R"({"cursor":"$cursor","limit":2})"},
      {"A deletion", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"deleteTeamNote","args":{"id":"r1"},"clientMutationId":"f"}]})"},
      {"comes as a tombstone", "u2", "o2", "/sync/pull", R"({"cursor":"$cursor"})"},
      {"A member is removed", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"removeTeamMember","args":{"user_id":"u2","team_id":"t1"},"clientMutationId":"g"}]})"},
      {"and loses the bucket", "u2", "o2", "/sync/pull", R"({"cursor":"$cursor"})"},
      {"An unknown mutator", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"noSuch","args":{},"clientMutationId":"h"}]})"},
      {"Arguments that do not fit", "u1", "o1", "/sync/push",
       R"({"mutations":[{"name":"addNote","args":{"id":7},"clientMutationId":"i"}]})"},
      {"A cursor that is none", "u1", "o1", "/sync/pull", R"({"cursor":"nonsense","limit":1})"},
  };
}

/// What comes on one stream, a line each.
class RecordedPeer : public server::StreamPeer {
 public:
  void send(std::string frame) override { frames += frame + "\n"; }
  void close(int code, std::string_view reason) override { frames += fmt::format("closed {} {}\n", code, reason); }
  std::string take() { return std::exchange(frames, {}); }
  std::string frames;
};

/// On two streams, one of u1 (who is in team t1) and one of u2 (who is not, and then is).
std::string replay_streams(World& world) {
  std::string transcript;
  std::map<std::string, std::pair<server::StreamId, std::shared_ptr<RecordedPeer>>> streams;
  const auto hear = [&] {
    world.clock.advance(std::chrono::seconds(1));
    world.server().tick();
    for (auto& [user, stream] : streams) transcript += fmt::format("< {}\n{}", user, stream.second->take());
    transcript += "\n";
  };
  for (const std::string user : {"u1", "u2"}) {
    protocol::HttpRequest request;
    request.path = "/sync/stream";
    request.query.emplace("token", world.token({user, "o" + user.substr(1), ""}));
    auto ticket = world.server().authorize_stream(request);
    if (!ticket) return ticket.error().body;
    const auto peer = std::make_shared<RecordedPeer>();
    streams[user] = {world.server().open_stream(*ticket, peer), peer};
  }
  transcript += "# Two streams are opened: the state of each bucket\n> GET /sync/stream as u1 of o1, as u2 of o2\n";
  hear();
  const auto say = [&](const std::string& title, const std::string& user, const std::string& frame) {
    transcript += fmt::format("# {}\n> frame as {}\n{}\n", title, user, frame);
    world.server().stream_frame(streams[user].first, frame);
    hear();
  };
  const auto push = [&](const std::string& title, const std::string& mutation) {
    const std::string body = R"({"mutations":[)" + mutation + "]}";
    const auto answer = world.post("/sync/push", {"u1", "o1", ""}, body);
    transcript +=
        fmt::format("# {}\n> POST /sync/push as u1 of o1\n{}\n< {}\n{}\n", title, body, answer.status, answer.body);
    hear();
  };
  say("A ping", "u2", "ping");
  say("Somebody is there", "u1",
      R"(presence:track:{"bucket":"team:t1","payload":{"at":"till","presence_ref":"mine"}})");
  push("A member gains the bucket, with its state",
       R"({"name":"addTeamMember","args":{"id":"m3","user_id":"u2","team_id":"t1"},"clientMutationId":"s1"})");
  say("and is there too", "u2", R"(presence:track:{"bucket":"team:t1","payload":{}})");
  say("Another payload replaces the one before", "u1",
      R"(presence:track:{"bucket":"team:t1","payload":{"at":"door"}})");
  say("A heartbeat is not told", "u1", R"(presence:heartbeat:{"bucket":"team:t1"})");
  say("Nobody is there any more who says so", "u1", R"(presence:untrack:{"bucket":"team:t1"})");
  push("The member is removed, which the others are told",
       R"({"name":"removeTeamMember","args":{"user_id":"u2","team_id":"t1"},"clientMutationId":"s2"})");
  say("In a bucket that is not the actor's nothing happens", "u2",
      R"(presence:track:{"bucket":"team:t1","payload":{}})");
  return transcript;
}

std::string replay() {
  World world(1, notes::domain());
  std::map<std::string, std::string> cursors;
  std::string transcript;
  for (Exchange exchange : conversation()) {
    if (const std::size_t at = exchange.body.find("$cursor"); at != std::string::npos)
      exchange.body.replace(at, 7, cursors[exchange.user]);
    const auto answer = world.post(exchange.path, Actor{exchange.user, exchange.owner, ""}, exchange.body);
    if (const auto body = parse_json(answer.body); body && exchange.path == "/sync/pull")
      cursors[exchange.user] = std::string(string_member(*body, "cursor").value_or(""));
    transcript += fmt::format("# {}\n> POST {} as {} of {}\n{}\n< {}\n{}\n\n", exchange.title, exchange.path,
                              exchange.user, exchange.owner, exchange.body, answer.status, answer.body);
    world.clock.advance(std::chrono::seconds(1));
  }
  return transcript + replay_streams(world);
}

TEST(Protocol1, EveryRecordedExchangeIsAnsweredByteByByte) {
  const std::string file = std::string(NIZHAL_SOURCE_DIR) + "/tests/compatibility/protocol_1.txt";
  const std::string transcript = replay();
  if (const char* record = std::getenv("NIZHAL_RECORD"); record && std::string_view(record) == "1") {
    std::ofstream(file) << transcript;
    GTEST_FAIL() << "recorded anew: look at the difference, and run again without NIZHAL_RECORD";
  }
  std::ifstream recorded(file);
  std::stringstream text;
  text << recorded.rdbuf();
  EXPECT_EQ(transcript, text.str());
}

}  // namespace
}  // namespace nizhal::testing
