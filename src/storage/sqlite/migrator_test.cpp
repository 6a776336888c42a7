// Migrations of an embedded file: plan, check, apply, reset.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/ids.hpp"
#include "storage/sqlite/introspection.hpp"
#include "storage/sqlite/sqlite_storage.hpp"
#include "tests/backends/merge_domain.hpp"
#include "tests/backends/office_domain.hpp"

namespace nizhal::storage {
namespace {

using Names = std::vector<std::string>;

struct SqliteMigration : ::testing::Test {
  std::string folder = std::filesystem::temp_directory_path() / ("nizhal-migrator-" + random_uuid(system_random()));
  std::string path = folder + "/server.db";
  std::shared_ptr<const CompiledDomain> domain = *CompiledDomain::compile(nizhal::testing::office_domain());
  std::unique_ptr<Migrator> migrator = of(domain);

  SqliteMigration() { std::filesystem::create_directories(folder); }
  ~SqliteMigration() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::unique_ptr<Migrator> of(std::shared_ptr<const CompiledDomain> which) {
    SqliteStorageOptions options;
    options.path = path;
    return sqlite_migrator(options, std::move(which), system_random(), Log());
  }
  /// A script in plain SQLite; the first column of the rows of its last statement.
  Names sql(const std::string& script) {
    Names found;
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
    char* message = nullptr;
    const auto add = [](void* to, int, char** values, char**) {
      static_cast<Names*>(to)->emplace_back(values[0] != nullptr ? values[0] : "-");
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(database, script.c_str(), add, &found, &message), SQLITE_OK)
        << (message != nullptr ? message : "") << "\n"
        << script;
    sqlite3_free(message);
    sqlite3_close(database);
    return found;
  }
  Names differences() {
    const auto found = migrator->check();
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message);
    Names texts;
    if (found)
      for (const Difference& one : *found) texts.push_back((one.additive ? "+" : " ") + one.what + " " + one.fix);
    return texts;
  }
};

TEST_F(SqliteMigration, ThePlanRunOnAnEmptyFileIsWhatApplyGives) {
  const std::string plan = migrator->plan();
  EXPECT_EQ(plan, of(domain)->plan());
  sql(plan);
  EXPECT_EQ(differences(), Names{});
  const auto report = migrator->apply({});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_FALSE(report->created);
  EXPECT_EQ(report->changes, Names{});
}

TEST_F(SqliteMigration, ACheckChangesNothingNotEvenAFileThatIsNotThere) {
  ASSERT_EQ(differences().size(), 1U);
  EXPECT_NE(differences().front().find("is not there yet"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(migrator->apply({}).has_value());
  EXPECT_EQ(differences(), Names{});
  sql("DROP TRIGGER nizhal_insert_docs; ALTER TABLE docs RENAME COLUMN kind TO sort");
  const Names found = differences();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NE(found.front().find("kind"), std::string::npos) << found.front();
  EXPECT_EQ(differences(), found);
  sql("ALTER TABLE docs RENAME COLUMN sort TO kind");
  EXPECT_EQ(differences().front().front(), '+');
  const std::string epoch = sql("SELECT epoch FROM nizhal_state").front();
  differences();
  EXPECT_EQ(sql("SELECT epoch FROM nizhal_state").front(), epoch);
  ASSERT_TRUE(migrator->apply({}).has_value());
  EXPECT_NE(sql("SELECT epoch FROM nizhal_state").front(), epoch);
  EXPECT_EQ(differences(), Names{});
}

TEST_F(SqliteMigration, AResetTakesTheEngineOutAndLeavesTheRows) {
  ASSERT_TRUE(migrator->reset().has_value());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(migrator->apply({}).has_value());
  sql("INSERT INTO docs (id, owner_id, kind) VALUES ('d1', 'o1', 'plain')");
  ASSERT_TRUE(migrator->reset().has_value());
  EXPECT_EQ(sql("SELECT name FROM sqlite_schema WHERE name LIKE 'nizhal%' OR sql LIKE '%nizhal%'"), Names{});
  EXPECT_EQ(sql("SELECT id FROM docs"), Names{"d1"});
  ASSERT_TRUE(migrator->apply({}).has_value());
  EXPECT_EQ(differences(), Names{});
  sql("UPDATE nizhal_state SET domain = 'other'");
  EXPECT_FALSE(migrator->reset().has_value());
}

TEST_F(SqliteMigration, WhatMergingNeedsIsInThePlanUnknownToIntrospectionAndGoneAfterAReset) {
  migrator = of(*CompiledDomain::compile(nizhal::testing::merge_domain()));
  sql(migrator->plan());
  EXPECT_EQ(differences(), Names{});
  sql("INSERT INTO papers (id, owner_id) VALUES ('p1', 'o1')");
  const auto schema = introspect_sqlite(path, {"papers"});
  ASSERT_TRUE(schema.has_value()) << schema.error().message;
  Names columns;
  for (const IntrospectedColumn& column : schema->tables.front().columns) columns.push_back(column.name);
  EXPECT_EQ(columns, (Names{"id", "owner_id", "title", "text"}));
  EXPECT_EQ(schema->tables.front().columns[3].type, ColumnType::blob);

  sql("DROP TRIGGER nizhal_restamp_papers; DROP TRIGGER nizhal_stamp_papers;"
      "ALTER TABLE papers DROP COLUMN nizhal_recent");
  const Names found = differences();
  EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const std::string& text) {
    return text.front() == '+' && text.find("\"nizhal_recent\"") != std::string::npos;
  }));
  ASSERT_TRUE(migrator->apply({}).has_value());
  EXPECT_EQ(differences(), Names{});

  ASSERT_TRUE(migrator->reset().has_value());
  EXPECT_EQ(sql("SELECT name FROM sqlite_schema WHERE name LIKE 'nizhal%' OR sql LIKE '%nizhal%'"), Names{});
  EXPECT_EQ(sql("SELECT id || hex(text) FROM papers"), Names{"p10000"});
}

}  // namespace
}  // namespace nizhal::storage
