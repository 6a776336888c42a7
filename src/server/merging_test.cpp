// Field merge and CRDT merge as a function: every order of arrival gives the same row.
#include "server/merging.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "domain/field_stamps.hpp"
#include "server/merge_test_rows.hpp"
#include "server/recent_updates.hpp"

namespace nizhal::server {
namespace {

using storage::MergeRow;
using storage::MergeState;
using testing::Pad;
using testing::stamp_at;
using testing::text_of;

struct Card {
  std::string id, title, color, owner;
  CrdtText body;
};
TableDef card_table(Merge merge = Merge::Field) {
  return table<Card>("cards")
      .key("id", &Card::id)
      .column("title", &Card::title)
      .column("color", &Card::color)
      .column("owner", &Card::owner)
      .column("body", &Card::body)
      .merge(merge)
      .def();
}
constexpr std::size_t kTitle = 1, kColor = 2, kOwner = 3, kBody = 4;

MergeRules rules_at(Hlc stamp) { return {std::move(stamp), Limits{}}; }
Value update_of(const crdt::Bytes& bytes) { return Value(Blob{bytes}); }

/// A row, and the edits that arrive at it.
struct Sheet {
  explicit Sheet(Merge merge = Merge::Field) : table(card_table(merge)) {
    row = *merge_new_row(
        table,
        {std::string("c1"), std::string("t0"), std::string("c0"), std::string("o0"), update_of(crdt::kEmptyUpdate)},
        Version{version}, rules_at(stamp_at(1, "a")));
  }
  MergedEdit edit(const Hlc& stamp, const Changes& changes, bool whole = false) {
    auto edited = merge_edit(table, row, changes, whole, rules_at(stamp));
    EXPECT_TRUE(edited) << (edited ? "" : edited.error().message);
    if (!edited) return {};
    ++version;
    if (!edited->changes.empty()) {
      for (const auto& [column, value] : edited->changes) row.row[column] = value;
      row.merge = merge_state(table, row.merge, *edited, false, Version{version}, rules_at(stamp));
    }
    return *edited;
  }
  std::string title() const { return std::get<std::string>(row.row[kTitle]); }
  std::string color() const { return std::get<std::string>(row.row[kColor]); }
  std::string body() const { return text_of(std::get<Blob>(row.row[kBody]).bytes); }

  TableDef table;
  MergeRow row;
  std::uint64_t version = 10;
};

Value text(const std::string& value) { return Value(value); }

TEST(FieldMerge, TheHigherClockWinsPerColumn) {
  Sheet sheet;
  EXPECT_TRUE(sheet.edit(stamp_at(20, "b"), {{kTitle, text("later")}}).lost.empty());
  const MergedEdit edit = sheet.edit(stamp_at(10, "c"), {{kTitle, text("earlier")}, {kColor, text("red")}});
  EXPECT_EQ(sheet.title(), "later");
  EXPECT_EQ(sheet.color(), "red");
  ASSERT_EQ(edit.lost.size(), 1U);
  EXPECT_EQ(edit.lost[0].column, kTitle);
  EXPECT_EQ(edit.lost[0].value, text("earlier"));
  EXPECT_EQ(edit.lost[0].winner, stamp_at(20, "b"));
  EXPECT_EQ(edit.changes, (Changes{{kColor, text("red")}}));
}

TEST(FieldMerge, WhatLosesAltogetherWritesNothing) {
  Sheet sheet;
  sheet.edit(stamp_at(20, "b"), {{kTitle, text("later")}});
  const MergeRow before = sheet.row;
  const MergedEdit edit = sheet.edit(stamp_at(10, "c"), {{kTitle, text("earlier")}});
  EXPECT_TRUE(edit.changes.empty());
  EXPECT_EQ(sheet.row.row, before.row);
  EXPECT_EQ(sheet.row.merge, before.merge);
}

TEST(FieldMerge, EqualTimesAreDecidedByTheCounterThenByTheNode) {
  for (const bool other_way : {false, true}) {
    Sheet sheet;
    std::vector<std::pair<Hlc, std::string>> edits = {
        {stamp_at(20, "a", 1), "a, later counter"}, {stamp_at(20, "f"), "f"}, {stamp_at(20, "b"), "b"}};
    if (other_way) std::reverse(edits.begin(), edits.end());
    for (const auto& [stamp, value] : edits) sheet.edit(stamp, {{kTitle, text(value)}});
    EXPECT_EQ(sheet.title(), "a, later counter");
    edits.erase(other_way ? edits.end() - 1 : edits.begin());
    Sheet nodes;
    for (const auto& [stamp, value] : edits) nodes.edit(stamp, {{kTitle, text(value)}});
    EXPECT_EQ(nodes.title(), "f");
  }
}

TEST(FieldMerge, AnEqualValueThatWasSetRaisesTheStampToo) {
  Sheet sheet;
  const MergedEdit same = sheet.edit(stamp_at(30, "b"), {{kTitle, text("t0")}});
  EXPECT_FALSE(same.changes.empty());
  EXPECT_EQ(sheet.edit(stamp_at(20, "c"), {{kTitle, text("between")}}).lost.size(), 1U);
  EXPECT_EQ(sheet.title(), "t0");
}

TEST(FieldMerge, OfAWholeObjectOnlyWhatDiffersIsAnEdit) {
  Sheet sheet;
  sheet.edit(stamp_at(20, "b"), {{kTitle, text("theirs")}});
  Row object = sheet.row.row;
  object[kColor] = text("red");
  Changes changes;
  for (std::size_t i = 1; i < object.size(); ++i) changes.emplace_back(i, object[i]);
  const MergedEdit edit = sheet.edit(stamp_at(10, "c"), changes, true);
  EXPECT_TRUE(edit.lost.empty());
  EXPECT_EQ(edit.changes, (Changes{{kColor, text("red")}}));
  const FieldStamps stamps(sheet.row.merge.stamps);
  EXPECT_EQ(stamps.of("title"), stamp_at(20, "b"));
  EXPECT_EQ(stamps.of("color"), stamp_at(10, "c"));
  EXPECT_EQ(stamps.of("owner"), stamp_at(1, "a"));
  EXPECT_TRUE(sheet.edit(stamp_at(50, "c"), changes, true).changes.empty());
}

TEST(FieldMerge, AColumnThatIsSetTwiceInOneMutationHasTheLastValue) {
  Sheet sheet;
  const MergedEdit edit = sheet.edit(stamp_at(20, "b"), {{kTitle, text("one")}, {kTitle, text("two")}});
  EXPECT_EQ(edit.changes, (Changes{{kTitle, text("two")}}));
  sheet.edit(stamp_at(20, "b"), {{kTitle, text("three")}});
  EXPECT_EQ(sheet.title(), "three");
  const MergedEdit lost = sheet.edit(stamp_at(19, "b"), {{kTitle, text("x")}, {kTitle, text("y")}});
  ASSERT_EQ(lost.lost.size(), 1U);
  EXPECT_EQ(lost.lost[0].value, text("y"));
}

TEST(FieldMerge, ATableWithoutItWritesWhateverComesLast) {
  Sheet sheet(Merge::LastWrite);
  sheet.edit(stamp_at(20, "b"), {{kTitle, text("first")}});
  EXPECT_TRUE(sheet.edit(stamp_at(10, "c"), {{kTitle, text("second")}}).lost.empty());
  EXPECT_EQ(sheet.title(), "second");
  EXPECT_EQ(sheet.row.merge.stamps, "");
}

// Three devices, three columns; two edits at one time, one that sets the value that is there. Every order of up to
// five.
TEST(FieldMerge, EveryOrderOfArrivalGivesTheSameRow) {
  const std::vector<std::pair<Hlc, Changes>> all = {
      {stamp_at(20, "a"), {{kTitle, text("a")}, {kColor, text("a")}}},
      {stamp_at(20, "b"), {{kTitle, text("b")}, {kOwner, text("b")}}},
      {stamp_at(30, "a"), {{kColor, text("c0")}}},
      {stamp_at(25, "c"), {{kTitle, text("c")}, {kColor, text("c")}, {kOwner, text("c")}}},
      {stamp_at(20, "b", 1), {{kTitle, text("b later")}, {kOwner, text("b later")}}},
  };
  std::size_t orders = 0;
  for (unsigned chosen = 1; chosen < 1U << all.size(); ++chosen) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < all.size(); ++i)
      if ((chosen >> i & 1U) != 0) order.push_back(i);
    std::set<std::pair<Row, std::string>> outcomes;
    do {
      Sheet sheet;
      for (const std::size_t i : order) sheet.edit(all[i].first, all[i].second);
      outcomes.emplace(sheet.row.row, sheet.row.merge.stamps);
      ++orders;
    } while (std::next_permutation(order.begin(), order.end()));
    ASSERT_EQ(outcomes.size(), 1U) << "of the edits " << chosen;
  }
  EXPECT_EQ(orders, 325U);
}

TEST(FieldMerge, AReplayChangesNothing) {
  Sheet sheet;
  const Changes changes = {{kTitle, text("x")}, {kColor, text("y")}};
  sheet.edit(stamp_at(20, "b"), changes);
  const MergeRow once = sheet.row;
  sheet.edit(stamp_at(20, "b"), changes);
  EXPECT_EQ(sheet.row.row, once.row);
  EXPECT_EQ(sheet.row.merge.stamps, once.merge.stamps);
}

TEST(CrdtMerge, EveryOrderOfArrivalGivesTheSameContent) {
  Pad one(1), two(2), three(3);
  std::vector<crdt::Bytes> updates = {one.type(0, "alpha ")};
  updates.push_back(one.type(6, "beta "));  // rests on the first: a gap when it comes before
  two.take(updates[0]);
  updates.push_back(two.type(0, "zero "));
  updates.push_back(three.type(0, "gamma "));
  updates.push_back(one.type(0, "start "));
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  std::set<std::string> texts;
  do {
    Sheet sheet;
    for (const std::size_t i : order) sheet.edit(stamp_at(20, "a"), {{kBody, update_of(updates[i])}});
    texts.insert(sheet.body());
    // Once more, all of it: nothing is new.
    for (const crdt::Bytes& update : updates)
      ASSERT_TRUE(sheet.edit(stamp_at(20, "a"), {{kBody, update_of(update)}}).changes.empty());
  } while (std::next_permutation(order.begin(), order.end()));
  ASSERT_EQ(texts.size(), 1U);
  for (const char* piece : {"alpha ", "beta ", "zero ", "gamma ", "start "})
    EXPECT_NE(texts.begin()->find(piece), std::string::npos) << *texts.begin();
}

TEST(CrdtMerge, NoClockDecides) {
  Sheet sheet;
  Pad one(1), two(2);
  sheet.edit(stamp_at(50, "a"), {{kBody, update_of(one.type(0, "one "))}});
  const MergedEdit late = sheet.edit(stamp_at(2, "b"), {{kBody, update_of(two.type(0, "two "))}});
  EXPECT_TRUE(late.lost.empty());
  EXPECT_EQ(sheet.body().size(), 8U);
}

TEST(CrdtMerge, AnObjectGivenBackAsItWasReadIsNoEditWhateverItsSize) {
  Sheet sheet;
  Pad one(1);
  Limits limits;
  sheet.edit(stamp_at(2, "a"), {{kBody, update_of(one.type(0, std::string(1'000, 'x')))}});
  limits.crdt_update_bytes_max = 100;
  const auto same =
      merge_edit(sheet.table, sheet.row, {{kBody, sheet.row.row[kBody]}}, true, {stamp_at(3, "a"), limits});
  ASSERT_TRUE(same);
  EXPECT_TRUE(same->changes.empty());
}

TEST(CrdtMerge, WhatIsNoUpdateOrTooLargeIsRefusedWithItsCode) {
  Sheet sheet;
  const auto code = [&](const Value& value, const Limits& limits = {}) {
    const auto edit = merge_edit(sheet.table, sheet.row, {{kBody, value}}, false, {stamp_at(2, "a"), limits});
    return edit ? "merged" : edit.error().code;
  };
  EXPECT_EQ(code(update_of({1, 2, 3})), "invalid_update");
  EXPECT_EQ(code(update_of({})), "invalid_update");
  Pad one(1);
  const Value update = update_of(one.type(0, std::string(1'000, 'x')));
  Limits small_updates, small_states;
  small_updates.crdt_update_bytes_max = 100;
  small_states.crdt_state_bytes_max = 100;
  EXPECT_EQ(code(update, small_updates), "too_large");
  EXPECT_EQ(code(update, small_states), "too_large");
  EXPECT_EQ(code(update), "merged");
  sheet.row.row[kBody] = update_of({9, 9, 9});
  EXPECT_EQ(code(update), "internal");
  const auto made = merge_new_row(sheet.table, sheet.row.row, Version{1}, rules_at(stamp_at(2, "a")));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, "invalid_update");
}

TEST(CrdtMerge, RecentUpdatesBeginWhereTheRowDoesAndHoldWhatCame) {
  Sheet sheet;  // made at version 10
  Pad one(1);
  sheet.edit(stamp_at(2, "a"), {{kBody, update_of(one.type(0, "x"))}});  // 11
  sheet.edit(stamp_at(3, "a"), {{kTitle, text("t")}});                   // 12
  sheet.edit(stamp_at(4, "a"), {{kBody, update_of(one.type(1, "y"))}});  // 13
  const RecentUpdates recent(sheet.row.merge.recent);
  EXPECT_EQ(recent.since("body", Version{9}), std::nullopt);
  EXPECT_EQ(recent.since("body", Version{10})->size(), 2U);
  EXPECT_EQ(recent.since("body", Version{12})->size(), 1U);
  Pad follower(7);
  const auto updates = recent.since("body", Version{10});
  for (const crdt::Bytes& update : *updates) follower.take(update);
  EXPECT_EQ(follower.text(), "xy");
}

TEST(CrdtMerge, WhatIsNotKnownBeginsWithTheNextWrite) {
  Sheet sheet;
  Pad one(1);
  sheet.row.merge.recent.clear();                                        // as after another program's write
  sheet.edit(stamp_at(2, "a"), {{kBody, update_of(one.type(0, "x"))}});  // 11
  EXPECT_EQ(RecentUpdates(sheet.row.merge.recent).since("body", Version{10}), std::nullopt);
  EXPECT_TRUE(RecentUpdates(sheet.row.merge.recent).since("body", Version{11})->empty());
  // And so it does when the row comes into another bucket.
  const auto moved =
      merge_edit(sheet.table, sheet.row, {{kBody, update_of(one.type(1, "y"))}}, false, rules_at(stamp_at(3, "a")));
  const MergeState state =
      merge_state(sheet.table, sheet.row.merge, *moved, true, Version{12}, rules_at(stamp_at(3, "a")));
  EXPECT_EQ(RecentUpdates(state.recent).since("body", Version{11}), std::nullopt);
  EXPECT_TRUE(RecentUpdates(state.recent).since("body", Version{12})->empty());
}

}  // namespace
}  // namespace nizhal::server
