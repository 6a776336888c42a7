// `nizhal introspect`: a domain skeleton from a database that exists.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "cli/command.hpp"
#include "cli/database.hpp"
#include "cli/output.hpp"
#include "cli/parse.hpp"
#include "cli/skeleton.hpp"
#include "storage/postgres/introspection.hpp"
#include "storage/sqlite/introspection.hpp"

namespace nizhal::cli {

namespace {

struct Options {
  std::string db;
  std::vector<std::string> tables;
};

Result<storage::IntrospectedSchema> read_schema(const std::string& url, const std::vector<std::string>& tables) {
  const auto kind = parse_db(url);
  if (!kind) return tl::unexpected(kind.error());
  if (*kind == storage::DatabaseKind::postgres) {
    postgres::ConnectOptions options;
    options.url = url;
    return storage::introspect_postgres(options, tables);
  }
  const std::string path = storage::sqlite_path(url);
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return failure(ErrorCode::io_error, fmt::format("{}: there is no such database", path));
  return storage::introspect_sqlite(path, tables);
}

int run(const Globals& globals, const Options& options) {
  const auto url = database_url(options.db);
  if (!url) return fail("introspect", url.error());
  const auto schema = read_schema(*url, options.tables);
  if (!schema) return fail("introspect", schema.error());
  if (schema->tables.empty()) return fail("introspect", kNo, fmt::format("there are no tables in {}", schema->place));
  std::string text = domain_skeleton(*schema);
  while (text.ends_with('\n')) text.pop_back();
  if (globals.json) {
    json::array names;
    for (const storage::IntrospectedTable& table : schema->tables) names.emplace_back(std::string_view(table.name));
    print_json(json::object{{"tables", std::move(names)}, {"source", text + "\n"}});
  } else {
    print_line(text);
  }
  return kDone;
}

}  // namespace

void add_introspect_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("introspect", "Print a domain skeleton in C++ from existing tables");
  auto options = std::make_shared<Options>();
  command->add_option("--db", options->db, "The database: postgresql://… or sqlite:PATH (or NIZHAL_DB)");
  command->add_option("--table", options->tables, "Only this table; may be given several times");
  command->footer(
      "Reads only. PostgreSQL: the tables of the first schema of the search path. What it prints compiles; which\n"
      "rows reach whom and what users may do stand in it as comments, for you to decide.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, options] {
    action = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace nizhal::cli
