// Provisioning of what only SQLite files can be: columns of any affinity and collation, triggers that go one by one,
// files that are something else. What it has in common with PostgreSQL is in tests/conformance.
#include <gtest/gtest.h>

#include <cstdio>

#include "storage/sqlite/sqlite_storage.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::storage {
namespace {

using nizhal::testing::BackendKind;
using nizhal::testing::compiled;
using nizhal::testing::Names;

struct Item {
  std::string id, owner_id;
  std::int64_t amount = 0;
  std::string mark;
};

struct Shape {
  bool mark = false, amount_is_text = false;
  std::shared_ptr<const CompiledDomain> domain() const {
    auto items = table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id);
    items = amount_is_text ? std::move(items).column("amount", &Item::mark)
                           : std::move(items).column("amount", &Item::amount);
    if (mark) items = std::move(items).column("mark", &Item::mark);
    Domain d("shapes");
    d.add(items);
    d.rule("own").parameter("owner", actor::owner_id).data(items, eq("owner_id", "owner"));
    return compiled(std::move(d));
  }
};

struct SqliteProvision : ::testing::Test {
  std::unique_ptr<nizhal::testing::Backend> backend = nizhal::testing::make_backend(BackendKind::sqlite);
  std::unique_ptr<nizhal::testing::OtherProgram> other = backend->other_program();

  void expect_refused(const Shape& shape, const std::vector<std::string>& words) {
    const auto changes = backend->fit(shape.domain());
    ASSERT_FALSE(changes.has_value());
    EXPECT_EQ(changes.error().code, ErrorCode::schema_mismatch);
    for (const std::string& word : words)
      EXPECT_NE(changes.error().message.find(word), std::string::npos) << word << " in: " << changes.error().message;
  }
};

TEST_F(SqliteProvision, TheEpochIsAnIdOfItsOwn) {
  ASSERT_TRUE(backend->fit(Shape{}.domain()).has_value());
  EXPECT_TRUE(is_uuid((*backend->open(Shape{}.domain())->snapshot())->position()->epoch));
}

TEST_F(SqliteProvision, RefusalsNameTheFixAndChangeNothing) {
  ASSERT_TRUE(backend->fit(Shape{.mark = true}.domain()).has_value());
  const auto schema = other->query("SELECT sql FROM sqlite_schema");
  expect_refused({}, {"\"mark\"", "\"items\"", "declare it again"});
  expect_refused({.mark = true, .amount_is_text = true}, {"\"amount\"", "\"items\"", "text", "INTEGER"});
  EXPECT_EQ(other->query("SELECT sql FROM sqlite_schema"), schema);
  other->run("DROP TRIGGER nizhal_update_items; ALTER TABLE items DROP COLUMN amount");
  expect_refused({.mark = true}, {"\"amount\"", "\"items\"", "missing"});
}

TEST_F(SqliteProvision, AColumnThatRowsCannotHaveNamesTheFix) {
  ASSERT_TRUE(backend->fit(Shape{}.domain()).has_value());
  other->run("INSERT INTO items (id, owner_id, amount) VALUES ('i1', 'o', 1)");
  expect_refused({.mark = true}, {"\"mark\"", "\"items\"", "default_value"});
}

TEST_F(SqliteProvision, ATableThatHadRowsBeforeGivesThemAVersion) {
  other->run(
      "CREATE TABLE items (id VARCHAR(20) PRIMARY KEY, owner_id TEXT NOT NULL, amount INT NOT NULL, extra TEXT);"
      "INSERT INTO items VALUES ('i1', 'o', 1, 'x'), ('i2', 'p', 2, 'y')");
  ASSERT_TRUE(backend->fit(Shape{}.domain()).has_value());
  EXPECT_EQ(other->query("SELECT id FROM items WHERE nizhal_version >= 1 ORDER BY id"), (Names{"i1", "i2"}));
}

TEST_F(SqliteProvision, TablesThatDoNotFitAreRefusedWithTheirPlaceAndAFix) {
  const struct {
    const char* sql;
    std::vector<std::string> words;
  } cases[] = {
      {"CREATE TABLE items (id TEXT, owner_id TEXT NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (id, owner_id))",
       {"\"owner_id\"", "primary key"}},
      {"CREATE TABLE items (id TEXT PRIMARY KEY COLLATE NOCASE, owner_id TEXT NOT NULL, amount INTEGER NOT NULL)",
       {"\"id\"", "NOCASE"}},
      {"CREATE TABLE Items (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, amount INTEGER NOT NULL)", {"\"Items\""}},
      {"CREATE TABLE nizhal_outbox (x)", {"device"}},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.sql);
    backend = nizhal::testing::make_backend(BackendKind::sqlite);
    other = backend->other_program();
    other->run(one.sql);
    expect_refused({}, one.words);
    EXPECT_EQ(other->value("SELECT count(*) FROM sqlite_schema WHERE name = 'nizhal_state'"), "0");
  }
}

TEST_F(SqliteProvision, ADomainThatWasRenamedIsToldHowToKeepItsFile) {
  ASSERT_TRUE(backend->fit(Shape{}.domain()).has_value());
  const auto renamed = [] {
    auto items = table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id);
    items = std::move(items).column("amount", &Item::amount);
    Domain d("forms");
    d.add(items);
    d.rule("own").parameter("owner", actor::owner_id).data(items, eq("owner_id", "owner"));
    return compiled(std::move(d));
  };
  const auto refused = backend->fit(renamed());
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("file of its own"), std::string::npos) << refused.error().message;
  other->run("UPDATE nizhal_state SET domain = 'forms'");
  EXPECT_TRUE(backend->fit(renamed()).has_value()) << "as the message says for a domain that was renamed";
}

TEST_F(SqliteProvision, AFileThatIsNoDatabaseIsCorrupt) {
  other.reset();
  std::FILE* stream = std::fopen(backend->location().c_str(), "wb");
  ASSERT_NE(stream, nullptr);
  for (int i = 0; i < 200; ++i) std::fputs("this is a letter and not a database\n", stream);
  std::fclose(stream);
  const auto opened = backend->try_open(Shape{}.domain(), {});
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace nizhal::storage
