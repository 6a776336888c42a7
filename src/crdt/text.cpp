// Editing a text. Which formats an edit adds or deletes follows Yjs, so that editors see the same attributes whoever
// made the change.

#include <fmt/format.h>

#include <algorithm>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "crdt/any.hpp"
#include "crdt/text_position.hpp"

namespace nizhal::crdt {
namespace {

using Wanted = std::vector<std::pair<const std::string*, SharedJson>>;

const SharedJson* find(const Wanted& wanted, const std::string* key) {
  for (const auto& entry : wanted)
    if (entry.first == key) return &entry.second;
  return nullptr;
}

PositionIndex& index_of(TypeNode& type) {
  if (!type.index) type.index = std::make_unique<PositionIndex>(type.start);
  return *type.index;
}

class TextEdit {
 public:
  TextEdit(Core& core, TypeNode& type, std::uint64_t index) : core_(core), type_(type) {
    const PositionIndex::Found found = index_of(type).find(index);
    at_.left = found.item;
    if (found.item && found.offset < found.item->length) {
      BlockList& list = *core.store.list(found.item->id.client);
      core.split(list, list.find(found.item->id.clock), found.offset);
    }
    at_.right = at_.left ? at_.left->right : type.start;
    if (type.ever_formatted)
      type.index->formats_before(at_.left, [&](const Item& format) { at_.attributes.pass(format); });
  }

  const AttributeMap& attributes() const { return at_.attributes; }
  bool is_at_end() const { return !at_.right; }

  void insert(ContentKind kind, std::string_view content, std::uint64_t length, Wanted wanted) {
    for (const auto& [key, value] : at_.attributes)
      if (!find(wanted, key)) wanted.emplace_back(key, null_);
    pass_known(wanted);
    Negated negated = begin_attributes(wanted);
    Item* item = core_.new_item(type_, at_.left, at_.right, nullptr, kind);
    item->content = content;
    item->length = length;
    put(item);
    end_attributes(negated);
  }

  void remove(std::uint64_t length) {
    const AttributeMap start_attributes = at_.attributes;
    Item* start = at_.right;
    while (length > 0 && at_.right) {
      if (!at_.right->deleted && at_.right->is_countable()) {
        cut_right(length);
        length -= at_.right->length;
        core_.delete_item(at_.right);
      }
      at_.forward();
    }
    if (start) cleanup_gap(core_, start, at_.right, start_attributes, at_.attributes);
  }

  void format(std::uint64_t length, const Wanted& wanted) {
    pass_known(wanted);
    Negated negated = begin_attributes(wanted);
    while (at_.right &&
           (length > 0 || (!negated.empty() && (at_.right->deleted || at_.right->kind == ContentKind::format)))) {
      Item& right = *at_.right;
      if (right.is_live_format()) {
        const std::string* key = right.extra->format_key;
        if (const SharedJson* value = find(wanted, key)) {
          if (is_equal_attribute(*value, right.extra->format_value)) {
            negated.erase(key);
          } else {
            if (length == 0) break;
            negated.set(key, right.extra->format_value);
          }
          core_.delete_item(&right);
        } else {
          at_.attributes.set(key, right.extra->format_value);
        }
      } else if (!right.deleted) {
        cut_right(length);
        length -= right.length;
      }
      at_.forward();
    }
    end_attributes(negated);
  }

 private:
  using Negated = AttributeMap;  // what held before and must hold again behind the edit

  void put(Item* item) {
    core_.integrate(item);
    at_.right = item;
    at_.forward();
  }
  void put_format(const std::string* key, const SharedJson& value) {
    Item* item = core_.new_item(type_, at_.left, at_.right, nullptr, ContentKind::format);
    item->more().format_key = key;
    item->extra->format_value = value;
    put(item);
  }
  void cut_right(std::uint64_t length) {
    if (length < at_.right->length) core_.clean_start({at_.right->id.client, at_.right->id.clock + length});
  }
  // Formats that already say what is wanted need not be said again.
  void pass_known(const Wanted& wanted) {
    while (at_.right) {
      if (!at_.right->deleted) {
        if (at_.right->kind != ContentKind::format) return;
        const SharedJson* value = find(wanted, at_.right->extra->format_key);
        if (!is_equal_attribute(value ? *value : null_, at_.right->extra->format_value)) return;
      }
      at_.forward();
    }
  }
  Negated begin_attributes(const Wanted& wanted) {
    Negated negated;
    for (const auto& [key, value] : wanted) {
      const SharedJson* found = at_.attributes.find(key);
      const SharedJson held = found ? *found : null_;
      if (is_equal_attribute(held, value)) continue;
      negated.set(key, held);
      put_format(key, value);
    }
    return negated;
  }
  void end_attributes(Negated& negated) {
    while (at_.right) {
      if (!at_.right->deleted) {
        if (at_.right->kind != ContentKind::format) break;
        const SharedJson* value = negated.find(at_.right->extra->format_key);
        if (!value || !is_equal_attribute(*value, at_.right->extra->format_value)) break;
        negated.erase(at_.right->extra->format_key);
      }
      at_.forward();
    }
    for (const auto& [key, value] : negated) put_format(key, value);
  }

  Core& core_;
  TypeNode& type_;
  TextPosition at_;
  SharedJson null_ = std::make_shared<const std::string>("null");
};

bool is_in_pair(TypeNode& type, std::uint64_t position) {
  const auto [item, offset] = index_of(type).find(position);
  if (!item || item->kind != ContentKind::string || offset == item->length || item->content.size() == item->length)
    return false;
  bool in_pair = false;
  utf16_to_byte(item->content, offset, in_pair);
  return in_pair;
}

Result<Wanted> to_wanted(Core& core, const Attributes& attributes) {
  Wanted wanted;
  for (const auto& [key, value] : attributes) {
    if (!is_utf8(key) || !is_json_value(value))
      return failure(ErrorCode::usage, fmt::format("the attribute \"{}\" needs a JSON value", to_utf8(key)));
    wanted.emplace_back(core.intern(key), std::make_shared<const std::string>(value));
  }
  return wanted;
}

}  // namespace

std::uint64_t Text::length() const { return node_->length; }

Result<void> Text::check_range(std::uint64_t position, std::uint64_t length) const {
  if (position > node_->length || length > node_->length - position)
    return failure(ErrorCode::usage,
                   fmt::format("{} units at {} are beyond the end of a text of {}", length, position, node_->length));
  if (node_->is_gone) return failure(ErrorCode::usage, "this text was deleted");
  // Yjs lets a pair be cut and loses the character; an edit that changes nothing would lose it on one side only.
  if (node_->has_wide_text && (is_in_pair(*node_, position) || is_in_pair(*node_, position + length)))
    return failure(ErrorCode::usage,
                   fmt::format("{} units at {} cut a character: a surrogate pair counts two", length, position));
  return {};
}

Result<void> Text::insert(std::uint64_t position, std::string_view text) {
  if (auto in_range = check_range(position, 0); !in_range) return in_range;
  if (!is_utf8(text)) return failure(ErrorCode::usage, "a text must be UTF-8");
  if (text.empty()) return {};
  core_->transact({}, true, [&] {
    TextEdit edit(*core_, *node_, position);
    Wanted wanted(edit.attributes().begin(), edit.attributes().end());
    edit.insert(ContentKind::string, text, count_utf16(text), std::move(wanted));
  });
  return {};
}

Result<void> Text::insert(std::uint64_t position, std::string_view text, const Attributes& attributes) {
  if (auto in_range = check_range(position, 0); !in_range) return in_range;
  if (!is_utf8(text)) return failure(ErrorCode::usage, "a text must be UTF-8");
  auto wanted = to_wanted(*core_, attributes);
  if (!wanted) return tl::unexpected(wanted.error());
  if (text.empty()) return {};
  core_->transact({}, true, [&] {
    TextEdit(*core_, *node_, position).insert(ContentKind::string, text, count_utf16(text), std::move(*wanted));
  });
  return {};
}

Result<void> Text::insert_embed(std::uint64_t position, std::string_view json, const Attributes& attributes) {
  if (auto in_range = check_range(position, 0); !in_range) return in_range;
  if (!is_json_value(json)) return failure(ErrorCode::usage, "an embedded value must be JSON");
  auto wanted = to_wanted(*core_, attributes);
  if (!wanted) return tl::unexpected(wanted.error());
  core_->transact({}, true,
                  [&] { TextEdit(*core_, *node_, position).insert(ContentKind::embed, json, 1, std::move(*wanted)); });
  return {};
}

Result<void> Text::remove(std::uint64_t position, std::uint64_t length) {
  if (auto in_range = check_range(position, length); !in_range) return in_range;
  if (length == 0) return {};
  core_->transact({}, true, [&] { TextEdit(*core_, *node_, position).remove(length); });
  return {};
}

Result<void> Text::format(std::uint64_t position, std::uint64_t length, const Attributes& attributes) {
  if (auto in_range = check_range(position, length); !in_range) return in_range;
  auto wanted = to_wanted(*core_, attributes);
  if (!wanted) return tl::unexpected(wanted.error());
  if (length == 0 || wanted->empty()) return {};
  core_->transact({}, true, [&] {
    TextEdit edit(*core_, *node_, position);
    if (!edit.is_at_end()) edit.format(length, *wanted);
  });
  return {};
}

Result<void> Text::assign(std::string_view text) {
  if (!is_utf8(text)) return failure(ErrorCode::usage, "a text must be UTF-8");
  // What is no character counts one unit and equals nothing that is typed.
  std::string held;
  for (const DeltaOp& op : to_delta()) held += op.kind == DeltaOp::Kind::insert_text ? op.text : std::string(1, '\0');
  const auto is_within = [](std::string_view of, std::size_t at) {
    return at < of.size() && (static_cast<unsigned char>(of[at]) & 0xC0u) == 0x80u;
  };
  const std::size_t shorter = std::min(held.size(), text.size());
  std::size_t front = 0, back = 0;
  while (front < shorter && held[front] == text[front] && held[front] != '\0') ++front;
  while (front > 0 && (is_within(held, front) || is_within(text, front))) --front;
  while (back < shorter - front && held[held.size() - 1 - back] == text[text.size() - 1 - back] &&
         text[text.size() - 1 - back] != '\0')
    ++back;
  while (back > 0 && is_within(text, text.size() - back)) --back;
  const std::string_view old_middle = std::string_view(held).substr(front, held.size() - front - back);
  const std::string_view middle = text.substr(front, text.size() - front - back);
  const std::uint64_t at = count_utf16(std::string_view(held).substr(0, front));
  Result<void> done;
  core_->transact({}, true, [&] {
    // Behind what it replaces, so that it has its attributes.
    const std::uint64_t replaced = count_utf16(old_middle);
    done = insert(at + replaced, middle);
    if (done) done = remove(at, replaced);
  });
  return done;
}

std::uint64_t Text::observe(std::function<void(const TextEvent&)> observer) {
  node_->text_observers.emplace_back(++node_->observer_count, std::move(observer));
  return node_->observer_count;
}

void Text::stop_observing(std::uint64_t number) {
  std::erase_if(node_->text_observers, [&](const auto& observer) { return observer.first == number; });
}

}  // namespace nizhal::crdt
