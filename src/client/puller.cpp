#include "client/puller.hpp"

#include <algorithm>

#include "base/json.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client::puller {
namespace {

/// As on the wire: an update is {"update": base64}.
void append_row_with_updates(std::string& out, const TableDef& table, const Row& row,
                             const std::vector<std::size_t>& updates) {
  for (std::size_t i = 0; i < row.size() && i < table.columns.size(); ++i) {
    out += i == 0 ? '{' : ',';
    append_json_string(out, table.columns[i].name);
    out += ':';
    const bool is_update = std::find(updates.begin(), updates.end(), i) != updates.end();
    if (is_update) out += R"({"update":)";
    append_value_json(out, table.columns[i].type, row[i]);
    if (is_update) out += '}';
  }
  out += '}';
}

}  // namespace

Result<bool> has_staged(StoreState& state) {
  auto found = state.connection->query_integer("SELECT 1 FROM nizhal_staged LIMIT 1");
  if (!found) return tl::unexpected(found.error());
  return found->has_value();
}

Result<std::string> position(StoreState& state) {
  auto staged = has_staged(state);
  if (!staged) return tl::unexpected(staged.error());
  return state.meta->get(*staged ? meta_key::kStagedCursor : meta_key::kCursor);
}

Result<protocol::PullRequest> next_pull(StoreState& state, std::size_t limit) {
  auto cursor = position(state);
  if (!cursor) return tl::unexpected(cursor.error());
  protocol::PullRequest request;
  request.cursor = std::move(*cursor);
  request.device_id = state.meta->get(meta_key::kClientId);
  request.limit = limit;
  request.schema.emplace();
  for (std::size_t i = 0; i < state.domain().tables().size(); ++i) {
    if (state.domain().is_delivered(i))
      request.schema->emplace(state.domain().table(i).name, state.domain().fingerprint(i).text());
  }
  for (const auto& table : state.domain().tables()) request.updates = request.updates || table->has_crdt();
  return request;
}

Result<void> stage(StoreState& state, const protocol::PullPage& page, bool starts_over) {
  if (starts_over) {
    if (auto dropped = drop_staged(state); !dropped) return dropped;
  }
  auto insert = state.connection->prepare(
      "INSERT INTO nizhal_staged(page, is_reset, body) VALUES((SELECT coalesce(max(page), 0) + 1 FROM nizhal_staged), "
      "?1, ?2)");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind(1, std::int64_t{starts_over}).bind_text(2, encode(state.domain(), page));
  if (auto done = insert->run(); !done) return done;
  if (auto kept = state.meta->set(meta_key::kStagedEpoch, page.epoch); !kept) return kept;
  return state.meta->set(meta_key::kStagedCursor, page.cursor);
}

Result<void> drop_staged(StoreState& state) {
  if (auto done = state.connection->execute("DELETE FROM nizhal_staged"); !done) return done;
  return state.meta->set(meta_key::kStagedCursor, "");
}

std::string encode(const CompiledDomain& domain, const protocol::PullPage& page) {
  protocol::PageWriter writer;
  std::string text;
  for (const protocol::ChangedTable& changed : page.changed) {
    const TableDef* table = domain.domain().find_table(changed.table);
    if (!table) continue;
    for (std::size_t i = 0; i < changed.rows.size(); ++i) {
      text.clear();
      if (i < changed.updates.size() && !changed.updates[i].empty()) {
        append_row_with_updates(text, *table, changed.rows[i], changed.updates[i]);
      } else {
        append_row_json(text, *table, changed.rows[i]);
      }
      writer.add_changed(changed.table, text);
    }
  }
  const auto id_json = [&](const protocol::RemovedRow& removed) -> bool {
    const TableDef* table = domain.domain().find_table(removed.table);
    if (!table) return false;
    text.clear();
    append_value_json(text, table->key_column().type, removed.id);
    return true;
  };
  for (const protocol::RemovedRow& row : page.tombstoned) {
    if (id_json(row)) writer.add_tombstoned(row.table, text, row.key);
  }
  for (const protocol::RemovedRow& row : page.removed) {
    if (id_json(row)) writer.add_removed(row.table, text, row.key);
  }
  protocol::PageWriter::Tail tail;
  tail.removed_buckets = page.removed_buckets;
  tail.cursor = page.cursor;
  tail.has_more = page.has_more;
  tail.buckets = page.buckets;
  tail.epoch = page.epoch;
  tail.cursor_reset = page.cursor_reset;
  tail.last_mutation_id = page.last_mutation_id;
  tail.last_client_mutation_id = page.last_client_mutation_id;
  tail.progress = page.progress;
  tail.server_time = page.server_time.value_or(Timestamp{});
  tail.hlc = page.hlc.value_or("");
  return writer.finish(tail);
}

}  // namespace nizhal::client::puller
