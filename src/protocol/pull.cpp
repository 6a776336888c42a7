#include "protocol/pull.hpp"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "domain/value_json.hpp"
#include "protocol/fields.hpp"

namespace nizhal::protocol {

namespace {

constexpr TextBounds kClientIdBounds{.bytes_min = 1, .bytes_max = 128, .control_characters = false};

void begin_member(std::string& out, std::string_view name) {
  out += ",\"";
  out += name;
  out += "\":";
}

void append_texts(std::string& out, const std::vector<std::string>& texts) {
  out += '[';
  bool first = true;
  for (const std::string& text : texts) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, text);
  }
  out += ']';
}

void append_removal(std::string& out, std::string_view table, std::string_view id_json,
                    const std::optional<std::string>& key) {
  if (!out.empty()) out += ',';
  out += "{\"table\":";
  append_json_string(out, table);
  out += ",\"id\":";
  out += id_json;
  if (key) {
    begin_member(out, "key");
    append_json_string(out, *key);
  }
  out += '}';
}

/// `{"update": base64}` in the place of a CRDT column's value. With the update as the value, the row reads as any
/// other. Nothing: there is none in this row.
Result<std::optional<json::value>> without_updates(const TableDef& table, const json::value& row,
                                                   std::vector<std::size_t>& updates) {
  std::optional<json::value> plain;
  const json::object* members = row.if_object();
  if (members == nullptr) return plain;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const ColumnDef& column = table.columns[i];
    if (!is_crdt(column.type)) continue;
    const json::value* value = members->if_contains(column.name);
    const json::object* wrapped = value == nullptr ? nullptr : value->if_object();
    if (wrapped == nullptr) continue;
    const json::value* update = wrapped->if_contains("update");
    if (update == nullptr || !update->is_string())
      return failure(ErrorCode::bad_request,
                     fmt::format("column \"{}\" must be base64 or {{\"update\": base64}}", column.name));
    if (!plain) plain = row;
    plain->get_object()[column.name] = *update;
    updates.push_back(i);
  }
  return plain;
}

Result<void> read_changed(const Domain& domain, const json::array& entries, std::vector<ChangedTable>& out) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const json::object* entry = entries[i].if_object();
    if (entry == nullptr) return failure(ErrorCode::bad_request, fmt::format("changed[{}] must be an object", i));
    FieldReader fields(*entry, {.array = "changed", .index = i});
    std::string name;
    fields.required_text("table", name);
    const json::array* rows = fields.required_array("rows");
    if (fields.failed()) return fields.error();
    const TableDef* table = domain.find_table(name);
    if (table == nullptr) continue;

    ChangedTable changed{.table = std::move(name), .rows = {}};
    changed.rows.reserve(rows->size());
    const auto wrong = [i](std::size_t j, const Error& error) {
      return failure(ErrorCode::bad_request, fmt::format("changed[{}].rows[{}]: {}", i, j, error.message));
    };
    const bool has_crdt = table->has_crdt();
    for (std::size_t j = 0; j < rows->size(); ++j) {
      std::vector<std::size_t> updates;
      std::optional<json::value> plain;
      if (has_crdt) {
        auto read = without_updates(*table, (*rows)[j], updates);
        if (!read) return wrong(j, read.error());
        plain = std::move(*read);
      }
      Result<Row> row = row_from_json(*table, plain ? *plain : (*rows)[j]);
      if (!row) return wrong(j, row.error());
      changed.rows.push_back(std::move(*row));
      if (!updates.empty() && changed.updates.empty()) changed.updates.resize(j);
      if (!updates.empty() || !changed.updates.empty()) changed.updates.push_back(std::move(updates));
    }
    out.push_back(std::move(changed));
  }
  return {};
}

Result<void> read_removals(const Domain& domain, std::string_view field, const json::array& entries,
                           std::vector<RemovedRow>& out) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const json::object* entry = entries[i].if_object();
    if (entry == nullptr) return failure(ErrorCode::bad_request, fmt::format("{}[{}] must be an object", field, i));
    FieldReader fields(*entry, {.array = field, .index = i});
    RemovedRow removal;
    fields.required_text("table", removal.table);
    const json::value* id = fields.require("id", "must be the row's key");
    fields.text("key", removal.key);
    if (fields.failed()) return fields.error();
    const TableDef* table = domain.find_table(removal.table);
    if (table == nullptr || table->key_index() == TableDef::npos) continue;

    Result<Value> key = value_from_json(table->key_column().type, *id);
    if (!key) {
      fields.refuse("id", key.error().message);
      return fields.error();
    }
    removal.id = std::move(*key);
    out.push_back(std::move(removal));
  }
  return {};
}

}  // namespace

Result<PullRequest> decode_pull_request(std::string_view body) {
  PullRequest request;
  if (body.empty()) return request;
  Result<json::value> parsed = parse_object(body, "the body");
  if (!parsed) return tl::unexpected(std::move(parsed.error()));
  FieldReader fields(*parsed->if_object());
  fields.text("cursor", request.cursor);
  fields.text("deviceId", request.device_id, kClientIdBounds);
  std::optional<std::int64_t> limit;
  fields.integer("limit", limit, 1, std::numeric_limits<std::int64_t>::max());
  if (limit) request.limit = static_cast<std::size_t>(*limit);
  fields.text("syncRule", request.sync_rule);
  fields.texts("buckets", request.buckets);
  fields.texts("syncRules", request.sync_rules);
  if (const json::object* schema = fields.object("schema")) {
    auto& fingerprints = request.schema.emplace();
    for (const auto& [table, fingerprint] : *schema) {
      const json::string* text = fingerprint.if_string();
      if (text == nullptr) {
        fields.refuse("schema", "must hold strings");
        break;
      }
      fingerprints[std::string(table.data(), table.size())] = std::string(text->data(), text->size());
    }
  }
  fields.boolean("updates", request.updates);
  if (fields.failed()) return fields.error();
  return request;
}

std::string encode_pull_request(const PullRequest& request) {
  std::string out = "{\"cursor\":";
  append_json_string(out, request.cursor);
  if (request.device_id) {
    begin_member(out, "deviceId");
    append_json_string(out, *request.device_id);
  }
  if (request.limit) {
    begin_member(out, "limit");
    append_json_number(out, static_cast<std::int64_t>(*request.limit));
  }
  if (request.sync_rule) {
    begin_member(out, "syncRule");
    append_json_string(out, *request.sync_rule);
  }
  if (request.buckets) {
    begin_member(out, "buckets");
    append_texts(out, *request.buckets);
  }
  if (request.sync_rules) {
    begin_member(out, "syncRules");
    append_texts(out, *request.sync_rules);
  }
  if (request.schema) {
    begin_member(out, "schema");
    out += '{';
    bool first = true;
    for (const auto& [table, fingerprint] : *request.schema) {
      if (!std::exchange(first, false)) out += ',';
      append_json_string(out, table);
      out += ':';
      append_json_string(out, fingerprint);
    }
    out += '}';
  }
  if (request.updates) out += ",\"updates\":true";
  out += '}';
  return out;
}

Result<PullPage> decode_page(const Domain& domain, std::string_view body) {
  // All of it goes at once at the end. About three times the text is what a page of rows takes.
  json::monotonic_resource memory(3 * body.size() + 1024);
  Result<json::value> parsed = parse_object(body, "the page", &memory);
  if (!parsed) return tl::unexpected(std::move(parsed.error()));
  FieldReader fields(*parsed->if_object());
  PullPage page;
  const json::array* changed = fields.required_array("changed");
  const json::array* tombstoned = fields.required_array("tombstoned");
  const json::array* removed = fields.required_array("removed");
  fields.required_texts("removedBuckets", page.removed_buckets);
  fields.required_text("cursor", page.cursor);
  fields.required_boolean("hasMore", page.has_more);
  fields.texts("buckets", page.buckets);
  fields.text("epoch", page.epoch);
  fields.boolean("cursorReset", page.cursor_reset);
  std::optional<std::int64_t> last;
  fields.integer("lastMutationId", last, 0, kIntegerMax);
  if (last) page.last_mutation_id = MutationId{static_cast<std::uint64_t>(*last)};
  fields.text("lastClientMutationId", page.last_client_mutation_id);
  if (const json::object* progress = fields.object("progress")) {
    FieldReader members(*progress);
    std::optional<std::int64_t> rows, total;
    members.integer("rows", rows, 0, kIntegerMax);
    members.integer("total", total, 0, kIntegerMax);
    if (members.failed() || !rows || !total)
      fields.refuse("progress", "must hold rows and total, integers ≥ 0");
    else
      page.progress =
          PullProgress{.rows = static_cast<std::uint64_t>(*rows), .total = static_cast<std::uint64_t>(*total)};
  }
  fields.text("hlc", page.hlc);
  std::string server_time;
  if (fields.text("serverTime", server_time)) {
    page.server_time = parse_iso8601(server_time);
    if (!page.server_time) fields.refuse("serverTime", "must be ISO 8601");
  }
  if (fields.failed()) return fields.error();

  if (auto read = read_changed(domain, *changed, page.changed); !read) return tl::unexpected(read.error());
  if (auto read = read_removals(domain, "tombstoned", *tombstoned, page.tombstoned); !read)
    return tl::unexpected(read.error());
  if (auto read = read_removals(domain, "removed", *removed, page.removed); !read) return tl::unexpected(read.error());
  return page;
}

void PageWriter::add_changed(std::string_view table, std::string_view row_json) {
  // Rows mostly come table by table, so the last used one is tried first.
  std::string* rows = nullptr;
  for (auto it = changed_.rbegin(); it != changed_.rend() && rows == nullptr; ++it)
    if (it->first == table) rows = &it->second;
  if (rows == nullptr) rows = &changed_.emplace_back(std::string(table), std::string()).second;
  if (!rows->empty()) *rows += ',';
  *rows += row_json;
}

void PageWriter::add_tombstoned(std::string_view table, std::string_view id_json,
                                const std::optional<std::string>& key) {
  append_removal(tombstoned_, table, id_json, key);
}

void PageWriter::add_removed(std::string_view table, std::string_view id_json, const std::optional<std::string>& key) {
  append_removal(removed_, table, id_json, key);
}

std::string PageWriter::finish(const Tail& tail) {
  std::size_t size = 512 + tombstoned_.size() + removed_.size() + tail.cursor.size();
  for (const auto& [table, rows] : changed_) size += 32 + table.size() + rows.size();
  for (const std::string& key : tail.removed_buckets) size += key.size() + 8;
  if (tail.buckets)
    for (const std::string& key : *tail.buckets) size += key.size() + 8;

  std::string out;
  out.reserve(size);
  out += "{\"changed\":[";
  bool first = true;
  for (const auto& [table, rows] : changed_) {
    if (!std::exchange(first, false)) out += ',';
    out += "{\"table\":";
    append_json_string(out, table);
    begin_member(out, "rows");
    out += '[';
    out += rows;
    out += "]}";
  }
  out += ']';
  begin_member(out, "tombstoned");
  out += '[';
  out += tombstoned_;
  out += ']';
  begin_member(out, "removed");
  out += '[';
  out += removed_;
  out += ']';
  begin_member(out, "removedBuckets");
  append_texts(out, tail.removed_buckets);
  begin_member(out, "cursor");
  append_json_string(out, tail.cursor);
  begin_member(out, "hasMore");
  out += tail.has_more ? "true" : "false";
  if (tail.buckets) {
    begin_member(out, "buckets");
    append_texts(out, *tail.buckets);
  }
  begin_member(out, "epoch");
  append_json_string(out, tail.epoch);
  if (tail.cursor_reset) {
    begin_member(out, "cursorReset");
    out += "true";
  }
  if (tail.last_mutation_id) {
    begin_member(out, "lastMutationId");
    append_json_number(out, static_cast<std::int64_t>(number(*tail.last_mutation_id)));
  }
  if (tail.last_client_mutation_id) {
    begin_member(out, "lastClientMutationId");
    append_json_string(out, *tail.last_client_mutation_id);
  }
  if (tail.progress) {
    begin_member(out, "progress");
    out += "{\"rows\":";
    append_json_number(out, static_cast<std::int64_t>(tail.progress->rows));
    begin_member(out, "total");
    append_json_number(out, static_cast<std::int64_t>(tail.progress->total));
    out += '}';
  }
  if (!tail.hlc.empty()) {
    begin_member(out, "hlc");
    append_json_string(out, tail.hlc);
  }
  begin_member(out, "serverTime");
  out += '"';
  out += to_iso8601(tail.server_time);
  out += "\"}";
  return out;
}

}  // namespace nizhal::protocol
