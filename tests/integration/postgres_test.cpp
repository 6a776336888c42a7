// The binary on PostgreSQL, as an operator uses it: real processes, a real cluster, other programs beside them.
#include <gtest/gtest.h>
#include <signal.h>

#include <fmt/format.h>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.hpp"
#include "base/reserved_port.hpp"
#include "base/test_temp_dir.hpp"
#include "postgres/connection.hpp"
#include "postgres/url.hpp"
#include "process/child_process.hpp"
#include "tests/postgres_server/pooler.hpp"
#include "tests/postgres_server/postgres_server.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

using Strings = std::vector<std::string>;

bool is_true(const json::value& object, std::string_view name) {
  const json::value* found = member(object, name);
  return found && found->is_bool() && found->get_bool();
}

std::size_t size_of(const json::value& object, std::string_view name) {
  const json::value* found = member(object, name);
  return found && found->if_array() ? found->if_array()->size() : 999;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

class OnPostgres : public ::testing::Test {
 protected:
  Strings command(std::string name, Strings more = {}, std::string_view domain = "notes") const {
    Strings all{std::move(name), "--domain", domain_library(domain), "--db", url_};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  void migrate() {
    const Finished done = nizhal(command("migrate"));
    ASSERT_EQ(done.status.code, 0) << done.out << done.err;
  }
  /// As psql would.
  void sql(const std::string& script) { shared_server().sql(name_, script); }
  std::string value(const std::string& query) { return shared_server().value(name_, query); }
  ClientCommand device(const std::string& name, const ServerProcess& server, const std::string& user = "u1",
                       const std::string& owner = "o1") {
    return {"notes", directory_.file(name + ".db"), server.url(), make_token(user, owner)};
  }
  static void sync(const ClientCommand& device) {
    const Finished done = device.run({"sync"});
    ASSERT_EQ(done.status.code, 0) << done.err;
  }
  static std::string bodies(const ClientCommand& device, const std::string& table = "notes") {
    return device.run({"query", "SELECT id, body FROM " + table + " ORDER BY id", "--json"}).out;
  }

  TempDir directory_;
  const std::string url_ = shared_server().create_database();
  const std::string name_ = postgres::parse_url(url_)->database;
};

TEST_F(OnPostgres, ThePlanIsPrintedAppliedAndThenFits) {
  const Finished plan = nizhal({"migrate", "--domain", domain_library("notes"), "--plan"});
  EXPECT_EQ(plan.status.code, 0) << plan.err;
  EXPECT_TRUE(has(plan.out, "CREATE SCHEMA nizhal")) << plan.out;
  EXPECT_TRUE(has(plan.out, "\"team_notes\"")) << plan.out;
  EXPECT_EQ(plan.out, nizhal(command("migrate", {"--plan"})).out) << "it needs no database, and comes out the same";
  EXPECT_EQ(value("SELECT count(*) FROM pg_namespace WHERE nspname = 'nizhal'"), "0") << "a plan changes nothing";
  const Finished early = nizhal(command("migrate", {"--check"}));
  EXPECT_EQ(early.status.code, 3);
  EXPECT_TRUE(has(early.out, "nizhal migrate --domain")) << early.out;

  const json::value created = answer_of(nizhal(command("migrate", {"--json"})));
  EXPECT_TRUE(is_true(created, "created"));
  const json::value again = answer_of(nizhal(command("migrate", {"--json"})));
  EXPECT_FALSE(is_true(again, "created"));
  EXPECT_EQ(size_of(again, "changes"), 0U);
  EXPECT_TRUE(has(nizhal(command("migrate")).out, "nothing was changed"));
  const json::value fits = answer_of(nizhal(command("migrate", {"--check", "--json"})));
  EXPECT_TRUE(is_true(fits, "fits")) << to_text(fits);

  // What the plan says is what a database gets: a psql that runs it has the same schema.
  const std::string by_hand_url = shared_server().create_database();
  shared_server().sql(postgres::parse_url(by_hand_url)->database, plan.out);
  EXPECT_EQ(nizhal({"migrate", "--domain", domain_library("notes"), "--db", by_hand_url}).status.code, 0);
}

TEST_F(OnPostgres, TwoDevicesAndAnotherProgramShareADatabase) {
  migrate();
  ServerProcess server("notes", url_);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server), b = device("b", server);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"from a"})", "--json"}));
  answer_of(b.run({"mutate", "addNote", R"({"id":"n2","body":"reject"})", "--json"}));
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 1);
  EXPECT_EQ(number_in(answer_of(b.run({"sync", "--json"})), "rejected"), 1);
  EXPECT_EQ(bodies(b), "[{\"id\":\"n1\",\"body\":\"from a\"}]\n");

  sql("INSERT INTO notes (id, owner_id, body) VALUES ('n3', 'o1', 'by psql'), ('n4', 'o2', 'of another')");
  sql("UPDATE notes SET body = 'edited' WHERE id = 'n1'");
  sync(a);
  EXPECT_EQ(bodies(a), "[{\"id\":\"n1\",\"body\":\"edited\"},{\"id\":\"n3\",\"body\":\"by psql\"}]\n");
  sql("UPDATE notes SET id = 'n9' WHERE id = 'n3'; DELETE FROM notes WHERE id = 'n1'");
  sync(a);
  EXPECT_EQ(bodies(a), "[{\"id\":\"n9\",\"body\":\"by psql\"}]\n");
  sql("INSERT INTO team_members (id, user_id, team_id) VALUES ('m1', 'u1', 't1');"
      "INSERT INTO team_notes (id, team_id, body) VALUES ('t1', 't1', 'for the team')");
  sync(a);
  EXPECT_EQ(bodies(a, "team_notes"), "[{\"id\":\"t1\",\"body\":\"for the team\"}]\n");
  sql("TRUNCATE notes, team_members");
  sync(a);
  sync(b);
  EXPECT_EQ(bodies(a), "[]\n");
  EXPECT_EQ(bodies(b), "[]\n");
  EXPECT_EQ(bodies(a, "team_notes"), "[]\n") << "the membership went with its row";
  EXPECT_EQ(server.terminate(), (ExitStatus{0, 0}));
  EXPECT_TRUE(is_true(answer_of(nizhal(command("migrate", {"--check", "--json"}))), "fits"));
}

TEST_F(OnPostgres, ServeSetsUpAnEmptyDatabaseAndRefusesOneThatDoesNotFit) {
  {
    ServerProcess server("notes", url_);
    ASSERT_FALSE(server.url().empty()) << server.why();
    EXPECT_TRUE(has(server.why(), "was created")) << server.why();
    EXPECT_EQ(server.terminate(), (ExitStatus{0, 0}));
  }
  sql("ALTER TABLE notes DROP COLUMN body");
  const Finished check = nizhal(command("migrate", {"--check"}));
  EXPECT_EQ(check.status.code, 3);
  EXPECT_TRUE(has(check.out, "table \"notes\", column \"body\"")) << check.out;
  const json::value differences = answer_of(nizhal(command("migrate", {"--check", "--json"})), 3);
  EXPECT_FALSE(is_true(differences, "fits"));
  EXPECT_TRUE(has(to_text(differences), "column \\\"body\\\"")) << to_text(differences);
  const Finished refused = nizhal(command("serve", {"--listen", "127.0.0.1:0"}));
  EXPECT_EQ(refused.status.code, 3) << refused.err;
  EXPECT_TRUE(has(refused.err, "body")) << refused.err;
  EXPECT_TRUE(has(refused.err, "nizhal migrate --domain")) << refused.err;
  EXPECT_EQ(refused.out, "");
}

TEST_F(OnPostgres, TablesThatWereThereBeforeAreTakenAsTheyAre) {
  sql("CREATE TABLE notes (id varchar(40) PRIMARY KEY, owner_id text NOT NULL, body text NOT NULL, mood text);"
      "INSERT INTO notes SELECT 'n' || i, 'o1', 'old', NULL FROM generate_series(1, 500) AS i");
  const Finished refused = nizhal(command("serve", {"--listen", "127.0.0.1:0"}));
  EXPECT_EQ(refused.status.code, 3) << "tables of somebody's are changed by migrate only";
  EXPECT_EQ(value("SELECT count(*) FROM pg_namespace WHERE nspname = 'nizhal'"), "0");
  const Finished migrated = nizhal(command("migrate"));
  ASSERT_EQ(migrated.status.code, 0) << migrated.err;
  EXPECT_TRUE(has(migrated.err, "notes")) << "progress is told: " << migrated.err;
  ServerProcess server("notes", url_);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server);
  sync(a);
  EXPECT_EQ(a.run({"query", "SELECT count(*) AS n FROM notes", "--json"}).out, "[{\"n\":500}]\n");
}

TEST_F(OnPostgres, ABreakingChangeHasToBeAllowedAndEndsOldDevicesWriting) {
  migrate();
  ServerProcess server("notes", url_);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  sync(a);
  const json::value check = answer_of(nizhal(command("migrate", {"--check", "--json"}, "notes_next")), 3);
  EXPECT_TRUE(has(to_text(check), "\"breaking\":true")) << to_text(check);
  EXPECT_TRUE(has(nizhal(command("migrate", {"--check"}, "notes_next")).out, "--allow-breaking"));
  const Finished refused = nizhal(command("migrate", {}, "notes_next"));
  EXPECT_EQ(refused.status.code, 3) << refused.err;
  EXPECT_TRUE(has(refused.err, "--allow-breaking")) << refused.err;
  EXPECT_EQ(
      value("SELECT count(*) FROM information_schema.columns WHERE table_name = 'notes' AND column_name = 'title'"),
      "0")
      << "nothing was changed";

  const json::value report = answer_of(nizhal(command("migrate", {"--allow-breaking", "--json"}, "notes_next")));
  EXPECT_EQ(string_member(report, "minClientVersion"), "2.0.0");
  EXPECT_EQ(value("SELECT body FROM notes WHERE id = 'n1'"), "x") << "nothing of the user's is dropped";
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"too old"})", "--json"}));
  // The running server learns of it with its next look; how long that takes on a busy machine is not this test's.
  Finished last;
  for (int i = 0; i < 100 && last.status.code != 4; ++i) {
    answer_of(a.run({"mutate", "editNote", R"({"id":"n1","body":"y"})", "--json"}));
    last = a.run({"sync"});
  }
  EXPECT_EQ(last.status.code, 4) << last.out << last.err;
  const json::value status = answer_of(a.run({"status", "--json"}));
  EXPECT_TRUE(has(last.err, "no more writes")) << last.err;
  EXPECT_GE(number_in(status, "pending"), 1) << "what it has not sent stays";
}

TEST_F(OnPostgres, ResetTakesEverythingOutAndMigratePutsItBack) {
  migrate();
  sql("INSERT INTO notes (id, owner_id, body) VALUES ('n1', 'o1', 'mine')");
  const Finished asked = nizhal(command("migrate", {"--reset"}));
  EXPECT_EQ(asked.status.code, 2);
  EXPECT_TRUE(has(asked.err, "--yes")) << asked.err;
  EXPECT_EQ(value("SELECT count(*) FROM pg_namespace WHERE nspname = 'nizhal'"), "1");
  EXPECT_EQ(nizhal(command("migrate", {"--reset", "--yes"})).status.code, 0);
  EXPECT_EQ(value("SELECT count(*) FROM pg_namespace WHERE nspname = 'nizhal'"), "0");
  EXPECT_EQ(value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'nizhal%'"), "0");
  EXPECT_EQ(value("SELECT body FROM notes"), "mine");
  const Finished gc = nizhal(command("gc"));
  EXPECT_EQ(gc.status.code, 3);
  EXPECT_TRUE(has(gc.err, "nothing of Nizhal")) << gc.err;
  migrate();
  EXPECT_EQ(nizhal(command("migrate", {"--check"})).status.code, 0);
}

TEST_F(OnPostgres, GcWorksBesideTheRunningServer) {
  ServerProcess server("notes", url_);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  answer_of(a.run({"mutate", "deleteNote", R"({"id":"n1"})", "--json"}));
  sync(a);
  EXPECT_EQ(number_in(answer_of(nizhal(command("gc", {"--json"}))), "removals"), 0) << "younger than 30 days";
  const json::value report = answer_of(nizhal(command("gc", {"--retention", "0s", "--json"})));
  EXPECT_EQ(number_in(report, "removals"), 1);
  EXPECT_EQ(number_in(report, "mutations"), 2);
  EXPECT_EQ(number_in(report, "auditRows"), 2);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"still served"})", "--json"}));
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 1);
}

TEST_F(OnPostgres, ANewEpochMakesDevicesStartAfreshWhileTheServerRuns) {
  ServerProcess server("notes", url_);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  sync(a);
  const auto epoch = [&] {
    const json::value store = answer_of(nizhal({"inspect", a.store, "--json"}));
    return std::string(string_member(*member(store, "cursor"), "epoch").value_or(""));
  };
  const std::string before = epoch();
  EXPECT_NE(before, "");
  // Rows that went without anybody's noticing, as a restored backup lacks them.
  sql("SET session_replication_role = replica; DELETE FROM notes");
  answer_of(nizhal({"epoch", "--rotate", "--db", url_, "--json"}));
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"y"})", "--json"}));
  sync(a);
  EXPECT_NE(epoch(), before);
  EXPECT_EQ(bodies(a), "[{\"id\":\"n2\",\"body\":\"y\"}]\n");
  EXPECT_EQ(size_of(answer_of(nizhal({"inspect", a.store, "--json"})), "outbox"), 0U);
}

TEST_F(OnPostgres, TwoServersServeOneDatabase) {
  ServerProcess first("notes", url_), second("notes", url_);
  ASSERT_FALSE(first.url().empty() || second.url().empty()) << first.why() << second.why();
  const ClientCommand a = device("a", first), b = device("b", second);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"through one"})", "--json"}));
  sync(a);
  answer_of(b.run({"mutate", "addNote", R"({"id":"n2","body":"through the other"})", "--json"}));
  sync(b);
  EXPECT_EQ(bodies(b), "[{\"id\":\"n1\",\"body\":\"through one\"},{\"id\":\"n2\",\"body\":\"through the other\"}]\n");
  // A device may come to another server with the cursor and the ids that the first one gave it.
  ClientCommand moved = a;
  moved.server = second.url();
  answer_of(moved.run({"mutate", "editNote", R"({"id":"n1","body":"edited"})", "--json"}));
  EXPECT_EQ(number_in(answer_of(moved.run({"sync", "--json"})), "applied"), 1);
  EXPECT_EQ(bodies(moved), "[{\"id\":\"n1\",\"body\":\"edited\"},{\"id\":\"n2\",\"body\":\"through the other\"}]\n");
}

TEST_F(OnPostgres, AServerEndsThoughSomebodyHoldsALockAndNothingIsLost) {
  ServerProcess server("notes", url_);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server);
  sync(a);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"waits"})", "--json"}));
  {
    auto other = postgres::Connection::connect({.url = url_});
    ASSERT_TRUE(other) << other.error().message;
    ASSERT_TRUE((*other)->execute("BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE"));
    auto pushing = start_nizhal(a.arguments({"sync"}));
    const auto waits = [&] {
      return value("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'notes'::regclass") != "0";
    };
    const auto until = std::chrono::steady_clock::now() + kPatience;
    bool is_waiting = waits();
    while (!is_waiting && std::chrono::steady_clock::now() < until) is_waiting = waits();
    ASSERT_TRUE(is_waiting) << pushing->err();
    EXPECT_EQ(server.terminate(), (ExitStatus{0, 0})) << server.why();
    pushing->signal(SIGKILL);
    ASSERT_TRUE(pushing->wait(kPatience));
  }
  ASSERT_TRUE(server.start()) << server.why();
  sync(a);
  EXPECT_EQ(value("SELECT string_agg(id || body, ',') FROM notes"), "n1waits");
}

TEST_F(OnPostgres, AServerMayStandBehindAPoolerInTransactionMode) {
  Pooler pooler(shared_server());
  migrate();  // directly, as the help says
  ServerProcess server("notes", pooler.url(url_), {"--pooler", "transaction", "--listen-db", url_});
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  answer_of(a.run({"mutate", "editNote", R"({"id":"n1","body":"y"})", "--json"}));
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 2);
  sql("UPDATE notes SET body = 'by psql'");
  sync(a);
  EXPECT_EQ(bodies(a), "[{\"id\":\"n1\",\"body\":\"by psql\"}]\n");
  EXPECT_EQ(server.terminate(), (ExitStatus{0, 0}));
}

TEST_F(OnPostgres, AServerMayBeARoleThatOwnsNothing) {
  migrate();
  const std::string role = "app_" + name_;
  // As docs/postgresql.md has it.
  sql("CREATE ROLE " + role + " LOGIN;" + "GRANT USAGE ON SCHEMA nizhal TO " + role +
      "; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA nizhal TO " + role +
      "; GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA nizhal TO " + role +
      "; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nizhal TO " + role +
      "; GRANT SELECT, INSERT, UPDATE, DELETE ON notes, team_members, team_notes TO " + role);
  std::string url = url_;
  url.replace(url.find("//") + 2, url.find('@') - url.find("//") - 2, role);
  const std::string stranger = "stranger_" + name_;
  sql("CREATE ROLE " + stranger + " LOGIN");
  std::string strangers_url = url;
  strangers_url.replace(strangers_url.find(role), role.size(), stranger);
  Strings serve = command("serve", {"--listen", "127.0.0.1:0"});
  serve[4] = strangers_url;
  const Finished refused = nizhal(serve);
  EXPECT_TRUE(refused.status.code == 3 || refused.status.code == 4) << refused.status.code << refused.err;
  EXPECT_TRUE(has(refused.err, "permission denied")) << refused.err;

  ServerProcess server("notes", url);
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a = device("a", server);
  answer_of(a.run({"mutate", "createTeam", R"({"team_id":"t1"})", "--json"}));
  answer_of(a.run({"mutate", "addTeamNote", R"({"id":"n1","team_id":"t1","body":"x"})", "--json"}));
  answer_of(a.run({"mutate", "deleteTeamNote", R"({"id":"n1"})", "--json"}));
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 3);
  Strings gc = command("gc", {"--retention", "0s", "--json"});
  gc[4] = url;
  EXPECT_EQ(number_in(answer_of(nizhal(gc)), "removals"), 1);
}

TEST_F(OnPostgres, DomainSkeletonsCompileAndLoad) {
  sql(R"(CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE shops (id uuid PRIMARY KEY, name varchar(80) NOT NULL);
CREATE TABLE shop_members (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id text NOT NULL,
  shop_id uuid NOT NULL REFERENCES shops, UNIQUE (user_id, shop_id));
CREATE TABLE orders (
  number integer UNIQUE NOT NULL, shop_id uuid NOT NULL REFERENCES shops (id), "class" text, total numeric(12, 2) NOT NULL,
  weight real, paid boolean NOT NULL DEFAULT false, at timestamptz NOT NULL, due date, local_at timestamp, extra jsonb,
  photo bytea, tags text[] NOT NULL, state mood, code char(3), "odd name" text, doubled integer GENERATED ALWAYS AS (number * 2) STORED);
CREATE TABLE pairs (a text, b text, PRIMARY KEY (a, b));
CREATE TABLE domain (id smallint PRIMARY KEY);
CREATE TABLE parts (id bigint PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE one_part PARTITION OF parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE UNLOGGED TABLE scratch (id bigint PRIMARY KEY);
CREATE VIEW open_orders AS SELECT * FROM orders)");
  migrate();  // beside tables of its own: what is the engine's is not shown
  const Finished printed = nizhal({"introspect", "--db", url_});
  ASSERT_EQ(printed.status.code, 0) << printed.err;
  for (const char* part : {"struct Shop {\n  nizhal::Uuid id;\n  std::string name;\n};",
                           "std::int64_t id = 0;",
                           ".key(\"number\", &Order::number)",
                           "std::optional<std::string> class_;",
                           "nizhal::Numeric total;",
                           "std::optional<double> weight;",
                           "bool paid = false;",
                           "nizhal::Timestamp at;",
                           "std::optional<nizhal::Date> due;",
                           "// local_at timestamp without time zone is left out",
                           "AT TIME ZONE 'UTC'",
                           "// tags text[] is left out",
                           "It is NOT NULL without a default",
                           "// state mood is left out",
                           "// code character(3) is left out",
                           "// odd name text is left out",
                           "// doubled integer is left out",
                           "Table \"pairs\" is left out: its primary key has several columns",
                           "Table \"parts\" is left out: it is partitioned",
                           "Table \"scratch\" is left out: a crash",
                           "nizhal::Uuid shop_id;  // foreign key: shops.id",
                           "shop_id in orders, shop_members (foreign key: shops.id)",
                           "// d.rule(\"byShopId\")",
                           "inline const auto team_notes"})
    EXPECT_TRUE(has(printed.out, part)) << part << "\n" << printed.out;
  for (const char* part : {"nizhal_version", "open_orders", "struct Pair", "one_part"})
    EXPECT_FALSE(has(printed.out, part)) << part << "\n" << printed.out;

  const std::string source = directory_.file("skeleton.cpp"), library = directory_.file("libskeleton.so");
  // The rule that is proposed stands in a comment, and is right as it stands there.
  std::string text;
  std::istringstream lines(printed.out);
  for (std::string line; std::getline(lines, line);) {
    const bool is_rule = has(line, "// d.rule(") || has(line, "//     .membership(") || has(line, "//     .data(");
    text += (is_rule ? line.substr(line.find("//") + 2) : line) + "\n";
  }
  ASSERT_TRUE(has(text, "\n d.rule(\"byShopId\")\n")) << text;
  std::ofstream(source) << text;
  const auto compiled =
      process::run_process({"/usr/bin/c++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-O0", "-shared", "-fPIC",
                            "-I" NIZHAL_SOURCE_DIR "/include", "-o", library, source});
  ASSERT_TRUE(compiled && compiled->status.code == 0) << (compiled ? compiled->err : compiled.error().message);
  const json::value lint = answer_of(nizhal({"lint", "--domain", library, "--json"}), 1);
  EXPECT_EQ(number_in(lint, "errors"), 0) << to_text(lint);
  EXPECT_TRUE(has(to_text(lint), "mutable_balance")) << "orders.total is for a person to look at: " << to_text(lint);

  const Finished one = nizhal({"introspect", "--db", url_, "--table", "shops", "--json"});
  EXPECT_EQ(to_text(*member(answer_of(one), "tables")), "[\"shops\"]");
  const Finished none = nizhal({"introspect", "--db", url_, "--table", "shop"});
  EXPECT_EQ(none.status.code, 1);
  EXPECT_TRUE(has(none.err, "did you mean \"shops\"?")) << none.err;
}

TEST(PostgresDatabase, WhatCannotBeReachedIsExitFourAndNamedWithoutItsPassword) {
  const std::string notes = domain_library("notes");
  const ReservedPort nobody_listens;
  const std::string url = fmt::format("postgresql://app:hunter2@127.0.0.1:{}/notes", nobody_listens.port());
  for (const Strings& arguments : std::vector<Strings>{{"serve", "--domain", notes, "--db", url},
                                                       {"migrate", "--domain", notes, "--db", url},
                                                       {"migrate", "--check", "--domain", notes, "--db", url},
                                                       {"gc", "--domain", notes, "--db", url},
                                                       {"epoch", "--rotate", "--db", url},
                                                       {"introspect", "--db", url}}) {
    const Finished finished = nizhal(arguments);
    EXPECT_EQ(finished.status.code, 4) << arguments[0] << finished.err;
    EXPECT_TRUE(has(finished.err, "127.0.0.1:")) << finished.err;
    EXPECT_FALSE(has(finished.err, "hunter2")) << finished.err;
    EXPECT_EQ(finished.out, "");
  }
  for (const std::string bad :
       {"postgresql://u:%zzhunter2@h/d", "postgresql://h/d?hunter2=1", "mysql://u:hunter2@h/d", "hunter2"}) {
    for (const Strings& arguments : std::vector<Strings>{{"serve", "--domain", notes, "--db", bad},
                                                         {"migrate", "--domain", notes, "--db", bad},
                                                         {"gc", "--domain", notes, "--db", bad},
                                                         {"epoch", "--rotate", "--db", bad},
                                                         {"introspect", "--db", bad}}) {
      const Finished finished = nizhal(arguments);
      EXPECT_EQ(finished.status.code, 2) << arguments[0] << finished.err;
      EXPECT_TRUE(has(finished.err, "postgresql://")) << finished.err;
      EXPECT_FALSE(has(finished.err, "hunter2")) << finished.err;
    }
  }
}

TEST(PostgresDatabase, VariablesNameItAndItsPassword) {
  PostgresServer& server = shared_server();
  const std::string url = server.create_database();
  const auto parsed = postgres::parse_url(url);
  ASSERT_TRUE(parsed);
  SpawnOptions environment = nizhal_environment();
  for (auto& [name, value] : environment.environment)
    if (name == "NIZHAL_DB") value = "dbname=" + parsed->database;
  environment.environment.insert(
      environment.environment.end(),
      {{"PGHOST", parsed->hosts.front().name}, {"PGPORT", parsed->hosts.front().port}, {"PGUSER", parsed->user}});
  const Finished migrated = nizhal({"migrate", "--domain", domain_library("notes")}, {}, environment);
  EXPECT_EQ(migrated.status.code, 0) << migrated.err;
  const Finished config = nizhal(
      {"serve", "--print-config", "--db", "postgresql://u:hunter2@h/d", "--listen-db", "host=h password=hunter2"});
  EXPECT_EQ(config.status.code, 0) << config.err;
  EXPECT_TRUE(has(config.out, "postgresql://u@h/d")) << config.out;
  EXPECT_FALSE(has(config.out, "hunter2")) << config.out;
}

}  // namespace
}  // namespace nizhal::testing
