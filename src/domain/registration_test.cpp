// Every registration error, each from the smallest domain that has it and nothing else wrong.
#include <gtest/gtest.h>

#include "domain/compiled_domain.hpp"
#include "domain/registration.hpp"
#include "domain/test_domains.hpp"

namespace nizhal {
namespace {

using test::members, test::notes, test::tables_only, test::team_notes, test::two_rules;

/// The codes of all findings, and the first finding.
struct Found {
  std::vector<std::string> codes;
  LintFinding first;
};
Found errors_of(const Domain& domain) {
  Found found;
  const auto findings = registration_errors(domain);
  for (const LintFinding& finding : findings) {
    found.codes.push_back(finding.code);
    EXPECT_EQ(finding.level, LintFinding::Level::error);
    EXPECT_FALSE(finding.place.empty());
    EXPECT_FALSE(finding.message.empty());
    EXPECT_FALSE(finding.fix.empty()) << finding.code;
  }
  if (!findings.empty()) found.first = findings.front();
  return found;
}
using Codes = std::vector<std::string>;

TEST(Registration, ACorrectDomainHasNoErrors) {
  EXPECT_EQ(errors_of(two_rules()).codes, Codes{});
  EXPECT_EQ(errors_of(tables_only()).codes, Codes{});
}

TEST(Registration, CompileRefusesNamingEveryPlaceAndFix) {
  Domain domain = tables_only();
  domain.rule("first").parameter("ownerId", actor::owner_id).data(notes(), eq("owner_ids", "ownerId"));
  domain.rule("second").prefix("x:");
  const auto compiled = CompiledDomain::compile(domain);
  ASSERT_FALSE(compiled);
  EXPECT_EQ(compiled.error().code, ErrorCode::invalid_domain);
  const std::string& message = compiled.error().message;
  EXPECT_NE(message.find("rule \"first\", data of table \"notes\": table \"notes\" has no column \"owner_ids\""),
            std::string::npos);
  EXPECT_NE(message.find("did you mean \"owner_id\"?"), std::string::npos);
  EXPECT_NE(message.find("rule \"second\""), std::string::npos);
}

TEST(Registration, ADomainNeedsTablesANameAndVersions) {
  EXPECT_EQ(errors_of(Domain("empty")).codes, Codes{"no_tables"});
  Domain unnamed("a b");
  unnamed.add(notes());
  EXPECT_EQ(errors_of(unnamed).codes, Codes{"bad_name"});
  for (const char* version : {"", "1.", ".1", "1.a", "v1", "1..2", "-1", "1.0-beta"}) {
    Domain domain("d", {.version = version, .min_client_version = "0"});
    domain.add(notes());
    EXPECT_EQ(errors_of(domain).codes, Codes{"bad_version"}) << version;
  }
  Domain domain("d", {.version = "1.0", .min_client_version = "x"});
  domain.add(notes());
  EXPECT_EQ(errors_of(domain).codes, Codes{"bad_version"});
}

TEST(Registration, NamesMustFitEveryPlaceWhereTheyGo) {
  for (const std::string& name :
       {std::string(), std::string("1a"), std::string("a-b"), std::string("a b"), std::string("a\""),
        std::string("nizhal_x"), std::string("SQLite_x"), std::string(64, 'a'), std::string("caf\xc3\xa9")}) {
    Domain of_table("d");
    of_table.add(table<test::Note>(name).key("id", &test::Note::id));
    EXPECT_EQ(errors_of(of_table).codes, Codes{"bad_name"}) << name;
    Domain of_column("d");
    of_column.add(table<test::Note>("t").key("id", &test::Note::id).column(name, &test::Note::body));
    EXPECT_EQ(errors_of(of_column).codes, Codes{"bad_name"}) << name;
    Domain of_mutator = tables_only();
    of_mutator.mutator<test::Note>(name).run([](MutatorContext&, const test::Note&) { return done(); });
    EXPECT_EQ(errors_of(of_mutator).codes, Codes{"bad_name"}) << name;
    Domain of_argument = tables_only();
    of_argument.mutator<test::Note>("m").arg(name, &test::Note::id).run([](MutatorContext&, const test::Note&) {
      return done();
    });
    EXPECT_EQ(errors_of(of_argument).codes, Codes{"bad_name"}) << name;
    Domain of_rule = tables_only();
    of_rule.rule(name).parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"));
    EXPECT_EQ(errors_of(of_rule).codes, Codes{"bad_name"}) << name;
  }
  Domain longest("d");
  longest.add(table<test::Note>(std::string(63, 'a')).key("id", &test::Note::id));
  EXPECT_EQ(errors_of(longest).codes, Codes{});
}

TEST(Registration, TheEnginesMutatorNamesAreReserved) {
  Domain domain = tables_only();
  domain.mutator<test::Note>("nizhal.skip").run([](MutatorContext&, const test::Note&) { return done(); });
  const Found found = errors_of(domain);
  EXPECT_EQ(found.codes, Codes{"bad_name"});
  EXPECT_NE(found.first.message.find("engine's own"), std::string::npos);
}

TEST(Registration, NothingMayBeDeclaredTwice) {
  Domain tables = tables_only();
  tables.add(notes());
  EXPECT_EQ(errors_of(tables).codes, Codes{"duplicate_table"});
  Domain other_case = tables_only();
  other_case.add(table<test::Note>("NOTES").key("id", &test::Note::id));
  EXPECT_EQ(errors_of(other_case).codes, Codes{"duplicate_table"});
  Domain columns("d");
  columns.add(table<test::Note>("t")
                  .key("id", &test::Note::id)
                  .column("body", &test::Note::body)
                  .column("Body", &test::Note::body));
  EXPECT_EQ(errors_of(columns).codes, Codes{"duplicate_column"});
  Domain mutators = tables_only();
  for (int i = 0; i < 2; ++i)
    mutators.mutator<test::Note>("m").run([](MutatorContext&, const test::Note&) { return done(); });
  EXPECT_EQ(errors_of(mutators).codes, Codes{"duplicate_mutator"});
  Domain arguments = tables_only();
  arguments.mutator<test::Note>("m")
      .arg("id", &test::Note::id)
      .arg("id", &test::Note::body)
      .run([](MutatorContext&, const test::Note&) { return done(); });
  EXPECT_EQ(errors_of(arguments).codes, Codes{"duplicate_argument"});
  Domain rules = tables_only();
  for (int i = 0; i < 2; ++i)
    rules.rule("r").parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"));
  EXPECT_EQ(errors_of(rules).codes, Codes{"duplicate_rule"});
  Domain parameters = tables_only();
  parameters.rule("r")
      .parameter("ownerId", actor::owner_id)
      .parameter("ownerId", actor::user_id)
      .data(notes(), eq("owner_id", "ownerId"), eq("body", "ownerId"));
  const Codes codes = errors_of(parameters).codes;
  ASSERT_FALSE(codes.empty());
  EXPECT_EQ(codes.front(), "duplicate_parameter");
}

TEST(Registration, ATableNeedsAKeyOfAnOrderlyType) {
  struct Odd {
    double real = 0;
    std::optional<std::string> maybe;
    std::int32_t number = 0;
    Uuid uuid;
  };
  Domain none("d");
  none.add(table<Odd>("t").column("real", &Odd::real));
  EXPECT_EQ(errors_of(none).codes, Codes{"table_without_key"});
  Domain real("d");
  real.add(table<Odd>("t").key("real", &Odd::real));
  EXPECT_EQ(errors_of(real).codes, Codes{"bad_key_type"});
  Domain nullable("d");
  nullable.add(table<Odd>("t").key("maybe", &Odd::maybe));
  EXPECT_EQ(errors_of(nullable).codes, Codes{"nullable_key"});
  Domain good("d");
  good.add(table<Odd>("t").key("number", &Odd::number)).add(table<Odd>("u").key("uuid", &Odd::uuid));
  EXPECT_EQ(errors_of(good).codes, Codes{});
}

TEST(Registration, ADefaultMustFitItsColumn) {
  struct Defaults {
    std::string id;
    std::int32_t number = 0;
    double real = 0;
    std::optional<bool> flag;
    Date day;
  };
  const auto with = [](auto member, DefaultValue value) {
    Domain domain("d");
    domain.add(table<Defaults>("t").key("id", &Defaults::id).column("c", member, std::move(value)));
    return errors_of(domain).codes;
  };
  EXPECT_EQ(with(&Defaults::number, default_value(5)), Codes{});
  EXPECT_EQ(with(&Defaults::number, default_value("5")), Codes{"bad_default"});
  EXPECT_EQ(with(&Defaults::number, default_value(std::int64_t{1} << 40)), Codes{"bad_default"});
  EXPECT_EQ(with(&Defaults::number, default_value(std::nullopt)), Codes{"bad_default"});
  EXPECT_EQ(with(&Defaults::real, default_value(1)), Codes{"bad_default"});
  EXPECT_EQ(with(&Defaults::real, default_value(1.0)), Codes{});
  EXPECT_EQ(with(&Defaults::flag, default_value(std::nullopt)), Codes{});
  EXPECT_EQ(with(&Defaults::flag, default_value(1)), Codes{"bad_default"});
  EXPECT_EQ(with(&Defaults::day, default_value("2026-02-30")), Codes{"bad_default"});
}

struct Document {
  std::string id;
  CrdtText text;
};
struct MaybeDocument {
  std::string id;
  std::optional<CrdtMap> map;
};

TEST(Registration, TablesThatMergeAreRegistered) {
  Domain field("d");
  field.add(notes().merge(Merge::Field));
  EXPECT_EQ(errors_of(field).codes, Codes{});
  Domain crdt("d");
  crdt.add(table<Document>("t").key("id", &Document::id).column("text", &Document::text));
  EXPECT_EQ(errors_of(crdt).codes, Codes{});
}

TEST(Registration, ACrdtColumnIsNeverNull) {
  Domain d("d");
  d.add(table<MaybeDocument>("t").key("id", &MaybeDocument::id).column("map", &MaybeDocument::map));
  const Found found = errors_of(d);
  EXPECT_EQ(found.codes, Codes{"nullable_crdt"});
  EXPECT_EQ(found.first.place, "table \"t\", column \"map\"");
  EXPECT_EQ(found.first.message, "the column of type crdt_map can be null");
}

TEST(Registration, ACrdtColumnIsNoKeyAndHasNoDefaultOfItsOwn) {
  Domain key("d");
  key.add(table<Document>("t").key("text", &Document::text).column("id", &Document::id));
  EXPECT_EQ(errors_of(key).codes, Codes{"bad_key_type"});
  Domain standard("d");
  standard.add(table<Document>("t")
                   .key("id", &Document::id)
                   .column("text", &Document::text, default_value(CrdtText{{1, 2, 3}})));
  EXPECT_EQ(errors_of(standard).codes, Codes{"crdt_default"});
}

TEST(Registration, WhatIsNeverEditedHasNothingToMerge) {
  Domain d("d");
  d.add(notes().merge(Merge::Field).append_only());
  EXPECT_EQ(errors_of(d).codes, Codes{"nothing_to_merge"});
}

TEST(Registration, AMutatorNeedsABodyAndAPositiveVersion) {
  Domain without = tables_only();
  without.mutator<test::Note>("m");
  EXPECT_EQ(errors_of(without).codes, Codes{"mutator_without_run"});
  Domain version = tables_only();
  version.mutator<test::Note>("m").version(0).run([](MutatorContext&, const test::Note&) { return done(); });
  EXPECT_EQ(errors_of(version).codes, Codes{"bad_version"});
}

struct Args {
  std::string text;
  std::optional<std::int32_t> number;
  double real = 0;
  bool flag = false;
  Json json;
  Uuid uuid;
  Numeric numeric;
};

template <class M, class... Constraints>
Codes codes_of_argument(M Args::*member, const Constraints&... constraints) {
  Domain domain = tables_only();
  domain.mutator<Args>("m").arg("a", member, constraints...).run([](MutatorContext&, const Args&) { return done(); });
  return errors_of(domain).codes;
}

TEST(Registration, ConstraintsMustFitTheArgumentsType) {
  EXPECT_EQ(codes_of_argument(&Args::number, between(1, 5)), Codes{});
  EXPECT_EQ(codes_of_argument(&Args::real, at_least(1), at_most_real(2.5)), Codes{});
  EXPECT_EQ(codes_of_argument(&Args::text, min_length(1), max_length(5), one_of({"a"})), Codes{});
  EXPECT_EQ(codes_of_argument(&Args::json, shaped(json_array(json_text()))), Codes{});
  const Codes misfit{"constraint_misfit"};
  EXPECT_EQ(codes_of_argument(&Args::text, at_least(1)), misfit);
  EXPECT_EQ(codes_of_argument(&Args::numeric, at_most(1)), misfit);
  EXPECT_EQ(codes_of_argument(&Args::flag, at_least_real(0.5)), misfit);
  EXPECT_EQ(codes_of_argument(&Args::number, at_least_real(0.5)), misfit);
  EXPECT_EQ(codes_of_argument(&Args::number, min_length(1)), misfit);
  EXPECT_EQ(codes_of_argument(&Args::uuid, one_of({"a"})), misfit);
  EXPECT_EQ(codes_of_argument(&Args::text, shaped(json_text())), misfit);
  EXPECT_EQ(codes_of_argument(&Args::uuid, references(notes())), misfit) << "the key of notes is text";
}

TEST(Registration, ConstraintsMustBePossible) {
  EXPECT_EQ(codes_of_argument(&Args::number, between(5, 1)), Codes{"empty_range"});
  EXPECT_EQ(codes_of_argument(&Args::real, at_least_real(2), at_most_real(1)), Codes{"empty_range"});
  EXPECT_EQ(codes_of_argument(&Args::text, min_length(2), max_length(1)), Codes{"empty_range"});
  const Codes bad_shape{"bad_shape"};
  EXPECT_EQ(codes_of_argument(&Args::json, shaped(json_text().at_least(1))), bad_shape);
  EXPECT_EQ(codes_of_argument(&Args::json, shaped(json_array(json_integer().at_least(2).at_most(1)))), bad_shape);
  EXPECT_EQ(
      codes_of_argument(&Args::json, shaped(json_object().required("a", json_text()).optional("a", json_integer()))),
      bad_shape);
}

TEST(Registration, ReferencesMustNameTablesOfTheDomain) {
  const auto note = table<test::Note>("note").key("id", &test::Note::id);
  EXPECT_EQ(codes_of_argument(&Args::text, references(note)), Codes{"unknown_table"});
  EXPECT_EQ(codes_of_argument(&Args::text, new_id_of(note)), Codes{"unknown_table"});
  EXPECT_EQ(codes_of_argument(&Args::text, new_id_of(notes())), Codes{});
}

/// The errors of one more rule beside nothing.
template <class Fn>
Found errors_of_rule(Fn describe) {
  Domain domain = tables_only();
  describe(domain.rule("r"));
  return errors_of(domain);
}

TEST(Registration, ARuleNeedsParametersAndData) {
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) { rule.data(notes()); }).codes, Codes{"rule_without_parameters"});
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) { rule.parameter("ownerId", actor::owner_id); }).codes,
            Codes{"rule_without_data"});
}

TEST(Registration, ARuleThatScopesNothingIsALeak) {
  const Found found = errors_of_rule(
      [](RuleBuilder rule) { rule.parameter("ownerId", actor::owner_id).data(notes(), eq("body", literal("x"))); });
  EXPECT_EQ(found.codes, Codes{"rule_scopes_nothing"});
  EXPECT_EQ(found.first.place, "rule \"r\", data of table \"notes\"");
  const Found second = errors_of_rule([](RuleBuilder rule) {
    rule.parameter("ownerId", actor::owner_id)
        .parameter("userId", actor::user_id)
        .data(notes(), eq("owner_id", "ownerId"));
  });
  EXPECT_EQ(second.codes, Codes{"rule_scopes_nothing"});
}

TEST(Registration, AMembershipThatDoesNotNameTheActorIsALeak) {
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) {
              rule.membership(members(), where("role", "admin"), bucket("teamId", "team_id"))
                  .data(team_notes(), eq("team_id", "teamId"));
            }).codes,
            Codes{"membership_leaks"});
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) {
              rule.membership(members(), where("user_id", actor::user_id)).data(team_notes());
            }).codes,
            Codes{"rule_without_parameters"});
}

TEST(Registration, ARuleMustNameWhatIsThere) {
  const auto teams = table<test::Note>("teams").key("id", &test::Note::id);
  EXPECT_EQ(errors_of_rule([&](RuleBuilder rule) {
              rule.parameter("ownerId", actor::owner_id).data(teams, eq("id", "ownerId"));
            }).codes,
            Codes{"unknown_table"});
  EXPECT_EQ(errors_of_rule([&](RuleBuilder rule) {
              rule.membership(teams, where("id", actor::user_id), bucket("teamId", "id"))
                  .data(notes(), eq("owner_id", "teamId"));
            }).codes,
            Codes{"unknown_table"});
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) {
              rule.membership(members(), where("userid", actor::user_id), bucket("teamId", "team_id"))
                  .data(team_notes(), eq("team_id", "teamId"));
            }).first.fix,
            "did you mean \"user_id\"?");
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) {
              rule.membership(members(), where("user_id", actor::user_id), bucket("teamId", "team"))
                  .data(team_notes(), eq("team_id", "teamId"));
            }).codes,
            Codes{"unknown_column"});
}

TEST(Registration, ATextThatIsNoParameterSuggestsALiteral) {
  const Found found = errors_of_rule([](RuleBuilder rule) {
    rule.parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"), eq("body", "open"));
  });
  EXPECT_EQ(found.codes, Codes{"unknown_parameter"});
  EXPECT_NE(found.first.fix.find("literal(\"open\")"), std::string::npos);
  const Found near = errors_of_rule([](RuleBuilder rule) {
    rule.parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"), eq("body", "ownerID"));
  });
  EXPECT_NE(near.first.fix.find("did you mean \"ownerId\"?"), std::string::npos);
}

TEST(Registration, AParameterIsBoundOnceByEquality) {
  EXPECT_EQ(
      errors_of_rule([](RuleBuilder rule) {
        rule.parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"), ne("body", "ownerId"));
      }).codes,
      Codes{"parameter_needs_eq"});
  const Codes lt_only = errors_of_rule([](RuleBuilder rule) {
                          rule.parameter("ownerId", actor::owner_id).data(notes(), lt("owner_id", "ownerId"));
                        }).codes;
  EXPECT_EQ(lt_only, (Codes{"parameter_needs_eq", "rule_scopes_nothing"}));
  EXPECT_EQ(
      errors_of_rule([](RuleBuilder rule) {
        rule.parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"), eq("body", "ownerId"));
      }).codes,
      Codes{"parameter_bound_twice"});
}

struct Typed {
  std::string id, owner;
  bool flag = false;
  std::int64_t number = 0;
  std::optional<std::int32_t> small;
  Json json;
  Date day;
  double real = 0;
};
Table<Typed> typed() {
  return table<Typed>("typed")
      .key("id", &Typed::id)
      .column("owner", &Typed::owner)
      .column("flag", &Typed::flag)
      .column("number", &Typed::number)
      .column("small", &Typed::small)
      .column("json", &Typed::json)
      .column("day", &Typed::day)
      .column("real", &Typed::real);
}
template <class... Conditions>
Codes codes_of_data(const Conditions&... conditions) {
  Domain domain("d");
  domain.add(typed());
  domain.rule("r").parameter("p", actor::owner_id).data(typed(), conditions...);
  return errors_of(domain).codes;
}

TEST(Registration, ParametersAreBoundToTextsAndWholeNumbers) {
  EXPECT_EQ(codes_of_data(eq("owner", "p")), Codes{});
  EXPECT_EQ(codes_of_data(eq("number", "p")), Codes{});
  EXPECT_EQ(codes_of_data(eq("small", "p")), Codes{}) << "rows with null are in no bucket";
  EXPECT_EQ(codes_of_data(eq("flag", "p")), Codes{"bad_parameter_type"});
  EXPECT_EQ(codes_of_data(eq("json", "p")), Codes{"bad_parameter_type"});
}

TEST(Registration, ConstantsMustFitTheirColumn) {
  const Condition bound = eq("owner", "p");
  EXPECT_EQ(codes_of_data(bound, eq("flag", true), ge("number", 5), lt("day", literal("2026-01-02")),
                          ne("owner", literal("x")), is_null("json"), is_not_null("small"), gt("real", 1.5)),
            Codes{});
  const Codes bad{"bad_constant"};
  EXPECT_EQ(codes_of_data(bound, eq("flag", 1)), bad);
  EXPECT_EQ(codes_of_data(bound, eq("number", literal("5"))), bad);
  EXPECT_EQ(codes_of_data(bound, eq("small", std::int64_t{1} << 40)), bad);
  EXPECT_EQ(codes_of_data(bound, eq("day", literal("2026-02-30"))), bad);
  EXPECT_EQ(codes_of_data(bound, eq("real", 1)), bad);
  EXPECT_EQ(codes_of_data(bound, eq("json", literal("{}"))), bad);
  EXPECT_EQ(codes_of_data(bound, eq("small", std::optional<std::int32_t>())), bad) << "never true; is_null is meant";
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) {
              rule.membership(members(), where("user_id", actor::user_id), where("role", 5),
                              bucket("teamId", "team_id"))
                  .data(team_notes(), eq("team_id", "teamId"));
            }).codes,
            bad);
}

TEST(Registration, ColumnsOfOneParameterMustBeAllTextsOrAllNumbers) {
  Domain domain("d");
  domain.add(typed()).add(notes());
  domain.rule("r").parameter("p", actor::owner_id).data(notes(), eq("owner_id", "p")).data(typed(), eq("number", "p"));
  EXPECT_EQ(errors_of(domain).codes, Codes{"parameter_types_differ"});
  Domain two("d");
  two.add(typed()).add(notes());
  two.rule("a").parameter("p", actor::owner_id).data(notes(), eq("owner_id", "p"));
  two.rule("b").parameter("q", actor::owner_id).data(typed(), eq("number", "q"));
  EXPECT_EQ(errors_of(two).codes, Codes{"parameter_types_differ"});
}

TEST(Registration, AParameterComesFromTheActorOrFromAMembership) {
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) {
              rule.parameter("ownerId", actor::owner_id)
                  .membership(members(), where("user_id", actor::user_id), bucket("teamId", "team_id"))
                  .data(team_notes(), eq("team_id", "teamId"), eq("body", "ownerId"));
            }).codes,
            Codes{"mixed_parameters"});
  EXPECT_EQ(errors_of_rule([](RuleBuilder rule) {
              rule.parameter("ownerId", actor::claim("")).data(notes(), eq("owner_id", "ownerId"));
            }).codes,
            Codes{"parameter_without_source"});
}

TEST(Registration, APrefixMustBePrintable) {
  for (const std::string& prefix :
       {std::string("a\n"), std::string("\xff"), std::string(129, 'a'), std::string("a\0", 2)})
    EXPECT_EQ(errors_of_rule([&](RuleBuilder rule) {
                rule.prefix(prefix).parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"));
              }).codes,
              Codes{"bad_prefix"});
}

TEST(Registration, RulesWithOtherParametersNeedOtherPrefixes) {
  const auto with_second_rule = [](auto describe) {
    Domain domain = tables_only();
    domain.rule("myNotes").parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"));
    describe(domain.rule("second"));
    return errors_of(domain);
  };
  const Found other_claim = with_second_rule(
      [](RuleBuilder rule) { rule.parameter("ownerId", actor::user_id).data(notes(), eq("id", "ownerId")); });
  EXPECT_EQ(other_claim.codes, Codes{"bucket_key_collision"});
  EXPECT_EQ(other_claim.first.place, "rule \"second\"");
  EXPECT_NE(other_claim.first.message.find("\"myNotes\""), std::string::npos);
  EXPECT_EQ(with_second_rule([](RuleBuilder rule) {
              rule.membership(members(), where("user_id", actor::user_id), bucket("ownerId", "team_id"))
                  .data(team_notes(), eq("team_id", "ownerId"));
            }).codes,
            Codes{"bucket_key_collision"});
  EXPECT_EQ(with_second_rule([](RuleBuilder rule) {
              rule.prefix("u:").parameter("userId", actor::user_id).data(notes(), eq("id", "userId"));
            }).codes,
            Codes{});
  EXPECT_EQ(with_second_rule([](RuleBuilder rule) {
              rule.parameter("sameUnderAnotherName", actor::owner_id)
                  .data(team_notes(), eq("team_id", "sameUnderAnotherName"));
            }).codes,
            Codes{});
}

TEST(Registration, MembershipsWithOtherFiltersAreOtherParameters) {
  const auto add = [](Domain& domain, const char* name, auto... filters) {
    domain.rule(name)
        .membership(members(), filters..., bucket("teamId", "team_id"))
        .data(team_notes(), eq("team_id", "teamId"));
  };
  Domain differ = tables_only();
  add(differ, "a", where("user_id", actor::user_id));
  add(differ, "b", where("user_id", actor::user_id), where("role", "admin"));
  EXPECT_EQ(errors_of(differ).codes, Codes{"bucket_key_collision"});
  Domain same = tables_only();
  add(same, "a", where("role", "admin"), where("user_id", actor::user_id));
  add(same, "b", where("user_id", actor::user_id), where("role", "admin"));
  EXPECT_EQ(errors_of(same).codes, Codes{}) << "the order of filters does not matter";
}

}  // namespace
}  // namespace nizhal
