#include "workload/draw.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {
namespace {

constexpr std::size_t kTextMax = 4'096;  // longer ones only cost time
constexpr std::size_t kPlainTextMax = 120;
constexpr double kExactDoubleMax = 9'007'199'254'740'992.0;  // 2^53
constexpr unsigned kEdgePerMille = 80;
constexpr int kDepthMax = 6;
// 2000-01-01 to 2040-01-01, and what a wire can carry.
constexpr std::int64_t kUsualTimeFrom = 946'684'800'000'000, kUsualTimeTo = 2'208'988'800'000'000;
constexpr std::int64_t kTimeMin = -62'167'219'200'000'000, kTimeMax = 253'402'300'799'999'999;

/// What breaks code that takes text for ASCII, for SQL, for JSON or for one line.
constexpr std::string_view kOddTexts[] = {"'; DROP TABLE x; --",
                                          "\"quoted\" \\ back",
                                          "\xE0\xAE\xA8\xE0\xAE\xBF\xE0\xAE\xB4\xE0\xAE\xB2\xE0\xAF\x8D",
                                          "\xF0\x9F\x99\x82\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB",
                                          "100% _under_",
                                          "line\nline\ttab\r",
                                          "e\xCC\x81 \xC3\xA9",
                                          "{\"a\":[1]}",
                                          " leading and trailing ",
                                          "\xEF\xBF\xBD\xE2\x80\xAE"};
constexpr std::string_view kWords[] = {"rice", "tea", "oil", "salt", "lamp", "cloth", "soap", "milk"};

template <class List>
const auto& one_of_list(const List& list, Random& random) {
  return list[random.below(std::size(list))];
}

std::string text_of(std::size_t minimum, std::size_t maximum, Random& random) {
  maximum = std::max(minimum, std::min(maximum, kTextMax));
  const auto filled = [&](std::string text, std::size_t size) {
    std::size_t characters = count_code_points(text);
    while (characters < size) {
      text += static_cast<char>('a' + random.below(26));
      ++characters;
    }
    return text;
  };
  const std::string unique = mark(random);
  if (maximum < unique.size())  // there is no room for a mark
    return filled({}, minimum + random.below(maximum - minimum + 1));
  if (chance(random, kEdgePerMille)) {
    switch (random.below(3)) {
      case 0:
        return filled({}, minimum);
      case 1:
        return filled(unique, maximum);
      default: {
        const std::string odd = unique + std::string(one_of_list(kOddTexts, random));
        if (count_code_points(odd) <= maximum) return filled(odd, minimum);
      }
    }
  }
  std::string text = unique;
  for (std::uint64_t words = random.below(4); words > 0; --words) {
    const std::string longer = text + " " + std::string(one_of_list(kWords, random));
    if (longer.size() > std::min(maximum, kPlainTextMax)) break;
    text = longer;
  }
  return filled(std::move(text), minimum);
}

/// Small numbers as often as large ones; at times one of the bounds.
std::int64_t whole_between(std::int64_t low, std::int64_t high, Random& random) {
  if (low >= high) return low;
  if (chance(random, kEdgePerMille)) return random.below(2) == 0 ? low : high;
  // From the value next to zero upwards, else downwards from the upper bound.
  const std::int64_t from = low > 0 ? low : high < 0 ? high : 0;
  const bool up = high > from && (low >= from || random.below(4) > 0);
  const std::uint64_t room = up ? static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(from)
                                : static_cast<std::uint64_t>(from) - static_cast<std::uint64_t>(low);
  const std::uint64_t scale = std::uint64_t{1} << random.below(21);
  const std::uint64_t step = random.below(std::min(room, scale) + 1);
  return static_cast<std::int64_t>(up ? static_cast<std::uint64_t>(from) + step
                                      : static_cast<std::uint64_t>(from) - step);
}

double real_between(std::optional<double> minimum, std::optional<double> maximum, Random& random) {
  const double low = minimum.value_or(maximum ? std::min(-1e6, *maximum) : -1e6);
  const double high = maximum.value_or(std::max(1e6, low));
  if (low >= high) return low;
  if (chance(random, kEdgePerMille)) return random.below(2) == 0 ? low : high;
  const double share = static_cast<double>(random.below(1'000'001)) / 1e6;
  return std::clamp(low * (1 - share) + high * share, low, high);
}

std::string date_text(Random& random) {
  if (chance(random, kEdgePerMille)) return random.below(2) == 0 ? "2024-02-29" : "9999-12-31";
  return fmt::format("20{:02}-{:02}-{:02}", random.below(100), 1 + random.below(12), 1 + random.below(28));
}

std::string numeric_text(Random& random) {
  if (chance(random, kEdgePerMille)) return random.below(2) == 0 ? "0" : "-123456789012345678901234567890.123456789";
  return fmt::format("{}{}.{:02}", random.below(4) == 0 ? "-" : "", 1 + random.below(100'000), random.below(100));
}

json::value json_at(const JsonShape& shape, Random& random, int depth) {
  using Kind = JsonShape::Kind;
  if (shape.nullable && random.below(6) == 0) return nullptr;
  switch (shape.kind) {
    case Kind::any:
      switch (random.below(5)) {
        case 0:
          return nullptr;
        case 1:
          return static_cast<std::int64_t>(random.below(1'000));
        case 2:
          return json::array{json::string(mark(random)), true};
        case 3:
          return json::string(mark(random));
        default:
          return json::object{{"note", json::string(mark(random))}};
      }
    case Kind::text:
      if (!shape.one_of.empty()) return json::string(one_of_list(shape.one_of, random));
      return json::string(text_of(shape.min_size.value_or(0), shape.max_size.value_or(kPlainTextMax), random));
    case Kind::integer: {
      const double low = std::ceil(std::max(shape.minimum.value_or(-kExactDoubleMax), -kExactDoubleMax));
      const double high = std::floor(std::min(shape.maximum.value_or(kExactDoubleMax), kExactDoubleMax));
      return whole_between(static_cast<std::int64_t>(low), static_cast<std::int64_t>(high), random);
    }
    case Kind::number:
      return real_between(shape.minimum, shape.maximum, random);
    case Kind::boolean:
      return random.below(2) == 0;
    case Kind::object: {
      json::object object;
      for (const JsonShape::Member& member : shape.members)
        if (member.is_required || (depth < kDepthMax && random.below(2) == 0))
          object[member.name] = json_at(member.shape, random, depth + 1);
      return object;
    }
    case Kind::array: {
      const std::size_t low = shape.min_size.value_or(0);
      const std::size_t high = std::max(low, std::min(shape.max_size.value_or(low + 3), low + 3));
      json::array array;
      for (std::size_t i = low + random.below(high - low + 1); i > 0; --i)
        array.push_back(shape.items ? json_at(*shape.items, random, depth + 1) : json::value(nullptr));
      return array;
    }
  }
  return nullptr;
}

}  // namespace

std::string mark(Random& random) { return fmt::format("{}{:016x}", kMarkPrefix, random.next()); }

bool chance(Random& random, unsigned per_mille) { return random.below(1'000) < per_mille; }

json::value draw_json(const JsonShape& shape, Random& random) { return json_at(shape, random, 0); }

Value draw_value(const ArgumentDef& argument, Random& random) {
  if (argument.is_optional && random.below(5) == 0) return {};
  switch (argument.type) {
    case ColumnType::text:
      if (!argument.one_of.empty()) return Value(std::string(one_of_list(argument.one_of, random)));
      return Value(text_of(argument.min_length.value_or(0), argument.max_length.value_or(kPlainTextMax), random));
    case ColumnType::uuid:
      return Value(random_uuid(random));
    case ColumnType::integer:
      return Value(whole_between(std::max<std::int64_t>(argument.minimum.value_or(-1'000), INT32_MIN),
                                 std::min<std::int64_t>(argument.maximum.value_or(INT32_MAX), INT32_MAX), random));
    case ColumnType::bigint:
      return Value(whole_between(argument.minimum.value_or(std::numeric_limits<std::int64_t>::min()),
                                 argument.maximum.value_or(std::numeric_limits<std::int64_t>::max()), random));
    case ColumnType::real:
      return Value(real_between(argument.real_minimum, argument.real_maximum, random));
    case ColumnType::boolean:
      return Value(random.below(2) == 0);
    case ColumnType::numeric:
      return Value(numeric_text(random));
    case ColumnType::timestamp:
      if (chance(random, kEdgePerMille)) return Value(random.below(2) == 0 ? kTimeMin : kTimeMax);
      return Value(kUsualTimeFrom +
                   static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(kUsualTimeTo - kUsualTimeFrom))));
    case ColumnType::date:
      return Value(date_text(random));
    case ColumnType::json:
      for (int attempt = 0; argument.shape && attempt < 20; ++attempt) {
        const json::value drawn = draw_json(*argument.shape, random);
        if (!drawn.is_null()) return Value(to_text(drawn));  // null is an absent argument
      }
      return Value(to_text(json::object{{"note", json::string(mark(random))}}));
    case ColumnType::blob: {
      Blob blob;
      blob.bytes.resize(random.below(40));
      random.fill(blob.bytes);
      return Value(std::move(blob));
    }
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return Value(Blob{{0, 0}});
  }
  return {};
}

Value draw_new_id(const ArgumentDef& argument, Random& random) {
  switch (argument.type) {
    case ColumnType::uuid:
      return Value(random_uuid(random));
    case ColumnType::text: {
      if (!argument.one_of.empty()) return draw_value(argument, random);
      std::string id = random_uuid(random);
      if (argument.min_length && id.size() < *argument.min_length) id.resize(*argument.min_length, '0');
      if (argument.max_length && id.size() > *argument.max_length) id.resize(*argument.max_length);
      return Value(std::move(id));
    }
    case ColumnType::integer:
    case ColumnType::bigint: {
      const std::int64_t limit = argument.type == ColumnType::integer ? INT32_MAX : std::int64_t{1} << 53;
      const std::int64_t top = argument.maximum.value_or(limit);
      const std::int64_t low = argument.minimum.value_or(std::min<std::int64_t>(top, 1'000));
      const std::int64_t high = std::max(low, std::min(top, limit));
      const std::uint64_t room = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
      return Value(static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + random.below(room + 1)));
    }
    default:
      return draw_value(argument, random);
  }
}

ArgumentDef as_argument(const ColumnDef& column) {
  ArgumentDef argument;
  argument.name = column.name;
  argument.type = column.type;
  argument.is_optional = column.nullable;
  return argument;
}

}  // namespace nizhal::workload
