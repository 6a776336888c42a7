// Transactions: changes are made, then observers are told, garbage is collected and blocks are joined. Observers may
// begin transactions of their own; those wait until this one is through.
#include <algorithm>

#include <nizhal/crdt.hpp>

#include "crdt/core.hpp"

namespace nizhal::crdt {

bool Core::begin(const Origin& origin, bool is_local) {
  if (current) return false;
  if (spare.empty()) spare.push_back(std::make_unique<Transaction>());
  queue.push_back(std::move(spare.back()));
  spare.pop_back();
  current = queue.back().get();
  current->origin = origin;
  current->is_local = is_local;
  return true;
}

void Core::end() {
  current = nullptr;
  if (is_cleaning) return;
  is_cleaning = true;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    Transaction& transaction = *queue[i];
    transaction.deletes.normalize();
    for (const auto& [client, before] : transaction.before) transaction.after[client] = store.end_clock(client);
    call_observers(transaction);
    const std::vector<UndoObserver*> observers = undo_observers;
    for (UndoObserver* observer : observers) observer->after_transaction(transaction);
    if (transaction.wants_cleanup) cleanup_formatting(transaction);
    if (collects_garbage) collect_garbage(transaction.deletes);
    join_deleted(transaction.deletes);
    join_new(transaction);
    join_splits(transaction);
    if (update_observers.empty()) continue;
    const Bytes update = encode_transaction(transaction);
    if (update.empty()) continue;
    const auto listeners = update_observers;
    for (const auto& [number, listener] : listeners) listener(update, transaction.origin);
  }
  for (auto& transaction : queue) {
    transaction->clear();
    if (spare.size() < 4) spare.push_back(std::move(transaction));
  }
  queue.clear();
  gone.clear();
  is_cleaning = false;
}

void Core::call_observers(Transaction& transaction) {
  for (std::size_t i = 0; i < transaction.changed.size(); ++i) {
    const auto& [type, changed] = *(transaction.changed.begin() + static_cast<std::ptrdiff_t>(i));
    if (!changed.is_present || type->is_deleted()) continue;
    if (!type->text_observers.empty()) {
      const auto observers = type->text_observers;
      const TextEvent event(*this, transaction, *type);
      for (const auto& [number, observer] : observers) observer(event);
    }
    if (!type->map_observers.empty()) {
      const auto observers = type->map_observers;
      const MapEvent event(*this, transaction, *type, changed);
      for (const auto& [number, observer] : observers) observer(event);
    }
    if (type->is_text() && !transaction.is_local && type->has_formatting) transaction.wants_cleanup = true;
  }
}

}  // namespace nizhal::crdt
