#include "client/dependencies.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/bytes.hpp"
#include "domain/arguments_codec.hpp"

namespace nizhal::client::dependencies {
namespace {

constexpr std::size_t kIdBytesMax = 128;  // as the protocol has it

Result<std::optional<Cause>> find_letter(StoreState& state, std::string_view column, std::string_view text) {
  auto select = state.connection->prepare(
      fmt::format("SELECT id, client_mutation_id, name, code, message, chain FROM nizhal_dead_letter WHERE {} = ?1 "
                  "ORDER BY id LIMIT 1",
                  column));
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, text);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return std::optional<Cause>();
  Cause cause;
  cause.letter = select->integer(0);
  cause.client_mutation_id = std::string(select->text(1));
  cause.name = std::string(select->text(2));
  cause.code = std::string(select->text(3));
  cause.message = std::string(select->text(4));
  cause.chain = outbox::parse_depends_on(select->text(5));
  return std::optional<Cause>(std::move(cause));
}

tl::unexpected<Error> refused_with(const Cause& cause) {
  return failure(
      ErrorCode::refused,
      fmt::format("dependency_rejected: it depends on dead letter {}, \"{}\" ({}: {}); retry that one first, "
                  "or discard it to go on without it",
                  cause.letter, cause.name, cause.code, cause.message));
}

/// Client mutation ids in order.
Result<std::vector<std::string>> pending_under(StoreState& state, const std::string& key) {
  auto select = state.connection->prepare(
      fmt::format("SELECT client_mutation_id FROM nizhal_outbox WHERE dependency_key = ?1 AND dependency_key <> '' AND "
                  "outcome_known = 0 AND name <> '{}' ORDER BY ordinal",
                  protocol::kSkip));
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, key);
  std::vector<std::string> ids;
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return ids;
    ids.emplace_back(select->text(0));
  }
}

bool contains(const std::vector<std::string>& texts, std::string_view text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

tl::unexpected<Error> failed_function(const StoreState& state, const MutatorDef& mutator, const char* function,
                                      const Error& thrown) {
  state.log.error("mutate", fmt::format("{} of mutator \"{}\" threw: {}", function, mutator.name, thrown.message));
  return failure(ErrorCode::refused, fmt::format("internal: {} of mutator \"{}\" failed", function, mutator.name));
}

/// `"addNote" 3f…`
std::string named(std::string_view name, std::string_view id) { return fmt::format("\"{}\" {}", name, id); }

/// The name of a mutation that is a dead letter here.
Result<std::string> named_letter(StoreState& state, const std::string& id) {
  auto letter = find_cause(state, id);
  if (!letter) return tl::unexpected(letter.error());
  return *letter ? named((*letter)->name, id) : id;
}

}  // namespace

Result<std::optional<Cause>> find_cause(StoreState& state, std::string_view client_mutation_id) {
  return find_letter(state, "client_mutation_id", client_mutation_id);
}

Result<std::vector<std::string>> resolve(StoreState& state, const std::vector<std::string>& ids,
                                         const std::vector<std::string>& keys,
                                         const std::vector<std::string>& settled_keys) {
  std::vector<std::string> all;
  for (const std::string& id : ids) {
    if (contains(all, id)) continue;
    if (id.empty() || id.size() > kIdBytesMax || !is_utf8(id))
      return failure(ErrorCode::invalid_args, "depends_on names something that is no client mutation id");
    auto cause = find_cause(state, id);
    if (!cause) return tl::unexpected(cause.error());
    if (*cause) return refused_with(**cause);
    all.push_back(id);
  }
  const std::size_t named_ids = all.size();
  for (const std::string& key : keys) {
    if (key.empty()) continue;
    if (!contains(settled_keys, key)) {
      auto cause = find_letter(state, "dependency_key", key);
      if (!cause) return tl::unexpected(cause.error());
      if (*cause) return refused_with(**cause);
    }
    auto pending = pending_under(state, key);
    if (!pending) return tl::unexpected(pending.error());
    for (std::string& id : *pending) {
      if (!contains(all, id)) all.push_back(std::move(id));
    }
  }
  // Else every edit of one row would name all those before it. Whoever is left out is refused before the one through
  // which it is depended on, which is then refused as well.
  std::set<std::string, std::less<>> through_others;
  for (std::size_t i = all.size(); i > named_ids; --i) {
    auto entry = outbox::find(state, all[i - 1]);
    if (!entry) return tl::unexpected(entry.error());
    if (*entry) through_others.insert((*entry)->depends_on.begin(), (*entry)->depends_on.end());
  }
  std::erase_if(all, [&](const std::string& id) { return !contains(ids, id) && through_others.contains(id); });
  return all;
}

Result<std::vector<std::string>> keys_of(const StoreState& state, const MutatorDef& mutator,
                                         const MutatorDef::Values& values) {
  auto keys = call_depends_on(mutator, values);
  if (!keys) return failed_function(state, mutator, "depends_on", keys.error());
  return std::move(*keys);
}

Result<std::string> own_key_of(const StoreState& state, const MutatorDef& mutator, const MutatorDef::Values& values) {
  auto key = call_dependency_key(mutator, values);
  if (!key) return failed_function(state, mutator, "dependency_key", key.error());
  return std::move(*key);
}

Result<std::vector<std::string>> of_call(StoreState& state, const MutatorDef& mutator, const MutatorDef::Values& values,
                                         const MutateOptions& options) {
  auto keys = keys_of(state, mutator, values);
  if (!keys) return tl::unexpected(keys.error());
  keys->insert(keys->end(), options.depends_on_keys.begin(), options.depends_on_keys.end());
  return resolve(state, options.depends_on, *keys);
}

Result<std::optional<Chain>> chain_of(StoreState& state, const outbox::Entry& entry) {
  for (const std::string& id : entry.depends_on) {
    auto found = find_cause(state, id);
    if (!found) return tl::unexpected(found.error());
    if (!*found) continue;
    const Cause& direct = **found;
    Chain chain;
    chain.ids = direct.chain.empty() ? std::vector<std::string>{id} : direct.chain;
    auto root = find_cause(state, chain.ids.front());
    if (!root) return tl::unexpected(root.error());
    const Cause& cause = *root ? **root : direct;
    chain.why = "it depends on " + named(direct.name, id);
    for (std::size_t i = chain.ids.size() - 1; i-- > 0;) {
      auto next = named_letter(state, chain.ids[i]);
      if (!next) return tl::unexpected(next.error());
      chain.why += ", which depends on " + *next;
    }
    chain.why += fmt::format(", which was refused ({}: {})", cause.code, cause.message);
    chain.ids.push_back(entry.client_mutation_id);
    return std::optional<Chain>(std::move(chain));
  }
  return std::optional<Chain>();
}

}  // namespace nizhal::client::dependencies
