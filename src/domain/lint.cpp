// Lints: the registration errors, and what is legal but probably not meant.
//
// Heuristics, all of them only warnings or notes:
// - A number column is *balance-like* when its name contains balance, total, stock, quantity or amount_due, or has the
//   word count in it (so not "account" or "country"). In a mutable table it invites lost updates: two devices that each
//   add 1 offline write the same total.
// - Such a table is *backed* when an append-only table has a number column and a column named after it
//   (products: product_id or productId): then the number can be a cache of a fold.
// - Unscoped code is found by `.authorize` and, once there are no registration errors, by dry runs (probe.hpp).
#include <nizhal/lint.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "domain/contract.hpp"
#include "domain/names.hpp"
#include "domain/probe.hpp"
#include "domain/registration.hpp"

namespace nizhal {
namespace {

bool is_number(ColumnType type) {
  return type == ColumnType::integer || type == ColumnType::bigint || type == ColumnType::real ||
         type == ColumnType::numeric;
}

std::string without_underscores(std::string_view name) {
  std::string out = lower_case(name);
  std::erase(out, '_');
  return out;
}

/// The words of snake_case and camelCase names, in lower case.
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words(1);
  bool after_lower = false;
  for (const char c : name) {
    const bool is_upper = c >= 'A' && c <= 'Z';
    if ((c == '_' || (is_upper && after_lower)) && !words.back().empty()) words.emplace_back();
    if (c != '_') words.back() += is_upper ? static_cast<char>(c - 'A' + 'a') : c;
    after_lower = !is_upper && c != '_';
  }
  return words;
}

bool is_balance_like(std::string_view name) {
  const std::string folded = without_underscores(name);
  for (const char* word : {"balance", "total", "stock", "quantity", "amountdue"})
    if (folded.find(word) != std::string::npos) return true;
  const auto words = words_of(name);
  return std::any_of(words.begin(), words.end(),
                     [](const std::string& word) { return word == "count" || word == "counts" || word == "counter"; });
}

std::string singular(std::string name) {
  const auto replace_end = [&name](std::string_view ending, std::string_view with) {
    if (!name.ends_with(ending) || name.size() == ending.size()) return false;
    name.replace(name.size() - ending.size(), ending.size(), with);
    return true;
  };
  replace_end("ies", "y") || replace_end("sses", "ss") || replace_end("xes", "x") || replace_end("ches", "ch") ||
      replace_end("shes", "sh") || (!name.ends_with("ss") && replace_end("s", ""));
  return name;
}

/// True when an append-only table has a number column and a column that names a row of `table`: by the whole name of
/// the table (shop_product_id) or its last word (product_id).
bool is_backed(const Domain& domain, const TableDef& table) {
  const std::string lower = lower_case(table.name);
  const std::string last_word = words_of(table.name).back();
  const std::string whole_reference = without_underscores(singular(lower)) + "id";
  const std::string short_reference = singular(last_word) + "id";
  for (const auto& ledger : domain.tables()) {
    if (!ledger->append_only) continue;
    bool has_number = false, names_row = false;
    for (const ColumnDef& column : ledger->columns) {
      const std::string name = without_underscores(column.name);
      if (name == whole_reference || name == short_reference)
        names_row = true;
      else if (is_number(column.type) && column.name != ledger->key)
        has_number = true;
    }
    if (has_number && names_row) return true;
  }
  return false;
}

void warn_of_balances(const Domain& domain, Findings& findings) {
  for (const auto& table : domain.tables()) {
    if (table->append_only || is_backed(domain, *table)) continue;
    for (const ColumnDef& column : table->columns) {
      if (!is_number(column.type) || column.name == table->key || lower_case(column.name).ends_with("_id") ||
          !is_balance_like(column.name))
        continue;
      findings.warning(
          "mutable_balance", fmt::format("table \"{}\", column \"{}\"", table->name, column.name),
          "a mutable number that no append-only table backs: of two changes made offline, one is lost",
          fmt::format("record each change as a row of an append_only() table with a {}_id and a number, and "
                      "read \"{}\" as their sum",
                      singular(lower_case(table->name)), column.name));
    }
  }
}

void note_undelivered(const Domain& domain, Findings& findings) {
  for (const auto& table : domain.tables()) {
    const bool is_used = std::any_of(domain.rules().begin(), domain.rules().end(), [&table](const auto& rule) {
      return rule->membership_table == table->name ||
             std::any_of(rule->data.begin(), rule->data.end(),
                         [&table](const RuleDataDef& data) { return data.table == table->name; });
    });
    if (!is_used)
      findings.note("table_not_delivered", fmt::format("table \"{}\"", table->name),
                    "no rule delivers the table and no membership reads it: it stays on the server",
                    "add it to a rule with .data(…), unless only the server needs it");
  }
}

void note_unscoped_code(const Domain& domain, bool is_registered, Findings& findings) {
  for (const auto& mutator : domain.mutators()) {
    const std::string place = fmt::format("mutator \"{}\"", mutator->name);
    if (mutator->authorize)
      findings.note("unscoped_authorize", place,
                    "it declares .authorize, which replaces the check that rows are in the actor's buckets",
                    "make sure that the authorisation refuses everything that this actor may not do");
    // A body may rely on what registration promises, such as keys; without that it is not run.
    if (is_registered && mutator->run && probe_finds_unscoped(*mutator))
      findings.note("unscoped_access", place, "its body calls ctx.unscoped(), which reaches rows of every actor",
                    "make sure that nothing of other actors' rows is answered or copied where this actor sees it");
  }
}

void warn_of_versions(const Domain& domain, Findings& findings) {
  const auto order = compare_versions(domain.options().min_client_version, domain.options().version);
  if (order && *order > 0)
    findings.warning(
        "min_client_version_above", fmt::format("domain \"{}\"", domain.name()),
        fmt::format("min_client_version {} is above the domain's own version {}: its own clients are refused",
                    domain.options().min_client_version, domain.options().version),
        "lower min_client_version, or raise version");
}

}  // namespace

LintReport lint(const Domain& domain) {
  LintReport report{registration_errors(domain)};
  Findings more;
  warn_of_versions(domain, more);
  warn_of_balances(domain, more);
  note_undelivered(domain, more);
  note_unscoped_code(domain, report.findings.empty(), more);
  for (LintFinding& finding : more.take()) report.findings.push_back(std::move(finding));
  return report;
}

}  // namespace nizhal
