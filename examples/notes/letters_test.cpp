// What docs/device.md shows of dependencies, dead letters and undo, on a store of the notes example that has no server.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include <nizhal/store.hpp>

#include "notes.hpp"

namespace {

using notes::AddNote, notes::EditNote;

struct LettersExample : ::testing::Test {
  LettersExample() { std::filesystem::remove_all(path_); }
  ~LettersExample() override { std::filesystem::remove_all(path_); }

  std::string path_ = std::filesystem::temp_directory_path() / ("nizhal-letters-" + nizhal::new_id() + ".db");
  nizhal::Result<nizhal::Store> opened_ =
      nizhal::open_store({.path = path_, .domain = notes::domain(), .actor = {.user_id = "u1", .owner_id = "o1"}});
};

TEST_F(LettersExample, AMutationIsUndoneAndNothingIsADeadLetter) {
  ASSERT_TRUE(opened_) << opened_.error().message;
  nizhal::Store& store = *opened_;
  const std::string id = nizhal::new_id();

  auto added = store.mutate("addNote", AddNote{.id = id, .body = "first"});
  ASSERT_TRUE(added) << added.error().message;
  auto edited =
      store.mutate("editNote", EditNote{.id = id, .body = "second"}, {.depends_on = {added->client_mutation_id}});
  ASSERT_TRUE(edited) << edited.error().message;

  auto undone = store.undo(*edited);
  ASSERT_TRUE(undone) << undone.error().message;
  EXPECT_EQ((*store.get(notes::notes, id))->body, "first");
  auto redone = store.undo(*undone);
  ASSERT_TRUE(redone) << redone.error().message;
  EXPECT_EQ((*store.get(notes::notes, id))->body, "second");
  EXPECT_FALSE(store.undo(*edited)) << "it was undone already";

  auto letters = store.dead_letters();
  ASSERT_TRUE(letters) << letters.error().message;
  for (const nizhal::DeadLetter& letter : *letters) {
    // letter.code and letter.message say why, letter.args is what the user had asked for.
    auto retried = letter.code == "refused_body" ? store.retry_with(letter.id, R"({"id":"n1","body":"better"})")
                                                 : store.retry(letter.id);
    if (!retried) {
      EXPECT_TRUE(store.discard(letter.id));
    }
  }
  EXPECT_TRUE(letters->empty());
}

}  // namespace
