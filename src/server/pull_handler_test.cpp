// Pages: where they end, what they carry, and that a device which folds them equals the in-scope SELECT.
#include "server/pull_handler.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "protocol/cursor.hpp"
#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

/// A snapshot whose changes are listed by a test: versions above the horizon, which embedded SQLite never shows,
/// included. It answers as storage does: lowest versions first, cut at the limit.
class ListedSnapshot : public storage::Snapshot {
 public:
  storage::Position at;
  std::vector<storage::Grant> granted;
  std::vector<storage::EncodedRow> rows;
  std::vector<storage::Removal> removals;
  std::size_t stored = 0;                     // rows to backfill: 1000, 1001, …
  std::vector<std::string>* asked = nullptr;  // what backfills were asked for: "<after>+<limit>"

  Result<storage::Position> position() override { return at; }
  Result<std::vector<storage::Grant>> grants(const Actor&) override { return granted; }
  Result<std::vector<storage::EncodedRow>> live_rows(const storage::LiveQuery& query) override {
    return cut(rows, query);
  }
  Result<std::vector<storage::Removal>> live_removals(const storage::LiveQuery& query) override {
    return cut(removals, query);
  }
  Result<std::vector<storage::EncodedRow>> backfill(const Bucket&, std::size_t table,
                                                    const std::optional<std::string>& after_key,
                                                    std::size_t limit) override {
    std::vector<storage::EncodedRow> found;
    for (std::size_t i = after_key ? std::stoul(*after_key) + 1 : 1000; i < 1000 + stored && found.size() < limit; ++i)
      found.push_back({table, Version{1}, std::to_string(i), R"({"id":")" + std::to_string(i) + R"("})"});
    if (asked) asked->push_back(after_key.value_or("start") + "+" + std::to_string(limit));
    return found;
  }
  Result<std::uint64_t> count_rows(const Bucket&, std::size_t) override { return 0; }
  Result<std::optional<storage::ClientRecord>> client(std::string_view) override { return std::nullopt; }
  Result<std::vector<storage::AuditRow>> audit(Version, Version, std::size_t) override {
    return std::vector<storage::AuditRow>{};
  }

 private:
  template <class T>
  static std::vector<T> cut(const std::vector<T>& all, const storage::LiveQuery& query) {
    std::vector<T> found;
    for (const T& one : all)
      if (one.version > query.after && (!query.through || one.version <= *query.through)) found.push_back(one);
    std::stable_sort(found.begin(), found.end(), [](const T& l, const T& r) { return l.version < r.version; });
    if (query.limit && found.size() > *query.limit) found.resize(*query.limit);
    return found;
  }
};

class ListedStorage : public storage::Storage {
 public:
  ListedSnapshot listed;
  Result<storage::ProvisionReport> provision() override { return storage::ProvisionReport{}; }
  Result<storage::Position> position() override { return listed.at; }
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>&) override {
    return std::make_unique<ListedSnapshot>(listed);
  }
  Result<std::unique_ptr<storage::WriteTransaction>> begin_write(Timestamp, const storage::WriteOptions&) override {
    ADD_FAILURE() << "a pull writes nothing";
    return failure(ErrorCode::internal, "no");
  }
  Result<storage::ChangeMark> change_mark() override { return storage::ChangeMark{}; }
  Result<storage::GcReport> gc(Timestamp) override { return storage::GcReport{}; }
  Result<std::string> rotate_epoch() override { return std::string(); }
  Result<void> run_script(std::string_view) override { return {}; }
  void interrupt() override {}
  std::string describe() const override { return "listed"; }
};

class Page : public ::testing::Test {
 protected:
  void SetUp() override {
    storage.listed.at = {"e1", Version{100}, Version{200}, Version{0}};
    storage.listed.granted.push_back({*domain->parse_bucket("o1"), Version{0}});
    protocol::Cursor cursor;
    cursor.epoch = "e1";
    cursor.position = Version{10};
    cursor.buckets["o1"] = {};
    for (std::size_t i = 0; i < domain->tables().size(); ++i)
      if (domain->is_delivered(i))
        cursor.fingerprints[domain->table(i).name] =
            domain->fingerprint(i).text() + "|" + domain->fingerprint(i).text();
    request.cursor = protocol::encode_cursor(cursor);
  }
  void row(std::uint64_t version, const std::string& key, std::size_t table = 0) {
    const std::string json = R"({"id":")" + key + R"("})";
    storage.listed.rows.push_back({table, Version{version}, key, json});
  }
  void removal(std::uint64_t version, const std::string& key, bool deleted = true, bool covered = false,
               std::size_t table = 0) {
    storage.listed.removals.push_back({table, Version{version}, key, std::nullopt, deleted,
                                       covered ? std::optional(Version{version}) : std::nullopt});
  }
  /// "rows | tombstoned | removed | position[+]": + when there is more.
  std::string pull(std::size_t limit) {
    request.limit = limit;
    PullHandler handler(domain, storage, clock, Limits{});
    const auto body = handler.handle(Actor{"u1", "o1", ""}, request);
    EXPECT_TRUE(body) << (body ? "" : body.error().message);
    if (!body) return "";
    const auto value = parse_json(*body);
    std::string out;
    for (const auto& table : value->at("changed").get_array())
      for (const auto& one : table.at("rows").get_array()) out += std::string(*string_member(one, "id")) + " ";
    out += "|";
    for (const char* list : {"tombstoned", "removed"}) {
      for (const auto& one : value->at(list).get_array()) out += " " + std::string(*string_member(one, "id"));
      out += " |";
    }
    request.cursor = std::string(*string_member(*value, "cursor"));
    out += " " + std::to_string(number(protocol::decode_cursor(request.cursor)->position));
    if (value->at("hasMore").get_bool()) out += "+";
    return out;
  }

  std::shared_ptr<const CompiledDomain> domain = compiled(test_domain());
  ListedStorage storage;
  ManualClock clock{kStart};
  protocol::PullRequest request;
};

TEST_F(Page, WithoutChangesTheCursorMovesToTheHorizon) { EXPECT_EQ(pull(5), "| | | 100"); }

TEST_F(Page, EverythingVisibleIsSentSettledOrNotAndTheCursorMovesToTheHorizon) {
  row(20, "a");
  row(150, "b");
  EXPECT_EQ(pull(5), "a b | | | 100");
  // What lay above the horizon comes again.
  EXPECT_EQ(pull(5), "b | | | 100");
}

TEST_F(Page, EndsAtAVersionBoundaryBelowTheLimit) {
  row(20, "a");
  row(30, "b");
  row(30, "c");
  row(40, "d");
  EXPECT_EQ(pull(2), "a | | | 29+");
  EXPECT_EQ(pull(2), "b c | | | 39+");
  EXPECT_EQ(pull(2), "d | | | 100");
}

TEST_F(Page, RowsAndRemovalsCountTogether) {
  row(20, "a");
  row(40, "c");
  removal(30, "x");
  removal(40, "y");
  EXPECT_EQ(pull(3), "a | x | | 39+");
  EXPECT_EQ(pull(3), "c | y | | 100");
}

TEST_F(Page, ALimitThatIsMetExactlyNeedsNoSecondPage) {
  row(20, "a");
  removal(30, "x");
  EXPECT_EQ(pull(2), "a | x | | 100");
}

TEST_F(Page, OneTransactionAboveTheLimitComesWhole) {
  for (const char* key : {"a", "b", "c", "d"}) row(20, key);
  removal(20, "x");
  row(30, "e");
  EXPECT_EQ(pull(2), "a b c d | x | | 20+");
  EXPECT_EQ(pull(2), "e | | | 100");
}

TEST_F(Page, AListThatWasCutHidesNothingOfTheOther) {
  // Removals are cut at three, below the rows' versions.
  for (std::uint64_t version = 20; version < 30; ++version) removal(version, "x" + std::to_string(version));
  row(25, "a");
  EXPECT_EQ(pull(2), "| x20 x21 | | 21+");
  EXPECT_EQ(pull(2), "| x22 x23 | | 23+");
  EXPECT_EQ(pull(2), "| x24 | | 24+");
  EXPECT_EQ(pull(2), "a | x25 | | 25+");
}

TEST_F(Page, SettledChangesAboveTheLimitArePagedBeforeUnsettledOnes) {
  row(90, "a");
  row(95, "b");
  row(110, "c");
  row(111, "d");
  EXPECT_EQ(pull(1), "a | | | 94+");
  EXPECT_EQ(pull(1), "b | | | 100+");
  // Only unsettled ones are left: the cursor cannot move over them, so they come all at once.
  EXPECT_EQ(pull(1), "c d | | | 100");
}

TEST_F(Page, ABoundaryIsNeverAboveTheHorizon) {
  row(50, "a");
  row(120, "b");
  row(130, "c");
  EXPECT_EQ(pull(2), "a | | | 100+");
  EXPECT_EQ(pull(2), "b c | | | 100");
}

TEST_F(Page, ARowThatChangedIsNotRemovedInTheSamePage) {
  removal(20, "a");
  row(30, "a");
  EXPECT_EQ(pull(5), "a | | | 100");
}

TEST_F(Page, WhatACoveredBucketHasIsNotRemoved) {
  removal(20, "a", false, true);
  removal(21, "b", true, true);
  EXPECT_EQ(pull(5), "| | | 100");
}

TEST_F(Page, TheLatestRemovalOfARowIsTheOneThatIsTold) {
  removal(20, "a", false);
  removal(30, "a", true);
  removal(20, "b", true);
  removal(30, "b", false);
  EXPECT_EQ(pull(5), "| a | b | 100");
}

TEST_F(Page, IdsOfDifferentTablesAreDifferentRows) {
  row(20, "a", *domain->table_index("docs"));
  removal(30, "a", true, false, *domain->table_index("notes"));
  EXPECT_EQ(pull(5), "a | a | | 100");
}

TEST_F(Page, AnEqualPageComesForAnEqualCursor) {
  row(20, "a");
  removal(30, "x");
  const std::string cursor = request.cursor;
  const std::string first = pull(1);
  request.cursor = cursor;
  EXPECT_EQ(pull(1), first);
}

TEST(Trap, APageOfABootstrapReadsOnFromWhereTheLastOneEnded) {
  const auto domain = compiled(test_domain());
  ListedStorage storage;
  ManualClock clock{kStart};
  std::vector<std::string> asked;
  storage.listed.at = {"e1", Version{100}, Version{200}, Version{0}};
  storage.listed.granted.push_back({*domain->parse_bucket("o1"), Version{0}});
  storage.listed.stored = 10;
  storage.listed.asked = &asked;
  PullHandler handler(domain, storage, clock, Limits{});
  protocol::PullRequest request;
  request.limit = 4;
  for (int page = 0; page < 3; ++page) {
    const auto body = handler.handle(Actor{"u1", "o1", ""}, request);
    ASSERT_TRUE(body);
    request.cursor = std::string(*string_member(*parse_json(*body), "cursor"));
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"start+5", "1003+5", "1007+5"}));
}

class Pull : public ::testing::Test {
 protected:
  World world;
  void expect_equal(Device& device) { EXPECT_EQ(device.rows, device.expected()); }
};

TEST_F(Pull, TheFirstSixFieldsAreAlwaysThereInOrder) {
  const Answer answer = world.pull("u1");
  EXPECT_EQ(answer.status, 200);
  std::string names;
  for (const auto& entry : answer.body) names += std::string(std::string_view(entry.key())) + " ";
  EXPECT_TRUE(names.starts_with("changed tombstoned removed removedBuckets cursor hasMore ")) << names;
  EXPECT_EQ(answer.list("buckets"), "o1");
  EXPECT_EQ(answer.string_of("serverTime"), "2026-01-02T03:04:05.000000Z");
  EXPECT_FALSE(answer.string_of("epoch").empty());
  EXPECT_FALSE(answer.has("cursorReset"));
  EXPECT_FALSE(answer.has("lastMutationId"));
}

TEST_F(Pull, AnIdleOneTellsNothingNew) {
  world.run("u1", "addNote", "n1");
  Device device(world, "u1");
  device.sync();
  device.sync();
  ASSERT_EQ(device.answers.size(), 1U);
  const Answer& idle = device.answers[0];
  EXPECT_FALSE(idle.has("buckets"));
  EXPECT_FALSE(idle.has("progress"));
  EXPECT_EQ(idle.list("changed"), "");
  expect_equal(device);
}

TEST_F(Pull, ChangesDeletionsAndMovesArrive) {
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "createTeam", "x", "b");
  world.run("u2", "createTeam", "x", "theirs");
  world.run("u1", "addMember", "m2", "a", "u2");
  for (const char* id : {"d1", "d2", "d3", "d4"}) world.run("u1", "addDoc", id, "a");
  Device one(world, "u1"), two(world, "u2");
  one.sync();
  two.sync();
  world.run("u1", "removeDoc", "d1");
  world.run("u1", "moveDoc", "d2", "b");
  world.run("u2", "moveDoc", "d3", "theirs");
  world.run("u1", "setDoc", "d4", "", "changed");
  one.sync();
  EXPECT_EQ(one.answers[0].text.find("theirs"), std::string::npos) << "where a row went is nobody's business";
  EXPECT_EQ(to_text(one.answers[0].body.at("tombstoned")), R"([{"table":"docs","id":"d1"}])");
  EXPECT_EQ(to_text(one.answers[0].body.at("removed")), R"([{"table":"docs","id":"d3"}])");
  two.sync();
  EXPECT_EQ(to_text(two.answers[0].body.at("removed")), R"([{"table":"docs","id":"d2"}])");
  EXPECT_EQ(one.ids("docs"), "d2 d4");
  EXPECT_EQ(two.ids("docs"), "d3 d4");
  expect_equal(one);
  expect_equal(two);
}

TEST_F(Pull, NumericKeysAreDigitsOnTheWire) {
  world.run("u1", "createTeam", "x", "a");
  for (int i = 0; i < 12; ++i) world.run("u1", "addEvent", "x", "a", "event");
  Device device(world, "u1");
  device.limit = 5;
  device.sync();
  expect_equal(device);
  EXPECT_NE(world.pull("u1").text.find(R"("number":"12")"), std::string::npos);
  ASSERT_TRUE(world.storage->run_script("DELETE FROM events WHERE number = 7"));
  device.sync();
  EXPECT_EQ(to_text(device.answers[0].body.at("tombstoned")), R"([{"table":"events","id":"7"}])");
  expect_equal(device);
}

TEST_F(Pull, TheClientIdColumnOfARemovedRowIsItsKey) {
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "addDocRenamed", "d1", "a");
  Device device(world, "u1");
  device.sync();
  world.run("u1", "removeDoc", "srv-d1");
  device.sync();
  EXPECT_EQ(to_text(device.answers[0].body.at("tombstoned")), R"([{"table":"docs","id":"srv-d1","key":"d1"}])");
}

TEST_F(Pull, GainedAndLostBucketsComeAndGo) {
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "addDoc", "d1", "a");
  world.run("u2", "addNote", "n1");
  Device device(world, "u2");
  device.sync();
  EXPECT_EQ(device.ids("docs"), "");
  world.run("u1", "addMember", "m2", "a", "u2");
  device.sync();
  EXPECT_EQ(device.ids("docs"), "d1");
  EXPECT_EQ(device.answers[0].list("buckets"), "o2 team:a");
  EXPECT_EQ(to_text(device.answers[0].body.at("progress")), R"({"rows":3,"total":3})");
  world.run("u1", "removeMember", "m2");
  device.sync();
  EXPECT_EQ(device.answers[0].list("removedBuckets"), "team:a");
  EXPECT_EQ(device.answers[0].list("buckets"), "o2");
  EXPECT_EQ(device.answers[0].list("changed"), "");
  EXPECT_EQ(device.ids("docs"), "");
  EXPECT_EQ(device.ids("notes"), "n1");
  // Lost and gained between two pulls counts as both.
  world.run("u1", "addMember", "m3", "a", "u2");
  device.sync();
  world.run("u1", "removeMember", "m3");
  world.run("u1", "removeDoc", "d1");
  world.run("u1", "addMember", "m4", "a", "u2");
  device.sync();
  EXPECT_EQ(device.answers[0].list("removedBuckets"), "team:a");
  EXPECT_EQ(device.ids("docs"), "");
  expect_equal(device);
}

TEST_F(Pull, ARowOfTwoBucketsStaysWhenOneOfThemIsLost) {
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "createTeam", "x", "b");
  world.run("u1", "addMember", "ma", "a", "u2");
  world.run("u1", "addMember", "mb", "b", "u2");
  world.run("u1", "addDoc", "d1", "a");
  Device device(world, "u2");
  device.sync();
  // The row moves to the bucket that stays while the other one is lost.
  world.run("u1", "moveDoc", "d1", "b");
  world.run("u1", "removeMember", "ma");
  device.sync();
  EXPECT_EQ(device.ids("docs"), "d1");
  expect_equal(device);
}

TEST_F(Pull, BackfillsPageByPageTeamsFirstAndTellsTheProgress) {
  world.run("u1", "createTeam", "x", "a");
  for (int i = 0; i < 7; ++i) world.run("u1", "addDoc", "d" + std::to_string(i), "a");
  for (int i = 0; i < 3; ++i) world.run("u1", "addNote", "n" + std::to_string(i));
  Device device(world, "u1");
  device.limit = 3;
  device.sync();
  ASSERT_EQ(device.answers.size(), 4U);
  std::string progress, tables;
  for (const Answer& answer : device.answers) {
    progress += to_text(answer.body.at("progress"));
    for (const auto& table : answer.body.at("changed").get_array())
      tables += std::string(*string_member(table, "table")) + " ";
  }
  EXPECT_EQ(progress, R"({"rows":3,"total":11}{"rows":6,"total":11}{"rows":9,"total":11}{"rows":11,"total":11})");
  EXPECT_EQ(tables, "members docs docs docs notes notes ");  // the teams' rule has the higher priority
  EXPECT_FALSE(device.answers[1].has("buckets"));
  expect_equal(device);
}

TEST_F(Pull, LiveChangesComeBeforeABackfillGoesOn) {
  for (int i = 0; i < 5; ++i) world.run("u1", "addNote", "n" + std::to_string(i));
  const auto pull = [&](const std::string& cursor) {
    return world.pull("u1", R"({"limit":2,"cursor":")" + cursor + R"("})");
  };
  const Answer first = pull("");
  for (int i = 0; i < 3; ++i) world.run("u1", "addNote", "m" + std::to_string(i));
  const auto ids = [](const Answer& answer) {
    std::string out;
    for (const auto& row : answer.body.at("changed").get_array()[0].at("rows").get_array())
      out += std::string(*string_member(row, "id")) + " ";
    return out;
  };
  EXPECT_EQ(ids(first), "n0 n1 ");
  const Answer second = pull(first.string_of("cursor"));
  EXPECT_EQ(ids(second), "m0 m1 ");
  // One live change is left, so there is room for one row of the backfill, which goes on in key order.
  const Answer third = pull(second.string_of("cursor"));
  EXPECT_EQ(ids(third), "m2 n2 ");
}

TEST_F(Pull, WritesWhileAFirstSyncIsUnderWayAreNotMissed) {
  for (int i = 10; i < 30; ++i) world.run("u1", "addNote", "n" + std::to_string(i));
  Device device(world, "u1");
  device.limit = 4;
  int round = 0;
  device.lose_reply = [&] {
    // Behind and ahead of the backfill: changed, deleted, new.
    const std::string behind = "n" + std::to_string(10 + round % 20), ahead = "n" + std::to_string(29 - round % 20);
    if (round < 8) {
      world.push("u1", {{.name = "setNote", .cmid = "s" + std::to_string(round), .id = behind, .text = "changed"},
                        {.name = "removeNote", .cmid = "r" + std::to_string(round), .id = ahead},
                        {.name = "addNote", .cmid = "a" + std::to_string(round), .id = "m" + std::to_string(round)}});
    }
    return ++round % 3 == 0;
  };
  device.sync();
  expect_equal(device);
}

TEST_F(Pull, SyncRuleAndBucketsChooseWhatIsCovered) {
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "createTeam", "x", "b");
  world.run("u1", "addDoc", "d1", "a");
  world.run("u1", "addDoc", "d2", "b");
  world.run("u1", "addNote", "n1");
  Device device(world, "u1");
  device.extra = R"(,"buckets":["team:a"])";
  device.sync();
  EXPECT_EQ(device.ids("docs") + "," + device.ids("notes"), "d1,");
  device.extra = R"(,"syncRule":"teams")";
  device.sync();
  EXPECT_EQ(device.ids("docs") + "," + device.ids("notes"), "d1 d2,");
  EXPECT_EQ(device.answers[0].list("removedBuckets"), "");
  device.extra = "";
  device.sync();
  expect_equal(device);
  device.extra = R"(,"syncRule":"mine")";
  device.sync();
  EXPECT_EQ(device.answers[0].list("removedBuckets"), "");
  EXPECT_EQ(device.answers[0].list("buckets"), "o1");
  device.extra = "";
  device.sync();
  expect_equal(device);
  const Answer unknown = world.pull("u1", R"({"syncRule":"nope"})");
  EXPECT_EQ(unknown.status, 400);
  EXPECT_EQ(unknown.code(), "bad_request");
  EXPECT_NE(unknown.string_of("error").find("nope"), std::string::npos);
}

TEST_F(Pull, TablesThatTheDeviceLacksAreNotSent) {
  world.run("u1", "createTeam", "x", "a");
  world.run("u1", "addDoc", "d1", "a");
  world.run("u1", "addNote", "n1");
  Device device(world, "u1");
  device.extra = R"(,"schema":{"docs":"1"})";
  device.sync();
  EXPECT_EQ(device.ids("docs") + "," + device.ids("notes") + device.ids("members"), "d1,");
  world.run("u1", "addNote", "n2");
  device.sync();
  EXPECT_EQ(device.ids("notes"), "");
  device.extra = R"(,"schema":{"docs":"1","notes":"1","members":"1","events":"1"})";
  device.sync();
  expect_equal(device);
}

TEST_F(Pull, TheLastMutationOfTheDeviceComesWithThePageThatShowsIt) {
  const std::string ask = R"({"deviceId":"c1"})";
  Answer answer = world.pull("u1", ask);
  EXPECT_EQ(answer.number_of("lastMutationId"), 0);
  EXPECT_FALSE(answer.has("lastClientMutationId"));
  world.push("u1", {{.name = "addNote", .cmid = "m1", .id = "a", .client = "c1", .mutation_id = 1},
                    {.name = "addThenRefuse", .cmid = "m2", .id = "b", .client = "c1", .mutation_id = 2}});
  answer = world.pull("u1", ask);
  EXPECT_EQ(answer.number_of("lastMutationId"), 2);
  EXPECT_EQ(answer.string_of("lastClientMutationId"), "m2");
  // Not before the last page.
  world.run("u1", "addNote", "c");
  answer = world.pull("u1", R"({"deviceId":"c1","limit":1})");
  EXPECT_TRUE(answer.body.at("hasMore").get_bool());
  EXPECT_FALSE(answer.has("lastMutationId"));
}

TEST_F(Pull, ALimitAboveTheCapIsCapped) {
  Limits limits;
  limits.pull_limit_max = 2;
  limits.pull_limit_default = 1;
  World capped(limits);
  for (const char* id : {"a", "b", "c"}) capped.run("u1", "addNote", id);
  const auto rows_of = [](const Answer& answer) {
    return answer.body.at("changed").get_array()[0].at("rows").get_array().size();
  };
  EXPECT_EQ(rows_of(capped.pull("u1", R"({"limit":1000000})")), 2U);
  EXPECT_EQ(rows_of(capped.pull("u1")), 1U);
}

TEST_F(Pull, ANewEpochStartsAfresh) {
  world.run("u1", "addNote", "n1");
  Device device(world, "u1");
  device.sync();
  ASSERT_TRUE(world.storage->rotate_epoch());
  device.sync();
  EXPECT_TRUE(device.answers[0].has("cursorReset"));
  expect_equal(device);
  device.sync();
  EXPECT_FALSE(device.answers[0].has("cursorReset"));
}

TEST_F(Pull, CursorsThatNobodyMadeGiveAResetAndNeverAnError) {
  world.run("u1", "addNote", "n1");
  const std::string good = world.pull("u1").string_of("cursor");
  for (std::string cursor : {std::string("x"), std::string("null"), good + "A", good.substr(1), good + good,
                             std::string(10'000, 'A'), std::string("../../etc/passwd"), std::string("' OR 1=1 --")}) {
    json::object body;
    body["cursor"] = cursor;
    const Answer answer = world.pull("u1", to_text(body));
    EXPECT_EQ(answer.status, 200) << cursor;
    EXPECT_TRUE(answer.has("cursorReset")) << cursor;
    EXPECT_NE(answer.text.find("n1"), std::string::npos);
  }
}

TEST_F(Pull, AnothersCursorGivesNothingOfTheirs) {
  world.run("u2", "createTeam", "x", "theirs");
  world.run("u2", "addDoc", "d1", "theirs", "secret");
  world.run("u1", "addNote", "note-of-mine");
  const std::string theirs = world.pull("u2").string_of("cursor");
  world.run("u2", "setDoc", "d1", "", "more secret");
  world.run("u2", "addDoc", "second-document", "theirs", "secret too");
  const Answer answer = world.pull("u1", R"({"cursor":")" + theirs + R"("})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.text.find("secret"), std::string::npos);
  EXPECT_EQ(answer.text.find("second-document"), std::string::npos);
  EXPECT_NE(answer.text.find("note-of-mine"), std::string::npos);
}

TEST_F(Pull, StorageThatIsBusyIsToldSo) {
  world.storage->plan = fail_call("snapshot", ErrorCode::busy, 1000);
  Answer answer = world.pull("u1");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.code(), "busy");
  EXPECT_EQ(answer.headers.at("retry-after"), "1");
  EXPECT_EQ(answer.text.find("SELECT"), std::string::npos);
  world.storage->plan = fail_call("snapshot", ErrorCode::corrupt, 1000);
  answer = world.pull("u1");
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.code(), "internal");
  EXPECT_EQ(answer.text.find("SELECT"), std::string::npos);
}

}  // namespace
}  // namespace nizhal::server::testing
