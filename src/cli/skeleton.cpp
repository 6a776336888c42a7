// See skeleton.hpp.
#include "cli/skeleton.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "domain/names.hpp"

namespace nizhal::cli {

namespace {

using storage::IntrospectedColumn;
using storage::IntrospectedForeignKey;
using storage::IntrospectedSchema;
using storage::IntrospectedTable;

constexpr std::array<std::string_view, 96> kWords{
    "alignas",     "alignof",  "and",        "and_eq",    "asm",       "auto",         "bitand",
    "bitor",       "bool",     "break",      "case",      "catch",     "char",         "char16_t",
    "char32_t",    "char8_t",  "class",      "co_await",  "co_return", "co_yield",     "compl",
    "concept",     "const",    "const_cast", "consteval", "constexpr", "constinit",    "continue",
    "decltype",    "default",  "delete",     "do",        "double",    "dynamic_cast", "else",
    "enum",        "explicit", "export",     "extern",    "false",     "float",        "for",
    "friend",      "goto",     "if",         "inline",    "int",       "long",         "mutable",
    "namespace",   "new",      "noexcept",   "not",       "not_eq",    "nullptr",      "operator",
    "or",          "or_eq",    "private",    "protected", "public",    "register",     "reinterpret_cast",
    "requires",    "return",   "short",      "signed",    "sizeof",    "static",       "static_assert",
    "static_cast", "struct",   "switch",     "template",  "this",      "thread_local", "throw",
    "true",        "try",      "typedef",    "typeid",    "typename",  "union",        "unsigned",
    "using",       "virtual",  "void",       "volatile",  "wchar_t",   "while",        "xor",
    "xor_eq",      "std",      "nizhal",     "domain",    "main"};

/// A C++ name for a column or table: the name itself wherever it may be one.
std::string identifier(std::string_view name) {
  std::string out(name);
  if (std::find(kWords.begin(), kWords.end(), out) != kWords.end()) out += '_';
  return out;
}

std::string singular(std::string_view word) {
  if (word.ends_with("ies") && word.size() > 4) return std::string(word.substr(0, word.size() - 3)) + "y";
  for (const std::string_view ending : {"sses", "xes", "ches", "shes"})
    if (word.ends_with(ending)) return std::string(word.substr(0, word.size() - 2));
  if (word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us") && !word.ends_with("is") && word.size() > 2)
    return std::string(word.substr(0, word.size() - 1));
  return std::string(word);
}

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

/// "team_members" → "TeamMember".
std::string struct_name(std::string_view table) {
  std::string out;
  bool starts = true;
  for (const char c : singular(table)) {
    if (c == '_') {
      starts = true;
      continue;
    }
    out += starts ? upper(c) : c;
    starts = false;
  }
  if (out.empty() || (out.front() >= '0' && out.front() <= '9')) out = "Row" + out;
  return out;
}

/// "shop_id" → "shopId", as parameters of rules are written.
std::string parameter_name(std::string_view column) {
  std::string out;
  bool up = false;
  for (const char c : column) {
    if (c == '_') {
      up = !out.empty();
    } else {
      out += up ? upper(c) : c;
      up = false;
    }
  }
  return out;
}

std::string_view cpp_type(ColumnType type) {
  switch (type) {
    case ColumnType::text:
      return "std::string";
    case ColumnType::uuid:
      return "nizhal::Uuid";
    case ColumnType::integer:
      return "std::int32_t";
    case ColumnType::real:
      return "double";
    case ColumnType::boolean:
      return "bool";
    case ColumnType::bigint:
      return "std::int64_t";
    case ColumnType::numeric:
      return "nizhal::Numeric";
    case ColumnType::timestamp:
      return "nizhal::Timestamp";
    case ColumnType::date:
      return "nizhal::Date";
    case ColumnType::json:
      return "nizhal::Json";
    default:
      return "nizhal::Blob";
  }
}

/// Types without a value of their own in C++ would start with whatever was in memory.
std::string_view initial_value(ColumnType type) {
  switch (type) {
    case ColumnType::integer:
    case ColumnType::bigint:
    case ColumnType::real:
      return " = 0";
    case ColumnType::boolean:
      return " = false";
    default:
      return "";
  }
}

/// What comes from the database and stands in a comment must not end it.
std::string comment_text(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == '\\' ? ' ' : c;
  return out;
}

struct Named {
  const IntrospectedTable* table = nullptr;
  std::string type, variable;
};

const IntrospectedColumn* find_column(const IntrospectedTable& table, std::string_view name) {
  for (const IntrospectedColumn& column : table.columns)
    if (column.name == name && column.type) return &column;
  return nullptr;
}

std::string reference_of(const IntrospectedTable& table, std::string_view column) {
  for (const IntrospectedForeignKey& key : table.foreign_keys)
    if (key.column == column)
      return key.other_column.empty() ? key.table : fmt::format("{}.{}", key.table, key.other_column);
  return "";
}

/// A column by whose values rows could be put into buckets.
struct Candidate {
  std::string column;
  std::string references;        // empty when no foreign key says so
  std::vector<const Named*> in;  // tables that have it
};

class Writer {
 public:
  explicit Writer(const IntrospectedSchema& schema) : schema_(schema) {
    std::set<std::string> taken;
    for (const IntrospectedTable& table : schema.tables) {
      if (!why_not(table).empty()) continue;
      Named named{&table, struct_name(table.name), identifier(table.name)};
      while (named.type == named.variable || taken.contains(named.type)) named.type += "Row";
      while (taken.contains(named.variable)) named.variable += '_';
      taken.insert(named.type);
      taken.insert(named.variable);
      tables_.push_back(std::move(named));
    }
  }

  std::string text() {
    head();
    for (const IntrospectedTable& table : schema_.tables) {
      const auto named =
          std::find_if(tables_.begin(), tables_.end(), [&](const Named& n) { return n.table == &table; });
      if (named == tables_.end()) {
        comment("", fmt::format("Table \"{}\" is left out: {}.", table.name, why_not(table)));
        out_ += '\n';
      } else {
        write_table(*named);
      }
    }
    write_domain();
    return out_;
  }

 private:
  template <class... Parts>
  void line(fmt::format_string<Parts...> format, Parts&&... parts) {
    out_ += fmt::format(format, std::forward<Parts>(parts)...) + "\n";
  }

  /// In lines of at most 120 characters.
  void comment(std::string_view indent, std::string_view text) {
    constexpr std::size_t kColumns = 120;
    std::string rest = comment_text(text);
    for (std::string_view hanging = ""; !rest.empty(); hanging = "  ") {
      const std::size_t room = kColumns - indent.size() - 3 - hanging.size();
      std::size_t end = rest.size() <= room ? rest.size() : rest.rfind(' ', room);
      if (end == std::string::npos || end == 0) end = rest.size();
      line("{}// {}{}", indent, hanging, rest.substr(0, end));
      rest.erase(0, end + 1);
    }
  }

  static std::string why_not(const IntrospectedTable& table) {
    if (const std::string fault = name_fault(table.name); !fault.empty()) return fmt::format("its name {}", fault);
    return table.key.empty() ? table.fault : "";
  }

  void head() {
    line("// A domain skeleton of {}, written by `nizhal introspect`.", comment_text(schema_.place));
    line(
        "// Next: drop the tables and columns that devices do not need, choose at the end which rows reach whom, write "
        "the");
    line(
        "// mutators, and then look before you leap:  nizhal lint --domain LIB;  nizhal migrate --domain LIB --db URL "
        "--plan");
    line("#include <cstdint>");
    line("#include <optional>");
    line("#include <string>");
    line("");
    line("#include <nizhal/domain.hpp>");
    line("");
    line("namespace app {{\n");
  }

  void write_table(const Named& named) {
    const IntrospectedTable& table = *named.table;
    line("struct {} {{", named.type);
    for (const IntrospectedColumn& column : table.columns) {
      if (!column.type) {
        comment("  ", fmt::format("{} {} is left out: {}.", column.name, column.declared_type, column.fault));
        if (!column.nullable && !column.has_default)
          comment("  ", "  It is NOT NULL without a default, so mutators cannot insert rows until it has one.");
        continue;
      }
      const std::string reference = reference_of(table, column.name);
      const std::string note = reference.empty() ? "" : fmt::format("  // foreign key: {}", comment_text(reference));
      if (column.nullable) {
        line("  std::optional<{}> {};{}", cpp_type(*column.type), identifier(column.name), note);
      } else {
        line("  {} {}{};{}", cpp_type(*column.type), identifier(column.name), initial_value(*column.type), note);
      }
    }
    line("}};");
    line("inline const auto {} = nizhal::table<{}>(\"{}\")", named.variable, named.type, table.name);
    out_ += fmt::format("    .key(\"{}\", &{}::{})", table.key, named.type, identifier(table.key));
    for (const IntrospectedColumn& column : table.columns)
      if (column.type && column.name != table.key)
        out_ += fmt::format("\n    .column(\"{}\", &{}::{})", column.name, named.type, identifier(column.name));
    out_ += ";\n\n";
  }

  std::vector<Candidate> candidates() const {
    std::map<std::string, Candidate> by_column;
    for (const Named& named : tables_) {
      for (const IntrospectedColumn& column : named.table->columns) {
        if (!column.type || column.name == named.table->key) continue;
        const std::string reference = reference_of(*named.table, column.name);
        if (reference.empty() && !column.name.ends_with("_id")) continue;
        Candidate& candidate = by_column[column.name];
        candidate.column = column.name;
        if (candidate.references.empty()) candidate.references = reference;
        candidate.in.push_back(&named);
      }
    }
    std::vector<Candidate> found;
    for (auto& [name, candidate] : by_column)
      if (!candidate.references.empty() || candidate.in.size() > 1) found.push_back(std::move(candidate));
    // What most tables have in common is most often what they are shared by.
    std::stable_sort(found.begin(), found.end(),
                     [](const Candidate& left, const Candidate& right) { return left.in.size() > right.in.size(); });
    return found;
  }

  void write_domain() {
    line("inline nizhal::Domain domain() {{");
    line("  nizhal::Domain d(\"app\", {{.version = \"0.1.0\"}});");
    for (const Named& named : tables_) line("  d.add({});", named.variable);
    line("");
    const auto found = candidates();
    write_candidates(found);
    write_rule(found);
    write_mutator();
    line("  return d;");
    line("}}\n");
    line("}}  // namespace app\n");
    out_ += "NIZHAL_DOMAIN(app::domain)\n";
  }

  void write_candidates(const std::vector<Candidate>& found) {
    line("  // Which rows reach whom: a rule puts rows into buckets by the value of a column that they share.");
    if (found.empty()) {
      line("  // No column looks like one: add one to each table, such as owner_id or team_id.");
      return;
    }
    line("  // Columns that look like it:");
    for (const Candidate& candidate : found) {
      std::vector<std::string_view> names;
      for (const Named* named : candidate.in) names.push_back(named->table->name);
      line("  //   {} in {}{}", candidate.column, fmt::join(names, ", "),
           candidate.references.empty() ? "" : fmt::format(" (foreign key: {})", comment_text(candidate.references)));
    }
  }

  /// The column of a table that names a user, if it looks like one that says who belongs to what.
  static std::string user_column(const IntrospectedTable& table) {
    for (const char* name : {"user_id", "member_id", "account_id", "person_id"})
      if (find_column(table, name)) return name;
    return "";
  }

  void write_rule(const std::vector<Candidate>& found) {
    const Named* membership = nullptr;
    const Candidate* chosen = nullptr;
    for (const Candidate& candidate : found) {
      if (membership) break;
      for (const Named* named : candidate.in) {
        const std::string user = user_column(*named->table);
        if (user.empty() || user == candidate.column || candidate.column == "owner_id") continue;
        membership = named;
        chosen = &candidate;
        break;
      }
    }
    if (!chosen && !found.empty()) chosen = &found.front();
    if (!chosen) return;
    const std::string parameter = parameter_name(chosen->column);
    line("  //");
    if (membership) {
      line("  // For example: who has a row in {} gets the rows of that {}.", membership->table->name, chosen->column);
      line("  //");
      line("  // d.rule(\"by{}{}\")", upper(parameter[0]), parameter.substr(1));
      line("  //     .membership({}, nizhal::where(\"{}\", nizhal::actor::user_id), nizhal::bucket(\"{}\", \"{}\"))",
           membership->variable, user_column(*membership->table), parameter, chosen->column);
    } else {
      line("  // For example: everybody gets the rows whose {} is the ownerId of their token.", chosen->column);
      line("  //");
      line("  // d.rule(\"mine\")");
      line("  //     .parameter(\"{}\", nizhal::actor::owner_id)", parameter);
    }
    std::vector<std::string> data;
    // The row that the bucket is named after belongs into it, too.
    for (const Named& named : tables_)
      if (fmt::format("{}.{}", named.table->name, named.table->key) == chosen->references)
        data.push_back(
            fmt::format(".data({}, nizhal::eq(\"{}\", \"{}\"))", named.variable, named.table->key, parameter));
    for (const Named* named : chosen->in)
      data.push_back(fmt::format(".data({}, nizhal::eq(\"{}\", \"{}\"))", named->variable, chosen->column, parameter));
    for (std::size_t i = 0; i < data.size(); ++i) line("  //     {}{}", data[i], i + 1 == data.size() ? ";" : "");
  }

  void write_mutator() {
    if (tables_.empty()) return;
    const Named& named = tables_.front();
    line("");
    const IntrospectedColumn* key = find_column(*named.table, named.table->key);
    line("  // What a user may do: one mutator for each action. Its arguments are a struct of their own. For example:");
    line("  //");
    line("  // struct Remove{} {{  // this one beside the structs above", named.type);
    line("  //   {} {};", key ? cpp_type(*key->type) : "std::string", identifier(named.table->key));
    line("  // }};");
    line("  // d.mutator<Remove{0}>(\"remove{0}\")", named.type);
    line("  //     .arg(\"{1}\", &Remove{0}::{2}, nizhal::references({3}))", named.type, named.table->key,
         identifier(named.table->key), named.variable);
    line("  //     .run([](nizhal::MutatorContext& ctx, const Remove{}& args) -> nizhal::Outcome {{", named.type);
    line("  //       if (!ctx.remove({}, args.{})) return nizhal::reject(\"unknown\", \"there is no such row\");",
         named.variable, identifier(named.table->key));
    line("  //       return nizhal::done();");
    line("  //     }});");
  }

  const IntrospectedSchema& schema_;
  std::vector<Named> tables_;
  std::string out_;
};

}  // namespace

std::string domain_skeleton(const storage::IntrospectedSchema& schema) { return Writer(schema).text(); }

}  // namespace nizhal::cli
