// What commands print: the answer on standard output (one line of JSON with --json), why not on standard error, and
// the exit code that goes with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/store.hpp>

#include "base/json.hpp"

namespace nizhal::cli {

enum ExitCode : int {
  kDone = 0,
  kNo = 1,        // the answer is no: refused, lint found something, the demo's sums differ
  kUsage = 2,     // wrong usage
  kDrift = 3,     // the database does not fit the domain
  kUnusable = 4,  // could not reach or use something
};

ExitCode exit_code(ErrorCode code);

/// Prints `nizhal WHAT: message` on standard error; answers the exit code.
int fail(std::string_view what, const Error& error);
int fail(std::string_view what, ExitCode code, std::string_view message);

/// Writes `text` and a newline to standard output, at once.
void print_line(std::string_view text);
/// One line of JSON.
void print_json(const json::value& value);

/// JSON text as a value; what is not JSON becomes a string, so that a damaged store can still be shown.
json::value json_or_text(std::string_view text);
/// Null when empty.
json::value text_or_null(std::string_view text);

/// Rows as an array of objects, keys in column order. Blobs are base64. Two columns of one name get `:1`, `:2`.
std::string rows_as_json(const SqlResult& result);

/// An aligned table: numbers to the right, text to the left, control characters shown as escapes.
struct TextTable {
  std::vector<std::string> columns;
  struct Cell {
    std::string text;
    bool is_number = false;
  };
  std::vector<std::vector<Cell>> rows;
  std::string text() const;
};
TextTable rows_as_table(const SqlResult& result);

/// "1 row", "2 rows".
std::string counted(std::uint64_t number, std::string_view noun);

/// "23 B", "1.4 MiB".
std::string readable_bytes(std::uint64_t bytes);

/// Escape sequences, only when standard output is a terminal that wants them (NO_COLOR unset).
std::string bold(std::string_view text);
std::string green(std::string_view text);
std::string red(std::string_view text);
std::string yellow(std::string_view text);
std::string dim(std::string_view text);

}  // namespace nizhal::cli
