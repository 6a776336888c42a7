#include "client/dead_letters.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"
#include "client/mutation_run.hpp"
#include "client/rebase.hpp"
#include "domain/arguments_codec.hpp"

namespace nizhal::client::dead_letters {
namespace {

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
  return stored;
}

Result<std::vector<Stored>> select_all(StoreState& state) {
  auto select = state.connection->prepare(
      "SELECT id, client_mutation_id, id_seed, name, args_version, args, depends_on, code, message, at FROM "
      "nizhal_dead_letter ORDER BY id");
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
  return statement->run();
}

Result<Stored> select_one(StoreState& state, std::int64_t id) {
  auto all = select_all(state);
  if (!all) return tl::unexpected(all.error());
  for (Stored& stored : *all) {
    if (stored.letter.id == id) return std::move(stored);
  }
  return failure(ErrorCode::not_found, fmt::format("there is no dead letter {}; `dead-letters` lists them", id));
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

/// The dependencies that still mean something: one that was applied or discarded no longer holds anything back, one
/// that is a dead letter itself would be the reason for the next refusal.
Result<std::vector<std::string>> living_dependencies(StoreState& state, const std::vector<std::string>& depends_on) {
  std::vector<std::string> living;
  auto letters = select_all(state);
  if (!letters) return tl::unexpected(letters.error());
  for (const std::string& id : depends_on) {
    for (const Stored& stored : *letters) {
      if (stored.letter.client_mutation_id == id)
        return failure(
            ErrorCode::refused,
            fmt::format("dependency_rejected: it depends on dead letter {}; retry that one first, or discard "
                        "it to go on without it",
                        stored.letter.id));
    }
    auto pending = outbox::find(state, id);
    if (!pending) return tl::unexpected(pending.error());
    if (*pending && !(*pending)->is_skip()) living.push_back(id);
  }
  return living;
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

Result<void> bury(StoreState& state, const outbox::Entry& entry, std::string_view code, std::string_view message,
                  Id id) {
  auto insert = state.connection->prepare(
      "INSERT INTO nizhal_dead_letter(client_mutation_id, id_seed, name, args_version, args, depends_on, code, "
      "message, "
      "at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind_text(1, entry.client_mutation_id)
      .bind_text(2, entry.id_seed)
      .bind_text(3, entry.name)
      .bind(4, static_cast<std::int64_t>(entry.args_version))
      .bind_text(5, entry.args)
      .bind_text(6, outbox::depends_on_text(entry.depends_on))
      .bind_text(7, code)
      .bind_text(8, message)
      .bind_text(9, to_iso8601(state.now()));
  if (auto done = insert->run(); !done) return done;
  state.log.warning("push", fmt::format("{} {} is a dead letter: {}", entry.name, entry.client_mutation_id, code));
  if (id == Id::burned || !entry.mutation_id) return outbox::remove(state, entry.ordinal);
  outbox::Entry skip = entry;
  skip.name = std::string(protocol::kSkip);
  skip.args = "{}";
  skip.args_version = 1;
  skip.depends_on.clear();
  skip.attempts = 0;
  skip.last_error.clear();
  mark::leaves(state, skip.ordinal);
  return outbox::update(state, skip);
}

Result<std::uint64_t> bury_dependents(StoreState& state, const std::string& client_mutation_id, Id id) {
  std::vector<std::string> refused{client_mutation_id};
  std::uint64_t buried = 0;
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  // One pass in order is enough: a mutation can only depend on earlier ones.
  for (const outbox::Entry& entry : *entries) {
    if (entry.is_skip() || (id == Id::burned && entry.mutation_id)) continue;
    const auto because = std::find_if(refused.begin(), refused.end(), [&](const std::string& candidate) {
      return depends(entry.depends_on, candidate);
    });
    if (because == refused.end()) continue;
    const std::string message = fmt::format("because {} was refused: it depends on that mutation", *because);
    if (auto done = bury(state, entry, "dependency_rejected", message, id); !done) return tl::unexpected(done.error());
    refused.push_back(entry.client_mutation_id);
    ++buried;
  }
  return buried;
}

Result<void> note_applied_after_all(StoreState& state, std::string_view client_mutation_id) {
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
  auto parsed = parse_json(args ? *args : std::string_view(stored->letter.args));
  if (!parsed) return failure(ErrorCode::invalid_args, parsed.error().message);
  auto values = decode_arguments(*mutator, *parsed);
  if (!values) return tl::unexpected(values.error());
  auto dependencies = living_dependencies(state, stored->letter.depends_on);
  if (!dependencies) return tl::unexpected(dependencies.error());
  auto ordinal = outbox::next_ordinal(state);
  if (!ordinal) return tl::unexpected(ordinal.error());
  auto stamp = state.tick();
  if (!stamp) return tl::unexpected(stamp.error());

  outbox::Entry entry;
  entry.ordinal = *ordinal;
  entry.client_mutation_id = random_uuid(state.random);
  entry.id_seed = stored->id_seed;
  entry.name = mutator->name;
  entry.args_version = mutator->version;
  entry.args = encode_arguments(*mutator, *values);
  entry.hlc = stamp->text();
  entry.depends_on = std::move(*dependencies);
  auto outcome = run_entry(state, entry);
  if (!outcome) return tl::unexpected(outcome.error());
  if (!outcome->is_done()) return failure(ErrorCode::refused, fmt::format("{}: {}", outcome->code, outcome->message));
  if (auto done = outbox::append(state, entry); !done) return tl::unexpected(done.error());
  if (auto done = remove(state, id); !done) return tl::unexpected(done.error());
  if (auto done = rename_dependency(state, stored->letter.client_mutation_id, entry.client_mutation_id); !done)
    return tl::unexpected(done.error());
  return Ticket{entry.client_mutation_id};
}

Result<void> discard(StoreState& state, std::int64_t id) {
  auto stored = select_one(state, id);
  if (!stored) return tl::unexpected(stored.error());
  return remove(state, id);
}

}  // namespace nizhal::client::dead_letters
