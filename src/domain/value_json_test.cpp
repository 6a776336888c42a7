#include "domain/value_json.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/ids.hpp"
#include "base/test_seed.hpp"

namespace nizhal {
namespace {

std::string written(ColumnType type, const Value& value) {
  std::string out;
  append_value_json(out, type, value);
  return out;
}

Result<Value> read(ColumnType type, std::string_view text) {
  const auto parsed = parse_json(text);
  if (!parsed) return tl::unexpected(parsed.error());
  return value_from_json(type, *parsed);
}

Value text(const char* content) { return Value(std::string(content)); }
Value whole(std::int64_t number) { return Value(number); }

TEST(ValueJson, EachTypeHasTheFormOfTheProtocol) {
  EXPECT_EQ(written(ColumnType::text, text("a\"b\n\xc3\xa9")), "\"a\\\"b\\n\xc3\xa9\"");
  EXPECT_EQ(written(ColumnType::integer, whole(-5)), "-5");
  EXPECT_EQ(written(ColumnType::real, Value(0.1)), "0.1");
  EXPECT_EQ(written(ColumnType::boolean, Value(true)), "true");
  EXPECT_EQ(written(ColumnType::bigint, whole(std::numeric_limits<std::int64_t>::min())), "\"-9223372036854775808\"");
  EXPECT_EQ(written(ColumnType::numeric, text("12.50")), "\"12.50\"");
  EXPECT_EQ(written(ColumnType::timestamp, whole(1'767'323'045'678'901)), "\"2026-01-02T03:04:05.678901Z\"");
  EXPECT_EQ(written(ColumnType::date, text("2026-01-02")), "\"2026-01-02\"");
  EXPECT_EQ(written(ColumnType::json, text("{\"a\":[1]}")), "{\"a\":[1]}");
  EXPECT_EQ(written(ColumnType::blob, Value(Blob{{1, 2, 255}})), "\"AQL/\"");
  EXPECT_EQ(written(ColumnType::text, Value{}), "null");
}

TEST(ValueJson, AJsonValueIsShallowerThanTheMessagesThatCarryIt) {
  const auto nested = [](std::size_t depth) {
    std::string out = "0";
    for (std::size_t i = 0; i < depth; ++i) out = i % 2 == 0 ? "[" + out + "]" : "{\"k\":" + out + "}";
    return out;
  };
  const ColumnDef column{"meta", ColumnType::json, false, std::nullopt};
  for (const std::size_t depth : {std::size_t{0}, std::size_t{1}, kJsonValueDepthMax}) {
    EXPECT_EQ(read(ColumnType::json, nested(depth)), Value(nested(depth))) << depth;
    EXPECT_TRUE(check_value(column, Value(nested(depth)), nullptr)) << depth;
  }
  EXPECT_FALSE(read(ColumnType::json, nested(kJsonValueDepthMax + 1)));
  EXPECT_FALSE(check_value(column, Value(nested(kJsonValueDepthMax + 1)), nullptr));
}

TEST(ValueJson, AValueOfTheWrongAlternativeIsWrittenAsNull) {
  EXPECT_EQ(written(ColumnType::text, whole(1)), "null");
  EXPECT_EQ(written(ColumnType::bigint, text("1")), "null");
  EXPECT_EQ(written(ColumnType::json, text("")), "null");
}

TEST(ValueJson, InputTakesTheOtherFormsThatTheProtocolNames) {
  EXPECT_EQ(read(ColumnType::bigint, "7"), whole(7));
  EXPECT_EQ(read(ColumnType::bigint, "\"-0042\""), whole(-42));
  EXPECT_EQ(read(ColumnType::numeric, "7"), text("7"));
  EXPECT_EQ(read(ColumnType::numeric, "18446744073709551615"), text("18446744073709551615"));
  EXPECT_EQ(read(ColumnType::numeric, "\"-007.50\""), text("-7.50"));
  EXPECT_EQ(read(ColumnType::numeric, "\"-0.00\""), text("0.00"));
  EXPECT_EQ(read(ColumnType::timestamp, "1767323045678"), whole(1'767'323'045'678'000));
  EXPECT_EQ(read(ColumnType::timestamp, "\"2026-01-02T04:04:05.678901+01:00\""), whole(1'767'323'045'678'901));
  EXPECT_EQ(read(ColumnType::uuid, "\"0C9B6A52-1111-4222-8333-444455556666\""),
            text("0c9b6a52-1111-4222-8333-444455556666"));
  EXPECT_EQ(read(ColumnType::real, "3"), Value(3.0));
  EXPECT_EQ(read(ColumnType::integer, "1e3"), whole(1000));
  EXPECT_EQ(read(ColumnType::json, " { \"a\" : [ 1 , null ] } "), text("{\"a\":[1,null]}"));
  EXPECT_EQ(read(ColumnType::date, "\"2024-02-29\""), text("2024-02-29"));
}

TEST(ValueJson, WhatIsNotOfTheTypeIsRefusedWithWhatWasExpected) {
  const std::pair<ColumnType, const char*> bad[] = {
      {ColumnType::text, "1"},
      {ColumnType::text, "\"a\\u0000b\""},
      {ColumnType::uuid, "\"0c9b6a52-1111-4222-8333-44445555666\""},
      {ColumnType::uuid, "5"},
      {ColumnType::integer, "2147483648"},
      {ColumnType::integer, "-2147483649"},
      {ColumnType::integer, "1.5"},
      {ColumnType::integer, "\"1\""},
      {ColumnType::real, "\"1.5\""},
      {ColumnType::real, "true"},
      {ColumnType::boolean, "1"},
      {ColumnType::boolean, "\"true\""},
      {ColumnType::bigint, "1.5"},
      {ColumnType::bigint, "\"9223372036854775808\""},
      {ColumnType::bigint, "\"1 \""},
      {ColumnType::bigint, "\"+1\""},
      {ColumnType::bigint, "\"\""},
      {ColumnType::numeric, "1.5"},
      {ColumnType::numeric, "\"12,5\""},
      {ColumnType::numeric, "\"NaN\""},
      {ColumnType::numeric, "\"\""},
      {ColumnType::timestamp, "\"yesterday\""},
      {ColumnType::timestamp, "253402300800000"},
      {ColumnType::timestamp, "1.5"},
      {ColumnType::date, "\"2026-02-29\""},
      {ColumnType::date, "\"2026-13-01\""},
      {ColumnType::date, "\"2026-00-01\""},
      {ColumnType::date, "\"2026-1-1\""},
      {ColumnType::date, "20260101"},
      {ColumnType::blob, "\"AQL\""},
      {ColumnType::blob, "\"AQ L/\""},
      {ColumnType::blob, "[1]"},
  };
  for (const auto& [type, json] : bad) {
    const auto value = read(type, json);
    ASSERT_FALSE(value) << to_string(type) << " " << json;
    EXPECT_EQ(value.error().code, ErrorCode::bad_request);
    EXPECT_TRUE(value.error().message.starts_with("must ")) << value.error().message;
  }
}

TEST(ValueJson, NullIsReadForEveryType) {
  for (int type = 0; type <= static_cast<int>(ColumnType::crdt_map); ++type)
    EXPECT_EQ(read(static_cast<ColumnType>(type), "null"), Value{});
}

std::string random_text(Random& random) {
  const char* const pieces[] = {
      "a", "Z", "0",    "\"", "\\", "\n", "\t", "\x01", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
      "/", " ", "\x7f", "%"};
  std::string out;
  for (std::uint64_t i = random.below(12); i > 0; --i) out += pieces[random.below(std::size(pieces))];
  return out;
}

std::int64_t random_integer(Random& random) {
  const auto number = static_cast<std::int64_t>(random.next());
  return number >> random.below(64);
}

Value random_value(ColumnType type, Random& random) {
  switch (type) {
    case ColumnType::text:
      return Value(random_text(random));
    case ColumnType::uuid:
      return Value(random_uuid(random));
    case ColumnType::integer:
      return Value(static_cast<std::int64_t>(static_cast<std::int32_t>(random_integer(random))));
    case ColumnType::bigint:
      return Value(random_integer(random));
    case ColumnType::boolean:
      return Value(random.below(2) == 1);
    case ColumnType::real: {
      double number = 0;
      do {
        const std::uint64_t bits = random.next();
        std::memcpy(&number, &bits, sizeof number);
      } while (!std::isfinite(number));
      if (random.below(2) == 1) number = static_cast<double>(random_integer(random)) / 1024.0;
      return Value(number);
    }
    case ColumnType::numeric: {
      std::string number = std::to_string(random.next() >> random.below(64));
      if (random.below(2) == 1) number += "." + std::to_string(random.below(100'000));
      if (random.below(2) == 1 && number.find_first_of("123456789") != std::string::npos) number = "-" + number;
      return Value(number);
    }
    case ColumnType::timestamp: {
      const std::uint64_t range = 253'402'300'800'000'000U + 62'167'219'200'000'000U;
      return Value(static_cast<std::int64_t>(random.below(range)) - 62'167'219'200'000'000);
    }
    case ColumnType::date: {
      char date[16];
      std::snprintf(date, sizeof date, "%04u-%02u-%02u", static_cast<unsigned>(random.below(10'000)),
                    static_cast<unsigned>(1 + random.below(12)), static_cast<unsigned>(1 + random.below(28)));
      return Value(std::string(date));
    }
    case ColumnType::json: {
      std::string inner;
      append_json_string(inner, random_text(random));
      return Value("{\"a\":[" + inner + "," + std::to_string(random_integer(random)) + ",true,null,{}]}");
    }
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map: {
      Blob blob;
      blob.bytes.resize(random.below(40));
      random.fill(blob.bytes);
      return Value(blob);
    }
  }
  return {};
}

TEST(ValueJson, ReadingWhatWasWrittenGivesTheSameValue) {
  SeededRandom random(test_seed());
  for (int i = 0; i < 20'000; ++i) {
    const auto type = static_cast<ColumnType>(random.below(static_cast<std::uint64_t>(ColumnType::crdt_map) + 1));
    const Value value = random_value(type, random);
    std::string why;
    ASSERT_TRUE(check_value({"c", type, false, std::nullopt}, value, &why)) << why;
    const std::string json = written(type, value);
    const auto back = read(type, json);
    ASSERT_TRUE(back) << to_string(type) << " " << json << ": " << back.error().message;
    ASSERT_EQ(*back, value) << to_string(type) << " " << json;
    ASSERT_EQ(written(type, *back), json);
  }
}

struct Sample {
  std::int64_t id = 0;
  std::string name;
  std::optional<std::int32_t> age;
  bool active = false;
};

Table<Sample> samples() {
  return table<Sample>("samples")
      .key("id", &Sample::id)
      .column("name", &Sample::name, default_value("none"))
      .column("age", &Sample::age)
      .column("active", &Sample::active);
}

TEST(RowJson, DeclaredColumnsComeInOrder) {
  std::string out;
  append_row_json(out, samples().def(), {whole(5), text("Ann"), Value{}, Value(true)});
  EXPECT_EQ(out, R"({"id":"5","name":"Ann","age":null,"active":true})");
}

TEST(RowJson, AnAbsentColumnTakesItsDefaultAndUnknownMembersAreIgnored) {
  const auto row = row_from_json(samples().def(), *parse_json(R"({"id":"5","extra":1,"active":false})"));
  ASSERT_TRUE(row);
  EXPECT_EQ(*row, (Row{whole(5), text("none"), Value{}, Value(false)}));
}

TEST(RowJson, ErrorsNameTableAndColumn) {
  const auto row = row_from_json(samples().def(), *parse_json(R"({"id":"5","age":"old"})"));
  ASSERT_FALSE(row);
  EXPECT_EQ(row.error().message,
            "table \"samples\", column \"age\" must be an integer between -2147483648 and 2147483647");
  EXPECT_EQ(row_from_json(samples().def(), *parse_json("[]")).error().message,
            "a row of table \"samples\" must be an object");
}

TEST(CheckValue, SaysWhatIsWrong) {
  const auto why = [](ColumnType type, const Value& value, bool nullable = false) {
    std::string reason;
    EXPECT_FALSE(check_value({"c", type, nullable, std::nullopt}, value, &reason));
    EXPECT_FALSE(check_value({"c", type, nullable, std::nullopt}, value, nullptr));
    return reason;
  };
  EXPECT_EQ(why(ColumnType::text, Value{}), "must not be null");
  EXPECT_EQ(why(ColumnType::text, text("\xff")), "must be valid UTF-8");
  EXPECT_EQ(why(ColumnType::text, Value(std::string("a\0b", 3))), "must not contain the NUL character");
  EXPECT_EQ(why(ColumnType::integer, whole(1LL << 31)), "must be an integer between -2147483648 and 2147483647");
  EXPECT_EQ(why(ColumnType::real, Value(std::numeric_limits<double>::quiet_NaN())), "must be a finite number");
  EXPECT_EQ(why(ColumnType::real, whole(1)), "must be a floating-point number (write 1.0, not 1)");
  EXPECT_EQ(why(ColumnType::uuid, text("0C9B6A52-1111-4222-8333-444455556666")), "must be a UUID in lower case");
  EXPECT_EQ(why(ColumnType::numeric, text("01")), "must be a decimal number without leading zeros or negative zero");
  EXPECT_EQ(why(ColumnType::json, text("{")), "must be one valid JSON value, at most 48 levels deep");
  EXPECT_EQ(why(ColumnType::blob, text("AQ==")), "must be bytes");
  EXPECT_EQ(why(ColumnType::timestamp, whole(253'402'300'800'000'000)), "must be a time in the years 0000 to 9999");
  EXPECT_TRUE(check_value({"c", ColumnType::date, true, std::nullopt}, Value{}, nullptr));
}

TEST(KeyText, OneRowHasOneText) {
  struct ByText {
    std::string id;
  };
  struct ByUuid {
    Uuid id;
  };
  struct ByInteger {
    std::int32_t id = 0;
  };
  const auto by_text = table<ByText>("t").key("id", &ByText::id);
  const auto by_uuid = table<ByUuid>("u").key("id", &ByUuid::id);
  const auto by_integer = table<ByInteger>("i").key("id", &ByInteger::id);
  EXPECT_EQ(key_text(text("a/b")), "a/b");
  EXPECT_EQ(key_text(whole(-7)), "-7");
  EXPECT_EQ(key_from_text(by_text.def(), "a/b"), text("a/b"));
  EXPECT_EQ(key_from_text(by_text.def(), "\xff"), std::nullopt);
  EXPECT_EQ(key_from_text(samples().def(), "-7"), whole(-7));
  EXPECT_EQ(key_from_text(samples().def(), "9223372036854775807"), whole(std::numeric_limits<std::int64_t>::max()));
  for (const char* bad : {"", "07", "-0", "+7", "7x", "9223372036854775808"})
    EXPECT_EQ(key_from_text(samples().def(), bad), std::nullopt) << bad;
  EXPECT_EQ(key_from_text(by_integer.def(), "2147483648"), std::nullopt);
  EXPECT_EQ(key_from_text(by_uuid.def(), "0C9B6A52-1111-4222-8333-444455556666"), std::nullopt);
  EXPECT_TRUE(key_from_text(by_uuid.def(), "0c9b6a52-1111-4222-8333-444455556666"));
}

}  // namespace
}  // namespace nizhal
