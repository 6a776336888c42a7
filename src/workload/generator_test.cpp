#include <gtest/gtest.h>

#include <map>
#include <set>

#include <nizhal/crdt.hpp>

#include "base/test_seed.hpp"
#include "crdt/column.hpp"
#include "domain/arguments_codec.hpp"
#include "examples/docs/docs.hpp"
#include "examples/ledger/ledger.hpp"
#include "examples/notes/notes.hpp"
#include "workload/test_domains.hpp"
#include "workload/test_view.hpp"
#include "workload/trial.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {
namespace {

using testing::Database;
using testing::DatabaseView;

std::vector<Domain> domains() { return {notes::domain(), ledger::domain(), docs::domain(), testing::domain()}; }

struct World {
  explicit World(const Domain& domain, GeneratorOptions options = {})
      : database(domain), generator(database.domain, make_actors(*database.domain, 3), options) {
    SeededRandom random(3);
    database.run(generator.seed_statements(Dialect::sqlite, random));
  }
  std::optional<Call> next(std::size_t actor, Random& random) {
    DatabaseView view(database, generator.actors()[actor]);
    auto call = generator.next(view, random);
    EXPECT_TRUE(call) << (call ? "" : call.error().message);
    return call ? *std::move(call) : std::nullopt;
  }
  Database database;
  Generator generator;
};

TEST(Generator, EveryCallPassesTheChecksOfItsDeclaration) {
  for (const Domain& domain : domains()) {
    World world(domain, {.careless_per_mille = 300});
    SeededRandom random(test_seed("Generator"));
    std::set<std::string> drawn;
    for (std::size_t i = 0; i < 300; ++i) {
      const auto call = world.next(i % 3, random);
      ASSERT_TRUE(call);
      drawn.insert(call->mutator);
      const auto parsed = parse_json(call->args);
      ASSERT_TRUE(parsed) << call->args;
      const auto decoded = decode_arguments(*world.database.domain->domain().find_mutator(call->mutator), *parsed);
      ASSERT_TRUE(decoded) << decoded.error().message << " " << call->mutator << call->args;
      EXPECT_EQ(*decoded, call->values) << call->mutator << call->args;
    }
    EXPECT_EQ(drawn.size(), domain.mutators().size()) << domain.name();
  }
}

TEST(Generator, TheSameSeedGivesTheSameCalls) {
  for (const Domain& domain : domains()) {
    std::vector<std::string> runs[2];
    for (auto& calls : runs) {
      World world(domain);
      SeededRandom random(11);
      for (std::size_t i = 0; i < 120; ++i) {
        const auto call = world.next(i % 3, random);
        ASSERT_TRUE(call);
        calls.push_back(call->mutator + call->args);
        world.generator.note(call->mutator, i % 2 == 0);
      }
    }
    EXPECT_EQ(runs[0], runs[1]) << domain.name();
  }
}

TEST(Generator, WithoutCareEveryCallIsOneThatItsTrialForetellsToBeApplied) {
  for (const Domain& domain : domains()) {
    World world(domain, {.careless_per_mille = 0});
    SeededRandom random(test_seed("Generator"));
    for (std::size_t i = 0; i < 200; ++i) {
      const auto call = world.next(i % 3, random);
      ASSERT_TRUE(call);
      DatabaseView view(world.database, world.generator.actors()[i % 3]);
      Seen seen(*world.database.domain, view, 40);
      EXPECT_TRUE(try_call(seen, *world.database.domain->domain().find_mutator(call->mutator), call->values).is_applied)
          << call->mutator << call->args;
    }
  }
}

TEST(Generator, CarelessCallsNameWhatIsNotThere) {
  World world(ledger::domain(), {.careless_per_mille = 1'000});
  SeededRandom random(test_seed("Generator"));
  int refused = 0;
  for (std::size_t i = 0; i < 400; ++i) {
    const auto call = world.next(i % 3, random);
    ASSERT_TRUE(call);
    DatabaseView view(world.database, world.generator.actors()[i % 3]);
    Seen seen(*world.database.domain, view, 40);
    refused += !try_call(seen, *world.database.domain->domain().find_mutator(call->mutator), call->values).is_applied;
  }
  EXPECT_GT(refused, 250);
}

TEST(Generator, MutatorsThatWereNeverAppliedAreDrawnMoreOften) {
  World world(notes::domain());
  for (const auto& mutator : world.database.domain->domain().mutators())
    if (mutator->name != "addTeamMember") world.generator.note(mutator->name, true);
  EXPECT_EQ(world.generator.never_applied(), std::vector<std::string>{"addTeamMember"});
  SeededRandom random(test_seed("Generator"));
  const auto count = [&] {
    int members = 0;
    for (std::size_t i = 0; i < 300; ++i) members += world.next(i % 3, random)->mutator == "addTeamMember";
    return members;
  };
  const int before = count();
  world.generator.note("addTeamMember", true);
  EXPECT_GT(before, count() * 2);
}

/// The update is merged into the row that the call names, and says something there.
void expect_edits(const Domain& domain, const std::string& mutator, std::size_t key, std::size_t update,
                  const std::string& table, const std::string& column) {
  World world(domain);
  const CompiledDomain& compiled = *world.database.domain;
  const TableDef& def = *compiled.domain().find_table(table);
  const std::size_t place = def.index_of(column);
  SeededRandom random(test_seed("Generator"));
  int edits = 0, changed = 0, shorter = 0;
  for (std::size_t i = 0; i < 600; ++i) {
    const auto call = world.next(i % 3, random);
    ASSERT_TRUE(call);
    if (call->mutator != mutator) continue;
    const auto row = sqlite::select_row(*world.database.connection, def, call->values[key]);
    if (!row || !*row) continue;  // a careless one
    const auto& state = std::get<Blob>((**row)[place]);
    const auto merged =
        crdt::merge_column(def.columns[place].type, column, state.bytes, std::get<Blob>(call->values[update]).bytes);
    ASSERT_TRUE(merged) << merged.error().message;
    ++edits;
    changed += merged->is_changed;
    if (def.columns[place].type == ColumnType::crdt_text)
      shorter += to_string(CrdtText{merged->state}, column)->size() < to_string(CrdtText{state.bytes}, column)->size();
    ASSERT_TRUE(sqlite::update_row(*world.database.connection, def, call->values[key], {{place, Blob{merged->state}}}));
  }
  EXPECT_GT(edits, 20);
  EXPECT_GT(changed * 10, edits * 8);
  if (def.columns[place].type == ColumnType::crdt_text) {
    EXPECT_GT(shorter, 0) << "nothing is ever removed from what the row holds";
  }
}

TEST(Generator, UpdatesOfTextsAndMapsAreEditsOfTheRowAsItIs) {
  expect_edits(docs::domain(), "editBody", 0, 1, "documents", "body");
  expect_edits(docs::domain(), "editMeta", 0, 1, "documents", "meta");
  expect_edits(testing::domain(), "write", 0, 1, "voyages", "journal");
}

TEST(Checker, TheLedgerSaysWhatItsCallsSaidAndNobodyOwesLessThanNothing) {
  World world(ledger::domain());
  const std::shared_ptr<const CompiledDomain> domain = world.database.domain;
  const auto checker = make_checker(domain);
  const ServerRows server = [&](std::size_t t) { return Result<std::vector<Row>>(world.database.rows(t)); };
  const auto violated = [&](bool is_calm) { return checker->check(server, is_calm)->size(); };
  const auto call = [&](const std::string& mutator, const std::string& args) {
    return Call{mutator, *decode_arguments(*domain->domain().find_mutator(mutator), *parse_json(args)), args};
  };
  EXPECT_EQ(violated(true), 0U);
  checker->settled(call("recordCredit", R"({"id":"e1","customer_id":"c","amount":"5"})"), true);
  checker->settled(call("recordPayment", R"({"id":"e2","customer_id":"c","amount":"9"})"), false);
  EXPECT_EQ(violated(false), 0U);
  EXPECT_EQ(violated(true), 1U) << "an applied entry is not there";
  const auto entry = [&](const std::string& id, std::int64_t amount) {
    world.database.run({"INSERT INTO ledger_entries VALUES('" + id + "','s','c','credit'," + std::to_string(amount) +
                        ",'2026-01-02T00:00:00.000000Z')"});
  };
  entry("e1", 5);
  EXPECT_EQ(violated(true), 0U);
  entry("e2", -4);
  EXPECT_EQ(violated(false), 0U);
  EXPECT_EQ(violated(true), 2U) << "an entry of no applied call, and the sum";
  entry("e3", -4);
  EXPECT_EQ(violated(false), 1U) << "less than nothing";
  checker->restored();
  EXPECT_EQ(violated(true), 1U);
}

}  // namespace
}  // namespace nizhal::workload
