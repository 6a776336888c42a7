#include "crdt/column.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <nizhal/crdt.hpp>

#include "base/test_seed.hpp"
#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

constexpr auto kText = ColumnType::crdt_text;
constexpr auto kMap = ColumnType::crdt_map;

std::string text_of(const Bytes& state) {
  Document document(0);
  EXPECT_TRUE(document.apply_update(state));
  return document.text("body").to_delta_json();
}

// What edits of a document are as updates, one by one.
std::vector<Bytes> edits(std::uint64_t client, const Bytes& state, const std::function<void(Text&)>& edit) {
  Document document(client);
  EXPECT_TRUE(document.apply_update(state));
  std::vector<Bytes> updates;
  document.on_update([&](const Bytes& update, const Origin&) { updates.push_back(update); });
  Text text = document.text("body");
  edit(text);
  return updates;
}
Bytes insertion(std::uint64_t client, const Bytes& state, std::uint64_t at, const std::string& text) {
  return edits(client, state, [&](Text& body) { EXPECT_TRUE(body.insert(at, text)); }).at(0);
}

TEST(CrdtColumn, AnUpdateIsMergedAndToldAgain) {
  const auto first = merge_column(kText, "body", {}, insertion(5, kEmptyUpdate, 0, "one"));
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(first->is_changed);
  const Bytes here = insertion(6, first->state, 3, " two");
  const Bytes there = insertion(7, first->state, 0, "zero ");
  const auto second = merge_column(kText, "body", first->state, here);
  const auto third = merge_column(kText, "body", second->state, there);
  EXPECT_EQ(text_of(third->state), R"([{"insert":"zero one two"}])");
  EXPECT_EQ(text_of(merge_column(kText, "body", second->state, third->update)->state), text_of(third->state));
  EXPECT_EQ(merge_column(kText, "body", second->state, there)->state, third->state);
}

TEST(CrdtColumn, NothingNewIsNoChange) {
  const Bytes update = insertion(5, kEmptyUpdate, 0, "one");
  const Bytes state = merge_column(kText, "body", {}, update)->state;
  for (const Bytes& known : {update, state, kEmptyUpdate}) {
    const auto merged = merge_column(kText, "body", state, known);
    ASSERT_TRUE(merged);
    EXPECT_FALSE(merged->is_changed);
    EXPECT_EQ(merged->state, state);
    EXPECT_EQ(merged->update, kEmptyUpdate);
  }
  const auto nothing = merge_column(kMap, "body", {}, kEmptyUpdate);
  EXPECT_FALSE(nothing->is_changed);
  EXPECT_EQ(nothing->state, kEmptyUpdate);
}

TEST(CrdtColumn, OfMapsEachKeyIsMerged) {
  const auto set = [](std::uint64_t client, const Bytes& state, const char* key, int value) {
    Document document(client);
    EXPECT_TRUE(document.apply_update(state));
    EXPECT_TRUE(document.map("fields").set(key, value));
    return document.encode_state_as_update();
  };
  Bytes state = merge_column(kMap, "fields", {}, set(5, kEmptyUpdate, "a", 1))->state;
  const Bytes one = set(6, state, "a", 2), other = set(7, state, "b", 3);
  state = merge_column(kMap, "fields", state, one)->state;
  state = merge_column(kMap, "fields", state, other)->state;
  Document document(0);
  ASSERT_TRUE(document.apply_update(state));
  EXPECT_EQ(document.map("fields").get("a"), Any(2));
  EXPECT_EQ(document.map("fields").get("b"), Any(3));
}

// What was deleted is forgotten, and formats that two made needless are deleted by the merge, which tells so.
TEST(CrdtColumn, DeletedTextIsForgottenAndNeedlessFormatsAreDeleted) {
  Bytes state = merge_column(kText, "body", {}, insertion(5, kEmptyUpdate, 0, std::string(1000, 'a')))->state;
  state =
      merge_column(kText, "body", state, edits(6, state, [](Text& text) { EXPECT_TRUE(text.remove(0, 990)); }).at(0))
          ->state;
  EXPECT_LT(state.size(), 60u);

  const auto bold = [](Text& text) { EXPECT_TRUE(text.format(0, 10, {{"bold", "true"}})); };
  const Bytes one = edits(7, state, bold).at(0), other = edits(8, state, bold).at(0);
  const Bytes before = merge_column(kText, "body", state, one)->state;
  const auto merged = merge_column(kText, "body", before, other);
  EXPECT_EQ(text_of(merged->state), R"([{"insert":"aaaaaaaaaa","attributes":{"bold":true}}])");
  Document deleted_also(0), just_the_update(0);
  ASSERT_TRUE(deleted_also.apply_update(before));
  ASSERT_TRUE(just_the_update.apply_update(before));
  ASSERT_TRUE(deleted_also.apply_update(merged->update));
  ASSERT_TRUE(just_the_update.apply_update(other));
  EXPECT_EQ(deleted_also.encode_state_as_update(), merged->state);
  EXPECT_NE(just_the_update.encode_state_as_update(), merged->state);
}

TEST(CrdtColumn, WhatLacksItsCausesWaitsInTheState) {
  const auto typed = edits(5, kEmptyUpdate, [](Text& text) {
    EXPECT_TRUE(text.insert(0, "a"));
    EXPECT_TRUE(text.insert(1, "b"));
    EXPECT_TRUE(text.insert(2, "c"));
    EXPECT_TRUE(text.remove(1, 1));
  });
  ASSERT_EQ(typed.size(), 4u);
  const auto late = merge_column(kText, "body", {}, typed[2]);
  ASSERT_TRUE(late->is_changed);
  EXPECT_EQ(text_of(late->state), "[]");
  EXPECT_FALSE(merge_column(kText, "body", late->state, typed[2])->is_changed);
  const auto deleted = merge_column(kText, "body", late->state, typed[3]);
  ASSERT_TRUE(deleted->is_changed);
  const auto first = merge_column(kText, "body", deleted->state, typed[0]);
  EXPECT_EQ(text_of(first->state), R"([{"insert":"a"}])");
  const auto all = merge_column(kText, "body", first->state, typed[1]);
  EXPECT_EQ(text_of(all->state), R"([{"insert":"ac"}])");

  // Whoever follows by what the merges told has the same, whatever waited.
  Document follower(0);
  (void)follower.text("body");
  for (const auto* merged : {&late, &deleted, &first, &all}) {
    ASSERT_TRUE(follower.apply_update((*merged)->update));
    EXPECT_EQ(follower.has_pending(), merged != &all);
  }
  EXPECT_EQ(follower.text("body").to_string(), "ac");
}

TEST(CrdtColumn, MergesInEveryOrderSayTheSame) {
  SeededRandom random(test_seed("column"));
  for (int round = 0; round < 20; ++round) {
    std::vector<Bytes> updates;
    for (std::uint64_t client = 1; client <= 3; ++client) {
      const auto of_client = edits(client, kEmptyUpdate, [&](Text& text) {
        for (int i = 0; i < 6; ++i) {
          const std::uint64_t at = random.below(text.length() + 1);
          if (random.below(3) > 0)
            EXPECT_TRUE(text.insert(at, std::string(1 + random.below(4), static_cast<char>('a' + client))));
          else if (random.below(2) == 0)
            EXPECT_TRUE(text.remove(at, random.below(text.length() - at + 1)));
          else
            EXPECT_TRUE(text.format(at, random.below(text.length() - at + 1), {{"b", random.below(2) ? "1" : "null"}}));
        }
      });
      updates.insert(updates.end(), of_client.begin(), of_client.end());
    }
    std::string wanted;
    for (int order = 0; order < 6; ++order) {
      Bytes state;
      Document follower(0);
      (void)follower.text("body");
      for (const Bytes& update : updates) {
        const auto merged = merge_column(kText, "body", state, update);
        ASSERT_TRUE(merged);
        ASSERT_EQ(merged->state, merge_column(kText, "body", state, update)->state);
        state = merged->state;
        ASSERT_TRUE(follower.apply_update(merged->update));
      }
      if (order == 0) wanted = text_of(state);
      ASSERT_EQ(text_of(state), wanted);
      ASSERT_EQ(follower.text("body").to_delta_json(), wanted);
      for (std::size_t i = updates.size(); i > 1; --i) std::swap(updates[i - 1], updates[random.below(i)]);
    }
  }
}

TEST(CrdtColumn, WhatIsNoUpdateIsRefusedAndADamagedStateIsTold) {
  const Bytes state = merge_column(kText, "body", {}, insertion(5, kEmptyUpdate, 0, "one"))->state;
  Bytes cut = state;
  cut.pop_back();
  for (const Bytes& wrong : {Bytes{}, Bytes{0}, cut}) {
    const auto refused = merge_column(kText, "body", state, wrong);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::bad_request);
  }
  const auto damaged = merge_column(kText, "body", cut, state);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::corrupt);
  EXPECT_NE(damaged.error().message.find("\"body\""), std::string::npos);
}

TEST(CrdtColumn, SizesAreLimitedBeforeAndAfter) {
  const Bytes state = merge_column(kText, "body", {}, insertion(5, kEmptyUpdate, 0, std::string(500, 'a')))->state;
  const Bytes update = insertion(6, state, 0, std::string(500, 'b'));
  const auto code = [&](const MergeLimits& limits) {
    const auto merged = merge_column(kText, "body", state, update, limits);
    return merged ? std::string("merged") : std::string(to_string(merged.error().code));
  };
  EXPECT_EQ(code({.update_bytes_max = update.size(), .state_bytes_max = state.size() + update.size()}), "merged");
  EXPECT_EQ(code({.update_bytes_max = update.size() - 1}), "invalid_args");
  EXPECT_EQ(code({.state_bytes_max = state.size() - 1}), "invalid_args");
  EXPECT_EQ(code({.state_bytes_max = state.size() + 400}), "invalid_args");
}

// A text of one client, and `count` blocks of another, each with a character of it on the side that `origin` names.
Bytes claims_on_a_text(std::uint64_t length, std::uint64_t count, std::uint8_t origin) {
  Writer out;
  out.var_uint(2);
  out.var_uint(1);
  out.var_uint(2);
  out.var_uint(0);
  out.byte(4);
  out.var_uint(1);
  out.var_string("body");
  out.var_string(std::string(length, 'a'));
  out.var_uint(count);
  out.var_uint(1);
  out.var_uint(0);
  for (std::uint64_t i = 0; i < count; ++i) {
    out.byte(4 | origin);
    out.id({2, i});
    out.var_string("x");
  }
  out.var_uint(0);
  return out.take();
}
// Blocks that all claim the place before the text, each up to another character of it: every one is compared with all.
Bytes claim_one_place(std::uint64_t count) { return claims_on_a_text(count, count, 64); }
// A text that is cut at every place, from the front.
Bytes cut_everywhere(std::uint64_t count) { return claims_on_a_text(count * 8, count, 128); }
// Deletions one over the other: each walks over all blocks.
Bytes delete_again_and_again(const Bytes& blocks, std::uint64_t count) {
  Writer out;
  out.raw(std::string_view(reinterpret_cast<const char*>(blocks.data()), blocks.size() - 1));
  out.var_uint(1);
  out.var_uint(1);
  out.var_uint(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    out.var_uint(0);
    out.var_uint(1'000'000);
  }
  return out.take();
}

TEST(CrdtColumn, TheStateItselfChangesNothingHoweverLargeItIs) {
  const Bytes state = merge_column(kText, "body", {}, insertion(5, kEmptyUpdate, 0, std::string(500, 'a')))->state;
  const auto merged = merge_column(kText, "body", state, state, {.update_bytes_max = 100, .state_bytes_max = 100});
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_FALSE(merged->is_changed);
  EXPECT_EQ(merged->state, state);
  EXPECT_EQ(merged->update, kEmptyUpdate);
}

TEST(CrdtColumn, AHostileUpdateEndsWithinTheStepsAllowed) {
  const Bytes state = merge_column(kText, "body", {}, insertion(5, kEmptyUpdate, 0, "one"))->state;
  const Bytes small = claim_one_place(100);
  const Bytes updates[] = {claim_one_place(30'000), delete_again_and_again(claim_one_place(3'000), 50'000),
                           cut_everywhere(16'000)};
  for (const Bytes& hostile : updates) {
    ASSERT_LE(hostile.size(), 256u << 10);
    Document document(0, {.steps_max = 100'000});
    EXPECT_FALSE(document.apply_update(hostile));
    EXPECT_LT(document.steps(), 110'000u);  // what is under way ends; nothing is begun
    EXPECT_FALSE(document.apply_update(small)) << "the document is of no use any more";

    const auto refused = merge_column(kText, "body", state, hostile, {.steps_max = 100'000});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_args);
    const auto opened = merge_column(kText, "body", hostile, state, {.steps_max = 100'000});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::invalid_args);
  }
  EXPECT_TRUE(merge_column(kText, "body", state, small, {.steps_max = 100'000}));
  EXPECT_FALSE(merge_column(kText, "body", state, updates[0])) << "also within what callers allow by default";
}

// Far from the bound: a long text typed by many at changing places, with formats.
TEST(CrdtColumn, WhatPeopleWriteTakesFewSteps) {
  SeededRandom random(test_seed("column"));
  Document one(5), other(6);
  Text here = one.text("body"), there = other.text("body");
  for (int i = 0; i < 6'000; ++i) {
    Text& text = random.below(2) == 0 ? here : there;
    const std::uint64_t at = random.below(text.length() + 1);
    ASSERT_TRUE(text.insert(at, "word "));
    if (i % 7 == 0) {
      EXPECT_TRUE(text.format(at, 4, {{"bold", "true"}}));
    }
    if (i % 5 == 0) {
      EXPECT_TRUE(text.remove(at, 2));
    }
    if (i % 10 == 0) {
      ASSERT_TRUE(one.apply_update(*other.encode_state_as_update(one.encode_state_vector())));
      ASSERT_TRUE(other.apply_update(*one.encode_state_as_update(other.encode_state_vector())));
    }
  }
  Document document(0, {.steps_max = kMergeStepsMax});
  ASSERT_TRUE(document.apply_update(one.encode_state_as_update()));
  ASSERT_TRUE(document.apply_update(other.encode_state_as_update()));
  EXPECT_LT(document.steps(), kMergeStepsMax / 100);
}

}  // namespace
}  // namespace nizhal::crdt
