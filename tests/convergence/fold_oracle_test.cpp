// Oracle 1 (fold) as a property: after every complete pull a device's copy equals the in-scope SELECT, whatever
// writers do between and during its pulls. The model device speaks the wire protocol; the writers are another program
// on the same file (plain SQL in transactions, with savepoints rolled back) and pushes through the mutators.
#include <gtest/gtest.h>

#include <deque>

#include <fmt/format.h>

#include "base/test_seed.hpp"
#include "domain/value_json.hpp"
#include "examples/notes/notes.hpp"
#include "protocol/pull.hpp"
#include "tests/support/model_device.hpp"
#include "tests/support/notes_model.hpp"
#include "tests/support/require.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

constexpr std::uint64_t kIds = 40, kTeams = 4, kUsers = 3;

std::string random_statement(Random& random, bool is_sqlite) {
  const auto id = random.below(kIds), team = random.below(kTeams), user = random.below(kUsers);
  const auto body = random.below(1'000'000);
  switch (random.below(12)) {
    case 0:
    case 1:
      return fmt::format(
          "INSERT INTO team_notes(id, team_id, body) VALUES('r{}', 't{}', 'b{}') "
          "ON CONFLICT(id) DO UPDATE SET body = excluded.body",
          id, team, body);
    case 2:
    case 3:
      return fmt::format("UPDATE team_notes SET team_id = 't{}' WHERE id = 'r{}'", team, id);
    case 4:
      return fmt::format("DELETE FROM team_notes WHERE id = 'r{}'", id);
    case 5:
      if (is_sqlite)
        return fmt::format("INSERT OR REPLACE INTO team_notes(id, team_id, body) VALUES('r{}', 't{}', 'c{}')", id, team,
                           body);
      return fmt::format(
          "INSERT INTO team_notes(id, team_id, body) VALUES('r{}', 't{}', 'c{}') "
          "ON CONFLICT(id) DO UPDATE SET team_id = excluded.team_id, body = excluded.body",
          id, team, body);
    case 6:
      return fmt::format(
          "INSERT INTO notes(id, owner_id, body) VALUES('r{}', 'o{}', 'n{}') "
          "ON CONFLICT(id) DO UPDATE SET body = excluded.body, owner_id = excluded.owner_id",
          id, user, body);
    case 7:
      return fmt::format("DELETE FROM notes WHERE id = 'r{}'", id);
    case 8:
      return fmt::format(
          "UPDATE team_notes SET id = 'r{0}' WHERE id = 'r{1}' "
          "AND NOT EXISTS (SELECT 1 FROM team_notes WHERE id = 'r{0}')",
          random.below(kIds), id);
    case 9:
      return fmt::format(
          "INSERT INTO team_members(id, user_id, team_id) VALUES('m{}', 'u{}', 't{}') ON CONFLICT DO NOTHING",
          random.below(20), user, team);
    case 10:
      return fmt::format("DELETE FROM team_members WHERE id = 'm{}'", random.below(20));
    default:
      return fmt::format("UPDATE team_members SET user_id = 'u{}', team_id = 't{}' WHERE id = 'm{}'", user, team,
                         random.below(20));
  }
}

void write_outside(World& world) {
  const bool is_sqlite = world.backend().is_sqlite();
  std::string script = is_sqlite ? "BEGIN IMMEDIATE;" : "BEGIN;";
  const auto statements = 1 + world.random.below(4);
  for (std::uint64_t i = 0; i < statements; ++i) {
    script += random_statement(world.random, is_sqlite) + ";";
    if (world.random.below(5) == 0)
      script += "SAVEPOINT s;" + random_statement(world.random, is_sqlite) +
                (world.random.below(2) ? ";ROLLBACK TO s;RELEASE s;" : ";RELEASE s;");
  }
  script += world.random.below(8) == 0 ? "ROLLBACK" : "COMMIT";
  world.sql(script);
}

void write_by_mutator(World& world, const std::vector<Actor>& actors, std::uint64_t& serial) {
  Random& random = world.random;
  const Actor& actor = actors[random.below(actors.size())];
  const auto mutation = [&](const std::string& name, const std::string& args) {
    return fmt::format(R"({{"name":"{}","args":{},"clientMutationId":"cm{}"}})", name, args, ++serial);
  };
  std::string mutations;
  for (std::uint64_t i = 0, count = 1 + random.below(3); i < count; ++i) {
    if (i > 0) mutations += ',';
    const auto id = random.below(kIds), team = random.below(kTeams);
    switch (random.below(5)) {
      case 0:
        mutations += mutation("addTeamNote", fmt::format(R"({{"id":"r{}","team_id":"t{}","body":"m"}})", id, team));
        break;
      case 1:
        mutations += mutation("moveTeamNote", fmt::format(R"({{"id":"r{}","team_id":"t{}"}})", id, team));
        break;
      case 2:
        mutations += mutation("deleteTeamNote", fmt::format(R"({{"id":"r{}"}})", id));
        break;
      case 3:
        mutations += mutation("addNote", fmt::format(R"({{"id":"r{}","body":"m{}"}})", id, serial));
        break;
      default:
        mutations +=
            mutation("removeTeamMember", fmt::format(R"({{"user_id":"{}","team_id":"t{}"}})", actor.user_id, team));
    }
  }
  const auto response = world.post("/sync/push", actor, R"({"results":true,"mutations":[)" + mutations + "]}");
  ASSERT_EQ(response.status, 200) << response.body;
}

/// The device's engine fed with the same pages, now and then closed and opened again. The model device says what the
/// protocol means, this one what the engine makes of it.
class EngineDevice {
 public:
  EngineDevice(World& world, std::shared_ptr<const CompiledDomain> domain, Actor actor)
      : world_(world), domain_(std::move(domain)), actor_(std::move(actor)), random_(1) {
    open();
  }
  void open() {
    store_.reset();
    client::LocalStoreOptions options;
    options.path = world_.dir.file("engine-" + actor_.user_id + ".db");
    options.domain = domain_;
    options.actor = actor_;
    store_ = require(client::LocalStore::open(std::move(options), world_.clock, random_, Log{}), "open a device");
  }
  protocol::PullRequest next_pull(std::size_t limit) { return require(store_->next_pull(limit), "next pull"); }
  bool take(const protocol::PullRequest& sent, const std::string& body) {
    const auto page = require(protocol::decode_page(domain_->domain(), body), "decode a page");
    return require(store_->apply_page(sent, page), "apply a page").complete;
  }
  std::map<std::string, std::string> rows() {
    std::map<std::string, std::string> rows;
    for (const auto& table : domain_->tables()) {
      QuerySpec all;
      all.table = table.get();
      for (const Row& row : require(store_->query(all), "query")) {
        std::string id, text;
        append_value_json(id, table->key_column().type, row[table->key_index()]);
        append_row_json(text, *table, row);
        rows[table->name + "|" + id] = text;
      }
    }
    return rows;
  }

 private:
  World& world_;
  std::shared_ptr<const CompiledDomain> domain_;
  Actor actor_;
  SeededRandom random_;
  std::unique_ptr<client::LocalStore> store_;
};

struct Tally {
  std::uint64_t comparisons = 0, rows = 0, removals = 0, lost_buckets = 0, resets = 0, multi_page = 0;
};

void run_history(BackendKind kind, std::uint64_t seed, Tally& tally) {
  World world(seed, notes::domain(), {}, kind);
  Random& random = world.random;
  const std::vector<Actor> actors{{"u0", "o0", ""}, {"u1", "o1", ""}, {"u2", "o2", ""}};
  std::vector<ModelDevice> devices;
  for (std::size_t i = 0; i < actors.size(); ++i) devices.emplace_back(notes_buckets);
  const auto domain = require(CompiledDomain::compile(notes::domain()), "compile");
  std::deque<EngineDevice> engines;
  for (const Actor& actor : actors) engines.emplace_back(world, domain, actor);
  const std::uint64_t limits[] = {1, 2, 5, 12, 50};
  const std::uint64_t limit = limits[random.below(5)];
  std::uint64_t serial = 0;

  for (int step = 0; step < 400; ++step) {
    const auto what = random.below(10);
    if (what < 4) {
      write_outside(world);
    } else if (what < 5) {
      write_by_mutator(world, actors, serial);
      if (::testing::Test::HasFatalFailure()) return;
    } else {
      const std::size_t who = random.below(devices.size());
      ModelDevice& device = devices[who];
      EngineDevice& engine = engines[who];
      if (random.below(20) == 0) engine.open();
      const protocol::PullRequest pull = engine.next_pull(limit);
      const auto response = world.post("/sync/pull", actors[who], protocol::encode_pull_request(pull));
      ASSERT_EQ(response.status, 200) << response.body;
      if (random.below(6) == 0) continue;  // the reply is lost: the same cursor is asked again
      std::string problem;
      const bool complete = device.take(response.body, problem);
      ASSERT_EQ(problem, "") << "seed " << seed << " step " << step << "\n" << response.body;
      ASSERT_EQ(engine.take(pull, response.body), complete);
      if (complete) {
        ++tally.comparisons;
        const auto expected = notes_in_scope(world.outside(), actors[who]);
        tally.rows += expected.size();
        ASSERT_EQ(device.rows(), expected) << "seed " << seed << ", step " << step << ", device " << who << ", limit "
                                           << limit << "\nlast page: " << response.body;
        ASSERT_EQ(engine.rows(), expected) << "the engine; seed " << seed << ", step " << step << ", device " << who;
      }
    }
    if (random.below(150) == 0) {
      world.clock.advance(std::chrono::hours(1));
      const auto report = world.storage().gc(Timestamp{world.clock.now().microseconds - 60'000'000});
      ASSERT_TRUE(report) << report.error().message;
    }
  }
  for (const ModelDevice& device : devices) {
    tally.removals += device.removals;
    tally.lost_buckets += device.buckets_lost;
    tally.resets += device.resets;
    tally.multi_page += device.pages - device.completes;
  }
}

class FoldOracle : public ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, FoldOracle, every_backend(), kind_name);

TEST_P(FoldOracle, AfterEveryCompletePullTheDeviceEqualsTheInScopeSelect) {
  const std::uint64_t seed = test_seed("fold oracle", 20260102);
  const std::uint64_t runs = GetParam() == BackendKind::sqlite ? 40 : 10;
  Tally tally;
  for (std::uint64_t run = 0; run < runs; ++run) {
    run_history(GetParam(), seed + run, tally);
    if (HasFatalFailure()) return;
  }
  std::cout << fmt::format(
      "{} comparisons, {} rows compared, {} removals, {} buckets lost, {} resets, {} pages with more\n",
      tally.comparisons, tally.rows, tally.removals, tally.lost_buckets, tally.resets, tally.multi_page);
  // The histories meant something: every kind of event was met.
  EXPECT_GT(tally.comparisons, runs * 25);
  EXPECT_GT(tally.rows, runs * 125);
  EXPECT_GT(tally.removals, runs * 5);
  EXPECT_GT(tally.lost_buckets, runs * 2);
  EXPECT_GT(tally.resets, 5U);
  EXPECT_GT(tally.multi_page, runs * 12);
}

}  // namespace
}  // namespace nizhal::testing
