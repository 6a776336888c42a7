// Applying an update: its blocks are integrated as soon as what they refer to is there; what lacks something waits.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "crdt/core.hpp"
#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

class Applier {
 public:
  Applier(Core& core, const Update& update) : core_(core), update_(update) {
    for (const ClientBlocks& section : update.clients)
      sections_.push_back({section.client, section.begin, section.end, section.end, section.end});
    std::stable_sort(sections_.begin(), sections_.end(),
                     [](const Section& a, const Section& b) { return a.client < b.client; });
    // A client that stands there twice has its last blocks, as in Yjs.
    const auto same = [](const Section& a, const Section& b) { return a.client == b.client; };
    sections_.erase(sections_.begin(), std::unique(sections_.rbegin(), sections_.rend(), same).base());
    remaining_ = sections_.size();
  }

  /// What had to be left, as an update of its own.
  std::optional<PendingBlocks> run() {
    std::optional<std::size_t> head = take_next();
    while (head && !core_.is_exhausted()) {
      const Block& block = update_.blocks[*head];
      if (block.kind != ContentKind::skip) {
        const std::uint64_t state = core_.store.end_clock(block.id.client);
        if (state < block.id.clock) {
          waiting_.push_back(*head);
          lacks(block.id.client, block.id.clock - 1);
          leave_waiting();
        } else if (const auto missing = missing_client(block)) {
          waiting_.push_back(*head);
          Section* section = find(*missing);
          if (section && section->at < section->end) {
            head = section->at++;
            continue;
          }
          lacks(*missing, core_.store.end_clock(*missing));
          leave_waiting();
        } else {
          place(block, state - block.id.clock);
        }
      }
      if (!waiting_.empty()) {
        head = waiting_.back();
        waiting_.pop_back();
      } else {
        head = take_next();
      }
    }
    if (missing_.empty()) return std::nullopt;
    return PendingBlocks{std::move(missing_), rest()};
  }

 private:
  struct Section {
    std::uint64_t client;
    std::size_t at, end;
    std::size_t left, left_end;  // what could not be applied
  };

  Section* find(std::uint64_t client) {
    const auto found = std::lower_bound(sections_.begin(), sections_.end(), client,
                                        [](const Section& section, std::uint64_t id) { return section.client < id; });
    return found != sections_.end() && found->client == client ? &*found : nullptr;
  }
  std::optional<std::size_t> take_next() {
    while (remaining_ > 0 && sections_[remaining_ - 1].at == sections_[remaining_ - 1].end) --remaining_;
    if (remaining_ == 0) return std::nullopt;
    return sections_[remaining_ - 1].at++;
  }
  void lacks(std::uint64_t client, std::uint64_t clock) {
    std::uint64_t* lowest = missing_.find(client);
    if (!lowest)
      missing_[client] = clock;
    else if (*lowest > clock)
      *lowest = clock;
  }
  // Nothing of these clients can be applied from here on.
  void leave_waiting() {
    for (const std::size_t block : waiting_) {
      Section& section = *find(update_.blocks[block].id.client);
      section.left = std::min(section.left, block);
      section.at = section.end;
    }
    waiting_.clear();
  }
  std::optional<std::uint64_t> missing_client(const Block& block) {
    const auto lacks_id = [&](const Id& id) {
      return id.is_set() && id.client != block.id.client && id.clock >= core_.store.end_clock(id.client);
    };
    if (lacks_id(block.origin)) return block.origin.client;
    if (lacks_id(block.right_origin)) return block.right_origin.client;
    if (block.parent_form == ParentForm::id && lacks_id(block.parent_id)) return block.parent_id.client;
    return std::nullopt;
  }

  void place(const Block& block, std::uint64_t offset) {
    Item* left = nullptr;
    Item* right = nullptr;
    TypeNode* parent = nullptr;
    const std::string* key = nullptr;
    if (block.kind != ContentKind::gc) {
      if (block.origin.is_set()) left = core_.clean_end(block.origin);
      // Mostly nobody has inserted between the two since, so that one leads to the other.
      if (block.right_origin.is_set())
        right = left && left->right && left->right->id == block.right_origin ? left->right
                                                                             : core_.clean_start(block.right_origin);
    }
    // Known already; yet its neighbours were looked up above, because Yjs does, and may now be joined again.
    if (offset >= block.length) return;
    const Item* neighbour = left ? left : right;
    bool is_garbage = block.kind == ContentKind::gc || (left && left->is_gc()) || (right && right->is_gc());
    if (offset > 0 && !is_garbage) {
      left = core_.clean_end({block.id.client, block.id.clock + offset - 1});
      is_garbage = left->is_gc();
    }
    if (!is_garbage) {
      if (block.parent_form == ParentForm::root) {
        parent = core_.root(block.parent_name);
      } else if (block.parent_form == ParentForm::id) {
        const Item* item = core_.store.find(block.parent_id);
        if (item->kind == ContentKind::type) parent = item->extra->type.get();
      } else {
        parent = neighbour->parent;
        key = neighbour->parent_sub;
      }
      if (block.has_parent_sub) key = core_.intern(block.parent_sub);
    }
    Item* item = core_.store.allocate();
    item->id = {block.id.client, block.id.clock + offset};
    item->length = block.length - offset;
    item->parent = parent;
    if (parent) {
      item->kind = block.kind;
      item->parent_sub = key;
      item->left = left;
      item->right = right;
      item->origin = offset > 0 ? Id{item->id.client, item->id.clock - 1} : block.origin;
      item->right_origin = block.right_origin;
      fill(*item, block, offset);
    }
    core_.integrate(item);
  }

  void fill(Item& item, const Block& block, std::uint64_t offset) {
    Reader in({reinterpret_cast<const std::uint8_t*>(block.content.data()), block.content.size()});
    if (block.kind == ContentKind::format) {
      item.more().format_key = core_.intern(in.var_string());
      item.extra->format_value = std::make_shared<const std::string>(in.var_string());
    } else if (block.kind == ContentKind::type) {
      auto type = std::make_shared<TypeNode>();
      type->kind = static_cast<TypeKind>(in.var_uint());
      if (!in.at_end()) type->node_name = in.var_string();
      item.more().type = std::move(type);
    } else if (offset == 0) {
      item.content = block.content;
    } else {
      Block rest = block;
      std::deque<std::string> kept;
      cut_front(rest, offset, kept);
      item.content = rest.content;
    }
  }

  Bytes rest() const {
    Writer out;
    out.var_uint(static_cast<std::uint64_t>(std::count_if(
        sections_.begin(), sections_.end(), [](const Section& section) { return section.left < section.left_end; })));
    for (auto section = sections_.rbegin(); section != sections_.rend(); ++section) {
      if (section->left == section->left_end) continue;
      out.var_uint(section->left_end - section->left);
      out.var_uint(section->client);
      out.var_uint(update_.blocks[section->left].id.clock);
      for (std::size_t i = section->left; i < section->left_end; ++i) write_block(out, update_.blocks[i], 0);
    }
    out.var_uint(0);
    return out.take();
  }

  Core& core_;
  const Update& update_;
  std::vector<Section> sections_;     // by client
  std::size_t remaining_ = 0;         // sections that may still have blocks
  std::vector<std::size_t> waiting_;  // blocks, each for the one behind it
  Clocks missing_;
};

// Deletes what the document has of the set; gives back the rest.
IdSet apply_deletes(Core& core, const IdSet& deletes) {
  IdSet rest;
  for (const auto& [client, ranges] : deletes) {
    const std::uint64_t state = core.store.end_clock(client);
    for (const Range& range : ranges) {
      const std::uint64_t end = range.clock + range.length;
      if (range.length == 0) continue;
      if (range.clock >= state) {
        rest.add(client, range.clock, range.length);
        continue;
      }
      if (state < end) rest.add(client, state, end - state);
      BlockList& list = *core.store.list(client);
      BlockList::Position at = list.find(range.clock);
      if (!list.at(at)->deleted && list.at(at)->id.clock < range.clock) {
        core.split(list, at, range.clock - list.at(at)->id.clock);
        at = list.find(range.clock);
      }
      // Ranges may lie one over the other.
      while (list.at(at)->id.clock < end && core.spend(1)) {
        Item* item = list.at(at);
        if (!item->deleted) {
          if (end < item->end_clock()) {
            core.split(list, at, end - item->id.clock);
            at = list.find(item->id.clock);
          }
          core.delete_item(item);
        }
        if (list.is_last(at)) break;
        at = list.next(at);
      }
    }
  }
  return rest;
}

}  // namespace

Result<void> Core::apply(std::span<const std::uint8_t> bytes) {
  const auto exhausted = [&] {
    return failure(ErrorCode::invalid_args,
                   fmt::format("the update takes more than {} comparisons of blocks that claim one place", steps_max));
  };
  if (is_exhausted()) return exhausted();
  Update update = std::move(decoded);
  if (auto read = decode_update(bytes, update); !read) {
    decoded = std::move(update);
    return read;
  }
  current->is_local = false;
  auto rest = Applier(*this, update).run();
  if (is_exhausted()) return exhausted();
  bool retry = false;
  if (pending_blocks) {
    for (const auto& [client, clock] : pending_blocks->missing) retry = retry || clock < store.end_clock(client);
    if (rest) {
      for (const auto& [client, clock] : rest->missing) {
        std::uint64_t* lowest = pending_blocks->missing.find(client);
        if (!lowest)
          pending_blocks->missing[client] = clock;
        else if (*lowest > clock)
          *lowest = clock;
      }
      const Bytes both[] = {std::move(pending_blocks->update), std::move(rest->update)};
      auto merged = merge_updates(both);
      if (!merged) return tl::unexpected(merged.error());
      pending_blocks->update = std::move(*merged);
    }
  } else {
    pending_blocks = std::move(rest);
  }
  IdSet unapplied = apply_deletes(*this, update.deletes);
  if (!pending_deletes.empty()) {
    const IdSet earlier = std::move(pending_deletes);
    unapplied.merge(apply_deletes(*this, earlier));
  }
  pending_deletes = std::move(unapplied);
  decoded = std::move(update);
  if (is_exhausted()) return exhausted();
  if (!retry) return {};
  const Bytes again = std::move(pending_blocks->update);
  pending_blocks.reset();
  return apply(again);
}

}  // namespace nizhal::crdt
