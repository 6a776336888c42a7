// What docs/crdt.md shows.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "crdt/document.hpp"
#include "crdt/relative_position.hpp"
#include "crdt/text.hpp"
#include "crdt/undo_manager.hpp"

namespace nizhal::crdt {
namespace {

TEST(CrdtExample, ThePageShowsWhatWorks) {
  constexpr std::uint64_t client_id = 7;
  std::vector<Bytes> sent;
  const auto send = [&sent](const Bytes& update) { sent.push_back(update); };

  nizhal::crdt::Document document(client_id);  // one writer at a time per id; 0 for a document that only merges
  auto text = document.text("body");
  document.on_update([&](const Bytes& update, const Origin& /*origin*/) { send(update); });
  ASSERT_TRUE(text.insert(0, "Hello"));                // positions are UTF-16 code units, texts are UTF-8
  ASSERT_TRUE(text.format(0, 5, {{"bold", "true"}}));  // values are JSON
  nizhal::crdt::Document other(client_id + 1);
  for (const Bytes& update : sent)
    ASSERT_TRUE(other.apply_update(update, "network"));  // Result<void>: what is no update changes nothing
  EXPECT_EQ(other.text("body").to_string(), "Hello");
  EXPECT_EQ(other.text("body").to_delta_json(), text.to_delta_json());

  const auto clock = [] { return std::chrono::milliseconds(0); };
  nizhal::crdt::UndoManager undo(document, {text.node()}, {.tracked_origins = {"editor"}, .now = clock});
  document.transact("editor", [&] { ASSERT_TRUE(text.insert(5, " world")); });
  undo.undo();  // one's own last step, whatever others did meanwhile
  EXPECT_EQ(text.to_string(), "Hello");

  auto cursor = relative_position(text, 2);  // stays with its character; encode(cursor) is what Yjs encodes
  ASSERT_TRUE(text.insert(0, "> "));
  EXPECT_EQ(absolute_position(document, cursor)->index, 4U);  // where it is now
}

}  // namespace
}  // namespace nizhal::crdt
