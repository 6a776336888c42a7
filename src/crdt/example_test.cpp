// What docs/crdt.md shows.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <nizhal/crdt.hpp>

#include "crdt/column.hpp"

namespace nizhal::crdt {
namespace {

struct Note {
  std::string id;
  CrdtText body;
};
struct EditNote {
  std::string id;
  Blob update;
};

// Stands for a store: a mutator that writes its update into the column, and a row as it is then.
struct Store {
  Note row{.id = "n1", .body = crdt_text("body", "Hello")};
  void mutate(const char* /*name*/, const EditNote& args) {
    row.body.state = merge_column(ColumnType::crdt_text, "body", row.body.state, args.update.bytes)->state;
  }
};

TEST(CrdtExample, AColumnIsEdited) {
  Store store;
  const Note note = store.row;

  auto editor = nizhal::open_crdt("body", note.body);  // Result: a damaged value is told, not taken
  ASSERT_TRUE(editor);
  ASSERT_TRUE(editor->text().insert(5, " world"));  // as often as the user types
  store.mutate("editNote", EditNote{.id = note.id, .update = editor->take_update()});

  const auto on_row = [&](const Note& newer) {  // of a live query
    ASSERT_TRUE(editor->apply(newer.body));     // what was typed meanwhile stays
  };
  ASSERT_TRUE(editor->text().insert(11, "!"));
  on_row(store.row);
  EXPECT_EQ(editor->text().to_string(), "Hello world!");
  EXPECT_EQ(*nizhal::to_string(store.row.body, "body"), "Hello world");
}

TEST(CrdtExample, ThePageShowsWhatWorks) {
  const std::uint64_t client_id = nizhal::new_crdt_client_id();
  std::vector<Bytes> sent;
  const auto send = [&sent](const Bytes& update) { sent.push_back(update); };

  nizhal::crdt::Document document(client_id);  // one writer at a time per id; 0 for a document that only merges
  auto text = document.text("body");
  document.on_update([&](const Bytes& update, const Origin& /*origin*/) { send(update); });
  ASSERT_TRUE(text.insert(0, "Hello"));                // positions are UTF-16 code units, texts are UTF-8
  ASSERT_TRUE(text.format(0, 5, {{"bold", "true"}}));  // values are JSON
  nizhal::crdt::Document other(nizhal::new_crdt_client_id());
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
