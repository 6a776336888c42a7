#include "tests/support/select_text.hpp"

#include "tests/support/require.hpp"

namespace nizhal::testing {

std::vector<std::string> select_text(sqlite::Connection& connection, std::string_view sql) {
  auto statement = require(connection.prepare(sql), sql);
  std::vector<std::string> rows;
  while (require(statement.step(), sql)) {
    std::string row;
    for (int column = 0; column < statement.column_count(); ++column) {
      if (column > 0) row += '|';
      row += statement.is_null(column) ? std::string("~") : std::string(statement.text(column));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace nizhal::testing
