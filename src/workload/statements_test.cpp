#include <gtest/gtest.h>

#include <map>
#include <set>

#include <fmt/format.h>

#include "base/test_seed.hpp"
#include "domain/value_json.hpp"
#include "examples/docs/docs.hpp"
#include "examples/ledger/ledger.hpp"
#include "examples/notes/notes.hpp"
#include "sqlite/connection.hpp"
#include "sqlite/table_sql.hpp"
#include "workload/test_domains.hpp"
#include "workload/test_view.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {
namespace {

using testing::Database;

std::vector<Domain> domains() { return {notes::domain(), ledger::domain(), docs::domain(), testing::domain()}; }

TEST(Statements, EachActorBeginsWithBucketsOfEachRuleThatOthersHaveTooAndRowsInThem) {
  for (const Domain& domain : domains()) {
    SCOPED_TRACE(domain.name());
    Database database(domain);
    SeededRandom random(test_seed("Statements"));
    const auto actors = make_actors(*database.domain, 3);
    Generator generator(database.domain, actors);
    database.run(generator.seed_statements(Dialect::sqlite, random));
    for (std::size_t d = 0; d < database.domain->definitions().size(); ++d) {
      std::map<std::string, int> holders;
      for (const Actor& actor : actors) {
        testing::DatabaseView view(database, actor);
        int had = 0;
        for (const std::string& key : view.buckets())
          if (const auto bucket = database.domain->parse_bucket(key); bucket && bucket->definition == d) {
            ++holders[key];
            ++had;
          }
        EXPECT_GE(had, 1) << actor.user_id;
      }
      if (database.domain->definitions()[d].is_static()) continue;
      EXPECT_TRUE(std::any_of(holders.begin(), holders.end(), [](const auto& holder) { return holder.second > 1; }));
    }
    for (std::size_t t = 0; t < database.domain->tables().size(); ++t) {
      const bool is_filled = !database.rows(t).empty();
      EXPECT_EQ(is_filled, !database.domain->table(t).append_only) << database.domain->table(t).name;
    }
  }
}

TEST(Statements, PostgresReadsTheYearBeforeTheFirst) {
  int found = 0;
  for (std::uint64_t seed = 1; found == 0 && seed < 200; ++seed) {
    const Generator generator(*CompiledDomain::compile(ledger::domain()),
                              make_actors(**CompiledDomain::compile(ledger::domain()), 3), {.rows_per_bucket = 20});
    SeededRandom random(seed);
    for (const std::string& sql : generator.seed_statements(Dialect::postgres, random)) {
      EXPECT_EQ(sql.find("'0000-"), std::string::npos) << sql;
      found += sql.find("Z BC'") != std::string::npos;
    }
  }
  EXPECT_GT(found, 0);
}

TEST(Statements, TheSameSeedGivesTheSameStatements) {
  for (const Domain& domain : domains()) {
    Database database(domain);
    Generator generator(database.domain, make_actors(*database.domain, 3));
    SeededRandom one(7), other(7);
    EXPECT_EQ(generator.seed_statements(Dialect::sqlite, one), generator.seed_statements(Dialect::sqlite, other));
  }
}

TEST(Statements, ForeignWritesRunAndLeaveFactsAndMembershipsAlone) {
  for (const Domain& domain : domains()) {
    SCOPED_TRACE(domain.name());
    Database database(domain);
    SeededRandom random(test_seed("Statements"));
    Generator generator(database.domain, make_actors(*database.domain, 3));
    database.run(generator.seed_statements(Dialect::sqlite, random));
    std::map<std::string, int> kinds;
    for (int i = 0; i < 300; ++i) {
      const auto statements = generator.foreign_write(
          Dialect::sqlite, [&](std::size_t t) { return Result<std::vector<Row>>(database.rows(t)); }, random);
      ASSERT_TRUE(statements) << statements.error().message;
      for (const std::string& statement : *statements) {
        ++kinds[statement.substr(0, 6)];
        for (std::size_t t = 0; t < database.domain->tables().size(); ++t) {
          const TableDef& table = database.domain->table(t);
          if (table.append_only || database.domain->is_membership(t)) {
            EXPECT_EQ(statement.find(fmt::format(" \"{}\" ", table.name)), std::string::npos) << statement;
          }
        }
      }
      database.run(*statements);
    }
    EXPECT_GT(kinds["INSERT"], 0);
    EXPECT_GT(kinds["UPDATE"], 0);
    EXPECT_GT(kinds["DELETE"], 0);
  }
}

TEST(Statements, MembershipsAreGivenAndTakenInTheTablesThatRulesReadThemFrom) {
  for (const Domain& domain : domains()) {
    SCOPED_TRACE(domain.name());
    Database database(domain);
    SeededRandom random(test_seed("Statements"));
    Generator generator(database.domain, make_actors(*database.domain, 3));
    database.run(generator.seed_statements(Dialect::sqlite, random));
    std::map<std::string, int> kinds;
    for (int i = 0; i < 200; ++i) {
      const auto statements = generator.membership_change(
          Dialect::sqlite, [&](std::size_t t) { return Result<std::vector<Row>>(database.rows(t)); }, random);
      ASSERT_TRUE(statements) << statements.error().message;
      for (const std::string& statement : *statements) {
        ++kinds[statement.substr(0, 6)];
        const bool is_membership = std::any_of(
            database.domain->definitions().begin(), database.domain->definitions().end(), [&](const auto& definition) {
              return !definition.is_static() &&
                     statement.find(quote_identifier(definition.membership_table)) != std::string::npos;
            });
        EXPECT_TRUE(is_membership) << statement;
      }
      database.run(*statements);
    }
    EXPECT_GT(kinds["INSERT"], 0);
    EXPECT_GT(kinds["UPDATE"], 0);
    EXPECT_GT(kinds["DELETE"], 0);
  }
}

}  // namespace
}  // namespace nizhal::workload
