// What observers are told after a transaction, before garbage is collected. An event is valid during the call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "crdt/attributes.hpp"
#include "crdt/origin.hpp"

namespace nizhal::crdt {

struct Core;
struct Transaction;
struct ChangedType;
struct TypeNode;

/// One step of a text's content or of a change of it, as in Quill's deltas. Lengths are UTF-16 code units.
struct DeltaOp {
  enum class Kind { insert_text, insert_embed, insert_type, retain, remove };
  Kind kind = Kind::insert_text;
  std::string text;                // insert_text: UTF-8; insert_embed: JSON
  std::shared_ptr<TypeNode> type;  // insert_type
  std::uint64_t length = 0;        // retain, remove
  Attributes attributes;           // of an insertion or a retained stretch; "null": taken away
};
using Delta = std::vector<DeltaOp>;

struct TextEvent {
  TextEvent(Core& its_core, const Transaction& its_transaction, const TypeNode& its_type,
            const ChangedType& its_changed)
      : core(its_core), transaction(its_transaction), type(its_type), changed(its_changed) {}
  /// What turns the text before the transaction into the text after it.
  Delta delta() const;
  const Origin& origin() const;
  bool is_local() const;

  Core& core;
  const Transaction& transaction;
  const TypeNode& type;
  const ChangedType& changed;
};

struct MapEvent {
  enum class Action { added, updated, removed };
  struct KeyChange {
    std::string key;
    Action action = Action::added;
  };
  MapEvent(Core& its_core, const Transaction& its_transaction, const TypeNode& its_type, const ChangedType& its_changed)
      : core(its_core), transaction(its_transaction), type(its_type), changed(its_changed) {}
  std::vector<KeyChange> keys() const;
  const Origin& origin() const;
  bool is_local() const;

  Core& core;
  const Transaction& transaction;
  const TypeNode& type;
  const ChangedType& changed;
};

}  // namespace nizhal::crdt
