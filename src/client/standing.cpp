#include "client/standing.hpp"

#include <string>

#include "client/outbox.hpp"

namespace nizhal::client {
namespace {

/// A code is a refusal, no code a mutation that was done. The tier stays empty when the statement finds no row.
Result<Standing> standing_by(StoreState& state, std::string_view sql, std::string_view id) {
  auto select = state.connection->prepare(sql);
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, id);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return Standing{};
  const std::string code(select->text(0));
  return Standing{Tier::confirmed, code.empty() ? done() : reject(code, std::string(select->text(1))),
                  select->integer(2) != 0};
}

}  // namespace

Result<Standing> standing_of(StoreState& state, std::string_view client_mutation_id) {
  auto entry = outbox::find(state, client_mutation_id);
  if (!entry) return tl::unexpected(entry.error());
  // A skip stands for one that was given up under the same id.
  if (*entry && !(*entry)->is_skip())
    return Standing{(*entry)->outcome_known ? Tier::on_server : Tier::on_device, done()};
  auto refused = standing_by(
      state, "SELECT code, message, 0 FROM nizhal_dead_letter WHERE client_mutation_id = ?1 ORDER BY id DESC LIMIT 1",
      client_mutation_id);
  if (!refused || refused->tier) return refused;
  return standing_by(state,
                     "SELECT code, message, dropped FROM nizhal_settled WHERE client_mutation_id = ?1 ORDER BY ordinal "
                     "DESC LIMIT 1",
                     client_mutation_id);
}

}  // namespace nizhal::client
