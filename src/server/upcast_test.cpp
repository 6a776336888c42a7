// What older apps send (S10): their arguments are brought to today's on the server, before anything else looks at them;
// what cannot be is refused by its code, and the refusal is recorded like every other.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "server/test_world.hpp"

namespace nizhal::server::testing {
namespace {

/// Version 1 had no stars, and "doc" was called "name"; 2 is forgotten; 3 is today's.
struct RateOfVersion1 {
  std::string name, text;
};
struct Rate {
  std::string doc, text;
  std::int64_t stars = 0;
};

Domain domain_with_versions(int* upcasts) {
  Domain domain = test_domain();
  domain.mutator<Rate>("rateDoc")
      .version(3)
      .upcast(1,
              arguments<RateOfVersion1>()
                  .arg("name", &RateOfVersion1::name, references(doc_table))
                  .arg("text", &RateOfVersion1::text, max_length(20)),
              [upcasts](const RateOfVersion1& old) -> std::optional<Rate> {
                ++*upcasts;
                if (old.text == "unsayable") return std::nullopt;
                if (old.text == "throw") throw std::runtime_error("a secret of the upcaster");
                return Rate{.doc = old.name, .text = old.text, .stars = old.text == "too many" ? 9 : 3};
              })
      .arg("doc", &Rate::doc, references(doc_table))
      .arg("text", &Rate::text)
      .arg("stars", &Rate::stars, between(1, 5))
      .run([](MutatorContext& ctx, const Rate& args) -> Outcome {
        if (!ctx.update(doc_table, args.doc, {set("title", fmt::format("{} {}", args.text, args.stars))}))
          return reject("unknown_doc", "no such doc");
        return done();
      });
  return domain;
}

class OlderApps : public ::testing::Test {
 protected:
  OlderApps() {
    world.run("u1", "createTeam", "x", "team");
    world.run("u1", "addDoc", "d1", "team", "as it was");
  }
  /// The device's next mutation, or one that it sends again. `version` 0: it names none.
  Answer push(std::uint64_t mutation_id, int version, const std::string& args) {
    const std::string body = fmt::format(
        R"({{"results":true,"mutations":[{{"name":"rateDoc","clientMutationId":"m{0}","clientID":"c1","mutationID":{0},{1}"args":{2}}}]}})",
        mutation_id, version == 0 ? "" : fmt::format(R"("argsVersion":{},)", version), args);
    return world.request("POST", "/sync/push", world.token("u1"), body);
  }
  static std::string version1(const std::string& text, const std::string& doc = "d1") {
    return fmt::format(R"({{"name":"{}","text":"{}"}})", doc, text);
  }
  std::string title(const std::string& doc = "d1") { return world.read(doc_table.def(), doc, "title"); }
  /// What the audit has of a mutation.
  std::string audited(const std::string& client_mutation_id) {
    return world.backend->other_program()->value("SELECT count(*) || ' ' || min(outcome) FROM " +
                                                 world.backend->engine_table("audit") +
                                                 " WHERE client_mutation_id = '" + client_mutation_id + "'");
  }

  int upcasts = 0;
  World world{domain_with_versions(&upcasts), Limits{}};
};

TEST_F(OlderApps, ArgumentsOfAnOlderVersionAreBroughtToTodaysAndRunByTodaysMutator) {
  EXPECT_EQ(push(1, 1, version1("good")).statuses(), "applied");
  EXPECT_EQ(title(), "\"good 3\"");
  EXPECT_EQ(push(2, 3, R"({"doc":"d1","text":"better","stars":5})").statuses(), "applied");
  EXPECT_EQ(title(), "\"better 5\"");
  EXPECT_EQ(push(3, 0, R"({"doc":"d1","text":"none named","stars":4})").statuses(), "applied") << "means today's";
  EXPECT_EQ(title(), "\"none named 4\"");
  EXPECT_EQ(upcasts, 1) << "today's need none";
}

TEST_F(OlderApps, AnIdThatTheServerReplacedIsFollowedInOlderArgumentsToo) {
  const std::string add =
      R"({"results":true,"mutations":[{"name":"addDocRenamed","clientMutationId":"m1","clientID":"c1","mutationID":1,)"
      R"("args":{"id":"mine","place":"team","text":"new"}}]})";
  EXPECT_EQ(world.request("POST", "/sync/push", world.token("u1"), add).statuses(), "applied");
  EXPECT_EQ(push(2, 1, version1("rated", "mine")).statuses(), "applied");
  EXPECT_EQ(title("srv-mine"), "\"rated 3\"");
}

TEST_F(OlderApps, WhatCannotBeBroughtToTodayIsRefusedByItsCodeAndTheRefusalIsRecorded) {
  struct Case {
    int version;
    std::string args, statuses;
  };
  const Case cases[] = {
      {2, R"({"anything":"at all"})", "rejected:cannot_upcast"},  // no upcaster
      {1, version1("unsayable"), "rejected:cannot_upcast"},
      {1, version1("throw"), "rejected:cannot_upcast"},
      {1, version1("too many"), "rejected:cannot_upcast"},  // what it makes breaks a rule of today's
      {1, R"({"doc":"d1","text":"today's shape","stars":3})", "rejected:invalid_args"},
      {1, version1("longer than version 1 ever allowed"), "rejected:invalid_args"},
      {4, R"({"doc":"d1","text":"from the future","stars":3})", "rejected:unknown_args_version"},
  };
  std::uint64_t id = 0;
  for (const Case& one : cases) {
    SCOPED_TRACE(fmt::format("version {}: {}", one.version, one.args));
    const std::string key = fmt::format("m{}", ++id);
    const Answer refused = push(id, one.version, one.args);
    EXPECT_EQ(refused.statuses(), one.statuses) << refused.text;
    EXPECT_EQ(refused.number_of("lastMutationId"), static_cast<std::int64_t>(id)) << "it is handled, the queue goes on";
    EXPECT_EQ(refused.text.find("secret"), std::string::npos) << refused.text;
    EXPECT_EQ("rejected:" + audited(key).substr(2), one.statuses);
    const int tries = upcasts;
    const Answer again = push(id, one.version, one.args);
    EXPECT_EQ(again.statuses(), one.statuses) << "from the record";
    EXPECT_TRUE(audited(key).starts_with("1 ")) << audited(key);
    EXPECT_EQ(upcasts, tries) << "nothing is looked at twice";
  }
  EXPECT_EQ(title(), "\"as it was\"");
  EXPECT_EQ(push(++id, 1, version1("good")).statuses(), "applied");
}

TEST_F(OlderApps, ARefusalStaysOneWhenALaterServerHasTheUpcaster) {
  world.restart(test_domain());  // a server that does not know the mutator at all
  EXPECT_EQ(push(1, 1, version1("good")).statuses(), "rejected:unknown_mutator");
  world.restart(domain_with_versions(&upcasts));
  EXPECT_EQ(push(1, 1, version1("good")).statuses(), "rejected:unknown_mutator");
  EXPECT_EQ(title(), "\"as it was\"");
  EXPECT_EQ(push(2, 1, version1("good")).statuses(), "applied");
}

}  // namespace
}  // namespace nizhal::server::testing
