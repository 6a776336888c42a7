#include "workload/draw.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "base/bytes.hpp"
#include "base/test_seed.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/value_json.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {
namespace {

ArgumentDef argument(ColumnType type, const std::vector<Constraint>& constraints = {}) {
  ArgumentDef def;
  def.name = "value";
  def.type = type;
  for (const Constraint& constraint : constraints) constraint(def);
  return def;
}

/// Each of many draws survives the way over the wire, where the declaration is checked.
void expect_all_fit(const ArgumentDef& def) {
  SeededRandom random(test_seed("Draw"));
  MutatorDef mutator;
  mutator.arguments = {def};
  for (int i = 0; i < 2'000; ++i) {
    const MutatorDef::Values values{i % 2 == 0 ? draw_value(def, random) : draw_new_id(def, random)};
    const std::string text = encode_arguments(mutator, values);
    const auto parsed = parse_json(text);
    ASSERT_TRUE(parsed) << text;
    const auto decoded = decode_arguments(mutator, *parsed);
    ASSERT_TRUE(decoded) << decoded.error().message << " " << text;
    ASSERT_EQ(*decoded, values) << text;
  }
}

TEST(Draw, EveryTypeFits) {
  for (const ColumnType type :
       {ColumnType::text, ColumnType::uuid, ColumnType::integer, ColumnType::real, ColumnType::boolean,
        ColumnType::bigint, ColumnType::numeric, ColumnType::timestamp, ColumnType::date, ColumnType::json,
        ColumnType::blob, ColumnType::crdt_text, ColumnType::crdt_map}) {
    SCOPED_TRACE(to_string(type));
    expect_all_fit(argument(type));
    ArgumentDef optional = argument(type);
    optional.is_optional = true;
    expect_all_fit(optional);
  }
}

TEST(Draw, EveryConstraintHolds) {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min(),
                         kMax = std::numeric_limits<std::int64_t>::max();
  expect_all_fit(argument(ColumnType::bigint, {between(1, 1'000'000'000'000)}));
  expect_all_fit(argument(ColumnType::bigint, {between(kMax, kMax)}));
  expect_all_fit(argument(ColumnType::bigint, {between(kMin, -5)}));
  expect_all_fit(argument(ColumnType::bigint, {at_least(kMax - 1)}));
  expect_all_fit(argument(ColumnType::integer, {between(-3, 3)}));
  expect_all_fit(argument(ColumnType::integer, {between(7, 7)}));
  expect_all_fit(argument(ColumnType::real, {at_least_real(-0.5), at_most_real(0.5)}));
  expect_all_fit(argument(ColumnType::real, {at_least_real(1e300)}));
  expect_all_fit(argument(ColumnType::text, {min_length(1), max_length(1)}));
  expect_all_fit(argument(ColumnType::text, {min_length(30), max_length(40)}));
  expect_all_fit(argument(ColumnType::text, {min_length(300)}));
  expect_all_fit(argument(ColumnType::text, {max_length(0)}));
  expect_all_fit(argument(ColumnType::text, {one_of({"open", "closed"})}));
}

TEST(Draw, EveryShapeFits) {
  expect_all_fit(
      argument(ColumnType::json,
               {shaped(json_object()
                           .required("lines", json_array(json_object()
                                                             .required("qty", json_integer().at_least(1).at_most(9))
                                                             .optional("note", json_text().max_length(5).or_null()))
                                                  .min_items(1)
                                                  .max_items(4))
                           .required("kind", json_text().among({"a", "b"}))
                           .optional("share", json_number().at_least(0).at_most(1))
                           .optional("free", json_any())
                           .optional("done", json_boolean()))}));
  expect_all_fit(argument(ColumnType::json, {shaped(json_text().min_length(3).max_length(64))}));
  expect_all_fit(argument(ColumnType::json, {shaped(json_integer().or_null())}));
}

TEST(Draw, TextCarriesAMarkWhereThereIsRoomAndReachesItsBounds) {
  SeededRandom random(test_seed("Draw"));
  const ArgumentDef def = argument(ColumnType::text, {max_length(200)});
  int marked = 0, empty = 0, longest = 0, beyond_ascii = 0;
  for (int i = 0; i < 3'000; ++i) {
    const std::string text = std::get<std::string>(draw_value(def, random));
    marked += text.find(kMarkPrefix) != std::string::npos;
    empty += text.empty();
    longest += count_code_points(text) == 200;
    beyond_ascii += count_code_points(text) < text.size();
  }
  EXPECT_GT(marked, 2'700);
  EXPECT_GT(empty, 0);
  EXPECT_GT(longest, 0);
  EXPECT_GT(beyond_ascii, 0);
}

TEST(Draw, WholeNumbersReachBothBoundsAndZero) {
  SeededRandom random(test_seed("Draw"));
  const ArgumentDef def = argument(ColumnType::bigint, {between(-1'000'000, 1'000'000)});
  int lowest = 0, highest = 0, below = 0, zero = 0;
  for (int i = 0; i < 5'000; ++i) {
    const std::int64_t number = std::get<std::int64_t>(draw_value(def, random));
    lowest += number == -1'000'000;
    highest += number == 1'000'000;
    below += number < 0;
    zero += number == 0;
  }
  EXPECT_GT(lowest, 0);
  EXPECT_GT(highest, 0);
  EXPECT_GT(below, 500);
  EXPECT_GT(zero, 0);
}

}  // namespace
}  // namespace nizhal::workload
