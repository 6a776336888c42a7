// The binary as people and scripts call it: answers on standard output, reasons on standard error, exit codes.
#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>

#include <nizhal/domain.hpp>

#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "sqlite/connection.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/process.hpp"

namespace nizhal::testing {
namespace {

struct Call {
  std::vector<std::string> arguments;
  int code = 0;
  std::string says;  // part of standard error
};

void expect_refused(const Call& call, const SpawnOptions& options = nizhal_environment()) {
  const Finished finished = nizhal(call.arguments, {}, options);
  std::string shown;
  for (const std::string& word : call.arguments) shown += word + " ";
  EXPECT_EQ(finished.status.code, call.code) << shown << finished.err;
  EXPECT_NE(finished.err.find(call.says), std::string::npos) << shown << "\n" << finished.err;
  EXPECT_EQ(finished.out, "") << shown;
}

SpawnOptions environment_with(const std::string& name, const std::string& value) {
  SpawnOptions options = nizhal_environment();
  for (auto& [known, old] : options.environment)
    if (known == name) old = value;
  return options;
}

// A server, and devices of the notes example.
class CliWithServer : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_FALSE(server_.url().empty()) << server_.why(); }
  ClientCommand device(const std::string& name, const std::string& user = "u1", const std::string& owner = "o1") {
    return {"notes", directory_.file(name + ".db"), server_.url(), make_token(user, owner)};
  }
  TempDir directory_;
  ServerProcess server_{"notes", directory_.file("server.db")};
};

TEST(Cli, WrongUsageIsExitTwoAndSaysWhatToDo) {
  const std::string notes = domain_library("notes");
  const TempDir directory;
  const std::string store = directory.file("a.db");
  for (const Call& call : std::vector<Call>{
           {{}, 2, "SUBCOMMAND"},
           {{"juggle"}, 2, "the commands are: serve, token, client"},
           {{"migrate", "--db", "sqlite:x"}, 2, "--domain is required"},
           {{"migrate", "--domain", notes}, 2, "--db"},
           {{"migrate", "--domain", notes, "--plan", "--check"}, 2, "one of them"},
           {{"migrate", "--domain", notes, "--check", "--allow-breaking"}, 2, "--allow-breaking"},
           {{"migrate", "--domain", notes, "--yes"}, 2, "--reset"},
           {{"introspect"}, 2, "--db"},
           {{"lint"}, 2, "--domain is required"},
           {{"lint", "--domain", notes, "extra"}, 2, "extra"},
           {{"token", "--user", "u"}, 2, "--owner is required"},
           {{"token", "--user", "u", "--owner", "o", "--expires", "soon"}, 2, "30s, 15m, 1h, 7d"},
           {{"token", "--user", "u", "--owner", "o", "--claim", "exp=1"}, 2, "--expires"},
           {{"serve", "--domain", notes}, 2, "--db"},
           {{"serve", "--db", "sqlite:" + store}, 2, "--domain"},
           {{"serve", "--domain", notes, "--db", "mysql://u:hunter2@h/d"}, 2, "postgresql://"},
           {{"serve", "--domain", notes, "--db", "sqlite:" + store, "--pooler", "transaction"}, 2, "--pooler"},
           {{"serve", "--domain", notes, "--db", "sqlite:" + store, "--listen", "4000"}, 2, "HOST:PORT"},
           {{"serve", "--domain", notes, "--db", "sqlite:" + store, "--realtime", "listen-notify"}, 2, "in-process"},
           {{"serve", "--domain", notes, "--db", "sqlite:" + store, "--retention", "0s"}, 2, "--retention"},
           {{"client", "--domain", notes, "--store", store}, 2, "mutate, edit, sync, query"},
           {{"client", "--domain", notes, "--store", store, "status"}, 2, "--token"},
           {{"client", "--domain", notes, "--store", store, "--token", "x", "status"}, 2, "JSON Web Token"},
           {{"epoch", "--db", "sqlite:" + store}, 2, "--rotate"},
           {{"--log-level", "loud", "version"}, 2, "--log-level"},
       })
    expect_refused(call);
  EXPECT_FALSE(std::filesystem::exists(store));
}

TEST(Cli, WhatCannotBeUsedIsExitFourAndNamed) {
  const TempDir directory;
  const std::string text = directory.file("text");
  std::ofstream(text) << "no library, no database";
  const std::string none = directory.file("none");
  const std::string notes = domain_library("notes");
  for (const Call& call : std::vector<Call>{
           {{"lint", "--domain", none}, 4, none},
           {{"lint", "--domain", text}, 4, text},
           {{"serve", "--domain", none, "--db", "sqlite:x"}, 4, none},
           {{"serve", "--domain", notes, "--db", "sqlite:" + none, "--seed", none + ".sql"}, 4, none + ".sql"},
           {{"serve", "--domain", notes, "--db", "sqlite:" + none, "--config", none}, 4, none},
           {{"serve", "--domain", notes, "--db", "sqlite:/nowhere/at/all.db"}, 4, "/nowhere/at/all.db"},
           {{"gc", "--domain", notes, "--db", "sqlite:" + none}, 4, none},
           {{"migrate", "--check", "--domain", notes, "--db", "sqlite:" + none}, 4, none},
           {{"migrate", "--reset", "--yes", "--domain", notes, "--db", "sqlite:" + none}, 4, none},
           {{"introspect", "--db", "sqlite:" + none}, 4, none},
           {{"epoch", "--rotate", "--db", "sqlite:" + none}, 4, none},
           {{"inspect", none}, 4, none},
           {{"inspect", text}, 4, text},
       })
    expect_refused(call);
  EXPECT_FALSE(std::filesystem::exists(none));
}

TEST(Cli, AFileOfSomethingElseIsNamedAndLeftAsItIs) {
  const TempDir directory;
  const std::string server = directory.file("server.db"), other = directory.file("other.db");
  const std::string notes = domain_library("notes"), ledger = domain_library("ledger");
  {
    ServerProcess process("notes", server);
    ASSERT_FALSE(process.url().empty()) << process.why();
    process.terminate();
  }
  {
    // Plain SQLite, in the journal mode that a file has unless somebody says otherwise.
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(other.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, "CREATE TABLE birds (id)", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
  }
  const auto bytes = [](const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string server_before = bytes(server), other_before = bytes(other);
  const std::string token = make_token("u1", "o1");
  for (const Call& call : std::vector<Call>{
           {{"serve", "--domain", ledger, "--db", "sqlite:" + server, "--listen", "127.0.0.1:0"}, 3, "\"notes\""},
           {{"gc", "--domain", ledger, "--db", "sqlite:" + server}, 3, "\"ledger\""},
           {{"client", "--domain", notes, "--store", server, "--token", token, "status"}, 3, "a server's database"},
           {{"client", "--domain", notes, "--store", other, "--token", token, "status"}, 3, "something else"},
           {{"inspect", server}, 4, "a server's database"},
           {{"inspect", other}, 4, "something else"},
       })
    expect_refused(call);
  EXPECT_EQ(bytes(server), server_before);
  EXPECT_EQ(bytes(other), other_before);
}

TEST(Cli, ALibraryOfAnotherAbiIsRefusedWithBothNumbers) {
  const TempDir directory;
  const std::string source = directory.file("old.c"), library = directory.file("old.so");
  std::ofstream(source)
      << "int nizhal_domain_abi(void) { return 999; }\nvoid* nizhal_domain_create(void) { return 0; }\n";
  const auto built = process::run_process({"/usr/bin/cc", "-shared", "-fPIC", "-o", library, source});
  ASSERT_TRUE(built && built->status.code == 0) << (built ? built->err : built.error().message);
  const Finished finished = nizhal({"lint", "--domain", library});
  EXPECT_EQ(finished.status.code, 4);
  EXPECT_NE(finished.err.find("ABI 999"), std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find("has ABI " + std::to_string(kDomainAbi)), std::string::npos) << finished.err;
}

TEST(Cli, SecretsComeFromTheEnvironmentOrAFileAndAreNeverShown) {
  const TempDir directory;
  const std::string file = directory.file("secret");
  const std::vector<std::string> token{"token", "--user", "u", "--owner", "o"};
  expect_refused({token, 2, "NIZHAL_JWT_SECRET"}, environment_with("NIZHAL_JWT_SECRET", ""));
  expect_refused({{"serve", "--domain", domain_library("notes"), "--db", "sqlite:" + directory.file("s.db")},
                  2,
                  "NIZHAL_JWT_SECRET"},
                 environment_with("NIZHAL_JWT_SECRET", ""));
  expect_refused({token, 2, "at least 16"}, environment_with("NIZHAL_JWT_SECRET", "short"));
  expect_refused({token, 2, "both"}, environment_with("NIZHAL_JWT_SECRET_FILE", file));

  std::ofstream(file) << kTestSecret << "\n";
  SpawnOptions from_file = environment_with("NIZHAL_JWT_SECRET", "");
  for (auto& [name, value] : from_file.environment)
    if (name == "NIZHAL_JWT_SECRET_FILE") value = file;
  const Finished printed = nizhal(token, {}, from_file);
  EXPECT_EQ(printed.status.code, 0) << printed.err;
  EXPECT_EQ(std::count(printed.out.begin(), printed.out.end(), '.'), 2) << printed.out;

  std::filesystem::remove(file);
  expect_refused({token, 4, file}, from_file);
  const Finished config = nizhal({"serve", "--print-config"});
  EXPECT_EQ(config.status.code, 0);
  EXPECT_EQ(config.out.find(kTestSecret), std::string::npos);
}

TEST(Cli, JsonWorksBeforeAndAfterTheCommand) {
  EXPECT_EQ(nizhal({"--json", "version"}).out, nizhal({"version", "--json"}).out);
  EXPECT_EQ(number_in(answer_of(nizhal({"version", "--json"})), "domainAbi"), kDomainAbi);
  EXPECT_EQ(nizhal({"--version"}).out, nizhal({"version"}).out);
  EXPECT_EQ(nizhal({"help"}).status.code, 0);
  EXPECT_EQ(nizhal({"client", "sync", "--help"}).status.code, 0);
}

TEST(Cli, LintOfTheExamplesFindsNoErrorAndListsUnscopedCode) {
  for (const char* name : {"notes", "ledger"}) {
    const json::value report = answer_of(nizhal({"lint", "--domain", domain_library(name), "--json"}));
    EXPECT_EQ(number_in(report, "errors"), 0);
    EXPECT_EQ(number_in(report, "warnings"), 0);
    EXPECT_GE(number_in(report, "notes"), 1);
  }
}

TEST(Cli, ADomainThatLeaksIsRefusedWithThePlaceAndTheFix) {
  const TempDir directory;
  const std::string leaky = domain_library("leaky"), db = directory.file("s.db");
  const Finished lint = nizhal({"lint", "--domain", leaky});
  EXPECT_EQ(lint.status.code, 1);
  EXPECT_NE(lint.out.find("rule \"everything\""), std::string::npos) << lint.out;
  EXPECT_NE(lint.out.find("fix: "), std::string::npos) << lint.out;
  expect_refused({{"serve", "--domain", leaky, "--db", "sqlite:" + db}, 4, "rule \"everything\""});
  EXPECT_FALSE(std::filesystem::exists(db));
  expect_refused({{"lint", "--domain", domain_library("throwing")}, 4, "no domain today"});
}

TEST(Cli, AConfigFileTakesTheNamesOfTheOptionsAndTheCommandLineWins) {
  const TempDir directory;
  const std::string file = directory.file("nizhal.toml");
  std::ofstream(file) << "listen = \"0.0.0.0:5000\"\nworkers = 2\nrate-limit = \"20/s\"\n";
  const json::value config =
      answer_of(nizhal({"serve", "--config", file, "--workers", "8", "--print-config", "--json"}));
  EXPECT_EQ(string_member(config, "listen"), "0.0.0.0:5000");
  EXPECT_EQ(string_member(config, "workers"), "8");
  EXPECT_EQ(string_member(config, "rate-limit"), "20/s");

  std::ofstream(file) << "\nlisten = \n";
  expect_refused({{"serve", "--config", file, "--print-config"}, 2, file + ":2"});
  std::ofstream(file) << "workes = 2\n";
  expect_refused({{"serve", "--config", file, "--print-config"}, 2, "\"workes\""});
  std::ofstream(file) << "jwt-secret = \"hunter2-hunter2-hunter2\"\n";
  expect_refused({{"serve", "--config", file, "--print-config"}, 2, "NIZHAL_JWT_SECRET_FILE"});
  std::ofstream(file) << "workers = [1]\n";
  expect_refused({{"serve", "--config", file, "--print-config"}, 2, "text or a number"});
}

TEST_F(CliWithServer, TwoDevicesWriteWhileTheServerIsDownAndConverge) {
  const ClientCommand a = device("a"), b = device("b");
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  ASSERT_EQ(b.run({"sync"}).status.code, 0);
  server_.terminate();

  const json::value pending = answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"from a"})", "--json"}));
  EXPECT_EQ(string_member(pending, "status"), "pending");
  answer_of(b.run({"mutate", "addNote", R"({"id":"n2","body":"from b"})", "--json"}));
  const Finished offline = a.run({"sync", "--json"});
  EXPECT_EQ(offline.status.code, 4);
  EXPECT_NE(offline.err.find(server_.url()), std::string::npos) << offline.err;
  EXPECT_EQ(offline.out, "");
  const json::value outbox = answer_of(a.run({"outbox", "--json"}));
  ASSERT_EQ(outbox.if_array()->size(), 1U);
  EXPECT_EQ(string_member(outbox.if_array()->front(), "name"), "addNote");
  EXPECT_EQ(string_member(*member(outbox.if_array()->front(), "args"), "id"), "n1");
  EXPECT_EQ(string_member(outbox.if_array()->front(), "clientMutationId"), string_member(pending, "clientMutationId"));

  ASSERT_TRUE(server_.start()) << server_.why();
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 1);
  EXPECT_EQ(number_in(answer_of(b.run({"sync", "--json"})), "pending"), 0);
  answer_of(a.run({"sync", "--json"}));
  const std::vector<std::string> query{"query", "SELECT id, body FROM notes ORDER BY id", "--json"};
  EXPECT_EQ(a.run(query).out, "[{\"id\":\"n1\",\"body\":\"from a\"},{\"id\":\"n2\",\"body\":\"from b\"}]\n");
  EXPECT_EQ(a.run(query).out, b.run(query).out);
}

TEST_F(CliWithServer, ARefusedMutationIsCountedKeptAndCanBeEditedOrDiscarded) {
  const ClientCommand a = device("a");
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"reject"})", "--json"}));
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"reject"})", "--json"}));
  answer_of(a.run({"mutate", "addNote", R"({"id":"n3","body":"fine"})", "--json"}));
  const json::value report = answer_of(a.run({"sync", "--json"}));
  EXPECT_EQ(number_in(report, "applied"), 1);
  EXPECT_EQ(number_in(report, "rejected"), 2);
  EXPECT_EQ(number_in(report, "pending"), 0);
  EXPECT_EQ(number_in(report, "deadLetters"), 2);
  EXPECT_EQ(a.run({"query", "SELECT id FROM notes", "--json"}).out, "[{\"id\":\"n3\"}]\n");

  const json::value letters = answer_of(a.run({"dead-letters", "--json"}));
  ASSERT_EQ(letters.if_array()->size(), 2U);
  EXPECT_EQ(string_member(letters.if_array()->front(), "code"), "refused_body");
  const std::string first = std::to_string(number_in(letters.if_array()->front(), "id"));
  const std::string second = std::to_string(number_in(letters.if_array()->back(), "id"));
  const json::value edited =
      answer_of(a.run({"dead-letters", "edit", first, R"({"id":"n1","body":"kind"})", "--json"}));
  EXPECT_EQ(string_member(edited, "status"), "pending");
  answer_of(a.run({"dead-letters", "discard", second, "--json"}));
  EXPECT_EQ(a.run({"dead-letters", "discard", second}).status.code, 1);
  const json::value after = answer_of(a.run({"sync", "--json"}));
  EXPECT_EQ(number_in(after, "applied"), 1);
  EXPECT_EQ(number_in(after, "deadLetters"), 0);
  EXPECT_EQ(a.run({"query", "SELECT id FROM notes ORDER BY id", "--json"}).out, "[{\"id\":\"n1\"},{\"id\":\"n3\"}]\n");
}

TEST_F(CliWithServer, WhatTheDeviceRefusesIsExitOneAndWritesNothing) {
  const ClientCommand a = device("a");
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  const Finished twice = a.run({"mutate", "addNote", R"({"id":"n1","body":"y"})", "--json"});
  EXPECT_EQ(twice.status.code, 1);
  EXPECT_NE(twice.out.find("\"code\":\"already_exists\""), std::string::npos) << twice.out;
  EXPECT_EQ(a.run({"mutate", "addNote", R"({"id":7})"}).status.code, 1);
  EXPECT_EQ(a.run({"mutate", "noSuchMutator", "{}"}).status.code, 1);
  EXPECT_EQ(a.run({"mutate", "addNote", "{"}).status.code, 2);
  EXPECT_EQ(a.run({"mutate", "addNote", "[]"}).status.code, 2);
  EXPECT_EQ(a.run({"query", "DELETE FROM notes"}).status.code, 2);
  EXPECT_EQ(number_in(answer_of(a.run({"status", "--json"})), "pending"), 1);
  EXPECT_EQ(a.run({"query", "SELECT body FROM notes", "--json"}).out, "[{\"body\":\"x\"}]\n");
}

TEST_F(CliWithServer, TheStoreRemembersItsActorAndServer) {
  ClientCommand a = device("a");
  const json::value first = answer_of(a.run({"status", "--json"}));
  EXPECT_EQ(string_member(first, "userId"), "u1");
  a.server.clear();
  a.token.clear();
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  EXPECT_EQ(string_member(answer_of(a.run({"status", "--json"})), "server"), server_.url());
  const Finished without_token = a.run({"sync"});
  EXPECT_EQ(without_token.status.code, 4) << "no token: the server cannot take it";
  EXPECT_NE(without_token.err.find("--token"), std::string::npos) << without_token.err;
  a.token = make_token("u1", "o1", "0s");
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"an expired token is enough"})", "--json"}));
  EXPECT_EQ(a.run({"sync"}).status.code, 4);
  a.token = make_token("u1", "o1");
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 2);
  a.token = make_token("u2", "o1");
  const Finished stranger = a.run({"query", "SELECT * FROM notes"});
  EXPECT_EQ(stranger.status.code, 2);
  EXPECT_EQ(stranger.out, "");
  EXPECT_NE(stranger.err.find("identity_mismatch"), std::string::npos) << stranger.err;
}

TEST_F(CliWithServer, LinesOfStandardInputAreAcknowledgedOneByOne) {
  const ClientCommand a = device("a");
  const Finished finished = a.run({"mutate", "-", "--json"},
                                  "addNote {\"id\":\"n1\",\"body\":\"1\"}\n\naddNote "
                                  "{\"id\":\"n1\",\"body\":\"2\"}\naddNote "
                                  "{\"id\":\"n2\",\"body\":\"3\"}\n");
  EXPECT_EQ(finished.status.code, 1) << "one was refused";
  EXPECT_EQ(std::count(finished.out.begin(), finished.out.end(), '\n'), 3) << finished.out;
  EXPECT_EQ(number_in(answer_of(a.run({"status", "--json"})), "pending"), 2);
}

TEST_F(CliWithServer, AWriterKilledBetweenTwoWritesLosesNothingThatItAcknowledged) {
  const ClientCommand a = device("a");
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  std::set<std::string> acknowledged;
  for (int round = 0; round < 5; ++round) {
    auto writer = start_nizhal(a.arguments({"mutate", "-", "--json"}));
    const auto note = [&](const std::optional<std::string>& line) {
      const auto answer = parse_json(line.value_or(""));
      if (answer) acknowledged.insert(std::string(string_member(*answer, "clientMutationId").value_or("")));
    };
    for (int i = 0; i <= 3 + round; ++i) {
      ASSERT_TRUE(writer->write("addNote {\"id\":\"n" + std::to_string(round * 100 + i) + "\",\"body\":\"b\"}\n"));
      // The last one is under way when the signal comes: written or not, but never half.
      if (i < 3 + round) note(writer->next_line(kPatience));
    }
    writer->signal(SIGKILL);
    ASSERT_EQ(writer->wait(kPatience), (ExitStatus{-1, SIGKILL}));
    while (const auto line = writer->next_line(kPatience)) note(line);
  }
  EXPECT_GE(acknowledged.size(), 25U);
  std::set<std::string> kept;
  const json::value outbox = answer_of(a.run({"outbox", "--json"}));
  for (const json::value& entry : *outbox.if_array())
    kept.insert(std::string(string_member(entry, "clientMutationId").value_or("")));
  for (const std::string& id : acknowledged) EXPECT_TRUE(kept.contains(id)) << id;
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), static_cast<std::int64_t>(kept.size()));
  const json::value count = answer_of(a.run({"query", "SELECT count(*) AS n FROM notes", "--json"}));
  EXPECT_EQ(number_in(count.if_array()->front(), "n"), static_cast<std::int64_t>(kept.size()));
}

TEST_F(CliWithServer, InspectReadsAStoreWithoutSyncingIt) {
  const ClientCommand a = device("a");
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  answer_of(a.run({"mutate", "editNote", R"({"id":"n1","body":"y"})", "--json"}));
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"reject"})", "--json"}));
  const json::value store = answer_of(nizhal({"inspect", a.store, "--json"}));
  EXPECT_EQ(string_member(store, "integrity"), "ok");
  EXPECT_EQ(member(store, "outbox")->if_array()->size(), 2U);
  EXPECT_EQ(string_member(member(store, "outbox")->if_array()->front(), "name"), "editNote");
  EXPECT_EQ(member(store, "undo")->if_array()->size(), 2U);
  EXPECT_NE(member(*member(*member(store, "cursor"), "buckets"), "o1"), nullptr) << "the cursor, decoded";
  EXPECT_GT(number_in(store, "fileBytes"), 0);
  EXPECT_EQ(nizhal({"inspect", a.store}).status.code, 0);
  EXPECT_EQ(nizhal({"inspect", directory_.file("server.db")}).status.code, 4) << "a server's file is no store";
}

TEST_F(CliWithServer, GcWorksBesideTheRunningServer) {
  const ClientCommand a = device("a");
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  answer_of(a.run({"mutate", "deleteNote", R"({"id":"n1"})", "--json"}));
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  const std::vector<std::string> gc{
      "gc", "--domain", domain_library("notes"), "--db", "sqlite:" + directory_.file("server.db"), "--json"};
  std::vector<std::string> all = gc;
  all.insert(all.end(), {"--retention", "0s"});
  EXPECT_EQ(number_in(answer_of(nizhal(gc)), "removals"), 0) << "younger than 30 days";
  const json::value report = answer_of(nizhal(all));
  EXPECT_GE(number_in(report, "removals"), 1);
  EXPECT_GE(number_in(report, "mutations"), 1);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"still served"})", "--json"}));
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 1);
}

TEST_F(CliWithServer, ANewEpochMakesDevicesStartAfreshAndLosesNothing) {
  const ClientCommand a = device("a");
  answer_of(a.run({"mutate", "addNote", R"({"id":"n1","body":"x"})", "--json"}));
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  answer_of(a.run({"mutate", "addNote", R"({"id":"n2","body":"y"})", "--json"}));
  const json::value before = *member(answer_of(nizhal({"inspect", a.store, "--json"})), "cursor");
  const json::value rotated =
      answer_of(nizhal({"epoch", "--rotate", "--db", "sqlite:" + directory_.file("server.db"), "--json"}));
  EXPECT_NE(string_member(rotated, "epoch"), string_member(before, "epoch"));
  server_.terminate();
  ASSERT_TRUE(server_.start()) << server_.why();
  EXPECT_EQ(number_in(answer_of(a.run({"sync", "--json"})), "applied"), 1);
  const json::value after = *member(answer_of(nizhal({"inspect", a.store, "--json"})), "cursor");
  EXPECT_EQ(string_member(after, "epoch"), string_member(rotated, "epoch"));
  EXPECT_EQ(a.run({"query", "SELECT id FROM notes ORDER BY id", "--json"}).out, "[{\"id\":\"n1\"},{\"id\":\"n2\"}]\n");
}

TEST(Cli, TheServerSaysWhereItListensAndDrainsOnSigterm) {
  const TempDir directory;
  auto server = start_nizhal({"serve", "--domain", domain_library("notes"), "--db", "sqlite:" + directory.file("s.db"),
                              "--listen", "127.0.0.1:0", "--json", "--end-with-parent"});
  const auto line = server->next_line(kPatience);
  ASSERT_TRUE(line) << server->err();
  const auto answer = parse_json(*line);
  ASSERT_TRUE(answer) << *line;
  EXPECT_GT(number_in(*answer, "port"), 0);
  EXPECT_EQ(string_member(*answer, "listening"), "http://127.0.0.1:" + std::to_string(number_in(*answer, "port")));
  server->signal(SIGTERM);
  EXPECT_EQ(server->wait(kPatience), (ExitStatus{0, 0}));
  EXPECT_EQ(server->out(), *line + "\n") << "standard output carries the answer only";
}

TEST(Cli, ASeedScriptIsDeliveredLikeAnyOtherWrite) {
  const TempDir directory;
  const std::string seed = directory.file("seed.sql");
  std::ofstream(seed) << "INSERT INTO notes(id, owner_id, body) VALUES('s1', 'o1', 'seeded'), ('s2', 'o2', 'other');\n";
  ServerProcess server("notes", directory.file("s.db"), {"--seed", seed});
  ASSERT_FALSE(server.url().empty()) << server.why();
  const ClientCommand a{"notes", directory.file("a.db"), server.url(), make_token("u1", "o1")};
  ASSERT_EQ(a.run({"sync"}).status.code, 0);
  EXPECT_EQ(a.run({"query", "SELECT id, body FROM notes", "--json"}).out, "[{\"id\":\"s1\",\"body\":\"seeded\"}]\n");
}

TEST(Cli, ADatabaseThatDoesNotFitTheDomainIsDriftExitThree) {
  const TempDir directory;
  const std::string db = directory.file("s.db");
  {
    const auto file = sqlite::Connection::open(db, {});
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE((*file)->execute("CREATE TABLE notes(id TEXT PRIMARY KEY NOT NULL, body BLOB)"));
  }
  const Finished finished =
      nizhal({"serve", "--domain", domain_library("notes"), "--db", "sqlite:" + db, "--listen", "127.0.0.1:0"});
  EXPECT_EQ(finished.status.code, 3) << finished.err;
  EXPECT_NE(finished.err.find("notes"), std::string::npos) << finished.err;
  EXPECT_EQ(finished.out, "");
}

TEST(Cli, MigratePlansChecksAndAppliesOnASqliteFile) {
  const TempDir directory;
  const std::string notes = domain_library("notes"), db = "sqlite:" + directory.file("s.db");
  const auto migrate = [&](std::vector<std::string> more, const std::string& url) {
    std::vector<std::string> all{"migrate", "--domain", notes, "--db", url};
    all.insert(all.end(), more.begin(), more.end());
    return nizhal(all);
  };
  const Finished plan = migrate({"--plan"}, db);
  EXPECT_EQ(plan.status.code, 0) << plan.err;
  EXPECT_NE(plan.out.find("CREATE TABLE \"team_notes\""), std::string::npos) << plan.out;
  EXPECT_FALSE(std::filesystem::exists(directory.file("s.db")));
  EXPECT_NE(nizhal({"migrate", "--domain", notes, "--plan"}).out.find("CREATE SCHEMA"), std::string::npos)
      << "without a database the plan is PostgreSQL's";
  const json::value created = answer_of(migrate({"--json"}, db));
  EXPECT_EQ(to_text(*member(created, "created")), "true");
  EXPECT_EQ(member(answer_of(migrate({"--json"}, db)), "changes")->if_array()->size(), 0U);
  EXPECT_EQ(to_text(answer_of(migrate({"--check", "--json"}, db))), R"({"fits":true,"differences":[]})");
  {
    ServerProcess server("notes", directory.file("s.db"));
    ASSERT_FALSE(server.url().empty()) << server.why();
  }
  EXPECT_EQ(migrate({"--reset"}, db).status.code, 2);
  EXPECT_EQ(migrate({"--reset", "--yes"}, db).status.code, 0);
  const Finished missing = migrate({"--check"}, db);
  EXPECT_EQ(missing.status.code, 3) << missing.out;
  EXPECT_NE(missing.out.find("nizhal migrate --domain"), std::string::npos) << missing.out;

  const std::string other = directory.file("other.db");
  {
    const auto file = sqlite::Connection::open(other, {});
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE((*file)->execute("CREATE TABLE notes(id TEXT PRIMARY KEY NOT NULL, body BLOB)"));
  }
  const Finished check = migrate({"--check"}, "sqlite:" + other);
  EXPECT_EQ(check.status.code, 3);
  EXPECT_NE(check.out.find("\"body\""), std::string::npos) << check.out;
  EXPECT_NE(check.out.find("for a person"), std::string::npos) << check.out;
  const Finished refused = migrate({}, "sqlite:" + other);
  EXPECT_EQ(refused.status.code, 3) << refused.err;
  EXPECT_EQ(refused.out, "");
}

TEST(Cli, IntrospectReadsASqliteFile) {
  const TempDir directory;
  const std::string db = directory.file("shop.db");
  {
    const auto file = sqlite::Connection::open(db, {});
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE(
        (*file)->execute("CREATE TABLE shops(id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL);"
                         "CREATE TABLE sales(number INTEGER PRIMARY KEY, shop_id TEXT NOT NULL REFERENCES "
                         "shops(id), price DECIMAL(10, 2), paid BOOLEAN NOT NULL)"));
  }
  const Finished printed = nizhal({"introspect", "--db", "sqlite:" + db});
  EXPECT_EQ(printed.status.code, 0) << printed.err;
  for (const char* part : {"std::int64_t number = 0;", "std::string shop_id;  // foreign key: shops.id",
                           "// price DECIMAL(10, 2) is left out", "bool paid = false;",
                           "//     .data(shops, nizhal::eq(\"id\", \"shopId\"))"})
    EXPECT_NE(printed.out.find(part), std::string::npos) << part << "\n" << printed.out;
}

TEST(Cli, AnAddressInUseIsExitFourAndNamed) {
  const TempDir directory;
  ServerProcess first("notes", directory.file("s.db"));
  ASSERT_FALSE(first.url().empty()) << first.why();
  const std::string address = first.url().substr(std::string_view("http://").size());
  const Finished second = nizhal(
      {"serve", "--domain", domain_library("notes"), "--db", "sqlite:" + directory.file("t.db"), "--listen", address});
  EXPECT_EQ(second.status.code, 4);
  EXPECT_NE(second.err.find(address), std::string::npos) << second.err;
}

TEST(Cli, TheDemoEndsWithAllEqual) {
  const Finished demo = nizhal({"demo", "--once"});
  EXPECT_EQ(demo.status.code, 0) << demo.out << demo.err;
  EXPECT_NE(demo.out.find("All equal"), std::string::npos);
  EXPECT_NE(demo.out.find("overpayment"), std::string::npos);
}

}  // namespace
}  // namespace nizhal::testing
