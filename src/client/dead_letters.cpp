#include "client/dead_letters.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"
#include "base/planted.hpp"
#include "base/reached.hpp"
#include "client/dependencies.hpp"
#include "client/enqueue.hpp"
#include "client/inverses.hpp"
#include "client/rebase.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/upcast.hpp"

namespace nizhal::client::dead_letters {
namespace {

constexpr std::string_view kDependencyRejected = "dependency_rejected";

struct Stored {
  DeadLetter letter;
  std::string id_seed;
  int args_version = 1;
};

Stored read_stored(const sqlite::Statement& row) {
  Stored stored;
  stored.letter.id = row.integer(0);
  stored.letter.client_mutation_id = std::string(row.text(1));
  stored.id_seed = std::string(row.text(2));
  stored.letter.name = std::string(row.text(3));
  stored.args_version = static_cast<int>(row.integer(4));
  stored.letter.args = std::string(row.text(5));
  stored.letter.depends_on = outbox::parse_depends_on(row.text(6));
  stored.letter.code = std::string(row.text(7));
  stored.letter.message = std::string(row.text(8));
  stored.letter.at = parse_iso8601(row.text(9)).value_or(Timestamp{});
  stored.letter.chain = outbox::parse_depends_on(row.text(10));
  return stored;
}

Result<std::vector<Stored>> select_all(StoreState& state) {
  auto select = state.connection->prepare(
      "SELECT id, client_mutation_id, id_seed, name, args_version, args, depends_on, code, message, at, chain "
      "FROM nizhal_dead_letter ORDER BY id");
  if (!select) return tl::unexpected(select.error());
  std::vector<Stored> all;
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return all;
    all.push_back(read_stored(*select));
  }
}

Result<void> remove(StoreState& state, std::int64_t id) {
  auto statement = state.connection->prepare("DELETE FROM nizhal_dead_letter WHERE id = ?1");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, id);
  if (auto done = statement->run(); !done) return done;
  state.tally.removed_dead_letter();
  return {};
}

Result<Stored> select_one(StoreState& state, std::int64_t id) {
  auto all = select_all(state);
  if (!all) return tl::unexpected(all.error());
  for (Stored& stored : *all) {
    if (stored.letter.id == id) return std::move(stored);
  }
  return failure(ErrorCode::not_found, fmt::format("there is no dead letter {}; `dead-letters` lists them", id));
}

/// It goes, and what became of its mutation stays known for a while.
Result<void> leave(StoreState& state, const DeadLetter& letter) {
  if (auto noted = outbox::note_settled(
          state, {Settlement::Kind::refused, letter.client_mutation_id, reject(letter.code, letter.message)});
      !noted)
    return noted;
  return remove(state, letter.id);
}

bool depends(const std::vector<std::string>& depends_on, std::string_view id) {
  return std::find(depends_on.begin(), depends_on.end(), id) != depends_on.end();
}

/// Whoever waited for the old client mutation id waits for the new one.
Result<void> rename_dependency(StoreState& state, const std::string& from, const std::string& to) {
  auto all = select_all(state);
  if (!all) return tl::unexpected(all.error());
  for (Stored& stored : *all) {
    if (!depends(stored.letter.depends_on, from)) continue;
    std::replace(stored.letter.depends_on.begin(), stored.letter.depends_on.end(), from, to);
    auto statement = state.connection->prepare("UPDATE nizhal_dead_letter SET depends_on = ?2 WHERE id = ?1");
    if (!statement) return tl::unexpected(statement.error());
    statement->bind(1, stored.letter.id).bind_text(2, outbox::depends_on_text(stored.letter.depends_on));
    if (auto done = statement->run(); !done) return done;
  }
  return {};
}

/// A sent one that waits for the old id still names it as well: the server has its refusal on record.
Result<void> add_dependency_of_sent(StoreState& state, const std::string& old_id, const std::string& new_id) {
  auto select = state.connection->prepare(
      "SELECT client_mutation_id FROM nizhal_outbox WHERE depends_on <> '[]' AND instr(depends_on, ?1) > 0");
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, old_id);
  std::vector<std::string> waiting;
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) break;
    waiting.emplace_back(select->text(0));
  }
  for (const std::string& id : waiting) {
    auto entry = outbox::find(state, id);
    if (!entry) return tl::unexpected(entry.error());
    if (!*entry) continue;
    (*entry)->depends_on.push_back(new_id);
    if (auto kept = outbox::update(state, **entry); !kept) return kept;
  }
  return {};
}

/// The dependencies that still mean something: one that was applied or discarded no longer holds anything back.
Result<std::vector<std::string>> living_dependencies(StoreState& state, const std::vector<std::string>& depends_on) {
  std::vector<std::string> living;
  for (const std::string& id : depends_on) {
    auto letter = dependencies::find_cause(state, id);
    if (!letter) return tl::unexpected(letter.error());
    auto pending = outbox::find(state, id);
    if (!pending) return tl::unexpected(pending.error());
    const bool is_pending = *pending && !(*pending)->is_skip() && !(*pending)->outcome_known;
    if (*letter || is_pending) living.push_back(id);
  }
  return living;
}

/// The letter's arguments as today's.
Result<MutatorDef::Values> values_of(const Stored& stored, const MutatorDef& mutator) {
  auto parsed = parse_json(stored.letter.args);
  if (!parsed) return failure(ErrorCode::corrupt, "nizhal_dead_letter: " + parsed.error().message);
  auto values = decode_arguments_of(mutator, stored.args_version, *parsed);
  if (values) return std::move(*values);
  if (values.error().code == upcast_code::kInvalid) return failure(ErrorCode::invalid_args, values.error().message);
  return failure(ErrorCode::refused, fmt::format("{}: {}; retry it with arguments of today (edit), or discard it",
                                                 values.error().code, values.error().message));
}

/// Keys that the letter had depended on: what they stood for was resolved then.
Result<std::vector<std::string>> earlier_keys(StoreState& state, const Stored& stored, const MutatorDef& mutator) {
  auto values = values_of(stored, mutator);
  if (!values) return std::vector<std::string>();
  return dependencies::keys_of(state, mutator, *values);
}

}  // namespace

Result<std::vector<DeadLetter>> list(StoreState& state) {
  auto all = select_all(state);
  if (!all) return tl::unexpected(all.error());
  std::vector<DeadLetter> letters;
  letters.reserve(all->size());
  for (Stored& stored : *all) letters.push_back(std::move(stored.letter));
  return letters;
}

Result<bool> is_there(StoreState& state, std::string_view client_mutation_id) {
  auto select = state.connection->prepare("SELECT 1 FROM nizhal_dead_letter WHERE client_mutation_id = ?1");
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, client_mutation_id);
  return select->step();
}

Result<void> bury(StoreState& state, const outbox::Entry& entry, std::string_view code, std::string_view message,
                  Id id) {
  if (is_planted(Planted::bury_without_a_letter) && code == kDependencyRejected)
    return id == Id::burned || !entry.mutation_id ? outbox::remove(state, entry)
                                                  : outbox::replace_by_skip(state, entry);
  std::vector<std::string> chain;
  std::string why(message);
  if (code == kDependencyRejected) {
    // The server says it in its own words, and knows no names.
    auto found = dependencies::chain_of(state, entry);
    if (!found) return tl::unexpected(found.error());
    if (*found) {
      chain = std::move((*found)->ids);
      why = std::move((*found)->why);
    }
  }
  auto insert = state.connection->prepare(
      "INSERT INTO nizhal_dead_letter(client_mutation_id, id_seed, name, args_version, args, depends_on, code, "
      "message, at, dependency_key, chain) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind_text(1, entry.client_mutation_id)
      .bind_text(2, entry.id_seed)
      .bind_text(3, entry.name)
      .bind(4, static_cast<std::int64_t>(entry.args_version))
      .bind_text(5, entry.args)
      .bind_text(6, outbox::depends_on_text(entry.depends_on))
      .bind_text(7, code)
      .bind_text(8, why)
      .bind_text(9, to_iso8601(state.now()))
      .bind_text(10, entry.dependency_key)
      .bind_text(11, outbox::depends_on_text(chain));
  if (auto done = insert->run(); !done) return done;
  if (auto forgotten = inverses::forget(state, entry.client_mutation_id); !forgotten) return forgotten;
  state.tally.added_dead_letter();
  state.settlements.push_back({Settlement::Kind::refused, entry.client_mutation_id, reject(std::string(code), why)});
  state.log.warning("push", fmt::format("{} {} is a dead letter: {}", entry.name, entry.client_mutation_id, code));
  if (id == Id::burned || !entry.mutation_id) return outbox::remove(state, entry);
  return outbox::replace_by_skip(state, entry);
}

Result<std::uint64_t> bury_dependents(StoreState& state, const std::string& client_mutation_id, Id id) {
  std::vector<std::string> refused{client_mutation_id};
  {
    auto select = state.connection->prepare(fmt::format(
        "SELECT client_mutation_id, depends_on, mutation_id FROM nizhal_outbox WHERE depends_on <> '[]' AND "
        "name <> '{}' ORDER BY ordinal",
        protocol::kSkip));
    if (!select) return tl::unexpected(select.error());
    // One pass in order is enough: a mutation can only depend on earlier ones.
    while (true) {
      auto row = select->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) break;
      if (id == Id::burned && !select->is_null(2)) continue;
      const std::vector<std::string> depends_on = outbox::parse_depends_on(select->text(1));
      if (std::any_of(refused.begin(), refused.end(),
                      [&](const std::string& candidate) { return depends(depends_on, candidate); }))
        refused.emplace_back(select->text(0));
    }
  }
  if (refused.size() > 1) reached(Mark::dependents_buried);
  for (std::size_t i = 1; i < refused.size(); ++i) {
    auto entry = outbox::find(state, refused[i]);
    if (!entry) return tl::unexpected(entry.error());
    if (!*entry) continue;
    if (auto done = bury(state, **entry, kDependencyRejected, "what it depends on was refused", id); !done)
      return tl::unexpected(done.error());
  }
  return refused.size() - 1;
}

Result<void> note_applied_after_all(StoreState& state, std::string_view client_mutation_id) {
  reached(Mark::skip_came_too_late);
  state.log.warning("push", fmt::format("{} was given up here, but the server had applied it", client_mutation_id));
  auto statement = state.connection->prepare(
      "UPDATE nizhal_dead_letter SET code = 'applied_after_all', message = 'the server had applied it before it was "
      "given up here; discard it, a retry would do it twice' WHERE client_mutation_id = ?1");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, client_mutation_id);
  return statement->run();
}

Result<Ticket> retry(StoreState& state, std::int64_t id, std::optional<std::string_view> args) {
  auto stored = select_one(state, id);
  if (!stored) return tl::unexpected(stored.error());
  const MutatorDef* mutator = state.domain().domain().find_mutator(stored->letter.name);
  if (!mutator)
    return failure(ErrorCode::not_found, fmt::format("this domain has no mutator \"{}\"", stored->letter.name));
  auto values = Result<MutatorDef::Values>();
  if (args) {
    auto parsed = parse_json(*args);
    if (!parsed) return failure(ErrorCode::invalid_args, parsed.error().message);
    values = decode_arguments(*mutator, *parsed);
  } else {
    values = values_of(*stored, *mutator);
  }
  if (!values) return tl::unexpected(values.error());
  auto living = living_dependencies(state, stored->letter.depends_on);
  if (!living) return tl::unexpected(living.error());
  auto keys = dependencies::keys_of(state, *mutator, *values);
  if (!keys) return tl::unexpected(keys.error());
  auto earlier = earlier_keys(state, *stored, *mutator);
  if (!earlier) return tl::unexpected(earlier.error());
  auto depends_on = dependencies::resolve(state, *living, *keys, *earlier);
  if (!depends_on) return tl::unexpected(depends_on.error());

  std::string text = encode_arguments(*mutator, *values);
  auto ticket = enqueue(state, {.mutator = mutator,
                                .arguments = {std::move(*values), std::move(text)},
                                .depends_on = std::move(*depends_on),
                                .id_seed = stored->id_seed,
                                // Nothing of it is shown before the server said so, and nobody waits for it.
                                .awaits_server = state.options.mode == SyncMode::server_authoritative});
  if (!ticket) return ticket;
  reached(Mark::dead_letter_retried);
  const std::string& old_id = stored->letter.client_mutation_id;
  if (auto done = leave(state, stored->letter); !done) return tl::unexpected(done.error());
  if (auto done = rename_dependency(state, old_id, ticket->client_mutation_id); !done)
    return tl::unexpected(done.error());
  if (auto done = add_dependency_of_sent(state, old_id, ticket->client_mutation_id); !done)
    return tl::unexpected(done.error());
  if (auto moved = inverses::move_undo(state, old_id, ticket->client_mutation_id); !moved)
    return tl::unexpected(moved.error());
  return ticket;
}

Result<void> take_refusal(StoreState& state, std::string_view client_mutation_id) {
  auto all = select_all(state);
  if (!all) return tl::unexpected(all.error());
  for (const Stored& stored : *all) {
    if (stored.letter.client_mutation_id != client_mutation_id) continue;
    if (auto done = discard(state, stored.letter.id); !done) return done;
  }
  return {};
}

Result<void> discard(StoreState& state, std::int64_t id) {
  auto stored = select_one(state, id);
  if (!stored) return tl::unexpected(stored.error());
  if (auto done = leave(state, stored->letter); !done) return done;
  // What it was to undo was not undone, so it may be tried again.
  return inverses::move_undo(state, stored->letter.client_mutation_id, "");
}

}  // namespace nizhal::client::dead_letters
