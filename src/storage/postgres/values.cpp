#include "storage/postgres/values.hpp"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/bytes.hpp"
#include "base/decimal.hpp"
#include "base/ids.hpp"
#include "base/json.hpp"
#include "domain/value_json.hpp"
#include "query/to_sql.hpp"

namespace nizhal::storage {
namespace {

// See postgres_time_text().
constexpr std::string_view kBeforeChrist = " BC";
constexpr std::string_view kUtc = "+00";

bool is_digit(char character) { return character >= '0' && character <= '9'; }

template <class Number>
std::optional<Number> whole_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::int64_t> integer_of(ColumnType type, std::string_view text) {
  using Narrow = std::numeric_limits<std::int32_t>;
  const auto number = whole_number<std::int64_t>(text);
  if (!number || (type == ColumnType::integer && (*number < Narrow::min() || *number > Narrow::max())))
    return std::nullopt;
  return number;
}

std::optional<double> real_of(std::string_view text) {
  const auto number = whole_number<double>(text);
  if (!number || !std::isfinite(*number)) return std::nullopt;
  return number;
}

std::optional<std::string> decimal_of(std::string_view text) {
  if (text.size() > kDecimalBytesMax) return std::nullopt;
  auto decimal = canonical_decimal(text);
  if (decimal && decimal->size() > kDecimalBytesMax) return std::nullopt;
  return decimal;
}

/// `2026-01-02 03:04:05+00` with up to 6 digits of a fraction, as sessions in UTC are told almost every time there is.
bool is_plain_time(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-dd dd:dd:dd";
  if (text.size() < kShape.size() + kUtc.size() || !text.ends_with(kUtc)) return false;
  for (std::size_t i = 0; i < kShape.size(); ++i)
    if (kShape[i] == 'd' ? !is_digit(text[i]) : text[i] != kShape[i]) return false;
  const std::string_view fraction = text.substr(kShape.size(), text.size() - kShape.size() - kUtc.size());
  if (fraction.empty()) return true;
  if (fraction.size() < 2 || fraction.size() > 7 || fraction[0] != '.') return false;
  for (const char character : fraction.substr(1))
    if (!is_digit(character)) return false;
  return true;
}

/// Also the year 0000, and offsets as other time zones have them.
std::optional<Timestamp> time_of(std::string_view stored) {
  std::string text(stored);
  if (stored.ends_with(kBeforeChrist)) {
    if (!stored.starts_with("0001-")) return std::nullopt;
    text = "0000" + std::string(stored.substr(4, stored.size() - 4 - kBeforeChrist.size()));
  }
  const std::size_t sign = text.find_first_of("+-", 11);
  if (sign != std::string::npos && text.size() - sign == 3) text += ":00";
  return parse_iso8601(text);
}

bool is_date_shaped(std::string_view text) {
  return text.size() == 10 && text[4] == '-' && text[7] == '-' && is_digit(text[0]);
}

std::optional<std::string> date_of(std::string_view stored) {
  if (is_date_shaped(stored)) return std::string(stored);
  if (!stored.ends_with(kBeforeChrist) || !stored.starts_with("0001-")) return std::nullopt;
  std::string text = "0000" + std::string(stored.substr(4, stored.size() - 4 - kBeforeChrist.size()));
  if (!is_date_shaped(text)) return std::nullopt;
  return text;
}

/// Writes JSON that PostgreSQL holds, and which is therefore well-formed, as to_text writes it: without white space and
/// each number in its shortest form. One pass, nothing is built.
class JsonCompactor {
 public:
  JsonCompactor(std::string& out, std::string_view text) : out_(out), text_(text) {}

  /// False: something that only the parser can judge, or that cannot be said.
  bool run() {
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const char character = text_[at_];
      switch (character) {
        case ' ':
        case '\t':
        case '\n':
        case '\r':
          ++at_;
          break;
        case '"':
          if (!copy_string()) return false;
          break;
        case '{':
        case '[':
          if (++depth > kJsonValueDepthMax) return false;
          out_ += character;
          ++at_;
          break;
        case '}':
        case ']':
          --depth;
          out_ += character;
          ++at_;
          break;
        case '-':
        case '0':
        case '1':
        case '2':
        case '3':
        case '4':
        case '5':
        case '6':
        case '7':
        case '8':
        case '9':
          if (!copy_number()) return false;
          break;
        default:  // comma, colon, true, false, null
          out_ += character;
          ++at_;
      }
    }
    return true;
  }

 private:
  /// A `json` column keeps its escapes as they were written; those that are not the shortest are the parser's.
  bool copy_string() {
    const std::size_t start = at_++;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\') {
        const char escaped = at_ + 1 < text_.size() ? text_[at_ + 1] : 'u';
        if (escaped == '/') return false;
        if (escaped == 'u' && !is_control_escape()) return false;
        ++at_;
      }
      ++at_;
    }
    if (at_ >= text_.size()) return false;
    ++at_;
    out_.append(text_.substr(start, at_ - start));
    return true;
  }

  /// `\u0001`, in lower case and without a short form of its own.
  bool is_control_escape() const {
    const std::string_view escape = text_.substr(at_, 6);
    if (escape.size() < 6 || escape.substr(2, 2) != "00") return false;
    if (escape[4] != '0' && escape[4] != '1') return false;
    if (!is_digit(escape[5]) && !(escape[5] >= 'a' && escape[5] <= 'f')) return false;
    return escape[4] == '1' || std::string_view("089acd").find(escape[5]) == std::string_view::npos;
  }

  bool copy_number() {
    const std::size_t start = at_;
    bool whole = true;
    for (; at_ < text_.size(); ++at_) {
      const char character = text_[at_];
      if (is_digit(character) || character == '-' || character == '+') continue;
      if (character != '.' && character != 'e' && character != 'E') break;
      whole = false;
    }
    const std::string_view number = text_.substr(start, at_ - start);
    if (whole) {
      if (number.size() > 18 || number == "-0") return false;
      out_.append(number);
      return true;
    }
    const auto real = real_of(number);
    if (!real) return false;
    append_json_number(out_, *real);
    return true;
  }

  std::string& out_;
  std::string_view text_;
  std::size_t at_ = 0;
};

/// Appends the document in its compact form; false, with nothing appended, when it cannot be said.
bool append_compact(std::string& out, std::string_view text) {
  const std::size_t size = out.size();
  if (is_utf8(text) && JsonCompactor(out, text).run()) return true;
  out.resize(size);
  if (!is_json(text, kJsonValueDepthMax)) return false;
  const auto parsed = parse_json(text);
  if (!parsed) return false;
  out += to_text(*parsed);
  return true;
}

std::optional<Blob> bytes_of(std::string_view text) {
  if (!text.starts_with("\\x") || text.size() % 2 != 0) return std::nullopt;
  text.remove_prefix(2);
  const auto digit = [](char character) {
    return is_digit(character) ? character - '0' : (character | 0x20) - 'a' + 10;
  };
  Blob blob;
  blob.bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2)
    blob.bytes.push_back(static_cast<std::uint8_t>(digit(text[i]) * 16 + digit(text[i + 1])));
  return blob;
}

std::string real_text(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  std::string text;
  append_json_number(text, number);
  return text;
}

}  // namespace

std::optional<std::string> parameter_text(ColumnType type, const Value& value) {
  if (const auto* boolean = std::get_if<bool>(&value)) return *boolean ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    if (type == ColumnType::timestamp) return postgres_time_text(to_iso8601(Timestamp{*integer}));
    return std::to_string(*integer);
  }
  if (const auto* number = std::get_if<double>(&value)) return real_text(*number);
  if (const auto* text = std::get_if<std::string>(&value))
    return type == ColumnType::date ? postgres_time_text(*text) : *text;
  if (const auto* blob = std::get_if<Blob>(&value)) return "\\x" + to_hex(blob->bytes);
  return std::nullopt;
}

std::string storable_text(std::string_view text) {
  if (text.find('\0') == std::string_view::npos) return to_utf8(text);
  std::string clean;
  for (const char character : text) {
    if (character == '\0')
      clean += "\xEF\xBF\xBD";
    else
      clean += character;
  }
  return to_utf8(clean);
}

Value value_from_text(ColumnType type, std::string_view text) {
  switch (type) {
    case ColumnType::text:
      return to_utf8(text);
    case ColumnType::uuid:
      return is_uuid(text) ? Value(std::string(text)) : Value();
    case ColumnType::integer:
    case ColumnType::bigint: {
      const auto number = integer_of(type, text);
      return number ? Value(*number) : Value();
    }
    case ColumnType::boolean:
      return text == "t";
    case ColumnType::real: {
      const auto number = real_of(text);
      return number ? Value(*number) : Value();
    }
    case ColumnType::numeric: {
      auto decimal = decimal_of(text);
      return decimal ? Value(*std::move(decimal)) : Value();
    }
    case ColumnType::timestamp: {
      const auto time = time_of(text);
      return time ? Value(time->microseconds) : Value();
    }
    case ColumnType::date: {
      auto date = date_of(text);
      return date ? Value(*std::move(date)) : Value();
    }
    case ColumnType::json: {
      std::string document;
      return append_compact(document, text) ? Value(std::move(document)) : Value();
    }
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map: {
      auto bytes = bytes_of(text);
      return bytes ? Value(*std::move(bytes)) : Value();
    }
  }
  return {};
}

std::string bytes_from_text(std::string_view text) {
  const auto blob = bytes_of(text);
  return blob ? std::string(blob->bytes.begin(), blob->bytes.end()) : std::string();
}

std::string bytes_parameter(std::string_view bytes) { return "\\x" + to_hex(as_bytes(bytes)); }

void append_column_json(std::string& out, ColumnType type, std::string_view text) {
  // Those that come as they are to be sent; the others take the long way.
  switch (type) {
    case ColumnType::text:
      return append_json_string(out, text);
    case ColumnType::uuid:
      if (!is_uuid(text)) break;
      out.append(1, '"').append(text).append(1, '"');
      return;
    case ColumnType::integer:
    case ColumnType::bigint: {
      const auto number = integer_of(type, text);
      if (!number) break;
      const std::string_view quote = type == ColumnType::bigint ? "\"" : "";
      out.append(quote);
      append_json_number(out, *number);
      out.append(quote);
      return;
    }
    case ColumnType::boolean:
      out += text == "t" ? "true" : "false";
      return;
    case ColumnType::numeric:
      if (text.size() > kDecimalBytesMax || !is_canonical_decimal(text)) break;
      out.append(1, '"').append(text).append(1, '"');
      return;
    case ColumnType::timestamp: {
      if (!is_plain_time(text)) break;
      constexpr std::size_t kSecondsEnd = 19;
      std::string_view fraction = text.substr(kSecondsEnd, text.size() - kSecondsEnd - kUtc.size());
      if (!fraction.empty()) fraction.remove_prefix(1);
      out.append(1, '"').append(text.substr(0, 10)).append(1, 'T').append(text.substr(11, 8)).append(1, '.');
      out.append(fraction).append(6 - fraction.size(), '0').append("Z\"");
      return;
    }
    case ColumnType::json:
      if (!append_compact(out, text)) out += "null";
      return;
    default:
      break;
  }
  append_value_json(out, type, value_from_text(type, text));
}

}  // namespace nizhal::storage
