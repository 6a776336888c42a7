#include <optional>

#include <nizhal/crdt.hpp>

#include "crdt/attributes.hpp"
#include "crdt/core.hpp"

namespace nizhal::crdt {

const Origin& TextEvent::origin() const { return transaction_.origin; }
bool TextEvent::is_local() const { return transaction_.is_local; }
const Origin& MapEvent::origin() const { return transaction_.origin; }
bool MapEvent::is_local() const { return transaction_.is_local; }

namespace {

// Walks over the items as they are now and says what the transaction did to each: added, deleted or left.
class DeltaBuilder {
 public:
  Delta take() {
    flush();
    while (!delta_.empty() && delta_.back().kind == DeltaOp::Kind::retain && delta_.back().attributes.empty())
      delta_.pop_back();
    return std::move(delta_);
  }
  void insert_text(const std::string& text) {
    begin(DeltaOp::Kind::insert_text);
    text_ += text;
  }
  void insert_one(DeltaOp op) {
    flush();
    op.attributes = current_.plain();
    delta_.push_back(std::move(op));
  }
  void remove(std::uint64_t length) {
    begin(DeltaOp::Kind::remove);
    length_ += length;
  }
  void retain(std::uint64_t length) {
    begin(DeltaOp::Kind::retain);
    length_ += length;
  }
  void format_added(const Item& item) {
    const auto& [key, value] = pair_of(item);
    bool passes = true;
    if (!is_equal_attribute(or_null(current_.find(key)), value)) {
      if (kind_ == DeltaOp::Kind::retain) flush();
      if (is_equal_attribute(value, or_null(old_.find(key))))
        changed_.erase(key);
      else
        changed_.set(key, value);
    } else if (!is_null(value)) {
      passes = false;  // it changes nothing
    }
    if (passes) pass(item);
  }
  void format_deleted(const Item& item) {
    const auto& [key, value] = pair_of(item);
    old_.set(key, value);
    const SharedJson held = or_null(current_.find(key));
    if (is_equal_attribute(held, value)) return;
    if (kind_ == DeltaOp::Kind::retain) flush();
    changed_.set(key, held);
  }
  void format_kept(const Item& item) {
    const auto& [key, value] = pair_of(item);
    old_.set(key, value);
    bool passes = true;
    if (const SharedJson* found = changed_.find(key)) {
      const SharedJson change = *found;
      if (!is_equal_attribute(change, value)) {
        if (kind_ == DeltaOp::Kind::retain) flush();
        if (is_null(value))
          changed_.erase(key);
        else
          changed_.set(key, value);
      } else if (!is_null(change)) {
        passes = false;
      }
    }
    if (passes) pass(item);
  }

 private:
  static std::pair<const std::string*, SharedJson> pair_of(const Item& item) {
    return {item.extra->format_key, item.extra->format_value};
  }
  SharedJson or_null(const SharedJson* value) const { return value ? *value : null_; }
  void pass(const Item& item) {
    if (kind_ == DeltaOp::Kind::insert_text) flush();
    current_.pass(item);
  }
  void begin(DeltaOp::Kind kind) {
    if (kind_ == kind) return;
    flush();
    kind_ = kind;
  }
  void flush() {
    if (!kind_) return;
    DeltaOp op{.kind = *kind_, .text = std::move(text_), .type = nullptr, .length = length_, .attributes = {}};
    if (*kind_ == DeltaOp::Kind::insert_text) op.attributes = current_.plain();
    if (*kind_ == DeltaOp::Kind::retain) op.attributes = changed_.plain();
    if (op.length > 0 || !op.text.empty()) delta_.push_back(std::move(op));
    kind_.reset();
    text_.clear();
    length_ = 0;
  }
  Delta delta_;
  std::optional<DeltaOp::Kind> kind_;
  std::string text_;
  std::uint64_t length_ = 0;
  AttributeMap current_, old_, changed_;
  SharedJson null_ = std::make_shared<const std::string>("null");
};

}  // namespace

Delta TextEvent::delta() const {
  DeltaBuilder out;
  for (const Item* item = type_.start; item; item = item->right) {
    const bool is_added = core_.adds(transaction_, *item);
    const bool is_removed = transaction_.deletes.contains(item->id);
    if (is_added && is_removed) continue;
    if (item->deleted && !is_removed) continue;  // earlier
    switch (item->kind) {
      case ContentKind::format:
        if (is_added)
          out.format_added(*item);
        else if (is_removed)
          out.format_deleted(*item);
        else
          out.format_kept(*item);
        break;
      case ContentKind::string:
        if (is_added)
          out.insert_text(item->content);
        else if (is_removed)
          out.remove(item->length);
        else
          out.retain(item->length);
        break;
      case ContentKind::embed:
      case ContentKind::type:
        if (is_added) {
          const bool is_type = item->kind == ContentKind::type;
          out.insert_one({.kind = is_type ? DeltaOp::Kind::insert_type : DeltaOp::Kind::insert_embed,
                          .text = item->content,
                          .type = is_type ? item->extra->type : nullptr,
                          .attributes = {}});
        } else if (is_removed) {
          out.remove(1);
        } else {
          out.retain(1);
        }
        break;
      default:
        break;
    }
  }
  return out.take();
}

std::vector<MapEvent::KeyChange> MapEvent::keys() const {
  std::vector<KeyChange> changes;
  for (const auto& [key, is_changed] : changed_.keys) {
    Item* const* newest = key ? type_.map.find(key) : nullptr;
    if (!newest) continue;
    const Item* item = *newest;
    const bool is_removed = transaction_.deletes.contains(item->id);
    if (!core_.adds(transaction_, *item)) {
      if (is_removed) changes.push_back({*key, Action::removed, value_of(*item)});
      continue;
    }
    const Item* earlier = item->left;
    while (earlier && core_.adds(transaction_, *earlier)) earlier = earlier->left;
    const bool replaces = earlier && transaction_.deletes.contains(earlier->id);
    if (is_removed && !replaces) continue;
    const Action action = is_removed ? Action::removed : replaces ? Action::updated : Action::added;
    changes.push_back({*key, action, replaces ? value_of(*earlier) : Any{}});
  }
  return changes;
}

}  // namespace nizhal::crdt
