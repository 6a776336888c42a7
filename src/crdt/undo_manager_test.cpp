#include <gtest/gtest.h>

#include <nizhal/crdt.hpp>

#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

TEST(UndoManager, UndoesOnesOwnChangesAndLeavesThoseOfOthers) {
  Document mine(1), other(2);
  Text text = mine.text("t");
  UndoManager undo(mine, {text.node()});
  ASSERT_TRUE(text.insert(0, "mine"));
  ASSERT_TRUE(other.apply_update(mine.encode_state_as_update()));
  ASSERT_TRUE(other.text("t").insert(2, "THEIRS"));
  ASSERT_TRUE(mine.apply_update(other.encode_state_as_update(), "remote"));
  EXPECT_EQ(text.to_string(), "miTHEIRSne");
  EXPECT_TRUE(undo.undo());
  EXPECT_EQ(text.to_string(), "THEIRS");
  EXPECT_FALSE(undo.undo());
  EXPECT_TRUE(undo.redo());
  EXPECT_EQ(text.to_string(), "miTHEIRSne");
  ASSERT_TRUE(other.apply_update(mine.encode_state_as_update()));
  EXPECT_EQ(other.text("t").to_string(), "miTHEIRSne");
}

TEST(UndoManager, BringsBackWhatWasDeletedAndFormatted) {
  Document document(1);
  Text text = document.text("t");
  ASSERT_TRUE(text.insert(0, "some words"));
  UndoManager undo(document, {text.node()});
  ASSERT_TRUE(text.format(0, 4, {{"bold", "true"}}));
  ASSERT_TRUE(text.remove(2, 5));
  EXPECT_EQ(text.to_string(), "sords");
  EXPECT_TRUE(undo.undo());
  EXPECT_EQ(text.to_delta_json(), R"([{"insert":"some","attributes":{"bold":true}},{"insert":" words"}])");
  EXPECT_TRUE(undo.undo());
  EXPECT_EQ(text.to_delta_json(), R"([{"insert":"some words"}])");
}

TEST(UndoManager, ChangesWithinTheTimeAreOneStep) {
  Document document(1);
  Text text = document.text("t");
  std::chrono::milliseconds now{1'000};
  UndoManager undo(document, {text.node()}, {.now = [&] { return now; }});
  for (const char* key : {"a", "b", "c"}) {
    ASSERT_TRUE(text.insert(text.length(), key));
    now += std::chrono::milliseconds(100);
  }
  now += std::chrono::seconds(1);
  ASSERT_TRUE(text.insert(3, "later"));
  EXPECT_TRUE(undo.undo());
  EXPECT_EQ(text.to_string(), "abc");
  EXPECT_TRUE(undo.undo());
  EXPECT_EQ(text.to_string(), "");
}

TEST(UndoManager, SetsKeysBackUnlessSomebodyElseHasSetThemSince) {
  Document document(1), other(2);
  Map map = document.map("m");
  ASSERT_TRUE(map.set("k", "first"));
  UndoManager undo(document, {map.node()});
  ASSERT_TRUE(map.set("k", "second"));
  EXPECT_TRUE(undo.undo());
  EXPECT_EQ(map.get("k"), Any("first"));
  EXPECT_TRUE(undo.redo());
  EXPECT_EQ(map.get("k"), Any("second"));
  ASSERT_TRUE(other.apply_update(document.encode_state_as_update()));
  ASSERT_TRUE(other.map("m").set("k", "theirs"));
  ASSERT_TRUE(document.apply_update(other.encode_state_as_update(), "remote"));
  undo.undo();
  EXPECT_EQ(map.get("k"), Any("theirs"));
}

// The higher client id would win the key, so only looking at what others did keeps theirs.
TEST(UndoManager, DoesNotTakeAKeyFromALowerClient) {
  Document document(5), other(2);
  Map map = document.map("m");
  ASSERT_TRUE(map.set("k", "first"));
  UndoManager undo(document, {map.node()});
  ASSERT_TRUE(map.set("k", "second"));
  ASSERT_TRUE(other.apply_update(document.encode_state_as_update()));
  ASSERT_TRUE(other.map("m").set("k", "theirs"));
  ASSERT_TRUE(document.apply_update(other.encode_state_as_update(), "remote"));
  undo.undo();
  EXPECT_EQ(map.get("k"), Any("theirs"));
}

TEST(UndoManager, TracksTheOriginsThatItIsTold) {
  Document document(1);
  Text text = document.text("t");
  UndoManager undo(document, {text.node()}, {.tracked_origins = {"editor"}});
  document.transact("import", [&] { ASSERT_TRUE(text.insert(0, "imported")); });
  EXPECT_FALSE(undo.can_undo());
  document.transact("editor", [&] { ASSERT_TRUE(text.insert(0, "typed ")); });
  EXPECT_TRUE(undo.undo());
  EXPECT_EQ(text.to_string(), "imported");
}

TEST(RelativePosition, StaysWithItsCharacterWhileOthersEdit) {
  Document document(1);
  Text text = document.text("t");
  ASSERT_TRUE(text.insert(0, "hello world"));
  const auto before_w = relative_position(text, 6);
  const auto behind_o = relative_position(text, 5, Side::left);
  const auto end = relative_position(text, 11);
  ASSERT_TRUE(text.insert(0, ">> "));
  ASSERT_TRUE(text.insert(text.length(), "!"));
  EXPECT_EQ(absolute_position(document, before_w)->index, 9u);
  EXPECT_EQ(absolute_position(document, behind_o)->index, 8u);
  EXPECT_EQ(absolute_position(document, end)->index, 15u);
  ASSERT_TRUE(text.remove(0, text.length()));
  EXPECT_EQ(absolute_position(document, before_w)->index, 0u);
  EXPECT_EQ(*decode_relative_position(encode(before_w)),
            (RelativePosition{.item = {1, 6}, .root_name = std::nullopt, .type = {}, .association = 0}));
  EXPECT_FALSE(decode_relative_position(Bytes{9}));
  EXPECT_FALSE(absolute_position(Document(2), before_w));
}

}  // namespace
}  // namespace nizhal::crdt
