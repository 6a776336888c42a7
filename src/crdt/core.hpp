// The inside of a document: blocks, types, what is pending, and transactions. Text, map, undo and the codecs work on
// it. Users of the module have <nizhal/crdt.hpp>.
//
// The algorithm is YATA (Nicolaescu, Jahns, Derntl, Klamma: "Near Real-Time Peer-to-Peer Shared Editing on Extensible
// Data Types", 2016) in the variant of the Yjs format. The facts that must not break: integrating the same blocks gives
// the same sequence in every order, and the same updates in the same order give the same blocks that Yjs has, down to
// where blocks are joined and become garbage (docs/decisions/0014).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nizhal/crdt.hpp>

#include "crdt/block_list.hpp"
#include "crdt/id_set.hpp"
#include "crdt/type_node.hpp"

namespace nizhal::crdt {

struct ChangedType {
  bool is_present = false;
  OrderedMap<const std::string*, bool> keys;  // kept only where somebody observes; nullptr is the sequence
};

struct Transaction {
  Origin origin;
  bool is_local = true;
  IdSet deletes;
  OrderedMap<std::uint64_t, std::uint64_t> before;  // clocks of the clients that got blocks, when it began
  OrderedMap<std::uint64_t, std::uint64_t> after;
  OrderedMap<TypeNode*, ChangedType> changed;
  std::vector<Id> splits;  // where blocks may be joined again
  bool wants_cleanup = false;
  void clear();
};

class UndoObserver {
 public:
  virtual ~UndoObserver() = default;
  /// Observers have been called; nothing is garbage yet.
  virtual void after_transaction(Transaction& transaction) = 0;
};

struct PendingBlocks {
  OrderedMap<std::uint64_t, std::uint64_t> missing;  // per client the lowest clock that is waited for
  Bytes update;
};

struct Core {
  explicit Core(std::uint64_t client) : client_id(client) {}

  // core.cpp
  const std::string* intern(std::string_view text);
  /// nullptr: nothing in the document has that name.
  const std::string* interned(std::string_view text) const;
  TypeNode* root(std::string_view name);
  std::uint64_t state_before(const Transaction& transaction, std::uint64_t client);
  bool adds(const Transaction& transaction, const Item& item);
  void mark_changed(TypeNode& type, const std::string* key);
  void add_block(Item* item);
  Item* split(BlockList& list, BlockList::Position position, std::uint64_t offset);
  Item* clean_start(Id id);
  Item* clean_end(Id id);
  /// The blocks of the set that the document has, split at the set's edges.
  void visit_deleted(const IdSet& set, const std::function<void(Item*)>& visit);
  void visit_range(BlockList& list, std::uint64_t clock, std::uint64_t length, const std::function<void(Item*)>& visit);
  Id next_id() { return {client_id, store.end_clock(client_id)}; }

  // integrate.cpp
  /// Links a new item whose left, right, parent and key are set; without a parent it becomes garbage.
  void integrate(Item* item);
  /// A new item of this client between two neighbours, not yet integrated.
  Item* new_item(TypeNode& parent, Item* left, Item* right, const std::string* key, ContentKind kind);
  void delete_item(Item* item);

  // transaction.cpp
  template <class Work>
  void transact(const Origin& origin, bool is_local, Work&& work) {
    const bool is_outermost = begin(origin, is_local);
    work();
    if (is_outermost) end();
  }
  bool begin(const Origin& origin, bool is_local);
  void end();

  // collect.cpp
  void collect_garbage(const IdSet& deletes);
  void join_deleted(const IdSet& deletes);
  void join_new(const Transaction& transaction);
  void join_splits(const Transaction& transaction);

  // text_cleanup.cpp: what Yjs does after remote changes of formatted text
  void cleanup_formatting(Transaction& transaction);

  /// Counts work that the size of an update does not bound: blocks compared, walked over, moved. False: more than
  /// steps_max; then everything under way ends early, and the document is of no use any more.
  bool spend(std::uint64_t count) {
    steps += count;
    return steps <= steps_max;
  }
  bool is_exhausted() const { return steps > steps_max; }

  // apply.cpp
  Result<void> apply(std::span<const std::uint8_t> update);

  // encode.cpp
  void write_item(Writer& out, const Item& item, std::uint64_t offset) const;
  Result<Bytes> encode_state(const OrderedMap<std::uint64_t, std::uint64_t>& known);
  Bytes encode_transaction(const Transaction& transaction);
  Bytes encode_state_vector() const;

  std::uint64_t client_id;
  bool collects_garbage = true;
  std::uint64_t steps = 0, steps_max = ~std::uint64_t{0};
  Store store;
  OrderedMap<const std::string*, std::shared_ptr<TypeNode>> roots;
  std::optional<PendingBlocks> pending_blocks;
  IdSet pending_deletes;

  Transaction* current = nullptr;                   // changes go into it
  std::vector<std::unique_ptr<Transaction>> queue;  // begun and not yet cleaned up
  std::vector<std::unique_ptr<Transaction>> spare;
  bool is_cleaning = false;
  std::vector<std::shared_ptr<TypeNode>> gone;  // until nothing under way can refer to them

  std::uint64_t observer_count = 0;
  std::vector<std::pair<std::uint64_t, std::function<void(const Bytes& update, const Origin& origin)>>>
      update_observers;
  std::vector<UndoObserver*> undo_observers;

  Update decoded;  // memory that is used again
  std::uint32_t mark = 0;

 private:
  std::size_t join_with_lefts(BlockList& list, BlockList::Position position);
  void join(BlockList& list, BlockList::Position first, std::size_t count);
  void make_garbage(Item* item, bool parent_is_gone);
  void resolve_conflicts(Item* item);
  void cleanup_next();
  void call_observers(Transaction& transaction);
  std::unordered_set<std::string> names_;
};

/// What a map's item holds, undefined where it is a type or a document (map.cpp).
Any value_of(const Item& item);

}  // namespace nizhal::crdt
