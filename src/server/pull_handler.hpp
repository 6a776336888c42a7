// Pull: one page of what changed for an actor since its cursor (S12–S17). Place in the loop: commit ▶ pull_handler ▶
// (pull) ▶ puller.
//
// The facts that must not break: everything visible in the page's snapshot above the cursor is sent, settled or not,
// while the cursor moves only over what is settled; a removal is sent only when no covered bucket has the row in that
// snapshot; and a pull writes nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/pull.hpp"
#include "server/idle_answers.hpp"
#include "server/limits.hpp"
#include "server/tail.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

class PullHandler {
 public:
  /// `tail`: nothing, when every pull is to read the tables.
  PullHandler(std::shared_ptr<const CompiledDomain> domain, storage::Storage& storage, Clock& clock,
              const Limits& limits, std::shared_ptr<Tail> tail = nullptr);

  /// The page as JSON. bad_request names the field; busy: try again; anything else is the storage's.
  /// Thread-safe; blocks on storage only.
  Result<std::string> handle(const Actor& actor, const protocol::PullRequest& request);

  /// The question of a pull that is told nothing new, should nothing have happened since; needs no storage.
  std::optional<PullQuestion> idle_question(const Actor& actor, const protocol::PullRequest& request);
  /// Its page, with a position that was read after the request came. Nothing: handle() it.
  std::optional<std::string> idle_page(const storage::Position& now, const PullQuestion& question,
                                       const protocol::PullRequest& request);

  /// Whether the pull may be answered from the tail, as far as can be told without waiting.
  bool may_be_in_tail(const Actor& actor, const protocol::PullRequest& request);
  /// Its page, with a position that was read after the request came and to which the tail was brought up. Nothing:
  /// handle() it.
  std::optional<std::string> tail_page(const storage::Position& now, const Actor& actor,
                                       const protocol::PullRequest& request);

 private:
  Result<std::string> page_of(storage::Snapshot& snapshot, const Actor& actor, const protocol::PullRequest& request);

  std::shared_ptr<const CompiledDomain> domain_;
  storage::Storage& storage_;
  Clock& clock_;
  const std::size_t limit_default_, limit_max_;
  const bool has_crdt_;  // some table has such columns
  const std::shared_ptr<Tail> tail_;
  IdleAnswers idle_answers_;
};

}  // namespace nizhal::server
