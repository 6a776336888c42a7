// What a live database holds, as far as a domain could declare it: what `nizhal introspect` reads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nizhal/value.hpp>

namespace nizhal::storage {

struct IntrospectedColumn {
  std::string name;
  std::string declared_type;       // as the database writes it: "character varying(20)"
  std::optional<ColumnType> type;  // absent: it cannot be synced
  std::string fault;               // then why, and what would help; else empty
  bool nullable = false;
  bool has_default = false;  // also identity and generated columns
};

/// What is wrong with every key that names no synced row.
inline constexpr const char* kKeysNeeded =
    "a synced row is named by one column of text, uuid, integer or bigint that is unique and never null";

struct IntrospectedForeignKey {
  std::string column;  // of one column only
  std::string table, other_column;
};

struct IntrospectedTable {
  std::string name;
  std::vector<IntrospectedColumn> columns;
  std::string key;    // the single column that names a row; empty: the table cannot be synced
  std::string fault;  // then why
  std::vector<IntrospectedForeignKey> foreign_keys;
};

struct IntrospectedSchema {
  std::string place;                      // `schema "public" of postgresql://…`, without credentials
  std::vector<IntrospectedTable> tables;  // by name
};

}  // namespace nizhal::storage
