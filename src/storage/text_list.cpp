#include "storage/text_list.hpp"

#include "base/json.hpp"

namespace nizhal::storage {

std::string texts_to_json(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ',';
    append_json_string(out, text);
  }
  return out + "]";
}

std::vector<std::string> texts_from_json(std::string_view text) {
  std::vector<std::string> texts;
  const auto value = parse_json(text);
  if (!value) return texts;
  if (const json::array* array = value->if_array())
    for (const json::value& element : *array)
      if (const auto* string = element.if_string()) texts.emplace_back(string->data(), string->size());
  return texts;
}

}  // namespace nizhal::storage
