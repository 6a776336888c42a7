#include "client/base_rows.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"
#include "client/crdt_columns.hpp"
#include "client/row_writer.hpp"
#include "client/store_schema.hpp"
#include "domain/value_json.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client::base_rows {
namespace {

/// A bucket's parameter as a value of the column that it is compared with; nothing when no such value exists.
std::optional<Value> parameter_value(const ColumnDef& column, std::string_view text) {
  TableDef probe;
  probe.columns.push_back(column);
  probe.key = column.name;
  return key_from_text(probe, text);
}

bool is_covered(const CompiledDomain& domain, std::size_t table, const Row& row, const BucketKeys& keys) {
  const std::vector<Bucket> buckets = domain.buckets_of(table, row);
  return std::any_of(buckets.begin(), buckets.end(), [&](const Bucket& bucket) { return keys.contains(bucket.key); });
}

Result<void> evict_rows(StoreState& state, std::size_t table, const QuerySpec& query, const BucketKeys& retained) {
  auto rows = sqlite::select_rows(*state.connection, query);
  if (!rows) return tl::unexpected(rows.error());
  const TableDef& def = state.domain().table(table);
  for (const Row& row : *rows) {
    if (is_covered(state.domain(), table, row, retained)) continue;
    if (auto deleted = row_writer::remove(state, def, row[def.key_index()]); !deleted)
      return tl::unexpected(deleted.error());
  }
  return {};
}

/// Rows of the bucket that no retained bucket covers.
Result<void> evict_bucket(StoreState& state, const std::string& key, const BucketKeys& retained) {
  const CompiledDomain& domain = state.domain();
  const auto bucket = domain.parse_bucket(key);
  if (!bucket) {
    // A bucket of rules that this domain no longer has: whatever nothing retained covers goes.
    for (std::size_t table = 0; table < domain.tables().size(); ++table) {
      if (!domain.is_delivered(table)) continue;
      QuerySpec all;
      all.table = &domain.table(table);
      if (auto done = evict_rows(state, table, all, retained); !done) return done;
    }
    return {};
  }
  for (const BucketTable& scoped : domain.definitions()[bucket->definition].tables) {
    const TableDef& def = domain.table(scoped.table);
    QuerySpec query;
    query.table = &def;
    query.conditions = scoped.conditions;
    bool is_possible = true;
    for (std::size_t i = 0; i < scoped.parameter_columns.size(); ++i) {
      // A parameter that the rule does not use for this table has no column.
      if (scoped.parameter_columns[i].empty()) continue;
      const std::size_t column = def.index_of(scoped.parameter_columns[i]);
      auto value = column == TableDef::npos || i >= bucket->values.size()
                       ? std::nullopt
                       : parameter_value(def.columns[column], bucket->values[i]);
      if (!value) {
        is_possible = false;
        break;
      }
      query.conditions.push_back({def.columns[column].name, Comparison::eq, std::move(*value), true});
    }
    if (!is_possible) continue;
    if (auto done = evict_rows(state, scoped.table, query, retained); !done) return done;
  }
  return {};
}

}  // namespace

Result<void> apply(StoreState& state, const protocol::PullPage& page, BucketKeys& covered) {
  BucketKeys after;
  if (page.buckets) {
    after.insert(page.buckets->begin(), page.buckets->end());
  } else {
    after = covered;
    for (const std::string& key : page.removed_buckets) after.erase(key);
  }
  BucketKeys retained;
  BucketKeys evicted(page.removed_buckets.begin(), page.removed_buckets.end());
  for (const std::string& key : covered) {
    if (!after.contains(key)) {
      evicted.insert(key);
    } else if (!evicted.contains(key)) {
      retained.insert(key);
    }
  }
  for (const std::string& key : after) {
    if (!covered.contains(key)) evicted.insert(key);
  }
  for (const std::string& key : evicted) {
    if (auto done = evict_bucket(state, key, retained); !done) return done;
  }
  covered = std::move(after);

  return write(state, page);
}

Result<void> write(StoreState& state, const protocol::PullPage& page, const LeaveOut& leave_out) {
  Result<void> done;
  for_each_change(
      state.domain(), page, [&](const TableDef& table, const Value& key, const Row* row, const Updates& updates) {
        if (!done || (leave_out && leave_out(table, key))) return;
        if (!row) {
          if (auto removed = row_writer::remove(state, table, key); !removed) done = tl::unexpected(removed.error());
        } else if (!updates.empty()) {
          auto base = sqlite::select_row(*state.connection, table, key);
          auto whole = base ? merged(state, table, *base, *row, updates) : Result<Row>(tl::unexpected(base.error()));
          done = whole ? row_writer::upsert(state, table, fill_required(table, std::move(*whole)), &*base)
                       : Result<void>(tl::unexpected(whole.error()));
        } else if (lacks_required(table, *row)) {
          done = row_writer::upsert(state, table, fill_required(table, *row));
        } else {
          done = row_writer::upsert(state, table, *row);
        }
      });
  return done;
}

Result<Row> merged(StoreState& state, const TableDef& table, const std::optional<Row>& base, Row row,
                   const Updates& updates) {
  Result<Row> whole = base ? crdt_columns::merge_pulled(table, *base, std::move(row), updates)
                           : Result<Row>(failure(ErrorCode::bad_request, "the row is not here"));
  if (whole) return whole;
  state.misfit = fmt::format("an update of table \"{}\": {}", table.name, whole.error().message);
  return failure(ErrorCode::bad_request, state.misfit);
}

bool keeps_buckets(const StoreState& state, const protocol::PullPage& page) {
  if (!page.removed_buckets.empty()) return false;
  if (!page.buckets) return true;
  const BucketKeys keys(page.buckets->begin(), page.buckets->end());
  return keys_text(keys) == state.meta->get(meta_key::kBuckets);
}

Result<void> wipe(StoreState& state) {
  for (const auto& table : state.domain().tables()) {
    if (auto done = row_writer::clear(state, *table); !done) return done;
  }
  return {};
}

BucketKeys parse_keys(std::string_view text) {
  BucketKeys keys;
  const auto parsed = parse_json(text.empty() ? std::string_view("[]") : text);
  if (!parsed || !parsed->is_array()) return keys;
  for (const json::value& key : parsed->get_array()) {
    if (key.is_string()) keys.emplace(key.get_string());
  }
  return keys;
}

std::string keys_text(const BucketKeys& keys) {
  std::string text = "[";
  for (const std::string& key : keys) {
    if (text.size() > 1) text += ',';
    append_json_string(text, key);
  }
  return text + "]";
}

}  // namespace nizhal::client::base_rows
