// Prepared statements: parameters in, columns out, and values as they are stored.
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/bytes.hpp"
#include "base/decimal.hpp"
#include "base/ids.hpp"
#include "base/json.hpp"
#include "sqlite/connection.hpp"
#include "sqlite/error.hpp"

namespace nizhal::sqlite {

namespace {

template <class Number>
std::optional<Number> whole_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_digit(char character) { return character >= '0' && character <= '9'; }

bool is_date(std::string_view text) {
  return text.size() == 10 && parse_iso8601(std::string(text) + "T00:00:00Z").has_value();
}

/// The forms that SQLite's own functions, Postgres and most languages write: the date alone, no seconds, `z`, `t`,
/// offsets as `+02` or `+0200`.
std::optional<Timestamp> read_timestamp(std::string_view stored) {
  if (auto time = parse_iso8601(stored)) return time;
  if (is_date(stored)) return parse_iso8601(std::string(stored) + "T00:00:00Z");
  std::string text(stored);
  if (text.size() < 16) return std::nullopt;
  if (text[10] == 't') text[10] = 'T';
  if (text.back() == 'z') text.back() = 'Z';
  if (text.size() == 16 || !(text[16] == ':')) text.insert(16, ":00");
  const std::size_t sign = text.find_first_of("+-", 16);
  if (sign != std::string::npos) {
    const std::size_t size = text.size() - sign;
    if (size == 3) text += ":00";
    if (size == 5 && is_digit(text[sign + 3])) text.insert(sign + 3, 1, ':');
  }
  return parse_iso8601(text);
}

std::optional<bool> read_boolean(std::string_view text) {
  std::string lower(text);
  for (char& character : lower)
    if (character >= 'A' && character <= 'Z') character = static_cast<char>(character - 'A' + 'a');
  if (lower == "true" || lower == "t" || lower == "1" || lower == "yes" || lower == "on") return true;
  if (lower == "false" || lower == "f" || lower == "0" || lower == "no" || lower == "off") return false;
  return std::nullopt;
}

std::optional<std::int64_t> whole_double(double number) {
  constexpr double kTwoTo63 = 9223372036854775808.0;
  if (!(number >= -kTwoTo63 && number < kTwoTo63) || std::trunc(number) != number) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::string lower_hex(std::string_view text) {
  std::string lower(text);
  for (char& character : lower)
    if (character >= 'A' && character <= 'F') character = static_cast<char>(character - 'A' + 'a');
  return lower;
}

std::string shortest(double number) {
  std::string text;
  append_json_number(text, number);
  return text;
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      statement_(std::exchange(other.statement_, nullptr)),
      home_(other.home_),
      failed_parameter_(other.failed_parameter_),
      bind_error_(other.bind_error_) {}

Statement::~Statement() {
  if (statement_) Connection::give_back(statement_, *home_);
}

void Statement::note_bind(int index, int code) {
  if (code == SQLITE_OK) {
    if (index == failed_parameter_) bind_error_ = SQLITE_OK;
  } else if (bind_error_ == SQLITE_OK) {
    failed_parameter_ = index;
    bind_error_ = code;
  }
}

Statement& Statement::bind_null(int index) {
  note_bind(index, sqlite3_bind_null(statement_, index));
  return *this;
}

Statement& Statement::bind(int index, std::int64_t value) {
  note_bind(index, sqlite3_bind_int64(statement_, index, value));
  return *this;
}

Statement& Statement::bind(int index, double value) {
  note_bind(index, sqlite3_bind_double(statement_, index, value));
  return *this;
}

Statement& Statement::bind_text(int index, std::string_view text) {
  // A null pointer would bind NULL; an empty view may have one.
  const char* data = text.data() ? text.data() : "";
  note_bind(index, sqlite3_bind_text64(statement_, index, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_blob(int index, const Blob& blob) {
  const void* data = blob.bytes.empty() ? static_cast<const void*>("") : blob.bytes.data();
  note_bind(index, sqlite3_bind_blob64(statement_, index, data, blob.bytes.size(), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind_value(int index, ColumnType type, const Value& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) return bind(index, std::int64_t{*boolean});
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    if (type == ColumnType::timestamp) return bind_text(index, to_iso8601(Timestamp{*integer}));
    if (type == ColumnType::real) return bind(index, static_cast<double>(*integer));
    if (type == ColumnType::numeric) return bind_text(index, std::to_string(*integer));
    return bind(index, *integer);
  }
  if (const auto* number = std::get_if<double>(&value)) return bind(index, *number);
  if (const auto* text = std::get_if<std::string>(&value)) return bind_text(index, *text);
  if (const auto* blob = std::get_if<Blob>(&value)) return bind_blob(index, *blob);
  return bind_null(index);
}

Statement& Statement::bind_borrowed(int index, ColumnType type, const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    note_bind(index, sqlite3_bind_text64(statement_, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8));
    return *this;
  }
  return bind_value(index, type, value);
}

Result<bool> Statement::step() {
  if (bind_error_ != SQLITE_OK) {
    return tl::unexpected(make_error(bind_error_, fmt::format("binding parameter {} of a statement", failed_parameter_),
                                     sqlite3_errstr(bind_error_)));
  }
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return tl::unexpected(connection_->last_error("running a statement"));
}

Result<void> Statement::run() {
  for (;;) {
    const auto row = step();
    if (row && *row) continue;
    reset();
    if (!row) return tl::unexpected(row.error());
    return {};
  }
}

void Statement::reset() { sqlite3_reset(statement_); }

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

double Statement::real(int column) const { return sqlite3_column_double(statement_, column); }

std::string_view Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (!data) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Blob Statement::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return data ? Blob{{data, data + size}} : Blob{};
}

int Statement::column_count() const { return sqlite3_column_count(statement_); }

std::string Statement::column_name(int column) const {
  const char* name = sqlite3_column_name(statement_, column);
  return name ? name : "";
}

Value Statement::value(int column, ColumnType type) const {
  const int stored = sqlite3_column_type(statement_, column);
  if (stored == SQLITE_NULL) return {};
  switch (type) {
    case ColumnType::text: {
      const auto characters = text(column);
      return characters.find('\0') == std::string_view::npos ? Value(to_utf8(characters)) : Value();
    }
    case ColumnType::uuid: {
      const auto uuid = text(column);
      return is_uuid(uuid) ? Value(lower_hex(uuid)) : Value();
    }
    case ColumnType::integer:
    case ColumnType::bigint: {
      std::optional<std::int64_t> number;
      if (stored == SQLITE_INTEGER) number = integer(column);
      if (stored == SQLITE_FLOAT) number = whole_double(real(column));
      if (stored == SQLITE_TEXT) number = whole_number<std::int64_t>(text(column));
      using Narrow = std::numeric_limits<std::int32_t>;
      if (!number || (type == ColumnType::integer && (*number < Narrow::min() || *number > Narrow::max()))) return {};
      return *number;
    }
    case ColumnType::real: {
      if (stored == SQLITE_INTEGER || stored == SQLITE_FLOAT) return real(column);
      const auto number = whole_number<double>(text(column));
      return number && !std::isnan(*number) ? Value(*number) : Value();
    }
    case ColumnType::boolean: {
      if (stored == SQLITE_INTEGER) return integer(column) != 0;
      const auto boolean = read_boolean(text(column));
      return boolean ? Value(*boolean) : Value();
    }
    case ColumnType::numeric: {
      auto decimal = canonical_decimal(stored == SQLITE_FLOAT ? shortest(real(column)) : std::string(text(column)));
      return decimal && decimal->size() <= kDecimalBytesMax ? Value(std::move(*decimal)) : Value();
    }
    case ColumnType::timestamp: {
      const auto time = read_timestamp(text(column));
      return time ? Value(time->microseconds) : Value();
    }
    case ColumnType::date: {
      const auto date = text(column).substr(0, 10);
      return is_date(date) ? Value(std::string(date)) : Value();
    }
    case ColumnType::json: {
      const auto document = text(column);
      return is_json(document, kJsonValueDepthMax) ? Value(std::string(document)) : Value();
    }
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return blob(column);
  }
  return {};
}

}  // namespace nizhal::sqlite
