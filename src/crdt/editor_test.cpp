#include <gtest/gtest.h>

#include <string>

#include <nizhal/crdt.hpp>

#include "crdt/column.hpp"

namespace nizhal {
namespace {

CrdtText merged(const CrdtText& value, const Blob& update) {
  auto after = crdt::merge_column(ColumnType::crdt_text, "body", value.state, update.bytes);
  EXPECT_TRUE(after) << after.error().message;
  return {after->state};
}

TEST(CrdtEditor, EditsOfTwoComeTogetherThroughTheColumn) {
  CrdtText row = crdt_text("body", "Hello");
  auto one = open_crdt("body", row);
  auto other = open_crdt("body", row);
  ASSERT_TRUE(one && other);
  ASSERT_TRUE(one->text().insert(5, " world"));
  ASSERT_TRUE(one->text().insert(11, "!"));
  ASSERT_TRUE(other->text().insert(0, "> "));
  EXPECT_TRUE(one->has_update());
  row = merged(row, one->take_update());
  EXPECT_FALSE(one->has_update());
  EXPECT_EQ(one->take_update().bytes, crdt::kEmptyUpdate);

  ASSERT_TRUE(other->apply(row));
  EXPECT_EQ(other->text().to_string(), "> Hello world!");
  row = merged(row, other->take_update());
  ASSERT_TRUE(one->apply(row));
  EXPECT_EQ(one->text().to_string(), "> Hello world!");
  EXPECT_EQ(*to_string(row, "body"), "> Hello world!");
  EXPECT_FALSE(one->has_update()) << "what others did is not to be sent again";
}

TEST(CrdtEditor, WhatApplyingCleansUpIsNoEdit) {
  CrdtText row = crdt_text("body", "Hello");
  auto one = open_crdt("body", row), other = open_crdt("body", row);
  for (auto* editor : {&one, &other}) {
    ASSERT_TRUE((*editor)->text().format(0, 5, {{"bold", "true"}}));
    row = merged(row, (*editor)->take_update());
  }
  for (auto* editor : {&one, &other}) {
    ASSERT_TRUE((*editor)->apply(row));
    EXPECT_FALSE((*editor)->has_update());
    EXPECT_EQ((*editor)->text().to_delta_json(), R"([{"insert":"Hello","attributes":{"bold":true}}])");
  }
}

TEST(CrdtEditor, MapsAreEditedKeyByKey) {
  const CrdtMap row = crdt_map("meta", {{"stars", 3}, {"tags", crdt::AnyList{"a", "b"}}});
  EXPECT_EQ(*to_json(row, "meta"), R"({"stars":3,"tags":["a","b"]})");
  auto editor = open_crdt("meta", row);
  ASSERT_TRUE(editor->map().set("stars", 4));
  const auto after = crdt::merge_column(ColumnType::crdt_map, "meta", row.state, editor->take_update().bytes);
  EXPECT_EQ(*to_json(CrdtMap{after->state}, "meta"), *to_json(editor->value(), "meta"));
  EXPECT_EQ(editor->map().get("stars"), crdt::Any(4));
}

TEST(CrdtEditor, AValueThatIsNoStateIsRefused) {
  const CrdtText damaged{.state = {7}};
  const auto opened = open_crdt("body", damaged);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
  EXPECT_FALSE(to_string(damaged, "body"));
  EXPECT_FALSE(to_json(CrdtMap{.state = {7}}, "body"));
  auto editor = open_crdt("body", crdt_text("body", "Hello"));
  EXPECT_FALSE(editor->apply(damaged));
  EXPECT_EQ(editor->text().to_string(), "Hello");
  EXPECT_EQ(*to_string(CrdtText{}, "body"), "");
  EXPECT_EQ(*to_json(CrdtMap{}, "body"), "{}");
}

// A mutator makes them on the device and again on the server.
TEST(CrdtValues, TheSameArgumentsMakeTheSameValueAndOthersAnother) {
  const CrdtText hello = crdt_text("body", "Hello");
  EXPECT_EQ(hello, crdt_text("body", "Hello"));
  EXPECT_EQ(*to_string(merged(hello, {hello.state}), "body"), "Hello");
  EXPECT_EQ(to_string(merged(hello, {crdt_text("body", "World").state}), "body")->size(), 10u);
  EXPECT_EQ(crdt_text("body", "").state, crdt::kEmptyUpdate);
  EXPECT_EQ(crdt_map("meta", {}).state, crdt::kEmptyUpdate);
  EXPECT_EQ(*to_string(crdt_text("body", "a\xff"), "body"), "a\xEF\xBF\xBD");
  const CrdtMap broken = crdt_map("meta", {{"k\xff", crdt::AnyObject{{"in", "\xff"}}}});
  EXPECT_EQ(*to_json(broken, "meta"), "{\"k\xEF\xBF\xBD\":{\"in\":\"\xEF\xBF\xBD\"}}");
}

TEST(CrdtValues, ClientIdsAreRandomAndNotZero) {
  const std::uint64_t one = new_crdt_client_id(), other = new_crdt_client_id();
  EXPECT_NE(one, 0u);
  EXPECT_LE(one, 0xFFFFFFFFu);
  EXPECT_NE(one, other);
}

TEST(CrdtText, AssignReplacesOnlyWhatDiffers) {
  const auto after = [](const std::string& before, const std::string& wanted) {
    crdt::Document document(5);
    crdt::Text text = document.text("t");
    EXPECT_TRUE(text.insert(0, before));
    crdt::Delta told;
    text.observe([&](const crdt::TextEvent& event) { told = event.delta(); });
    EXPECT_TRUE(text.assign(wanted));
    EXPECT_EQ(text.to_string(), wanted);
    return crdt::to_json(told);
  };
  EXPECT_EQ(after("one two three", "one 2 three"), R"([{"retain":4},{"delete":3},{"insert":"2"}])");
  EXPECT_EQ(after("same", "same"), "[]");
  EXPECT_EQ(after("", "new"), R"([{"insert":"new"}])");
  EXPECT_EQ(after("old", ""), R"([{"delete":3}])");
  EXPECT_EQ(after("aaa", "aa"), R"([{"retain":2},{"delete":1}])");
  // é and è share their first byte, 😀 and 😁 their first three, é and 橩 their last.
  EXPECT_EQ(after("xéy", "xèy"), R"([{"retain":1},{"delete":1},{"insert":"è"}])");
  EXPECT_EQ(after("x😀y", "x😁y"), R"([{"retain":1},{"delete":2},{"insert":"😁"}])");
  EXPECT_EQ(after("é", "橩"), R"([{"delete":1},{"insert":"橩"}])");
}

TEST(CrdtText, AssignKeepsAttributesAroundAndDropsEmbeds) {
  crdt::Document document(5);
  crdt::Text text = document.text("t");
  ASSERT_TRUE(text.insert(0, "ab", {{"bold", "true"}}));
  ASSERT_TRUE(text.insert(2, "cd", {}));
  ASSERT_TRUE(text.insert_embed(3, R"({"image":1})"));
  ASSERT_TRUE(text.assign("abcXd"));
  EXPECT_EQ(text.to_delta_json(), R"([{"insert":"ab","attributes":{"bold":true}},{"insert":"cXd"}])");
  EXPECT_FALSE(text.assign("\xff"));
}

}  // namespace
}  // namespace nizhal
