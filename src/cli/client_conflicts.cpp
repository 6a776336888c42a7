// `nizhal client conflicts`: which of this device's edits lost to later ones.
#include <fmt/format.h>

#include <utility>

#include "base/json.hpp"
#include "cli/client_command.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

int client_conflicts(const Globals& globals, const Store& store) {
  const auto edits = store.conflicts();
  if (!edits) return fail("client conflicts", edits.error());
  if (globals.json) {
    json::array answer;
    for (const LostEdit& edit : *edits) {
      auto lost = parse_json(edit.lost);
      answer.push_back(json::object{{"id", edit.id},
                                    {"table", edit.table},
                                    {"key", edit.key},
                                    {"column", edit.column},
                                    {"lost", lost ? std::move(*lost) : json::value(edit.lost)},
                                    {"at", to_iso8601(edit.at)},
                                    {"winnerAt", to_iso8601(edit.winner_at)},
                                    {"mutator", edit.mutator},
                                    {"clientMutationId", edit.client_mutation_id}});
    }
    print_json(answer);
    return kDone;
  }
  if (edits->empty()) {
    print_line("no conflicts: no edit of this device lost to a later one");
    return kDone;
  }
  SqlResult rows;
  rows.columns = {"id", "table", "key", "column", "lost", "at", "winner at", "mutator"};
  for (const LostEdit& edit : *edits)
    rows.rows.push_back({Value(edit.id), Value(edit.table), Value(edit.key), Value(edit.column), Value(edit.lost),
                         Value(to_iso8601(edit.at)), Value(to_iso8601(edit.winner_at)), Value(edit.mutator)});
  print_line(rows_as_table(rows).text());
  return kDone;
}

int client_dismiss(const Globals& globals, Store& store, std::int64_t conflict) {
  const auto dismissed = store.dismiss_conflict(conflict);
  if (!dismissed) return fail("client conflicts dismiss", dismissed.error());
  if (globals.json) {
    print_json(json::object{{"id", conflict}, {"status", "dismissed"}});
  } else {
    print_line(fmt::format("dismissed {}", conflict));
  }
  return kDone;
}

}  // namespace nizhal::cli
