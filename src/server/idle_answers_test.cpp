// Idle pulls answered without a look at tables: never another answer than the tables give, never to anybody else, and
// gone with whatever could change it.
#include "server/idle_answers.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/test_seed.hpp"
#include "server/pull_handler.hpp"
#include "server/test_world.hpp"
#include "storage/forwarding.hpp"

namespace nizhal::server::testing {
namespace {

/// What a storage with several writers may show: a snapshot that is newer than the position that was read before it.
class LateSnapshotStorage : public storage::ForwardingStorage {
 public:
  using storage::ForwardingStorage::ForwardingStorage;
  /// Runs once, between the next position and its snapshot.
  std::function<void()> meanwhile;
  /// A version that is handed out and whose transaction is open, above all that is settled.
  bool has_open_writer = false;
  std::size_t snapshots = 0;

  Result<storage::Position> position() override {
    auto position = inner_->position();
    if (position && has_open_writer) position->last = Version{number(position->last) + 1};
    return position;
  }
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>& settled) override {
    ++snapshots;
    if (meanwhile) std::exchange(meanwhile, nullptr)();
    auto opened = inner_->open_snapshot(settled);
    if (!opened) return opened;
    return std::make_unique<Late>(std::move(*opened), settled->horizon);
  }

 private:
  class Late : public storage::ForwardingSnapshot {
   public:
    Late(std::unique_ptr<storage::Snapshot> inner, Version horizon)
        : storage::ForwardingSnapshot(std::move(inner)), horizon_(horizon) {}
    Result<storage::Position> position() override {
      auto position = inner_->position();
      if (position) position->horizon = horizon_;
      return position;
    }

   private:
    Version horizon_;
  };
};

std::string cursor_of(const Result<std::string>& page) {
  EXPECT_TRUE(page) << (page ? "" : page.error().message);
  if (!page) return "";
  const auto value = parse_json(*page);
  return value ? std::string(string_member(*value, "cursor").value_or("")) : "";
}

/// One handler that remembers and one that looks every time; what they answer must be the same bytes.
class Pair {
 public:
  explicit Pair(World& world) : world_(world) { restart(); }

  void restart() {
    Limits off;
    off.idle_answers_max = 0;
    remembering_ = std::make_unique<PullHandler>(world_.domain, *world_.storage, world_.clock, Limits{});
    looking_ = std::make_unique<PullHandler>(world_.domain, *world_.storage, world_.clock, off);
  }

  std::string pull(const Actor& actor, const protocol::PullRequest& request) {
    const std::size_t before = world_.storage->snapshots;
    const auto answer = remembering_->handle(actor, request);
    ++(world_.storage->snapshots == before ? remembered : looked);
    const auto expected = looking_->handle(actor, request);
    EXPECT_EQ(answer.has_value(), expected.has_value());
    if (!answer || !expected) return answer ? *answer : answer.error().message;
    EXPECT_EQ(*answer, *expected);
    return *answer;
  }

  std::size_t remembered = 0, looked = 0;

 private:
  World& world_;
  std::unique_ptr<PullHandler> remembering_, looking_;
};

class IdlePull : public ::testing::Test {
 protected:
  void SetUp() override {
    world.run("u1", "createTeam", "x", "a");
    world.run("u1", "createTeam", "x", "b");
    world.run("u1", "addNote", "n1");
    world.run("u2", "addNote", "n2");
    request.device_id = "c1";
    pull();
  }
  std::string pull() {
    const std::string answer = pair.pull(actor, request);
    request.cursor = cursor_of(answer);
    return answer;
  }
  /// Whether the same pull again needs no table.
  bool is_remembered() {
    const std::size_t before = pair.remembered;
    pull();
    return pair.remembered > before;
  }

  World world;
  Pair pair{world};
  Actor actor = World::actor("u1");
  protocol::PullRequest request;
};

TEST_F(IdlePull, IsAnsweredWithoutASnapshot) {
  const std::size_t snapshots = world.storage->snapshots;
  const std::string page = pull();
  EXPECT_EQ(world.storage->snapshots, snapshots + 1) << "only the handler that always looks took one";
  EXPECT_TRUE(page.starts_with(R"({"changed":[],"tombstoned":[],"removed":[],"removedBuckets":[],"cursor":")")) << page;
  EXPECT_NE(page.find(R"("hasMore":false,"epoch":")"), std::string::npos) << page;
  EXPECT_NE(page.find(R"("lastMutationId":0,"serverTime":"2026-01-02T03:04:05.000000Z")"), std::string::npos) << page;
}

TEST_F(IdlePull, TellsTheTimeOfEachAnswer) {
  pull();
  world.clock.advance(std::chrono::seconds(5));
  EXPECT_NE(pull().find("03:04:10"), std::string::npos);
  EXPECT_TRUE(is_remembered());
}

TEST_F(IdlePull, AnyCommitEndsWhatIsRemembered) {
  EXPECT_TRUE(is_remembered());
  world.run("u2", "addNote", "n3");  // another's row
  EXPECT_FALSE(is_remembered());
  EXPECT_TRUE(is_remembered());
  world.run("u1", "addNote", "n4");
  const std::string page = pull();
  EXPECT_NE(page.find(R"("id":"n4")"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  ASSERT_TRUE(world.storage->run_script("INSERT INTO notes (id, owner_id, body) VALUES ('n5', 'o1', 'by hand')"));
  EXPECT_NE(pull().find("by hand"), std::string::npos);
}

TEST_F(IdlePull, ARefusedMutationMovesTheDevicesLastOne) {
  EXPECT_TRUE(is_remembered());
  const Answer answer =
      world.push("u1", {{.name = "addThenRefuse", .cmid = "m1", .id = "x", .client = "c1", .mutation_id = 1}});
  ASSERT_EQ(answer.statuses(), "rejected:changed_my_mind");
  const std::string page = pull();
  EXPECT_NE(page.find(R"("lastMutationId":1,"lastClientMutationId":"m1")"), std::string::npos) << page;
  EXPECT_EQ(pull(), page);
  EXPECT_TRUE(is_remembered());
}

TEST_F(IdlePull, AGrantAndARevocationAreSeenAtOnce) {
  world.run("u2", "createTeam", "x", "c");
  pull();
  EXPECT_TRUE(is_remembered());
  world.run("u2", "addMember", "m1", "c", "u1");
  EXPECT_NE(pull().find(R"("buckets":["o1","team:a","team:b","team:c"])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  world.run("u2", "removeMember", "m1");
  EXPECT_NE(pull().find(R"("removedBuckets":["team:c"])"), std::string::npos);
}

TEST_F(IdlePull, AnotherActorWithTheSameCursorLearnsNothing) {
  world.push("u1", {{.name = "addNote", .cmid = "the last one", .id = "x", .client = "c1", .mutation_id = 1}});
  pull();
  EXPECT_TRUE(is_remembered());
  const protocol::PullRequest stolen = request;
  for (const Actor& other : {World::actor("u2"), Actor{"u1", "o2", ""}, Actor{"u2", "o1", ""}}) {
    const std::string page = pair.pull(other, stolen);
    EXPECT_EQ(page.find("lastMutationId"), std::string::npos) << page;
    EXPECT_EQ(page.find("the last one"), std::string::npos) << page;
    EXPECT_NE(page.find("removedBuckets\":[\""), std::string::npos) << "the buckets of the cursor are not theirs";
  }
  // Another device of the same actor.
  request.device_id = "c2";
  EXPECT_NE(pull().find(R"("lastMutationId":0,)"), std::string::npos);
}

TEST_F(IdlePull, EachOfTheActorsClaimsIsAnotherQuestion) {
  EXPECT_TRUE(is_remembered());
  actor.claims = R"({"userId":"u1","ownerId":"o1","role":"manager"})";
  EXPECT_FALSE(is_remembered());
  EXPECT_TRUE(is_remembered());
  actor.claims = R"({"userId":"u1","ownerId":"o1","role":"guest"})";
  EXPECT_FALSE(is_remembered());
}

TEST_F(IdlePull, AnotherChoiceOfBucketsIsAnotherQuestion) {
  request.buckets = {"team:a"};
  EXPECT_NE(pull().find(R"("buckets":["team:a"])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  request.buckets = {"team:a", "team:b"};
  EXPECT_NE(pull().find(R"("buckets":["team:a","team:b"])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  request.buckets = std::vector<std::string>{};
  EXPECT_NE(pull().find(R"("buckets":[])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  request.buckets = std::nullopt;
  EXPECT_NE(pull().find(R"("buckets":["o1","team:a","team:b"])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  request.sync_rule = "mine";
  EXPECT_NE(pull().find(R"("buckets":["o1"])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  request.sync_rule = std::nullopt;
  request.sync_rules = {"teams"};
  EXPECT_NE(pull().find(R"("buckets":["team:a","team:b"])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
  request.sync_rule = "nope";
  EXPECT_NE(pair.pull(actor, request).find("nope"), std::string::npos);
}

TEST_F(IdlePull, AnotherSchemaOfTheDeviceIsAnotherQuestion) {
  request.schema = std::map<std::string, std::string>{{"notes", "1"}};
  pull();
  EXPECT_TRUE(is_remembered());
  request.schema = std::map<std::string, std::string>{{"notes", "2"}};
  EXPECT_NE(pull().find(R"("id":"n1")"), std::string::npos) << "its columns are others: filled anew";
  EXPECT_TRUE(is_remembered());
  request.schema = std::map<std::string, std::string>{};
  EXPECT_FALSE(is_remembered());
}

TEST_F(IdlePull, TheLimitPlaysNoPart) {
  request.limit = 1;
  EXPECT_TRUE(is_remembered());
  request.limit = 5'000;
  EXPECT_TRUE(is_remembered());
}

TEST_F(IdlePull, ANewEpochIsToldAtOnce) {
  EXPECT_TRUE(is_remembered());
  ASSERT_TRUE(world.storage->rotate_epoch());
  EXPECT_NE(pull().find("cursorReset"), std::string::npos);
  EXPECT_TRUE(is_remembered());
}

TEST_F(IdlePull, PruningEndsWhatIsRememberedAndResetsWhoIsBehind) {
  world.run("u1", "removeNote", "n1");
  protocol::PullRequest behind = request;
  pull();
  EXPECT_TRUE(is_remembered());
  world.clock.advance(std::chrono::hours(24));
  const auto report = world.storage->gc(world.clock.now());
  ASSERT_TRUE(report);
  ASSERT_GT(report->removals, 0U);
  EXPECT_FALSE(is_remembered());
  EXPECT_TRUE(is_remembered());
  EXPECT_NE(pair.pull(actor, behind).find("cursorReset"), std::string::npos);
}

TEST_F(IdlePull, ABackfillUnderWayIsNotIdle) {
  for (int i = 0; i < 6; ++i) world.run("u1", "addDoc", "d" + std::to_string(i), "a");
  protocol::PullRequest first;
  first.limit = 3;
  std::size_t pages = 0;
  for (bool more = true; more; ++pages) {
    const std::string page = pair.pull(actor, first);
    more = page.find(R"("hasMore":true)") != std::string::npos;
    first.cursor = cursor_of(page);
    EXPECT_EQ(pair.remembered, 0U);
  }
  EXPECT_GT(pages, 2U);
  pair.pull(actor, first);
  EXPECT_EQ(pair.remembered, 1U);
}

TEST_F(IdlePull, OtherRulesOfANewDomainAreSeen) {
  EXPECT_TRUE(is_remembered());
  Domain other = test_domain();
  other.rule("everyones")
      .prefix("owner:")
      .parameter("ownerId", actor::owner_id)
      .data(doc_table, eq("title", "ownerId"));
  world.restart(std::move(other));
  pair.restart();
  EXPECT_NE(pull().find(R"("buckets":["o1","owner:o1","team:a","team:b"])"), std::string::npos);
  EXPECT_TRUE(is_remembered());
}

TEST_F(IdlePull, WhatASnapshotHoldsBeyondItsHorizonIsNotRemembered) {
  LateSnapshotStorage late(*world.storage);
  PullHandler handler(world.domain, late, world.clock, Limits{});
  protocol::PullRequest mine;
  mine.device_id = "c1";
  // The page shows a mutation and its row, and its cursor says nothing of them. Whoever asks under this cursor without
  // having had that page must be told both, or neither.
  late.meanwhile = [&] {
    world.push("u1", {{.name = "addNote", .cmid = "m1", .id = "new", .client = "c1", .mutation_id = 1}});
  };
  const auto page = handler.handle(actor, mine);
  mine.cursor = cursor_of(page);
  EXPECT_NE(page->find(R"("lastMutationId":1)"), std::string::npos);
  const auto again = handler.handle(actor, mine);
  ASSERT_TRUE(again);
  EXPECT_NE(again->find(R"("id":"new")"), std::string::npos);
  EXPECT_EQ(late.snapshots, 2U);
  mine.cursor = cursor_of(again);
  const auto idle = handler.handle(actor, mine);
  ASSERT_TRUE(idle);
  EXPECT_EQ(late.snapshots, 2U);
  EXPECT_EQ(idle->find(R"("id":"new")"), std::string::npos);
}

TEST_F(IdlePull, AnOpenWriterMakesEveryPullLook) {
  LateSnapshotStorage late(*world.storage);
  PullHandler handler(world.domain, late, world.clock, Limits{});
  request.cursor = cursor_of(handler.handle(actor, request));
  handler.handle(actor, request);
  const std::size_t before = late.snapshots;
  late.has_open_writer = true;
  handler.handle(actor, request);
  EXPECT_EQ(late.snapshots, before + 1);
  late.has_open_writer = false;
  handler.handle(actor, request);
  EXPECT_EQ(late.snapshots, before + 1);
}

TEST(IdleAnswers, HoldABoundedNumberAndForgetWhatIsNotAskedForFirst) {
  IdleAnswers answers(4);
  const storage::Position at{"e", Version{5}, Version{5}, Version{0}};
  const auto question = [](int i) { return pull_question({}, {}, std::to_string(i)); };
  answers.add(at, question(0), {MutationId{7}, "m"});
  for (int i = 1; i < 100; ++i) {
    answers.add(at, question(i), {});
    ASSERT_TRUE(answers.find(at, question(0))) << i;
  }
  EXPECT_EQ(answers.find(at, question(0))->last_mutation_id, MutationId{7});
  int known = 0;
  for (int i = 0; i < 100; ++i) known += answers.find(at, question(i)) ? 1 : 0;
  EXPECT_LE(known, 4);
}

TEST(IdleAnswers, ASlowReadersSnapshotDoesNotReplaceWhatIsNewer) {
  IdleAnswers answers(10);
  const auto question = pull_question({}, {}, "c");
  const storage::Position old{"e", Version{5}, Version{5}, Version{0}}, now{"e", Version{6}, Version{6}, Version{0}};
  answers.add(now, question, {});
  answers.add(old, question, {});
  EXPECT_TRUE(answers.find(now, question));
  EXPECT_FALSE(answers.find(old, question));
  EXPECT_FALSE(answers.find({"f", Version{6}, Version{6}, Version{0}}, question));
  EXPECT_FALSE(answers.find({"e", Version{6}, Version{6}, Version{1}}, question));
  EXPECT_FALSE(answers.find({"e", Version{6}, Version{7}, Version{0}}, question));
  EXPECT_FALSE(answers.find({"e", Version{5}, Version{6}, Version{0}}, question)) << "a writer is open";
}

TEST(IdleAnswers, QuestionsThatDifferInAnythingButTheLimitAreOthers) {
  const Actor actor{"u", "o", "{}"};
  protocol::PullRequest base;
  base.cursor = "c";
  std::map<PullQuestion, std::string> seen;
  const auto expect_other = [&](const char* what, const Actor& who, const protocol::PullRequest& request) {
    const auto [it, is_new] = seen.emplace(pull_question(who, request, request.cursor), what);
    EXPECT_TRUE(is_new) << what << " is taken for " << it->second;
  };
  const auto with = [&](auto change) {
    protocol::PullRequest request = base;
    change(request);
    return request;
  };
  using Texts = std::vector<std::string>;
  using Schema = std::map<std::string, std::string>;
  expect_other("base", actor, base);
  expect_other("user", {"v", "o", "{}"}, base);
  expect_other("owner", {"u", "p", "{}"}, base);
  expect_other("claims", {"u", "o", ""}, base);
  expect_other("shifted ids", {"uo", "", "{}"}, base);
  expect_other("cursor", actor, with([](auto& r) { r.cursor = "d"; }));
  expect_other("device", actor, with([](auto& r) { r.device_id = "d"; }));
  expect_other("rule", actor, with([](auto& r) { r.sync_rule = "d"; }));
  expect_other("no buckets", actor, with([](auto& r) { r.buckets = Texts{}; }));
  expect_other("bucket", actor, with([](auto& r) { r.buckets = Texts{"ab"}; }));
  expect_other("two buckets", actor, with([](auto& r) { r.buckets = Texts{"a", "b"}; }));
  expect_other("no schema", actor, with([](auto& r) { r.schema = Schema{}; }));
  expect_other("schema", actor, with([](auto& r) { r.schema = Schema{{"a", "b"}}; }));
  expect_other("another schema", actor, with([](auto& r) { r.schema = Schema{{"ab", ""}}; }));
  EXPECT_EQ(pull_question(actor, with([](auto& r) { r.limit = 3; }), "c"), pull_question(actor, base, "c"));
}

/// Random histories, and requests with cursors old and new, own and stolen, under every choice of what is covered.
class History {
 public:
  History(std::uint64_t seed) : random_(seed) {
    for (const char* user : {"u1", "u2", "u3"})
      for (const char* team : {"a", "b"}) world_.push(user, {sent("createTeam", "x", team, "")});
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      if (random_.below(4) == 0) change();
      ask();
    }
  }
  const Pair& pair() const { return pair_; }

 private:
  std::string pick(std::initializer_list<const char*> texts) { return *(texts.begin() + random_.below(texts.size())); }
  Sent sent(std::string name, std::string id, std::string place, std::string text) {
    Sent sent;
    sent.name = std::move(name);
    sent.cmid = "m" + std::to_string(++mutations_);
    sent.id = std::move(id);
    sent.place = std::move(place);
    sent.text = std::move(text);
    return sent;
  }
  std::string user() { return pick({"u1", "u2", "u3"}); }

  void change() {
    const std::string who = user(), id = pick({"1", "2", "3", "4", "5"}), team = pick({"a", "b"});
    switch (random_.below(12)) {
      case 0: {
        Sent one = sent(pick({"addNote", "addThenRefuse"}), "n" + id, "", "x");
        one.client = "c-" + who;
        one.mutation_id = ++sequences_[one.client];
        world_.push(who, {one});
        break;
      }
      case 1:
        world_.push(who, {sent("removeNote", "n" + id, "", "")});
        break;
      case 2:
        world_.push(who, {sent("addDoc", "d" + id, team, "x")});
        break;
      case 3:
        world_.push(who, {sent("moveDoc", "d" + id, team, "")});
        break;
      case 4:
        world_.push(who, {sent("removeDoc", "d" + id, "", "")});
        break;
      case 5:
        world_.push(who, {sent("addMember", "m" + id, team, user())});
        break;
      case 6:
        world_.push(who, {sent(pick({"removeMember", "moveMember"}), "m" + id, team, "")});
        break;
      case 7:
        EXPECT_TRUE(world_.storage->run_script("UPDATE docs SET title = 'by hand' WHERE id = 'd" + id + "'"));
        break;
      case 8:
        EXPECT_TRUE(world_.storage->run_script("DELETE FROM members WHERE id = 'm" + id + "'"));
        break;
      case 9:
        world_.clock.advance(std::chrono::hours(1));
        EXPECT_TRUE(world_.storage->gc(Timestamp{world_.clock_now() - 7'200'000'000}));
        break;
      case 10:
        if (random_.below(3) == 0) {
          EXPECT_TRUE(world_.storage->rotate_epoch());
        }
        break;
      default:
        if (random_.below(3) == 0) {
          Domain domain = test_domain();
          if (random_.below(2) == 0)
            domain.rule("titled").prefix("t:").parameter("user", actor::user_id).data(doc_table, eq("title", "user"));
          world_.restart(std::move(domain));
          pair_.restart();
        }
    }
  }

  void ask() {
    Actor actor = World::actor(user());
    if (random_.below(4) == 0) actor.claims = R"({"role":")" + pick({"a", "b"}) + "\"}";
    protocol::PullRequest request;
    if (random_.below(3) != 0) request.device_id = "c-" + user();
    if (random_.below(3) == 0) request.limit = 1 + random_.below(3);
    if (random_.below(4) == 0) request.sync_rule = pick({"mine", "teams"});
    if (random_.below(4) == 0) request.buckets = {pick({"team:a", "o1", "o2"}), pick({"team:b", "o3"})};
    if (random_.below(4) == 0) request.schema = {{"notes", pick({"1", "2"})}, {"docs", "1"}};
    std::string& cursor = cursors_[random_.below(cursors_.size())];
    for (int round = 0; round < 4; ++round) {
      request.cursor = cursor;
      cursor = cursor_of(pair_.pull(actor, request));
      if (random_.below(3) == 0) return;
    }
  }

  SeededRandom random_;
  World world_;
  Pair pair_{world_};
  std::uint64_t mutations_ = 0;
  std::map<std::string, std::uint64_t> sequences_;
  std::vector<std::string> cursors_ = std::vector<std::string>(12);
};

TEST(IdlePullProperty, WhatIsRememberedIsByteForByteWhatTheTablesAnswer) {
  const std::uint64_t seed = test_seed("idle pulls");
  std::size_t remembered = 0, looked = 0;
  for (std::uint64_t run = 0; run < 8 && !HasFailure(); ++run) {
    History history(seed + run);
    history.run(150);
    remembered += history.pair().remembered;
    looked += history.pair().looked;
  }
  std::printf("%zu pulls were answered from memory, %zu from the tables\n", remembered, looked);
  EXPECT_GT(remembered, 200U);
  EXPECT_GT(looked, 200U);
}

}  // namespace
}  // namespace nizhal::server::testing
