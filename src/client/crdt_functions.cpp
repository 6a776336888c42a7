#include "client/crdt_functions.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <nizhal/crdt.hpp>

#include "crdt/column.hpp"
#include "sqlite/error.hpp"

namespace nizhal::client {
namespace {

using Read = std::string (*)(crdt::Document& document, std::string_view root);

std::string read_text(crdt::Document& document, std::string_view root) { return document.text(root).to_string(); }
std::string read_delta(crdt::Document& document, std::string_view root) { return document.text(root).to_delta_json(); }
std::string read_map(crdt::Document& document, std::string_view root) { return document.map(root).to_json(); }

void fail(sqlite3_context* context, const std::string& message) {
  sqlite3_result_error(context, message.c_str(), static_cast<int>(message.size()));
}

template <Read kRead>
void run(sqlite3_context* context, int, sqlite3_value** arguments) {
  if (sqlite3_value_type(arguments[0]) == SQLITE_NULL || sqlite3_value_type(arguments[1]) == SQLITE_NULL) return;
  if (sqlite3_value_type(arguments[0]) != SQLITE_BLOB)
    return fail(context, "the first argument must be the value of a crdt_text or crdt_map column");
  const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_value_blob(arguments[0]));
  const std::span<const std::uint8_t> state(bytes, static_cast<std::size_t>(sqlite3_value_bytes(arguments[0])));
  const auto* name = reinterpret_cast<const char*>(sqlite3_value_text(arguments[1]));
  const std::string root(name ? name : "", static_cast<std::size_t>(sqlite3_value_bytes(arguments[1])));
  crdt::Document document(0, {.steps_max = crdt::kMergeStepsMax});
  if (auto applied = document.apply_update(state); !applied)
    return fail(context, fmt::format("column \"{}\": {}", root, applied.error().message));
  const std::string read = kRead(document, root);
  sqlite3_result_text64(context, read.data(), read.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

}  // namespace

Result<void> add_crdt_functions(sqlite3* database) {
  struct Function {
    const char* name;
    void (*run)(sqlite3_context*, int, sqlite3_value**);
  };
  constexpr Function kFunctions[] = {
      {"crdt_text", run<read_text>}, {"crdt_delta", run<read_delta>}, {"crdt_json", run<read_map>}};
  for (const Function& function : kFunctions) {
    const int code = sqlite3_create_function_v2(database, function.name, 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr,
                                                function.run, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return tl::unexpected(sqlite::make_error(code, "opening", sqlite3_errmsg(database)));
  }
  return {};
}

}  // namespace nizhal::client
