#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/decimal.hpp"
#include "base/json.hpp"
#include "base/test_seed.hpp"
#include "domain/value_json.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::sqlite {
namespace {

class StatementTest : public testing::Test {
 protected:
  void SetUp() override {
    auto connection = Connection::open(":memory:", {});
    ASSERT_TRUE(connection);
    connection_ = std::move(*connection);
  }

  Statement prepare(std::string_view sql) {
    auto statement = connection_->prepare(sql);
    EXPECT_TRUE(statement) << statement.error().message;
    return std::move(*statement);
  }
  /// What a stored value, given as an SQL expression, reads as.
  Value read(ColumnType type, const std::string& expression) {
    auto statement = prepare("SELECT " + expression);
    EXPECT_TRUE(statement.step().value());
    return statement.value(0, type);
  }
  Value round_trip(ColumnType type, const Value& value) {
    auto statement = prepare("SELECT ?1");
    EXPECT_TRUE(statement.bind_value(1, type, value).step().value());
    return statement.value(0, type);
  }
  std::string stored(ColumnType type, const Value& value) {
    auto statement = prepare("SELECT typeof(?1) || ' ' || ifnull(?1, '')");
    EXPECT_TRUE(statement.bind_value(1, type, value).step().value());
    return std::string(statement.text(0));
  }

  std::unique_ptr<Connection> connection_;
};

Value text(std::string value) { return Value(std::move(value)); }
Value integer(std::int64_t value) { return Value(value); }

TEST_F(StatementTest, ValuesAreStoredInTheirStorageClass) {
  EXPECT_EQ(stored(ColumnType::text, text("x")), "text x");
  EXPECT_EQ(stored(ColumnType::boolean, true), "integer 1");
  EXPECT_EQ(stored(ColumnType::integer, integer(-3)), "integer -3");
  EXPECT_EQ(stored(ColumnType::bigint, integer(std::numeric_limits<std::int64_t>::min())),
            "integer -9223372036854775808");
  EXPECT_EQ(stored(ColumnType::real, 1.5), "real 1.5");
  EXPECT_EQ(stored(ColumnType::real, integer(2)), "real 2.0");
  EXPECT_EQ(stored(ColumnType::numeric, text("1.50")), "text 1.50");
  EXPECT_EQ(stored(ColumnType::numeric, integer(7)), "text 7");
  EXPECT_EQ(stored(ColumnType::timestamp, integer(0)), "text 1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(stored(ColumnType::blob, Blob{}), "blob ");
  EXPECT_EQ(stored(ColumnType::text, text("")), "text ");
  EXPECT_EQ(stored(ColumnType::text, Value{}), "null ");
}

TEST_F(StatementTest, ValuesComeBackAsTheyWere) {
  const std::pair<ColumnType, Value> values[] = {
      {ColumnType::text, text("")},
      {ColumnType::uuid, text("00000000-0000-4000-8000-000000000001")},
      {ColumnType::integer, integer(std::numeric_limits<std::int32_t>::min())},
      {ColumnType::bigint, integer(std::numeric_limits<std::int64_t>::max())},
      {ColumnType::real, Value(0.1 + 0.2)},
      {ColumnType::real, Value(-std::numeric_limits<double>::infinity())},
      {ColumnType::boolean, Value(false)},
      {ColumnType::numeric, text("-123456789012345678901234567890.10")},
      {ColumnType::timestamp, integer(-1)},
      {ColumnType::date, text("0000-02-29")},
      {ColumnType::json, text("{\"a\": [1]}")},
      {ColumnType::blob, Blob{{0, 255, 0}}},
      {ColumnType::blob, Blob{}},
      {ColumnType::crdt_text, Blob{{1}}}};
  for (const auto& [type, value] : values) EXPECT_EQ(round_trip(type, value), value) << to_string(type);
  for (int type = 0; type <= static_cast<int>(ColumnType::crdt_map); ++type)
    EXPECT_TRUE(is_null(round_trip(static_cast<ColumnType>(type), Value{})));
}

TEST_F(StatementTest, TimestampsThatOthersStoredAreRead) {
  const Value noon = integer(parse_iso8601("2026-01-02T12:00:00Z")->microseconds);
  for (const std::string written :
       {"'2026-01-02T12:00:00.000000Z'", "'2026-01-02 12:00:00'", "'2026-01-02T12:00'", "'2026-01-02 12:00Z'",
        "'2026-01-02 14:00:00+02'", "'2026-01-02 14:00:00.000+0200'", "'2026-01-02t12:00:00z'", "'2026-01-02 07:00-05'",
        "datetime('2026-01-02 12:00:00')", "strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-02 12:00:00')"})
    EXPECT_EQ(read(ColumnType::timestamp, written), noon) << written;
  EXPECT_EQ(read(ColumnType::timestamp, "date('2026-01-02')"),
            integer(parse_iso8601("2026-01-02T00:00:00Z")->microseconds));
  for (const std::string written :
       {"''", "'soon'", "1767355200", "'2026-01-02T'", "'2026-01-02T12'", "'2026-02-30'", "x'00'"})
    EXPECT_TRUE(is_null(read(ColumnType::timestamp, written))) << written;
}

TEST_F(StatementTest, NumbersThatOthersStoredAreRead) {
  EXPECT_EQ(read(ColumnType::integer, "'42'"), integer(42));
  EXPECT_EQ(read(ColumnType::integer, "42.0"), integer(42));
  EXPECT_EQ(read(ColumnType::bigint, "1e18"), integer(1'000'000'000'000'000'000));
  EXPECT_EQ(read(ColumnType::real, "3"), Value(3.0));
  EXPECT_EQ(read(ColumnType::real, "'2.5'"), Value(2.5));
  EXPECT_EQ(read(ColumnType::numeric, "5"), text("5"));
  EXPECT_EQ(read(ColumnType::numeric, "1.5"), text("1.5"));
  EXPECT_EQ(read(ColumnType::numeric, "1e20"), text("100000000000000000000"));
  EXPECT_EQ(read(ColumnType::numeric, "'007.50'"), text("7.50"));
  EXPECT_EQ(read(ColumnType::boolean, "'TRUE'"), Value(true));
  EXPECT_EQ(read(ColumnType::boolean, "'f'"), Value(false));
  EXPECT_EQ(read(ColumnType::boolean, "7"), Value(true));
  for (const auto& [type, written] :
       std::initializer_list<std::pair<ColumnType, std::string>>{{ColumnType::integer, "2147483648"},
                                                                 {ColumnType::integer, "'many'"},
                                                                 {ColumnType::integer, "1.5"},
                                                                 {ColumnType::bigint, "1e19"},
                                                                 {ColumnType::bigint, "x'01'"},
                                                                 {ColumnType::real, "'x'"},
                                                                 {ColumnType::boolean, "'maybe'"},
                                                                 {ColumnType::numeric, "'12 EUR'"},
                                                                 {ColumnType::numeric, "9e999"}})
    EXPECT_TRUE(is_null(read(type, written))) << to_string(type) << " " << written;
}

TEST_F(StatementTest, TextsThatOthersStoredAreRead) {
  EXPECT_EQ(read(ColumnType::text, "42"), text("42"));
  EXPECT_EQ(read(ColumnType::text, "x'61ff62'"), text("a\xEF\xBF\xBD"
                                                      "b"));
  EXPECT_TRUE(is_null(read(ColumnType::text, "'a' || char(0) || 'b'")));
  EXPECT_EQ(read(ColumnType::uuid, "'ABCDEFAB-0000-0000-0000-000000000000'"),
            text("abcdefab-0000-0000-0000-000000000000"));
  EXPECT_TRUE(is_null(read(ColumnType::uuid, "'x'")));
  EXPECT_EQ(read(ColumnType::date, "'2026-01-02 10:00:00'"), text("2026-01-02"));
  EXPECT_TRUE(is_null(read(ColumnType::date, "'2026-02-30'")));
  EXPECT_EQ(read(ColumnType::json, "'[1, 2]'"), text("[1, 2]"));
  EXPECT_EQ(read(ColumnType::json, "5"), text("5"));
  EXPECT_TRUE(is_null(read(ColumnType::json, "'{'")));
  EXPECT_EQ(read(ColumnType::blob, "'ab'"), Value(Blob{{'a', 'b'}}));
}

TEST_F(StatementTest, AnyStoredBytesReadAsAnyTypeWithoutHarm) {
  SeededRandom random(test_seed());
  constexpr std::string_view kCharacters("0129-:TZ .+eE{}[]\"ax\0", 21);
  auto statement = prepare("SELECT ?1");
  for (int i = 0; i < 5'000; ++i) {
    std::string bytes;
    for (std::uint64_t n = random.below(30); n > 0; --n)
      bytes +=
          random.below(20) == 0 ? static_cast<char>(random.below(256)) : kCharacters[random.below(kCharacters.size())];
    const auto type = static_cast<ColumnType>(random.below(13));
    if (random.below(2)) {
      statement.bind_text(1, bytes);
    } else {
      statement.bind_blob(1, Blob{{bytes.begin(), bytes.end()}});
    }
    ASSERT_TRUE(statement.step().value());
    const Value value = statement.value(0, type);
    statement.reset();
    if (!is_null(value)) {
      // What cannot be sent to a device must read as null, or the device would refuse the page it is in.
      std::string why;
      EXPECT_TRUE(check_value(ColumnDef{"c", type, false, std::nullopt}, value, &why))
          << to_string(type) << " " << bytes << ": " << why;
      EXPECT_EQ(round_trip(type, value), value) << to_string(type) << " " << bytes;
    }
  }
}

TEST_F(StatementTest, WhatNoMessageCouldCarryReadsAsNull) {
  const auto nested = [](std::size_t depth) { return "'" + std::string(depth, '[') + std::string(depth, ']') + "'"; };
  EXPECT_FALSE(is_null(read(ColumnType::json, nested(kJsonValueDepthMax))));
  EXPECT_TRUE(is_null(read(ColumnType::json, nested(kJsonValueDepthMax + 1))));
  EXPECT_FALSE(is_null(read(ColumnType::numeric, "'" + std::string(kDecimalBytesMax, '9') + "'")));
  EXPECT_TRUE(is_null(read(ColumnType::numeric, "'" + std::string(kDecimalBytesMax + 1, '9') + "'")));
}

TEST_F(StatementTest, NotANumberIsStoredAsNull) {
  EXPECT_TRUE(is_null(round_trip(ColumnType::real, Value(std::numeric_limits<double>::quiet_NaN()))));
}

TEST_F(StatementTest, AFailedBindSurfacesAtEveryStepUntilItIsMended) {
  sqlite3_limit(connection_->handle(), SQLITE_LIMIT_LENGTH, 100);
  auto statement = prepare("SELECT ?1, ?2");
  statement.bind_text(1, std::string(101, 'x')).bind(2, std::int64_t{1});
  for (int i = 0; i < 2; ++i) {
    const auto row = statement.step();
    ASSERT_FALSE(row);
    EXPECT_EQ(row.error().code, ErrorCode::invalid_args);
    EXPECT_NE(row.error().message.find("parameter 1"), std::string::npos);
  }
  EXPECT_FALSE(statement.run());
  EXPECT_TRUE(statement.bind_text(1, "short").step().value());
  EXPECT_EQ(statement.text(0), "short");
}

TEST_F(StatementTest, AParameterThatIsNotThereIsAnError) {
  auto statement = prepare("SELECT 1");
  EXPECT_FALSE(statement.bind(1, std::int64_t{1}).step());
}

TEST_F(StatementTest, ARunStatementCanBeBoundAndRunAgain) {
  ASSERT_TRUE(connection_->execute("CREATE TABLE t (a)"));
  auto insert = prepare("INSERT INTO t VALUES (?1)");
  for (std::int64_t i = 1; i <= 3; ++i) ASSERT_TRUE(insert.bind(1, i).run());
  EXPECT_EQ(connection_->query_integer("SELECT sum(a) FROM t").value(), 6);
}

TEST_F(StatementTest, ColumnsAreCountedAndNamed) {
  const auto statement = prepare("SELECT 1 AS one, 2 AS \"two words\"");
  EXPECT_EQ(statement.column_count(), 2);
  EXPECT_EQ(statement.column_name(0), "one");
  EXPECT_EQ(statement.column_name(1), "two words");
  EXPECT_EQ(statement.column_name(2), "");
}

}  // namespace
}  // namespace nizhal::sqlite
