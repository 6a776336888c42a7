#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "base/test_seed.hpp"
#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

Bytes insert_of(std::uint64_t client, const Bytes& base, std::uint64_t at, std::string_view text) {
  Document document(client);
  EXPECT_TRUE(document.apply_update(base));
  const Bytes before = document.encode_state_vector();
  EXPECT_TRUE(document.text("t").insert(at, text));
  return *document.encode_state_as_update(before);
}

TEST(Document, TwoInsertionsHaveTheBytesThatYjsGivesThem) {
  Document document(1);
  ASSERT_TRUE(document.text("t").insert(0, "hello"));
  Document other(2);
  ASSERT_TRUE(other.apply_update(document.encode_state_as_update()));
  ASSERT_TRUE(other.text("t").insert(5, " world"));
  EXPECT_EQ(to_hex(other.encode_state_as_update()), "020102008401040620776f726c64010100040101740568656c6c6f00");
  EXPECT_EQ(other.text("t").to_string(), "hello world");
  EXPECT_EQ(to_hex(other.encode_state_vector()), "0202060105");
}

TEST(Document, ANewDocumentIsTheEmptyUpdate) {
  EXPECT_EQ(Document(1).encode_state_as_update(), kEmptyUpdate);
  EXPECT_EQ(to_base64(kEmptyUpdate), "AAA=");
}

TEST(Document, TypingMakesOneBlock) {
  Document document(7);
  Text text = document.text("t");
  for (const char c : std::string("typing")) ASSERT_TRUE(text.insert(text.length(), std::string_view(&c, 1)));
  EXPECT_EQ(to_hex(document.encode_state_as_update()),
            "0101070004010174"
            "06747970696e6700");
}

TEST(Document, ConcurrentInsertionsConvergeInEveryOrder) {
  Document base(1);
  ASSERT_TRUE(base.text("t").insert(0, "ab"));
  const Bytes start = base.encode_state_as_update();
  std::vector<Bytes> updates{start, insert_of(2, start, 1, "xyz"), insert_of(3, start, 1, "123"),
                             insert_of(4, start, 2, "!")};
  updates.push_back(insert_of(5, *merge_updates(updates), 3, "mid"));
  std::vector<int> order{0, 1, 2, 3, 4};
  std::string expected;
  do {
    Document document(9);
    for (const int i : order) ASSERT_TRUE(document.apply_update(updates[static_cast<std::size_t>(i)]));
    EXPECT_FALSE(document.has_pending());
    const std::string text = document.text("t").to_string();
    if (expected.empty()) expected = text;
    ASSERT_EQ(text, expected);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(expected.size(), 2u + 3 + 3 + 1 + 3);
}

TEST(Document, WhatCannotBeAppliedYetIsPartOfTheState) {
  Document base(1);
  ASSERT_TRUE(base.text("t").insert(0, "ab"));
  const Bytes first = base.encode_state_as_update();
  const Bytes second = insert_of(2, first, 1, "x");
  Document late(9), later(10);
  ASSERT_TRUE(late.apply_update(second));
  EXPECT_TRUE(late.has_pending());
  EXPECT_EQ(late.text("t").to_string(), "");
  ASSERT_TRUE(later.apply_update(late.encode_state_as_update()));
  ASSERT_TRUE(later.apply_update(first));
  EXPECT_EQ(later.text("t").to_string(), "axb");
  EXPECT_FALSE(later.has_pending());
}

TEST(Document, MalformedUpdatesAreRefusedAndChangeNothing) {
  Document document(1);
  ASSERT_TRUE(document.text("t").insert(0, "ab"));
  const Bytes before = document.encode_state_as_update();
  for (const char* hex : {"01", "0101", "010105000400", "01010500ff", "010105008405ffffffffffff0f0161", "000101ffff"}) {
    Bytes bytes;
    for (std::size_t i = 0; hex[i]; i += 2)
      bytes.push_back(static_cast<std::uint8_t>(std::stoi(std::string(hex + i, 2), nullptr, 16)));
    const auto applied = document.apply_update(bytes);
    ASSERT_FALSE(applied) << hex;
    EXPECT_EQ(applied.error().code, ErrorCode::bad_request);
  }
  EXPECT_EQ(document.encode_state_as_update(), before);
}

// A naive copy of the text beside the document: insertions, deletions, long texts, so that the position index splits.
TEST(Document, PositionsAreFoundAlsoInLongTexts) {
  SeededRandom random(test_seed("positions"));
  Document document(1);
  Text text = document.text("t");
  std::string naive;
  for (int i = 0; i < 6000; ++i) {
    const std::uint64_t at = random.below(naive.size() + 1);
    if (naive.size() > 10 && random.below(3) == 0) {
      const std::uint64_t length = std::min<std::uint64_t>(random.below(6), naive.size() - at);
      naive.erase(at, length);
      ASSERT_TRUE(text.remove(at, length));
    } else {
      const std::string piece(1 + random.below(4), static_cast<char>('a' + random.below(26)));
      naive.insert(at, piece);
      ASSERT_TRUE(text.insert(at, piece));
    }
    if (i % 500 == 0) {
      ASSERT_EQ(text.to_string(), naive);
      Document copy(2);
      ASSERT_TRUE(copy.apply_update(document.encode_state_as_update()));
      ASSERT_EQ(copy.text("t").to_string(), naive);
    }
  }
  EXPECT_EQ(text.to_string(), naive);
}

TEST(Document, PositionsAreUtf16CodeUnits) {
  Document document(1);
  Text text = document.text("t");
  ASSERT_TRUE(text.insert(0, "aé😀b"));
  EXPECT_EQ(text.length(), 5u);
  EXPECT_EQ(utf16_from_byte("aé😀b", 7), 4u);
  ASSERT_TRUE(text.insert(4, "-"));
  EXPECT_EQ(text.to_string(), "aé😀-b");
  EXPECT_FALSE(text.insert(3, "|"));  // between the halves of a pair
  EXPECT_FALSE(text.remove(1, 2));
  // "|" with origin (1, 2) and right origin (1, 3), as Yjs lets it be made.
  ASSERT_TRUE(document.apply_update(Bytes{1, 1, 2, 0, 0xC4, 1, 2, 1, 3, 1, '|', 0}));
  EXPECT_EQ(text.to_string(), "aé\uFFFD|\uFFFD-b");
  EXPECT_FALSE(text.insert(99, "x"));
  EXPECT_FALSE(text.remove(3, 99));
  EXPECT_FALSE(text.insert(0, "\xff"));
}

TEST(Document, FormattingRendersAsDelta) {
  Document document(1);
  Text text = document.text("t");
  ASSERT_TRUE(text.insert(0, "hello world"));
  ASSERT_TRUE(text.format(0, 5, {{"bold", "true"}}));
  ASSERT_TRUE(text.insert_embed(5, R"({"image":"x.png"})"));
  ASSERT_TRUE(text.insert(3, "LL"));
  EXPECT_EQ(text.to_delta_json(),
            R"([{"insert":"helLLlo","attributes":{"bold":true}},{"insert":{"image":"x.png"}},{"insert":" world"}])");
  ASSERT_TRUE(text.format(0, 7, {{"bold", "null"}}));
  EXPECT_EQ(text.to_delta_json(), R"([{"insert":"helLLlo"},{"insert":{"image":"x.png"}},{"insert":" world"}])");
}

TEST(Document, MapsKeepTheNewestValue) {
  Document document(1), other(2);
  Map map = document.map("m");
  ASSERT_TRUE(map.set("title", "one"));
  ASSERT_TRUE(map.set("title", "two"));
  ASSERT_TRUE(map.set("n", AnyList{Any(1), Any(2.5), Any(nullptr), Any(true)}));
  ASSERT_TRUE(map.set("bytes", Bytes{1, 2, 3}));
  auto body = map.set_text("body");
  ASSERT_TRUE(body);
  ASSERT_TRUE(body->insert(0, "nested"));
  map.remove("title");
  ASSERT_TRUE(other.apply_update(document.encode_state_as_update()));
  EXPECT_EQ(other.map("m").to_json(), R"({"n":[1,2.5,null,true],"bytes":"AQID","body":"nested"})");
  EXPECT_EQ(other.map("m").text("body")->to_string(), "nested");
  EXPECT_EQ(other.map("m").get("bytes"), Any(Bytes{1, 2, 3}));
  EXPECT_FALSE(other.map("m").has("title"));
  EXPECT_EQ(other.encode_state_as_update(), document.encode_state_as_update());
}

TEST(Document, ObserversGetDeltas) {
  Document document(1), other(2);
  std::string seen;
  const auto number = other.text("t").observe([&](const TextEvent& event) { seen += to_json(event.delta()); });
  std::vector<Bytes> updates;
  document.on_update([&](const Bytes& update, const Origin&) { updates.push_back(update); });
  Text text = document.text("t");
  document.transact([&] {
    ASSERT_TRUE(text.insert(0, "hello"));
    ASSERT_TRUE(text.insert(5, " there"));
  });
  ASSERT_TRUE(text.remove(1, 3));
  ASSERT_TRUE(text.format(0, 1, {{"b", "1"}}));
  ASSERT_EQ(updates.size(), 3u);
  for (const Bytes& update : updates) ASSERT_TRUE(other.apply_update(update, "remote"));
  EXPECT_EQ(seen, R"([{"insert":"hello there"}][{"retain":1},{"delete":3}][{"retain":1,"attributes":{"b":1}}])");
  other.text("t").stop_observing(number);
  ASSERT_TRUE(other.text("t").insert(0, "x"));
  EXPECT_EQ(seen.size(),
            std::string(R"([{"insert":"hello there"}][{"retain":1},{"delete":3}][{"retain":1,"attributes":{"b":1}}])")
                .size());
}

TEST(Document, DeletedContentBecomesGarbage) {
  Document document(1);
  Text text = document.text("t");
  ASSERT_TRUE(text.insert(0, "secret text"));
  ASSERT_TRUE(text.remove(0, 11));
  const Bytes state = document.encode_state_as_update();
  EXPECT_EQ(to_hex(state),
            "0101010001010174"
            "0b"
            "010101000b");
  Map map = document.map("m");
  auto nested = map.set_text("body");
  ASSERT_TRUE(nested && nested->insert(0, "inner"));
  map.remove("body");
  EXPECT_FALSE(nested->insert(0, "x"));
  EXPECT_TRUE(document.encode_state_as_update().size() < 40);
}

}  // namespace
}  // namespace nizhal::crdt
