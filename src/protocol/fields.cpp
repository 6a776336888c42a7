#include "protocol/fields.hpp"

#include <fmt/format.h>

#include <utility>

namespace nizhal::protocol {

namespace {

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

bool has_control_character(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return true;
  }
  return false;
}

std::string describe(const TextBounds& bounds) {
  const bool bounded = bounds.bytes_max != static_cast<std::size_t>(-1);
  std::string what = "must be a string";
  if (bounds.bytes_min > 0 && bounded)
    what += fmt::format(" of {} to {} bytes", bounds.bytes_min, bounds.bytes_max);
  else if (bounded)
    what += fmt::format(" of at most {} bytes", bounds.bytes_max);
  else if (bounds.bytes_min > 0)
    what = "must be a non-empty string";
  if (!bounds.control_characters) what += " without control characters";
  return what;
}

bool fits(std::string_view text, const TextBounds& bounds) {
  return text.size() >= bounds.bytes_min && text.size() <= bounds.bytes_max &&
         (bounds.control_characters || !has_control_character(text));
}

std::string describe_integer(std::int64_t least, std::int64_t most) {
  if (most == INT64_MAX) return fmt::format("must be an integer ≥ {}", least);
  return fmt::format("must be an integer ≥ {} and ≤ {}", least, most);
}

}  // namespace

std::string FieldPlace::text() const { return array.empty() ? std::string() : fmt::format("{}[{}].", array, index); }

const json::value* FieldReader::find(std::string_view name) const {
  const json::value* value = object_.if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

const json::value* FieldReader::require(std::string_view name, std::string_view expected) {
  const json::value* value = find(name);
  if (value == nullptr) refuse(name, expected);
  return value;
}

bool FieldReader::text(std::string_view name, std::string& out, const TextBounds& bounds) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  const json::string* text = value->if_string();
  if (text == nullptr || !fits(view(*text), bounds)) {
    refuse(name, describe(bounds));
    return false;
  }
  out.assign(text->data(), text->size());
  return true;
}

bool FieldReader::text(std::string_view name, std::optional<std::string>& out, const TextBounds& bounds) {
  std::string read;
  if (!text(name, read, bounds)) return false;
  out = std::move(read);
  return true;
}

bool FieldReader::required_text(std::string_view name, std::string& out, const TextBounds& bounds) {
  if (text(name, out, bounds)) return true;
  if (find(name) == nullptr) refuse(name, describe(bounds));
  return false;
}

bool FieldReader::boolean(std::string_view name, bool& out) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  const bool* read = value->if_bool();
  if (read == nullptr) {
    refuse(name, "must be true or false");
    return false;
  }
  out = *read;
  return true;
}

bool FieldReader::required_boolean(std::string_view name, bool& out) {
  if (boolean(name, out)) return true;
  refuse(name, "must be true or false");
  return false;
}

bool FieldReader::integer(std::string_view name, std::optional<std::int64_t>& out, std::int64_t least,
                          std::int64_t most) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  const std::optional<std::int64_t> read = as_integer(*value);
  if (!read || *read < least || *read > most) {
    refuse(name, describe_integer(least, most));
    return false;
  }
  out = *read;
  return true;
}

bool FieldReader::texts(std::string_view name, std::vector<std::string>& out) {
  const json::value* value = find(name);
  if (value == nullptr) return false;
  const json::array* array = value->if_array();
  if (array == nullptr) {
    refuse(name, "must be an array of strings");
    return false;
  }
  std::vector<std::string> read;
  read.reserve(array->size());
  for (const json::value& element : *array) {
    const json::string* text = element.if_string();
    if (text == nullptr) {
      refuse(name, "must be an array of strings");
      return false;
    }
    read.emplace_back(text->data(), text->size());
  }
  out = std::move(read);
  return true;
}

bool FieldReader::texts(std::string_view name, std::optional<std::vector<std::string>>& out) {
  std::vector<std::string> read;
  if (!texts(name, read)) return false;
  out = std::move(read);
  return true;
}

bool FieldReader::required_texts(std::string_view name, std::vector<std::string>& out) {
  if (texts(name, out)) return true;
  refuse(name, "must be an array of strings");
  return false;
}

const json::array* FieldReader::array(std::string_view name) {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  const json::array* array = value->if_array();
  if (array == nullptr) refuse(name, "must be an array");
  return array;
}

const json::array* FieldReader::required_array(std::string_view name) {
  const json::array* read = array(name);
  if (read == nullptr) refuse(name, "must be an array");
  return read;
}

const json::object* FieldReader::object(std::string_view name) {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  const json::object* object = value->if_object();
  if (object == nullptr) refuse(name, "must be an object");
  return object;
}

void FieldReader::refuse(std::string_view name, std::string_view what) {
  if (error_) return;
  error_ = Error{ErrorCode::bad_request, fmt::format("{}{} {}", place_.text(), name, what)};
}

Result<json::value> parse_object(std::string_view text, std::string_view what, json::storage_ptr storage) {
  Result<json::value> parsed = parse_json(text, std::move(storage));
  if (!parsed) return failure(ErrorCode::bad_request, fmt::format("{} is not JSON: {}", what, parsed.error().message));
  if (!parsed->is_object()) return failure(ErrorCode::bad_request, fmt::format("{} must be a JSON object", what));
  return parsed;
}

}  // namespace nizhal::protocol
