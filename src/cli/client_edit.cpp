// `nizhal client edit`: an edit of a CRDT column from the terminal, as an update for a mutator.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "cli/client_command.hpp"
#include "cli/domain_library.hpp"
#include "cli/output.hpp"
#include "crdt/any.hpp"
#include "crdt/updates.hpp"
#include "domain/value_json.hpp"
#include "query/to_sql.hpp"

namespace nizhal::cli {
namespace {

struct Place {
  TableDef table;
  ColumnDef column;
  Value key;
};

/// What could have been meant.
std::string crdt_columns_of(const TableDef& table) {
  std::vector<std::string> names;
  for (const ColumnDef& column : table.columns)
    if (is_crdt(column.type)) names.push_back(column.name);
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}
std::string tables_of(const Domain& domain) {
  std::vector<std::string> names;
  for (const auto& table : domain.tables()) names.push_back(table->name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<Place> place_of(const Domain& domain, const EditWords& words) {
  const TableDef* table = domain.find_table(words.table);
  if (!table)
    return failure(ErrorCode::usage,
                   fmt::format("the domain has no table \"{}\"; it has: {}", words.table, tables_of(domain)));
  const std::size_t column = table->index_of(words.column);
  if (column == TableDef::npos)
    return failure(ErrorCode::usage, fmt::format("table \"{}\" has no column \"{}\"; its CRDT columns are: {}",
                                                 words.table, words.column, crdt_columns_of(*table)));
  if (!is_crdt(table->columns[column].type))
    return failure(ErrorCode::usage,
                   fmt::format("table \"{}\", column \"{}\" is of type {}; its CRDT columns are: {}", words.table,
                               words.column, to_string(table->columns[column].type), crdt_columns_of(*table)));
  auto key = key_from_text(*table, words.key);
  if (!key) return failure(ErrorCode::usage, fmt::format("\"{}\" is no key of table \"{}\"", words.key, words.table));
  return Place{*table, table->columns[column], *std::move(key)};
}

Result<Blob> state_of(const Store& store, const Place& place) {
  const auto found = store.sql(fmt::format("SELECT {} FROM {} WHERE {} = {}", quote_identifier(place.column.name),
                                           quote_identifier(place.table.name), quote_identifier(place.table.key),
                                           sql_literal(Dialect::sqlite, place.table.key_column().type, place.key)));
  if (!found) return tl::unexpected(found.error());
  if (found->rows.empty())
    return failure(ErrorCode::not_found,
                   fmt::format("table \"{}\" has no row \"{}\" on this device; `sync` brings what the server has",
                               place.table.name, key_text(place.key)));
  const auto* state = std::get_if<Blob>(&found->rows.front().front());
  return state ? *state : Blob{};
}

Result<std::uint64_t> number(std::string_view text, std::string_view what) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return failure(ErrorCode::usage, fmt::format("{} must be a whole number, not \"{}\"", what, text));
  return value;
}

Result<void> edit_text(crdt::Text text, const EditWords& words) {
  const std::string& first = words.operands[0];
  auto position = first == "end" ? Result<std::uint64_t>(text.length()) : number(first, "POSITION");
  if (!position) return tl::unexpected(position.error());
  if (words.operation == "insert") return text.insert(*position, words.operands[1]);
  const auto length = number(words.operands[1], "LENGTH");
  if (!length) return tl::unexpected(length.error());
  return text.remove(*position, *length);
}

Result<void> edit_map(crdt::Map map, const EditWords& words) {
  if (words.operation == "unset") {
    map.remove(words.operands[0]);
    return {};
  }
  const auto value = crdt::any_from_json(words.operands[1]);
  if (!value)
    return failure(ErrorCode::usage,
                   fmt::format("the value must be JSON, as in 5 or '\"five\"', not {}", words.operands[1]));
  return map.set(words.operands[0], *value);
}

Result<Blob> edited(const Place& place, const Blob& state, const EditWords& words) {
  struct Operation {
    std::string_view name;
    ColumnType type;
    std::size_t operands;
  };
  static constexpr Operation kOperations[] = {{"insert", ColumnType::crdt_text, 2},
                                              {"remove", ColumnType::crdt_text, 2},
                                              {"set", ColumnType::crdt_map, 2},
                                              {"unset", ColumnType::crdt_map, 1}};
  const auto* operation = std::find_if(std::begin(kOperations), std::end(kOperations),
                                       [&](const Operation& known) { return known.name == words.operation; });
  if (operation == std::end(kOperations) || operation->type != place.column.type ||
      operation->operands != words.operands.size())
    return failure(ErrorCode::usage,
                   fmt::format("column \"{}\" is a {}: {}", place.column.name, to_string(place.column.type),
                               place.column.type == ColumnType::crdt_text
                                   ? "insert POSITION TEXT (POSITION may be `end`), or remove POSITION LENGTH"
                                   : "set NAME JSON, or unset NAME"));
  if (place.column.type == ColumnType::crdt_text) {
    auto editor = open_crdt(place.column.name, CrdtText{state.bytes});
    if (!editor) return tl::unexpected(editor.error());
    if (auto done = edit_text(editor->text(), words); !done) return tl::unexpected(done.error());
    return editor->take_update();
  }
  auto editor = open_crdt(place.column.name, CrdtMap{state.bytes});
  if (!editor) return tl::unexpected(editor.error());
  if (auto done = edit_map(editor->map(), words); !done) return tl::unexpected(done.error());
  return editor->take_update();
}

/// The mutator's arguments, when it is plain which is which: the key by `references(table)`, the update by its type.
Result<std::string> arguments_of(const Domain& domain, const Place& place, const Blob& update, const EditWords& words) {
  const MutatorDef* mutator = domain.find_mutator(words.mutator);
  if (!mutator) return failure(ErrorCode::usage, fmt::format("the domain has no mutator \"{}\"", words.mutator));
  const ArgumentDef* key = nullptr;
  const ArgumentDef* bytes = nullptr;
  bool is_plain = mutator->arguments.size() == 2;
  for (const ArgumentDef& argument : mutator->arguments) {
    const ArgumentDef*& role = argument.type == ColumnType::blob ? bytes : key;
    is_plain = is_plain && !role && (&role == &bytes || argument.references == place.table.name);
    role = &argument;
  }
  if (!is_plain || !key || !bytes)
    return failure(
        ErrorCode::usage,
        fmt::format("mutator \"{}\" is not one with a key of table \"{}\" and an update; leave --mutator out "
                    "and give the update that is printed to `mutate`",
                    words.mutator, place.table.name));
  std::string json = "{";
  append_json_string(json, key->name);
  json += ':';
  append_value_json(json, key->type, place.key);
  json += ',';
  append_json_string(json, bytes->name);
  json += fmt::format(":\"{}\"}}", to_base64(update.bytes));
  return json;
}

}  // namespace

int client_edit(const Globals& globals, Store& store, const std::string& library, const EditWords& words) {
  const auto domain = load_domain(library);
  if (!domain) return fail("client edit", domain.error());
  const auto place = place_of(*domain, words);
  if (!place) return fail("client edit", place.error());
  const auto state = state_of(store, *place);
  if (!state) return fail("client edit", state.error());
  const auto update = edited(*place, *state, words);
  if (!update) return fail("client edit", update.error());
  if (!words.mutator.empty()) {
    const auto arguments = arguments_of(*domain, *place, *update, words);
    if (!arguments) return fail("client edit", arguments.error());
    return client_mutate(globals, store, words.mutator, *arguments);
  }
  if (globals.json)
    print_json(json::object{{"update", to_base64(update->bytes)}});
  else
    print_line(to_base64(update->bytes));
  return kDone;
}

}  // namespace nizhal::cli
