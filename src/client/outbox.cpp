#include "client/outbox.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "base/planted.hpp"
#include "client/rebase.hpp"
#include "client/tuning.hpp"

namespace nizhal::client::outbox {
namespace {

constexpr std::string_view kColumns =
    "ordinal, mutation_id, client_mutation_id, id_seed, name, args_version, args, hlc, depends_on, attempts, covered, "
    "outcome_known, last_error, dependency_key, awaits_server, send_before";

Entry read_entry(const sqlite::Statement& row) {
  Entry entry;
  entry.ordinal = row.integer(0);
  if (!row.is_null(1)) entry.mutation_id = MutationId{static_cast<std::uint64_t>(row.integer(1))};
  entry.client_mutation_id = std::string(row.text(2));
  entry.id_seed = std::string(row.text(3));
  entry.name = std::string(row.text(4));
  entry.args_version = static_cast<int>(row.integer(5));
  entry.args = std::string(row.text(6));
  entry.hlc = std::string(row.text(7));
  entry.depends_on = parse_depends_on(row.text(8));
  entry.attempts = row.integer(9);
  entry.covered = row.integer(10) != 0;
  entry.outcome_known = row.integer(11) != 0;
  entry.last_error = std::string(row.text(12));
  entry.dependency_key = std::string(row.text(13));
  entry.awaits_server = row.integer(14) != 0;
  entry.send_before_ms = row.integer(15);
  return entry;
}

const std::string& is_effective() {
  static const std::string kCondition =
      fmt::format("covered = 0 AND awaits_server = 0 AND name <> '{}'", protocol::kSkip);
  return kCondition;
}

Result<void> prune_settled(StoreState& state) {
  auto prune = state.connection->prepare(
      "DELETE FROM nizhal_settled WHERE ordinal <= (SELECT max(ordinal) FROM nizhal_settled) - ?1");
  if (!prune) return tl::unexpected(prune.error());
  prune->bind(1, kSettledMax);
  return prune->run();
}

Result<bool> exists(StoreState& state, std::string_view condition) {
  auto found = state.connection->query_integer(fmt::format("SELECT 1 FROM nizhal_outbox WHERE {} LIMIT 1", condition));
  if (!found) return tl::unexpected(found.error());
  return found->has_value();
}

}  // namespace

std::string depends_on_text(const std::vector<std::string>& ids) {
  std::string text = "[";
  for (const std::string& id : ids) {
    if (text.size() > 1) text += ',';
    append_json_string(text, id);
  }
  return text + "]";
}

std::vector<std::string> parse_depends_on(std::string_view text) {
  std::vector<std::string> ids;
  const auto parsed = parse_json(text);
  if (!parsed || !parsed->is_array()) return ids;
  for (const json::value& id : parsed->get_array()) {
    if (id.is_string()) ids.emplace_back(id.get_string());
  }
  return ids;
}

Result<std::vector<Entry>> list(StoreState& state, Which which, std::optional<std::size_t> limit) {
  const std::string_view condition = which == Which::all         ? "1"
                                     : which == Which::unsettled ? "outcome_known = 0"
                                     : which == Which::awaiting  ? "awaits_server <> 0"
                                                                 : std::string_view(is_effective());
  auto select = state.connection->prepare(
      fmt::format("SELECT {} FROM nizhal_outbox WHERE {} ORDER BY ordinal LIMIT ?1", kColumns, condition));
  if (!select) return tl::unexpected(select.error());
  select->bind(1, limit ? static_cast<std::int64_t>(*limit) : std::int64_t{-1});
  std::vector<Entry> entries;
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return entries;
    entries.push_back(read_entry(*select));
  }
}

Result<std::optional<Entry>> find(StoreState& state, std::string_view client_mutation_id) {
  auto select =
      state.connection->prepare(fmt::format("SELECT {} FROM nizhal_outbox WHERE client_mutation_id = ?1", kColumns));
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, client_mutation_id);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return std::optional<Entry>();
  return std::optional<Entry>(read_entry(*select));
}

Result<std::optional<Entry>> find_effective(StoreState& state, std::int64_t ordinal) {
  auto select = state.connection->prepare(
      fmt::format("SELECT {} FROM nizhal_outbox WHERE ordinal = ?1 AND {}", kColumns, is_effective()));
  if (!select) return tl::unexpected(select.error());
  select->bind(1, ordinal);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return std::optional<Entry>();
  return std::optional<Entry>(read_entry(*select));
}

Result<std::int64_t> next_ordinal(StoreState& state) {
  auto last = state.connection->query_integer("SELECT max(ordinal) FROM nizhal_outbox");
  if (!last) return tl::unexpected(last.error());
  return last->value_or(0) + 1;
}

Result<void> append(StoreState& state, const Entry& entry) {
  auto insert = state.connection->prepare(
      "INSERT INTO nizhal_outbox(ordinal, client_mutation_id, id_seed, name, args_version, args, hlc, depends_on, "
      "enqueued_at, dependency_key, awaits_server, send_before) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
      "?12)");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind(1, entry.ordinal)
      .bind_text(2, entry.client_mutation_id)
      .bind_text(3, entry.id_seed)
      .bind_text(4, entry.name)
      .bind(5, static_cast<std::int64_t>(entry.args_version))
      .bind_text(6, entry.args)
      .bind_text(7, entry.hlc)
      .bind_text(8, depends_on_text(entry.depends_on))
      .bind_text(9, to_iso8601(state.now()))
      .bind_text(10, entry.dependency_key)
      .bind(11, std::int64_t{entry.awaits_server})
      .bind(12, entry.send_before_ms);
  state.is_stamp_kept = state.is_stamp_kept || entry.hlc == state.hybrid_clock->last().text();
  if (auto done = insert->run(); !done) return done;
  if (!entry.is_skip()) state.tally.added_pending();
  return {};
}

Result<void> update(StoreState& state, const Entry& entry) {
  if (entry.covered || entry.outcome_known) state.is_stamp_kept = false;
  auto statement = state.connection->prepare(
      "UPDATE nizhal_outbox SET mutation_id = ?2, id_seed = ?3, name = ?4, args_version = ?5, args = ?6, hlc = ?7, "
      "depends_on = ?8, attempts = ?9, covered = ?10, outcome_known = ?11, last_error = ?12, dependency_key = ?13, "
      "awaits_server = ?14, send_before = ?15 WHERE ordinal = ?1");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, entry.ordinal);
  if (entry.mutation_id) {
    statement->bind(2, static_cast<std::int64_t>(number(*entry.mutation_id)));
  } else {
    statement->bind_null(2);
  }
  statement->bind_text(3, entry.id_seed)
      .bind_text(4, entry.name)
      .bind(5, static_cast<std::int64_t>(entry.args_version))
      .bind_text(6, entry.args)
      .bind_text(7, entry.hlc)
      .bind_text(8, depends_on_text(entry.depends_on))
      .bind(9, entry.attempts)
      .bind(10, std::int64_t{entry.covered})
      .bind(11, std::int64_t{entry.outcome_known})
      .bind_text(12, entry.last_error)
      .bind_text(13, entry.dependency_key)
      .bind(14, std::int64_t{entry.awaits_server})
      .bind(15, entry.send_before_ms);
  return statement->run();
}

Result<void> remove(StoreState& state, const Entry& entry) {
  auto statement = state.connection->prepare("DELETE FROM nizhal_outbox WHERE ordinal = ?1");
  if (!statement) return tl::unexpected(statement.error());
  statement->bind(1, entry.ordinal);
  mark::leaves(state, entry.ordinal);
  state.is_stamp_kept = false;
  if (auto done = statement->run(); !done) return done;
  if (!entry.is_skip()) state.tally.removed_pending();
  return {};
}

Result<void> replace_by_skip(StoreState& state, const Entry& entry) {
  Entry skip = entry;
  skip.name = std::string(protocol::kSkip);
  skip.args = "{}";
  skip.args_version = 1;
  skip.depends_on.clear();
  skip.dependency_key.clear();
  skip.attempts = 0;
  skip.last_error.clear();
  skip.awaits_server = false;
  skip.send_before_ms = 0;
  mark::leaves(state, skip.ordinal);
  if (auto done = update(state, skip); !done) return done;
  if (!entry.is_skip()) state.tally.removed_pending();
  return {};
}

Result<void> confirm(StoreState& state, const Entry& entry) {
  if (!entry.is_skip()) {
    const Settlement& settlement =
        state.settlements.emplace_back(Settlement{Settlement::Kind::confirmed, entry.client_mutation_id, done()});
    if (auto noted = note_settled(state, settlement); !noted) return noted;
  }
  return remove(state, entry);
}

Result<void> confirm_covered(StoreState& state) {
  if (is_planted(Planted::confirm_without_outcome))
    if (auto known = state.connection->execute("UPDATE nizhal_outbox SET outcome_known = 1 WHERE covered = 1"); !known)
      return known;
  const std::string whose = fmt::format("covered = 1 AND outcome_known = 1 AND name <> '{}'", protocol::kSkip);
  std::size_t confirmed = 0;
  {
    auto select = state.connection->prepare(
        fmt::format("SELECT client_mutation_id FROM nizhal_outbox WHERE {} ORDER BY ordinal", whose));
    if (!select) return tl::unexpected(select.error());
    while (true) {
      auto row = select->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) break;
      state.settlements.push_back({Settlement::Kind::confirmed, std::string(select->text(0)), done()});
      ++confirmed;
    }
  }
  if (confirmed > 0) {
    if (auto noted = state.connection->execute(
            fmt::format("INSERT INTO nizhal_settled(client_mutation_id) SELECT client_mutation_id FROM nizhal_outbox "
                        "WHERE {} ORDER BY ordinal",
                        whose));
        !noted)
      return noted;
    if (auto pruned = prune_settled(state); !pruned) return pruned;
    state.tally.removed_pending(confirmed);
  }
  return state.connection->execute("DELETE FROM nizhal_outbox WHERE covered = 1 AND outcome_known = 1");
}

Result<void> note_settled(StoreState& state, const Settlement& settlement) {
  auto insert = state.connection->prepare(
      "INSERT INTO nizhal_settled(client_mutation_id, code, message, dropped) VALUES(?1, ?2, ?3, ?4)");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind_text(1, settlement.client_mutation_id)
      .bind_text(2, settlement.outcome.code)
      .bind_text(3, settlement.outcome.message)
      .bind(4, std::int64_t{settlement.kind == Settlement::Kind::dropped});
  if (auto noted = insert->run(); !noted) return noted;
  return prune_settled(state);
}

Result<bool> has_unsettled(StoreState& state) { return exists(state, "outcome_known = 0"); }
Result<bool> has_covered_unknown(StoreState& state) { return exists(state, "covered = 1 AND outcome_known = 0"); }

Result<bool> has_outcome_above(StoreState& state, std::int64_t mutation_id) {
  return exists(state, fmt::format("outcome_known = 1 AND mutation_id > {}", mutation_id));
}

}  // namespace nizhal::client::outbox
