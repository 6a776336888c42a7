// What is kept beside rows to merge later writes into them, on both kinds of database.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "domain/field_stamps.hpp"
#include "tests/backends/merge_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

using storage::EncodedRow;
using storage::MergeState;
using storage::WriteMode;

const std::string kBytes("\0\x01;\xFF\\\"{}", 8);
const Blob kState{{0, 0}};

struct MergeTest : OnEveryBackend {
  TestDatabase db{GetParam(), merge_domain()};

  std::size_t index(const std::string& name) const { return *db.domain->table_index(name); }
  const TableDef& table(const std::string& name) const { return db.domain->table(index(name)); }
  std::size_t column(const std::string& name, const std::string& of) const { return table(name).index_of(of); }

  static Row task(const std::string& id) { return {id, "o1", "title", std::monostate{}, std::int64_t{1}, "{}"}; }
  static Row paper(const std::string& id) { return {id, "o1", "title", kState}; }
  static Row board(const std::string& id) { return {id, "o1", "name", kState}; }

  void insert(const std::string& name, const Row& row, const MergeState& merge, std::int64_t now_us = 1'000'000) {
    auto transaction = db.write(now_us);
    const auto done = transaction->insert_merged(table(name), row, merge);
    ASSERT_TRUE(done.has_value()) << done.error().message;
    ASSERT_TRUE(*done);
    commit(std::move(transaction));
  }
  static void commit(std::unique_ptr<storage::WriteTransaction> transaction) {
    const auto done = transaction->commit();
    ASSERT_TRUE(done.has_value()) << done.error().message;
  }
  MergeState kept(const std::string& name, const std::string& id) {
    const auto found = db.write()->get_to_merge(table(name), id);
    EXPECT_TRUE(found.has_value() && found->has_value()) << name << "/" << id;
    return found && *found ? (*found)->merge : MergeState{};
  }
  std::vector<EncodedRow> live(const std::string& name, bool with_recent, Version after = {}) {
    const Covered covered = db.cover("o1");
    storage::LiveQuery query = covered.after(after);
    query.with_recent = with_recent;
    std::vector<EncodedRow> rows = *db.snapshot()->live_rows(query);
    std::erase_if(rows, [&](const EncodedRow& row) { return row.table != index(name); });
    return rows;
  }
};
INSTANTIATE_TEST_SUITE_P(On, MergeTest, every_backend(), kind_name);

TEST_P(MergeTest, WhatIsKeptComesBackAsItWas) {
  const MergeState merge{"*=a;title=b", kBytes};
  insert("papers", paper("p1"), merge);
  auto transaction = db.write();
  const auto found = transaction->get_to_merge(table("papers"), "p1");
  ASSERT_TRUE(found.has_value() && found->has_value());
  EXPECT_EQ((*found)->row, paper("p1"));
  EXPECT_EQ((*found)->merge, merge);
  EXPECT_FALSE(transaction->get_to_merge(table("papers"), "p2")->has_value());
  // In the transaction itself, too.
  ASSERT_TRUE(*transaction->update_merged(table("papers"), "p1", {{2, "new"}, {3, Blob{{1, 2, 3}}}}, {"*=c", ""}));
  const auto again = transaction->get_to_merge(table("papers"), "p1");
  EXPECT_EQ((*again)->row, (Row{"p1", "o1", "new", Blob{{1, 2, 3}}}));
  EXPECT_EQ((*again)->merge, (MergeState{"*=c", ""}));
  EXPECT_EQ(*transaction->get(table("papers"), "p1"), (Row{"p1", "o1", "new", Blob{{1, 2, 3}}}));
  commit(std::move(transaction));
}

TEST_P(MergeTest, ATableKeepsOnlyWhatItNeeds) {
  for (const auto& [name, row] : {std::pair<std::string, Row>{"tasks", task("x")},
                                  {"boards", board("x")},
                                  {"settings", {"x", "v"}},
                                  {"remarks", {"x", "o1", "b"}}})
    insert(name, row, {"*=s", "r"});
  EXPECT_EQ(kept("tasks", "x"), (MergeState{"*=s", ""}));
  EXPECT_EQ(kept("boards", "x"), (MergeState{"", "r"}));
  EXPECT_EQ(kept("settings", "x"), (MergeState{"*=s", ""}));
  EXPECT_EQ(kept("remarks", "x"), MergeState{});
}

TEST_P(MergeTest, AnInsertOfATakenKeyWritesNothing) {
  insert("tasks", task("t1"), {"*=a", ""});
  auto transaction = db.write();
  EXPECT_FALSE(*transaction->insert_merged(table("tasks"), task("t1"), {"*=b", ""}));
  EXPECT_FALSE(*transaction->update_merged(table("tasks"), "t2", {{2, "x"}}, {"*=b", ""}));
  commit(std::move(transaction));
  EXPECT_EQ(kept("tasks", "t1").stamps, "*=a");
}

TEST_P(MergeTest, AnUpdateWithoutChangesCountsAsOne) {
  insert("papers", paper("p1"), {"*=a", "r"});
  const Version before = db.last();
  auto transaction = db.write();
  ASSERT_TRUE(*transaction->update_merged(table("papers"), "p1", {}, {"*=b", "s"}));
  commit(std::move(transaction));
  const Version last = db.last();
  EXPECT_EQ(kept("papers", "p1"), (MergeState{"*=b", "s"}));
  const auto rows = live("papers", true, before);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows.front().version, last);
}

TEST_P(MergeTest, PagesTellStampsAndRecentUpdatesWhereTheyAreWanted) {
  insert("papers", paper("p1"), {"*=a", kBytes});
  insert("boards", board("b1"), {"", kBytes});
  insert("tasks", task("t1"), {"*=t", ""});
  insert("remarks", {"r1", "o1", "b"}, {"*=t", "r"});
  for (const bool wanted : {false, true}) {
    const auto papers = live("papers", wanted), boards = live("boards", wanted), tasks = live("tasks", wanted);
    ASSERT_EQ(papers.size() + boards.size() + tasks.size(), 3u);
    EXPECT_EQ(papers.front().stamps, "*=a");
    EXPECT_EQ(papers.front().recent, wanted ? kBytes : "");
    EXPECT_EQ(papers.front().json, R"({"id":"p1","owner_id":"o1","title":"title","text":"AAA="})");
    EXPECT_EQ(boards.front().stamps, "");
    EXPECT_EQ(boards.front().recent, wanted ? kBytes : "");
    EXPECT_EQ(tasks.front().stamps, "*=t");
    EXPECT_EQ(tasks.front().recent, "");
    EXPECT_EQ(live("remarks", wanted).front().stamps, "");
  }
  const auto filled = db.snapshot()->backfill(db.bucket("o1"), index("papers"), std::nullopt, 10);
  ASSERT_EQ(filled->size(), 1u);
  EXPECT_EQ(filled->front().stamps, "*=a");
  EXPECT_EQ(filled->front().recent, "");
  EXPECT_TRUE(db.snapshot()->backfill(db.bucket("o1"), index("papers"), "p1", 10)->empty());

  const auto changes = db.storage->changes_since(*db.storage->position(),
                                                 {.after = {}, .rows_max = 100, .actors = {}, .client_ids = {}});
  ASSERT_TRUE(changes.has_value() && changes->has_value());
  ASSERT_EQ((*changes)->rows.size(), 4u);
  for (const auto& [row, buckets] : (*changes)->rows) {
    const std::string& name = db.domain->table(row.table).name;
    EXPECT_EQ(row.stamps, name == "papers" ? "*=a" : name == "tasks" ? "*=t" : "") << name;
    EXPECT_EQ(row.recent, name == "papers" || name == "boards" ? kBytes : "") << name;
    ASSERT_EQ(buckets.size(), 1u) << name;
    EXPECT_EQ(buckets.front().key, "o1");
  }
}

/// More buckets than are asked for the whole page at once.
TEST_P(MergeTest, PagesOfManyBucketsTellRecentUpdates) {
  Covered covered;
  for (int i = 0; i < 12; ++i) {
    const std::string owner = "owner" + std::to_string(i);
    for (int n = 0; n < 9; ++n) {
      Row row = board(owner + std::to_string(n));
      row[1] = owner;
      insert("boards", row, {"", owner});
    }
    covered.buckets.push_back({db.bucket(owner), {}});
  }
  storage::LiveQuery query = covered.after();
  query.with_recent = true;
  query.limit = 60;
  const auto rows = db.snapshot()->live_rows(query);
  ASSERT_EQ(rows->size(), 60u);
  for (const EncodedRow& row : *rows) EXPECT_EQ(row.recent, row.key.substr(0, row.key.size() - 1));
}

TEST_P(MergeTest, ARollbackToASavepointTakesBackWhatWasMerged) {
  insert("papers", paper("p1"), {"*=a", "r"});
  for (const WriteMode mode : {WriteMode::careful, WriteMode::pipelined, WriteMode::serializable}) {
    auto transaction = db.write(1, mode);
    ASSERT_TRUE(transaction->savepoint().has_value());
    ASSERT_TRUE(*transaction->update_merged(table("papers"), "p1", {{2, "lost"}}, {"*=lost", "lost"}));
    ASSERT_TRUE(*transaction->insert_merged(table("papers"), paper("p2"), {"*=lost", "lost"}));
    ASSERT_TRUE(transaction->rollback_to_savepoint().has_value());
    ASSERT_TRUE(transaction->release_savepoint().has_value());
    const auto found = transaction->get_to_merge(table("papers"), "p1");
    ASSERT_TRUE(found.has_value() && found->has_value());
    EXPECT_EQ((*found)->merge, (MergeState{"*=a", "r"}));
    EXPECT_EQ((*found)->row, paper("p1"));
    EXPECT_FALSE(transaction->get_to_merge(table("papers"), "p2")->has_value());
    commit(std::move(transaction));
  }
}

TEST_P(MergeTest, WritesThatAreSentAheadKeepTheirStates) {
  auto transaction = db.write(1, WriteMode::pipelined);
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(*transaction->insert_merged(table("papers"), paper("p" + std::to_string(i)),
                                            {"*=" + std::to_string(i), kBytes + std::to_string(i)}));
  // Rows without states beside rows with them are another statement.
  for (int i = 5; i < 7; ++i) ASSERT_TRUE(*transaction->insert(table("papers"), paper("p" + std::to_string(i))));
  ASSERT_TRUE(*transaction->update_merged(table("papers"), "p3", {{2, "new"}}, {"*=u", ""}));
  commit(std::move(transaction));
  for (int i = 0; i < 7; ++i) {
    const std::string n = std::to_string(i);
    const MergeState expected = i == 3  ? MergeState{"*=u", ""}
                                : i < 5 ? MergeState{"*=" + n, kBytes + n}
                                        : MergeState{};
    EXPECT_EQ(kept("papers", "p" + n), expected) << i;
  }
}

TEST_P(MergeTest, WritersOfOneRowSeeEachOthersStates) {
  insert("papers", paper("p1"), {"*=", ""});
  constexpr int kWriters = 4, kRounds = 10;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer)
    writers.emplace_back([&, writer] {
      for (int round = 0; round < kRounds; ++round) {
        const std::string mark = std::to_string(writer) + std::to_string(round) + ",";
        for (bool done = false; !done;) {
          auto transaction = db.storage->write(Timestamp{1});
          if (!transaction) continue;  // busy
          auto found = (*transaction)->get_to_merge(table("papers"), "p1");
          if (!found || !*found) continue;
          MergeState merge = (*found)->merge;
          merge.stamps += mark;
          merge.recent += mark;
          done = (*transaction)->update_merged(table("papers"), "p1", {}, merge).value_or(false) &&
                 (*transaction)->commit().has_value();
        }
      }
    });
  for (std::thread& writer : writers) writer.join();
  const MergeState merge = kept("papers", "p1");
  EXPECT_EQ(merge.stamps, "*=" + merge.recent);
  EXPECT_EQ(merge.recent.size(), std::size_t{kWriters * kRounds * 3});
}

TEST_P(MergeTest, AMutationsConflictsAreRememberedWithIt) {
  const Actor actor{"u1", "o1", ""};
  auto transaction = db.write();
  storage::MutationRecord record;
  record.client_mutation_id = "m1";
  record.user_id = "u1";
  record.owner_id = "o1";
  record.applied = true;
  record.conflicts = R"([{"table":"tasks"}])";
  ASSERT_TRUE(transaction->put_mutation(record).has_value());
  record.client_mutation_id = "m2";
  record.client_id = "c1";
  record.mutation_id = MutationId{7};
  record.conflicts.clear();
  ASSERT_TRUE(transaction->put_mutation(record).has_value());
  commit(std::move(transaction));
  const auto read = db.write();
  EXPECT_EQ((**read->mutation(actor, "m1")).conflicts, R"([{"table":"tasks"}])");
  EXPECT_EQ((**read->mutation("c1", MutationId{7})).conflicts, "");
}

}  // namespace
}  // namespace nizhal::testing
