#include "storage/postgres/live_schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/triggers.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

using postgres::Connection;
using postgres::Rows;

template <class T>
const T* named(const std::vector<T>& all, std::string_view name) {
  for (const T& one : all)
    if (one.name == name) return &one;
  return nullptr;
}

std::string text_at(const Rows& rows, int row, int column) { return std::string(rows.text(row, column)); }

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

/// JSON arrays of what the catalogs list, which is free of any quoting of PostgreSQL's.
std::vector<std::string> texts_of(std::string_view array) {
  std::vector<std::string> texts;
  const auto parsed = parse_json(array);
  const json::array* elements = parsed ? parsed->if_array() : nullptr;
  if (elements == nullptr) return texts;
  for (const json::value& element : *elements) {
    const auto* text = element.if_string();
    texts.emplace_back(text != nullptr ? std::string(text->data(), text->size()) : std::string());
  }
  return texts;
}

class Reader {
 public:
  Reader(Connection& connection, const CompiledDomain& domain) : connection_(connection), domain_(domain) {}

  Result<LiveSchema> read() {
    auto transaction = Transaction::begin(connection_, "ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (!transaction) return tl::unexpected(transaction.error());
    for (const auto step : {&Reader::database, &Reader::state, &Reader::recorded, &Reader::relations, &Reader::columns,
                            &Reader::indexes, &Reader::triggers, &Reader::functions, &Reader::sequence, &Reader::rows})
      if (auto done = (this->*step)(); !done) return tl::unexpected(done.error());
    return std::move(live_);
  }

 private:
  Result<void> database() {
    const auto rows = connection_.query(
        "SELECT current_schema(), pg_encoding_to_char(d.encoding), to_regnamespace('nizhal') IS NOT NULL, "
        "to_regclass('nizhal.state') IS NOT NULL AND to_regclass('nizhal.synced_table') IS NOT NULL "
        "FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()");
    if (!rows) return tl::unexpected(rows.error());
    live_.schema = text_at(*rows, 0, 0);
    live_.encoding = text_at(*rows, 0, 1);
    live_.has_engine_schema = rows->boolean(0, 2);
    live_.has_state = rows->boolean(0, 3);
    // From here on no function or operator of anybody else is meant, however well its types fit.
    if (auto done = connection_.query("SET LOCAL search_path = pg_catalog, pg_temp"); !done)
      return tl::unexpected(done.error());
    return {};
  }

  Result<void> state() {
    if (!live_.has_state) return {};
    // By name, so that a state of any format can be read this far.
    const auto rows = connection_.query(
        "SELECT s->>'domain', s->>'format', s->>'epoch', s->>'min_client_version', s->>'pruned_through' "
        "FROM (SELECT to_jsonb(t) AS s FROM nizhal.state AS t) AS j");
    if (!rows) return tl::unexpected(rows.error());
    if (rows->size() != 1)
      return failure(ErrorCode::corrupt, "the table nizhal.state has lost its row; restore a backup of the database");
    live_.domain = text_at(*rows, 0, 0);
    live_.format = rows->integer(0, 1);
    live_.epoch = text_at(*rows, 0, 2);
    live_.min_client_version = text_at(*rows, 0, 3);
    live_.greatest_version = rows->integer(0, 4);
    return {};
  }

  Result<void> recorded() {
    if (!live_.has_state) return {};
    const auto rows = connection_.query(
        "SELECT r->>'table_name', r->>'columns', r->>'delivered', r->>'was_delivered', r->>'triggers', "
        "r->>'definitions', r->>'ready' FROM (SELECT to_jsonb(t) AS r FROM nizhal.synced_table AS t) AS j");
    if (!rows) return tl::unexpected(rows.error());
    for (int i = 0; i < rows->size(); ++i) {
      RecordedTable table;
      const auto parsed = parse_json(rows->text(i, 1));
      const json::object* columns = parsed ? parsed->if_object() : nullptr;
      if (columns == nullptr)
        return failure(ErrorCode::corrupt,
                       "the table nizhal.synced_table is damaged; restore a backup of the database");
      for (const auto& member : *columns) {
        const auto* type = member.value().if_string();
        table.columns.emplace_back(std::string(member.key().data(), member.key().size()),
                                   type != nullptr ? std::string(type->data(), type->size()) : std::string());
      }
      table.delivered = rows->text(i, 2) == "true";
      table.was_delivered = rows->text(i, 3) == "true";
      table.triggers = text_at(*rows, i, 4);
      table.definitions = words_of(rows->text(i, 5));
      table.ready = rows->text(i, 6) == "true";
      live_.recorded.emplace(text_at(*rows, i, 0), std::move(table));
    }
    return {};
  }

  /// The relations that are looked at, as a condition on `c` (pg_class) and `n` (its schema).
  std::string looked_at() const {
    std::string names;
    const auto add = [&names](const std::string& name) { names += (names.empty() ? "" : ", ") + text_literal(name); };
    for (const auto& table : domain_.tables()) add(table->name);
    for (const auto& [name, table] : live_.recorded)
      if (!domain_.table_index(name)) add(name);
    return fmt::format(
        "((n.nspname = 'nizhal' AND c.relkind = 'r') OR (n.nspname = {} AND c.relname = ANY "
        "(ARRAY[{}]::name[]) AND c.relkind NOT IN ('i', 'I', 'c', 't')))",
        text_literal(live_.schema), names);
  }

  Result<void> relations() {
    const auto rows = connection_.query(fmt::format(
        "SELECT n.nspname = 'nizhal', c.relname, c.oid, c.relkind, c.relpersistence, c.relispartition OR EXISTS "
        "(SELECT FROM pg_catalog.pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent)), "
        "CASE WHEN c.relkind = 'r' THEN row_security_active(c.oid) ELSE false END "
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE {}",
        looked_at()));
    if (!rows) return tl::unexpected(rows.error());
    for (int i = 0; i < rows->size(); ++i) {
      LiveTable table;
      table.oid = static_cast<std::uint64_t>(rows->integer(i, 2));
      table.kind = rows->text(i, 3).empty() ? '?' : rows->text(i, 3).front();
      table.persistence = rows->text(i, 4).empty() ? '?' : rows->text(i, 4).front();
      table.is_inherited = rows->boolean(i, 5);
      table.hides_rows = rows->boolean(i, 6);
      auto& tables = rows->boolean(i, 0) ? live_.engine_tables : live_.tables;
      tables.emplace(text_at(*rows, i, 1), std::move(table));
    }
    for (auto* tables : {&live_.engine_tables, &live_.tables})
      for (auto& [name, table] : *tables) by_oid_[table.oid] = &table;
    for (const auto& [oid, table] : by_oid_) oids_ += (oids_.empty() ? "" : ", ") + fmt::to_string(oid);
    return {};
  }

  LiveTable* table_at(const Rows& rows, int row) {
    const auto found = by_oid_.find(static_cast<std::uint64_t>(rows.integer(row, 0)));
    return found == by_oid_.end() ? nullptr : found->second;
  }

  Result<void> columns() {
    if (oids_.empty()) return {};
    const auto rows = connection_.query(fmt::format(
        "SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef, "
        "a.attidentity <> '' OR a.attgenerated <> '', coalesce(l.collname = 'C', false), "
        "coalesce(l.collisdeterministic, true) FROM pg_catalog.pg_attribute AS a "
        "LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation "
        "WHERE a.attrelid IN ({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum",
        oids_));
    if (!rows) return tl::unexpected(rows.error());
    for (int i = 0; i < rows->size(); ++i)
      if (LiveTable* table = table_at(*rows, i))
        table->columns.push_back({text_at(*rows, i, 1), text_at(*rows, i, 2), rows->boolean(i, 3), rows->boolean(i, 4),
                                  rows->boolean(i, 5), rows->boolean(i, 6), rows->boolean(i, 7)});
    return {};
  }

  Result<void> indexes() {
    if (oids_.empty()) return {};
    const auto rows = connection_.query(fmt::format(
        "SELECT x.indrelid, c.relname, m.amname, x.indisunique, x.indisvalid AND x.indisready AND x.indislive, "
        "x.indpred IS NULL AND x.indexprs IS NULL AND x.indimmediate AND x.indnatts = x.indnkeyatts AND NOT EXISTS "
        "(SELECT FROM unnest(x.indoption) AS o WHERE o <> 0), "
        "(SELECT json_agg(a.attname ORDER BY k.place) FROM unnest(x.indkey) WITH ORDINALITY AS k (number, place) "
        "LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number), "
        "(SELECT json_agg(coalesce(l.collname = 'C', false)::text ORDER BY k.place) FROM unnest(x.indcollation) "
        "WITH ORDINALITY AS k (collated, place) LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = k.collated) "
        "FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS c ON c.oid = x.indexrelid "
        "JOIN pg_catalog.pg_am AS m ON m.oid = c.relam WHERE x.indrelid IN ({}) ORDER BY c.relname",
        oids_));
    if (!rows) return tl::unexpected(rows.error());
    for (int i = 0; i < rows->size(); ++i) {
      LiveTable* table = table_at(*rows, i);
      if (table == nullptr) continue;
      LiveIndex index;
      index.name = text_at(*rows, i, 1);
      index.method = text_at(*rows, i, 2);
      index.is_unique = rows->boolean(i, 3);
      index.is_valid = rows->boolean(i, 4);
      index.is_plain = rows->boolean(i, 5);
      index.columns = texts_of(rows->text(i, 6));
      for (const std::string& by_bytes : texts_of(rows->text(i, 7))) index.by_bytes.push_back(by_bytes == "true");
      table->indexes.push_back(std::move(index));
    }
    return {};
  }

  Result<void> triggers() {
    const auto rows = connection_.query(fmt::format(
        "SELECT t.tgrelid, t.tgname, CASE WHEN pn.nspname = 'nizhal' THEN p.proname END, t.tgtype, t.tgenabled = 'O' "
        "AND t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgattr = ''::int2vector AND NOT t.tgdeferrable "
        "AND t.tgoldtable IS NULL AND t.tgnewtable IS NULL, t.tgenabled IN ('O', 'A'), "
        "CASE WHEN n.nspname NOT IN ('nizhal', {}) THEN n.nspname || '.' || c.relname END "
        "FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid "
        "JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.pronamespace "
        "JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = "
        "c.relnamespace "
        "WHERE NOT t.tgisinternal AND (pn.nspname = 'nizhal' OR t.tgname LIKE 'nizhal\\_%') ORDER BY t.tgname",
        text_literal(live_.schema)));
    if (!rows) return tl::unexpected(rows.error());
    for (int i = 0; i < rows->size(); ++i) {
      if (!rows->is_null(i, 6) && !rows->is_null(i, 2)) {
        const std::string place = text_at(*rows, i, 6);
        if (std::find(live_.elsewhere.begin(), live_.elsewhere.end(), place) == live_.elsewhere.end())
          live_.elsewhere.push_back(place);
      }
      if (LiveTable* table = table_at(*rows, i))
        table->triggers.push_back({text_at(*rows, i, 1), text_at(*rows, i, 2), static_cast<int>(rows->integer(i, 3)),
                                   rows->boolean(i, 4), rows->boolean(i, 5)});
    }
    return {};
  }

  Result<void> functions() {
    const auto rows = connection_.query(
        "SELECT p.proname, l.lanname, p.prosrc, p.prosecdef, array_to_string(p.proconfig, ',') "
        "FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace "
        "JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang WHERE n.nspname = 'nizhal'");
    if (!rows) return tl::unexpected(rows.error());
    for (int i = 0; i < rows->size(); ++i)
      live_.functions[text_at(*rows, i, 0)] = {text_at(*rows, i, 1), text_at(*rows, i, 2), rows->boolean(i, 3),
                                               text_at(*rows, i, 4)};
    return {};
  }

  Result<void> sequence() {
    if (!live_.has_state) return {};
    const auto settings = connection_.query(
        "SELECT concat_ws(' ', format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqcache, "
        "s.seqcycle) FROM pg_catalog.pg_sequence AS s WHERE s.seqrelid = to_regclass('nizhal.version_seq')");
    if (!settings) return tl::unexpected(settings.error());
    if (settings->size() == 0) return {};
    const auto place = connection_.query("SELECT last_value, is_called FROM nizhal.version_seq");
    if (!place) return tl::unexpected(place.error());
    live_.sequence = LiveSequence{text_at(*settings, 0, 0), place->integer(0, 0), place->boolean(0, 1)};
    for (const char* table : {"audit", "grant_change"}) {
      const auto found = live_.engine_tables.find(table);
      if (found == live_.engine_tables.end() || found->second.column("version") == nullptr) continue;
      const auto greatest = connection_.query(fmt::format("SELECT max(version) FROM nizhal.{}", table));
      if (!greatest) return tl::unexpected(greatest.error());
      live_.greatest_version = std::max(live_.greatest_version, greatest->integer(0, 0));
    }
    return {};
  }

  Result<void> rows() {
    for (auto& [name, table] : live_.tables) {
      if (table.kind != 'r') continue;
      const auto found =
          connection_.query(fmt::format("SELECT EXISTS (SELECT FROM {})", qualified(live_.schema, name)));
      if (!found) return tl::unexpected(found.error());
      table.has_rows = found->boolean(0, 0);
    }
    return {};
  }

  Connection& connection_;
  const CompiledDomain& domain_;
  LiveSchema live_;
  std::map<std::uint64_t, LiveTable*> by_oid_;
  std::string oids_;
};

}  // namespace

const LiveColumn* LiveTable::column(std::string_view name) const { return named(columns, name); }
const LiveIndex* LiveTable::index(std::string_view name) const { return named(indexes, name); }

const std::string* RecordedTable::column(std::string_view name) const {
  for (const auto& [column, type] : columns)
    if (column == name) return &type;
  return nullptr;
}

Result<LiveSchema> read_live_schema(Connection& connection, const CompiledDomain& domain) {
  return Reader(connection, domain).read();
}

Result<Transaction> Transaction::begin(Connection& connection, std::string_view modes) {
  if (auto done = connection.query(fmt::format("BEGIN {}", modes)); !done) return tl::unexpected(done.error());
  Transaction transaction(connection);
  if (!connection.transaction_settings().empty())
    if (auto done = connection.query(connection.transaction_settings()); !done) return tl::unexpected(done.error());
  return transaction;
}

Transaction::~Transaction() {
  if (connection_ != nullptr) static_cast<void>(connection_->reset());
}

Result<void> Transaction::commit() {
  if (auto done = connection_->query("COMMIT"); !done) return tl::unexpected(done.error());
  connection_ = nullptr;
  return {};
}

}  // namespace nizhal::storage::postgres_schema
