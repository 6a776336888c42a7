#include "client/rebase.hpp"

#include <fmt/format.h>

#include "base/json.hpp"
#include "client/mutation_run.hpp"
#include "client/row_writer.hpp"
#include "client/store_schema.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client {
namespace {

Result<void> restore(StoreState& state, std::string_view table_name, std::string_view key_as_text,
                     std::optional<std::string_view> before) {
  const TableDef* table = state.domain().domain().find_table(table_name);
  // A table that the domain no longer has is no longer shown to anybody either.
  if (!table) return {};
  if (!before) {
    const auto key = key_from_text(*table, key_as_text);
    if (!key) return failure(ErrorCode::corrupt, fmt::format("nizhal_undo: no key of table \"{}\"", table_name));
    auto deleted = row_writer::remove(state, *table, *key);
    if (!deleted) return tl::unexpected(deleted.error());
    return {};
  }
  auto image = parse_json(*before);
  if (!image) return failure(ErrorCode::corrupt, "nizhal_undo: " + image.error().message);
  auto row = row_from_json(*table, *image);
  if (!row) return failure(ErrorCode::corrupt, "nizhal_undo: " + row.error().message);
  // An image from before an app upgrade lacks the new columns; the server fills them soon after.
  return row_writer::upsert(state, *table, fill_required(*table, std::move(*row)));
}

}  // namespace

Result<void> undo_pending(StoreState& state) {
  state.footprint = Footprint{};
  {
    auto select = state.connection->prepare("SELECT table_name, key, before FROM nizhal_undo ORDER BY ordinal DESC");
    if (!select) return tl::unexpected(select.error());
    while (true) {
      auto row = select->step();
      if (!row) return tl::unexpected(row.error());
      if (!*row) break;
      const auto before = select->is_null(2) ? std::nullopt : std::optional<std::string_view>(select->text(2));
      if (auto done = restore(state, select->text(0), select->text(1), before); !done) return done;
    }
  }
  auto clear = state.connection->prepare("DELETE FROM nizhal_undo");
  if (!clear) return tl::unexpected(clear.error());
  return clear->run();
}

Result<void> rerun_pending(StoreState& state) {
  auto entries = outbox::list(state, outbox::Which::not_covered);
  if (!entries) return tl::unexpected(entries.error());
  for (const outbox::Entry& entry : *entries) {
    if (entry.is_skip()) continue;
    auto outcome = run_entry(state, entry);
    if (!outcome) return tl::unexpected(outcome.error());
    if (!outcome->is_done())
      state.log.debug("rebase", fmt::format("{} {} has no local effects for now: {}", entry.name,
                                            entry.client_mutation_id, outcome->code));
  }
  state.footprint.is_complete = true;
  return {};
}

Result<void> take_new_client_id(StoreState& state) {
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  for (outbox::Entry& entry : *entries) {
    entry.mutation_id.reset();
    // Asked again under the new id, the server repeats what it recorded under the client mutation id. What a pull
    // covered stays in the base and is not re-run.
    entry.outcome_known = false;
    if (auto kept = outbox::update(state, entry); !kept) return kept;
  }
  if (auto cleared = state.connection->execute("DELETE FROM nizhal_sent"); !cleared) return cleared;
  Meta& meta = *state.meta;
  const std::string client_id = random_uuid(state.random);
  state.log.warning("sync", fmt::format("client id {} is in use elsewhere; this device is {} from now on",
                                        meta.get(meta_key::kClientId), client_id));
  if (auto kept = meta.set(meta_key::kClientId, client_id); !kept) return kept;
  if (auto kept = meta.set(meta_key::kLastGiven, std::int64_t{0}); !kept) return kept;
  if (auto kept = meta.set(meta_key::kConfirmedId, std::int64_t{0}); !kept) return kept;
  if (auto kept = meta.set(meta_key::kConfirmedClientId, ""); !kept) return kept;
  state.load_from_meta();
  return {};
}

Result<void> renumber_after(StoreState& state, MutationId last, std::string_view last_client_mutation_id) {
  auto entries = outbox::list(state, outbox::Which::all);
  if (!entries) return tl::unexpected(entries.error());
  for (outbox::Entry& entry : *entries) {
    if (!entry.mutation_id || *entry.mutation_id <= last) continue;
    entry.mutation_id.reset();
    entry.outcome_known = false;
    entry.covered = false;
    if (auto kept = outbox::update(state, entry); !kept) return kept;
  }
  auto forget = state.connection->prepare("DELETE FROM nizhal_sent WHERE mutation_id > ?1");
  if (!forget) return tl::unexpected(forget.error());
  const auto last_number = static_cast<std::int64_t>(number(last));
  forget->bind(1, last_number);
  if (auto done = forget->run(); !done) return done;
  Meta& meta = *state.meta;
  state.log.warning("sync",
                    fmt::format("the server's last mutation of this device is {}, {} were given: what is pending "
                                "is numbered anew",
                                last_number, meta.integer(meta_key::kLastGiven)));
  if (auto kept = meta.set(meta_key::kLastGiven, last_number); !kept) return kept;
  if (meta.integer(meta_key::kConfirmedId) > last_number) {
    if (auto kept = meta.set(meta_key::kConfirmedId, last_number); !kept) return kept;
    return meta.set(meta_key::kConfirmedClientId, last_client_mutation_id);
  }
  return {};
}

}  // namespace nizhal::client
