#include <nizhal/lint.hpp>

#include <gtest/gtest.h>

#include <sstream>
#include <stdexcept>

#include "domain/compiled_domain.hpp"
#include "domain/probe.hpp"
#include "domain/test_domains.hpp"

namespace nizhal {
namespace {

using test::notes, test::tables_only, test::two_rules;
using Level = LintFinding::Level;

std::vector<std::string> places(const LintReport& report, const std::string& code) {
  std::vector<std::string> out;
  for (const LintFinding& finding : report.findings)
    if (finding.code == code) out.push_back(finding.place);
  return out;
}
using Places = std::vector<std::string>;

TEST(Lint, ACleanDomainHasNothingToReport) {
  const LintReport report = lint(two_rules());
  EXPECT_TRUE(report.findings.empty()) << report.text();
  EXPECT_EQ(report.text(), "");
}

TEST(Lint, ReportsTheErrorsThatRegistrationRefuses) {
  Domain domain = two_rules();
  domain.rule("leak").prefix("l:").parameter("ownerId", actor::owner_id).data(notes());
  const LintReport report = lint(domain);
  EXPECT_TRUE(report.has(Level::error));
  EXPECT_EQ(places(report, "rule_scopes_nothing"), Places{"rule \"leak\", data of table \"notes\""});
  const auto compiled = CompiledDomain::compile(domain);
  ASSERT_FALSE(compiled);
  EXPECT_NE(compiled.error().message.find(report.findings.front().message), std::string::npos);
}

TEST(Lint, TheNoLeakAssertionSaysWhatAndWhere) {
  EXPECT_TRUE(assert_no_leak(two_rules()));
  Domain domain = two_rules();
  domain.rule("leak").prefix("l:").parameter("ownerId", actor::owner_id).data(notes());
  const NoLeak result = assert_no_leak(domain);
  EXPECT_FALSE(result);
  std::ostringstream out;
  out << result;
  EXPECT_NE(out.str().find("error: rule \"leak\", data of table \"notes\""), std::string::npos);
  EXPECT_NE(out.str().find("fix: add eq("), std::string::npos);
}

struct Product {
  std::string id, name;
  std::int64_t stock = 0;
  std::int32_t item_count = 0;
  std::int32_t country_code = 0;
  std::string total;
};
struct Movement {
  std::string id, product_id;
  std::int64_t amount = 0;
};
Table<Product> products(const char* name = "products") {
  return table<Product>(name)
      .key("id", &Product::id)
      .column("StockLevel", &Product::stock)
      .column("item_count", &Product::item_count)
      .column("account_code", &Product::country_code)
      .column("total", &Product::total);
}
Table<Movement> movements() {
  return table<Movement>("movements")
      .key("id", &Movement::id)
      .column("product_id", &Movement::product_id)
      .column("amount", &Movement::amount);
}

TEST(Lint, AMutableBalanceThatNoLedgerBacksIsAWarning) {
  Domain domain("d");
  domain.add(products()).add(movements());
  const LintReport report = lint(domain);
  EXPECT_EQ(places(report, "mutable_balance"),
            (Places{"table \"products\", column \"StockLevel\"", "table \"products\", column \"item_count\""}));
  EXPECT_TRUE(report.has(Level::warning));
  EXPECT_FALSE(report.has(Level::error));
}

TEST(Lint, AnAppendOnlyTableThatNamesTheRowBacksABalance) {
  Domain backed("d");
  backed.add(products()).add(movements().append_only());
  EXPECT_EQ(places(lint(backed), "mutable_balance"), Places{});
  Domain with_shorter_name("d");
  with_shorter_name.add(products("shop_products")).add(movements().append_only());
  EXPECT_EQ(places(lint(with_shorter_name), "mutable_balance"), Places{});
  Domain of_something_else("d");
  of_something_else.add(products("categories")).add(movements().append_only());
  EXPECT_EQ(places(lint(of_something_else), "mutable_balance").size(), 2U);
  Domain append_only("d");
  append_only.add(products().append_only());
  EXPECT_EQ(places(lint(append_only), "mutable_balance"), Places{});
}

TEST(Lint, ATableThatNoRuleDeliversIsNoted) {
  Domain domain = tables_only();
  domain.rule("teams")
      .membership(test::members(), where("user_id", actor::user_id), bucket("teamId", "team_id"))
      .data(test::team_notes(), eq("team_id", "teamId"));
  const LintReport report = lint(domain);
  EXPECT_EQ(places(report, "table_not_delivered"), Places{"table \"notes\""});
  EXPECT_FALSE(report.has(Level::warning));
}

TEST(Lint, AMinimumVersionAboveTheOwnIsAWarning) {
  Domain domain("d", {.version = "1.0", .min_client_version = "1.1"});
  domain.add(notes());
  EXPECT_EQ(places(lint(domain), "min_client_version_above").size(), 1U);
}

struct Args {
  std::string id;
  std::int64_t amount = 0;
  std::optional<std::string> comment;
  std::optional<Json> lines;
};
template <class Fn>
LintReport lint_of_mutator(Fn body) {
  Domain domain = two_rules();
  domain.mutator<Args>("m")
      .arg("id", &Args::id, min_length(3), max_length(40))
      .arg("amount", &Args::amount, between(10, 20))
      .arg("comment", &Args::comment, one_of({"first", "last"}))
      .arg("lines", &Args::lines,
           shaped(json_array(json_object().required("qty", json_integer().at_least(1))).min_items(2)))
      .run(body);
  return lint(domain);
}
template <class Fn>
bool finds_unscoped(Fn body) {
  return places(lint_of_mutator(body), "unscoped_access") == Places{"mutator \"m\""};
}

TEST(Lint, AnAuthorisationIsNotedAsUnscopedCode) {
  Domain domain = two_rules();
  domain.mutator<Args>("m")
      .authorize([](MutatorContext&, const Args&) { return done(); })
      .run([](MutatorContext&, const Args&) { return done(); });
  EXPECT_EQ(places(lint(domain), "unscoped_authorize"), Places{"mutator \"m\""});
}

TEST(Lint, UnscopedCallsAreFoundByDryRuns) {
  EXPECT_FALSE(finds_unscoped([](MutatorContext&, const Args&) { return done(); }));
  EXPECT_TRUE(finds_unscoped([](MutatorContext& ctx, const Args&) {
    ctx.unscoped();
    return done();
  }));
  EXPECT_TRUE(finds_unscoped([](MutatorContext& ctx, const Args& args) -> Outcome {
    const auto note = ctx.get(notes(), args.id);
    if (!note || note->id != args.id) return reject("not_found", "no such note");
    if (ctx.find(from(notes()).where(eq("owner_id", note->owner_id)).limit(1)).empty())
      return reject("not_found", "no such note");
    if (ctx.on_server()) ctx.unscoped().remove(notes(), args.id);
    return done();
  })) << "behind rows that must be found, on the server only";
  EXPECT_TRUE(finds_unscoped([](MutatorContext& ctx, const Args& args) -> Outcome {
    if (ctx.get(notes(), args.id)) return reject("already_exists", "there is one");
    if (!ctx.on_server()) ctx.unscoped();
    return done();
  })) << "behind a row that must not be found, on the device only";
  EXPECT_TRUE(finds_unscoped([](MutatorContext& ctx, const Args& args) -> Outcome {
    if (!args.comment && args.amount == 20) ctx.unscoped();
    return done();
  })) << "behind arguments";
  EXPECT_TRUE(finds_unscoped([](MutatorContext& ctx, const Args& args) -> Outcome {
    if (ctx.get(notes(), args.id) && !ctx.get(notes(), args.id)) ctx.unscoped();
    return done();
  })) << "behind one row found and another one not";
}

TEST(Lint, TheDryRunsGiveArgumentsThatAreValid) {
  EXPECT_FALSE(finds_unscoped([](MutatorContext& ctx, const Args& args) -> Outcome {
    const bool fits = args.id.size() >= 3 && args.id.size() <= 40 && args.amount >= 10 && args.amount <= 20 &&
                      (!args.comment || *args.comment == "first" || *args.comment == "last") &&
                      (!args.lines || args.lines->text == R"([{"qty":1},{"qty":1}])");
    if (!fits) ctx.unscoped();
    return done();
  }));
}

TEST(Lint, ADryRunSurvivesWhatAMutatorDoes) {
  EXPECT_FALSE(finds_unscoped([](MutatorContext&, const Args&) -> Outcome { throw std::runtime_error("no"); }));
  EXPECT_FALSE(finds_unscoped([](MutatorContext&, const Args&) -> Outcome { throw 7; }));
  EXPECT_TRUE(finds_unscoped([](MutatorContext& ctx, const Args&) -> Outcome {
    ctx.unscoped();
    throw std::runtime_error("after");
  }));
  EXPECT_FALSE(finds_unscoped([](MutatorContext& ctx, const Args&) -> Outcome {
    while (!ctx.find(from(notes())).empty()) continue;
    return done();
  })) << "a loop until nothing is found";
  EXPECT_FALSE(finds_unscoped([](MutatorContext& ctx, const Args&) -> Outcome {
    while (ctx.get(notes(), ctx.new_id())) continue;
    while (ctx.find(from(notes()).limit(1)).empty()) continue;
    return done();
  })) << "loops of both kinds";
  EXPECT_FALSE(finds_unscoped([](MutatorContext& ctx, const Args& args) -> Outcome {
    ctx.update(notes(), args.id, {set("nothing", 1), set("id", "x")});
    ctx.update(notes(), test::Note{});
    ctx.upsert(notes(), test::Note{});
    ctx.remove(notes(), 5);
    ctx.get(notes(), std::optional<std::string>());
    ctx.find(from(notes()).where(eq("nothing", 1)).where(eq("owner_id", 5)).order_by("nothing").offset(9));
    ctx.next_in_bucket(notes(), "nothing", "nothing", true);
    return done();
  }));
}

TEST(Lint, WithErrorsMutatorsAreNotRun) {
  Domain domain("d");
  const auto keyless = table<test::Note>("keyless").column("id", &test::Note::id);
  domain.add(keyless);
  domain.mutator<Args>("m").run([](MutatorContext& ctx, const Args&) {
    ctx.unscoped();
    return done();
  });
  const LintReport report = lint(domain);
  EXPECT_EQ(places(report, "table_without_key").size(), 1U);
  EXPECT_EQ(places(report, "unscoped_access"), Places{});
}

}  // namespace
}  // namespace nizhal
