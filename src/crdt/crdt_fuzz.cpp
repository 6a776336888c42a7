// libFuzzer entry: whatever the bytes, decoding, applying, merging and writing end; what decodes can be written and
// read again; and merged into a column they are refused or give a state that merges on. The first byte says where the
// input is cut into two updates; built by tools/fuzz_crdt.sh.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include <nizhal/crdt.hpp>

#include "crdt/column.hpp"

namespace {

using namespace nizhal::crdt;

// One is the state and the other what is written into it.
void merge_as_column(nizhal::ColumnType type, const Bytes& state, const Bytes& update) {
  const MergeLimits limits{.update_bytes_max = 4'000, .state_bytes_max = 8'000, .steps_max = 100'000};
  const auto merged = merge_column(type, "t", state, update, limits);
  if (!merged) return;
  if (merged->state.size() > limits.state_bytes_max || !check_update(merged->update)) std::abort();
  if (!merged->is_changed && merged->update != kEmptyUpdate) std::abort();
  // Nobody counts steps or bytes here, so nothing may be refused, and it is there already.
  const auto again = merge_column(type, "t", merged->state, merged->update, {.steps_max = 0});
  if (!again) std::abort();
  const auto same = merge_column(type, "t", state, update, limits);
  if (!same || same->state != merged->state || same->update != merged->update) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
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
  merge_as_column(nizhal::ColumnType::crdt_text, first, second);
  merge_as_column(nizhal::ColumnType::crdt_map, {}, first);
  if (const auto position = decode_relative_position(second)) (void)absolute_position(document, *position);
  return 0;
}
