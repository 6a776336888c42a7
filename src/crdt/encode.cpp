// Blocks of a document as an update, and the state vector.
#include <algorithm>

#include "crdt/core.hpp"
#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

using ClientClock = std::pair<std::uint64_t, std::uint64_t>;

// Highest client first: Yjs found that conflicts then resolve with fewer comparisons.
void sort_clients(std::vector<ClientClock>& clients) {
  std::sort(clients.begin(), clients.end(),
            [](const ClientClock& a, const ClientClock& b) { return a.first > b.first; });
}

void write_clients(Writer& out, const Core& core, Store& store, std::vector<ClientClock>& clients) {
  sort_clients(clients);
  out.var_uint(clients.size());
  for (const auto& [client, clock] : clients) {
    const BlockList& list = *store.list(client);
    BlockList::Position at = list.find(clock);
    out.var_uint(list.count_from(at));
    out.var_uint(client);
    out.var_uint(clock);
    core.write_item(out, *list.at(at), clock - list.at(at)->id.clock);
    while (!list.is_last(at)) {
      at = list.next(at);
      core.write_item(out, *list.at(at), 0);
    }
  }
}

}  // namespace

void Core::write_item(Writer& out, const Item& item, std::uint64_t offset) const {
  Block block;
  block.id = item.id;
  block.length = item.length;
  block.kind = item.kind;
  block.origin = item.origin;
  block.right_origin = item.right_origin;
  block.content = item.content;
  if (item.parent) {
    block.has_parent_sub = item.parent_sub != nullptr;
    if (item.parent_sub) block.parent_sub = *item.parent_sub;
    if (item.parent->root_name) {
      block.parent_form = ParentForm::root;
      block.parent_name = *item.parent->root_name;
    } else {
      block.parent_form = ParentForm::id;
      block.parent_id = item.parent->item->id;
    }
  }
  if (item.kind != ContentKind::format && item.kind != ContentKind::type) return write_block(out, block, offset);
  Writer content;
  if (item.kind == ContentKind::format) {
    content.var_string(*item.extra->format_key);
    content.var_string(*item.extra->format_value);
  } else {
    const TypeNode& type = *item.extra->type;
    content.var_uint(static_cast<std::uint64_t>(type.kind));
    if (type.kind == TypeKind::xml_element || type.kind == TypeKind::xml_hook) content.var_string(type.node_name);
  }
  const Bytes bytes = content.take();
  block.content = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  write_block(out, block, offset);
}

Result<Bytes> Core::encode_state(const OrderedMap<std::uint64_t, std::uint64_t>& known) {
  Writer out;
  std::vector<ClientClock> clients;
  IdSet deletes;
  for (const auto& [client, list] : store.clients()) {
    if (list->empty()) continue;
    const std::uint64_t* clock = known.find(client);
    if (!clock || *clock < list->end_clock()) clients.emplace_back(client, clock ? *clock : 0);
    for (BlockList::Position at{};; at = list->next(at)) {
      const Item& item = *list->at(at);
      if (item.deleted) deletes.add(client, item.id.clock, item.length);
      if (list->is_last(at)) break;
    }
  }
  write_clients(out, *this, store, clients);
  deletes.write(out);
  Bytes state = out.take();
  if (pending_deletes.empty() && !pending_blocks) return state;

  std::vector<Bytes> updates{std::move(state)};
  if (!pending_deletes.empty()) {
    Writer only_deletes;
    only_deletes.var_uint(0);
    pending_deletes.write(only_deletes);
    updates.push_back(only_deletes.take());
  }
  if (pending_blocks) {
    auto rest = diff_update(pending_blocks->update, encode_clocks(known));
    if (!rest) return rest;
    updates.push_back(std::move(*rest));
  }
  return merge_updates(updates);
}

Bytes Core::encode_transaction(const Transaction& transaction) {
  std::vector<ClientClock> clients;
  for (const auto& [client, before] : transaction.before)
    if (store.end_clock(client) > before) clients.emplace_back(client, before);
  if (clients.empty() && transaction.deletes.empty()) return {};
  Writer out;
  write_clients(out, *this, store, clients);
  transaction.deletes.write(out);
  return out.take();
}

Bytes Core::encode_state_vector() const {
  OrderedMap<std::uint64_t, std::uint64_t> clocks;
  for (const auto& [client, list] : store.clients())
    if (!list->empty()) clocks[client] = list->end_clock();
  return encode_clocks(clocks);
}

}  // namespace nizhal::crdt
