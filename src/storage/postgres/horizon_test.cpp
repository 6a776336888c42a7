// How far readers may go (S12): open writers, those that roll back, prepared transactions, bounds that wrap round,
// versions that a crash would take back, and reads that are shared.
#include "storage/postgres/horizon.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "../../../examples/notes/notes.hpp"
#include "storage/postgres/test_database.hpp"

namespace nizhal::storage {
namespace {

constexpr const char* kInsert = "INSERT INTO notes (id, owner_id, body) VALUES ";

TEST(Horizon, AnOpenWriterHoldsItBelowItsVersionAndHidesNothing) {
  TestDatabase db(notes::domain());
  db.other->run(kInsert + std::string("('n1', 'o1', '')"));
  const Position before = db.position();
  EXPECT_EQ(before.horizon, before.last);

  OtherProgram slow(db.url);
  slow.run("BEGIN; " + std::string(kInsert) + "('slow', 'o1', '')");
  db.other->run(kInsert + std::string("('n2', 'o1', '')"));
  const Position during = db.position();
  EXPECT_EQ(during.horizon, before.last);
  EXPECT_EQ(number(during.last), number(before.last) + 2);
  EXPECT_EQ(db.rows({"o1"}), (Names{"n1", "n2"})) << "what is visible does not wait";

  slow.run("COMMIT");
  const Position after = db.position();
  EXPECT_EQ(after.horizon, after.last);
  EXPECT_EQ(db.rows({"o1"}), (Names{"n1", "slow", "n2"})) << "by version";
}

}  // namespace
}  // namespace nizhal::storage
