#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <nizhal/crdt.hpp>

#include "crdt/core.hpp"

namespace nizhal::crdt {
namespace {

constexpr std::size_t kParentsMax = 1'000;  // what is nested deeper does not come back

void keep(Item* item, bool keeps) {
  while (item && item->keep != keeps) {
    item->keep = keeps;
    item = item->parent ? item->parent->item : nullptr;
  }
}

bool is_child_of(const Item& item, const Item* parent) { return item.parent && item.parent->item == parent; }

}  // namespace

class UndoManager::Steps : private UndoObserver {
 public:
  Steps(const UndoManager& owner, Core& core, std::vector<Node> scope, Options options)
      : owner_(owner), core_(core), scope_(std::move(scope)), options_(std::move(options)) {
    core_.undo_observers.push_back(this);
  }
  ~Steps() override {
    clear();
    std::erase(core_.undo_observers, static_cast<UndoObserver*>(this));
  }

  bool undo();
  bool redo();
  bool can_undo() const { return !undo_steps_.empty(); }
  bool can_redo() const { return !redo_steps_.empty(); }
  void stop_capturing() { last_change_.reset(); }
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

  const UndoManager& owner_;
  Core& core_;
  std::vector<Node> scope_;
  Options options_;
  std::vector<Step> undo_steps_, redo_steps_;
  Activity activity_ = Activity::none;
  std::optional<std::chrono::milliseconds> last_change_;
};

UndoManager::UndoManager(Document& document, std::vector<Node> scope, Options options)
    : steps_(std::make_unique<Steps>(*this, document.core(), std::move(scope), std::move(options))) {}
UndoManager::~UndoManager() = default;
bool UndoManager::undo() { return steps_->undo(); }
bool UndoManager::redo() { return steps_->redo(); }
bool UndoManager::can_undo() const { return steps_->can_undo(); }
bool UndoManager::can_redo() const { return steps_->can_redo(); }
void UndoManager::stop_capturing() { steps_->stop_capturing(); }
void UndoManager::clear() { steps_->clear(); }

bool UndoManager::Steps::is_tracked(const Transaction& transaction) const {
  const Origin& origin = transaction.origin;
  if (origin.undone) return origin.undone == &owner_;
  if (origin.name.empty()) return transaction.is_local;
  return std::find(options_.tracked_origins.begin(), options_.tracked_origins.end(), origin.name) !=
         options_.tracked_origins.end();
}

bool UndoManager::Steps::is_in_scope(const Item& item) const {
  for (const Item* inner = &item; inner && inner->parent; inner = inner->parent->item)
    for (const auto& type : scope_)
      if (inner->parent == type.get()) return true;
  return false;
}

bool UndoManager::Steps::is_scope_changed(const Transaction& transaction) const {
  for (const auto& [type, changed] : transaction.changed) {
    if (!changed.is_present || type->is_deleted()) continue;
    for (const auto& scoped : scope_)
      if (type == scoped.get()) return true;
    if (type->item && is_in_scope(*type->item)) return true;
  }
  return false;
}

void UndoManager::Steps::after_transaction(Transaction& transaction) {
  if (!is_tracked(transaction) || !is_scope_changed(transaction)) return;
  std::vector<Step>& steps = activity_ == Activity::undoing ? redo_steps_ : undo_steps_;
  if (activity_ == Activity::undoing)
    stop_capturing();
  else if (activity_ == Activity::none)
    forget(redo_steps_);
  Step step;
  for (const auto& [client, after] : transaction.after)
    if (const std::uint64_t before = *transaction.before.find(client); before < after)
      step.insertions.add(client, before, after - before);
  step.deletions = transaction.deletes;
  const auto now = options_.now ? std::optional(options_.now()) : std::nullopt;
  if (activity_ == Activity::none && now && last_change_ && *now - *last_change_ < options_.capture_timeout &&
      !steps.empty()) {
    steps.back().insertions.merge(step.insertions);
    steps.back().deletions.merge(step.deletions);
  } else {
    steps.push_back(std::move(step));
  }
  if (activity_ == Activity::none) last_change_ = now;
  // Splits that looking at the items takes belong to a transaction, so that they are joined again.
  core_.transact({}, true, [&] {
    core_.visit_deleted(transaction.deletes, [&](Item* item) {
      if (!item->is_gc() && is_in_scope(*item)) keep(item, true);
    });
  });
}

bool UndoManager::Steps::undo() {
  activity_ = Activity::undoing;
  const bool done = pop(undo_steps_);
  activity_ = Activity::none;
  return done;
}

bool UndoManager::Steps::redo() {
  activity_ = Activity::redoing;
  const bool done = pop(redo_steps_);
  activity_ = Activity::none;
  return done;
}

bool UndoManager::Steps::pop(std::vector<Step>& steps) {
  Origin origin;
  origin.undone = &owner_;
  bool done = false;
  core_.transact(origin, true, [&] {
    // A step of which nothing is left to do is passed over.
    while (!done && !steps.empty()) {
      const Step step = std::move(steps.back());
      steps.pop_back();
      done = apply(step);
    }
  });
  return done;
}

bool UndoManager::Steps::apply(const Step& step) {
  std::vector<Item*> to_delete, to_redo;
  core_.visit_deleted(step.insertions, [&](Item* item) {
    if (item->is_gc()) return;
    if (item->is_redone()) {
      Id id = item->id;
      std::uint64_t offset = 0;
      while (item->is_redone()) {
        id = {item->extra->redone.client, item->extra->redone.clock + offset};
        item = core_.store.find(id);
        offset = id.clock - item->id.clock;
      }
      if (offset > 0) item = core_.clean_start(id);
      if (item->is_gc()) return;
    }
    if (!item->deleted && is_in_scope(*item)) to_delete.push_back(item);
  });
  core_.visit_deleted(step.deletions, [&](Item* item) {
    // What was made and deleted within the step does not come back.
    if (!item->is_gc() && is_in_scope(*item) && !step.insertions.contains(item->id)) to_redo.push_back(item);
  });
  bool done = false;
  for (Item* item : to_redo) done = redo_item(item, to_redo, step.insertions, 0) || done;
  // Children before their parents.
  for (std::size_t i = to_delete.size(); i-- > 0;) {
    core_.delete_item(to_delete[i]);
    done = true;
  }
  return done;
}

bool UndoManager::Steps::is_deleted_by_a_step(Id id) const {
  const auto deletes = [&](const Step& step) { return step.deletions.contains(id); };
  return std::any_of(undo_steps_.begin(), undo_steps_.end(), deletes) ||
         std::any_of(redo_steps_.begin(), redo_steps_.end(), deletes);
}

Item* UndoManager::Steps::redo_item(Item* item, const std::vector<Item*>& wanted, const IdSet& insertions,
                                    std::size_t depth) {
  if (item->is_redone()) return core_.clean_start(item->extra->redone);
  if (!item->parent || depth > kParentsMax) return nullptr;
  Item* parent_item = item->parent->item;
  if (parent_item && parent_item->deleted) {
    if (!parent_item->is_redone()) {
      const bool is_wanted = std::find(wanted.begin(), wanted.end(), parent_item) != wanted.end();
      if (!is_wanted || !redo_item(parent_item, wanted, insertions, depth + 1)) return nullptr;
    }
    while (parent_item->is_redone()) parent_item = core_.clean_start(parent_item->extra->redone);
  }
  if (parent_item && parent_item->kind != ContentKind::type) return nullptr;
  TypeNode& parent = parent_item ? *parent_item->extra->type : *item->parent;
  // The one that now stands for a neighbour in the parent that came back.
  const auto trace = [&](Item* neighbour) -> Item* {
    while (neighbour && !is_child_of(*neighbour, parent_item))
      neighbour = neighbour->is_redone() ? core_.clean_start(neighbour->extra->redone) : nullptr;
    return neighbour;
  };
  Item* left = nullptr;
  Item* right = nullptr;
  if (!item->parent_sub) {
    for (left = item->left; left; left = left->left) {
      if (Item* found = trace(left)) {
        left = found;
        break;
      }
    }
    for (right = item; right; right = right->right) {
      if (Item* found = trace(right)) {
        right = found;
        break;
      }
    }
  } else {
    const auto newest = [&]() -> Item* {
      Item** found = parent.map.find(item->parent_sub);
      return found ? *found : nullptr;
    };
    if (item->right && !options_.ignores_remote_map_changes) {
      left = item;
      while (
          left && left->right &&
          (left->right->is_redone() || insertions.contains(left->right->id) || is_deleted_by_a_step(left->right->id))) {
        left = left->right;
        while (left->is_redone()) left = core_.clean_start(left->extra->redone);
      }
      if (left && left->right) return nullptr;  // somebody else has set the key since
    } else {
      left = newest();
    }
    if (left && !is_child_of(*left, parent_item)) left = newest();
  }
  Item* redone = core_.new_item(parent, left, right, item->parent_sub, item->kind);
  redone->length = item->length;
  redone->content = item->content;
  if (item->kind == ContentKind::format) {
    redone->more().format_key = item->extra->format_key;
    redone->extra->format_value = item->extra->format_value;
  } else if (item->kind == ContentKind::type) {
    auto type = std::make_shared<TypeNode>();
    type->kind = item->extra->type->kind;
    type->node_name = item->extra->type->node_name;
    redone->more().type = std::move(type);
  }
  item->more().redone = redone->id;
  keep(redone, true);
  core_.integrate(redone);
  return redone;
}

void UndoManager::Steps::forget(std::vector<Step>& steps) {
  if (steps.empty()) return;
  core_.transact({}, true, [&] {
    for (const Step& step : steps) {
      core_.visit_deleted(step.deletions, [&](Item* item) {
        if (!item->is_gc() && is_in_scope(*item)) keep(item, false);
      });
    }
  });
  steps.clear();
}

void UndoManager::Steps::clear() {
  forget(undo_steps_);
  forget(redo_steps_);
}

}  // namespace nizhal::crdt
