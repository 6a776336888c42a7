// The collation and the functions that queries rely on (query/to_sql.hpp), for every connection.
#pragma once

struct sqlite3;

namespace nizhal::sqlite {

/// SQLite's result code.
int add_functions(sqlite3* database);

}  // namespace nizhal::sqlite
