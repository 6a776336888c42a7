// Undo and redo of one's own changes, among those of others: what one inserted is deleted, what one deleted comes back,
// and what others did stays. Follows Y.UndoManager.
//
// While it lives, what its steps deleted is kept and is no garbage. It must go before its document does.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crdt/core.hpp"
#include "crdt/document.hpp"

namespace nizhal::crdt {

class UndoManager : private UndoObserver {
 public:
  struct Options {
    /// Changes with these origins are undone; local changes without one are tracked always.
    std::vector<std::string> tracked_origins = {};
    /// Changes that follow one another within this time are one step. Needs `now`.
    std::chrono::milliseconds capture_timeout{500};
    /// Without a clock every transaction is a step of its own.
    std::function<std::chrono::milliseconds()> now = nullptr;
    /// True: undoing sets a map's key back even if somebody else has set it since.
    bool ignores_remote_map_changes = false;
  };
  /// Changes of these types and of all that is in them.
  UndoManager(Document& document, std::vector<std::shared_ptr<TypeNode>> scope)
      : UndoManager(document, std::move(scope), Options{}) {}
  UndoManager(Document& document, std::vector<std::shared_ptr<TypeNode>> scope, Options options);
  ~UndoManager() override;
  UndoManager(const UndoManager&) = delete;
  UndoManager& operator=(const UndoManager&) = delete;

  /// False: there was nothing to undo.
  bool undo();
  bool redo();
  bool can_undo() const { return !undo_steps_.empty(); }
  bool can_redo() const { return !redo_steps_.empty(); }
  /// The next change begins a step.
  void stop_capturing() { last_change_.reset(); }
  /// Forgets all steps; what they kept becomes garbage when it is next looked at.
  void clear();

 private:
  struct Step {
    IdSet insertions, deletions;
  };
  enum class Activity { none, undoing, redoing };

  void after_transaction(Transaction& transaction) override;
  bool is_tracked(const Transaction& transaction) const;
  bool is_in_scope(const Item& item) const;
  bool is_scope_changed(const Transaction& transaction) const;
  bool pop(std::vector<Step>& steps);
  bool apply(const Step& step);
  Item* redo_item(Item* item, const std::vector<Item*>& wanted, const IdSet& insertions, std::size_t depth);
  void forget(std::vector<Step>& steps);
  bool is_deleted_by_a_step(Id id) const;

  Core& core_;
  std::vector<std::shared_ptr<TypeNode>> scope_;
  Options options_;
  std::vector<Step> undo_steps_, redo_steps_;
  Activity activity_ = Activity::none;
  std::optional<std::chrono::milliseconds> last_change_;
};

}  // namespace nizhal::crdt
