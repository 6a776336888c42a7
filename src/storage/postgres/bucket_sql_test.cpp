// SQL and memory put every row into the same buckets, whatever is stored, in columns of all accepted types.
#include "storage/postgres/bucket_sql.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "base/json.hpp"
#include "base/test_seed.hpp"
#include "query/to_sql.hpp"
#include "storage/postgres/other_program.hpp"
#include "storage/postgres/values.hpp"

namespace nizhal::storage {
namespace {

namespace sql = postgres_schema;

struct Thing {
  std::string id;
  std::optional<std::string> owner, place;
  std::optional<Uuid> code;
  std::optional<std::int32_t> small;
  std::optional<std::int64_t> big;
  std::optional<bool> flag;
  std::optional<double> weight;
  std::optional<Numeric> price;
  std::optional<Timestamp> at;
  std::optional<Date> day;
  std::optional<Json> extra;
  std::optional<Blob> bytes;
};

const auto things = table<Thing>("things")
                        .key("id", &Thing::id)
                        .column("owner", &Thing::owner)
                        .column("place", &Thing::place)
                        .column("code", &Thing::code)
                        .column("small", &Thing::small)
                        .column("big", &Thing::big)
                        .column("flag", &Thing::flag)
                        .column("weight", &Thing::weight)
                        .column("price", &Thing::price)
                        .column("at", &Thing::at)
                        .column("day", &Thing::day)
                        .column("extra", &Thing::extra)
                        .column("bytes", &Thing::bytes);

constexpr const char* kCode = "0c9b6a52-1111-4222-8333-444455556666";

/// A rule for every type and comparison, each with a prefix of its own, and rules by other parameters.
std::shared_ptr<const CompiledDomain> rules_of_all_kinds() {
  Domain d("things", {.version = "1.0.0"});
  d.add(things);
  const std::vector<std::pair<const char*, Value>> constants = {{"place", Value(std::string("a\\'b"))},
                                                                {"place", Value(std::string("M"))},
                                                                {"code", Value(std::string(kCode))},
                                                                {"small", Value(std::int64_t{-7})},
                                                                {"big", Value(std::int64_t{9'000'000'000})},
                                                                {"flag", Value(true)},
                                                                {"weight", Value(0.1)},
                                                                {"weight", Value(2.0)},
                                                                {"price", Value(std::string("12.50"))},
                                                                {"at", Value(std::int64_t{1'767'323'045'678'901})},
                                                                {"day", Value(std::string("2026-01-02"))}};
  int number = 0;
  const auto add = [&](Condition condition) {
    const std::string name = "r" + std::to_string(++number);
    d.rule(name).prefix(name + ":").parameter("who", actor::owner_id).data(things, eq("owner", "who"), condition);
  };
  for (const auto& [column, constant] : constants)
    for (const Comparison comparison :
         {Comparison::eq, Comparison::ne, Comparison::lt, Comparison::le, Comparison::gt, Comparison::ge})
      add(Condition{column, comparison, constant, true});
  for (const char* column :
       {"place", "code", "small", "big", "flag", "weight", "price", "at", "day", "extra", "bytes"}) {
    add(is_null(column));
    add(is_not_null(column));
  }
  d.rule("bare").parameter("who", actor::owner_id).data(things, eq("owner", "who"));
  d.rule("by_code").prefix("code/").parameter("code", actor::claim("code")).data(things, eq("code", "code"));
  d.rule("by_small").prefix("n:").parameter("n", actor::claim("n")).data(things, eq("small", "n"));
  d.rule("by_big").prefix("r1").parameter("n", actor::claim("big")).data(things, eq("big", "n"));
  d.rule("by_two")
      .prefix("é\\:")
      .parameter("a", actor::claim("a"))
      .parameter("b", actor::claim("b"))
      .data(things, eq("place", "a"), eq("small", "b"));
  auto compiled = CompiledDomain::compile(std::move(d));
  EXPECT_TRUE(compiled.has_value()) << (compiled ? "" : compiled.error().message);
  return *compiled;
}

/// What other programs may have stored, as SQL; per column, in declared order.
std::vector<std::vector<std::string>> pools(bool narrow) {
  const std::string deep48 = "'" + std::string(48, '[') + std::string(48, ']') + "'";
  const std::string deep49 = "'" + std::string(49, '[') + std::string(49, ']') + "'";
  const std::string deep_object = "'" + std::string(47, '[') + "{\"a\": {}}" + std::string(47, ']') + "'";
  const std::string deep_scalar = "'" + std::string(48, '[') + "1" + std::string(48, ']') + "'";
  const std::vector<std::string> texts = {"NULL", "''",     "'a'",      "'A'",          "'M'",   "'m'", "'a\\''b'",
                                          "'é'",  "'r1:x'", "'r1x/y%'", "E'tab\\tnul'", "'r2:'", "'ﬁ'", "'code/'"};
  return {texts,
          texts,
          {"NULL", "'" + std::string(kCode) + "'", "'0C9B6A52-1111-4222-8333-444455556667'"},
          {"NULL", "0", "-7", "32767", "-32768"},
          narrow ? std::vector<std::string>{"NULL", "0", "-7", "2147483647"}
                 : std::vector<std::string>{"NULL", "0", "9000000000", "-9223372036854775808", "9223372036854775807"},
          {"NULL", "true", "false"},
          {"NULL", "0.1", "'-0'", "2", "1e30", "'NaN'", "'Infinity'", "'-Infinity'", "0.10000001"},
          {"NULL", "12.5", "12.50", "12.500001", "'NaN'", "-3", "repeat('9', 1000)::numeric",
           "repeat('9', 1001)::numeric", "'Infinity'"},
          {"NULL", "'2026-01-02T03:04:05.678901Z'", "'2026-01-02T03:04:05.678902Z'", "'infinity'", "'-infinity'",
           "'0044-03-15 00:00:00+00 BC'", "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'",
           "'10000-01-01 00:00:00+00'", "'2026-01-02 05:04:05.678901+02'"},
          {"NULL", "'2026-01-02'", "'infinity'", "'0044-03-15 BC'", "'0001-01-01'", "'9999-12-31'", "'10000-01-01'"},
          {"NULL", "'null'", "'{}'", deep48, narrow ? deep48 : deep49, narrow ? deep48 : deep_object, deep_scalar,
           "'[[], {\"a\": 1}]'"},
          {"NULL", "''", "'\\x00ff'"}};
}

void compare_buckets(const testing::DatabaseOptions& options, bool narrow, std::uint64_t seed) {
  const auto domain = rules_of_all_kinds();
  const TableDef& table = domain->table(0);
  OtherProgram other(testing::shared_server().create_database(options));
  const char* types[] = {"varchar(200)", "varchar(200)", "text",        "uuid", "smallint", "integer", "boolean",
                         "real",         "numeric",      "timestamptz", "date", "json",     "bytea"};
  std::string columns;
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    columns += (i > 0 ? ", " : "") + quote_identifier(table.columns[i].name) + " " +
               (narrow ? types[i] : postgres_type(table.columns[i].type));
  other.run("CREATE TABLE things (" + columns + ")");
  SeededRandom random(seed);
  const auto pool = pools(narrow);
  std::string script;
  constexpr int kRows = 400;
  for (int i = 0; i < kRows; ++i) {
    script += "INSERT INTO things VALUES ('k" + std::to_string(i) + "'";
    for (const auto& values : pool) script += ", " + values[random.next() % values.size()];
    script += ");\n";
  }
  other.run(script);

  std::string buckets;
  for (std::size_t d = 0; d < domain->definitions().size(); ++d)
    for (const BucketTable& entry : domain->definitions()[d].tables)
      buckets += (buckets.empty() ? "" : ", ") + std::string("CASE ") + sql::in_bucket_sql(*domain, d, entry, "r") +
                 " WHEN true THEN " + sql::bucket_key_sql(*domain, d, entry, "r") +
                 " WHEN false THEN NULL ELSE 'neither' END";
  const auto rows = other.connection().query("SELECT ARRAY_TO_JSON(ARRAY_REMOVE(ARRAY[" + buckets + "], NULL)), " +
                                             column_list(table, "r") + " FROM things AS r");
  ASSERT_TRUE(rows.has_value()) << other.connection().error_text();
  ASSERT_EQ(rows->size(), kRows);
  std::size_t in_buckets = 0;
  for (int i = 0; i < kRows; ++i) {
    Row row;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const int column = static_cast<int>(c) + 1;
      row.push_back(rows->is_null(i, column) ? Value() : value_from_text(table.columns[c].type, rows->text(i, column)));
    }
    std::vector<std::string> in_memory, in_sql;
    for (const Bucket& bucket : domain->buckets_of(0, row)) in_memory.push_back(bucket.key);
    const auto parsed = parse_json(rows->text(i, 0));
    ASSERT_TRUE(parsed && parsed->if_array());
    for (const auto& key : *parsed->if_array())
      if (const auto* text = key.if_string()) in_sql.emplace_back(text->data(), text->size());
    std::sort(in_memory.begin(), in_memory.end());
    std::sort(in_sql.begin(), in_sql.end());
    EXPECT_EQ(in_memory, in_sql) << rows->text(i, 1) << ", seed " << seed;
    in_buckets += in_memory.size();
  }
  EXPECT_GT(in_buckets, 1'000U);
}

TEST(PostgresBuckets, SqlAndMemoryAgreeWhateverIsStored) { compare_buckets({}, false, test_seed("PostgresBuckets")); }

TEST(PostgresBuckets, SqlAndMemoryAgreeInNarrowerColumnsOfALinguisticDatabase) {
  compare_buckets({.icu_locale = "en-US"}, true, test_seed("PostgresBuckets"));
}

}  // namespace
}  // namespace nizhal::storage
