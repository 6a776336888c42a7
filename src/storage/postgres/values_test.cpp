#include "storage/postgres/values.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/json.hpp"
#include "base/test_seed.hpp"
#include "domain/value_json.hpp"

namespace nizhal::storage {
namespace {

Value text(const char* content) { return Value(std::string(content)); }
Value whole(std::int64_t number) { return Value(number); }

std::string json_of(ColumnType type, std::string_view stored) {
  std::string out;
  append_column_json(out, type, stored);
  return out;
}

std::string json_of_value(ColumnType type, std::string_view stored) {
  std::string out;
  append_value_json(out, type, value_from_text(type, stored));
  return out;
}

struct Stored {
  ColumnType type;
  std::string text;  // as PostgreSQL writes it
  Value value;
};

const std::vector<Stored>& stored_values() {
  static const std::vector<Stored> kValues = {
      {ColumnType::text, "", text("")},
      {ColumnType::text, "a\"b\\\n\xc3\xa9\xf0\x9f\x98\x80\x01", text("a\"b\\\n\xc3\xa9\xf0\x9f\x98\x80\x01")},
      {ColumnType::uuid, "0c9b6a52-1111-4222-8333-444455556666", text("0c9b6a52-1111-4222-8333-444455556666")},
      {ColumnType::integer, "-2147483648", whole(-2147483648LL)},
      {ColumnType::integer, "2147483648", Value()},
      {ColumnType::bigint, "-9223372036854775808", whole(std::numeric_limits<std::int64_t>::min())},
      {ColumnType::bigint, "0", whole(0)},
      {ColumnType::boolean, "t", Value(true)},
      {ColumnType::boolean, "f", Value(false)},
      {ColumnType::real, "0.1", Value(0.1)},
      {ColumnType::real, "1e+300", Value(1e300)},
      {ColumnType::real, "-0", Value(-0.0)},
      {ColumnType::real, "5e-324", Value(5e-324)},
      {ColumnType::real, "NaN", Value()},
      {ColumnType::real, "Infinity", Value()},
      {ColumnType::real, "-Infinity", Value()},
      {ColumnType::numeric, "12.50", text("12.50")},
      {ColumnType::numeric, "-0.5", text("-0.5")},
      {ColumnType::numeric, "123456789012345678901234567890.000", text("123456789012345678901234567890.000")},
      {ColumnType::numeric, "NaN", Value()},
      {ColumnType::numeric, "Infinity", Value()},
      {ColumnType::numeric, std::string(1'000, '7'), Value(std::string(1'000, '7'))},
      {ColumnType::numeric, std::string(1'001, '7'), Value()},
      {ColumnType::timestamp, "2026-01-02 03:04:05.678901+00", whole(1'767'323'045'678'901)},
      {ColumnType::timestamp, "2026-01-02 03:04:05.6+00", whole(1'767'323'045'600'000)},
      {ColumnType::timestamp, "2026-01-02 03:04:05+00", whole(1'767'323'045'000'000)},
      {ColumnType::timestamp, "2026-01-02 05:04:05+02", whole(1'767'323'045'000'000)},
      {ColumnType::timestamp, "2026-01-02 08:34:05.5+05:30", whole(1'767'323'045'500'000)},
      {ColumnType::timestamp, "1969-12-31 23:59:59.999999+00", whole(-1)},
      {ColumnType::timestamp, "9999-12-31 23:59:59.999999+00", whole(253'402'300'799'999'999)},
      {ColumnType::timestamp, "0001-01-01 00:00:00+00 BC", whole(-62'167'219'200'000'000)},
      {ColumnType::timestamp, "0002-12-31 00:00:00+00 BC", Value()},
      {ColumnType::timestamp, "10000-01-01 00:00:00+00", Value()},
      {ColumnType::timestamp, "infinity", Value()},
      {ColumnType::timestamp, "-infinity", Value()},
      {ColumnType::date, "2024-02-29", text("2024-02-29")},
      {ColumnType::date, "0001-02-29 BC", text("0000-02-29")},
      {ColumnType::date, "0002-02-28 BC", Value()},
      {ColumnType::date, "10000-01-01", Value()},
      {ColumnType::date, "infinity", Value()},
      {ColumnType::json, R"({"a": [1, 2.50, null, true], "b c": "x, \"y\": {"})",
       text(R"({"a":[1,2.5,null,true],"b c":"x, \"y\": {"})")},
      {ColumnType::json, "[]", text("[]")},
      {ColumnType::json, "{}", text("{}")},
      {ColumnType::json, R"("\u0001\b\u001f")", text(R"("\u0001\b\u001f")")},
      {ColumnType::json, R"("\u0041\/\u0008")", text(R"("A/\b")")},
      {ColumnType::json, "-0", text("0")},
      {ColumnType::json, "-7", text("-7")},
      {ColumnType::json, "12345678901234567890123", text("1.2345678901234568e+22")},
      {ColumnType::json, "1e400", Value()},
      {ColumnType::json, std::string(48, '[') + std::string(48, ']'),
       Value(std::string(48, '[') + std::string(48, ']'))},
      {ColumnType::json, std::string(49, '[') + std::string(49, ']'), Value()},
      {ColumnType::blob, "\\x", Value(Blob{})},
      {ColumnType::blob, "\\x00ff10Ab", Value(Blob{{0, 255, 16, 171}})},
      {ColumnType::crdt_text, "\\x01", Value(Blob{{1}})},
  };
  return kValues;
}

TEST(PostgresValues, WhatIsStoredIsReadAsItsValueOrAsNull) {
  for (const Stored& stored : stored_values())
    EXPECT_EQ(value_from_text(stored.type, stored.text), stored.value) << to_string(stored.type) << " " << stored.text;
}

TEST(PostgresValues, AColumnBecomesTheJsonOfItsValue) {
  for (const Stored& stored : stored_values())
    EXPECT_EQ(json_of(stored.type, stored.text), json_of_value(stored.type, stored.text))
        << to_string(stored.type) << " " << stored.text;
  EXPECT_EQ(json_of(ColumnType::timestamp, "2026-01-02 03:04:05.67+00"), "\"2026-01-02T03:04:05.670000Z\"");
  EXPECT_EQ(json_of(ColumnType::bigint, "7"), "\"7\"");
  EXPECT_EQ(json_of(ColumnType::timestamp, "infinity"), "null");
}

TEST(PostgresValues, AParameterIsWrittenAsPostgresReadsIt) {
  EXPECT_EQ(parameter_text(ColumnType::text, Value()), std::nullopt);
  EXPECT_EQ(parameter_text(ColumnType::text, text("x")), "x");
  EXPECT_EQ(parameter_text(ColumnType::boolean, Value(true)), "true");
  EXPECT_EQ(parameter_text(ColumnType::bigint, whole(-5)), "-5");
  EXPECT_EQ(parameter_text(ColumnType::real, Value(0.1)), "0.1");
  EXPECT_EQ(parameter_text(ColumnType::real, Value(std::nan(""))), "NaN");
  EXPECT_EQ(parameter_text(ColumnType::real, Value(-std::numeric_limits<double>::infinity())), "-Infinity");
  EXPECT_EQ(parameter_text(ColumnType::timestamp, whole(1'767'323'045'678'901)), "2026-01-02T03:04:05.678901Z");
  EXPECT_EQ(parameter_text(ColumnType::timestamp, whole(-62'167'219'200'000'000)), "0001-01-01T00:00:00.000000Z BC");
  EXPECT_EQ(parameter_text(ColumnType::date, text("0000-02-29")), "0001-02-29 BC");
  EXPECT_EQ(parameter_text(ColumnType::blob, Value(Blob{{0, 255}})), "\\x00ff");
}

TEST(PostgresValues, ATextOfTheEngineIsMadeStorable) {
  EXPECT_EQ(storable_text("plain \xc3\xa9"), "plain \xc3\xa9");
  EXPECT_EQ(storable_text(std::string_view("a\0b", 3)),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(storable_text("a\xff"), "a\xEF\xBF\xBD");
}

/// A document as PostgreSQL writes one: white space after commas and colons, numbers in plain decimals.
std::string random_document(Random& random, int depth) {
  const auto pick = [&random](std::uint64_t below) { return random.below(below); };
  switch (pick(depth > 0 ? 7 : 5)) {
    case 0:
      return pick(2) ? "true" : "null";
    case 1:
      return std::to_string(static_cast<std::int64_t>(pick(2'000'000)) - 1'000'000);
    case 2:
      return std::to_string(static_cast<std::int64_t>(pick(2'000)) - 1'000) + "." + std::to_string(pick(1'000'000));
    case 3:
      return R"("a\"\\\n\u0002 )" + std::string(pick(3), ' ') + "\xc3\xa9" + R"(")";
    case 4:
      return "\"" + std::to_string(pick(100)) + "\"";
    case 5: {
      std::string out = "[";
      for (std::uint64_t i = 0, n = pick(4); i < n; ++i) out += (i ? ", " : "") + random_document(random, depth - 1);
      return out + "]";
    }
    default: {
      std::string out = "{";
      for (std::uint64_t i = 0, n = pick(4); i < n; ++i)
        out += (i ? ", \"k" : "\"k") + std::to_string(i) + "\": " + random_document(random, depth - 1);
      return out + "}";
    }
  }
}

TEST(PostgresValues, ADocumentIsCompactedAsIfItHadBeenParsed) {
  const auto seed = test_seed("PostgresValues");
  SeededRandom random(seed);
  for (int i = 0; i < 2'000; ++i) {
    const std::string document = random_document(random, 4);
    const auto parsed = parse_json(document);
    ASSERT_TRUE(parsed) << document;
    ASSERT_EQ(json_of(ColumnType::json, document), to_text(*parsed)) << "NIZHAL_SEED=" << seed << "\n" << document;
  }
}

}  // namespace
}  // namespace nizhal::storage
