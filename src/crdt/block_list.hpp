// All blocks of one client by clock, without gaps, in chunks: finding is a binary search, and a split moves at most one
// chunk's entries. And the memory that items live in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "crdt/item.hpp"
#include "crdt/ordered_map.hpp"

namespace nizhal::crdt {

class BlockList {
 public:
  struct Position {
    std::size_t chunk = 0, entry = 0;
    bool operator==(const Position&) const = default;
  };

  bool empty() const { return chunks_.empty(); }
  /// The clock that the client's next unit gets.
  std::uint64_t end_clock() const { return end_clock_; }
  /// The block with the clock; the clock must be below end_clock().
  Position find(std::uint64_t clock) const;
  Item* at(Position position) const { return chunks_[position.chunk][position.entry].item; }
  Position last() const { return {chunks_.size() - 1, chunks_.back().size() - 1}; }
  bool is_first(Position position) const { return position == Position{}; }
  bool is_last(Position position) const { return position == last(); }
  Position next(Position position) const {
    return position.entry + 1 < chunks_[position.chunk].size() ? Position{position.chunk, position.entry + 1}
                                                               : Position{position.chunk + 1, 0};
  }
  Position previous(Position position) const {
    return position.entry > 0 ? Position{position.chunk, position.entry - 1}
                              : Position{position.chunk - 1, chunks_[position.chunk - 1].size() - 1};
  }
  /// `item` begins at end_clock().
  void push_back(Item* item);
  /// `item` is the second part of the block at the position; where it then is.
  Position insert_after(Position position, Item* item);
  /// Takes `count` entries away that begin at the position; their units belong to the block before it.
  void erase(Position position, std::size_t count);
  /// From the block at the position on.
  std::size_t count_from(Position position) const;

 private:
  struct Entry {
    std::uint64_t clock;
    Item* item;
  };
  static constexpr std::size_t kChunkMax = 128;  // 2 KB: what a split moves at most
  std::vector<std::vector<Entry>> chunks_;       // none is empty
  std::vector<std::uint64_t> first_clocks_;      // of each chunk, so that finding one touches no other
  std::uint64_t end_clock_ = 0;
};

class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  Item* allocate();
  /// Forgets what it holds; the memory is used again.
  void release(Item* item);

  BlockList* list(std::uint64_t client) {
    if (last_ && last_client_ == client) return last_;
    const auto* found = clients_.find(client);
    if (!found) return nullptr;
    last_client_ = client;
    return last_ = found->get();
  }
  BlockList& list_for(std::uint64_t client) {
    if (BlockList* found = list(client)) return *found;
    auto& made = clients_[client];
    made = std::make_unique<BlockList>();
    return *made;
  }
  std::uint64_t end_clock(std::uint64_t client) {
    const BlockList* found = list(client);
    return found ? found->end_clock() : 0;
  }
  /// The block with the id, which must exist.
  Item* find(Id id) {
    const BlockList* found = list(id.client);
    return found->at(found->find(id.clock));
  }
  const OrderedMap<std::uint64_t, std::unique_ptr<BlockList>>& clients() const { return clients_; }

 private:
  OrderedMap<std::uint64_t, std::unique_ptr<BlockList>> clients_;
  std::uint64_t last_client_ = 0;
  BlockList* last_ = nullptr;
  std::vector<std::unique_ptr<Item[]>> slabs_;
  std::size_t slab_size_ = 0, slab_used_ = 0;
  Item* free_ = nullptr;  // linked through `right`
};

}  // namespace nizhal::crdt
