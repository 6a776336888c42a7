#include "client/target_side.hpp"

#include "domain/arguments_codec.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client::target_side {

Result<MutationId> known_through(StoreState& state) {
  auto first_unknown = state.connection->query_integer(
      "SELECT min(mutation_id) FROM nizhal_outbox WHERE mutation_id IS NOT NULL AND outcome_known = 0");
  if (!first_unknown) return tl::unexpected(first_unknown.error());
  // Ids are given in order and leave the outbox with their outcome, so all before the first unknown one are known.
  const std::int64_t last =
      first_unknown->value_or(0) > 0 ? **first_unknown - 1 : state.meta->integer(meta_key::kLastGiven);
  return MutationId{static_cast<std::uint64_t>(last)};
}

Result<std::string> resolve_ids(StoreState& state, std::string_view name, const json::value& args) {
  const MutatorDef* mutator = state.domain().domain().find_mutator(name);
  if (!mutator) return to_text(args);
  auto values = decode_arguments(*mutator, args);
  // The backend says itself what it does not like.
  if (!values) return to_text(args);
  bool is_changed = false;
  for (std::size_t i = 0; i < mutator->arguments.size() && i < values->size(); ++i) {
    const std::string& table_name = mutator->arguments[i].references;
    if (table_name.empty() || is_null((*values)[i])) continue;
    const TableDef* table = state.domain().domain().find_table(table_name);
    if (!table) continue;
    auto select =
        state.connection->prepare("SELECT server_key FROM nizhal_id_map WHERE table_name = ?1 AND client_key = ?2");
    if (!select) return tl::unexpected(select.error());
    select->bind_text(1, table_name).bind_text(2, key_text((*values)[i]));
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) continue;
    if (auto key = key_from_text(*table, select->text(0))) {
      (*values)[i] = std::move(*key);
      is_changed = true;
    }
  }
  return is_changed ? encode_arguments(*mutator, *values) : to_text(args);
}

}  // namespace nizhal::client::target_side

namespace nizhal::client {

Result<MutationId> LocalStore::known_through() {
  const std::lock_guard lock(state_->mutex);
  return target_side::known_through(*state_);
}

Result<std::string> LocalStore::resolve_ids(std::string_view mutator, const json::value& args) {
  const std::lock_guard lock(state_->mutex);
  return target_side::resolve_ids(*state_, mutator, args);
}

}  // namespace nizhal::client
