// Each benchmark runs for a moment on a real PostgreSQL: what it prints, and that it leaves nothing behind. How fast is
// not a test's business.
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "base/json.hpp"
#include "tests/postgres_server/postgres_server.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

Finished bench(std::vector<std::string> arguments) {
  std::vector<std::string> all{"bench",  "--json", "--rounds",      "1", "--seconds", "1",
                               "--rows", "2500",   "--connections", "3", "--sockets", "200"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return nizhal(std::move(all));
}

/// Adds the names of the figures to `names`, and checks what each of them says.
void expect_figures(const Finished& finished, std::string& names) {
  ASSERT_EQ(finished.status.code, 0) << finished.err;
  const auto figures = parse_json(finished.out);
  ASSERT_TRUE(figures && figures->is_array()) << finished.out;
  for (const json::value& figure : *figures->if_array()) {
    names += std::string(string_member(figure, "name").value_or("?")) + " ";
    for (const char* number : {"value", "limit", "ratio"}) {
      ASSERT_NE(member(figure, number), nullptr);
      EXPECT_GT(member(figure, number)->to_number<double>(), 0) << names << number;
    }
    EXPECT_EQ(as_integer(*member(figure, "rounds")), 1);
    EXPECT_TRUE(string_member(figure, "unit"));
    const json::value& settings = *member(figure, "settings");
    EXPECT_TRUE(string_member(settings, "limit")) << names;
    const std::string_view name = *string_member(figure, "name");
    if (name.starts_with("live-") || name == "mutate" || name == "apply") continue;  // on a device there is no server
    for (const char* setting : {"nizhal", "build", "cores", "pinned", "postgresql", "fsync", "synchronous_commit",
                                "shared_buffers", "server workers", "connections", "limit"})
      EXPECT_TRUE(string_member(settings, setting)) << names << setting;
  }
}

TEST(Bench, EachOneRunsBesideItsLimitAndLeavesNothingBehind) {
  PostgresServer& server = shared_server();
  const std::string before = server.value("postgres", "SELECT count(*) FROM pg_database");
  std::string names;
  // One at a time: all of them together take longer than any other command, and would need a patience of their own.
  for (const char* name :
       {"push", "push-batch", "bootstrap", "idle-pull", "poke", "fanout", "sockets", "live", "mutate", "apply"})
    expect_figures(bench({name, "--db", server.url()}), names);
  EXPECT_EQ(names,
            "push push-batch bootstrap idle-pull poke fanout sockets live-order live-fold live-join mutate apply ");
  EXPECT_EQ(server.value("postgres", "SELECT count(*) FROM pg_database"), before);
}

TEST(Bench, ASignalEndsItAndLeavesNothingBehind) {
  PostgresServer& server = shared_server();
  const std::string before = server.value("postgres", "SELECT count(*) FROM pg_database");
  const auto process = start_nizhal({"bench", "push", "--seconds", "600", "--db", server.url()});
  while (server.value("postgres", "SELECT count(*) FROM pg_database") == before) std::this_thread::yield();
  process->signal(SIGTERM);
  const auto status = process->wait(kPatience);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 4);
  EXPECT_NE(process->err().find("interrupted"), std::string::npos) << process->err();
  EXPECT_EQ(server.value("postgres", "SELECT count(*) FROM pg_database"), before);
}

TEST(Bench, ARoleThatMayNotCreateDatabasesIsToldSo) {
  PostgresServer& server = shared_server();
  server.sql("postgres", "CREATE ROLE nobody_special LOGIN");
  std::string url = server.url();
  url.replace(url.find("://") + 3, url.find('@') - url.find("://") - 3, "nobody_special");
  const Finished finished = bench({"push", "--db", url});
  EXPECT_EQ(finished.status.code, 4);
  EXPECT_NE(finished.err.find("CREATEDB"), std::string::npos) << finished.err;
}

TEST(Bench, WithoutPostgresOnlyWhatNeedsNoneRuns) {
  const Finished finished = bench({});
  ASSERT_EQ(finished.status.code, 0) << finished.err;
  const auto figures = parse_json(finished.out);
  ASSERT_TRUE(figures && figures->is_array()) << finished.out;
  std::string names;
  for (const json::value& figure : *figures->if_array())
    names += std::string(string_member(figure, "name").value_or("?")) + " ";
  EXPECT_EQ(names, "idle-pull sockets live-order live-fold live-join mutate apply ");
  EXPECT_NE(finished.err.find("push: left out"), std::string::npos) << finished.err;
}

TEST(Bench, WrongUsageIsToldInWords) {
  EXPECT_EQ(bench({"walk"}).status.code, 2);
  EXPECT_NE(bench({"walk"}).err.find("there is no benchmark \"walk\""), std::string::npos);
  EXPECT_EQ(bench({"push"}).status.code, 2);
  EXPECT_EQ(bench({"push", "--db", "sqlite:x.db"}).status.code, 2);
  EXPECT_EQ(bench({"push", "--rounds", "0"}).status.code, 2);
  EXPECT_EQ(bench({"push", "--db", "postgresql://127.0.0.1:1/x"}).status.code, 4);
}

}  // namespace
}  // namespace nizhal::testing
