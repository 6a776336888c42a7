// Arguments of older versions: brought to today's, or refused with the reason; never read by another declaration.
#include "domain/upcast.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "domain/contract.hpp"
#include "domain/registration.hpp"
#include "domain/test_domains.hpp"

namespace nizhal {
namespace {

struct Version1 {
  std::string text;
};
struct Version2 {
  std::string text;
  std::int64_t stars = 0;
};
struct Today {
  std::string title;
  std::int64_t stars = 0;
};

Outcome nothing(MutatorContext&, const Today&) { return done(); }

/// Version 1 as it may come, 2 whatever its text, none for 3; today is 4.
Domain upcasting_domain() {
  Domain domain = test::tables_only();
  domain.mutator<Today>("rate")
      .version(4)
      .upcast(1, arguments<Version1>().arg("text", &Version1::text),
              [](const Version1& old) -> std::optional<Today> {
                if (old.text == "unsayable") return std::nullopt;
                if (old.text == "throw") throw std::runtime_error("a secret");
                return Today{.title = old.text, .stars = 3};
              })
      .upcast(2, arguments<Version2>().arg("text", &Version2::text, max_length(5)).arg("stars", &Version2::stars),
              [](const Version2& old) { return Today{.title = old.text, .stars = old.stars}; })
      .arg("title", &Today::title, min_length(1))
      .arg("stars", &Today::stars, between(1, 5))
      .run(nothing);
  return domain;
}

struct Upcast : ::testing::Test {
  UpcastResult decode(int version, std::string_view args) {
    return decode_arguments_of(*domain_.find_mutator("rate"), version, *parse_json(args), &thrown_);
  }
  /// The code of the refusal.
  std::string code(int version, std::string_view args) {
    const UpcastResult values = decode(version, args);
    return values ? "none" : values.error().code;
  }
  Domain domain_ = upcasting_domain();
  std::string thrown_;
};

TEST_F(Upcast, EachOlderVersionIsReadAsItWasDeclaredAndBroughtToToday) {
  EXPECT_EQ(*decode(1, R"({"text":"a"})"), (MutatorDef::Values{std::string("a"), std::int64_t{3}}));
  EXPECT_EQ(*decode(2, R"({"text":"b","stars":"5"})"), (MutatorDef::Values{std::string("b"), std::int64_t{5}}));
  EXPECT_EQ(*decode(4, R"({"title":"c","stars":1})"), (MutatorDef::Values{std::string("c"), std::int64_t{1}}));
}

TEST_F(Upcast, WhatCannotBeSaidTodayIsRefusedWithTheReason) {
  EXPECT_EQ(code(1, R"({"text":"unsayable"})"), "cannot_upcast");
  EXPECT_EQ(code(3, R"({"text":"a"})"), "cannot_upcast") << "no upcaster";
  EXPECT_EQ(code(1, R"({"text":""})"), "cannot_upcast") << "the title must not be empty today";
  EXPECT_NE(decode(1, R"({"text":""})").error().message.find("\"title\""), std::string::npos);
}

TEST_F(Upcast, ArgumentsAreNeverReadByAnotherDeclaration) {
  EXPECT_EQ(code(1, R"({"title":"a","stars":1})"), "invalid_args");
  EXPECT_EQ(code(2, R"({"text":"too long","stars":1})"), "invalid_args");
  EXPECT_EQ(code(4, R"({"text":"a"})"), "invalid_args");
  EXPECT_EQ(code(5, R"({"title":"a","stars":1})"), "unknown_args_version");
}

TEST_F(Upcast, AnUpcasterThatThrowsIsARefusalAndItsTextStaysOutOfIt) {
  const UpcastResult values = decode(1, R"({"text":"throw"})");
  ASSERT_FALSE(values);
  EXPECT_EQ(values.error().code, "cannot_upcast");
  EXPECT_EQ(values.error().message.find("secret"), std::string::npos);
  EXPECT_EQ(thrown_, "a secret");
}

TEST_F(Upcast, TheContractListsTheOlderVersions) {
  const auto compiled = CompiledDomain::compile(upcasting_domain());
  ASSERT_TRUE(compiled) << compiled.error().message;
  const json::object document = contract(**compiled);
  EXPECT_EQ(to_text(document.at("x-nizhal").at("mutators").at("rate").at("olderVersions")), "[1,2]");
}

std::vector<std::string> codes_of(const Domain& domain) {
  std::vector<std::string> codes;
  for (const LintFinding& finding : registration_errors(domain)) {
    codes.push_back(finding.code);
    EXPECT_NE(finding.place.find("\"rate\", upcaster of version "), std::string::npos) << finding.place;
  }
  return codes;
}

TEST(UpcasterRegistration, AVersionThatIsNotOlderOrNamedTwiceAndWrongArgumentsAreErrors) {
  using Codes = std::vector<std::string>;
  const auto with = [](int version, const Arguments<Version1>& old, std::vector<int> from) {
    Domain domain = test::tables_only();
    auto builder = domain.mutator<Today>("rate").version(version).run(nothing);
    for (const int one : from)
      builder.upcast(one, old, [](const Version1& args) { return Today{.title = args.text, .stars = 1}; });
    return codes_of(domain);
  };
  const auto old = arguments<Version1>().arg("text", &Version1::text);
  EXPECT_EQ(with(3, old, {1, 2}), Codes{});
  EXPECT_EQ(with(2, old, {2}), Codes{"bad_upcaster"});
  EXPECT_EQ(with(2, old, {3}), Codes{"bad_upcaster"});
  EXPECT_EQ(with(2, old, {0}), Codes{"bad_upcaster"});
  EXPECT_EQ(with(1, old, {1}), Codes{"bad_upcaster"}) << "the version was not raised";
  EXPECT_EQ(with(2, old, {1, 1}), Codes{"duplicate_upcaster"});
  EXPECT_EQ(with(2, arguments<Version1>().arg("text", &Version1::text, at_least(1)), {1}), Codes{"constraint_misfit"});
  EXPECT_EQ(with(2, arguments<Version1>().arg("text", &Version1::text).arg("text", &Version1::text), {1}),
            Codes{"duplicate_argument"});
}

}  // namespace
}  // namespace nizhal
