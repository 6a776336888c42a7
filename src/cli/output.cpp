// See output.hpp.
#include "cli/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/bytes.hpp"

namespace nizhal::cli {

namespace {

bool colour_wanted() {
  static const bool wanted = [] {
    const char* refused = std::getenv("NO_COLOR");
    const char* terminal = std::getenv("TERM");
    return ::isatty(STDOUT_FILENO) == 1 && !(refused && *refused) &&
           !(terminal && std::string_view(terminal) == "dumb");
  }();
  return wanted;
}

std::string painted(std::string_view text, std::string_view code) {
  if (!colour_wanted()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

// What a value may hold must not move the cursor of the terminal that shows it.
std::string printable(std::string_view text) {
  if (!is_utf8(text)) return fmt::format("x'{}'", to_hex(as_bytes(text)));
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

TextTable::Cell cell_of(const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return {fmt::format("{}", *number), true};
  if (const auto* number = std::get_if<double>(&value)) return {fmt::format("{}", *number), true};
  if (const auto* flag = std::get_if<bool>(&value)) return {*flag ? "true" : "false", false};
  if (const auto* text = std::get_if<std::string>(&value)) return {printable(*text), false};
  if (const auto* blob = std::get_if<Blob>(&value)) return {fmt::format("x'{}'", to_hex(blob->bytes)), false};
  return {"null", false};
}

void append_value(std::string& out, const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    append_json_number(out, *number);
  } else if (const auto* real = std::get_if<double>(&value)) {
    append_json_number(out, *real);
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    append_json_string(out, *text);
  } else if (const auto* blob = std::get_if<Blob>(&value)) {
    append_json_string(out, to_base64(blob->bytes));
  } else {
    out += "null";
  }
}

std::vector<std::string> unique_names(const std::vector<std::string>& columns) {
  std::vector<std::string> names;
  std::map<std::string, int> seen;
  for (const std::string& column : columns) {
    const int before = seen[column]++;
    names.push_back(before == 0 ? column : fmt::format("{}:{}", column, before));
  }
  return names;
}

}  // namespace

ExitCode exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::refused:
    case ErrorCode::invalid_args:
    case ErrorCode::not_found:
    case ErrorCode::constraint_violated:
      return kNo;
    case ErrorCode::usage:
    case ErrorCode::identity_mismatch:
      return kUsage;
    case ErrorCode::schema_mismatch:
      return kDrift;
    default:
      return kUnusable;
  }
}

int fail(std::string_view what, const Error& error) {
  // Another actor's token is the one mistake of usage that a script may want to tell from the others.
  const std::string_view word = error.code == ErrorCode::identity_mismatch ? "identity_mismatch: " : "";
  return fail(what, exit_code(error.code), fmt::format("{}{}", word, error.message));
}

int fail(std::string_view what, ExitCode code, std::string_view message) {
  while (message.ends_with('\n')) message.remove_suffix(1);
  fmt::print(stderr, "nizhal {}: {}\n", what, message);
  return code;
}

void print_line(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

void print_json(const json::value& value) { print_line(to_text(value)); }

json::value json_or_text(std::string_view text) {
  if (auto parsed = parse_json(text)) return std::move(*parsed);
  return json::value(json::string(text));
}

json::value text_or_null(std::string_view text) {
  if (text.empty()) return nullptr;
  return json::value(json::string(text));
}

std::string rows_as_json(const SqlResult& result) {
  const std::vector<std::string> names = unique_names(result.columns);
  std::string out = "[";
  for (const auto& row : result.rows) {
    out += out.size() > 1 ? ",{" : "{";
    for (std::size_t i = 0; i < names.size() && i < row.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, names[i]);
      out += ':';
      append_value(out, row[i]);
    }
    out += '}';
  }
  out += ']';
  return out;
}

TextTable rows_as_table(const SqlResult& result) {
  TextTable table;
  table.columns = result.columns;
  for (const auto& row : result.rows) {
    auto& cells = table.rows.emplace_back();
    for (const Value& value : row) cells.push_back(cell_of(value));
  }
  return table;
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths;
  for (const std::string& column : columns) widths.push_back(count_code_points(column));
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], count_code_points(row[i].text));

  std::string out;
  const auto append = [&](std::size_t column, std::string_view cell, bool to_the_right) {
    const std::string padding(widths[column] - count_code_points(cell), ' ');
    if (column > 0) out += "  ";
    if (to_the_right) out += padding;
    out += cell;
    if (!to_the_right && column + 1 < columns.size()) out += padding;
  };
  const auto is_numeric = [&](std::size_t column) {
    return !rows.empty() && std::all_of(rows.begin(), rows.end(), [&](const auto& row) {
      return row[column].is_number || row[column].text == "null";
    });
  };
  const auto end_line = [&] {
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += '\n';
  };
  for (std::size_t i = 0; i < columns.size(); ++i) append(i, columns[i], is_numeric(i));
  end_line();
  for (std::size_t i = 0; i < columns.size(); ++i) append(i, std::string(widths[i], '-'), false);
  for (const auto& row : rows) {
    end_line();
    for (std::size_t i = 0; i < row.size() && i < columns.size(); ++i) append(i, row[i].text, row[i].is_number);
  }
  end_line();
  out.pop_back();
  return out;
}

std::string counted(std::uint64_t number, std::string_view noun) {
  return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

std::string readable_bytes(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (size >= 1024 && unit + 1 < kUnits.size()) {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", size, kUnits[unit]);
}

std::string bold(std::string_view text) { return painted(text, "1"); }
std::string green(std::string_view text) { return painted(text, "32"); }
std::string red(std::string_view text) { return painted(text, "31"); }
std::string yellow(std::string_view text) { return painted(text, "33"); }
std::string dim(std::string_view text) { return painted(text, "2"); }

}  // namespace nizhal::cli
