// Updates with bytes changed, cut, repeated and spliced: whatever they are, nothing crashes, a document that took them
// can still be written and read, and what is refused changes nothing. The same bytes every time; crdt_fuzz.cpp looks
// further.
#include <gtest/gtest.h>

#include <nizhal/crdt.hpp>

#include "base/test_seed.hpp"
#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

std::vector<Bytes> good_updates() {
  std::vector<Bytes> updates;
  Document document(3), other(300);
  document.on_update([&](const Bytes& update, const Origin&) { updates.push_back(update); });
  Text text = document.text("t");
  Map map = document.map("m");
  UndoManager undo(document, {text.node(), map.node()});
  EXPECT_TRUE(text.insert(0, "hello é😀 world"));
  EXPECT_TRUE(text.format(2, 5, {{"bold", "true"}, {"link", R"({"href":"x"})"}}));
  EXPECT_TRUE(text.insert_embed(3, R"({"image":[1,2]})"));
  EXPECT_TRUE(map.set("k", AnyObject{{"a", AnyList{Any(1), Any(-2.5)}}, {"b", Any(Bytes{1, 2})}}));
  EXPECT_TRUE(map.set_text("n")->insert(0, "nested"));
  EXPECT_TRUE(map.set_map("o")->set("p", 1));
  EXPECT_TRUE(other.apply_update(document.encode_state_as_update()));
  other.on_update([&](const Bytes& update, const Origin&) { updates.push_back(update); });
  EXPECT_TRUE(other.text("t").insert(4, "concurrent"));
  EXPECT_TRUE(text.remove(1, 6));
  map.remove("n");
  undo.undo();
  undo.undo();
  updates.push_back(document.encode_state_as_update());
  updates.push_back(*merge_updates(std::vector<Bytes>{updates[0], updates[5], updates[3]}));
  return updates;
}

Bytes mutated(const std::vector<Bytes>& good, Random& random) {
  Bytes bytes = good[random.below(good.size())];
  for (std::uint64_t i = 1 + random.below(4); i > 0 && !bytes.empty(); --i) {
    const std::size_t at = random.below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random.below(6)) {
      case 0:
        bytes[at] = static_cast<std::uint8_t>(random.below(256));
        break;
      case 1:
        bytes[at] = static_cast<std::uint8_t>(bytes[at] + 1 - 2 * random.below(2));
        break;
      case 2:
        bytes.erase(place);
        break;
      case 3:
        bytes.insert(place, static_cast<std::uint8_t>(random.below(256)));
        break;
      case 4:
        bytes.resize(at);
        break;
      default: {
        const Bytes& other = good[random.below(good.size())];
        bytes.resize(at);
        const auto from = static_cast<std::ptrdiff_t>(random.below(other.size()));
        bytes.insert(bytes.end(), other.begin() + from, other.end());
      }
    }
  }
  return bytes;
}

TEST(MutatedUpdates, AreRefusedOrLeaveADocumentThatStillWorks) {
  SeededRandom random(test_seed("mutations"));
  const std::vector<Bytes> good = good_updates();
  std::size_t applied_count = 0;
  for (int i = 0; i < 3'000; ++i) {
    Document document(kNumberMax);  // an id that no mutation makes
    for (int k = 0; k < 4; ++k) {
      const Bytes bytes = random.below(2) == 0 ? good[random.below(good.size())] : mutated(good, random);
      const Bytes before = document.encode_state_as_update();
      const auto applied = document.apply_update(bytes);
      if (applied)
        ++applied_count;
      else
        ASSERT_EQ(document.encode_state_as_update(), before);
      ASSERT_EQ(applied.has_value(), check_update(bytes).has_value());
    }
    Text text = document.text("t");
    if (text.length() > 2) {
      (void)text.insert(text.length() / 2, "x");  // refused within a surrogate pair
      ASSERT_TRUE(text.insert(text.length(), "x"));
      ASSERT_TRUE(text.remove(text.length() - 1, 1));
    }
    (void)document.map("m").to_json();
    (void)text.to_delta_json();
    const Bytes state = document.encode_state_as_update();
    Document copy(10);
    ASSERT_TRUE(copy.apply_update(state));
    // What waits may contradict what is there, under the same id; written together, one of the two is cut.
    if (document.has_pending()) continue;
    ASSERT_EQ(copy.text("t").to_string(), text.to_string());
    ASSERT_EQ(copy.encode_state_vector(), document.encode_state_vector());
  }
  EXPECT_GT(applied_count, 6'000u);
}

TEST(MutatedUpdates, MergeLikeAnyOther) {
  SeededRandom random(test_seed("mutations"));
  const std::vector<Bytes> good = good_updates();
  for (int i = 0; i < 3'000; ++i) {
    const std::vector<Bytes> both{mutated(good, random), good[random.below(good.size())]};
    const auto merged = merge_updates(both);
    ASSERT_EQ(merged.has_value(), check_update(both[0]).has_value());
    if (!merged) continue;
    ASSERT_TRUE(check_update(*merged));
    ASSERT_TRUE(state_vector_of_update(*merged));
    ASSERT_TRUE(diff_update(*merged, *state_vector_of_update(both[1])));
  }
}

// Types within types, as deep as an update can say: nothing may use the call stack for it.
TEST(MutatedUpdates, NestingIsNotRecursion) {
  constexpr std::uint64_t kDepth = 200'000;
  Writer out;
  out.var_uint(1);
  out.var_uint(kDepth);
  out.var_uint(5);
  out.var_uint(0);
  for (std::uint64_t i = 0; i < kDepth; ++i) {
    out.byte(7);
    out.var_uint(i == 0 ? 1 : 0);
    if (i == 0)
      out.var_string("t");
    else
      out.id({5, i - 1});
    out.var_uint(0);  // an array
  }
  out.var_uint(0);
  const Bytes deep = out.take();
  Document document(1);
  ASSERT_TRUE(document.apply_update(deep));
  EXPECT_EQ(document.text("t").length(), 1u);
  EXPECT_EQ(document.text("t").to_delta().size(), 1u);
  EXPECT_GT(document.text("t").to_delta_json().size(), 200u);
  EXPECT_EQ(document.encode_state_as_update(), deep);
  ASSERT_TRUE(document.text("t").remove(0, 1));
  EXPECT_LT(document.encode_state_as_update().size(), 40u);
}

// Lengths and counts that the bytes do not back.
TEST(MutatedUpdates, HugeCountsTakeNoMemory) {
  const Bytes counts[] = {
      {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f},
      {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 5, 0},
      {1, 1, 5, 0, 8, 1, 1, 't', 0xff, 0xff, 0xff, 0xff, 0x0f},
      {1, 1, 5, 0, 4, 1, 1, 't', 0xff, 0xff, 0xff, 0xff, 0x0f},
      {0, 1, 5, 0xff, 0xff, 0xff, 0xff, 0x0f},
  };
  for (const Bytes& bytes : counts) EXPECT_FALSE(Document(1).apply_update(bytes));
  // A long run of garbage is one block.
  Document document(1);
  EXPECT_TRUE(document.apply_update(Bytes{1, 1, 5, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}));
  EXPECT_FALSE(document.apply_update(Bytes{1, 2, 6, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 9, 0}));
}

}  // namespace
}  // namespace nizhal::crdt
