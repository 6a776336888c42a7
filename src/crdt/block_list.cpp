#include "crdt/block_list.hpp"

#include <algorithm>

namespace nizhal::crdt {

namespace {

// The last of `count` entries, one or more, whose clock is not beyond the wanted one. Which half it is in cannot be
// predicted, so the step is an addition and no branch.
template <class Entry, class ClockOf>
std::size_t last_not_beyond(const Entry* entries, std::size_t count, std::uint64_t wanted, ClockOf clock_of) {
  const Entry* first = entries;
  while (count > 1) {
    const std::size_t half = count / 2;
    first += static_cast<std::size_t>(clock_of(first[half]) <= wanted) * half;
    count -= half;
  }
  return static_cast<std::size_t>(first - entries);
}

}  // namespace

BlockList::Position BlockList::find(std::uint64_t clock) const {
  std::size_t chunk = chunks_.size() - 1;
  if (clock < first_clocks_[chunk])
    chunk = last_not_beyond(first_clocks_.data(), chunk, clock, [](std::uint64_t first) { return first; });
  const std::vector<Entry>& entries = chunks_[chunk];
  if (clock >= entries.back().clock) return {chunk, entries.size() - 1};
  return {chunk,
          last_not_beyond(entries.data(), entries.size(), clock, [](const Entry& entry) { return entry.clock; })};
}

void BlockList::push_back(Item* item) {
  if (chunks_.empty() || chunks_.back().size() >= kChunkMax) {
    chunks_.emplace_back();
    first_clocks_.push_back(item->id.clock);
  }
  chunks_.back().push_back({item->id.clock, item});
  end_clock_ = item->end_clock();
}

BlockList::Position BlockList::insert_after(Position position, Item* item) {
  std::vector<Entry>& entries = chunks_[position.chunk];
  const auto at = static_cast<std::ptrdiff_t>(position.entry) + 1;
  entries.insert(entries.begin() + at, {item->id.clock, item});
  Position inserted{position.chunk, position.entry + 1};
  if (entries.size() <= kChunkMax) return inserted;
  const auto half = static_cast<std::ptrdiff_t>(entries.size() / 2);
  std::vector<Entry> upper(entries.begin() + half, entries.end());
  entries.resize(static_cast<std::size_t>(half));
  const auto after = static_cast<std::ptrdiff_t>(position.chunk) + 1;
  first_clocks_.insert(first_clocks_.begin() + after, upper.front().clock);
  chunks_.insert(chunks_.begin() + after, std::move(upper));
  if (inserted.entry >= static_cast<std::size_t>(half))
    inserted = {position.chunk + 1, inserted.entry - static_cast<std::size_t>(half)};
  return inserted;
}

void BlockList::erase(Position position, std::size_t count) {
  std::size_t chunk = position.chunk, entry = position.entry;
  std::size_t first_empty = chunks_.size(), empty = 0;
  while (count > 0) {
    std::vector<Entry>& entries = chunks_[chunk];
    const std::size_t here = std::min(count, entries.size() - entry);
    const auto begin = entries.begin() + static_cast<std::ptrdiff_t>(entry);
    entries.erase(begin, begin + static_cast<std::ptrdiff_t>(here));
    if (entries.empty()) {
      first_empty = std::min(first_empty, chunk);
      ++empty;
    } else {
      first_clocks_[chunk] = entries.front().clock;
    }
    count -= here;
    ++chunk;
    entry = 0;
  }
  if (empty > 0) {  // they are neighbours: only whole chunks in the middle become empty
    const auto begin = chunks_.begin() + static_cast<std::ptrdiff_t>(first_empty);
    chunks_.erase(begin, begin + static_cast<std::ptrdiff_t>(empty));
    const auto first = first_clocks_.begin() + static_cast<std::ptrdiff_t>(first_empty);
    first_clocks_.erase(first, first + static_cast<std::ptrdiff_t>(empty));
  }
}

std::size_t BlockList::count_from(Position position) const {
  std::size_t count = chunks_[position.chunk].size() - position.entry;
  for (std::size_t i = position.chunk + 1; i < chunks_.size(); ++i) count += chunks_[i].size();
  return count;
}

Item* Store::allocate() {
  if (free_) {
    Item* item = free_;
    free_ = item->right;
    item->right = nullptr;
    return item;
  }
  if (slab_used_ == slab_size_) {
    // A document of one word is as common as one of a hundred thousand.
    slab_size_ = std::min<std::size_t>(slab_size_ == 0 ? 8 : slab_size_ * 2, 1024);
    slab_used_ = 0;
    slabs_.push_back(std::make_unique<Item[]>(slab_size_));
  }
  return &slabs_.back()[slab_used_++];
}

void Store::release(Item* item) {
  *item = Item{};
  item->right = free_;
  free_ = item;
}

}  // namespace nizhal::crdt
