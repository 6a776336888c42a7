// The engine's own objects as a catalog describes them, read off the statements that create them: so there is one text
// of them, and a live database is judged by it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nizhal::storage::postgres_schema {

struct EngineColumn {
  std::string name;
  std::string type;  // as format_type() says it
  bool not_null = false;
  bool by_bytes = false;  // COLLATE "C"
};

struct EngineTable {
  std::string name;
  std::vector<EngineColumn> columns;
  std::vector<std::vector<std::string>> keys;  // columns of the primary key, then of unique constraints
};

struct EngineIndex {
  std::string name;
  std::string table;
  std::string method;
  std::vector<std::string> columns;
  std::string create_sql;
};

struct EngineFunction {
  std::string name;
  std::string language;
  bool security_definer = false;
  bool sets_path = false;  // search_path = pg_catalog, pg_temp
  std::string body;
  std::string replace_sql;
};

struct EngineObjects {
  std::vector<EngineTable> tables;
  std::vector<EngineIndex> indexes;
  std::vector<EngineFunction> functions;
};

EngineObjects engine_objects(std::string_view domain_name);

}  // namespace nizhal::storage::postgres_schema
