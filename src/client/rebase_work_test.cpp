// What a rebase costs among very many pending mutations, counted in runs; and what the file's own constraints ask of
// it.
#include "client/client_test_support.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::client {
namespace {

using testing::NoteRows;
using testing::World;

struct RebaseWork : World {
  static constexpr int kMany = 10'000;

  static std::string id(int i) { return "n" + std::to_string(i); }
  void add_many() {
    device.pull(server);
    for (int i = 0; i < kMany && !HasFailure(); ++i) device.add(id(i), i % 1000 == 777 ? "reject" : "mine");
  }
  /// The work since the last call.
  LocalStore::RebaseWork work() {
    const LocalStore::RebaseWork now = device.store().rebase_work();
    const LocalStore::RebaseWork before = std::exchange(before_, now);
    return {now.whole - before.whole, now.undone - before.undone, now.rerun - before.rerun};
  }
  void expect_work(std::uint64_t undone, std::uint64_t rerun) {
    const LocalStore::RebaseWork done = work();
    EXPECT_EQ(done.whole, 0u);
    EXPECT_EQ(done.undone, undone);
    EXPECT_EQ(done.rerun, rerun);
  }

 private:
  LocalStore::RebaseWork before_;
};

TEST_F(RebaseWork, AmongTenThousandPendingMutationsRunsOnlyWhatAChangeReaches) {
  add_many();
  device.edit(id(5), "edited");
  device.edit(id(5), "edited again");
  work();

  server.put("elsewhere", "theirs");
  device.pull(server);
  expect_work(0, 0);

  server.put(id(6'000), "theirs");
  device.pull(server);
  expect_work(1, 1);
  EXPECT_EQ(device.sql_text("SELECT body FROM notes WHERE id = 'n6000'"), "theirs") << "the add refuses now";

  const auto first = device.outbox().front();
  ASSERT_TRUE(device.store().dead_letter(device.outbox()[5].client_mutation_id, "too_large", "given up"));
  expect_work(3, 2);
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM notes WHERE id = 'n5'"), "0");
  EXPECT_EQ(device.outbox().front().client_mutation_id, first.client_mutation_id);

  // Pushed in batches with a pull after each: what the server did as the device had done it costs nothing.
  for (int batches = 0; batches < 200 && device.push(server); ++batches) device.pull(server);
  const LocalStore::RebaseWork drained = work();
  EXPECT_EQ(drained.whole, 0u);
  EXPECT_LE(drained.rerun, 20u);
  EXPECT_LE(drained.undone, 40u) << "the refused ones";
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_EQ(device.notes(), server.notes());
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_undo"), "0");
}

TEST_F(RebaseWork, OfMutationsThatBuildOnEachOtherRunsEachOnce) {
  server.put("n1", "theirs");
  device.pull(server);
  for (int i = 0; i < 300; ++i) device.edit("n1", "edit " + std::to_string(i));
  work();
  server.put("n1", "theirs again");
  device.pull(server);
  expect_work(300, 300);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "edit 299"}}));
  // The server ends each batch where the device had been: nothing is left to find out.
  for (int batches = 0; batches < 10 && device.push(server); ++batches) device.pull(server);
  expect_work(0, 0);
  EXPECT_EQ(device.notes(), server.notes());
}

TEST_F(RebaseWork, KeepsStampsGoingUpThroughRestartsAndDrains) {
  const auto newest = [&] { return device.sql_text("SELECT hlc FROM nizhal_outbox ORDER BY ordinal DESC LIMIT 1"); };
  device.add("n1", "one");
  const std::string first = newest();
  clock.jump_wall(std::chrono::seconds(-5));
  device.reopen();
  device.add("n2", "two");
  const std::string second = newest();
  EXPECT_LT(first, second) << "the stamp of a pending entry";
  device.sync(server);
  clock.jump_wall(std::chrono::seconds(-5));
  device.reopen();
  device.add("n3", "three");
  EXPECT_LT(second, newest()) << "the stamp of an entry that left";
}

TEST_F(RebaseWork, BearsAUniqueIndexBetweenTheBaseAndWhatIsPending) {
  device.pull(server);
  {
    auto file = sqlite::Connection::open(folder.file("a.db"), {});
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->execute("CREATE UNIQUE INDEX one_body ON notes(body)"));
  }
  device.add("n0", "other");
  device.add("n1", "A");
  device.pull(server);
  device.edit("n1", "B");
  device.add("n2", "A");
  // Not both can have it: the base's row stays, the pending one waits.
  server.put("n3", "B");
  device.pull(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n0", "other"}, {"n1", "A"}, {"n3", "B"}}));
  server.remove("n3");
  device.pull(server);
  EXPECT_EQ(device.notes(), (NoteRows{{"n0", "other"}, {"n1", "B"}, {"n2", "A"}}));
  // Taken back alone, the edit would meet n2.
  ASSERT_TRUE(device.store().dead_letter(device.outbox()[2].client_mutation_id, "too_large", "given up"));
  EXPECT_EQ(device.notes(), (NoteRows{{"n0", "other"}, {"n1", "A"}}));
}

}  // namespace
}  // namespace nizhal::client
