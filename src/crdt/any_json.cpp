// JSON in and out of values. Reading is our own and not the JSON library's because JavaScript takes more: numbers of
// any size and escaped halves of surrogate pairs, which an editor may have stored.
#include <charconv>
#include <cmath>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "crdt/any.hpp"

namespace nizhal::crdt {
namespace {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}
  bool document(Any* out) {
    if (!value(out, 0)) return false;
    space();
    return at_ == text_.size();
  }

 private:
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view name, Any* out, Any meaning) {
    if (text_.substr(at_, name.size()) != name) return false;
    at_ += name.size();
    if (out) *out = std::move(meaning);
    return true;
  }
  bool value(Any* out, std::size_t depth) {
    space();
    if (at_ >= text_.size() || depth > kAnyDepthMax) return false;
    switch (text_[at_]) {
      case 'n':
        return word("null", out, nullptr);
      case 't':
        return word("true", out, true);
      case 'f':
        return word("false", out, false);
      case '"': {
        std::string text;
        if (!string(out ? &text : nullptr)) return false;
        if (out) out->value = std::move(text);
        return true;
      }
      case '[':
        return list(out, depth);
      case '{':
        return object(out, depth);
      default:
        return number(out);
    }
  }
  bool list(Any* out, std::size_t depth) {
    ++at_;
    AnyList elements;
    if (!take(']')) {
      do {
        Any element;
        if (!value(out ? &element : nullptr, depth + 1)) return false;
        if (out) elements.push_back(std::move(element));
      } while (take(','));
      if (!take(']')) return false;
    }
    if (out) out->value = std::move(elements);
    return true;
  }
  bool object(Any* out, std::size_t depth) {
    ++at_;
    AnyObject members;
    if (!take('}')) {
      do {
        space();
        std::string key;
        Any member;
        if (at_ >= text_.size() || text_[at_] != '"' || !string(out ? &key : nullptr) || !take(':') ||
            !value(out ? &member : nullptr, depth + 1))
          return false;
        if (out) members.emplace_back(std::move(key), std::move(member));
      } while (take(','));
      if (!take('}')) return false;
    }
    if (out) out->value = std::move(members);
    return true;
  }
  std::size_t skip_digits() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ - begin;
  }
  bool number(Any* out) {
    const std::size_t begin = at_;
    if (text_[at_] == '-') ++at_;
    const std::size_t whole = at_;
    const std::size_t count = skip_digits();
    if (count == 0 || (count > 1 && text_[whole] == '0')) return false;
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (skip_digits() == 0) return false;
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (skip_digits() == 0) return false;
    }
    if (!out) return true;
    const std::string_view digits = text_.substr(begin, at_ - begin);
    double read = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), read).ec == std::errc::result_out_of_range) {
      const bool is_tiny = digits.find("e-") != std::string_view::npos || digits.find("E-") != std::string_view::npos;
      read = is_tiny ? 0 : digits[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    }
    out->value = read;
    return true;
  }
  bool hex4(unsigned& unit) {
    if (text_.size() - at_ < 4) return false;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, begin + 4, unit, 16);
    at_ += 4;
    return error == std::errc() && end == begin + 4;
  }
  static void append_code_point(std::string& out, unsigned code) {
    const auto add = [&](unsigned byte) { out += static_cast<char>(byte); };
    if (code < 0x80) return add(code);
    if (code < 0x800) {
      add(0xC0 | code >> 6);
      return add(0x80 | (code & 63));
    }
    if (code < 0x10000) {
      add(0xE0 | code >> 12);
      add(0x80 | (code >> 6 & 63));
      return add(0x80 | (code & 63));
    }
    add(0xF0 | code >> 18);
    add(0x80 | (code >> 12 & 63));
    add(0x80 | (code >> 6 & 63));
    add(0x80 | (code & 63));
  }
  bool escape(std::string* out) {
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (const std::size_t letter = kLetters.find(c); letter != std::string_view::npos) {
      if (out) *out += kMeanings[letter];
      return true;
    }
    unsigned unit = 0;
    if (c != 'u' || !hex4(unit)) return false;
    if (unit >= 0xD800 && unit < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      const std::size_t before = at_;
      at_ += 2;
      unsigned low = 0;
      if (!hex4(low)) return false;
      if (low >= 0xDC00 && low < 0xE000)
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
      else
        at_ = before;
    }
    // A half pair is no character; UTF-8 has none for it.
    if (unit >= 0xD800 && unit < 0xE000) unit = 0xFFFD;
    if (out) append_code_point(*out, unit);
    return true;
  }
  bool string(std::string* out) {
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        if (out) *out += c;
      } else if (!escape(out)) {
        return false;
      }
    }
    return false;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::string to_json(const Any& any) {
  std::string out;
  append_json(out, any);
  return out;
}

std::optional<Any> any_from_json(std::string_view json) {
  Any any;
  if (!is_utf8(json) || !JsonReader(json).document(&any)) return std::nullopt;
  return any;
}

bool is_json_value(std::string_view json) {
  return json == "true" || json == "null" || json == "false" || (is_utf8(json) && JsonReader(json).document(nullptr));
}

void append_json(std::string& out, const Any& any) {
  if (const auto* flag = std::get_if<bool>(&any.value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* number = std::get_if<double>(&any.value)) {
    constexpr double kExact = 9007199254740992;
    if (std::trunc(*number) == *number && std::fabs(*number) <= kExact)
      append_json_number(out, static_cast<std::int64_t>(*number));
    else
      append_json_number(out, *number);
  } else if (const auto* big = std::get_if<std::int64_t>(&any.value)) {
    append_json_string(out, std::to_string(*big));
  } else if (const auto* text = std::get_if<std::string>(&any.value)) {
    append_json_string(out, *text);
  } else if (const auto* bytes = std::get_if<Bytes>(&any.value)) {
    append_json_string(out, to_base64(*bytes));
  } else if (const auto* list = std::get_if<AnyList>(&any.value)) {
    out += '[';
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += ',';
      append_json(out, (*list)[i]);
    }
    out += ']';
  } else if (const auto* object = std::get_if<AnyObject>(&any.value)) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *object) {
      if (std::holds_alternative<Undefined>(member.value)) continue;
      if (!first) out += ',';
      first = false;
      append_json_string(out, key);
      out += ':';
      append_json(out, member);
    }
    out += '}';
  } else {
    out += "null";
  }
}

}  // namespace nizhal::crdt
