// A write into a CRDT column: opens the state, applies the update, writes the state. The fact that must not break: the
// same state and update give the same bytes, on the device as on the server.
#include "crdt/column.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/crdt.hpp>

#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

Result<void> check_size(std::string_view root, const char* what, std::size_t bytes, std::size_t bytes_max) {
  if (bytes_max == 0 || bytes <= bytes_max) return {};
  return failure(
      ErrorCode::invalid_args,
      fmt::format("column \"{}\": {} has {} bytes, more than the {} that are allowed", root, what, bytes, bytes_max));
}

tl::unexpected<Error> of_column(std::string_view root, ErrorCode code, const Error& error) {
  return failure(code, fmt::format("column \"{}\": {}", root, error.message));
}

}  // namespace

Result<MergedColumn> merge_column(ColumnType type, std::string_view root, std::span<const std::uint8_t> state,
                                  std::span<const std::uint8_t> update, const MergeLimits& limits) {
  if (!state.empty() && std::equal(state.begin(), state.end(), update.begin(), update.end()))
    return MergedColumn{.state = Bytes(state.begin(), state.end()), .update = kEmptyUpdate, .is_changed = false};
  if (auto small = check_size(root, "the update", update.size(), limits.update_bytes_max); !small)
    return tl::unexpected(small.error());
  if (auto small = check_size(root, "the state", state.size(), limits.state_bytes_max); !small)
    return tl::unexpected(small.error());

  MergedColumn merged{.state = Bytes(state.begin(), state.end()), .update = kEmptyUpdate, .is_changed = false};
  if (merged.state.empty()) merged.state = kEmptyUpdate;
  if (std::equal(update.begin(), update.end(), kEmptyUpdate.begin(), kEmptyUpdate.end())) return merged;

  // As what the column is, the root gets the care that Yjs gives it: of a text, needless formats are deleted.
  Document document(0, {.steps_max = limits.steps_max});
  document.open(root, type == ColumnType::crdt_map ? TypeKind::map : TypeKind::text);
  // Opening a state may delete formats, too: whoever has the state as it is lacks that, if anything is to be told.
  std::vector<Bytes> told;
  const Origin opening("state");
  document.on_update([&](const Bytes& one, const Origin& origin) {
    if (!(origin == opening)) told.push_back(one);
  });
  if (!state.empty()) {
    if (auto opened = document.apply_update(state, opening); !opened)
      return of_column(root, opened.error().code == ErrorCode::bad_request ? ErrorCode::corrupt : opened.error().code,
                       opened.error());
  }
  const std::size_t told_by_opening = told.size();
  const bool had_pending = document.has_pending();
  const Bytes before = had_pending ? document.encode_state_as_update() : Bytes{};
  if (auto applied = document.apply_update(update); !applied)
    return of_column(root, applied.error().code, applied.error());

  const bool told_something = told.size() > told_by_opening;
  Bytes after;
  if (told_something || had_pending || document.has_pending()) after = document.encode_state_as_update();
  if (!told_something && after == before) return merged;
  // What waits is told by nobody: it is in the state, and in the update as it was given.
  if (had_pending || document.has_pending()) told.emplace_back(update.begin(), update.end());
  merged.is_changed = true;
  merged.state = std::move(after);
  if (auto small = check_size(root, "the state with the update", merged.state.size(), limits.state_bytes_max); !small)
    return tl::unexpected(small.error());
  auto all = merge_updates(told);
  if (!all) return of_column(root, ErrorCode::internal, all.error());
  merged.update = std::move(*all);
  return merged;
}

const char* refusal_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::bad_request:
      return "invalid_update";
    case ErrorCode::invalid_args:
      return "too_large";
    default:
      return "internal";
  }
}

}  // namespace nizhal::crdt
