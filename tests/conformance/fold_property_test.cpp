// The fold oracle on the storage alone, on both kinds of database: whatever is written, by the engine or by another
// program, the changes and removals of a bucket since any earlier version rebuild exactly the rows that are in it, as
// CompiledDomain::buckets_of says.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>

#include <set>

#include "base/test_seed.hpp"
#include "tests/backends/office_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

using storage::CoveredBucket;
using storage::EncodedRow;
using storage::LiveQuery;
using storage::Removal;
using storage::Snapshot;

/// table/key → row as JSON
using Rows = std::map<std::string, std::string>;

const Names kKeys{"a", "b", "c/d", "e%", "f", "g"};
const Names kScopes{"u1", "u2", "team:t1", "shelf:3", "r/1/x", "t1", "t2", "x/y", "", "50%"};
const Names kKinds{"plain", "named", "private", ""};
const Names kBuckets{"u1",       "u2",      "t1",        "50%",       "x/y",       "team:t1", "team:t2", "team:u1",
                     "team:x/y", "shelf:3", "shelf:-12", "r/1/x%2Fy", "r/1/50%25", "r/2/t1",  "r/-7/t1"};
const Names kUsers{"u1", "u2", "t1"};

class History {
 public:
  History(BackendKind kind, std::uint64_t seed) : random_(seed), db_(kind, office_domain()) {
    for (const std::string& key : kBuckets) devices_[key];
  }

  void run(int rounds) {
    for (int round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
      const auto grants_before = all_grants();
      const auto mark_before = db_.storage->change_mark()->grants;
      const Version before = db_.last();
      if (random_.below(2) == 0)
        engine_transaction();
      else
        foreign_transaction();
      check_grants(grants_before, before, mark_before);
      check_buckets();
    }
  }

 private:
  const std::string& pick(const Names& names) { return names[random_.below(names.size())]; }
  std::string literal(const std::string& text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? "''" : std::string(1, c);
    return out + "'";
  }
  std::string maybe_null(const std::string& sql) { return random_.below(5) == 0 ? "NULL" : sql; }
  bool is_sqlite() const { return db_.backend->is_sqlite(); }
  /// In the words that programs use for it.
  std::string boolean() {
    return is_sqlite() ? pick({"0", "0", "1", "'true'", "'no'"}) : pick({"false", "'0'", "'1'", "true", "'no'"});
  }
  std::string whole_number() { return pick({"1", "2", "3", "-7", "-12"}); }

  std::string values(std::size_t table) {
    switch (table) {
      case 0:
        return fmt::format("({}, {}, {}, {}, {}, {})", literal(pick(kKeys)), literal(pick(kScopes)),
                           maybe_null(literal(pick(kScopes))), literal(pick(kKinds)), literal(pick(kScopes)),
                           maybe_null(whole_number()));
      case 1:
        return fmt::format("({}, {}, {}, {})", literal(pick(kKeys)), literal(pick(kUsers)), literal(pick(kScopes)),
                           pick({"'reader'", "'guest'"}));
      case 2:
        return fmt::format("({}, {}, {}, {}, {})", random_.below(6), whole_number(), literal(pick(kScopes)),
                           maybe_null("'open'"), boolean());
      default:
        return fmt::format("({}, {}, {}, {})", literal(pick(kKeys)), literal(pick(kUsers)), whole_number(),
                           literal(pick(kScopes)));
    }
  }
  std::string columns(std::size_t table) {
    std::string text;
    for (const ColumnDef& column : db_.domain->table(table).columns) text += (text.empty() ? "" : ", ") + column.name;
    return text;
  }
  std::string key(std::size_t table) { return table == 2 ? std::to_string(random_.below(6)) : literal(pick(kKeys)); }
  std::string assignment(std::size_t table) {
    switch (random_.below(table == 0 ? 5 : 3)) {
      case 0:
        return table == 2   ? "region = " + literal(pick(kScopes))
               : table == 3 ? "shop = " + whole_number()
                            : "team_id = " + literal(pick(kScopes));
      case 1:
        return table == 0   ? "kind = " + literal(pick(kKinds))
               : table == 1 ? "role = 'reader'"
               : table == 2 ? "state = NULL"
                            : "user_id = " + literal(pick(kUsers));
      case 2:
        return table == 0   ? "shelf = " + maybe_null(whole_number())
               : table == 1 ? "user_id = " + literal(pick(kUsers))
               : table == 2 ? "hidden = NOT orders.hidden"
                            : "region = " + literal(pick(kScopes));
      case 3:
        return "client_id = " + literal(pick(kScopes));
      default:
        return "owner_id = " + literal(pick(kScopes));
    }
  }

  std::string statement() {
    const std::size_t table = random_.below(4);
    const std::string& name = db_.domain->table(table).name;
    const bool or_replace = is_sqlite() && random_.below(2) == 0;
    switch (random_.below(12)) {
      case 0:
      case 1:
        return fmt::format("INSERT INTO {} ({}) VALUES {}, {} ON CONFLICT DO NOTHING", name, columns(table),
                           values(table), values(table));
      case 2:
      case 3:
        if (or_replace)
          return fmt::format("INSERT OR REPLACE INTO {} ({}) VALUES {}, {}", name, columns(table), values(table),
                             values(table));
        return overwrite(table);
      case 4:
        return fmt::format("INSERT INTO {} ({}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}", name, columns(table),
                           values(table), assignment(table));
      case 5:
        if (or_replace)
          return fmt::format("INSERT OR IGNORE INTO {} ({}) VALUES {}", name, columns(table), values(table));
        if (random_.below(8) == 0) return db_.backend->empty_table(name);
        return overwrite(table);
      case 6:
        return fmt::format("UPDATE {} SET {} WHERE id = {}", name, assignment(table), key(table));
      case 7:
        return fmt::format("UPDATE {} SET {} WHERE id > {}", name, assignment(table), key(table));
      case 8: {
        if (or_replace)
          return fmt::format("UPDATE OR REPLACE {} SET id = {} WHERE id = {}", name, key(table), key(table));
        const std::string to = key(table);
        return fmt::format("DELETE FROM {} WHERE id = {}; UPDATE {} SET id = {} WHERE id = {}", name, to, name, to,
                           key(table));
      }
      case 9: {
        const std::string to = key(table);
        return fmt::format("UPDATE {} SET id = {}, {} WHERE id = {} AND NOT EXISTS (SELECT 1 FROM {} WHERE id = {})",
                           name, to, assignment(table), key(table), name, to);
      }
      case 10:
        return fmt::format("DELETE FROM {} WHERE id = {}", name, key(table));
      default:
        return fmt::format("DELETE FROM {} WHERE id >= {}", name, key(table));
    }
  }
  /// An upsert of the whole row.
  std::string overwrite(std::size_t table) {
    std::string all;
    for (const ColumnDef& column : db_.domain->table(table).columns)
      if (column.name != "id")
        all += fmt::format("{}{} = excluded.{}", all.empty() ? "" : ", ", column.name, column.name);
    return fmt::format("INSERT INTO {} ({}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}", db_.domain->table(table).name,
                       columns(table), values(table), all);
  }

  void foreign_transaction() {
    if (is_sqlite())
      db_.other->run(random_.below(4) == 0 ? "PRAGMA recursive_triggers = ON" : "PRAGMA recursive_triggers = OFF");
    const bool in_transaction = random_.below(2) == 0;
    if (in_transaction) db_.other->run("BEGIN");
    for (std::uint64_t i = random_.below(4); i < 4; ++i) {
      const bool in_savepoint = in_transaction && random_.below(3) == 0;
      if (in_savepoint) db_.other->run("SAVEPOINT s");
      db_.other->run(statement());
      if (in_savepoint) db_.other->run(random_.below(2) == 0 ? "ROLLBACK TO s; RELEASE s" : "RELEASE s");
    }
    if (in_transaction) db_.other->run(random_.below(4) == 0 ? "ROLLBACK" : "COMMIT");
  }

  Row engine_row(std::size_t table) {
    const auto optional = [this](Value value) { return random_.below(5) == 0 ? Value{} : value; };
    const auto number = [this] { return static_cast<std::int64_t>(random_.below(4)); };
    switch (table) {
      case 0:
        return {pick(kKeys), pick(kScopes), optional(pick(kScopes)), pick(kKinds), pick(kScopes), optional(number())};
      case 1:
        return {pick(kKeys), pick(kUsers), pick(kScopes), pick({"reader", "guest"})};
      case 2:
        return {number(), number(), pick(kScopes), optional("open"), random_.below(3) == 0};
      default:
        return {pick(kKeys), pick(kUsers), number(), pick(kScopes)};
    }
  }

  void engine_transaction() {
    auto transaction =
        db_.write(1'000'000, random_.below(4) == 0 ? storage::WriteMode::serializable : storage::WriteMode::careful);
    for (std::uint64_t i = random_.below(5); i < 5; ++i) {
      ASSERT_TRUE(transaction->savepoint().has_value());
      const std::size_t table = random_.below(4);
      const TableDef& def = db_.domain->table(table);
      const Row row = engine_row(table);
      switch (random_.below(3)) {
        case 0: {
          const auto inserted = transaction->insert(def, row);
          ASSERT_TRUE(inserted.has_value()) << inserted.error().message;
          break;
        }
        case 1: {
          const std::size_t column = 1 + random_.below(def.columns.size() - 1);
          const auto updated = transaction->update(def, row[0], {{column, row[column]}});
          ASSERT_TRUE(updated.has_value()) << updated.error().message;
          break;
        }
        default:
          ASSERT_TRUE(transaction->remove(def, row[0]).has_value());
      }
      if (random_.below(4) == 0) {
        ASSERT_TRUE(transaction->rollback_to_savepoint().has_value());
      }
      ASSERT_TRUE(transaction->release_savepoint().has_value());
    }
    if (random_.below(5) != 0) {
      ASSERT_TRUE(transaction->commit().has_value());
    }
  }

  /// Every row of the database with the buckets that it is in, as the domain says.
  std::map<std::string, Rows> model() {
    std::map<std::string, Rows> by_bucket;
    for (std::size_t table = 0; table < db_.domain->tables().size(); ++table) {
      for (const Row& row : db_.all_rows(table)) {
        std::string json;
        append_row_json(json, db_.domain->table(table), row);
        for (const Bucket& bucket : db_.domain->buckets_of(table, row))
          by_bucket[bucket.key][db_.domain->table(table).name + "/" + key_text(row[0])] = json;
      }
    }
    return by_bucket;
  }

  void check_buckets() {
    auto expected = model();
    auto snapshot = db_.snapshot();
    const Version horizon = snapshot->position()->horizon;
    for (auto& [key, device] : devices_) {
      const Bucket bucket = db_.bucket(key);
      check_backfill(*snapshot, bucket, expected[key]);
      if (random_.below(3) != 0) continue;  // devices pull at different times
      const std::vector<CoveredBucket> covered{{bucket, Version{0}}};
      LiveQuery query;
      query.buckets = &covered;
      query.after = device.position;
      const auto removals = snapshot->live_removals(query);
      const auto rows = snapshot->live_rows(query);
      ASSERT_TRUE(removals.has_value() && rows.has_value());
      for (const Removal& removal : *removals)
        if (!removal.covered_at) device.rows.erase(db_.domain->table(removal.table).name + "/" + removal.key);
      for (const EncodedRow& row : *rows) device.rows[db_.domain->table(row.table).name + "/" + row.key] = row.json;
      ASSERT_EQ(device.rows, expected[key]) << "bucket " << key << " after " << number(device.position);
      check_limits(*snapshot, query, *rows, *removals);
      device.position = horizon;
    }
    check_together(*snapshot, expected);
  }

  /// A limit takes the lowest versions of what there is without one.
  void check_limits(Snapshot& snapshot, LiveQuery query, const std::vector<EncodedRow>& rows,
                    const std::vector<Removal>& removals) {
    query.limit = 1 + random_.below(4);
    const auto some_rows = snapshot.live_rows(query);
    const auto some_removals = snapshot.live_removals(query);
    ASSERT_EQ(some_rows->size(), std::min(rows.size(), *query.limit));
    for (std::size_t i = 0; i < some_rows->size(); ++i) ASSERT_EQ((*some_rows)[i].key, rows[i].key);
    ASSERT_EQ(some_removals->size(), std::min(removals.size(), *query.limit));
    for (std::size_t i = 0; i < some_removals->size(); ++i) ASSERT_EQ((*some_removals)[i].key, removals[i].key);
  }

  /// Several buckets in one query: each row once, versions rising, limits alike.
  void check_together(Snapshot& snapshot, std::map<std::string, Rows>& expected) {
    std::vector<CoveredBucket> covered;
    Rows all;
    for (const std::string& key : kBuckets) {
      if (random_.below(2) == 0) continue;
      covered.push_back({db_.bucket(key), Version{0}});
      all.insert(expected[key].begin(), expected[key].end());
    }
    LiveQuery query;
    query.buckets = &covered;
    const auto rows = snapshot.live_rows(query);
    ASSERT_TRUE(rows.has_value());
    Rows seen;
    Version last{};
    for (const EncodedRow& row : *rows) {
      ASSERT_GE(row.version, last);
      last = row.version;
      ASSERT_TRUE(seen.emplace(db_.domain->table(row.table).name + "/" + row.key, row.json).second);
    }
    ASSERT_EQ(seen, all);
    const auto removals = snapshot.live_removals(query);
    ASSERT_TRUE(removals.has_value());
    check_limits(snapshot, query, *rows, *removals);
    for (const Removal& removal : *removals)
      ASSERT_EQ(removal.covered_at.has_value(),
                all.contains(db_.domain->table(removal.table).name + "/" + removal.key));
  }

  void check_backfill(Snapshot& snapshot, const Bucket& bucket, const Rows& expected) {
    const std::size_t limit = 1 + random_.below(5);
    Rows found;
    for (std::size_t table = 0; table < db_.domain->tables().size(); ++table) {
      std::optional<std::string> after;
      std::uint64_t rows_in_table = 0;
      for (;;) {
        const auto page = snapshot.backfill(bucket, table, after, limit);
        ASSERT_TRUE(page.has_value()) << (page ? "" : page.error().message);
        for (const EncodedRow& row : *page) {
          ASSERT_TRUE(found.emplace(db_.domain->table(table).name + "/" + row.key, row.json).second) << row.key;
          ++rows_in_table;
          after = row.key;
        }
        if (page->size() < limit) break;
      }
      ASSERT_EQ(*snapshot.count_rows(bucket, table), rows_in_table);
    }
    ASSERT_EQ(found, expected) << "backfill of " << bucket.key;
  }

  std::map<std::string, std::uint64_t> all_grants() {
    std::map<std::string, std::uint64_t> all;
    for (const std::string& user : kUsers)
      for (const auto& [key, gained] : db_.grants(user, "nobody"))
        if (key != "nobody") all[user + " " + key] = gained;
    return all;
  }

  /// Grants are what the membership rows say; a marker is new exactly when the grant was not there all the time.
  void check_grants(const std::map<std::string, std::uint64_t>& before, Version last_before,
                    std::uint64_t mark_before) {
    std::set<std::string> expected;
    const auto add = [&](std::size_t table, const std::string& user, std::vector<std::string> values) {
      for (std::size_t d = 0; d < db_.domain->definitions().size(); ++d)
        if (db_.domain->definitions()[d].membership_table == db_.domain->table(table).name)
          if (const auto bucket = db_.domain->make_bucket(d, std::move(values)))
            expected.insert(user + " " + bucket->key);
    };
    for (const std::string& row :
         db_.other->query("SELECT user_id || ' ' || team_id FROM doc_members WHERE role = 'reader'"))
      add(1, row.substr(0, row.find(' ')), {row.substr(row.find(' ') + 1)});
    for (const std::string& row : db_.other->query("SELECT user_id || ' ' || shop || ' ' || region FROM clerks")) {
      const std::size_t first = row.find(' '), second = row.find(' ', first + 1);
      add(3, row.substr(0, first), {row.substr(first + 1, second - first - 1), row.substr(second + 1)});
    }
    std::set<std::string> found;
    const auto now = all_grants();
    for (const auto& [grant, gained] : now) {
      found.insert(grant);
      const auto earlier = before.find(grant);
      if (earlier == before.end() || earlier->second != gained) {
        ASSERT_GT(gained, number(last_before)) << grant;
      }
    }
    ASSERT_EQ(found, expected);
    if (now != before) {
      ASSERT_NE(db_.storage->change_mark()->grants, mark_before);
    }
    ASSERT_EQ(db_.other->value("SELECT count(*) FROM " + db_.engine("bucket_grant")), std::to_string(expected.size()));
  }

  struct Device {
    Version position{};
    Rows rows;
  };
  SeededRandom random_;
  TestDatabase db_;
  std::map<std::string, Device> devices_;
};

struct Fold : OnEveryBackend {};
INSTANTIATE_TEST_SUITE_P(On, Fold, every_backend(), kind_name);

TEST_P(Fold, ChangesAndRemovalsSinceAnyVersionRebuildEveryBucket) {
  History(GetParam(), test_seed("storage fold")).run(250);
}

}  // namespace
}  // namespace nizhal::testing
