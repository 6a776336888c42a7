// What queries see is always the confirmed base plus the pending mutations re-run in order (S3). A rebase takes back
// what a change can reach, and what was built on that, and runs it again in its order; the rest stays as it is.
//
// The fact that must not break: the result is the same as taking back everything and running everything again.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string_view>

#include <nizhal/result.hpp>

#include "client/footprints.hpp"
#include "client/outbox.hpp"
#include "client/store_state.hpp"

namespace nizhal::client {

/// One rebase, inside one transaction: undo, then the caller changes the base, then rerun. Between undo and rerun the
/// rows that the undone mutations touched are as if these had never run.
class Rebase {
 public:
  explicit Rebase(StoreState& state) : state_(state) {}

  /// Takes back these and all that was built on them; those that leave will not run again. Falls back to undo_all when
  /// footprints are not known, or a constraint of the file forbids taking back only some.
  [[nodiscard]] Result<void> undo(const Footprints::Seeds& seeds);
  /// Now the app's tables *are* the base.
  [[nodiscard]] Result<void> undo_all();
  /// As undo, of what the transaction's marks name.
  [[nodiscard]] Result<void> take_marks();
  bool is_whole() const { return is_whole_; }

  /// Runs again, in order, what was taken back and is still pending. One that refuses now only loses its local effects:
  /// the server decides.
  [[nodiscard]] Result<void> rerun();

 private:
  [[nodiscard]] Result<void> undo_in_savepoint(const std::set<std::int64_t>& ordinals);
  [[nodiscard]] Result<void> rerun_all();
  [[nodiscard]] Result<void> rerun_one(std::int64_t ordinal);

  StoreState& state_;
  bool is_whole_ = false;
  std::set<std::int64_t> to_run_;
};

/// What a transaction changes under the pending mutations, noted where it is done and settled at once: before the
/// transaction commits, or runs something new.
namespace mark {
/// The entry leaves the outbox or will never run here again: its local effects go.
void leaves(StoreState& state, std::int64_t ordinal);
/// The entry itself is another one now (its stamp, its arguments), or has local effects from now on.
void changed(StoreState& state, std::int64_t ordinal);
/// The server gave this row another key (S7).
void mapped(StoreState& state, std::string_view table, std::string_view client_key);
void everything(StoreState& state);
}  // namespace mark
[[nodiscard]] Result<void> settle_marks(StoreState& state);

/// Puts a before-image of nizhal_undo back.
[[nodiscard]] Result<void> restore_row(StoreState& state, std::string_view table_name, std::string_view key_as_text,
                                       std::optional<std::string_view> before);
/// The image as a row of today's table.
[[nodiscard]] Result<Row> undo_image(const TableDef& table, std::string_view before);

// The server's answer may change who this device is or how its mutations are numbered (S19): what was covered may be
// pending again, so both mark everything.

/// The store is a copy of another one, or its client id belongs to someone else: a new client id, and everything
/// pending is numbered from 1. Client mutation ids stay, so nothing is done twice. What is pending may be in the
/// server's rows already; until it is pushed under the new id nobody knows, so it is pushed before a pull is applied.
[[nodiscard]] Result<void> take_new_client_id(StoreState& state);
/// The server knows nothing of this client after `last`: a restored backup. What comes after is numbered anew.
[[nodiscard]] Result<void> renumber_after(StoreState& state, MutationId last, std::string_view last_client_mutation_id);

}  // namespace nizhal::client
