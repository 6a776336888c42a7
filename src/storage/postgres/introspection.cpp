#include "storage/postgres/introspection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "domain/names.hpp"
#include "storage/postgres/drift.hpp"

namespace nizhal::storage {
namespace {

// Ordinary and partitioned tables, without the partitions themselves; not what belongs to an extension.
constexpr const char* kTables = R"sql(
SELECT c.oid, c.relname,
       CASE WHEN c.relkind = 'p' THEN 'it is partitioned, and the engine''s triggers need a plain table'
            WHEN c.relpersistence = 'u' THEN 'a crash of the database empties it; ALTER TABLE … SET LOGGED'
            WHEN EXISTS (SELECT 1 FROM pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent))
            THEN 'it has parents or children'
            ELSE '' END
  FROM pg_class AS c
 WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind IN ('r', 'p')
   AND NOT c.relispartition AND c.relpersistence <> 't'
   AND NOT EXISTS (SELECT 1 FROM pg_depend AS d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.relname COLLATE "C")sql";

// `kind`: e an enumeration, d a domain over another type, c a row type, b a base type; `array`: of any kind.
constexpr const char* kColumns = R"sql(
SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typname, t.typtype AS kind, t.typcategory = 'A' AS array,
       NOT a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '',
       coalesce(NOT o.collisdeterministic, false)
  FROM pg_attribute AS a
  JOIN pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
 WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum)sql";

// Unique indexes over whole columns, the primary key first; the columns of each.
constexpr const char* kKeys = R"sql(
SELECT i.indisprimary, i.indnkeyatts,
       (SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0])
  FROM pg_index AS i
 WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
 ORDER BY i.indisprimary DESC, i.indexrelid)sql";

constexpr const char* kForeignKeys = R"sql(
SELECT a.attname, r.relname, b.attname
  FROM pg_constraint AS f
  JOIN pg_class AS r ON r.oid = f.confrelid
  JOIN pg_attribute AS a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
  JOIN pg_attribute AS b ON b.attrelid = f.confrelid AND b.attnum = f.confkey[1]
 WHERE f.conrelid = $1::oid AND f.contype = 'f' AND cardinality(f.conkey) = 1
 ORDER BY a.attnum, f.oid)sql";

struct TypeName {
  std::string_view name;  // pg_type.typname
  ColumnType type;
};
constexpr std::array<TypeName, 14> kTypes{{{"text", ColumnType::text},
                                           {"varchar", ColumnType::text},
                                           {"uuid", ColumnType::uuid},
                                           {"int2", ColumnType::integer},
                                           {"int4", ColumnType::integer},
                                           {"int8", ColumnType::bigint},
                                           {"bool", ColumnType::boolean},
                                           {"float4", ColumnType::real},
                                           {"float8", ColumnType::real},
                                           {"numeric", ColumnType::numeric},
                                           {"timestamptz", ColumnType::timestamp},
                                           {"date", ColumnType::date},
                                           {"jsonb", ColumnType::json},
                                           {"json", ColumnType::json}}};

std::string fault_of_type(const std::string& column, std::string_view type, std::string_view kind, bool is_array) {
  if (type == "timestamp")
    return fmt::format(
        "it is a time without its zone; ALTER COLUMN \"{0}\" TYPE timestamptz USING \"{0}\" AT TIME ZONE 'UTC' names "
        "it",
        column);
  if (is_array) return "arrays do not sync; use jsonb, or a table of its own";
  if (kind == "e")
    return fmt::format("enumerations do not sync; ALTER COLUMN \"{0}\" TYPE text USING \"{0}\"::text, with a CHECK",
                       column);
  if (kind == "d") return "domain types do not sync; use the type below it, with its CHECK on the column";
  if (type == "bpchar") return "char(n) is padded with blanks; use text";
  if (type == "citext") return "citext compares without case, and synced text is compared by bytes; use text";
  return "this type does not sync; as text or jsonb it would";
}

Result<void> read_columns(postgres::Connection& connection, std::string_view oid, IntrospectedTable& table) {
  const postgres::Parameter parameters[] = {oid};
  const auto rows = connection.query(kColumns, parameters);
  if (!rows) return tl::unexpected(rows.error());
  for (int i = 0; i < rows->size(); ++i) {
    IntrospectedColumn column;
    column.name = std::string(rows->text(i, 0));
    if (postgres_schema::is_engine_column(column.name)) continue;
    column.declared_type = std::string(rows->text(i, 1));
    const std::string_view type = rows->text(i, 2);
    column.nullable = rows->boolean(i, 5);
    column.has_default = rows->boolean(i, 6);
    const auto known = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) { return t.name == type; });
    if (const std::string fault = name_fault(column.name); !fault.empty()) {
      column.fault = fmt::format("its name {}; rename it", fault);
    } else if (rows->boolean(i, 7)) {
      column.fault = "it is generated by the database";
    } else if (rows->boolean(i, 8)) {
      column.fault = "its collation takes different texts for equal, and synced text is compared by bytes";
    } else if (type == "bytea") {
      column.type = ColumnType::blob;
    } else if (known != kTypes.end()) {
      column.type = known->type;
    } else {
      column.fault = fault_of_type(column.name, type, rows->text(i, 3), rows->boolean(i, 4));
    }
    table.columns.push_back(std::move(column));
  }
  return {};
}

bool names_rows(const IntrospectedTable& table, std::string_view column) {
  for (const IntrospectedColumn& candidate : table.columns)
    if (candidate.name == column)
      return !candidate.nullable && (candidate.type == ColumnType::text || candidate.type == ColumnType::uuid ||
                                     candidate.type == ColumnType::integer || candidate.type == ColumnType::bigint);
  return false;
}

Result<void> read_key(postgres::Connection& connection, std::string_view oid, IntrospectedTable& table) {
  const postgres::Parameter parameters[] = {oid};
  const auto rows = connection.query(kKeys, parameters);
  if (!rows) return tl::unexpected(rows.error());
  table.fault = fmt::format("it has no primary key; {}", kKeysNeeded);
  for (int i = 0; i < rows->size(); ++i) {
    const bool is_single = rows->integer(i, 1) == 1;
    if (rows->boolean(i, 0))
      table.fault =
          fmt::format("its primary key {}; {}", is_single ? "is of another type" : "has several columns", kKeysNeeded);
    if (!is_single || !names_rows(table, rows->text(i, 2))) continue;
    table.key = std::string(rows->text(i, 2));
    table.fault.clear();
    return {};
  }
  return {};
}

Result<void> read_foreign_keys(postgres::Connection& connection, std::string_view oid, IntrospectedTable& table) {
  const postgres::Parameter parameters[] = {oid};
  const auto rows = connection.query(kForeignKeys, parameters);
  if (!rows) return tl::unexpected(rows.error());
  for (int i = 0; i < rows->size(); ++i)
    table.foreign_keys.push_back(
        {std::string(rows->text(i, 0)), std::string(rows->text(i, 1)), std::string(rows->text(i, 2))});
  return {};
}

}  // namespace

Result<IntrospectedSchema> introspect_postgres(const postgres::ConnectOptions& options,
                                               const std::vector<std::string>& tables) {
  auto connection = postgres::Connection::connect(options);
  if (!connection) return tl::unexpected(connection.error());
  const auto schema_name = (*connection)->query("SELECT current_schema()");
  if (!schema_name) return tl::unexpected(schema_name.error());
  const auto rows = (*connection)->query(kTables);
  if (!rows) return tl::unexpected(rows.error());
  IntrospectedSchema schema;
  schema.place = fmt::format("schema \"{}\" of {}", schema_name->text(0, 0), postgres::describe_url(options.url));
  std::vector<std::string> names;
  for (int i = 0; i < rows->size(); ++i) names.emplace_back(rows->text(i, 1));
  for (const std::string& name : tables)
    if (std::find(names.begin(), names.end(), name) == names.end())
      return failure(ErrorCode::not_found,
                     fmt::format("there is no table \"{}\" in {}: {}", name, schema.place, suggest_name(name, names)));
  for (int i = 0; i < rows->size(); ++i) {
    IntrospectedTable table;
    table.name = std::string(rows->text(i, 1));
    if (!tables.empty() && std::find(tables.begin(), tables.end(), table.name) == tables.end()) continue;
    const std::string oid(rows->text(i, 0));
    if (auto done = read_columns(**connection, oid, table); !done) return tl::unexpected(done.error());
    table.fault = std::string(rows->text(i, 2));
    if (table.fault.empty())
      if (auto done = read_key(**connection, oid, table); !done) return tl::unexpected(done.error());
    if (auto done = read_foreign_keys(**connection, oid, table); !done) return tl::unexpected(done.error());
    schema.tables.push_back(std::move(table));
  }
  return schema;
}

Result<bool> has_engine(const postgres::ConnectOptions& options) {
  auto connection = postgres::Connection::connect(options);
  if (!connection) return tl::unexpected(connection.error());
  const auto rows = (*connection)->query("SELECT to_regclass('nizhal.state') IS NOT NULL");
  if (!rows) return tl::unexpected(rows.error());
  return rows->size() == 1 && rows->boolean(0, 0);
}

}  // namespace nizhal::storage
