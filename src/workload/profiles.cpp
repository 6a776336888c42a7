#include "workload/profiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string_view>

#include "workload/draw.hpp"

namespace nizhal::workload {
namespace {

constexpr unsigned kWeight = 10;

bool has_mutators(const CompiledDomain& domain, std::initializer_list<std::string_view> names) {
  return std::all_of(names.begin(), names.end(),
                     [&](std::string_view name) { return domain.domain().find_mutator(name) != nullptr; });
}

/// The value of an argument, or nothing to change when it is not declared.
Value* argument(const MutatorDef& mutator, MutatorDef::Values& values, std::string_view name) {
  for (std::size_t i = 0; i < mutator.arguments.size() && i < values.size(); ++i)
    if (mutator.arguments[i].name == name) return &values[i];
  return nullptr;
}

void set_text(const MutatorDef& mutator, MutatorDef::Values& values, std::string_view name, std::string text) {
  if (Value* value = argument(mutator, values, name)) *value = std::move(text);
}

std::int64_t amount_max(const MutatorDef& mutator) {
  for (const ArgumentDef& declared : mutator.arguments)
    if (declared.name == "amount") return declared.maximum.value_or(std::numeric_limits<std::int64_t>::max());
  return 0;
}

/// Few ids, so that notes are deleted and made again under the same one; and bodies that only the server refuses.
Profile notes_profile() {
  Profile profile;
  profile.weights = {{"addNote", 2 * kWeight},      {"editNote", 2 * kWeight}, {"addTeamNote", 2 * kWeight},
                     {"editTeamNote", 3 * kWeight}, {"createTeam", 3},         {"addTeamMember", 5},
                     {"removeTeamMember", 3}};
  profile.adjust = [](const MutatorDef& mutator, MutatorDef::Values& values, Seen& seen, Random& random) {
    if (mutator.name == "addNote") {
      if (random.below(2) == 0)
        set_text(mutator, values, "id", fmt::format("{}-note-{}", seen.actor().owner_id, random.below(12)));
      if (random.below(40) == 0) set_text(mutator, values, "body", "reject");
    } else if (mutator.name == "addTeamNote" && random.below(3) == 0) {
      set_text(mutator, values, "id", fmt::format("team-note-{}", random.below(12)));
    }
  };
  return profile;
}

/// Sales and payments of few customers at once, payments around what is owed.
Profile ledger_profile() {
  Profile profile;
  profile.weights = {
      {"recordCredit", 4 * kWeight}, {"recordPayment", 4 * kWeight}, {"createShop", 2}, {"addShopMember", 4}};
  profile.adjust = [](const MutatorDef& mutator, MutatorDef::Values& values, Seen& seen, Random& random) {
    if (mutator.name != "recordCredit" && mutator.name != "recordPayment") return;
    const auto customers = seen.domain().table_index("customers");
    const auto entries = seen.domain().table_index("ledger_entries");
    Value* customer = argument(mutator, values, "customer_id");
    Value* amount = argument(mutator, values, "amount");
    if (!customers || !entries || !customer || !amount) return;
    if (!seen.rows(*customers).empty() && random.below(10) < 7) {
      const std::vector<Row>& rows = seen.rows(*customers);
      *customer =
          rows[random.below(std::min<std::size_t>(rows.size(), 2))][seen.domain().table(*customers).key_index()];
    }
    std::int64_t owed = 0;
    const TableDef& table = seen.domain().table(*entries);
    const std::size_t whose = table.index_of("customer_id"), how_much = table.index_of("amount");
    if (whose == TableDef::npos || how_much == TableDef::npos) return;
    for (const Row& row : seen.rows(*entries))
      if (row[whose] == *customer)
        if (const auto* number = std::get_if<std::int64_t>(&row[how_much])) owed += *number;
    owed = std::min(owed, amount_max(mutator));
    if (mutator.name == "recordCredit" || owed <= 0) {
      if (random.below(20) > 0) *amount = static_cast<std::int64_t>(1 + random.below(10'000));
    } else {
      const std::int64_t part = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(owed)));
      // All of it: of two such payments at once one is too much.
      *amount = random.below(3) == 0 ? owed : part;
    }
  };
  return profile;
}

/// One document that everybody edits.
Profile docs_profile() {
  Profile profile;
  profile.weights = {{"editBody", 4 * kWeight}, {"editMeta", 2 * kWeight}, {"createSpace", 2}, {"createDocument", 5}};
  profile.adjust = [](const MutatorDef& mutator, MutatorDef::Values& values, Seen& seen, Random& random) {
    static constexpr std::string_view kStates[] = {"draft", "review", "final"};
    if (mutator.name == "setStatus" && random.below(3) > 0)
      set_text(mutator, values, "status", std::string(kStates[random.below(std::size(kStates))]));
    const auto documents = seen.domain().table_index("documents");
    if (!documents || mutator.name == "createDocument" || mutator.name == "createSpace" || random.below(10) >= 6)
      return;
    const std::vector<Row>& rows = seen.rows(*documents);
    if (Value* id = argument(mutator, values, "id"); id && !rows.empty())
      *id = rows.front()[seen.domain().table(*documents).key_index()];
  };
  return profile;
}

}  // namespace

Profile profile_of(const CompiledDomain& domain) {
  const std::string& name = domain.domain().name();
  if (name == "notes" && has_mutators(domain, {"addNote", "editNote", "deleteNote", "addTeamNote"}))
    return notes_profile();
  if (name == "ledger" && has_mutators(domain, {"recordCredit", "recordPayment"})) return ledger_profile();
  if (name == "docs" && has_mutators(domain, {"createDocument", "editBody", "editMeta"})) return docs_profile();
  return {};
}

}  // namespace nizhal::workload
