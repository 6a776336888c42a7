// Generated workloads of the example domains on a server and three devices: every mutator is applied, most calls are,
// what other programs write is taken by both storages, and what must hold of the rows holds.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include <fmt/format.h>

#include "base/test_seed.hpp"
#include "examples/docs/docs.hpp"
#include "examples/ledger/ledger.hpp"
#include "examples/notes/notes.hpp"
#include "tests/support/require.hpp"
#include "tests/support/world.hpp"
#include "workload/workload.hpp"

namespace nizhal::testing {
namespace {

class DeviceView : public workload::View {
 public:
  DeviceView(const CompiledDomain& domain, Device& device, const Actor& actor)
      : domain_(domain), device_(device), actor_(actor) {}
  const Actor& actor() const override { return actor_; }
  Result<std::vector<Row>> sample(std::size_t table, std::size_t rows_max) override {
    if (!domain_.is_delivered(table)) return std::vector<Row>{};
    QuerySpec query;
    query.table = &domain_.table(table);
    query.limit = rows_max;
    return device_.store().query(query);
  }

 private:
  const CompiledDomain& domain_;
  Device& device_;
  const Actor& actor_;
};

struct Made {
  workload::Call call;
  Device* device = nullptr;
};

struct Figures {
  int calls = 0, applied = 0;
  std::vector<std::string> never_applied, violated;
};

Domain domain_named(const std::string& name) {
  return name == "notes" ? notes::domain() : name == "ledger" ? ledger::domain() : docs::domain();
}

class Workloads : public ::testing::TestWithParam<std::tuple<BackendKind, std::string>> {
 protected:
  /// `others`: other programs give and take memberships and write rows meanwhile.
  void run(std::uint64_t seed, int calls, bool others, Figures& figures) {
    const auto& [kind, name] = GetParam();
    const Dialect dialect = kind == BackendKind::sqlite ? Dialect::sqlite : Dialect::postgres;
    World world(seed, domain_named(name), {}, kind);
    const auto domain = require(CompiledDomain::compile(domain_named(name)), "compile");
    workload::Generator generator(domain, workload::make_actors(*domain, 3));
    const auto checker = workload::make_checker(domain);
    SeededRandom random(seed);
    for (const std::string& statement : generator.seed_statements(dialect, random)) world.sql(statement);
    std::vector<Device*> devices;
    for (std::size_t i = 0; i < 3; ++i) devices.push_back(&world.device(fmt::format("d{}", i), generator.actors()[i]));
    ASSERT_TRUE(world.settle());
    const workload::ServerRows server = [&](std::size_t table) -> Result<std::vector<Row>> {
      QuerySpec query;
      query.table = &domain->table(table);
      auto transaction = world.storage().write(world.clock.now(), {.mode = storage::WriteMode::serializable});
      if (!transaction) return tl::unexpected(transaction.error());
      return (*transaction)->find(query, nullptr);
    };

    std::map<std::string, Made> made;  // by client mutation id
    std::set<std::pair<Device*, std::int64_t>> known_letters;
    const auto settle = [&] {
      ASSERT_TRUE(world.settle());
      std::set<std::string> refused;
      for (Device* device : devices)
        for (const DeadLetter& letter : require(device->store().dead_letters(), "dead letters"))
          if (known_letters.insert({device, letter.id}).second) refused.insert(letter.client_mutation_id);
      for (const auto& [id, one] : made) {
        const bool applied = !refused.contains(id);
        figures.applied += applied;
        generator.note(one.call.mutator, applied);
        checker->settled(one.call, applied);
      }
      made.clear();
      for (const std::string& sentence : require(checker->check(server, true), "check"))
        figures.violated.push_back(sentence);
    };
    for (int i = 0; i < calls; ++i) {
      const std::size_t who = random.below(3);
      DeviceView view(*domain, *devices[who], generator.actors()[who]);
      const auto call = require(generator.next(view, random), "draw a call");
      ASSERT_TRUE(call);
      ++figures.calls;
      const auto ticket = devices[who]->store().mutate(call->mutator, call->values, {});
      if (ticket) {
        made[ticket->client_mutation_id] = {*call, devices[who]};
      } else {
        ASSERT_EQ(ticket.error().code, ErrorCode::refused) << call->mutator << call->args << ticket.error().message;
        generator.note(call->mutator, false);
      }
      if (others && random.below(6) == 0)
        for (const std::string& sql : require(generator.membership_change(dialect, server, random), "memberships"))
          world.sql(sql);
      if (others && random.below(4) == 0)
        for (const std::string& sql : require(generator.foreign_write(dialect, server, random), "a foreign write"))
          world.sql(sql);
      if (i % 10 == 9) settle();
    }
    settle();
    figures.never_applied = generator.never_applied();
  }
};

std::string join(const std::vector<std::string>& parts) { return fmt::format("{}", fmt::join(parts, "; ")); }

TEST_P(Workloads, EveryMutatorIsAppliedAndMostCallsAre) {
  const std::uint64_t seed = test_seed("Workloads");
  for (std::uint64_t i = 0; i < 2; ++i) {
    Figures figures;
    run(seed + i, 250, false, figures);
    EXPECT_EQ(join(figures.never_applied), "") << "seed " << seed + i;
    EXPECT_GT(figures.applied * 10, figures.calls * 7) << "of " << figures.calls << ", seed " << seed + i;
    EXPECT_LT(figures.applied, figures.calls) << "nothing was refused; seed " << seed + i;
    EXPECT_EQ(join(figures.violated), "") << "seed " << seed + i;
  }
}

TEST_P(Workloads, TheyGoOnWhileOtherProgramsWrite) {
  const std::uint64_t seed = test_seed("Workloads");
  Figures figures;
  run(seed, 250, true, figures);
  EXPECT_EQ(join(figures.never_applied), "");
  EXPECT_GT(figures.applied * 2, figures.calls);
  EXPECT_EQ(join(figures.violated), "");
}

INSTANTIATE_TEST_SUITE_P(On, Workloads,
                         ::testing::Combine(every_backend(), ::testing::Values("notes", "ledger", "docs")),
                         [](const auto& of) {
                           return kind_name({std::get<0>(of.param), of.index}) + "_" + std::get<1>(of.param);
                         });

}  // namespace
}  // namespace nizhal::testing
