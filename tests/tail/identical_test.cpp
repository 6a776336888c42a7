// With the tail or without it, every pull gets the same bytes: over random histories with other programs' writes,
// transactions that commit out of order, memberships that come and go, pruning, new epochs, budgets of any size, and a
// tail that is begun anew in the middle.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "base/test_seed.hpp"
#include "tests/tail/tail_world.hpp"

namespace nizhal::testing {
namespace {

const Names kKeys{"a", "b", "c/d", "e%", "f", "g"};
const Names kScopes{"u1", "u2", "team:t1", "t1", "t2", "x/y", "", "50%"};
const Names kKinds{"plain", "named", "private"};
const Names kUsers{"u1", "u2", "t1"};
const Names kBuckets{"u1",      "u2",      "t1",      "x/y",       "team:t1", "team:t2",
                     "team:u1", "shelf:3", "shelf:1", "r/1/x%2Fy", "r/1/t1",  "r/2/t1"};

struct Device {
  Actor actor;
  protocol::PullRequest request;
  std::vector<std::string> cursors{""};  // all that it ever had
};

class History {
 public:
  History(BackendKind kind, std::uint64_t seed) : random_(seed), world_(kind, limits()) {
    for (const std::string& user : kUsers) {
      for (int i = 0; i < 3; ++i) {
        Device device;
        device.actor = {user, i == 2 ? "t2" : user, i == 1 ? R"({"shelf":3})" : ""};
        if (i > 0) device.request.device_id = "c-" + user;
        if (i == 2) device.request.limit = 1 + random_.below(3);
        devices_.push_back(std::move(device));
      }
    }
    for (std::size_t i = 0; i < writers_.size(); ++i) {
      writers_[i].program = world_.db.backend->other_program();
      if (!is_sqlite()) writers_[i].program->run("SET lock_timeout = 20");
    }
    if (!is_sqlite()) world_.db.other->run("SET lock_timeout = 20");
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      if (random_.below(3) != 0) change();
      if (random_.below(6) == 0) look();
      ask(devices_[random_.below(devices_.size())]);
    }
    for (Writer& writer : writers_)
      if (writer.is_open) writer.program->try_run("ROLLBACK");
    figures = world_.tail->figures();
    figures.hits += hits_;
    figures.misses += misses_;
  }
  server::TailFigures figures;

 private:
  /// A transaction that stays open while others commit.
  struct Writer {
    std::unique_ptr<OtherProgram> program;
    bool is_open = false;
  };

  server::Limits limits() {
    server::Limits limits;
    constexpr std::size_t kBudgets[] = {64 << 20, 64 << 20, 24'000, 8'000, 2'000, 1};
    constexpr std::size_t kRows[] = {20'000, 20'000, 12, 3};
    limits.tail_bytes_max = kBudgets[random_.below(std::size(kBudgets))];
    limits.tail_rows_max = kRows[random_.below(std::size(kRows))];
    if (random_.below(2) == 0) limits.idle_answers_max = 0;
    return limits;
  }
  bool is_sqlite() const { return world_.db.backend->is_sqlite(); }
  const std::string& pick(const Names& names) { return names[random_.below(names.size())]; }
  static std::string literal(const std::string& text) { return "'" + text + "'"; }
  std::string maybe_null(const std::string& sql) { return random_.below(5) == 0 ? "NULL" : sql; }
  std::string number() { return std::to_string(1 + random_.below(3)); }
  std::string boolean() { return world_.db.backend->boolean(random_.below(4) == 0); }

  std::string values(std::size_t table) {
    switch (table) {
      case 0:
        return fmt::format("({}, {}, {}, {}, {}, {})", literal(pick(kKeys)), literal(pick(kScopes)),
                           maybe_null(literal(pick(kScopes))), literal(pick(kKinds)), literal(pick(kScopes)),
                           maybe_null(number()));
      case 1:
        return fmt::format("({}, {}, {}, 'reader')", literal(pick(kKeys)), literal(pick(kUsers)),
                           literal(pick(kScopes)));
      case 2:
        return fmt::format("({}, {}, {}, {}, {})", random_.below(6), number(), literal(pick(kScopes)),
                           maybe_null("'open'"), boolean());
      default:
        return fmt::format("({}, {}, {}, {})", literal(pick(kKeys)), literal(pick(kUsers)), number(),
                           literal(pick(kScopes)));
    }
  }
  std::string assignment(std::size_t table) {
    switch (random_.below(table == 0 ? 4 : 2)) {
      case 0:
        return table == 2   ? "region = " + literal(pick(kScopes))
               : table == 3 ? "shop = " + number()
                            : "team_id = " + literal(pick(kScopes));
      case 1:
        return table == 0   ? "kind = " + literal(pick(kKinds))
               : table == 2 ? "hidden = " + boolean()
                            : "user_id = " + literal(pick(kUsers));
      case 2:
        return "shelf = " + maybe_null(number());
      default:
        return "owner_id = " + literal(pick(kScopes));
    }
  }
  std::string statement(bool is_whole) {
    // Memberships less often than what is in the buckets.
    const std::size_t table =
        std::size_t{0} + (random_.below(3) == 0 ? 1 + 2 * random_.below(2) : 2 * random_.below(2));
    const std::string& name = world_.db.domain->table(table).name;
    const std::string key = table == 2 ? std::to_string(random_.below(6)) : literal(pick(kKeys));
    switch (random_.below(6)) {
      case 0:
      case 1: {
        std::string columns, all;
        for (const ColumnDef& column : world_.db.domain->table(table).columns) {
          columns += (columns.empty() ? "" : ", ") + column.name;
          if (column.name != "id") all += fmt::format("{0}{1} = excluded.{1}", all.empty() ? "" : ", ", column.name);
        }
        return fmt::format("INSERT INTO {} ({}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}", name, columns,
                           values(table), all);
      }
      case 2:
      case 3:
        return fmt::format("UPDATE {} SET {} WHERE id = {}", name, assignment(table), key);
      case 4:
        return fmt::format("DELETE FROM {} WHERE id = {}", name, key);
      default: {
        // Not where it stays open: readers would wait for it.
        if (is_whole && random_.below(6) == 0) return world_.db.backend->empty_table(name);
        const std::string to = table == 2 ? std::to_string(random_.below(6)) : literal(pick(kKeys));
        return fmt::format("DELETE FROM {} WHERE id = {}; UPDATE {} SET id = {} WHERE id = {}", name, to, name, to,
                           key);
      }
    }
  }

  void change() {
    switch (random_.below(14)) {
      case 0:
        return handled_mutation();
      case 1:
        return handled_mutation();
      case 2: {
        world_.clock.advance(std::chrono::hours(1));
        // Of all rows and removals so far, or of none but very old ones.
        const std::int64_t before = random_.below(3) == 0 ? world_.clock.now().microseconds * 10 : 1;
        EXPECT_TRUE(world_.db.storage->gc(Timestamp{before}));
        return;
      }
      case 3:
        if (random_.below(8) == 0) {
          EXPECT_TRUE(world_.db.storage->rotate_epoch());
        }
        return;
      case 4:
        if (random_.below(8) == 0) {
          const auto before = world_.tail->figures();
          hits_ += before.hits;
          misses_ += before.misses;
          world_.restart_tail();
          told_everything_ = false;
          told_.clear();
        }
        return;
      case 5:
      case 6:
      case 7:
      case 8:
        if (!is_sqlite()) return write_slowly(writers_[random_.below(writers_.size())]);
        [[fallthrough]];
      default:
        // What another transaction holds is not waited for.
        (void)world_.db.other->try_run(statement(true));
    }
  }

  /// Begins, writes more, or ends.
  void write_slowly(Writer& writer) {
    if (!writer.is_open) {
      writer.program->run("BEGIN");
      writer.is_open = true;
    } else if (random_.below(3) == 0) {
      writer.program->run(random_.below(4) == 0 ? "ROLLBACK" : "COMMIT");
      writer.is_open = false;
      return;
    }
    if (!writer.program->try_run(statement(false)).empty()) {
      writer.program->run("ROLLBACK");
      writer.is_open = false;
    }
  }

  /// As a push: a row, or none when it was refused, the client's record, and the audit.
  void handled_mutation() {
    const std::string user = pick(kUsers);
    auto opened = world_.db.storage->write(world_.clock.now(), {.time_max = std::chrono::milliseconds(200)});
    if (!opened) return;
    storage::WriteTransaction& transaction = **opened;
    const TableDef& def = world_.db.domain->table(0);
    if (random_.below(3) != 0) {
      const Row row{pick(kKeys), user, Value{}, pick(kKinds), pick(kScopes), Value{}};
      const auto inserted = transaction.insert(def, row);
      if (!inserted) return;
      if (!*inserted && !transaction.update(def, row[0], {{3, row[3]}})) return;
    }
    const MutationId id{++mutations_};
    const std::string cmid = "m" + std::to_string(nizhal::number(id));
    storage::ClientRecord client{"c-" + user, user, user, id, cmid, ""};
    storage::AuditRow audit;
    audit.user_id = audit.owner_id = user;
    audit.client_id = client.client_id;
    audit.mutation_id = id;
    audit.client_mutation_id = cmid;
    audit.mutator = "any";
    audit.outcome = "applied";
    audit.changes = "[]";
    if (!transaction.put_client(client) || !transaction.put_audit(audit)) return;
    (void)transaction.commit();
  }

  void ask(Device& device) {
    protocol::PullRequest request = device.request;
    if (random_.below(6) == 0) request.sync_rule = pick({"own", "teams", "regional"});
    if (random_.below(6) == 0) request.buckets = {pick(kBuckets), pick(kBuckets)};
    if (random_.below(6) == 0) request.sync_rules = {pick({"own", "teams", "regional"})};
    if (random_.below(8) == 0) request.schema = {{"docs", pick({"1", "2"})}, {"orders", "1"}};
    if (random_.below(8) == 0) request.device_id = "c-" + pick(kUsers);
    request.cursor = device.cursors.back();
    // One that is old, or another device's.
    if (random_.below(10) == 0) request.cursor = device.cursors[random_.below(device.cursors.size())];
    if (random_.below(20) == 0) request.cursor = devices_[random_.below(devices_.size())].cursors.back();
    for (int page = 0; page < 200 && !::testing::Test::HasFailure(); ++page) {
      const std::string answer = world_.pull(device.actor, request);
      request.cursor = cursor_of(answer);
      if (!has_more(answer)) break;
      if (random_.below(3) == 0) change();
    }
    device.cursors.push_back(request.cursor);
  }

  /// What the poker is told covers whatever the tables show.
  void look() {
    const server::TailNews news = world_.tail->look();
    if (news.everything) {
      told_everything_ = true;
      told_.clear();
      told_from_ = news.position.horizon;
      return;
    }
    told_.insert(news.changes.begin(), news.changes.end());
    if (!told_everything_) return;
    const auto snapshot = world_.db.snapshot();
    for (const std::string& key : kBuckets) {
      const Covered covered = world_.db.cover(key);
      const auto rows = snapshot->live_rows(covered.after(told_from_));
      const auto removals = snapshot->live_removals(covered.after(told_from_));
      ASSERT_TRUE(rows && removals);
      for (const auto& row : *rows)
        EXPECT_TRUE(told_.contains({row.version, key})) << key << " at " << nizhal::number(row.version);
      for (const auto& removal : *removals)
        EXPECT_TRUE(told_.contains({removal.version, key})) << key << " at " << nizhal::number(removal.version);
    }
  }

  SeededRandom random_;
  TailWorld world_;
  std::vector<Device> devices_;
  std::array<Writer, 2> writers_;
  std::uint64_t mutations_ = 0, hits_ = 0, misses_ = 0;
  bool told_everything_ = false;
  Version told_from_{};
  std::set<std::pair<Version, std::string>> told_;
};

class Identical : public OnEveryBackend {};
INSTANTIATE_TEST_SUITE_P(On, Identical, every_backend(), kind_name);

TEST_P(Identical, WithTheTailAndWithoutItEveryPullGetsTheSameBytes) {
  const std::uint64_t seed = test_seed("tail");
  std::uint64_t hits = 0, misses = 0;
  for (std::uint64_t run = 0; run < 12 && !HasFailure(); ++run) {
    History history(GetParam(), seed + run);
    history.run(150);
    EXPECT_FALSE(HasFailure()) << "in history " << seed + run;
    hits += history.figures.hits;
    misses += history.figures.misses;
  }
  std::printf("%llu pages came from the tail, %llu from the tables\n", static_cast<unsigned long long>(hits),
              static_cast<unsigned long long>(misses));
  EXPECT_GT(hits, 300U);
  EXPECT_GT(misses, 100U);
}

}  // namespace
}  // namespace nizhal::testing
