// What commits tell of mutations, and what the file tells of them later: the tickets' two sources.
#include "client/client_test_support.hpp"
#include "client/commit.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::World;
using Kind = Settlement::Kind;

/// Keeps what the commits of a device tell.
class Listener : public CommitListener {
 public:
  explicit Listener(LocalStore& store) : store_(store) { store_.add_listener(*this); }
  ~Listener() override { store_.remove_listener(*this); }
  void committed(std::shared_ptr<const Commit> commit) override {
    for (const Settlement& settlement : commit->settlements) told[settlement.client_mutation_id].push_back(settlement);
  }
  void storage_changed() override { ++storage_changes; }
  std::vector<Kind> kinds(const std::string& id) const {
    std::vector<Kind> kinds;
    if (const auto it = told.find(id); it != told.end())
      for (const Settlement& settlement : it->second) kinds.push_back(settlement.kind);
    return kinds;
  }

  std::map<std::string, std::vector<Settlement>> told;
  int storage_changes = 0;

 private:
  LocalStore& store_;
};

struct Settlements : World {
  std::optional<Tier> tier(const std::string& id) {
    const auto standing = device.store().standing(id);
    EXPECT_TRUE(standing) << (standing ? "" : standing.error().message);
    return standing ? standing->tier : std::nullopt;
  }
  std::string code(const std::string& id) { return device.store().standing(id)->outcome.code; }
};

TEST_F(Settlements, AMutationIsAppliedByTheReplyAndConfirmedByThePull) {
  Listener listener(device.store());
  const std::string id = device.add("n1", "mine");
  EXPECT_EQ(tier(id), Tier::on_device);
  device.push(server);
  EXPECT_EQ(listener.kinds(id), std::vector{Kind::applied});
  EXPECT_EQ(tier(id), Tier::on_server);
  device.pull(server);
  EXPECT_EQ(listener.kinds(id), (std::vector{Kind::applied, Kind::confirmed}));
  EXPECT_EQ(tier(id), Tier::confirmed);
  EXPECT_TRUE(device.store().standing(id)->outcome.is_done());
}

TEST_F(Settlements, WhenThePullComesFirstTheReplyTellsBoth) {
  Listener listener(device.store());
  const std::string id = device.add("n1", "mine");
  device.push(server, Device::Reply::is_lost);
  device.pull(server);
  EXPECT_TRUE(listener.told.empty()) << "covered, but nobody knows how it ended";
  EXPECT_EQ(tier(id), Tier::on_device);
  device.push(server);
  EXPECT_EQ(listener.kinds(id), (std::vector{Kind::applied, Kind::confirmed}));
  EXPECT_EQ(tier(id), Tier::confirmed);
}

TEST_F(Settlements, ARefusalAndThoseThatGoWithItAreToldWithTheirCodes) {
  Listener listener(device.store());
  const std::string cause = device.add("n1", "reject");
  const std::string dependent = device.add("n2", "fine", {.depends_on = {cause}});
  device.sync(server);
  ASSERT_EQ(listener.kinds(cause), std::vector{Kind::refused});
  EXPECT_EQ(listener.told[cause][0].outcome.code, "refused_body");
  ASSERT_EQ(listener.kinds(dependent), std::vector{Kind::refused});
  EXPECT_EQ(listener.told[dependent][0].outcome.code, "dependency_rejected");
  EXPECT_EQ(tier(cause), Tier::confirmed);
  EXPECT_EQ(code(cause), "refused_body");
}

TEST_F(Settlements, WhatTheServerCannotTakeIsToldAsRefusedAndItsSkipIsNotToldAtAll) {
  Listener listener(device.store());
  const std::string id = device.add("n1", "poison");
  ASSERT_TRUE(device.store().next_push(10, 1 << 20));
  ASSERT_TRUE(device.store().dead_letter(id, "too_large", "413"));
  device.sync(server);
  EXPECT_EQ(listener.kinds(id), std::vector{Kind::refused});
  EXPECT_EQ(code(id), "too_large");
}

TEST_F(Settlements, WhatBecameOfAMutationIsKnownAfterARestartAndAfterItsDeadLetterIsGone) {
  const std::string done = device.add("n1", "mine");
  const std::string refused = device.add("n2", "reject");
  device.sync(server);
  device.reopen();
  EXPECT_EQ(tier(done), Tier::confirmed);
  EXPECT_EQ(code(refused), "refused_body");
  const std::int64_t letter = device.dead_letters()[0].id;
  ASSERT_TRUE(device.store().discard(letter));
  EXPECT_EQ(tier(refused), Tier::confirmed);
  EXPECT_EQ(code(refused), "refused_body");
  EXPECT_EQ(tier("no such mutation"), std::nullopt);
}

TEST_F(Settlements, OnlyTheNewestAreRemembered) {
  const std::string first = device.add("n1", "mine");
  device.sync(server);
  ASSERT_EQ(device.sql_text("SELECT count(*) FROM nizhal_settled"), "1");
  const std::string make_many =
      "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= " + std::to_string(kSettledMax) +
      ") INSERT INTO nizhal_settled(ordinal, client_mutation_id) SELECT i, 'x' FROM n";
  device.write_sql(make_many);
  device.add("n2", "mine too");
  device.sync(server);
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_settled"), std::to_string(kSettledMax));
  EXPECT_EQ(tier(first), std::nullopt);
}

TEST_F(Settlements, ATransactionThatFailsTellsNothing) {
  Listener listener(device.store());
  const std::string id = device.add("n1", "mine");
  auto sent = device.store().next_push(10, 1 << 20);
  ASSERT_TRUE(sent);
  const protocol::PushReply reply = server.push(*sent);
  device.write_sql("CREATE TRIGGER no_more BEFORE UPDATE ON nizhal_outbox BEGIN SELECT RAISE(ABORT, 'no'); END");
  EXPECT_FALSE(device.store().settle_push(*sent, reply));
  EXPECT_TRUE(listener.told.empty());
  device.write_sql("DROP TRIGGER no_more");
  ASSERT_TRUE(device.store().settle_push(*sent, reply));
  EXPECT_EQ(listener.kinds(id), std::vector{Kind::applied});
}

}  // namespace
}  // namespace nizhal::client
