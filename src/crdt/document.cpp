#include <algorithm>

#include <nizhal/crdt.hpp>

#include "crdt/core.hpp"
#include "crdt/updates.hpp"

namespace nizhal::crdt {

Document::Document(std::uint64_t client_id, Options options) : core_(std::make_unique<Core>(client_id)) {
  core_->collects_garbage = options.collects_garbage;
  if (options.steps_max > 0) core_->steps_max = options.steps_max;
}
Document::~Document() = default;

std::uint64_t Document::client_id() const { return core_->client_id; }

std::shared_ptr<TypeNode> Document::open(std::string_view name, TypeKind kind) {
  TypeNode* node = core_->root(name);
  if (node->kind == TypeKind::untyped) {
    node->kind = kind;
    // Yjs makes a new object here that has not seen the formats, and so leaves them alone until one more comes.
    node->has_formatting = false;
  }
  return core_->roots[node->root_name];
}

Text Document::text(std::string_view name) { return Text(*core_, open(name, TypeKind::text)); }
Map Document::map(std::string_view name) { return Map(*core_, open(name, TypeKind::map)); }

Result<void> Document::apply_update(std::span<const std::uint8_t> update, const Origin& origin) {
  Result<void> applied;
  core_->transact(origin, false, [&] { applied = core_->apply(update); });
  return applied;
}

std::uint64_t Document::steps() const { return core_->steps; }

bool Document::has_pending() const { return core_->pending_blocks.has_value() || !core_->pending_deletes.empty(); }

Bytes Document::encode_state_as_update() const {
  // With nothing known there is no state vector that could be wrong, and what waits was an update when it came.
  return core_->encode_state({}).value_or(kEmptyUpdate);
}

Result<Bytes> Document::encode_state_as_update(std::span<const std::uint8_t> state_vector) const {
  const auto known = decode_state_vector(state_vector);
  if (!known) return tl::unexpected(known.error());
  return core_->encode_state(*known);
}

Bytes Document::encode_state_vector() const { return core_->encode_state_vector(); }

bool Document::begin(const Origin& origin) { return core_->begin(origin, true); }
void Document::end() { core_->end(); }

std::uint64_t Document::on_update(std::function<void(const Bytes&, const Origin&)> observer) {
  core_->update_observers.emplace_back(++core_->observer_count, std::move(observer));
  return core_->observer_count;
}

void Document::stop_observing(std::uint64_t number) {
  std::erase_if(core_->update_observers, [&](const auto& observer) { return observer.first == number; });
}

std::uint64_t utf16_length(std::string_view text) { return count_utf16(text); }
std::uint64_t utf16_from_byte(std::string_view text, std::size_t byte) {
  return count_utf16(text.substr(0, std::min(byte, text.size())));
}

}  // namespace nizhal::crdt
