#include "crdt/any.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/bytes.hpp"

namespace nizhal::crdt {
namespace {

enum Kind : std::uint8_t {
  kBytes = 116,
  kList = 117,
  kObject = 118,
  kString = 119,
  kTrue = 120,
  kFalse = 121,
  kBigInteger = 122,
  kDouble = 123,
  kFloat = 124,
  kInteger = 125,
  kNull = 126,
  kUndefined = 127
};

// JavaScript's keys that are array indexes come first, by number; the others as they came.
std::optional<std::uint32_t> array_index(const std::string& key) {
  if (key.empty() || key.size() > 10 || (key[0] == '0' && key.size() > 1)) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : key) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (number >= 0xFFFFFFFFu) return std::nullopt;
  return static_cast<std::uint32_t>(number);
}

std::vector<const std::pair<std::string, Any>*> in_javascript_order(const AnyObject& object) {
  std::vector<const std::pair<std::string, Any>*> ordered;
  ordered.reserve(object.size());
  for (const auto& entry : object) ordered.push_back(&entry);
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    const auto left = array_index(a->first), right = array_index(b->first);
    if (left && right) return *left < *right;
    return left.has_value() && !right.has_value();
  });
  return ordered;
}

void write_big_endian(Writer& out, std::uint64_t bits, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out.byte(static_cast<std::uint8_t>(bits >> shift));
}
std::uint64_t read_big_endian(Reader& in, int bytes) {
  std::uint64_t bits = 0;
  for (int i = 0; i < bytes; ++i) bits = bits << 8 | in.byte();
  return bits;
}

void write_number(Writer& out, double number) {
  constexpr double kIntegerMax = 2147483647;  // lib0 writes larger integers as floats
  if (std::trunc(number) == number && std::fabs(number) <= kIntegerMax) {
    out.byte(kInteger);
    out.var_int(static_cast<std::uint64_t>(std::fabs(number)), std::signbit(number));
  } else if (std::isfinite(number) ? static_cast<double>(static_cast<float>(number)) == number : std::isinf(number)) {
    out.byte(kFloat);
    write_big_endian(out, std::bit_cast<std::uint32_t>(static_cast<float>(number)), 4);
  } else {
    out.byte(kDouble);
    // One NaN, whatever its bits: JavaScript has no others.
    const std::uint64_t bits = std::isnan(number) ? 0x7FF8000000000000ULL : std::bit_cast<std::uint64_t>(number);
    write_big_endian(out, bits, 8);
  }
}

}  // namespace

bool Any::operator==(const Any& other) const { return value == other.value; }

bool write_any(Writer& out, const Any& any, std::size_t depth) {
  if (depth > kAnyDepthMax) return false;
  if (std::holds_alternative<Undefined>(any.value)) {
    out.byte(kUndefined);
  } else if (std::holds_alternative<std::nullptr_t>(any.value)) {
    out.byte(kNull);
  } else if (const auto* flag = std::get_if<bool>(&any.value)) {
    out.byte(*flag ? kTrue : kFalse);
  } else if (const auto* number = std::get_if<double>(&any.value)) {
    write_number(out, *number);
  } else if (const auto* big = std::get_if<std::int64_t>(&any.value)) {
    out.byte(kBigInteger);
    write_big_endian(out, static_cast<std::uint64_t>(*big), 8);
  } else if (const auto* text = std::get_if<std::string>(&any.value)) {
    if (!is_utf8(*text)) return false;
    out.byte(kString);
    out.var_string(*text);
  } else if (const auto* bytes = std::get_if<Bytes>(&any.value)) {
    out.byte(kBytes);
    out.var_uint(bytes->size());
    out.raw(*bytes);
  } else if (const auto* list = std::get_if<AnyList>(&any.value)) {
    out.byte(kList);
    out.var_uint(list->size());
    for (const Any& element : *list)
      if (!write_any(out, element, depth + 1)) return false;
  } else if (const auto* object = std::get_if<AnyObject>(&any.value)) {
    out.byte(kObject);
    out.var_uint(object->size());
    for (const auto* entry : in_javascript_order(*object)) {
      if (!is_utf8(entry->first)) return false;
      out.var_string(entry->first);
      if (!write_any(out, entry->second, depth + 1)) return false;
    }
  }
  return true;
}

Any read_any(Reader& in, std::size_t depth) {
  Any any;
  if (depth > kAnyDepthMax) {
    in.fail();
    return any;
  }
  switch (in.byte()) {
    case kUndefined:
      break;
    case kNull:
      any.value = nullptr;
      break;
    case kTrue:
      any.value = true;
      break;
    case kFalse:
      any.value = false;
      break;
    case kInteger: {
      bool negative = false;
      const auto magnitude = static_cast<double>(in.var_int(negative));
      any.value = negative ? -magnitude : magnitude;
      break;
    }
    case kFloat:
      any.value = double{std::bit_cast<float>(static_cast<std::uint32_t>(read_big_endian(in, 4)))};
      break;
    case kDouble:
      any.value = std::bit_cast<double>(read_big_endian(in, 8));
      break;
    case kBigInteger:
      any.value = static_cast<std::int64_t>(read_big_endian(in, 8));
      break;
    case kString:
      any.value = std::string(in.var_string());
      break;
    case kBytes: {
      const std::string_view bytes = in.var_bytes();
      any.value = Bytes(bytes.begin(), bytes.end());
      break;
    }
    case kList: {
      AnyList list;
      const std::uint64_t count = in.var_uint();
      for (std::uint64_t i = 0; i < count && !in.failed(); ++i) list.push_back(read_any(in, depth + 1));
      any.value = std::move(list);
      break;
    }
    case kObject: {
      AnyObject object;
      const std::uint64_t count = in.var_uint();
      for (std::uint64_t i = 0; i < count && !in.failed(); ++i) {
        std::string key(in.var_string());
        object.emplace_back(std::move(key), read_any(in, depth + 1));
      }
      any.value = std::move(object);
      break;
    }
    default:
      in.fail();
  }
  return any;
}

void skip_any(Reader& in, std::size_t depth) {
  if (depth > kAnyDepthMax) {
    in.fail();
    return;
  }
  switch (in.byte()) {
    case kUndefined:
    case kNull:
    case kTrue:
    case kFalse:
      break;
    case kInteger: {
      bool negative = false;
      in.var_int(negative);
      break;
    }
    case kFloat:
      in.bytes(4);
      break;
    case kDouble:
    case kBigInteger:
      in.bytes(8);
      break;
    case kString:
      in.var_string();
      break;
    case kBytes:
      in.var_bytes();
      break;
    case kList: {
      const std::uint64_t count = in.var_uint();
      for (std::uint64_t i = 0; i < count && !in.failed(); ++i) skip_any(in, depth + 1);
      break;
    }
    case kObject: {
      const std::uint64_t count = in.var_uint();
      for (std::uint64_t i = 0; i < count && !in.failed(); ++i) {
        in.var_string();
        skip_any(in, depth + 1);
      }
      break;
    }
    default:
      in.fail();
  }
}

}  // namespace nizhal::crdt
