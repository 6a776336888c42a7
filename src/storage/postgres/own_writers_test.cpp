// Telling our own transactions from other programs', look by look.
#include "storage/postgres/own_writers.hpp"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace nizhal::storage::pg {
namespace {

using Writers = std::vector<std::string>;

struct OwnWritersTest : ::testing::Test {
  std::shared_ptr<OwnWriters> own = std::make_shared<OwnWriters>(std::chrono::minutes(1));

  bool look(std::uint64_t last, Writers writers = {}) {
    own->look_begins();
    return own->others_committed({Version{last}, std::move(writers)});
  }
  OwnWriters::Entry begun(std::uint64_t version, int pid) {
    OwnWriters::Entry entry = own->begin();
    entry.took(Version{version}, pid);
    return entry;
  }
};

TEST_F(OwnWritersTest, TheFirstLookIsTheBaseOfAllOthers) {
  EXPECT_FALSE(look(10, {"7:3/1"}));
  EXPECT_FALSE(look(10, {"7:3/1"}));
  EXPECT_TRUE(look(10)) << "who was open at the base has ended";
  EXPECT_FALSE(look(10));
}

TEST_F(OwnWritersTest, OursAreKnownByVersionAndBackend) {
  look(10);
  auto entry = begun(11, 7);
  EXPECT_FALSE(look(11, {"7:3/1"}));
  entry = {};
  EXPECT_FALSE(look(11));
  { const auto quick = begun(12, 7); }
  EXPECT_FALSE(look(12)) << "begun and ended between two looks";
  EXPECT_TRUE(look(13)) << "a version that none of ours has";
  EXPECT_TRUE(look(12)) << "a sequence that went back";
}

TEST_F(OwnWritersTest, OthersAreFollowedUntilTheyEnd) {
  look(10);
  EXPECT_TRUE(look(11, {"7:3/1"}));
  EXPECT_FALSE(look(11, {"7:3/1"}));
  const auto ours = begun(12, 8);
  EXPECT_FALSE(look(12, {"7:3/1", "8:4/1"}));
  EXPECT_TRUE(look(12, {"7:3/2", "8:4/1"})) << "the same backend's next transaction is another";
  EXPECT_TRUE(look(12, {"8:4/1"}));
}

TEST_F(OwnWritersTest, ABackendThatAPoolerGaveToAnotherProgramIsNotOurs) {
  look(10);
  auto entry = begun(11, 7);
  own->look_begins();
  entry = {};  // ends while the look is under way; another program begins on the same backend and is seen
  EXPECT_TRUE(own->others_committed({Version{12}, {"7:3/2"}}));
  EXPECT_TRUE(look(12)) << "and it is followed";
  // The same, but what is seen is still ours.
  entry = begun(13, 7);
  own->look_begins();
  entry = {};
  EXPECT_FALSE(own->others_committed({Version{13}, {"7:3/3"}}));
  EXPECT_FALSE(look(13));
  // It ended before the look began: whoever is there now is another.
  EXPECT_TRUE(look(14, {"7:3/4"}));
  EXPECT_FALSE(look(14, {"7:3/4"}));
  EXPECT_TRUE(look(14));
}

TEST_F(OwnWritersTest, APreparedTransactionIsNeverOurs) {
  look(10);
  const auto entry = begun(11, 7);
  EXPECT_FALSE(look(11, {"7:3/1", ":3/9"}));
  EXPECT_TRUE(look(11, {"7:3/1"}));
}

TEST_F(OwnWritersTest, AnUnknownEndIsLookedAfter) {
  look(10);
  auto entry = begun(11, 7);
  look(11, {"7:3/1"});
  entry.disown();
  entry = {};
  EXPECT_TRUE(look(11, {"7:3/1"}));
  EXPECT_TRUE(look(11)) << "its COMMIT was still running";
  EXPECT_FALSE(look(11));
}

TEST_F(OwnWritersTest, ALookWaitsForThoseThatAreJustBeginning) {
  look(10);
  OwnWriters::Entry entry = own->begin();
  own->look_begins();
  auto looking = std::async(std::launch::async, [&] { return own->others_committed({Version{11}, {"7:3/1"}}); });
  entry.took(Version{11}, 7);
  EXPECT_FALSE(looking.get());
  // One that fails has told, too.
  entry = {};
  entry = own->begin();
  own->look_begins();
  looking = std::async(std::launch::async, [&] { return own->others_committed({Version{12}, {}}); });
  entry = {};
  EXPECT_TRUE(looking.get());
}

TEST_F(OwnWritersTest, ManyAtOnceAreAllOurs) {
  look(0);
  std::mutex sequence;
  std::uint64_t last = 0;
  std::set<std::string> open;
  std::vector<std::thread> writers;
  for (int pid = 1; pid <= 4; ++pid)
    writers.emplace_back([&, pid] {
      const std::string name = std::to_string(pid) + ":1/1";
      for (int i = 0; i < 500; ++i) {
        OwnWriters::Entry entry = own->begin();
        std::uint64_t version = 0;
        {
          const std::lock_guard lock(sequence);
          open.insert(name);
          version = ++last;
        }
        entry.took(Version{version}, pid);
        const std::lock_guard lock(sequence);
        open.erase(name);
      }
    });
  for (int i = 0; i < 500; ++i) {
    own->look_begins();
    OwnWriters::Seen seen;
    {
      const std::lock_guard lock(sequence);
      seen.last = Version{last};
      seen.writers.assign(open.begin(), open.end());
    }
    EXPECT_FALSE(own->others_committed(seen));
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_FALSE(look(last));
}

}  // namespace
}  // namespace nizhal::storage::pg
