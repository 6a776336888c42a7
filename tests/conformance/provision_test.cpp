// Making databases fit a domain: empty ones, repeated starts, what can be added, data from before, and refusals; on
// both kinds of database. Embedded SQLite extends itself when it is opened, PostgreSQL when `nizhal migrate` is run.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/backends/test_database.hpp"

namespace nizhal::testing {
namespace {

struct Item {
  std::string id, owner_id;
  std::int64_t amount = 0;
  std::optional<std::string> note;
  std::string mark;
};
struct Pass {
  std::string id, user_id, team_id;
};

/// A table of items that a test puts together column by column.
struct Shape {
  bool amount = true, note = false, mark = false, mark_default = false, amount_is_text = false;
  bool second_rule = false, delivered = true, team_rule = false;
  const char* name = "shapes";
  std::shared_ptr<const CompiledDomain> domain() const {
    auto items = table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id);
    if (amount && amount_is_text)
      items = std::move(items).column("amount", &Item::mark);
    else if (amount)
      items = std::move(items).column("amount", &Item::amount);
    if (note) items = std::move(items).column("note", &Item::note);
    if (mark && mark_default) items = std::move(items).column("mark", &Item::mark, default_value("new"));
    if (mark && !mark_default) items = std::move(items).column("mark", &Item::mark);
    auto passes =
        table<Pass>("passes").key("id", &Pass::id).column("user_id", &Pass::user_id).column("team_id", &Pass::team_id);
    Domain d(name);
    d.add(items).add(passes);
    if (delivered) d.rule("own").parameter("owner", actor::owner_id).data(items, eq("owner_id", "owner"));
    if (second_rule)
      d.rule("by_user").prefix("user:").parameter("user", actor::user_id).data(items, eq("owner_id", "user"));
    if (team_rule)
      d.rule("teams")
          .prefix("team:")
          .membership(passes, where("user_id", actor::user_id), bucket("team", "team_id"))
          .data(items, eq("owner_id", "team"));
    return compiled(std::move(d));
  }
};

struct Provision : OnEveryBackend {
  std::unique_ptr<Backend> backend = make_backend(GetParam());
  std::unique_ptr<OtherProgram> other = backend->other_program();
  std::unique_ptr<storage::Storage> storage;
  std::shared_ptr<const CompiledDomain> domain;

  /// Fits the database to the shape and opens it.
  void fit(const Shape& shape) {
    storage.reset();
    domain = shape.domain();
    const auto changes = backend->fit(domain);
    ASSERT_TRUE(changes.has_value()) << changes.error().message;
    open();
  }
  void open() {
    storage = backend->open(domain);
    const auto report = storage->provision();
    ASSERT_TRUE(report.has_value()) << report.error().message;
    EXPECT_FALSE(report->created);
    EXPECT_TRUE(report->changes.empty());
  }
  void expect_refused(const Shape& shape, const std::vector<std::string>& words) {
    const auto changes = backend->fit(shape.domain());
    ASSERT_FALSE(changes.has_value());
    EXPECT_EQ(changes.error().code, ErrorCode::schema_mismatch);
    for (const std::string& word : words)
      EXPECT_NE(changes.error().message.find(word), std::string::npos) << word << " in: " << changes.error().message;
  }
  storage::Position position() { return *(*storage->snapshot())->position(); }
  Names rows(std::string_view key, Version after = {}) {
    const Covered covered{{{*domain->parse_bucket(key), Version{}}}};
    Names ids;
    const auto found = (*storage->snapshot())->live_rows(covered.after(after));
    for (const auto& row : *found) ids.push_back(row.key);
    return ids;
  }
  Names removals(std::string_view key) {
    const Covered covered{{{*domain->parse_bucket(key), Version{}}}};
    Names ids;
    const auto found = (*storage->snapshot())->live_removals(covered.after());
    for (const auto& removal : *found) ids.push_back(removal.key);
    return ids;
  }
  Names filled(std::string_view key) {
    Names ids;
    const auto found = (*storage->snapshot())->backfill(*domain->parse_bucket(key), 0, std::nullopt, 100);
    for (const auto& row : *found) ids.push_back(row.key);
    return ids;
  }
  std::uint64_t gained(const std::string& user, std::string_view key) {
    const auto found = (*storage->snapshot())->grants(Actor{user, "nobody", ""});
    for (const auto& grant : *found)
      if (grant.bucket.key == key) return number(grant.gained);
    return 0;
  }
};
INSTANTIATE_TEST_SUITE_P(On, Provision, every_backend(), kind_name);

TEST_P(Provision, AnEmptyDatabaseIsCreatedOnceAndLeftAloneAfterwards) {
  domain = Shape{}.domain();
  storage = backend->open(domain);
  const auto first = storage->provision();
  ASSERT_TRUE(first.has_value()) << first.error().message;
  EXPECT_TRUE(first->created);
  const storage::Position before = position();
  EXPECT_FALSE(before.epoch.empty());
  open();
  EXPECT_EQ(position().epoch, before.epoch);
  EXPECT_EQ(position().last, before.last) << "an unchanged database is not written";
  EXPECT_TRUE(backend->fit(domain)->empty());
}

TEST_P(Provision, ColumnsThatCanBeAddedAreAddedAndWatched) {
  fit({});
  other->run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  const Shape more{.note = true, .mark = true, .mark_default = true};
  storage.reset();
  const auto changes = backend->fit(more.domain());
  ASSERT_TRUE(changes.has_value()) << changes.error().message;
  std::string told;
  for (const std::string& change : *changes) told += change + "\n";
  for (const char* word : {"\"note\"", "\"mark\"", "\"items\""}) EXPECT_NE(told.find(word), std::string::npos) << told;
  fit(more);
  EXPECT_EQ(other->query("SELECT note, mark FROM items"), Names{"-|new"});
  const Version before = position().last;
  other->run("UPDATE items SET mark = 'old'");
  EXPECT_EQ(rows("o", before), Names{"i1"});
  EXPECT_TRUE(backend->fit(more.domain())->empty());
}

TEST_P(Provision, AColumnWithoutAValueForExistingRowsIsRefused) {
  fit({});
  other->run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  storage.reset();
  expect_refused({.mark = true}, {"\"mark\"", "\"items\""});
  other->run("DELETE FROM items");
  fit({.mark = true});  // an empty table has no rows to miss it
}

TEST_P(Provision, ColumnsThatAreRetypedOrNoLongerDeclaredAreRefusedAndNothingIsChanged) {
  fit({.note = true});
  other->run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  const storage::Position before = position();
  expect_refused({.note = true, .amount_is_text = true}, {"\"amount\"", "\"items\""});
  expect_refused({}, {"\"note\"", "\"items\""});
  expect_refused({.mark = true, .mark_default = true}, {"\"note\"", "\"items\""});
  EXPECT_EQ(other->query("SELECT * FROM items WHERE id = 'i1'").size(), 1u);
  fit({.note = true});
  EXPECT_EQ(position().epoch, before.epoch);
  EXPECT_EQ(position().last, before.last);
}

TEST_P(Provision, ATableThatHadRowsBeforeIsTakenOver) {
  other->run(
      "CREATE TABLE items (id VARCHAR(20) PRIMARY KEY, owner_id TEXT NOT NULL, amount BIGINT NOT NULL, extra TEXT);"
      "INSERT INTO items VALUES ('i1', 'o', 1, 'x'), ('i2', 'p', 2, 'y')");
  fit({});
  EXPECT_EQ(filled("o"), Names{"i1"});
  EXPECT_EQ(filled("p"), Names{"i2"});
  const Version before = position().last;
  other->run("DELETE FROM items WHERE id = 'i1'; UPDATE items SET owner_id = 'q' WHERE id = 'i2'");
  EXPECT_GT(position().last, before);
  EXPECT_EQ(removals("o"), Names{"i1"});
  EXPECT_EQ(removals("p"), Names{"i2"});
  EXPECT_EQ(rows("q", before), Names{"i2"});
}

TEST_P(Provision, TablesThatDoNotFitAreRefusedWithTheirPlace) {
  const struct {
    const char* sql;
    std::vector<std::string> words;
  } cases[] = {
      {"CREATE TABLE items (id TEXT PRIMARY KEY, owner_id INTEGER NOT NULL, amount BIGINT NOT NULL)",
       {"\"owner_id\"", "\"items\""}},
      {"CREATE TABLE items (id TEXT NOT NULL, owner_id TEXT NOT NULL, amount BIGINT NOT NULL)",
       {"\"id\"", "primary key"}},
      {"CREATE TABLE items (id TEXT PRIMARY KEY, owner_id TEXT, amount BIGINT NOT NULL)", {"\"owner_id\"", "null"}},
      {"CREATE TABLE items (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, amount BIGINT NOT NULL, x TEXT NOT NULL)",
       {"\"x\"", "default"}},
      {"CREATE VIEW items AS SELECT 1 AS id", {"\"items\"", "table"}},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.sql);
    backend = make_backend(GetParam());
    other = backend->other_program();
    other->run(one.sql);
    expect_refused({}, one.words);
    EXPECT_NE(other->try_run("SELECT * FROM " + backend->engine_table("state")), "") << "nothing was changed";
  }
}

TEST_P(Provision, ChangedRulesChangeTheTriggersAndKeepTheMarkersOfGrantsThatPersist) {
  fit({.team_rule = true});
  other->run("INSERT INTO passes (id, user_id, team_id) VALUES ('p1', 'u1', 'a')");
  const auto marker = gained("u1", "team:a");
  ASSERT_GT(marker, 0u);
  fit({.second_rule = true, .team_rule = true});
  EXPECT_EQ(gained("u1", "team:a"), marker);
  other->run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'a', 1); DELETE FROM items");
  EXPECT_EQ(other->query("SELECT bucket FROM " + backend->engine_table("removal") + " ORDER BY bucket"),
            (Names{"a", "team:a", "user:a"}));
  fit({});
  EXPECT_EQ(other->value("SELECT count(*) FROM " + backend->engine_table("bucket_grant")), "0");
}

TEST_P(Provision, MembershipsThatWereThereBeforeTheRuleGrant) {
  fit({});
  other->run(
      "INSERT INTO passes (id, user_id, team_id) VALUES ('p1', 'u1', 'a'), ('p2', 'u1', 'a'), ('p3', 'u2', 'b')");
  const Version before = position().last;
  fit({.team_rule = true});
  EXPECT_GT(gained("u1", "team:a"), number(before));
  EXPECT_GT(gained("u2", "team:b"), number(before));
  EXPECT_EQ(other->value("SELECT count(*) FROM " + backend->engine_table("bucket_grant")), "2");
  // And they are counted: a grant goes with the last of its rows, not before.
  other->run("DELETE FROM passes WHERE id = 'p1'");
  EXPECT_GT(gained("u1", "team:a"), 0u);
  other->run("DELETE FROM passes WHERE id = 'p2'");
  EXPECT_EQ(gained("u1", "team:a"), 0u);
}

TEST_P(Provision, MembershipsOfATableThatWasThereBeforeTheEngineGrant) {
  other->run(
      "CREATE TABLE passes (id VARCHAR(20) PRIMARY KEY, user_id TEXT NOT NULL, team_id TEXT NOT NULL);"
      "INSERT INTO passes VALUES ('p1', 'u1', 'a'), ('p2', 'u1', 'a'), ('p3', 'u2', 'b')");
  fit({.team_rule = true});
  EXPECT_GT(gained("u1", "team:a"), 0u);
  EXPECT_GT(gained("u2", "team:b"), 0u);
  other->run("DELETE FROM passes WHERE id = 'p1'; UPDATE passes SET user_id = 'u3' WHERE id = 'p3'");
  EXPECT_GT(gained("u1", "team:a"), 0u);
  EXPECT_EQ(gained("u2", "team:b"), 0u);
  EXPECT_GT(gained("u3", "team:b"), 0u);
  other->run("DELETE FROM passes");
  EXPECT_EQ(other->value("SELECT count(*) FROM " + backend->engine_table("bucket_grant")), "0");
}

/// A device that had everything of before either meets a new epoch and starts afresh, or is sent the row as a change.
TEST_P(Provision, ATableThatIsDeliveredLaterBringsItsRows) {
  fit({.delivered = false});
  other->run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  fit({});
  EXPECT_EQ(filled("o"), Names{"i1"});
  const storage::Position delivered = position();
  // And again after a time without delivery, in which nobody watched.
  fit({.delivered = false});
  other->run("UPDATE items SET amount = 2");
  fit({});
  EXPECT_EQ(filled("o"), Names{"i1"});
  if (position().epoch == delivered.epoch) {
    EXPECT_EQ(rows("o", delivered.last), Names{"i1"});
  }
}

TEST_P(Provision, WritesThatNoTriggerSawMakeANewEpoch) {
  fit({});
  const std::string epoch = position().epoch;
  other->run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  other->run(backend->blind_deletes("items"));
  other->run("DELETE FROM items");
  storage.reset();
  const auto changes = backend->fit(domain);
  ASSERT_TRUE(changes.has_value()) << changes.error().message;
  EXPECT_FALSE(changes->empty());
  fit({});
  const std::string second = position().epoch;
  EXPECT_NE(second, epoch);
  fit({});
  EXPECT_EQ(position().epoch, second);
}

TEST_P(Provision, ADatabaseOfANewerNizhalIsRefused) {
  fit({});
  other->run("UPDATE " + backend->engine_table("state") + " SET format = format + 1");
  expect_refused({}, {"newer", "upgrade"});
  const auto report = storage->provision();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, ErrorCode::schema_mismatch);
}

TEST_P(Provision, ADatabaseOfAnotherDomainIsRefusedAndNothingIsChanged) {
  fit({});
  const Version before = position().last;
  expect_refused({.name = "forms"}, {"\"shapes\"", "\"forms\""});
  EXPECT_EQ(position().last, before);
  EXPECT_TRUE(backend->fit(domain)->empty());
}

}  // namespace
}  // namespace nizhal::testing
