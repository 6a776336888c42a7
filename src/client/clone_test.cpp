// A copied store whose pending mutations the original may have sent already (S19): what the server has of them comes by
// pull, and must not be shown on top of what this device's own outbox still runs.
#include <deque>

#include "client/client_sync.hpp"
#include "client/client_test_support.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::NoteRows;
using testing::World;

/// Adds its text to what is there: run twice, it shows.
Domain appending_notes() {
  Domain domain = notes::domain();
  domain.mutator<notes::EditNote>("appendNote")
      .arg("id", &notes::EditNote::id, references(notes::notes))
      .arg("body", &notes::EditNote::body)
      .run([](MutatorContext& ctx, const notes::EditNote& args) -> Outcome {
        const auto note = ctx.get(notes::notes, args.id);
        if (!note) return reject("not_found", "there is no such note");
        ctx.update(notes::notes, args.id, {set("body", note->body + args.body)});
        return done();
      });
  return domain;
}
std::shared_ptr<const CompiledDomain> appending_domain() {
  static const auto kDomain = testing::compile(appending_notes());
  return kDomain;
}

/// The original sent "b", "c" and "d" of a note that began with "a". The copy has "b" as sent without an answer, "c" as
/// never sent, and knows nothing of "d".
struct CopiedDevice : World {
  Device original{folder.file("original.db"), clock, 11, appending_domain()};
  std::unique_ptr<Device> copy;

  CopiedDevice() {
    original.add("n1", "a");
    original.sync(server);
    append(original, "b");
    original.push(server, Device::Reply::is_lost);
    append(original, "c");
    original.close();
    std::filesystem::copy_file(folder.file("original.db"), folder.file("copy.db"));
    original.open();
    append(original, "d");
    original.sync(server);
    copy = std::make_unique<Device>(folder.file("copy.db"), clock, 77, appending_domain());
    EXPECT_EQ(copy->notes(), shows("abc"));
    EXPECT_EQ(server.notes(), shows("abcd"));
  }
  static void append(Device& device, const std::string& text) {
    ASSERT_TRUE(device.mutate("appendNote", {"n1", text}));
  }
  static NoteRows shows(const std::string& body) { return {{"n1", body}}; }
};

/// The machine, with requests that wait for the test.
class Machine {
 public:
  Machine(Device& device, ManualClock& clock)
      : sync_(device.store(), clock, random_, Log(), {.server = "http://localhost:1", .has_token = false}) {}
  void handle(const Event& event) {
    for (Effect& effect : sync_.handle(event))
      if (auto* send = std::get_if<SendRequest>(&effect)) requests_.push_back(std::move(*send));
  }
  bool is_idle() const { return requests_.empty(); }
  bool is_push() const { return !is_idle() && requests_.front().http.path == protocol::kPushPath; }
  void answer(testing::FakeServer& server) {
    const SendRequest request = take();
    handle(Answered{request.request, server.handle(request.http)});
  }
  void answer(int status, const std::string& body) { handle(Answered{take().request, {status, {}, body}}); }

 private:
  SendRequest take() {
    EXPECT_FALSE(requests_.empty());
    SendRequest request = std::move(requests_.front());
    requests_.pop_front();
    return request;
  }
  std::deque<SendRequest> requests_;
  SeededRandom random_{5};
  ClientSync sync_;
};

TEST_F(CopiedDevice, ThatIsNoticedByAPullNeverShowsAMutationTwice) {
  const auto applied = copy->pull(server);
  EXPECT_TRUE(applied.identity_changed);
  EXPECT_EQ(copy->notes(), shows("abc")) << "the server's \"abcd\" with \"b\" and \"c\" again on it is nobody's state";
  EXPECT_EQ(copy->outbox().size(), 2U);
  copy->reopen();
  EXPECT_EQ(copy->notes(), shows("abc"));
  copy->sync(server);
  EXPECT_EQ(copy->notes(), shows("abcd"));
  EXPECT_EQ(server.notes(), shows("abcd"));
  copy->check_counts();
}

TEST_F(CopiedDevice, PushesWhatWasPendingBeforeItPullsHoweverItWasNoticed) {
  for (const bool by_pull : {true, false}) {
    SCOPED_TRACE(by_pull ? "noticed by a pull" : "noticed by a push");
    copy->close();
    std::filesystem::copy_file(folder.file("copy.db"), folder.file(by_pull ? "1.db" : "2.db"));
    Device clone(folder.file(by_pull ? "1.db" : "2.db"), clock, 78, appending_domain());
    Machine machine(clone, clock);
    const std::string old_id = clone.store().client_id();
    if (by_pull) {
      // No push arrives before the first pull.
      machine.handle(Started{});
      ASSERT_TRUE(machine.is_push());
      machine.answer(503, "{}");
      machine.handle(TimerFired{TimerId::retry});
    } else {
      append(clone, "e");
      machine.handle(Started{});
    }
    for (int requests = 0; requests < 100 && !machine.is_idle(); ++requests) {
      // A server that takes no writes for a while: reading waits with them.
      const bool is_new = clone.store().client_id() != old_id;
      if (is_new && machine.is_push() && requests < 6) {
        machine.answer(503, "{}");
        EXPECT_TRUE(machine.is_idle());
        machine.handle(TimerFired{TimerId::pull});
        machine.handle(TimerFired{TimerId::retry});
        ASSERT_TRUE(machine.is_push()) << "not a pull";
      } else {
        machine.answer(server);
      }
      const std::string body = clone.notes().at("n1");
      EXPECT_EQ(body.find_first_of("bc"), body.find_last_of("b")) << body;
      EXPECT_EQ(body.find_last_of("c"), body.find_first_of("c")) << body;
    }
    EXPECT_NE(clone.store().client_id(), old_id);
    EXPECT_EQ(clone.notes(), server.notes());
    EXPECT_TRUE(clone.outbox().empty());
  }
  EXPECT_EQ(server.notes(), shows("abcde"));
}

TEST_F(CopiedDevice, ReadsOnWhenItsAppIsTooOldToWrite) {
  Machine machine(*copy, clock);
  machine.handle(Started{});
  ASSERT_TRUE(machine.is_push());
  machine.answer(426, R"({"error":"too old","code":"upgrade_required"})");
  server.put("n2", "new");
  for (int requests = 0; requests < 10 && !machine.is_idle(); ++requests) machine.answer(server);
  EXPECT_EQ(copy->notes().at("n2"), "new");
  EXPECT_EQ(copy->outbox().size(), 2U);
}

}  // namespace
}  // namespace nizhal::client
