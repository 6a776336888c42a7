// libFuzzer entry: whatever the bytes, decoding, applying, merging and writing end; what decodes can be written and
// read again. The first byte says where the input is cut into two updates; built by tools/fuzz_crdt.sh.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <nizhal/crdt.hpp>

#include "crdt/updates.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nizhal::crdt;
  if (size == 0) return 0;
  const std::size_t cut = 1 + data[0] * (size - 1) / 255;
  const Bytes first(data + 1, data + cut), second(data + cut, data + size);
  Document document(1);
  Text text = document.text("t");
  bool all = true;
  for (const Bytes& update : {first, second}) {
    const bool is_update = check_update(update).has_value();
    if (document.apply_update(update).has_value() != is_update) std::abort();
    all = all && is_update;
  }
  const Bytes state = document.encode_state_as_update();
  Document copy(2);
  if (!copy.apply_update(state)) std::abort();
  // What waits may contradict what is there, under the same id; written together, one of the two is cut.
  if (!document.has_pending() &&
      (copy.text("t").to_string() != text.to_string() || copy.encode_state_vector() != document.encode_state_vector()))
    std::abort();

  if (text.length() > 1 && text.length() < 1'000'000) {
    (void)text.insert(text.length() / 2, "x");  // refused within a surrogate pair; so below
    (void)text.remove(1, 1);
    if (!text.insert(text.length(), "y") || !text.format(text.length() - 1, 1, {{"b", "1"}})) std::abort();
    (void)text.to_delta_json();
  }
  (void)document.map("m").to_json();
  (void)document.encode_state_as_update();

  const std::vector<Bytes> both{first, second};
  const auto merged = merge_updates(both);
  if (merged.has_value() != all) std::abort();
  if (merged && (!check_update(*merged) || !state_vector_of_update(*merged))) std::abort();
  (void)diff_update(first, second);
  if (const auto position = decode_relative_position(second)) (void)absolute_position(document, *position);
  return 0;
}
