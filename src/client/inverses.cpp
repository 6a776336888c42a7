#include "client/inverses.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "client/authoritative.hpp"
#include "client/dependencies.hpp"
#include "client/enqueue.hpp"
#include "client/mutation_run.hpp"
#include "client/tuning.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/hlc.hpp"
#include "domain/upcast.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client::inverses {
namespace {

/// The door of an inverse: it reads what queries see and cannot write.
class ReadOnlyDoor : public MutationRun {
 public:
  using MutationRun::MutationRun;
  void insert(const TableDef& table, const Row&, Scope) override { refuse_write("insert", table); }
  void upsert(const TableDef& table, const Row&, Scope) override { refuse_write("upsert", table); }
  bool update(const TableDef& table, const Value&, const std::vector<std::pair<std::size_t, Value>>&, Scope) override {
    refuse_write("update", table);
    return false;
  }
  bool remove(const TableDef& table, const Value&, Scope) override {
    refuse_write("remove", table);
    return false;
  }
  std::int64_t next_in_bucket(const TableDef& table, std::string_view, std::string_view, const Value&, Scope) override {
    // The number would be another one by the time that the undo runs.
    refuse_write("next_in_bucket", table);
    return 0;
  }

 private:
  void refuse_write(const char* what, const TableDef& table) {
    fail_usage(fmt::format("it may only read, but calls {} on \"{}\"; what it needs belongs into the call's arguments",
                           what, table.name));
  }
};

struct Kept {
  std::string name, args, undone_by;
  int args_version = 1;
};

Result<std::optional<Kept>> find(StoreState& state, std::string_view client_mutation_id) {
  auto select = state.connection->prepare(
      "SELECT name, args_version, args, undone_by FROM nizhal_inverse WHERE client_mutation_id = ?1");
  if (!select) return tl::unexpected(select.error());
  select->bind_text(1, client_mutation_id);
  auto row = select->step();
  if (!row) return tl::unexpected(row.error());
  if (!*row) return std::optional<Kept>();
  Kept kept;
  kept.name = std::string(select->text(0));
  kept.args_version = static_cast<int>(select->integer(1));
  kept.args = std::string(select->text(2));
  kept.undone_by = std::string(select->text(3));
  return std::optional<Kept>(std::move(kept));
}

Result<void> run_with(StoreState& state, std::string_view sql, std::string_view first, std::string_view second) {
  auto statement = state.connection->prepare(sql);
  if (!statement) return tl::unexpected(statement.error());
  statement->bind_text(1, first);
  if (!second.empty() || sql.find("?2") != std::string_view::npos) statement->bind_text(2, second);
  return statement->run();
}

Result<void> append(StoreState& state, const outbox::Entry& entry, const MutatorDef& mutator, const std::string& args) {
  auto insert = state.connection->prepare(
      "INSERT INTO nizhal_inverse(client_mutation_id, name, args_version, args) VALUES(?1, ?2, ?3, ?4)");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind_text(1, entry.client_mutation_id)
      .bind_text(2, mutator.name)
      .bind(3, static_cast<std::int64_t>(mutator.version))
      .bind_text(4, args);
  if (auto done = insert->run(); !done) return done;
  auto prune = state.connection->prepare(
      "DELETE FROM nizhal_inverse WHERE ordinal <= (SELECT max(ordinal) FROM nizhal_inverse) - ?1");
  if (!prune) return tl::unexpected(prune.error());
  prune->bind(1, kInversesMax);
  return prune->run();
}

}  // namespace

Result<void> keep(StoreState& state, const MutatorDef& mutator, const MutatorDef::Values& values,
                  const outbox::Entry& entry) {
  if (!mutator.inverse) return {};
  const auto wrong = [&](std::string_view why) {
    state.log.error("mutate", fmt::format("the inverse of mutator \"{}\": {}", mutator.name, why));
    return failure(ErrorCode::refused, fmt::format("internal: the inverse of mutator \"{}\": {}", mutator.name, why));
  };
  const auto stamp = parse_hlc(entry.hlc);
  Footprint unused;  // an inverse is computed once, whatever changes later
  ReadOnlyDoor door(state, entry.ordinal, stamp ? stamp->time() : state.now(), entry.id_seed + "/inverse", unused);
  MutatorContext context(door);
  auto call = call_inverse(mutator, context, values);
  if (door.failed()) return tl::unexpected(*door.failed());
  if (door.refused()) return wrong(door.refused()->message);
  if (!call) {
    state.log.error("mutate",
                    fmt::format("the inverse of mutator \"{}\" threw: {}", mutator.name, call.error().message));
    return failure(ErrorCode::refused, fmt::format("internal: the inverse of mutator \"{}\" failed", mutator.name));
  }
  if (!*call) return {};
  const MutationCall& inverse = **call;
  const MutatorDef* target = state.domain().domain().find_mutator(inverse.name);
  if (!target) return wrong(fmt::format("it calls \"{}\", which this domain does not have", inverse.name));
  if (!inverse.args || !inverse.args_type || !target->args_type || *inverse.args_type != *target->args_type)
    return wrong(fmt::format("it calls \"{}\" with other arguments than that mutator declares", inverse.name));
  auto args = checked_arguments(*target, target->values_of(inverse.args.get()));
  if (!args) {
    // Old data need not satisfy today's constraints; that is no reason to refuse what the user does now.
    state.log.warning("mutate", fmt::format("\"{}\" cannot be undone: its inverse \"{}\": {}", mutator.name,
                                            inverse.name, args.error().message));
    return {};
  }
  return append(state, entry, *target, args->text);
}

Result<void> forget(StoreState& state, std::string_view client_mutation_id) {
  return run_with(state, "DELETE FROM nizhal_inverse WHERE client_mutation_id = ?1", client_mutation_id, "");
}

Result<void> move_undo(StoreState& state, std::string_view from, std::string_view to) {
  return run_with(state, "UPDATE nizhal_inverse SET undone_by = ?2 WHERE undone_by = ?1", from, to);
}

Result<Ticket> undo(StoreState& state, std::string_view client_mutation_id, const MutateOptions& options) {
  auto refused = dependencies::find_cause(state, client_mutation_id);
  if (!refused) return tl::unexpected(refused.error());
  if (*refused)
    return failure(ErrorCode::refused,
                   fmt::format("nothing_to_undo: \"{}\" was refused ({}) and changed nothing; discard dead letter {}",
                               (*refused)->name, (*refused)->code, (*refused)->letter));
  auto kept = find(state, client_mutation_id);
  if (!kept) return tl::unexpected(kept.error());
  if (!*kept)
    return failure(
        ErrorCode::not_found,
        fmt::format("mutation {} cannot be undone: its mutator declares no inverse for it, it was refused, or "
                    "it is not among the newest {} any more",
                    client_mutation_id, kInversesMax));
  const Kept& inverse = **kept;
  if (!inverse.undone_by.empty()) {
    auto letter = dependencies::find_cause(state, inverse.undone_by);
    if (!letter) return tl::unexpected(letter.error());
    return failure(ErrorCode::refused,
                   *letter ? fmt::format("already_undone: it was undone, but that was refused ({}); retry dead letter "
                                         "{}, or discard it and undo again",
                                         (*letter)->code, (*letter)->letter)
                           : fmt::format("already_undone: mutation {} undid it; undo that one to have it back",
                                         inverse.undone_by));
  }
  const MutatorDef* mutator = state.domain().domain().find_mutator(inverse.name);
  if (!mutator)
    return failure(ErrorCode::not_found,
                   fmt::format("this version of the app has no mutator \"{}\", which would undo it", inverse.name));
  auto parsed = parse_json(inverse.args);
  if (!parsed) return failure(ErrorCode::corrupt, "nizhal_inverse: " + parsed.error().message);
  auto values = decode_arguments_of(*mutator, inverse.args_version, *parsed);
  if (!values) return failure(ErrorCode::refused, fmt::format("{}: {}", values.error().code, values.error().message));
  auto arguments = checked_arguments(*mutator, *values);
  if (!arguments) return tl::unexpected(arguments.error());

  MutateOptions after = options;
  auto pending = outbox::find(state, client_mutation_id);
  if (!pending) return tl::unexpected(pending.error());
  if (*pending && !(*pending)->outcome_known) after.depends_on.emplace_back(client_mutation_id);
  auto depends_on = dependencies::of_call(state, *mutator, arguments->values, after);
  if (!depends_on) return tl::unexpected(depends_on.error());
  NewMutation mutation{.mutator = mutator, .arguments = std::move(*arguments), .depends_on = std::move(*depends_on)};
  authoritative::ask(state, options, mutation);
  auto ticket = enqueue(state, std::move(mutation));
  if (!ticket) return ticket;
  if (auto noted = run_with(state, "UPDATE nizhal_inverse SET undone_by = ?2 WHERE client_mutation_id = ?1",
                            client_mutation_id, ticket->client_mutation_id);
      !noted)
    return tl::unexpected(noted.error());
  return ticket;
}

}  // namespace nizhal::client::inverses
