// What was committed since (Storage::changes_since), on both kinds of database: a copy in memory that is brought up to
// date by it says the same as the tables in the same snapshot, whatever happened and however transactions overlapped.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "base/test_seed.hpp"
#include "tests/backends/office_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

using storage::ChangesQuery;
using storage::ClientRecord;
using storage::EncodedRow;
using storage::Grant;
using storage::Position;
using storage::RecentChanges;
using storage::Removal;

constexpr std::size_t kRowsMax = 100'000;

std::string text_of(const EncodedRow& row) {
  return fmt::format("{}/{}@{} {}", row.table, row.key, number(row.version), row.json);
}
std::string text_of(const Removal& removal) {
  return fmt::format("{}{}/{}@{} ({}) covered {}", removal.deleted ? "-" : "<", removal.table, removal.key,
                     number(removal.version), removal.client_key.value_or("no other key"),
                     removal.covered_at ? number(*removal.covered_at) : 0);
}
Names texts_of(std::vector<Grant> grants) {
  Names texts;
  for (const Grant& grant : grants)
    texts.push_back(fmt::format("{}:{}@{}", grant.bucket.definition, grant.bucket.key, number(grant.gained)));
  std::sort(texts.begin(), texts.end());
  return texts;
}
std::string text_of(const std::optional<ClientRecord>& client) {
  if (!client) return "none";
  return fmt::format("{} of {}/{} at {} {} {}", client->client_id, client->user_id, client->owner_id,
                     number(client->last_mutation_id), client->last_client_mutation_id, client->last_hlc);
}

RecentChanges changes_since(storage::Storage& storage, const Position& settled, const ChangesQuery& query) {
  auto changes = storage.changes_since(settled, query);
  EXPECT_TRUE(changes.has_value()) << (changes ? "" : changes.error().message);
  if (!changes || !*changes) {
    ADD_FAILURE() << "nothing was told";
    return {};
  }
  return **std::move(changes);
}

/// What a copy in memory knows: everything above `start`.
class Copy {
 public:
  explicit Copy(const CompiledDomain& domain) : domain_(domain) {}

  void begin_at(Version version) {
    rows_.clear();
    removals_.clear();
    grants.clear();
    clients.clear();
    start_ = after_ = version;
  }
  Version after() const { return after_; }
  Version start() const { return start_; }

  void apply(const RecentChanges& changes, const ChangesQuery& query) {
    std::set<std::pair<std::size_t, std::string>> there;
    for (const auto& recent : changes.rows) {
      there.emplace(recent.row.table, recent.row.key);
      rows_[{recent.row.table, recent.row.key}] = recent;
    }
    // What is above the horizon comes again, and as it is now.
    std::erase_if(removals_, [&](const auto& removal) { return removal.removal.version > after_; });
    for (const auto& recent : changes.removals) {
      removals_.push_back(recent);
      const std::pair<std::size_t, std::string> id(recent.removal.table, recent.removal.key);
      if (!there.contains(id)) rows_.erase(id);
    }
    for (const auto& change : changes.grant_changes)
      std::erase_if(grants, [&](const auto& known) {
        return change.subject.empty() || domain_.grant_subject(change.definition, known.second.first) == change.subject;
      });
    ASSERT_EQ(changes.grants.size(), query.actors.size());
    for (std::size_t i = 0; i < query.actors.size(); ++i)
      grants[query.actors[i].user_id] = {query.actors[i], changes.grants[i]};
    for (const ClientRecord& client : changes.clients) clients[client.client_id] = client;
    ASSERT_EQ(changes.asked_clients.size(), query.client_ids.size());
    for (std::size_t i = 0; i < query.client_ids.size(); ++i) clients[query.client_ids[i]] = changes.asked_clients[i];
    after_ = changes.position.horizon;
  }

  Names rows(const std::vector<storage::CoveredBucket>& cover) const {
    std::map<std::tuple<Version, std::size_t, std::string>, std::string> ordered;
    for (const auto& [id, recent] : rows_)
      if (recent.row.version > start_ && covers(cover, recent))
        ordered[{recent.row.version, id.first, id.second}] = text_of(recent.row);
    Names texts;
    for (const auto& [place, text] : ordered) texts.push_back(text);
    return texts;
  }

  Names removals(const std::vector<storage::CoveredBucket>& cover, Version after) const {
    Names texts;
    for (const auto& recent : removals_) {
      if (recent.removal.version <= after || !covers(cover, recent.bucket)) continue;
      Removal judged = recent.removal;
      const auto row = rows_.find({judged.table, judged.key});
      if (row != rows_.end() && covers(cover, row->second)) judged.covered_at = row->second.row.version;
      texts.push_back(text_of(judged));
    }
    return texts;
  }

  // Of whom something is known. A change takes grants out until they are asked again.
  std::map<std::string, std::pair<Actor, std::vector<Grant>>> grants;
  std::map<std::string, std::optional<ClientRecord>> clients;

 private:
  static bool covers(const std::vector<storage::CoveredBucket>& cover, const std::string& key) {
    return std::any_of(cover.begin(), cover.end(), [&key](const auto& covered) { return covered.bucket.key == key; });
  }
  static bool covers(const std::vector<storage::CoveredBucket>& cover, const RecentChanges::RecentRow& recent) {
    return std::any_of(recent.buckets.begin(), recent.buckets.end(),
                       [&cover](const Bucket& bucket) { return covers(cover, bucket.key); });
  }

  const CompiledDomain& domain_;
  Version start_{}, after_{};
  std::map<std::pair<std::size_t, std::string>, RecentChanges::RecentRow> rows_;
  std::vector<RecentChanges::RecentRemoval> removals_;
};

struct ChangesTest : OnEveryBackend {};
INSTANTIATE_TEST_SUITE_P(On, ChangesTest, every_backend(), kind_name);

/// Random writes by the engine and by other programs, some in transactions that stay open meanwhile.
class History {
 public:
  History(TestDatabase& db, std::uint64_t seed) : db_(db), random_(seed) {
    // One writer at a time leaves none open. Whoever would have to wait for another gives up instead.
    if (db.backend->is_sqlite()) return;
    db.other->run("SET lock_timeout = '10ms'");
    for (int i = 0; i < 3; ++i) {
      open_.push_back({db.backend->other_program(), false});
      open_.back().program->run("SET lock_timeout = '10ms'");
    }
  }

  Random& random() { return random_; }
  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }

  void step() {
    const std::uint64_t kind = below(20);
    if (kind == 0)
      return static_cast<void>(db_.other->try_run(db_.backend->empty_table(below(2) == 0 ? "docs" : "orders")));
    if (kind < 5) return engine_writes();
    if (open_.empty() || kind < 10) return static_cast<void>(db_.other->try_run(write()));
    Writer& writer = open_[below(open_.size())];
    if (!writer.is_open) {
      writer.program->run("BEGIN");
      writer.is_open = true;
    } else if (below(4) == 0) {
      return end(writer, below(5) == 0 ? "ROLLBACK" : "COMMIT");
    }
    if (!writer.program->try_run(write()).empty()) end(writer, "ROLLBACK");
  }

  void end_all() {
    for (Writer& writer : open_)
      if (writer.is_open) end(writer, "COMMIT");
  }

 private:
  struct Writer {
    std::unique_ptr<OtherProgram> program;
    bool is_open = false;
  };

  void end(Writer& writer, const std::string& how) {
    writer.program->run(how);
    writer.is_open = false;
  }

  std::string any(std::initializer_list<const char*> texts) { return *(texts.begin() + below(texts.size())); }

  std::string write() {
    const std::string doc = fmt::format("'d{}'", below(6)), member = fmt::format("'m{}'", below(5));
    const std::uint64_t order = below(12) + 1;  // one and two digits
    const auto put = [&](const std::string& table, const std::string& columns, const std::string& values,
                         const std::string& set) {
      const bool is_sqlite = db_.backend->is_sqlite();
      if (is_sqlite && below(3) == 0)
        return fmt::format("INSERT OR {} INTO {} ({}) VALUES ({})", any({"REPLACE", "IGNORE"}), table, columns, values);
      return fmt::format("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}", table, columns, values,
                         set);
    };
    switch (below(10)) {
      case 0:
        return "DELETE FROM docs WHERE id = " + doc;
      case 1:
        return fmt::format("DELETE FROM orders WHERE id = {}", order);
      case 2:
        return "DELETE FROM doc_members WHERE id = " + member;
      case 3:
        return "DELETE FROM clerks WHERE id = " + member;
      case 4:
        return fmt::format("UPDATE docs SET id = 'd{}' WHERE id = {}", below(6), doc);
      case 5:
        return put("doc_members", "id, user_id, team_id, role",
                   fmt::format("{}, 'u{}', 't{}', '{}'", member, below(3), below(2), any({"reader", "writer"})),
                   "user_id = excluded.user_id, team_id = excluded.team_id, role = excluded.role");
      case 6:
        return put("clerks", "id, user_id, shop, region",
                   fmt::format("{}, 'u{}', {}, '{}'", member, below(3), below(2), any({"n", "s/w"})),
                   "user_id = excluded.user_id, shop = excluded.shop, region = excluded.region");
      case 7:
        return put("orders", "id, shop, region, state, hidden",
                   fmt::format("{}, {}, '{}', {}, {}", order, below(2), any({"n", "s/w"}), any({"NULL", "'open'"}),
                               db_.backend->boolean(below(4) == 0)),
                   "shop = excluded.shop, region = excluded.region, state = excluded.state, hidden = excluded.hidden");
      default:
        return put("docs", "id, owner_id, team_id, kind, client_id, shelf",
                   fmt::format("{}, 'o{}', {}, '{}', '{}', {}", doc, below(2), any({"NULL", "'t0'", "'t1'"}),
                               any({"plain", "private", "named"}), any({"", "o0", "o1", "x"}), any({"NULL", "1", "2"})),
                   "owner_id = excluded.owner_id, team_id = excluded.team_id, kind = excluded.kind, "
                   "client_id = excluded.client_id, shelf = excluded.shelf");
    }
  }

  /// As a push does: a row or two, the client's record and the audit.
  void engine_writes() {
    storage::WriteOptions options;
    options.time_max = std::chrono::milliseconds(50);
    auto transaction = db_.storage->write(Timestamp{1'000'000}, options);
    if (!transaction) return;  // an open writer is in the way
    const std::string id = fmt::format("d{}", below(6));
    const Row row{id, fmt::format("o{}", below(2)), std::monostate{}, "plain", "", std::monostate{}};
    if (below(3) != 0) {
      const auto written = below(2) == 0 ? (*transaction)->insert(db_.domain->table(0), row)
                                         : (*transaction)->remove(db_.domain->table(0), Value(id));
      if (!written) return;
    }
    const std::string client = fmt::format("c{}", below(3));
    ClientRecord record{client, "u0", "o0", MutationId{++mutations_}, fmt::format("m{}", mutations_), ""};
    const auto known = (*transaction)->client(client);
    if (!known || !(*transaction)->put_client(record)) return;
    storage::AuditRow audit;
    audit.user_id = "u0";
    audit.owner_id = "o0";
    audit.client_id = client;
    audit.mutation_id = record.last_mutation_id;
    audit.client_mutation_id = record.last_client_mutation_id;
    audit.outcome = "duplicate";
    audit.changes = "[]";
    if ((*transaction)->put_audit(audit)) static_cast<void>((*transaction)->commit());
  }

  TestDatabase& db_;
  SeededRandom random_;
  std::vector<Writer> open_;
  std::uint64_t mutations_ = 0;
};

TEST_P(ChangesTest, ACopyInMemorySaysWhatTheTablesSayInTheSameSnapshot) {
  const std::uint64_t seed = test_seed("changes");
  TestDatabase db(GetParam(), office_domain());
  const char* const keys[] = {"o0", "o1", "team:t0", "team:t1", "shelf:1", "shelf:2", "r/0/n", "r/1/n", "r/1/s%2Fw"};
  History history(db, seed);
  Copy copy(*db.domain);
  std::size_t rows = 0, removals = 0, covered = 0, repeated = 0, begun_anew = 0;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    for (std::uint64_t left = history.below(6); left > 0; --left) history.step();
    if (history.below(30) == 0) {
      // What the copy has not read yet is settled, so that it can be pruned.
      history.end_all();
      for (int more = 0; more < 5; ++more) history.step();
      history.end_all();
      ASSERT_TRUE(db.storage->gc(Timestamp{std::numeric_limits<std::int64_t>::max()}).has_value());
    }
    const auto settled = db.storage->position();
    ASSERT_TRUE(settled.has_value()) << settled.error().message;
    if (history.below(40) == 0) copy.begin_at(settled->horizon);
    ChangesQuery query;
    query.after = copy.after();
    query.rows_max = kRowsMax;
    for (int user = 0; user < 3; ++user)
      if (history.below(3) == 0) query.actors.push_back({fmt::format("u{}", user), "o0", R"({"shelf":1})"});
    for (int client = 0; client < 4; ++client)
      if (history.below(3) == 0) query.client_ids.push_back(fmt::format("c{}", client));
    RecentChanges changes = changes_since(*db.storage, *settled, query);
    if (changes.too_many) {
      EXPECT_LT(query.after, changes.position.last);
      ++begun_anew;
      copy.begin_at(settled->horizon);
      query.after = copy.after();
      changes = changes_since(*db.storage, *settled, query);
      ASSERT_FALSE(changes.too_many);
    }
    copy.apply(changes, query);

    const auto snapshot = db.storage->open_snapshot(*settled);
    ASSERT_TRUE(snapshot.has_value()) << snapshot.error().message;
    const Position position = *(*snapshot)->position();
    EXPECT_EQ(changes.position.epoch, position.epoch);
    EXPECT_EQ(changes.position.horizon, position.horizon);
    EXPECT_EQ(changes.position.last, position.last);
    EXPECT_EQ(changes.position.pruned_through, position.pruned_through);
    if (position.horizon < position.last) ++repeated;
    for (int cover = 0; cover < 3; ++cover) {
      Covered covered_buckets;
      for (const char* key : keys)
        if (history.below(cover == 0 ? 1 : 3) == 0) covered_buckets.buckets.push_back({db.bucket(key), Version{}});
      Names expected;
      const auto live_rows = (*snapshot)->live_rows(covered_buckets.after(copy.start()));
      ASSERT_TRUE(live_rows.has_value()) << live_rows.error().message;
      for (const EncodedRow& row : *live_rows) expected.push_back(text_of(row));
      ASSERT_EQ(copy.rows(covered_buckets.buckets), expected);
      rows += expected.size();
      expected.clear();
      const Version told = std::max(copy.start(), position.pruned_through);
      const auto live_removals = (*snapshot)->live_removals(covered_buckets.after(told));
      ASSERT_TRUE(live_removals.has_value()) << live_removals.error().message;
      for (const Removal& removal : *live_removals) {
        expected.push_back(text_of(removal));
        if (removal.covered_at) ++covered;
      }
      ASSERT_EQ(copy.removals(covered_buckets.buckets, told), expected);
      removals += expected.size();
    }
    for (const auto& [user, known] : copy.grants) {
      const auto grants = (*snapshot)->grants(known.first);
      ASSERT_TRUE(grants.has_value()) << grants.error().message;
      ASSERT_EQ(texts_of(known.second), texts_of(*grants)) << user;
    }
    for (const auto& [id, known] : copy.clients) ASSERT_EQ(text_of(known), text_of(*(*snapshot)->client(id)));
  }
  // That all of it happened.
  EXPECT_GT(rows, 100u);
  EXPECT_GT(removals, 100u);
  EXPECT_GT(covered, 10u);
  EXPECT_GT(begun_anew, 0u);
  EXPECT_EQ(repeated > 0, !db.backend->is_sqlite());
  history.end_all();
}

TEST_P(ChangesTest, ARowThatARemovalNamesComesWhateverItsVersion) {
  TestDatabase db(GetParam(), office_domain());
  const std::string insert = "INSERT INTO orders (id, shop, region, state) VALUES (1, 1, 'n', 'a')";
  db.other->run(insert);
  std::vector<std::unique_ptr<OtherProgram>> writers;
  Position settled = *db.storage->position();
  if (db.backend->is_sqlite()) {
    // It is recorded that the row may be replaced, before it is known that it is not.
    db.other->run("INSERT OR IGNORE INTO orders (id, shop, region, state) VALUES (1, 1, 'n', 'b')");
  } else {
    // The row comes again, with a version that is settled by then and below that of its removal, which is not.
    for (int i = 0; i < 2; ++i) {
      writers.push_back(db.backend->other_program());
      writers.back()->run("BEGIN; SELECT nizhal.begin_version()");
    }
    db.other->run("DELETE FROM orders WHERE id = 1");
    writers[0]->run(insert + "; COMMIT");
    settled = *db.storage->position();
  }
  ChangesQuery query;
  query.after = settled.horizon;
  query.rows_max = kRowsMax;
  const RecentChanges changes = changes_since(*db.storage, *db.storage->position(), query);
  ASSERT_EQ(changes.removals.size(), 1u);
  ASSERT_EQ(changes.rows.size(), 1u);
  EXPECT_LE(changes.rows.front().row.version, query.after);
  EXPECT_EQ(changes.rows.front().row.key, changes.removals.front().removal.key);
  ASSERT_EQ(changes.rows.front().buckets.size(), 1u);
  EXPECT_EQ(changes.rows.front().buckets.front().key, "r/1/n");
}

TEST_P(ChangesTest, WithMoreThanTheCallerCanTakeOnlyThePositionIsTold) {
  TestDatabase db(GetParam(), office_domain());
  const Position before = *db.storage->position();
  db.other->run(
      "INSERT INTO orders (id, shop, region, state) VALUES (1, 1, 'n', 'a'), (2, 1, 'n', 'a'), (3, 1, 'n', 'a')");
  db.other->run("DELETE FROM orders WHERE id = 3");
  const Position settled = *db.storage->position();
  ChangesQuery query;
  query.after = before.horizon;
  query.rows_max = 3;
  query.client_ids = {"c1"};
  const RecentChanges all = changes_since(*db.storage, settled, query);
  EXPECT_FALSE(all.too_many);
  EXPECT_EQ(all.rows.size() + all.removals.size(), 3u);
  query.rows_max = 2;
  const RecentChanges none = changes_since(*db.storage, settled, query);
  EXPECT_TRUE(none.too_many);
  EXPECT_TRUE(none.rows.empty() && none.removals.empty() && none.asked_clients.empty());
  EXPECT_EQ(none.position.epoch, settled.epoch);
  EXPECT_EQ(none.position.horizon, settled.horizon);
  EXPECT_EQ(none.position.last, settled.last);
}

TEST_P(ChangesTest, WhatIsPrunedAlreadyCannotBeTold) {
  TestDatabase db(GetParam(), office_domain());
  const Position before = *db.storage->position();
  {
    auto transaction = db.write();
    ASSERT_TRUE(transaction->put_client({"c1", "u1", "o1", MutationId{1}, "m1", ""}).has_value());
    storage::AuditRow audit;
    audit.client_id = "c1";
    audit.mutation_id = MutationId{1};
    audit.changes = "[]";
    ASSERT_TRUE(transaction->put_audit(audit).has_value());
    ASSERT_TRUE(transaction->commit().has_value());
  }
  ChangesQuery query;
  query.after = before.horizon;
  query.rows_max = kRowsMax;
  const RecentChanges told = changes_since(*db.storage, *db.storage->position(), query);
  ASSERT_EQ(told.clients.size(), 1u);
  EXPECT_EQ(told.clients.front().last_mutation_id, MutationId{1});
  ASSERT_EQ(db.storage->gc(Timestamp{std::numeric_limits<std::int64_t>::max()})->audit_rows, 1u);
  const Position settled = *db.storage->position();
  EXPECT_TRUE(changes_since(*db.storage, settled, query).too_many);
  query.after = settled.horizon;
  EXPECT_FALSE(changes_since(*db.storage, settled, query).too_many);
}

TEST_P(ChangesTest, AChangedGrantNamesWhoseItWas) {
  TestDatabase db(GetParam(), office_domain());
  db.other->run("INSERT INTO clerks (id, user_id, shop, region) VALUES ('k1', 'u1', 1, 'n'), ('k2', 'u2', 1, 'n')");
  const Position before = *db.storage->position();
  ChangesQuery query;
  query.after = before.horizon;
  query.rows_max = kRowsMax;
  const auto subjects = [&] {
    Names found;
    for (const auto& change : changes_since(*db.storage, *db.storage->position(), query).grant_changes) {
      EXPECT_EQ(db.domain->definitions()[change.definition].prefix, "r/");
      found.push_back(change.subject);
    }
    std::sort(found.begin(), found.end());
    return found;
  };
  EXPECT_EQ(subjects(), Names{});
  db.other->run("DELETE FROM clerks WHERE id = 'k2'");
  EXPECT_EQ(subjects(), Names{"u2"});
  db.other->run("UPDATE clerks SET shop = 2 WHERE id = 'k1'");
  EXPECT_EQ(subjects(), (Names{"u1", "u2"}));
}

/// A column of every type.
struct Thing {
  std::string id, owner_id;
  std::optional<std::string> text;
  std::optional<Uuid> uuid;
  std::optional<std::int32_t> integer;
  std::optional<double> real;
  std::optional<bool> boolean;
  std::optional<std::int64_t> bigint;
  std::optional<Numeric> numeric;
  std::optional<Timestamp> timestamp;
  std::optional<Date> date;
  std::optional<Json> json;
  std::optional<Blob> blob;
};

Domain things_domain() {
  Domain d("things", {.version = "1.0.0"});
  const auto things = table<Thing>("things")
                          .key("id", &Thing::id)
                          .column("owner_id", &Thing::owner_id)
                          .column("text", &Thing::text)
                          .column("uuid", &Thing::uuid)
                          .column("integer", &Thing::integer)
                          .column("real", &Thing::real)
                          .column("boolean", &Thing::boolean)
                          .column("bigint", &Thing::bigint)
                          .column("numeric", &Thing::numeric)
                          .column("timestamp", &Thing::timestamp)
                          .column("date", &Thing::date)
                          .column("json", &Thing::json)
                          .column("blob", &Thing::blob);
  d.add(things);
  d.rule("own").parameter("owner", actor::owner_id).data(things, eq("owner_id", "owner"));
  return d;
}

TEST_P(ChangesTest, RowsAreEncodedAsPullsHaveThem) {
  TestDatabase db(GetParam(), things_domain());
  const TableDef& things = db.domain->table(0);
  {
    auto transaction = db.write();
    ASSERT_TRUE(*transaction->insert(
        things, {"full", "o1", "a \"b\" \\ \n ü", "0a000000-0000-4000-8000-00000000000f", std::int64_t{-7}, 1.5e-9,
                 true, std::int64_t{9'007'199'254'740'993}, "12.340", "2026-01-02T03:04:05.600000Z", "2026-01-02",
                 R"({"a":[1,2.50,null],"b":"x"})", Blob{{0, 1, 255}}}));
    Row nothing(things.columns.size());
    nothing[0] = "nothing";
    nothing[1] = "o1";
    ASSERT_TRUE(*transaction->insert(things, nothing));
    ASSERT_TRUE(transaction->commit().has_value());
  }
  db.other->run("INSERT INTO things (id, owner_id, \"boolean\", \"real\") VALUES ('foreign', 'o1', " +
                db.backend->boolean(false) + ", 3)");
  if (!db.backend->is_sqlite())
    db.other->run(
        "INSERT INTO things (id, owner_id, \"real\", \"numeric\", \"timestamp\", \"date\", \"json\") VALUES "
        "('unsayable', 'o1', 'NaN', 'NaN', 'infinity', '20000-01-01', '{\"a\" : 1e2}')");
  ChangesQuery query;
  query.rows_max = kRowsMax;
  const RecentChanges changes = changes_since(*db.storage, *db.storage->position(), query);
  Names told, expected;
  for (const auto& recent : changes.rows) told.push_back(text_of(recent.row));
  const Covered covered = db.cover("o1");
  const auto live = db.snapshot()->live_rows(covered.after());
  for (const EncodedRow& row : *live) expected.push_back(text_of(row));
  EXPECT_EQ(told, expected);
  EXPECT_EQ(told.size(), db.backend->is_sqlite() ? 3u : 4u);
}

}  // namespace
}  // namespace nizhal::testing
