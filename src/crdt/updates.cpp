#include "crdt/updates.hpp"

#include <algorithm>
#include <deque>
#include <optional>

#include "crdt/block_codec.hpp"

namespace nizhal::crdt {
namespace {

// Writes blocks client by client; how many a client has is known only at its end, and how many clients at the very end.
class BlockWriter {
 public:
  void write(const Block& block, std::uint64_t offset) {
    if (count_ > 0 && client_ != block.id.client) flush();
    if (count_ == 0) {
      client_ = block.id.client;
      section_.var_uint(client_);
      section_.var_uint(block.id.clock + offset);
    }
    write_block(section_, block, offset);
    ++count_;
  }
  Bytes finish(const IdSet& deletes) {
    flush();
    Writer out;
    out.var_uint(sections_);
    out.raw(done_.take());
    deletes.write(out);
    return out.take();
  }

 private:
  void flush() {
    if (count_ == 0) return;
    done_.var_uint(count_);
    done_.raw(section_.take());
    section_ = {};
    count_ = 0;
    ++sections_;
  }
  Writer section_, done_;
  std::uint64_t client_ = 0, count_ = 0, sections_ = 0;
};

// The blocks of one update in their order.
struct BlockReader {
  std::vector<Block>* blocks;
  mutable std::size_t at = 0;
  // Gaps are passed over: merging finds out by itself what is missing.
  Block* block() const {
    while (at < blocks->size() && (*blocks)[at].kind == ContentKind::skip) ++at;
    return at < blocks->size() ? &(*blocks)[at] : nullptr;
  }
  Block* next() {
    ++at;
    return block();
  }
};

std::uint64_t end_of(const Block& block) { return block.id.clock + block.length; }

}  // namespace

Result<Bytes> merge_updates(std::span<const Bytes> updates) {
  if (updates.size() == 1) {
    if (auto checked = check_update(updates[0]); !checked) return tl::unexpected(checked.error());
    return updates[0];
  }
  std::deque<Update> decoded;
  std::deque<std::string> kept;
  std::vector<BlockReader> readers;
  IdSet deletes;
  for (const Bytes& update : updates) {
    if (auto read = decode_update(update, decoded.emplace_back()); !read) return tl::unexpected(read.error());
    readers.push_back({.blocks = &decoded.back().blocks});
    deletes.append(decoded.back().deletes);
  }
  deletes.normalize();

  BlockWriter out;
  std::optional<Block> held;  // may still be joined or cut
  const auto put = [&](const Block& block) {
    if (held) out.write(*held, 0);
    held = block;
  };
  // The reader with the highest client, there with the lowest clock, is next; the first of equals, where "first" is by
  // the order of the round before, as Yjs sorts the same list again and again. Only the reader in front moves on, so it
  // alone has to find its new place.
  const auto is_before = [](const BlockReader& a, const BlockReader& b) {
    const Id left = a.block()->id, right = b.block()->id;
    return left.client != right.client ? left.client > right.client : left.clock < right.clock;
  };
  std::erase_if(readers, [](const BlockReader& reader) { return !reader.block(); });
  std::stable_sort(readers.begin(), readers.end(), is_before);
  for (auto front = readers.begin(); front != readers.end();) {
    if (!front->block()) {
      ++front;
      continue;
    }
    auto place = front + 1;
    if (place != readers.end() && is_before(*place, *front))
      place = std::lower_bound(place, readers.end(), *front, is_before);
    std::rotate(front, front + 1, place);
    BlockReader& reader = *front;
    Block* block = reader.block();
    const std::uint64_t client = block->id.client;
    if (!held) {
      held = *block;
      reader.next();
    } else {
      bool passed_some = false;
      while (block && end_of(*block) <= end_of(*held) && block->id.client >= held->id.client) {
        block = reader.next();
        passed_some = true;
      }
      if (!block || block->id.client != client || (passed_some && block->id.clock > end_of(*held))) continue;
      if (client != held->id.client) {
        put(*block);
        reader.next();
      } else if (end_of(*held) < block->id.clock) {
        Block gap;
        gap.id = {client, end_of(*held)};
        gap.length = block->id.clock - end_of(*held);
        gap.kind = ContentKind::skip;
        put(gap);
      } else {
        const std::uint64_t known = end_of(*held) - block->id.clock;
        Block rest = *block;
        if (known > 0) {
          if (held->kind == ContentKind::skip)
            held->length -= known;
          else
            cut_front(rest, known, kept);
        }
        if (held->kind == ContentKind::gc && rest.kind == ContentKind::gc) {
          held->length += rest.length;
        } else {
          put(rest);
          reader.next();
        }
      }
    }
    for (Block* next = reader.block(); next && next->id.client == client && next->id.clock == end_of(*held);
         next = reader.next())
      put(*next);
  }
  if (held) out.write(*held, 0);
  return out.finish(deletes);
}

Result<Bytes> diff_update(std::span<const std::uint8_t> update, std::span<const std::uint8_t> state_vector) {
  const auto known = decode_state_vector(state_vector);
  if (!known) return tl::unexpected(known.error());
  Update decoded;
  if (auto read = decode_update(update, decoded); !read) return tl::unexpected(read.error());
  BlockWriter out;
  const std::vector<Block>& blocks = decoded.blocks;
  std::size_t at = 0;
  while (at < blocks.size()) {
    const std::uint64_t client = blocks[at].id.client;
    const std::uint64_t* clock = known->find(client);
    const std::uint64_t state = clock ? *clock : 0;
    if (blocks[at].kind == ContentKind::skip || end_of(blocks[at]) <= state) {
      ++at;
      continue;
    }
    out.write(blocks[at], state > blocks[at].id.clock ? state - blocks[at].id.clock : 0);
    for (++at; at < blocks.size() && blocks[at].id.client == client; ++at) out.write(blocks[at], 0);
  }
  return out.finish(decoded.deletes);
}

Result<Bytes> state_vector_of_update(std::span<const std::uint8_t> update) {
  Update decoded;
  if (auto read = decode_update(update, decoded); !read) return tl::unexpected(read.error());
  Writer rest;
  std::uint64_t clients = 0;
  for (const ClientBlocks& section : decoded.clients) {
    std::uint64_t clock = 0;
    for (std::size_t i = section.begin; i < section.end; ++i) {
      if (decoded.blocks[i].id.clock != clock || decoded.blocks[i].kind == ContentKind::skip) break;
      clock = end_of(decoded.blocks[i]);
    }
    if (clock == 0) continue;
    ++clients;
    rest.var_uint(section.client);
    rest.var_uint(clock);
  }
  Writer out;
  out.var_uint(clients);
  out.raw(rest.take());
  return out.take();
}

Result<void> check_update(std::span<const std::uint8_t> update) {
  Update decoded;
  return decode_update(update, decoded);
}

Result<Clocks> decode_state_vector(std::span<const std::uint8_t> bytes) {
  Reader in(bytes);
  Clocks clocks;
  const std::uint64_t count = in.var_uint();
  for (std::uint64_t i = 0; i < count && !in.failed(); ++i) {
    const std::uint64_t client = in.var_uint();
    const std::uint64_t clock = in.var_uint();
    if (!in.failed()) clocks[client] = clock;
  }
  if (in.failed()) return failure(ErrorCode::bad_request, "this is no Yjs state vector: it is cut off or malformed");
  return clocks;
}

Bytes encode_clocks(const Clocks& clocks) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> sorted(clocks.begin(), clocks.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  Writer out;
  out.var_uint(sorted.size());
  for (const auto& [client, clock] : sorted) {
    out.var_uint(client);
    out.var_uint(clock);
  }
  return out.take();
}

}  // namespace nizhal::crdt
