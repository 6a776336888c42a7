#include "workload/crdt_edits.hpp"

#include <fmt/format.h>

#include <algorithm>

#include <nizhal/crdt.hpp>

#include "workload/workload.hpp"

namespace nizhal::workload {
namespace {

constexpr std::size_t kKeys = 6;  // few, so that edits of one key meet

/// The length of a stretch that begins at `begin`. Its ends may be within a surrogate pair, which documents refuse.
std::uint64_t some_after(std::uint64_t begin, std::uint64_t end, Random& random) {
  return 1 + random.below(std::min<std::uint64_t>(end - begin, 12));
}

void edit_text(crdt::Text text, Random& random) {
  const std::uint64_t length = text.length();
  const std::uint64_t at = random.below(length + 1);
  // A position within a surrogate pair is refused; the beginning never is.
  const auto insert = [&](std::string_view inserted) {
    if (!text.insert(at, inserted)) (void)text.insert(0, inserted);
  };
  switch (length == 0 ? 0 : random.below(8)) {
    case 5:
    case 6:
      if (at < length && text.remove(at, some_after(at, length, random))) return;
      return insert("x");
    case 7:
      if (at < length &&
          text.format(at, some_after(at, length, random), {{"bold", random.below(2) == 0 ? "true" : "null"}}))
        return;
      return insert("y");
    case 4:
      return insert("\xF0\x9F\x99\x82 \xE0\xAE\xA8");
    default:
      return insert(mark(random) + " ");
  }
}

void edit_map(crdt::Map map, Random& random) {
  const std::string key = fmt::format("k{}", random.below(kKeys));
  switch (random.below(7)) {
    case 0:
      return map.remove(key);
    case 1:
      (void)map.set(key, crdt::Any(static_cast<double>(random.below(1'000))));
      return;
    case 2:
      (void)map.set(key, crdt::Any(random.below(2) == 0));
      return;
    case 3:
      (void)map.set(key, crdt::Any(crdt::AnyList{crdt::Any(mark(random)), crdt::Any(nullptr)}));
      return;
    case 4:
      if (auto nested = map.text(key) ? map.text(key) : std::optional<crdt::Text>()) return edit_text(*nested, random);
      if (auto nested = map.set_text(key)) (void)nested->insert(0, mark(random));
      return;
    default:
      (void)map.set(key, crdt::Any(mark(random)));
      return;
  }
}

}  // namespace

Result<Blob> draw_edit(const ColumnDef& column, const Value& state, Random& random) {
  const std::uint64_t client = 1 + random.below(0xFFFFFFFFU);
  const auto* blob = std::get_if<Blob>(&state);
  const crdt::Bytes bytes = blob && !blob->bytes.empty() ? blob->bytes : crdt::kEmptyUpdate;
  if (column.type == ColumnType::crdt_map) {
    auto editor = open_crdt(column.name, CrdtMap{bytes}, client);
    if (!editor) return tl::unexpected(std::move(editor.error()));
    edit_map(editor->map(), random);
    return editor->take_update();
  }
  auto editor = open_crdt(column.name, CrdtText{bytes}, client);
  if (!editor) return tl::unexpected(std::move(editor.error()));
  for (std::uint64_t edits = 1 + random.below(3); edits > 0; --edits) edit_text(editor->text(), random);
  return editor->take_update();
}

}  // namespace nizhal::workload
