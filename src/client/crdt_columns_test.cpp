// CRDT columns on the device: what is written is merged, here and in what pulls bring.
#include <gtest/gtest.h>

#include "base/test_seed.hpp"
#include "client/merging_test_support.hpp"
#include "client/puller.hpp"

namespace nizhal::client::testing {
namespace {

using namespace papers;

struct CrdtColumns : ::testing::Test {
  TempDir folder;
  ManualClock clock{kStart};
  Server server;
  Writer writer{folder.file("a.db"), clock};
};

std::string refusal(const Result<Ticket>& ticket) { return ticket ? "" : ticket.error().message; }

TEST_F(CrdtColumns, WhatAMutatorWritesIsMergedWhetherItInsertsUpdatesPutsOrReplaces) {
  ASSERT_TRUE(writer.add("p1", "one", typed({}, 7, "base ")));
  EXPECT_EQ(writer.text("p1"), "base ");
  const crdt::Bytes start = writer.bodies()["p1"];
  ASSERT_TRUE(writer.edit("p1", typed(start, 8, "left ", 0)));
  ASSERT_TRUE(writer.edit("p1", typed(start, 9, "right", 5)));
  EXPECT_EQ(writer.text("p1"), "left base right");
  ASSERT_TRUE(writer.put("p1", "two", typed(start, 10, "!", 5)));
  const std::string with_put = writer.text("p1");
  EXPECT_EQ(with_put.size(), std::string("left base right!").size());
  ASSERT_TRUE(writer.retitle("p1", "three"));
  EXPECT_EQ(writer.text("p1"), with_put);
  EXPECT_EQ(writer.device.sql_text("SELECT title FROM papers"), "three");
}

TEST_F(CrdtColumns, AReplacementThatChangesNothingWritesNothing) {
  ASSERT_TRUE(writer.add("p1", "one", typed({}, 7, "base")));
  ASSERT_TRUE(writer.retitle("p1", "one"));
  EXPECT_EQ(writer.device.sql_text("SELECT count(*) FROM nizhal_undo"), "1");
  ASSERT_TRUE(writer.retitle("p1", "two"));
  EXPECT_EQ(writer.device.sql_text("SELECT count(*) FROM nizhal_undo"), "2");
}

TEST_F(CrdtColumns, WhatIsNoUpdateOrTooLargeIsRefusedHereAndLeavesNothing) {
  ASSERT_TRUE(writer.add("p1", "one"));
  EXPECT_NE(refusal(writer.edit("p1", Blob{{9, 9, 9}})).find("invalid_update"), std::string::npos);
  EXPECT_NE(refusal(writer.add("p2", "two", Blob{})).find("invalid_update"), std::string::npos);
  const Blob large = typed({}, 7, std::string(300 << 10, 'x'));
  EXPECT_NE(refusal(writer.edit("p1", large)).find("too_large"), std::string::npos);
  EXPECT_EQ(writer.device.outbox().size(), 1u);
  EXPECT_EQ(writer.bodies().size(), 1u);
  EXPECT_EQ(writer.text("p1"), "");
}

TEST_F(CrdtColumns, AReplacementMayGiveBackAStateThatIsLargerThanAnUpdateMayBe) {
  ASSERT_TRUE(writer.add("p1", "one"));
  ASSERT_TRUE(writer.edit("p1", typed({}, 7, std::string(200 << 10, 'x'))));
  ASSERT_TRUE(writer.edit("p1", typed({}, 8, std::string(200 << 10, 'y'))));
  const auto retitled = writer.retitle("p1", "two");
  ASSERT_TRUE(retitled) << refusal(retitled);
  EXPECT_EQ(writer.text("p1").size(), std::size_t{400} << 10);
}

TEST_F(CrdtColumns, AColumnThatAnotherProgramLeavesOutHoldsTheEmptyUpdate) {
  writer.device.write_sql("INSERT INTO papers(id, owner_id, title, state) VALUES('p9', 'o1', 't', 's')");
  EXPECT_EQ(writer.bodies()["p9"], crdt::kEmptyUpdate);
}

TEST_F(CrdtColumns, APullAsksForUpdatesOnlyWhenThereIsSomethingToMerge) {
  EXPECT_TRUE(writer.device.store().next_pull(10)->updates);
  Device notes(folder.file("notes.db"), clock);
  EXPECT_FALSE(notes.store().next_pull(10)->updates);
}

TEST_F(CrdtColumns, AnUpdateIsMergedIntoTheBaseUnderWhatIsPending) {
  server.put("p1", "one", typed({}, 1, "base").bytes);
  ASSERT_TRUE(writer.pull(server));
  const crdt::Bytes start = writer.bodies()["p1"];
  ASSERT_TRUE(writer.edit("p1", typed(start, 7, "mine ", 0)));
  server.edit("p1", typed(start, 8, " theirs", 4).bytes);
  EXPECT_TRUE(writer.pull(server));
  EXPECT_EQ(writer.text("p1"), "mine base theirs");
  // Refused by the server, the edit disappears exactly; the other's stays.
  auto request = writer.device.store().next_push(10, 1 << 20);
  protocol::PushReply reply;
  protocol::PushResult refused;
  refused.client_mutation_id = request->mutations[0].client_mutation_id;
  refused.status = protocol::PushStatus::rejected;
  refused.code = "no";
  reply.results.push_back(refused);
  reply.last_mutation_id = request->mutations[0].mutation_id;
  ASSERT_TRUE(writer.device.store().settle_push(*request, reply));
  EXPECT_EQ(writer.text("p1"), "base theirs");
}

TEST_F(CrdtColumns, AnUpdateThatDoesNotFitMakesTheDeviceStartAfreshAndLosesNothing) {
  server.put("p1", "one", typed({}, 1, "base").bytes);
  ASSERT_TRUE(writer.pull(server));
  ASSERT_TRUE(writer.add("p2", "mine", typed({}, 7, "pending")));
  const crdt::Bytes start = server.rows.at("p1").body;
  for (const char* damage :
       {"DELETE FROM papers WHERE id = 'p1'", "UPDATE papers SET body = x'0909' WHERE id = 'p1'"}) {
    writer.device.write_sql(damage);
    server.edit("p1", typed(server.rows.at("p1").body, 8, "+", 0).bytes);
    EXPECT_FALSE(writer.pull(server)) << damage;
    EXPECT_EQ(writer.text("p1"), text_of(server.rows.at("p1").body)) << damage;
    EXPECT_EQ(writer.text("p2"), "pending") << damage;
    EXPECT_EQ(writer.device.outbox().size(), 1u);
  }
}

TEST_F(CrdtColumns, AServerWhoseUpdatesNeverFitIsAFailureThatIsTriedAgainLater) {
  server.put("p1", "one", typed({}, 1, "base").bytes);
  ASSERT_TRUE(writer.pull(server));
  const auto misfit = [&]() -> Result<LocalStore::PullApplied> {
    auto request = writer.device.store().next_pull(1000);
    protocol::PullPage page = server.pull(*request);
    page.changed[0].rows = {{Value("p7"), Value("o1"), Value("t"), Value("s"), Value(Blob{crdt::kEmptyUpdate}),
                             Value(Blob{crdt::kEmptyUpdate})}};
    page.changed[0].updates = {{4}};
    return writer.device.store().apply_page(*request, page);
  };
  EXPECT_TRUE(misfit());
  EXPECT_FALSE(misfit());
  EXPECT_TRUE(writer.pull(server));
  EXPECT_EQ(writer.text("p1"), "base");
}

TEST_F(CrdtColumns, StagedPagesKeepUpdatesApartFromStates) {
  protocol::PullPage page;
  page.cursor = "1";
  page.epoch = "e1";
  page.changed.push_back({.table = "papers", .rows = {}, .updates = {{}, {4}, {4, 5}}});
  for (const char* id : {"a", "b", "c"})
    page.changed[0].rows.push_back(
        {Value(id), Value("o1"), Value("t"), Value("s"), Value(typed({}, 3, "x")), Value(Blob{crdt::kEmptyUpdate})});
  auto read = protocol::decode_page(compiled()->domain(), puller::encode(*compiled(), page));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->changed[0].rows, page.changed[0].rows);
  EXPECT_EQ(read->changed[0].updates, page.changed[0].updates);
}

TEST_F(CrdtColumns, SqlReadsTextsMapsAndDeltasAndRefusesWhatIsNoState) {
  ASSERT_TRUE(writer.add("p1", "one", typed({}, 7, "hello")));
  EXPECT_EQ(writer.device.sql_text("SELECT crdt_text(body, 'body') FROM papers"), "hello");
  EXPECT_EQ(writer.device.sql_text("SELECT crdt_delta(body, 'body') FROM papers"), R"([{"insert":"hello"}])");
  EXPECT_EQ(writer.device.sql_text("SELECT crdt_json(meta, 'meta') FROM papers"), "{}");
  for (const char* null : {"SELECT crdt_text(NULL, 'body') IS NULL", "SELECT crdt_json(NULL, 'm') IS NULL",
                           "SELECT crdt_delta(NULL, 'm') IS NULL", "SELECT crdt_text(x'0000', NULL) IS NULL"})
    EXPECT_EQ(writer.device.sql_text(null), "1") << null;
  for (const char* bad : {"SELECT crdt_text(x'0909', 'body')", "SELECT crdt_json(x'', 'meta')",
                          "SELECT crdt_delta('text', 'body')", "SELECT crdt_text(1, 'body')"}) {
    const auto read = writer.device.store().sql(bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().code, ErrorCode::usage) << bad;
  }
}

/// What one device must show: what the server had at its last pull, and what is pending run on top of it.
std::map<std::string, crdt::Bytes> expected(Writer& writer, std::map<std::string, crdt::Bytes> base) {
  for (const PendingMutation& pending : writer.device.outbox()) {
    if (pending.covered) continue;
    const auto args = parse_json(pending.args);
    const std::string id(string_member(*args, "id").value_or(""));
    const bool exists = base.contains(id);
    const auto bytes = [&](const char* name) {
      return from_base64(string_member(*args, name).value_or("")).value_or(crdt::Bytes{});
    };
    if (pending.name == "add" && !exists) base[id] = merged({}, bytes("body"));
    if (pending.name == "edit" && exists) base[id] = merged(base[id], bytes("update"));
    if (pending.name == "remove" && exists) base.erase(id);
  }
  return base;
}

std::map<std::string, std::string> texts(const std::map<std::string, crdt::Bytes>& bodies) {
  std::map<std::string, std::string> all;
  for (const auto& [id, body] : bodies) all[id] = text_of(body);
  return all;
}

TEST(CrdtColumnsProperty, EachDeviceShowsTheServersDocumentsWithItsOwnEditsAndAllBecomeEqual) {
  const std::uint64_t seed = test_seed("crdt columns");
  SeededRandom random(seed);
  for (int round = 0; round < 12; ++round) {
    TempDir folder;
    ManualClock clock{kStart};
    Server server;
    std::vector<std::unique_ptr<Writer>> writers;
    std::vector<std::map<std::string, crdt::Bytes>> bases(2);
    for (std::uint64_t i = 0; i < 2; ++i)
      writers.push_back(std::make_unique<Writer>(folder.file(std::to_string(i) + ".db"), clock, seed + i));
    std::uint64_t next_client = 100;
    const auto pull = [&](std::size_t who) {
      server.tells_updates = random.below(4) != 0;
      EXPECT_TRUE(writers[who]->pull(server));
      bases[who].clear();
      for (const auto& [id, row] : server.rows) bases[who][id] = row.body;
    };
    for (int step = 0; step < 60; ++step) {
      const std::size_t who = random.below(2);
      Writer& writer = *writers[who];
      const std::string id = "p" + std::to_string(random.below(3));
      const auto bodies = writer.bodies();
      const auto it = bodies.find(id);
      clock.advance(std::chrono::milliseconds(random.below(50)));
      switch (random.below(10)) {
        case 0:
          (void)writer.add(id, "t", typed({}, ++next_client, "new"));
          break;
        case 1:
          if (random.below(3) == 0) (void)writer.remove(id);
          break;
        case 2:
          writer.push(server, random.below(3) == 0 ? Writer::Reply::is_lost : Writer::Reply::arrives);
          break;
        case 3:
        case 4:
          pull(who);
          break;
        case 5:
          writer.device.reopen();
          break;
        case 6:
          (void)writer.retitle(id, "t" + std::to_string(step));
          break;
        default:
          if (it != bodies.end())
            (void)writer.edit(id, typed(it->second, ++next_client, std::string(1, static_cast<char>('a' + step % 26)),
                                        random.below(1000)));
      }
      ASSERT_EQ(texts(writer.bodies()), texts(expected(writer, bases[who]))) << "round " << round << " step " << step;
    }
    for (int again = 0; again < 2; ++again) {
      for (std::size_t who = 0; who < 2; ++who) {
        while (writers[who]->push(server)) {
        }
        pull(who);
      }
    }
    pull(0);
    for (const auto& writer : writers) {
      EXPECT_TRUE(writer->device.outbox().empty());
      EXPECT_EQ(writer->bodies(), bases[0]) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace nizhal::client::testing
