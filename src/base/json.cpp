// JSON in and out. Parsing goes through Boost.JSON's parser with a handler of our own, because the library's numbers
// are off by a unit in the last place now and then: a double must read back as it was written on every device.
#include "base/json.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <boost/json/basic_parser_impl.hpp>

#include "base/bytes.hpp"

namespace nizhal {

namespace {

json::parse_options strict_options(std::size_t depth_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  return options;
}

/// The correctly rounded double; false when it is too large for one. What is too small becomes zero.
bool read_double(std::string_view text, double rough, double& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc::result_out_of_range) {
    if (!(std::fabs(rough) < 1.0)) return false;
    out = text.starts_with('-') ? -0.0 : 0.0;
    return true;
  }
  return error == std::errc{} && end == text.data() + text.size();
}

/// Builds the value. The function names are those that basic_parser calls.
class ValueHandler {
 public:
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  using Text = json::string_view;
  explicit ValueHandler(json::storage_ptr storage) : storage_(std::move(storage)) {}
  bool on_document_begin(json::error_code&) {
    stack_.reset(storage_);
    return true;
  }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return true; }
  bool on_object_end(std::size_t size, json::error_code&) {
    stack_.push_object(size);
    return true;
  }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(std::size_t size, json::error_code&) {
    stack_.push_array(size);
    return true;
  }
  bool on_key_part(Text part, std::size_t, json::error_code&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_key(Text last, std::size_t, json::error_code&) {
    stack_.push_key(last);
    return true;
  }
  bool on_string_part(Text part, std::size_t, json::error_code&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_string(Text last, std::size_t, json::error_code&) {
    stack_.push_string(last);
    return true;
  }
  bool on_number_part(Text part, json::error_code&) {
    number_.append(part.data(), part.size());
    return true;
  }
  bool on_int64(std::int64_t number, Text, json::error_code&) {
    number_.clear();
    stack_.push_int64(number);
    return true;
  }
  bool on_uint64(std::uint64_t number, Text, json::error_code&) {
    number_.clear();
    stack_.push_uint64(number);
    return true;
  }
  bool on_double(double rough, Text last, json::error_code& error) {
    number_.append(last.data(), last.size());
    double number = 0;
    const bool fits = read_double(number_, rough, number);
    number_.clear();
    if (!fits) {
      error = json::error::exponent_overflow;
      return false;
    }
    stack_.push_double(number);
    return true;
  }
  bool on_bool(bool value, json::error_code&) {
    stack_.push_bool(value);
    return true;
  }
  bool on_null(json::error_code&) {
    stack_.push_null();
    return true;
  }
  bool on_comment_part(Text, json::error_code&) { return true; }
  bool on_comment(Text, json::error_code&) { return true; }

  json::value release() { return stack_.release(); }

 private:
  json::storage_ptr storage_;
  json::value_stack stack_;
  std::string number_;
};

/// Checks only.
class NullHandler {
 public:
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  using Text = json::string_view;
  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return true; }
  bool on_object_end(std::size_t, json::error_code&) { return true; }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(std::size_t, json::error_code&) { return true; }
  bool on_key_part(Text, std::size_t, json::error_code&) { return true; }
  bool on_key(Text, std::size_t, json::error_code&) { return true; }
  bool on_string_part(Text, std::size_t, json::error_code&) { return true; }
  bool on_string(Text, std::size_t, json::error_code&) { return true; }
  bool on_number_part(Text part, json::error_code&) {
    number_.append(part.data(), part.size());
    return true;
  }
  bool on_int64(std::int64_t, Text, json::error_code&) {
    number_.clear();
    return true;
  }
  bool on_uint64(std::uint64_t, Text, json::error_code&) {
    number_.clear();
    return true;
  }
  bool on_double(double rough, Text last, json::error_code& error) {
    number_.append(last.data(), last.size());
    double number = 0;
    const bool fits = read_double(number_, rough, number);
    number_.clear();
    if (!fits) error = json::error::exponent_overflow;
    return fits;
  }
  bool on_bool(bool, json::error_code&) { return true; }
  bool on_null(json::error_code&) { return true; }
  bool on_comment_part(Text, json::error_code&) { return true; }
  bool on_comment(Text, json::error_code&) { return true; }

 private:
  std::string number_;
};

/// Runs the parser over the whole text; the number of bytes consumed when it stopped.
template <class Handler>
std::size_t run_parser(json::basic_parser<Handler>& parser, std::string_view text, json::error_code& error) {
  const std::size_t consumed = parser.write_some(false, text.data(), text.size(), error);
  if (!error && consumed < text.size()) error = json::error::extra_data;
  return consumed;
}

template <class Number>
void append_number(std::string& out, Number number) {
  std::array<char, 40> buffer;  // the longest double takes 24
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  out.append(buffer.data(), end);
}

void append_value(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      out += "null";
      break;
    case json::kind::bool_:
      out += *value.if_bool() ? "true" : "false";
      break;
    case json::kind::int64:
      append_json_number(out, *value.if_int64());
      break;
    case json::kind::uint64:
      append_number(out, *value.if_uint64());
      break;
    case json::kind::double_:
      append_json_number(out, *value.if_double());
      break;
    case json::kind::string: {
      const auto& text = *value.if_string();
      append_json_string(out, {text.data(), text.size()});
      break;
    }
    case json::kind::array: {
      out += '[';
      bool first = true;
      for (const auto& item : *value.if_array()) {
        if (!first) out += ',';
        first = false;
        append_value(out, item);
      }
      out += ']';
      break;
    }
    case json::kind::object: {
      out += '{';
      bool first = true;
      for (const auto& member : *value.if_object()) {
        if (!first) out += ',';
        first = false;
        append_json_string(out, {member.key().data(), member.key().size()});
        out += ':';
        append_value(out, member.value());
      }
      out += '}';
      break;
    }
  }
}

void append_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char character : text) {
    switch (character) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default: {
        const auto byte = static_cast<unsigned char>(character);
        if (byte < 0x20) {
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 0x0fU];
        } else {
          out += character;
        }
      }
    }
  }
}

}  // namespace

Result<json::value> parse_json(std::string_view text) { return parse_json(text, {}); }

Result<json::value> parse_json(std::string_view text, json::storage_ptr storage) {
  json::basic_parser<ValueHandler> parser(strict_options(kJsonDepthMax), std::move(storage));
  json::error_code error;
  const std::size_t consumed = run_parser(parser, text, error);
  if (error)
    return failure(ErrorCode::bad_request, fmt::format("invalid JSON at byte {}: {}", consumed, error.message()));
  return parser.handler().release();
}

bool is_json(std::string_view text, std::size_t depth_max) {
  json::basic_parser<NullHandler> parser(strict_options(depth_max));
  json::error_code error;
  run_parser(parser, text, error);
  return !error;
}

std::string to_text(const json::value& value) {
  std::string text;
  append_value(text, value);
  return text;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  if (is_utf8(text)) {
    append_escaped(out, text);
  } else {
    append_escaped(out, to_utf8(text));
  }
  out += '"';
}

void append_json_number(std::string& out, std::int64_t number) { append_number(out, number); }

void append_json_number(std::string& out, double number) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  if (number == 0.0 && std::signbit(number)) {
    out += "-0.0";  // "-0" reads back as the integer 0
    return;
  }
  append_number(out, number);
}

const json::value* member(const json::value& value, std::string_view name) {
  const auto* object = value.if_object();
  return object ? object->if_contains(name) : nullptr;
}

std::optional<std::string_view> string_member(const json::value& value, std::string_view name) {
  const auto* found = member(value, name);
  const auto* text = found ? found->if_string() : nullptr;
  if (!text) return std::nullopt;
  return std::string_view(text->data(), text->size());
}

std::optional<std::int64_t> as_integer(const json::value& value) {
  if (const auto* integer = value.if_int64()) return *integer;
  if (const auto* number = value.if_double()) {
    constexpr double kTwoTo63 = 9223372036854775808.0;
    if (*number >= -kTwoTo63 && *number < kTwoTo63 && std::trunc(*number) == *number)
      return static_cast<std::int64_t>(*number);
  }
  return std::nullopt;  // an unsigned number is kept as such only above the signed range
}

}  // namespace nizhal
