#include "domain/arguments_codec.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "domain/test_domains.hpp"

namespace nizhal {
namespace {

struct Everything {
  std::string id;
  std::int64_t amount = 0;
  std::int32_t count = 0;
  double rate = 0;
  std::string kind;
  std::optional<std::string> comment;
  std::optional<Timestamp> due;
  std::optional<Json> lines;
};

JsonShape line_shape() {
  return json_array(json_object()
                        .required("sku", json_text().min_length(1).max_length(8))
                        .required("qty", json_integer().at_least(1).at_most(99))
                        .optional("price", json_number().at_least(0.5))
                        .optional("gift", json_boolean().or_null())
                        .optional("color", json_text().among({"red", "blue"}))
                        .optional("extra", json_any()))
      .min_items(1)
      .max_items(3);
}

Domain domain_with_everything() {
  Domain domain("test");
  domain.mutator<Everything>("everything")
      .arg("id", &Everything::id, min_length(1), max_length(4))
      .arg("amount", &Everything::amount, between(1, 1'000))
      .arg("count", &Everything::count, at_least(-5))
      .arg("rate", &Everything::rate, at_least_real(0.25), at_most_real(0.75))
      .arg("kind", &Everything::kind, one_of({"credit", "payment"}))
      .arg("comment", &Everything::comment, max_length(3))
      .arg("due", &Everything::due)
      .arg("lines", &Everything::lines, shaped(line_shape()))
      .run([](MutatorContext&, const Everything&) { return done(); });
  return domain;
}

class Arguments : public testing::Test {
 protected:
  Domain domain_ = domain_with_everything();
  const MutatorDef& mutator() { return *domain_.find_mutator("everything"); }

  /// A valid call with one member replaced; an empty text leaves it out.
  std::string call(const std::string& name, const std::string& json) {
    std::vector<std::pair<std::string, std::string>> members = {
        {"id", "\"a\""}, {"amount", "\"5\""}, {"count", "2"}, {"rate", "0.5"}, {"kind", "\"credit\""}};
    bool is_replaced = false;
    for (auto& [key, value] : members) {
      if (key != name) continue;
      value = json;
      is_replaced = true;
    }
    if (!is_replaced) members.emplace_back(name, json);
    std::string out = "{";
    for (const auto& [key, value] : members) {
      if (value.empty()) continue;
      if (out.size() > 1) out += ",";
      out += "\"" + key + "\":" + value;
    }
    return out + "}";
  }
  std::string fault(const std::string& json) {
    const auto values = decode_arguments(mutator(), *parse_json(json));
    if (values) return "";
    EXPECT_EQ(values.error().code, ErrorCode::invalid_args);
    return values.error().message;
  }
  std::string fault(const std::string& name, const std::string& json) { return fault(call(name, json)); }
};

TEST_F(Arguments, ComeInDeclaredOrderAndUndeclaredMembersAreIgnored) {
  const auto values = decode_arguments(
      mutator(),
      *parse_json(R"({"kind":"payment","count":-5,"other":true,"amount":1000,"id":"ab","rate":0.25,"due":0})"));
  ASSERT_TRUE(values) << values.error().message;
  EXPECT_EQ(*values,
            (MutatorDef::Values{Value(std::string("ab")), Value(std::int64_t{1000}), Value(std::int64_t{-5}),
                                Value(0.25), Value(std::string("payment")), Value{}, Value(std::int64_t{0}), Value{}}));
}

TEST_F(Arguments, MustBeAnObject) {
  for (const char* json : {"[]", "null", "1", "\"{}\"", "true"}) EXPECT_EQ(fault(json), "arguments must be an object");
}

TEST_F(Arguments, MissingRequiredOnesAreNamedAndAbsentOptionalsAreNot) {
  EXPECT_EQ(fault("id", ""), "argument \"id\" is required");
  EXPECT_EQ(fault("id", "null"), "argument \"id\" is required");
  EXPECT_EQ(fault("comment", ""), "");
  EXPECT_EQ(fault("comment", "null"), "");
}

TEST_F(Arguments, ConstraintsNameTheArgumentAndTheBound) {
  EXPECT_EQ(fault("amount", "\"0\""), "argument \"amount\" must be at least 1");
  EXPECT_EQ(fault("amount", "1001"), "argument \"amount\" must be at most 1000");
  EXPECT_EQ(fault("amount", "1000"), "");
  EXPECT_EQ(fault("count", "-6"), "argument \"count\" must be at least -5");
  EXPECT_EQ(fault("rate", "0.2"), "argument \"rate\" must be at least 0.25");
  EXPECT_EQ(fault("rate", "1"), "argument \"rate\" must be at most 0.75");
  EXPECT_EQ(fault("id", "\"\""), "argument \"id\" must have at least 1 character");
  EXPECT_EQ(fault("id", "\"abcde\""), "argument \"id\" must have at most 4 characters");
  EXPECT_EQ(fault("id", "\"\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\""), "") << "characters, not bytes";
  EXPECT_EQ(fault("kind", "\"gift\""), "argument \"kind\" must be one of \"credit\", \"payment\"");
  EXPECT_EQ(fault("comment", "\"long\""), "argument \"comment\" must have at most 3 characters");
}

TEST_F(Arguments, WrongTypesAreRefusedWithWhatWasExpected) {
  EXPECT_EQ(fault("id", "1"), "argument \"id\" must be a string");
  EXPECT_EQ(fault("id", "\"a\\u0000\""), "argument \"id\" must not contain the NUL character");
  EXPECT_EQ(fault("amount", "1.5"), "argument \"amount\" must be a 64-bit integer, as a string of digits");
  EXPECT_EQ(fault("count", "\"1\""), "argument \"count\" must be an integer between -2147483648 and 2147483647");
  EXPECT_EQ(fault("rate", "\"1\""), "argument \"rate\" must be a number");
}

TEST_F(Arguments, ShapesNameThePathToWhatIsWrong) {
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":1,"price":0.5,"gift":null,"color":"red","extra":[null]}])"), "");
  EXPECT_EQ(fault("lines", R"({})"), "argument \"lines\" must be an array");
  EXPECT_EQ(fault("lines", R"([])"), "argument \"lines\" must have at least 1 item");
  EXPECT_EQ(fault("lines", R"([1,2,3,4])"), "argument \"lines\" must have at most 3 items");
  EXPECT_EQ(fault("lines", R"([7])"), "argument \"lines\"[0] must be an object");
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":1},{"sku":"a","qty":0}])"),
            "argument \"lines\"[1].qty must be at least 1");
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":1.5}])"), "argument \"lines\"[0].qty must be an integer");
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":100}])"), "argument \"lines\"[0].qty must be at most 99");
  EXPECT_EQ(fault("lines", R"([{"qty":1}])"), "argument \"lines\"[0].sku is required");
  EXPECT_EQ(fault("lines", R"([{"sku":"","qty":1}])"), "argument \"lines\"[0].sku must have at least 1 character");
  EXPECT_EQ(fault("lines", R"([{"sku":null,"qty":1}])"), "argument \"lines\"[0].sku must be a string");
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":1,"price":0.25}])"),
            "argument \"lines\"[0].price must be at least 0.5");
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":1,"gift":1}])"), "argument \"lines\"[0].gift must be true or false");
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":1,"color":"green"}])"),
            "argument \"lines\"[0].color must be one of \"red\", \"blue\"");
  EXPECT_EQ(fault("lines", R"([{"sku":"a","qty":1,"a b":1}])"),
            "argument \"lines\"[0][\"a b\"] is not a declared member");
}

TEST_F(Arguments, EncodingLeavesAbsentOptionalsOutAndDecodesToTheSame) {
  const std::string json =
      R"({"id":"a","amount":"5","count":2,"rate":0.5,"kind":"credit","due":"2026-01-02T03:04:05.678901Z",)"
      R"("lines":[{"sku":"a","qty":1}]})";
  const auto values = decode_arguments(mutator(), *parse_json(json));
  ASSERT_TRUE(values) << values.error().message;
  EXPECT_EQ(encode_arguments(mutator(), *values), json);
}

TEST_F(Arguments, OfATypedCallAreTheOnesOfItsJson) {
  Everything args;
  args.id = "a";
  args.amount = 5;
  args.kind = "credit";
  args.rate = 0.5;
  EXPECT_EQ(encode_arguments(mutator(), mutator().values_of(&args)),
            R"({"id":"a","amount":"5","count":0,"rate":0.5,"kind":"credit"})");
}

class MutatorCall : public testing::Test {
 protected:
  template <class Fn>
  Outcome call(Fn fn) {
    Domain domain("test");
    domain.mutator<Everything>("everything").run(fn).authorize(fn);
    MutatorContext context(backend_);
    const MutatorDef& mutator = *domain.find_mutator("everything");
    const Outcome authorized = call_authorize(mutator, context, {}, nullptr);
    Outcome outcome = call_mutator(mutator, context, {}, &thrown_);
    EXPECT_EQ(authorized.code, outcome.code);
    return outcome;
  }
  test::IdleBackend backend_;
  std::string thrown_ = "from before";
};

TEST_F(MutatorCall, GivesWhatTheMutatorAnswers) {
  EXPECT_TRUE(call([](MutatorContext&, const Everything&) { return done(); }).is_done());
  EXPECT_EQ(thrown_, "");
  const Outcome refused =
      call([](MutatorContext&, const Everything&) { return reject("overpayment", "above the balance"); });
  EXPECT_EQ(refused.code, "overpayment");
  EXPECT_EQ(refused.message, "above the balance");
}

TEST_F(MutatorCall, WhatItThrowsBecomesARefusalThatDoesNotRepeatTheText) {
  const Outcome outcome =
      call([](MutatorContext&, const Everything&) -> Outcome { throw std::runtime_error("secret of another actor"); });
  EXPECT_FALSE(outcome.is_done());
  EXPECT_EQ(outcome.code, "internal");
  EXPECT_EQ(outcome.message.find("secret"), std::string::npos);
  EXPECT_EQ(thrown_, "secret of another actor");
}

TEST_F(MutatorCall, WhatIsNoExceptionIsCaughtToo) {
  const Outcome outcome = call([](MutatorContext&, const Everything&) -> Outcome { throw 5; });
  EXPECT_EQ(outcome.code, "internal");
  EXPECT_FALSE(thrown_.empty());
}

TEST_F(MutatorCall, ARefusalCodeThatIsNoWordIsReplaced) {
  EXPECT_EQ(call([](MutatorContext&, const Everything&) { return reject("", "no"); }).code, "rejected");
  EXPECT_EQ(call([](MutatorContext&, const Everything&) { return reject("two words", "no"); }).code, "rejected");
}

TEST_F(MutatorCall, AMutatorWithoutBodyOrAuthorisationIsAnswered) {
  MutatorContext context(backend_);
  MutatorDef empty;
  empty.name = "empty";
  EXPECT_EQ(call_mutator(empty, context, {}, nullptr).code, "internal");
  EXPECT_TRUE(call_authorize(empty, context, {}, nullptr).is_done());
}

TEST(MutatorContext, UpdateOfAWrongColumnFailsNamingThePlace) {
  test::IdleBackend backend;
  MutatorContext context(backend);
  EXPECT_FALSE(context.update(test::notes(), "n1", {set("boddy", "x")}));
  EXPECT_EQ(backend.usage, "update of notes: \"boddy\" is not a column that can be set");
  EXPECT_FALSE(context.update(table<test::Note>("keyless").column("id", &test::Note::id), test::Note{}));
  EXPECT_EQ(backend.usage, "update of keyless: the table has no key");
}

}  // namespace
}  // namespace nizhal
