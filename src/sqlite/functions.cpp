// What queries need and SQLite does not have. The code is that of queries in memory, so both give the same.
#include "sqlite/functions.hpp"

#include <sqlite3.h>

#include <limits>
#include <new>
#include <string>
#include <string_view>

#include "base/decimal.hpp"
#include "query/fold.hpp"
#include "query/like.hpp"
#include "query/to_sql.hpp"

namespace nizhal::sqlite {

namespace {

std::string_view text_of(sqlite3_value* value) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(value));
  return text ? std::string_view(text, static_cast<std::size_t>(sqlite3_value_bytes(value))) : std::string_view();
}

void answer_text(sqlite3_context* context, std::string_view text) {
  sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

int compare_decimal_texts(void*, int left_size, const void* left, int right_size, const void* right) {
  const auto ordering = compare_decimals({static_cast<const char*>(left), static_cast<std::size_t>(left_size)},
                                         {static_cast<const char*>(right), static_cast<std::size_t>(right_size)});
  return ordering < 0 ? -1 : ordering > 0 ? 1 : 0;
}

void like(sqlite3_context* context, int, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL || sqlite3_value_type(arguments[1]) == SQLITE_NULL) return;
  sqlite3_result_int(context, is_like(text_of(arguments[0]), text_of(arguments[1])) ? 1 : 0);
}

void shortest(sqlite3_context* context, int, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) != SQLITE_NULL) answer_text(context, shortest_decimal(text_of(arguments[0])));
}

/// A stored value as Statement::value reads it; what is none of the type is null.
Value value_of(sqlite3_value* stored, ColumnType type) {
  const int kind = sqlite3_value_type(stored);
  switch (type) {
    case ColumnType::integer:
    case ColumnType::bigint: {
      if (kind != SQLITE_INTEGER) return {};
      const std::int64_t integer = sqlite3_value_int64(stored);
      using Narrow = std::numeric_limits<std::int32_t>;
      if (type == ColumnType::integer && (integer < Narrow::min() || integer > Narrow::max())) return {};
      return integer;
    }
    case ColumnType::real:
      if (kind != SQLITE_FLOAT && kind != SQLITE_INTEGER) return {};
      return sqlite3_value_double(stored);
    case ColumnType::numeric: {
      auto decimal = kind == SQLITE_NULL ? std::nullopt : canonical_decimal(text_of(stored));
      if (!decimal || decimal->size() > kDecimalBytesMax) return {};
      return std::move(*decimal);
    }
    default:
      return {};
  }
}

/// What SQLite keeps for a group while it goes through its rows.
struct Kept {
  Fold* fold;
  std::string* subject;
};

template <FoldSpec::Kind kKind>
void add(sqlite3_context* context, int, sqlite3_value** arguments) {
  auto* kept = static_cast<Kept*>(sqlite3_aggregate_context(context, sizeof(Kept)));  // zeroes at first
  if (!kept) return sqlite3_result_error_nomem(context);
  const auto type = static_cast<ColumnType>(sqlite3_value_int(arguments[1]));
  if (!kept->fold) {
    kept->fold = new Fold(kKind, type);
    kept->subject = new std::string(text_of(arguments[2]));
  }
  kept->fold->add(value_of(arguments[0], type));
}

/// SQLite calls it for every group that was begun, also when the statement is given up.
void finish(sqlite3_context* context) {
  const auto* kept = static_cast<Kept*>(sqlite3_aggregate_context(context, 0));
  if (!kept || !kept->fold) return;
  const auto value = kept->fold->value(*kept->subject);
  delete kept->fold;
  delete kept->subject;
  if (!value) {
    sqlite3_result_error(context, value.error().message.c_str(), -1);
    sqlite3_result_error_code(context, SQLITE_TOOBIG);  // told as invalid_args
  } else if (const auto* integer = std::get_if<std::int64_t>(&*value)) {
    sqlite3_result_int64(context, *integer);
  } else if (const auto* real = std::get_if<double>(&*value)) {
    sqlite3_result_double(context, *real);
  } else if (const auto* text = std::get_if<std::string>(&*value)) {
    answer_text(context, *text);
  }
}

}  // namespace

int add_functions(sqlite3* database) {
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
  const auto add_function = [&](std::string_view name, int arguments, auto* function) {
    return sqlite3_create_function_v2(database, std::string(name).c_str(), arguments, kFlags, nullptr, function,
                                      nullptr, nullptr, nullptr);
  };
  const auto add_aggregate = [&](std::string_view name, auto* step) {
    return sqlite3_create_function_v2(database, std::string(name).c_str(), 3, kFlags, nullptr, nullptr, step, finish,
                                      nullptr);
  };
  int code = sqlite3_create_collation_v2(database, std::string(kDecimalCollation).c_str(), SQLITE_UTF8, nullptr,
                                         compare_decimal_texts, nullptr);
  if (code == SQLITE_OK) code = add_function(kLikeFunction, 2, like);
  if (code == SQLITE_OK) code = add_function(kShortestFunction, 1, shortest);
  if (code == SQLITE_OK) code = add_aggregate(kSumFunction, add<FoldSpec::Kind::sum>);
  if (code == SQLITE_OK) code = add_aggregate(kAverageFunction, add<FoldSpec::Kind::average>);
  return code;
}

}  // namespace nizhal::sqlite
