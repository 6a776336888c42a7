// A server core on a storage that is killed, busy, full or loses answers: at every call of a push in turn.
#include "sim/disk/faulty_storage.hpp"

#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/test_seed.hpp"
#include "server/server_sync.hpp"
#include "server/test_domain.hpp"
#include "server/test_world.hpp"
#include "sim/disk/disk.hpp"
#include "sim/disk/simulation_folder.hpp"
#include "sqlite/connection.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::sim {
namespace {

namespace testing = server::testing;
using server::testing::Sent;

/// A server that can be started again on what its file holds.
class Host {
 public:
  Host() : folder_(*SimulationFolder::make()), disk(folder_.file("server.db")) { start(); }

  void start() {
    auto opened = storage::open_sqlite_storage({.path = path(), .lock_timeout_ms = 0}, domain_, random_, Log());
    ASSERT_TRUE(opened) << opened.error().message;
    storage = std::make_unique<FaultyStorage>(*std::move(opened), faults);
    const auto provisioned = storage->provision();
    ASSERT_TRUE(provisioned) << provisioned.error().message;
    server_ = std::make_unique<server::ServerSync>(
        domain_, server::ServerOutside{clock, random_, executor_, *storage, authenticator_, Log(), nullptr, &timers_},
        server::Limits{});
  }
  /// As a process that is killed; another is started.
  void start_again() {
    disk.switch_off();
    server_.reset();
    storage.reset();
    disk.lift();
    faults.lift();
    start();
  }

  testing::Answer request(const std::string& path, std::string body) {
    protocol::HttpRequest http;
    http.method = "POST";
    http.path = path;
    http.headers["authorization"] =
        "Bearer " + testing::token_for("u1", "o1", Timestamp{clock.now().microseconds + 3'600'000'000});
    http.body = std::move(body);
    const auto answer = testing::World::answer_of(server_->handle(http));
    executor_.run();
    return answer;
  }
  /// Three mutations in order; the third one is refused.
  testing::Answer push() {
    const auto sent = [](const char* id, const char* cmid, std::uint64_t number) {
      return Sent{.name = "addNote", .cmid = cmid, .id = id, .text = "t", .client = "c1", .mutation_id = number};
    };
    return request("/sync/push",
                   testing::World::push_body({sent("n1", "m1", 1), sent("n2", "m2", 2), sent("n1", "m3", 3)}, true));
  }
  testing::Answer pull() { return request("/sync/pull", "{}"); }

  /// Notes, remembered mutations and the client's last mutation, as any program reads them.
  std::string committed() const {
    const auto connection = sqlite::Connection::open(path(), {.read_only = true, .create = false});
    if (!connection) return connection.error().message;
    const auto found = (*connection)
                           ->query_text(
                               "SELECT (SELECT count(*) FROM notes) || ' ' || (SELECT count(*) FROM nizhal_mutation) "
                               "|| ' ' || coalesce((SELECT last_mutation_id FROM nizhal_client), 0)");
    return found && *found ? **found : "nothing";
  }
  std::string path() const { return folder_.file("server.db"); }

 private:
  const SimulationFolder folder_;
  const std::shared_ptr<const CompiledDomain> domain_ = testing::compiled(testing::test_domain());
  SeededRandom random_{7};
  testing::QueueExecutor executor_;
  server::JwtAuthenticator authenticator_{testing::kSecret};

 public:
  ManualClock clock{testing::kStart};
  Disk disk;
  StorageFaults faults;
  std::unique_ptr<FaultyStorage> storage;

 private:
  ManualTimers timers_{clock};
  std::unique_ptr<server::ServerSync> server_;
};

storage::ClientRecord client_record() {
  storage::ClientRecord record;
  record.client_id = "c1";
  record.last_mutation_id = MutationId{9};
  return record;
}

constexpr const char* kNothing = "0 0 0";
constexpr const char* kAll = "2 3 3";
constexpr const char* kAppliedNow = "applied applied rejected:already_exists";

TEST(FaultyStorage, AServerThatIsKilledAtAnyCallOfAPushHasDoneAllOrNothing) {
  std::uint64_t kills = 0, found_all = 0;
  for (const StorageFault fault : {StorageFault::crash, StorageFault::crash_after}) {
    bool struck = true;
    for (std::uint64_t nth = 1; struck; ++nth) {
      SCOPED_TRACE(fmt::format("{} at call {}", to_string(fault), nth));
      Host host;
      std::uint64_t commits = 0;
      host.faults.on_commit = [&](StorageCall call, Version) { commits += call == StorageCall::commit ? 1 : 0; };
      host.faults.arm({.fault = fault, .nth = nth});
      const auto answer = host.push();
      struck = host.faults.struck(fault) > 0;
      ASSERT_EQ(host.faults.is_dead(), struck);
      host.start_again();
      ASSERT_FALSE(host.faults.is_dead());
      const std::string found = host.committed();
      EXPECT_EQ(found, commits > 0 ? kAll : kNothing);
      if (struck) {
        found_all += found == kAll ? 1 : 0;
        ++kills;
      } else {
        EXPECT_EQ(answer.statuses(), kAppliedNow) << answer.text;
      }
      // The device has no answer and sends it again.
      const auto again = host.push();
      EXPECT_EQ(again.statuses(), found == kAll ? "duplicate duplicate rejected:already_exists" : kAppliedNow)
          << again.text;
      EXPECT_EQ(host.committed(), kAll);
      if (HasFailure()) return;
    }
  }
  std::cout << kills << " kills, " << found_all << " of them after the commit\n";
  EXPECT_GE(kills, 30U);
  EXPECT_GE(found_all, 1U);
}

TEST(FaultyStorage, AnyCallThatFailsLeavesAllOrNothingAndTheNextPushDoesTheRest) {
  std::uint64_t failures = 0;
  for (const StorageFault fault :
       {StorageFault::busy, StorageFault::io_error, StorageFault::disk_full, StorageFault::lost_answer}) {
    bool struck = true;
    for (std::uint64_t nth = 1; struck; ++nth) {
      SCOPED_TRACE(fmt::format("{} at call {}", to_string(fault), nth));
      Host host;
      host.faults.arm({.fault = fault, .nth = nth});
      static_cast<void>(host.push());
      struck = host.faults.struck(fault) > 0;
      failures += struck ? 1 : 0;
      EXPECT_FALSE(host.faults.is_dead());
      const std::string found = host.committed();
      EXPECT_TRUE(found == kAll || found == kNothing) << found;
      static_cast<void>(host.push());
      EXPECT_EQ(host.committed(), kAll);
      if (HasFailure()) return;
    }
  }
  EXPECT_GE(failures, 40U);
}

TEST(FaultyStorage, OnAFullDiskNothingIsWrittenAndAllIsReadUntilItIsLifted) {
  Host host;
  host.faults.arm({.fault = StorageFault::disk_full, .persists = true});
  const auto refused = host.push();
  EXPECT_EQ(refused.statuses(), "retry:busy not_tried not_tried") << refused.text;
  EXPECT_EQ(host.committed(), kNothing);
  EXPECT_EQ(host.pull().status, 200);
  EXPECT_GT(host.faults.struck(StorageFault::disk_full), 0U);
  host.faults.lift(StorageFault::busy);  // another one
  EXPECT_NE(host.push().statuses(), kAppliedNow);
  host.faults.lift(StorageFault::disk_full);
  EXPECT_EQ(host.push().statuses(), kAppliedNow);
  EXPECT_EQ(host.committed(), kAll);
}

/// What the storage of SQLite itself says when its disk is full.
TEST(FaultyStorage, SaysOfAFullDiskWhatTheStorageOfSqliteSays) {
  Host host;
  const auto committed = [&]() -> Result<void> {
    auto transaction = host.storage->write(host.clock.now());
    if (!transaction) return tl::unexpected(transaction.error());
    if (auto put = (*transaction)->put_client(client_record()); !put) return put;
    return (*transaction)->commit();
  };
  host.disk.arm({.call = DiskCall::write, .fault = DiskFault::disk_full, .persists = true});
  const auto real = committed();
  host.disk.lift();
  host.faults.arm({.call = StorageCall::commit, .fault = StorageFault::disk_full});
  const auto made = committed();
  ASSERT_FALSE(real);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, real.error().code);
  EXPECT_EQ(made.error().code, ErrorCode::disk_full);
  EXPECT_NE(made.error().message.find("free some space"), std::string::npos) << made.error().message;
  EXPECT_TRUE(committed());
}

TEST(FaultyStorage, ADeadStorageDoesNothingWhateverItIsAskedFor) {
  Host host;
  auto transaction = host.storage->write(host.clock.now());
  ASSERT_TRUE(transaction);
  const auto snapshot = host.storage->snapshot();
  ASSERT_TRUE(snapshot);
  ASSERT_TRUE((*transaction)->put_client(client_record()));
  const auto calls = host.faults.all_calls();
  host.faults.kill();
  EXPECT_TRUE(host.faults.is_dead());
  EXPECT_FALSE((*transaction)->commit());
  EXPECT_FALSE((*transaction)->get_to_merge(testing::note_table.def(), std::string("n1")));
  EXPECT_FALSE((*snapshot)->position());
  EXPECT_FALSE(host.storage->position());
  EXPECT_FALSE(host.storage->snapshot());
  EXPECT_FALSE(host.storage->change_mark());
  EXPECT_FALSE(host.storage->write(host.clock.now()));
  EXPECT_FALSE(host.storage->gc(host.clock.now()));
  EXPECT_FALSE(host.storage->rotate_epoch());
  EXPECT_FALSE(host.storage->run_script("INSERT INTO notes VALUES ('n1', 'o1', 'b')"));
  EXPECT_EQ(host.faults.all_calls(), calls);
  EXPECT_EQ(host.committed(), kNothing);
  transaction->reset();  // with its lock
  host.start_again();
  EXPECT_EQ(host.push().statuses(), kAppliedNow);
}

TEST(FaultyStorage, ATransactionThatWasMadeToFailCanOnlyBeDropped) {
  Host host;
  auto transaction = host.storage->write(host.clock.now());
  ASSERT_TRUE(transaction);
  ASSERT_TRUE((*transaction)->put_client(client_record()));
  host.faults.arm({.call = StorageCall::read, .fault = StorageFault::busy});
  const auto read = (*transaction)->client("c1");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::busy);
  EXPECT_FALSE((*transaction)->client("c1"));
  EXPECT_FALSE((*transaction)->commit());
  transaction->reset();
  EXPECT_EQ(host.committed(), kNothing);
}

TEST(FaultyStorage, TellsOfCallsAndCommitsAndCountsThem) {
  Host host;
  std::vector<StorageCall> calls;
  std::vector<std::pair<StorageCall, Version>> commits;
  host.faults.on_call = [&](StorageCall call) {
    calls.push_back(call);
    host.clock.advance(std::chrono::milliseconds(1));  // a stall
  };
  host.faults.on_commit = [&](StorageCall call, Version version) { commits.emplace_back(call, version); };
  const auto before = host.faults.all_calls(), commits_before = host.faults.calls(StorageCall::commit);
  const Timestamp started = host.clock.now();
  EXPECT_EQ(host.push().statuses(), kAppliedNow);
  EXPECT_EQ(host.faults.all_calls() - before, calls.size());
  EXPECT_EQ(host.faults.calls(StorageCall::commit) - commits_before, 1U);
  EXPECT_EQ(host.clock.now().microseconds - started.microseconds, static_cast<std::int64_t>(calls.size()) * 1'000);
  ASSERT_EQ(commits.size(), 1U);
  EXPECT_EQ(commits[0].first, StorageCall::commit);
  EXPECT_EQ(commits[0].second, host.storage->change_mark()->last);
  ASSERT_TRUE(host.storage->rotate_epoch());
  ASSERT_EQ(commits.size(), 2U);
  EXPECT_EQ(commits[1].first, StorageCall::rotate_epoch);
}

TEST(FaultyStorage, StrikesAtADrawnRateBesideOtherPlans) {
  SeededRandom random(test_seed());
  Host host;
  host.faults.arm(
      {.call = StorageCall::position, .fault = StorageFault::busy, .one_in = 5, .draw = [&](std::uint64_t bound) {
         return random.below(bound);
       }});
  host.faults.arm({.call = StorageCall::change_mark, .fault = StorageFault::io_error, .nth = 3});
  std::uint64_t busy = 0, broken = 0;
  for (int i = 0; i < 200; ++i) {
    busy += host.storage->position() ? 0U : 1U;
    broken += host.storage->change_mark() ? 0U : 1U;
  }
  EXPECT_GT(busy, 0U);
  EXPECT_LT(busy, 200U);
  EXPECT_EQ(busy, host.faults.struck(StorageFault::busy));
  EXPECT_EQ(broken, 1U);
}

}  // namespace
}  // namespace nizhal::sim
