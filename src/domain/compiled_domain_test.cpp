#include "domain/compiled_domain.hpp"

#include <gtest/gtest.h>

#include <set>

#include "base/test_seed.hpp"
#include "domain/test_domains.hpp"

namespace nizhal {
namespace {

using test::members, test::notes, test::tables_only, test::team_notes, test::two_rules;

std::shared_ptr<const CompiledDomain> compiled(Domain domain) {
  auto result = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(result) << result.error().message;
  return result ? *result : nullptr;
}
Value text(const std::string& content) { return Value(content); }
std::vector<std::string> keys(const std::vector<Bucket>& buckets) {
  std::vector<std::string> out;
  for (const Bucket& bucket : buckets) out.push_back(bucket.key);
  return out;
}
using Keys = std::vector<std::string>;

TEST(CompiledDomain, KnowsWhatIsDeliveredAndWhatIsAMembership) {
  Domain domain = tables_only();
  domain.rule("teams")
      .membership(members(), where("user_id", actor::user_id), bucket("teamId", "team_id"))
      .data(team_notes(), eq("team_id", "teamId"));
  const auto compiled_domain = compiled(domain);
  EXPECT_EQ(compiled_domain->table_index("notes"), 0U);
  EXPECT_EQ(compiled_domain->table_index("Notes"), std::nullopt);
  EXPECT_EQ((std::vector<bool>{compiled_domain->is_delivered(0), compiled_domain->is_delivered(1),
                               compiled_domain->is_delivered(2)}),
            (std::vector<bool>{false, false, true}));
  EXPECT_EQ((std::vector<bool>{compiled_domain->is_membership(0), compiled_domain->is_membership(1),
                               compiled_domain->is_membership(2)}),
            (std::vector<bool>{false, true, false}));
}

TEST(CompiledDomain, RulesWithEqualParametersShareADefinition) {
  Domain domain = tables_only();
  domain.rule("low").priority(1).parameter("a", actor::owner_id).data(notes(), eq("owner_id", "a"));
  domain.rule("other").prefix("o:").parameter("a", actor::owner_id).data(notes(), eq("owner_id", "a"));
  domain.rule("high")
      .priority(5)
      .parameter("b", actor::owner_id)
      .data(team_notes(), eq("team_id", "b"), eq("hidden", false))
      .data(team_notes(), eq("team_id", "b"), eq("body", literal("pinned")));
  const auto compiled_domain = compiled(domain);
  ASSERT_EQ(compiled_domain->definitions().size(), 2U);
  const BucketDefinition& shared = compiled_domain->definitions()[0];
  EXPECT_EQ(shared.rules, (Keys{"low", "high"}));
  EXPECT_EQ(shared.priority, 5);
  EXPECT_TRUE(shared.is_static());
  ASSERT_EQ(shared.tables.size(), 3U);
  EXPECT_EQ(shared.tables[0].rule, "high");
  EXPECT_EQ(shared.tables[0].table, 2U);
  EXPECT_EQ(shared.tables[0].parameter_columns, Keys{"team_id"});
  ASSERT_EQ(shared.tables[0].conditions.size(), 1U);
  EXPECT_EQ(shared.tables[0].conditions[0].column, "hidden");
  EXPECT_EQ(shared.tables[1].conditions[0].column, "body");
  EXPECT_EQ(shared.tables[2].rule, "low");
}

TEST(Buckets, AKeyBelongsToTheDefinitionWithTheLongestPrefix) {
  const auto domain = compiled(two_rules());
  const auto personal = domain->parse_bucket("u1");
  ASSERT_TRUE(personal);
  EXPECT_EQ(personal->definition, 0U);
  EXPECT_EQ(personal->values, Keys{"u1"});
  const auto team = domain->parse_bucket("team:t/1%");
  ASSERT_TRUE(team);
  EXPECT_EQ(team->definition, 1U);
  EXPECT_EQ(team->values, Keys{"t/1%"}) << "a single value stands as it is";
  EXPECT_EQ(domain->parse_bucket("tea")->definition, 0U);
  EXPECT_FALSE(domain->parse_bucket("team:"));
  EXPECT_FALSE(domain->parse_bucket(""));
}

TEST(Buckets, WithoutAnUnprefixedRuleOtherKeysBelongToNone) {
  Domain domain = tables_only();
  domain.rule("r").prefix("o:").parameter("a", actor::owner_id).data(notes(), eq("owner_id", "a"));
  EXPECT_FALSE(compiled(domain)->parse_bucket("u1"));
  EXPECT_TRUE(compiled(domain)->parse_bucket("o:u1"));
}

TEST(Buckets, AValueThatWouldMakeAKeyOfAnotherRuleGivesNoBucket) {
  const auto domain = compiled(two_rules());
  EXPECT_FALSE(domain->make_bucket(0, {"team:t1"}));
  EXPECT_FALSE(domain->make_bucket(0, {"team:"}));
  EXPECT_TRUE(domain->make_bucket(0, {"team"}));
  EXPECT_EQ(domain->make_bucket(1, {"t1"})->key, "team:t1");
  EXPECT_EQ(domain->make_bucket(1, {"team:t1"})->key, "team:team:t1");
  EXPECT_FALSE(domain->static_bucket(0, Actor{"u1", "team:t1", ""})) << "an owner must not get a team's rows";
  EXPECT_EQ(keys(domain->buckets_of(0, {text("n1"), text("team:t1"), text("")})), Keys{});
}

TEST(Buckets, EmptyValuesAndNulGiveNoBucket) {
  const auto domain = compiled(two_rules());
  EXPECT_FALSE(domain->make_bucket(0, {""}));
  EXPECT_FALSE(domain->make_bucket(1, {""}));
  EXPECT_FALSE(domain->make_bucket(1, {std::string("a\0b", 3)}));
  EXPECT_FALSE(domain->make_bucket(1, {"a", "b"}));
  EXPECT_FALSE(domain->make_bucket(1, {}));
  EXPECT_FALSE(domain->make_bucket(2, {"a"}));
  EXPECT_FALSE(domain->static_bucket(0, Actor{"u1", "", ""}));
  EXPECT_FALSE(domain->grant_subject(1, Actor{"", "o", ""}));
}

Domain two_parameters() {
  Domain domain = tables_only();
  domain.rule("r")
      .prefix("p:")
      .parameter("owner", actor::owner_id)
      .parameter("region", actor::claim("region"))
      .data(notes(), eq("owner_id", "owner"), eq("body", "region"));
  return domain;
}

TEST(Buckets, SeveralValuesAreJoinedSoThatTheyCannotRunTogether) {
  EXPECT_EQ(join_bucket_values({"a/b", "c%d", ""}), "a%2Fb/c%25d/");
  EXPECT_EQ(join_bucket_values({"a/b%"}), "a/b%");
  const auto domain = compiled(two_parameters());
  const auto bucket = domain->make_bucket(0, {"a/b", "c%2F"});
  ASSERT_TRUE(bucket);
  EXPECT_EQ(bucket->key, "p:a%2Fb/c%252F");
  EXPECT_EQ(domain->parse_bucket(bucket->key)->values, (Keys{"a/b", "c%2F"}));
  for (const char* bad : {"p:a", "p:a/b/c", "p:a%/b", "p:a%2f/b", "p:a%41/b", "p:/b", "p:a/", "p:a%2"})
    EXPECT_FALSE(domain->parse_bucket(bad)) << bad;
}

TEST(Buckets, StaticOnesComeFromClaims) {
  const auto domain = compiled(two_parameters());
  const auto of = [&domain](const char* claims) { return domain->static_bucket(0, Actor{"u", "o", claims}); };
  EXPECT_EQ(of(R"({"region":"eu"})")->key, "p:o/eu");
  EXPECT_EQ(of(R"({"region":7})")->key, "p:o/7");
  EXPECT_FALSE(of(""));
  EXPECT_FALSE(of("{}"));
  EXPECT_FALSE(of(R"({"region":null})"));
  EXPECT_FALSE(of(R"({"region":["eu"]})"));
  EXPECT_FALSE(of(R"({"region":""})"));
  EXPECT_FALSE(of("not json"));
  EXPECT_FALSE(domain->grant_subject(0, Actor{"u", "o", ""})) << "it has no membership";
}

TEST(Buckets, TheGrantSubjectNamesTheActorByTheClaimsOfTheFilters) {
  Domain domain = tables_only();
  domain.rule("r")
      .membership(members(), where("role", "admin"), where("user_id", actor::user_id),
                  where("id", actor::claim("device")), bucket("teamId", "team_id"))
      .data(team_notes(), eq("team_id", "teamId"));
  const auto compiled_domain = compiled(domain);
  EXPECT_EQ(compiled_domain->grant_subject(0, Actor{"u/1", "o", R"({"device":"d"})"}), "u%2F1/d");
  EXPECT_FALSE(compiled_domain->grant_subject(0, Actor{"u/1", "o", "{}"}));
  EXPECT_FALSE(compiled_domain->static_bucket(0, Actor{"u/1", "o", R"({"device":"d"})"}));
  EXPECT_EQ(compiled(two_rules())->grant_subject(1, Actor{"u/1", "o", ""}), "u/1");
}

struct Numbered {
  std::string id;
  std::optional<std::int64_t> shop;
};
Domain numbered_domain() {
  const auto numbered = table<Numbered>("numbered").key("id", &Numbered::id).column("shop", &Numbered::shop);
  Domain domain("numbered");
  domain.add(numbered);
  domain.rule("r").parameter("shop", actor::claim("shop")).data(numbered, eq("shop", "shop"));
  return domain;
}

TEST(Buckets, OfNumberColumnsHaveOneTextPerNumber) {
  const auto domain = compiled(numbered_domain());
  EXPECT_EQ(keys(domain->buckets_of(0, {text("a"), Value(std::int64_t{-7})})), Keys{"-7"});
  EXPECT_EQ(keys(domain->buckets_of(0, {text("a"), Value{}})), Keys{}) << "null is in no bucket";
  EXPECT_TRUE(domain->parse_bucket("-7"));
  for (const char* bad : {"07", "+7", "7.0", "x", "-0", " 7", "9223372036854775808"}) {
    EXPECT_FALSE(domain->parse_bucket(bad)) << bad;
    EXPECT_FALSE(domain->make_bucket(0, {bad})) << bad;
  }
  EXPECT_FALSE(domain->static_bucket(0, Actor{"u", "o", R"({"shop":"07"})"}));
  EXPECT_EQ(domain->static_bucket(0, Actor{"u", "o", R"({"shop":7})"})->key, "7");
}

TEST(Buckets, ARowThatSeveralRulesPutIntoOneBucketIsInItOnce) {
  Domain domain = tables_only();
  for (const char* name : {"a", "b"})
    domain.rule(name).parameter("owner", actor::owner_id).data(notes(), eq("owner_id", "owner"));
  EXPECT_EQ(keys(compiled(domain)->buckets_of(0, {text("n"), text("o"), text("")})), Keys{"o"});
}

/// What is in a bucket, written again as simply as possible: for every rule and data part of the raw domain.
std::set<std::string> naive_buckets(const Domain& domain, const TableDef& table, const Row& row) {
  std::vector<std::string> prefixes;
  for (const auto& rule : domain.rules()) prefixes.push_back(rule->prefix);
  std::set<std::string> found;
  for (const auto& rule : domain.rules()) {
    for (const RuleDataDef& data : rule->data) {
      if (data.table != table.name) continue;
      bool holds = true;
      std::map<std::string, std::string> values;
      for (const Condition& condition : data.conditions) {
        const Value& value = row[table.index_of(condition.column)];
        const auto* operand = std::get_if<std::string>(&condition.operand);
        if (condition.comparison == Comparison::is_null) {
          holds = holds && is_null(value);
        } else if (condition.comparison == Comparison::is_not_null) {
          holds = holds && !is_null(value);
        } else if (is_null(value)) {
          holds = false;
        } else if (operand && !condition.is_literal) {
          values[*operand] = std::holds_alternative<std::int64_t>(value) ? std::to_string(std::get<std::int64_t>(value))
                                                                         : std::get<std::string>(value);
        } else {
          switch (condition.comparison) {
            case Comparison::eq:
              holds = holds && value == condition.operand;
              break;
            case Comparison::ne:
              holds = holds && value != condition.operand;
              break;
            case Comparison::lt:
              holds = holds && value < condition.operand;
              break;
            case Comparison::le:
              holds = holds && value <= condition.operand;
              break;
            case Comparison::gt:
              holds = holds && value > condition.operand;
              break;
            case Comparison::ge:
              holds = holds && value >= condition.operand;
              break;
            default:
              break;
          }
        }
      }
      if (!holds) continue;
      std::vector<std::string> parts;
      for (const ParameterDef& parameter : rule->parameters) parts.push_back(values[parameter.name]);
      if (std::find(parts.begin(), parts.end(), "") != parts.end()) continue;
      const std::string key = rule->prefix + join_bucket_values(parts);
      const bool is_of_another = std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) {
        return prefix.size() > rule->prefix.size() && key.starts_with(prefix);
      });
      if (!is_of_another) found.insert(key);
    }
  }
  return found;
}

struct Item {
  std::string id;
  std::optional<std::string> owner, group;
  std::optional<std::int64_t> number;
  bool hidden = false;
};

TEST(Buckets, OfARowEqualANaiveEvaluationOfTheRules) {
  const auto items = table<Item>("items")
                         .key("id", &Item::id)
                         .column("owner", &Item::owner)
                         .column("group", &Item::group)
                         .column("number", &Item::number)
                         .column("hidden", &Item::hidden);
  Domain domain("random");
  domain.add(items).add(members());
  domain.rule("mine").parameter("o", actor::owner_id).data(items, eq("owner", "o"));
  domain.rule("alsoMine").parameter("p", actor::owner_id).data(items, eq("group", "p"), eq("hidden", false));
  domain.rule("groups")
      .prefix("g:")
      .membership(members(), where("user_id", actor::user_id), bucket("g", "team_id"))
      .data(items, eq("group", "g"), ne("owner", literal("x")))
      .data(items, eq("owner", "g"), ge("number", 1), lt("number", 3));
  domain.rule("pairs")
      .prefix("g:pair:")
      .parameter("a", actor::owner_id)
      .parameter("b", actor::claim("b"))
      .data(items, eq("owner", "a"), eq("group", "b"), is_null("number"));
  domain.rule("numbers")
      .prefix("n:")
      .parameter("n", actor::claim("n"))
      .data(items, eq("number", "n"), is_not_null("owner"), gt("id", literal("m")));
  const auto compiled_domain = compiled(domain);

  SeededRandom random(test_seed());
  const std::vector<std::string> texts = {"", "x", "y", "g:", "g:x", "pair:x", "n:1", "a/b", "%", "z\xc3\xa9"};
  const auto any_text = [&] { return random.below(5) == 0 ? Value{} : Value(texts[random.below(texts.size())]); };
  std::size_t rows_in_buckets = 0;
  for (int i = 0; i < 20'000; ++i) {
    const Row row = {Value(std::string(1, static_cast<char>('a' + random.below(26)))), any_text(), any_text(),
                     random.below(3) == 0 ? Value{} : Value(static_cast<std::int64_t>(random.below(5)) - 1),
                     Value(random.below(2) == 1)};
    const auto buckets = compiled_domain->buckets_of(0, row);
    std::set<std::string> found;
    for (const Bucket& bucket : buckets) {
      ASSERT_TRUE(found.insert(bucket.key).second) << "twice: " << bucket.key;
      const auto parsed = compiled_domain->parse_bucket(bucket.key);
      ASSERT_TRUE(parsed) << bucket.key;
      ASSERT_EQ(parsed->definition, bucket.definition);
      ASSERT_EQ(parsed->values, bucket.values);
    }
    ASSERT_EQ(found, naive_buckets(domain, items.def(), row)) << "row " << i;
    if (!found.empty()) ++rows_in_buckets;
  }
  EXPECT_GT(rows_in_buckets, 1'000U);
}

TEST(Fingerprints, ChangeWithWhatADeviceHoldsAndWithNothingElse) {
  const auto base = compiled(two_rules());
  const auto text_of = [](const Domain& domain, std::size_t table) { return compiled(domain)->fingerprint(table); };
  EXPECT_EQ(base->fingerprint(0).columns.size(), 12U);
  EXPECT_EQ(base->fingerprint(0).text(), base->fingerprint(0).columns + "." + base->fingerprint(0).rules);

  Domain renamed = tables_only();
  renamed.rule("teamsFirst")
      .prefix("team:")
      .priority(9)
      .membership(members(), bucket("t", "team_id"), where("user_id", actor::user_id))
      .data(team_notes(), eq("hidden", false), eq("team_id", "t"))
      .data(members(), eq("team_id", "t"));
  renamed.rule("mine").parameter("o", actor::owner_id).data(notes(), eq("owner_id", "o"));
  for (std::size_t table = 0; table < 3; ++table)
    EXPECT_EQ(text_of(renamed, table).text(), base->fingerprint(table).text()) << table;

  Domain other_condition = tables_only();
  other_condition.rule("myNotes").parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"));
  other_condition.rule("myTeams")
      .prefix("team:")
      .membership(members(), where("user_id", actor::user_id), bucket("teamId", "team_id"))
      .data(members(), eq("team_id", "teamId"))
      .data(team_notes(), eq("team_id", "teamId"), eq("hidden", true));
  EXPECT_EQ(text_of(other_condition, 1).text(), base->fingerprint(1).text());
  EXPECT_EQ(text_of(other_condition, 2).columns, base->fingerprint(2).columns);
  EXPECT_NE(text_of(other_condition, 2).rules, base->fingerprint(2).rules);

  Domain other_column("test");
  other_column.add(table<test::Note>("notes").key("id", &test::Note::id).column("owner_id", &test::Note::owner_id));
  other_column.rule("myNotes").parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"));
  EXPECT_NE(text_of(other_column, 0).columns, base->fingerprint(0).columns);
  EXPECT_EQ(text_of(other_column, 0).rules, base->fingerprint(0).rules);
}

TEST(ActorClaim, GivesScalarsAsText) {
  const Actor actor{"u1", "o1", R"({"userId":"other","n":7,"f":7.0,"x":1.5,"b":true,"s":"t","o":{},"a":[],"z":null})"};
  EXPECT_EQ(actor.claim("userId"), "u1");
  EXPECT_EQ(actor.claim("ownerId"), "o1");
  EXPECT_EQ(actor.claim("n"), "7");
  EXPECT_EQ(actor.claim("f"), "7");
  EXPECT_EQ(actor.claim("x"), "1.5");
  EXPECT_EQ(actor.claim("b"), "true");
  EXPECT_EQ(actor.claim("s"), "t");
  for (const char* name : {"o", "a", "z", "missing", ""}) EXPECT_EQ(actor.claim(name), std::nullopt) << name;
  EXPECT_EQ((Actor{"u", "o", ""}.claim("n")), std::nullopt);
  EXPECT_EQ((Actor{"u", "o", "[1]"}.claim("n")), std::nullopt);
}

}  // namespace
}  // namespace nizhal
