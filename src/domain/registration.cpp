// Registration checks of the domain itself, its tables and its mutators. What passes here and in
// registration_rules.cpp can be turned into SQL, contracts and buckets without further questions.
#include "domain/registration.hpp"

#include <fmt/format.h>

#include <map>
#include <set>

#include "domain/contract.hpp"
#include "domain/json_shape.hpp"
#include "domain/names.hpp"
#include "domain/value_json.hpp"

namespace nizhal {
namespace {

void check_name(std::string_view name, const std::string& place, Findings& findings) {
  if (const std::string fault = name_fault(name); !fault.empty())
    findings.error("bad_name", place, fmt::format("the name \"{}\" {}", name, fault),
                   "use letters, digits and underscores, at most 63, not starting with a digit, nizhal_ or sqlite_");
}

void check_options(const Domain& domain, Findings& findings) {
  const std::string place = fmt::format("domain \"{}\"", domain.name());
  check_name(domain.name(), place, findings);
  for (const auto& [option, text] : {std::pair<const char*, std::string>{"version", domain.options().version},
                                     {"min_client_version", domain.options().min_client_version}}) {
    if (!compare_versions(text, "0"))
      findings.error("bad_version", place, fmt::format("{} \"{}\" is not a version", option, text),
                     "write dotted numbers, such as \"1.2.0\"");
  }
  if (domain.tables().empty())
    findings.error("no_tables", place, "the domain has no tables", "declare one with nizhal::table and add() it");
}

void check_column(const TableDef& table, const ColumnDef& column, Findings& findings) {
  const std::string place = fmt::format("table \"{}\", column \"{}\"", table.name, column.name);
  check_name(column.name, place, findings);
  if (is_crdt(column.type) && column.nullable)
    findings.error("nullable_crdt", place, fmt::format("the column of type {} can be null", to_string(column.type)),
                   "declare the member without std::optional: a new CrdtText or CrdtMap is empty");
  if (is_crdt(column.type) && !column.nullable && column.default_value &&
      *column.default_value != Value(Blob{CrdtText{}.state}))
    findings.error("crdt_default", place, "a CRDT column has no default value of its own",
                   "leave default_value() out: a new one is empty; write into it when the row is inserted");
  if (column.default_value) {
    std::string why;
    if (!check_value(column, *column.default_value, &why))
      findings.error("bad_default", place, fmt::format("the default value {}", why),
                     fmt::format("give default_value() a value of type {}", to_string(column.type)));
  }
}

void check_key(const TableDef& table, Findings& findings) {
  const std::string place = fmt::format("table \"{}\"", table.name);
  if (table.key.empty() || table.key_index() == TableDef::npos) {
    findings.error("table_without_key", place, "the table has no key",
                   "declare one with .key(\"id\", &Row::id): every synced row needs an identity");
    return;
  }
  const ColumnDef& key = table.key_column();
  if (!is_bucket_type(key.type))
    findings.error("bad_key_type", place, fmt::format("the key \"{}\" is of type {}", table.key, to_string(key.type)),
                   "use text (std::string), uuid (nizhal::Uuid), integer (std::int32_t) or bigint (std::int64_t)");
  if (key.nullable)
    findings.error("nullable_key", place, fmt::format("the key \"{}\" can be null", table.key),
                   "declare the member without std::optional");
}

void check_tables(const Domain& domain, Findings& findings) {
  // SQL ignores the case of names, so names that differ only in case are one name.
  std::map<std::string, std::string> tables;
  for (const auto& table : domain.tables()) {
    const std::string place = fmt::format("table \"{}\"", table->name);
    check_name(table->name, place, findings);
    if (const auto [first, is_new] = tables.emplace(lower_case(table->name), table->name); !is_new)
      findings.error("duplicate_table", place,
                     first->second == table->name
                         ? std::string("the table is added twice")
                         : fmt::format("the name differs from table \"{}\" only in case", first->second),
                     "give each table a name of its own and add it once");
    std::set<std::string> columns;
    for (const ColumnDef& column : table->columns) {
      check_column(*table, column, findings);
      if (!columns.insert(lower_case(column.name)).second)
        findings.error("duplicate_column", fmt::format("table \"{}\", column \"{}\"", table->name, column.name),
                       "the column is declared twice (case does not count)",
                       "remove one; .key(…) already declares the key's column");
    }
    check_key(*table, findings);
    if (table->merge == Merge::Field && table->append_only)
      findings.error("nothing_to_merge", place, "Merge::Field on an append-only table: its rows are never edited",
                     "leave out .merge(Merge::Field) or .append_only()");
  }
}

void check_named_table(const Domain& domain, const std::string& place, const ArgumentDef& argument,
                       const char* constraint, const std::string& name, Findings& findings) {
  if (name.empty()) return;
  const TableDef* table = domain.find_table(name);
  if (!table) {
    findings.error("unknown_table", place,
                   fmt::format("{} names table \"{}\", which the domain does not have", constraint, name),
                   fmt::format("add() the table to the domain; {}", suggest_name(name, table_names(domain))));
    return;
  }
  if (table->key_index() == TableDef::npos) return;
  if (table->key_column().type != argument.type)
    findings.error("constraint_misfit", place,
                   fmt::format("{} names table \"{}\", whose key is of type {}, but the argument is of type {}",
                               constraint, name, to_string(table->key_column().type), to_string(argument.type)),
                   "give the argument the type of the key");
}

/// The constraint that does not fit the argument's type, with the types that it fits.
void check_constraints(const std::string& place, const ArgumentDef& argument, Findings& findings) {
  const auto misfit = [&](const char* constraint, const char* fits) {
    findings.error("constraint_misfit", place,
                   fmt::format("{} does not fit an argument of type {}", constraint, to_string(argument.type)),
                   fmt::format("it fits {}", fits));
  };
  const bool is_whole = is_whole_number_type(argument.type);
  const bool is_real = argument.type == ColumnType::real;
  const bool is_text = argument.type == ColumnType::text;
  if ((argument.minimum || argument.maximum) && !is_whole && !is_real)
    misfit("a range (at_least, at_most, between)", "integer, bigint and real");
  else if (((argument.real_minimum && !argument.minimum) || (argument.real_maximum && !argument.maximum)) && !is_real)
    misfit("at_least_real or at_most_real", "real; use at_least and at_most for integer and bigint");
  if ((argument.min_length || argument.max_length) && !is_text) misfit("min_length or max_length", "text");
  if (!argument.one_of.empty() && !is_text) misfit("one_of", "text");
  if (argument.shape && argument.type != ColumnType::json) misfit("shaped", "json (nizhal::Json)");
  if (is_crdt(argument.type))
    findings.error("crdt_argument", place, fmt::format("an argument cannot be of type {}", to_string(argument.type)),
                   "take the update as blob (nizhal::Blob); the mutator writes it into the column");

  const bool is_empty_range =
      (is_whole && argument.minimum && argument.maximum && *argument.minimum > *argument.maximum) ||
      (is_real && argument.real_minimum && argument.real_maximum && *argument.real_minimum > *argument.real_maximum) ||
      (argument.min_length && argument.max_length && *argument.min_length > *argument.max_length);
  if (is_empty_range)
    findings.error("empty_range", place, "no value can satisfy the minimum and the maximum",
                   "swap or correct the bounds");
  if (argument.shape && argument.type == ColumnType::json)
    if (const auto fault = shape_declaration_fault(*argument.shape))
      findings.error("bad_shape", place, fmt::format("the shape makes no sense: {}", *fault), "correct the shape");
}

void check_arguments(const Domain& domain, const std::string& place, const std::vector<ArgumentDef>& declared,
                     Findings& findings) {
  std::set<std::string> arguments;
  for (const ArgumentDef& argument : declared) {
    const std::string where = fmt::format("{}, argument \"{}\"", place, argument.name);
    check_name(argument.name, where, findings);
    if (!arguments.insert(argument.name).second)
      findings.error("duplicate_argument", where, "the argument is declared twice", "rename or remove one");
    check_constraints(where, argument, findings);
    check_named_table(domain, where, argument, "references", argument.references, findings);
    check_named_table(domain, where, argument, "new_id_of", argument.new_id_of, findings);
  }
}

void check_upcasters(const Domain& domain, const std::string& mutator_place, const MutatorDef& mutator,
                     Findings& findings) {
  std::set<int> versions;
  for (const UpcasterDef& upcaster : mutator.upcasters) {
    const std::string place = fmt::format("{}, upcaster of version {}", mutator_place, upcaster.from_version);
    if (upcaster.from_version < 1)
      findings.error("bad_upcaster", place, "argument versions count from 1",
                     "name the version that the old arguments had; a mutator that named none had version 1");
    else if (upcaster.from_version >= mutator.version)
      findings.error(
          "bad_upcaster", place,
          fmt::format("the mutator's arguments are of version {}, so there is nothing older to upcast from",
                      mutator.version),
          fmt::format("raise the mutator's own with .version({}), or remove the upcaster", upcaster.from_version + 1));
    if (!versions.insert(upcaster.from_version).second)
      findings.error("duplicate_upcaster", place, "there are two upcasters of this version", "remove one");
    check_arguments(domain, place, upcaster.arguments, findings);
  }
}

void check_mutators(const Domain& domain, Findings& findings) {
  std::set<std::string> names;
  for (const auto& mutator : domain.mutators()) {
    const std::string place = fmt::format("mutator \"{}\"", mutator->name);
    if (mutator->name.starts_with("nizhal."))
      findings.error("bad_name", place, "names starting with \"nizhal.\" are the engine's own", "choose another name");
    else
      check_name(mutator->name, place, findings);
    if (!names.insert(mutator->name).second)
      findings.error("duplicate_mutator", place, "the mutator is declared twice", "rename or remove one");
    if (!mutator->run)
      findings.error("mutator_without_run", place, "the mutator does nothing", "give it a body with .run(…)");
    if (mutator->version < 1)
      findings.error("bad_version", place, fmt::format("argument version {} is not positive", mutator->version),
                     "count argument versions from 1");
    check_arguments(domain, place, mutator->arguments, findings);
    check_upcasters(domain, place, *mutator, findings);
  }
}

}  // namespace

bool is_bucket_type(ColumnType type) {
  return type == ColumnType::text || type == ColumnType::uuid || is_whole_number_type(type);
}

bool is_whole_number_type(ColumnType type) { return type == ColumnType::integer || type == ColumnType::bigint; }

std::vector<std::string> table_names(const Domain& domain) {
  std::vector<std::string> names;
  for (const auto& table : domain.tables()) names.push_back(table->name);
  return names;
}

std::vector<std::string> column_names(const TableDef& table) {
  std::vector<std::string> names;
  for (const ColumnDef& column : table.columns) names.push_back(column.name);
  return names;
}

std::vector<LintFinding> registration_errors(const Domain& domain) {
  Findings findings;
  check_options(domain, findings);
  check_tables(domain, findings);
  check_mutators(domain, findings);
  check_rules(domain, findings);
  return findings.take();
}

}  // namespace nizhal
