// Edits that merge, pushed to a server on each storage (S22): every order of arrival, what is told of what lost, and
// what never reaches anybody.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <thread>

#include "server/merge_test_rows.hpp"
#include "server/push_handler.hpp"
#include "server/test_world.hpp"
#include "tests/backends/cards_domain.hpp"

namespace nizhal::server::testing {
namespace {

using nizhal::testing::card_pads;
using nizhal::testing::cards;
using nizhal::testing::cards_domain;

constexpr std::int64_t kNow = 1'767'323'045'000;  // kStart

std::string hlc(std::int64_t ahead_ms, std::string_view node, std::uint16_t counter = 0) {
  return stamp_at(kNow + ahead_ms, node, counter).text();
}
std::string base64(const crdt::Bytes& bytes) { return to_base64(bytes); }

class MergedPushes : public ::testing::TestWithParam<BackendKind> {
 protected:
  MergedPushes() : world(cards_domain(), limits(), GetParam()) {
    const auto joined = world.storage->run_script(
        "INSERT INTO card_members (id, user_id, team_id) VALUES ('m1', 'u1', 'a'), ('m2', 'u2', 'a'), ('m3', 'u2', "
        "'b')");
    EXPECT_TRUE(joined) << (joined ? "" : joined.error().message);
  }
  static Limits limits() {
    Limits limits;
    limits.admin_password = "open sesame";
    limits.crdt_update_bytes_max = 4'000;
    limits.crdt_state_bytes_max = 10'000;
    return limits;
  }
  std::string next_id() { return "m-" + std::to_string(++count); }
  /// One unsequenced mutation; its answer.
  Answer push(std::string_view user, std::string name, std::string id, std::string text, std::string stamp,
              std::string place = "a") {
    return world.push(user, {{.name = std::move(name),
                              .cmid = next_id(),
                              .id = std::move(id),
                              .place = std::move(place),
                              .text = std::move(text),
                              .hlc = std::move(stamp)}});
  }
  void applied(std::string_view user, std::string name, std::string id, std::string text, std::string stamp,
               std::string place = "a") {
    const Answer answer = push(user, name, std::move(id), std::move(text), std::move(stamp), std::move(place));
    ASSERT_EQ(answer.statuses(), "applied") << name << ": " << answer.text << world.told();
  }
  std::string card(const std::string& id, std::string_view column) { return world.read(cards.def(), id, column); }
  std::string text_in(const TableDef& table, const std::string& id) {
    const auto state = from_base64(strip(world.read(table, id, "body")));
    return state ? text_of(*state) : "no state";
  }
  static std::string strip(std::string json) {
    std::erase(json, '"');
    return json;
  }
  /// The conflicts of the only result, as JSON.
  static std::string conflicts_of(const Answer& answer) {
    const auto* results = answer.body.if_contains("results");
    if (!results || !results->is_array() || results->get_array().empty()) return "no results: " + answer.text;
    const auto* conflicts = results->get_array()[0].get_object().if_contains("conflicts");
    return conflicts ? to_text(*conflicts) : "";
  }
  Answer admin(const std::string& path) { return world.request("GET", path, "open sesame"); }

  World world;
  int count = 0;
};
INSTANTIATE_TEST_SUITE_P(On, MergedPushes, nizhal::testing::every_backend(), nizhal::testing::kind_name);

TEST_P(MergedPushes, PerColumnTheHigherClockWinsWhateverArrivesLast) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  applied("u1", "editCard", "c", "title=later", hlc(20, "a1"));
  const Answer answer = push("u2", "editCard", "c", "title=earlier;color=red", hlc(10, "b2"));
  EXPECT_EQ(answer.statuses(), "applied");
  EXPECT_EQ(card("c", "title"), "\"later\"");
  EXPECT_EQ(card("c", "color"), "\"red\"");
  EXPECT_EQ(conflicts_of(answer),
            R"([{"table":"cards","key":"c","column":"title","lost":"earlier","at":"2026-01-02T03:04:05.010000Z",)"
            R"("winnerAt":"2026-01-02T03:04:05.020000Z"}])");
}

TEST_P(MergedPushes, WhatLosesAltogetherChangesNoVersionAndPokesNobody) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  applied("u1", "editCard", "c", "title=later", hlc(20, "a1"));
  const auto version = [&] {
    return world.backend->other_program()->value("SELECT nizhal_version FROM cards WHERE id = 'c'");
  };
  const std::string before = version();
  EXPECT_EQ(push("u2", "editCard", "c", "title=earlier", hlc(10, "b2")).statuses(), "applied");
  EXPECT_EQ(version(), before);
  // The audit tells it nevertheless, where the row's bucket is asked for.
  const Answer audit = admin("/nizhal/audit?bucket=team:a");
  EXPECT_NE(audit.text.find("\"lost\""), std::string::npos) << audit.text;
  EXPECT_NE(audit.text.find(hlc(10, "b2")), std::string::npos) << audit.text;
  EXPECT_NE(audit.text.find(hlc(20, "a1")), std::string::npos) << audit.text;
}

// All permutations of up to five edits of three devices, one of them offered twice.
TEST_P(MergedPushes, EveryOrderOfArrivalGivesTheSameRow) {
  const std::vector<std::pair<std::string, std::string>> edits = {{"title=a;color=a", hlc(20, "a1")},
                                                                  {"title=b", hlc(20, "b2")},
                                                                  {"color=white", hlc(30, "a1")},
                                                                  {"title=c;color=c", hlc(25, "c3")},
                                                                  {"title=b later", hlc(20, "b2", 1)}};
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  std::set<std::string> outcomes;
  std::size_t round = 0;
  do {
    const std::string id = "c" + std::to_string(++round);
    std::vector<Sent> sent = {
        {.name = "addCard", .cmid = next_id(), .id = id, .place = "a", .text = "title=t0", .hlc = hlc(0, "a1")}};
    for (const std::size_t i : order)
      sent.push_back({.name = "editCard", .cmid = next_id(), .id = id, .text = edits[i].first, .hlc = edits[i].second});
    const Answer answer = world.push("u1", sent);
    ASSERT_EQ(answer.statuses(), "applied applied applied applied applied applied") << answer.text;
    outcomes.insert(card(id, "title") + card(id, "color"));
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(outcomes, (std::set<std::string>{R"("c""white")"}));
}

TEST_P(MergedPushes, ARemovalWinsAndWhatIsMadeAnewHasStampsOfItsOwn) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  applied("u1", "removeCard", "c", "", hlc(5, "a1"));
  EXPECT_EQ(push("u2", "editCard", "c", "title=x", hlc(50, "b2")).statuses(), "rejected:unknown_card");
  EXPECT_EQ(card("c", "title"), "");
  applied("u2", "putCard", "c", "title=anew", hlc(60, "b2"));
  EXPECT_NE(conflicts_of(push("u1", "editCard", "c", "title=old", hlc(40, "a1"))), "");
  EXPECT_EQ(card("c", "title"), "\"anew\"");
}

TEST_P(MergedPushes, OfWholeObjectsOnlyWhatDiffersCounts) {
  for (const char* name : {"replaceCard", "putCard"}) {
    const std::string id = name;
    applied("u1", "addCard", id, "title=t0", hlc(0, "a1"));
    applied("u1", "editCard", id, "title=theirs", hlc(20, "a1"));
    const Answer answer = push("u2", name, id, "color=red", hlc(10, "b2"));
    EXPECT_EQ(conflicts_of(answer), "") << answer.text;
    EXPECT_EQ(card(id, "title") + card(id, "color"), R"("theirs""red")");
    // The title was not edited, so that an edit between the two still wins.
    EXPECT_EQ(conflicts_of(push("u1", "editCard", id, "title=again", hlc(21, "a1"))), "");
    EXPECT_NE(conflicts_of(push("u1", "editCard", id, "color=blue", hlc(9, "a1"))), "");
  }
}

TEST_P(MergedPushes, AMutationThatEditsAColumnTwiceHasItsLastValue) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  applied("u1", "editCardTwice", "c", "final", hlc(10, "a1"));
  EXPECT_EQ(card("c", "title"), "\"final\"");
  const Answer lost = push("u2", "editCardTwice", "c", "late", hlc(5, "b2"));
  EXPECT_EQ(conflicts_of(lost),
            R"([{"table":"cards","key":"c","column":"title","lost":"late","at":"2026-01-02T03:04:05.005000Z",)"
            R"("winnerAt":"2026-01-02T03:04:05.010000Z"}])");
  // What it then removes and makes anew has lost nothing.
  EXPECT_EQ(conflicts_of(push("u2", "remakeCard", "c", "made", hlc(6, "b2"))), "");
  EXPECT_EQ(card("c", "title"), "\"made\"");
}

TEST_P(MergedPushes, AReplayIsToldTheSameConflictsAndChangesNothing) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  applied("u1", "editCard", "c", "title=later", hlc(20, "a1"));
  std::vector<Sent> sent = {{.name = "editCard",
                             .cmid = "lost-1",
                             .id = "c",
                             .text = "title=mine, \\ \"and\" more",
                             .client = "b2",
                             .mutation_id = 1,
                             .hlc = hlc(10, "b2")}};
  const Answer first = world.push("u2", sent);
  const std::string row = card("c", "title") + card("c", "color");
  const Answer again = world.push("u2", sent);
  EXPECT_EQ(again.statuses(), "duplicate");
  EXPECT_NE(conflicts_of(first), "");
  EXPECT_EQ(conflicts_of(again), conflicts_of(first));
  EXPECT_EQ(card("c", "title") + card("c", "color"), row);
  ASSERT_EQ(world.conflicts.size(), 1U);
  // Without `results` nobody is told.
  EXPECT_EQ(world.push_plain("u2", sent).text.find("conflict"), std::string::npos);
}

TEST_P(MergedPushes, AStampFromTheFutureIsReplacedByTheServersTime) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  const auto fast = hlc(3'600'000, "b2");
  EXPECT_EQ(world
                .push("u2", {{.name = "editCard",
                              .cmid = next_id(),
                              .id = "c",
                              .text = "title=fast",
                              .client = "b2",
                              .mutation_id = 1,
                              .hlc = fast}})
                .statuses(),
            "applied");
  EXPECT_EQ(card("c", "title"), "\"fast\"");
  // It stands at the server's time, so that whoever edits after it wins.
  world.clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(conflicts_of(push("u1", "editCard", "c", "title=after", hlc(1'000, "a1"))), "");
  EXPECT_EQ(card("c", "title"), "\"after\"");
}

TEST_P(MergedPushes, WithoutAStampTheServersTimeCounts) {
  applied("u1", "addCard", "c", "title=t0", "");
  world.clock.advance(std::chrono::seconds(1));
  EXPECT_NE(conflicts_of(push("u1", "editCard", "c", "title=old", hlc(-1, "a1"))), "");
  applied("u1", "editCard", "c", "title=unstamped", "");
  EXPECT_EQ(card("c", "title"), "\"unstamped\"");
}

TEST_P(MergedPushes, TheBucketCheckJudgesWhatStandsAndNotWhatLost) {
  applied("u2", "addCard", "c", "title=t0", hlc(0, "b2"), "a");
  applied("u2", "moveCard", "c", "", hlc(20, "b2"), "a");  // where it is, but later than what follows
  const Answer lost = push("u1", "moveCard", "c", "", hlc(10, "a1"), "b");
  EXPECT_EQ(lost.statuses(), "applied") << lost.text;
  EXPECT_NE(conflicts_of(lost), "");
  EXPECT_EQ(push("u1", "moveCard", "c", "", hlc(30, "a1"), "b").statuses(), "rejected:not_authorized");
  EXPECT_EQ(card("c", "team_id"), "\"a\"");
  applied("u2", "moveCard", "c", "", hlc(40, "b2"), "b");
  EXPECT_EQ(push("u1", "editCard", "c", "title=x", hlc(50, "a1")).statuses(), "rejected:not_authorized");
}

TEST_P(MergedPushes, NothingOfTheWinnerReachesWhoLost) {
  applied("u2", "addCard", "c", "title=t0", hlc(0, "bbbb2222"), "a");
  applied("u2", "editCard", "c", "title=the winners words", hlc(20, "bbbb2222"));
  const Answer answer = push("u1", "editCard", "c", "title=mine", hlc(10, "aaaa1111"));
  EXPECT_NE(conflicts_of(answer), "");
  for (const char* secret : {"the winners words", "bbbb2222", "u2", "o2"})
    EXPECT_EQ(answer.text.find(secret), std::string::npos) << answer.text;
  // The page has what won, as any row of the bucket; not whose it is.
  const Answer page = world.pull("u1");
  EXPECT_NE(page.text.find("the winners words"), std::string::npos);
  EXPECT_EQ(page.string_of("hlc"), "2026-01-02T03:04:05.020Z-0000-00000000000000000000000000000000");
  EXPECT_EQ(page.text.find("bbbb2222"), std::string::npos) << page.text;
}

TEST_P(MergedPushes, OfRowsOutOfReachNothingIsToldToTheDevice) {
  applied("u2", "addCard", "near", "title=t", hlc(0, "b2"), "a");
  applied("u2", "addCard", "far", "title=t", hlc(0, "b2"), "b");
  for (const char* id : {"near", "far"}) applied("u2", "editCard", id, "color=red", hlc(20, "b2"));
  const Answer answer = push("u1", "paintAll", "x", "blue", hlc(10, "a1"));
  EXPECT_NE(conflicts_of(answer).find("near"), std::string::npos) << answer.text;
  EXPECT_EQ(answer.text.find("far"), std::string::npos) << answer.text;
  EXPECT_EQ(world.conflicts.size(), 2U);  // the server's own are told of both
}

TEST_P(MergedPushes, WhatLosesIsReportedAfterTheCommitAndCounted) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  applied("u1", "editCard", "c", "title=later;color=red", hlc(20, "a1"));
  std::string seen;
  world.on_conflict = [&](const ReportedConflict& conflict) {
    // Committed: others read the mutation's record.
    if (conflict.column == "title")
      seen = world.backend->other_program()->value("SELECT count(*) FROM " + world.backend->engine_table("mutation") +
                                                   " WHERE client_mutation_id = 'reported'");
    throw std::runtime_error("the app's own trouble");
  };
  const Answer answer = world.push("u2", {{.name = "editCard",
                                           .cmid = "reported",
                                           .id = "c",
                                           .text = "title=x;color=y",
                                           .client = "b2",
                                           .mutation_id = 1,
                                           .hlc = hlc(10, "b2")}});
  EXPECT_EQ(answer.statuses(), "applied");
  EXPECT_EQ(seen, "1");
  ASSERT_EQ(world.conflicts.size(), 2U);
  const ReportedConflict expected{{"cards", "c", "title", "\"x\"", Timestamp{(kNow + 10) * 1000},
                                   Timestamp{(kNow + 20) * 1000}, "editCard", "reported"},
                                  "u2",
                                  "o2",
                                  "b2"};
  EXPECT_EQ(world.conflicts[0], expected);
  const Answer stats = admin("/nizhal/stats");
  EXPECT_NE(stats.text.find(R"("conflicts":{"cards":2})"), std::string::npos) << stats.text;
}

TEST_P(MergedPushes, ARefusedMutationLeavesNoConflictAndNoUpdate) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  applied("u1", "editCard", "c", "title=later", hlc(20, "a1"));
  Pad pad(1);
  const Answer answer = push("u2", "typeCardAndRefuse", "c", base64(pad.type(0, "x")), hlc(10, "b2"));
  EXPECT_EQ(answer.statuses(), "rejected:changed_my_mind");
  EXPECT_EQ(conflicts_of(answer), "");
  EXPECT_TRUE(world.conflicts.empty());
  EXPECT_EQ(text_in(cards.def(), "c"), "");
}

TEST_P(MergedPushes, UpdatesOfATextMergeInEveryOrderWithGapsAmongThem) {
  Pad one(1), two(2);
  std::vector<crdt::Bytes> updates = {one.type(0, "alpha ")};
  updates.push_back(one.type(6, "beta "));
  two.take(updates[0]);
  updates.push_back(two.type(0, "zero "));
  updates.push_back(one.type(0, "start "));
  std::vector<std::size_t> order = {0, 1, 2, 3};
  std::set<std::string> texts;
  int round = 0;
  do {
    const std::string id = "p" + std::to_string(++round);
    std::vector<Sent> sent = {{.name = "addPad", .cmid = next_id(), .id = id, .place = "t"}};
    for (const std::size_t i : order)
      sent.push_back({.name = "typePad", .cmid = next_id(), .id = id, .text = base64(updates[i])});
    ASSERT_EQ(world.push("u1", sent).statuses(), "applied applied applied applied applied") << world.told();
    texts.insert(text_in(card_pads.def(), id));
  } while (std::next_permutation(order.begin(), order.end()));
  ASSERT_EQ(texts.size(), 1U);
  EXPECT_EQ(texts.begin()->size(), 22U) << *texts.begin();
}

TEST_P(MergedPushes, AnUpdateThatIsThereChangesNothing) {
  Pad pad(1);
  const std::string update = base64(pad.type(0, "hello"));
  applied("u1", "addPad", "p", update, "", "t");
  const auto all = [&] {
    return world.backend->other_program()->value("SELECT nizhal_version FROM pads WHERE id = 'p'");
  };
  const std::string before = all();
  applied("u1", "typePad", "p", update, "");
  applied("u1", "typePad", "p", base64(pad.state()), "");
  applied("u1", "namePad", "p", "t", "");  // gives the state back as it was read
  EXPECT_EQ(all(), before);
  applied("u1", "namePad", "p", "another", "");
  EXPECT_EQ(text_in(card_pads.def(), "p"), "hello");
  EXPECT_NE(all(), before);
}

TEST_P(MergedPushes, WhatIsNoUpdateOrTooLargeIsRefusedAndWritesNothing) {
  Pad pad(1);
  applied("u1", "addPad", "p", base64(pad.type(0, "hello")), "", "t");
  const std::string before = world.read(card_pads.def(), "p", "body");
  EXPECT_EQ(push("u1", "typePad", "p", "AQIDBA==", "").statuses(), "rejected:invalid_update");
  EXPECT_EQ(push("u1", "typePad", "p", "", "").statuses(), "rejected:invalid_update");
  const Answer large = push("u1", "typePad", "p", base64(pad.type(0, std::string(5'000, 'x'))), "");
  EXPECT_EQ(large.statuses(), "rejected:too_large");
  EXPECT_EQ(push("u1", "addPad", "q", base64(pad.state()), "", "t").statuses(), "rejected:too_large");
  EXPECT_EQ(world.read(card_pads.def(), "p", "body"), before);
  EXPECT_EQ(world.read(card_pads.def(), "q", "title"), "");
  // Each is small enough, together they are not.
  Pad other(2);
  std::string refused;
  for (int i = 0; i < 5 && refused.empty(); ++i) {
    const Answer answer = push("u1", "typePad", "p", base64(other.type(0, std::string(3'000, 'y'))), "");
    if (answer.statuses() != "applied") refused = answer.statuses();
  }
  EXPECT_EQ(refused, "rejected:too_large");
  const Answer plain =
      world.push_plain("u1", {{.name = "typePad", .cmid = next_id(), .id = "p", .place = "", .text = "AQIDBA=="}});
  EXPECT_EQ(plain.status, 422);
  EXPECT_EQ(plain.code(), "invalid_update");
}

TEST_P(MergedPushes, AStateThatIsDamagedIsToldInTheLogOnly) {
  applied("u1", "addPad", "p", "", "", "t");
  world.backend->other_program()->run(world.backend->is_sqlite() ? "UPDATE pads SET body = x'070707' WHERE id = 'p'"
                                                                 : "UPDATE pads SET body = '\\x070707' WHERE id = 'p'");
  Pad pad(1);
  const Answer answer = push("u1", "typePad", "p", base64(pad.type(0, "x")), "");
  EXPECT_EQ(answer.statuses(), "rejected:internal");
  const auto logged = std::count_if(world.log_lines.begin(), world.log_lines.end(), [](const std::string& line) {
    return line.starts_with("error push") && line.find("pads") != std::string::npos;
  });
  EXPECT_EQ(logged, 1) << world.told();
}

TEST_P(MergedPushes, WhatAnotherProgramWroteHasTheDatabasesTime) {
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  world.backend->other_program()->run("UPDATE cards SET title = 'by hand' WHERE id = 'c'");
  // The database's clock is of today, beyond the test's.
  EXPECT_NE(conflicts_of(push("u1", "editCard", "c", "title=x;color=red", hlc(20, "a1"))), "");
  EXPECT_EQ(card("c", "title") + card("c", "color"), R"("by hand""red")");
}

// Each with a storage of its own on the same database; the edits contend for one row.
TEST_P(MergedPushes, TwoInstancesMergeEditsOfOneRowAtOnce) {
  constexpr int kEdits = 12;
  applied("u1", "addCard", "c", "title=t0", hlc(0, "a1"));
  Pad pad(1);
  std::vector<std::string> updates;
  for (int i = 0; i < 2 * kEdits; ++i)
    updates.push_back(base64(pad.type(0, std::string(1, static_cast<char>('a' + i)))));
  const auto other = world.backend->open(world.domain, {.lock_timeout = std::chrono::seconds(20)});
  const auto here = world.backend->open(world.domain, {.lock_timeout = std::chrono::seconds(20)});
  const auto edit = [&](storage::Storage& storage, int instance) {
    Counters counters;
    Limits limits;
    limits.retry_budget = limits.push_time_max = std::chrono::minutes(5);
    limits.attempts_max = 1'000;
    ManualClock clock(kStart);
    PushHandler handler(world.domain, storage, clock, limits, Log(), counters, [](const CommitEffects&) {});
    for (int i = 0; i < kEdits; ++i) {
      const int place = 2 * i + instance;
      const auto mutation = [&](const char* name, std::string text) {
        protocol::PushMutation sent;
        sent.name = name;
        sent.client_mutation_id = fmt::format("{}-{}-{}", name, instance, i);
        sent.args = json::object{{"id", "c"}, {"place", ""}, {"text", text}};
        // Each instance has the later edit at times.
        sent.hlc = hlc(100 + (i % 2 == 0 ? place : 50 - place), instance == 0 ? "a1" : "b2");
        return sent;
      };
      protocol::PushRequest request{.mutations = {mutation("editCard", fmt::format("title={}-{}", instance, i)),
                                                  mutation("typeCard", updates[static_cast<std::size_t>(place)])},
                                    .results = true};
      const auto answer = handler.handle({"u1", "o1", ""}, request);
      EXPECT_EQ(answer.status, 200);
      const auto reply = protocol::decode_push_reply(answer.body);
      ASSERT_TRUE(reply);
      for (const auto& result : reply->results) EXPECT_EQ(result.status, protocol::PushStatus::applied) << answer.body;
    }
  };
  std::thread second([&] { edit(*other, 1); });
  edit(*here, 0);
  second.join();
  // The highest of all stamps: 100 + 50 - 2 * 1, of the first instance's second edit.
  EXPECT_EQ(card("c", "title"), "\"0-1\"");
  EXPECT_EQ(text_in(cards.def(), "c"), "xwvutsrqponmlkjihgfedcba");
}

}  // namespace
}  // namespace nizhal::server::testing
