// Push: mutations in order, in batches that share a transaction, with inner retries (S18, S19). Place in the loop:
// (push) ▶ push_handler ▶ mutators ▶ commit.
//
// A batch runs pipelined first, which costs the fewest round trips to a database across a network; what goes wrong then
// runs again with more care (storage::WriteMode). Mutators that were seen to search start in the mode that takes.
//
// The fact that must not break: a transient failure is never told as a refusal, and what came before it stays applied.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/push.hpp"
#include "protocol/transport.hpp"
#include "server/commit_effects.hpp"
#include "server/counters.hpp"
#include "server/limits.hpp"
#include "server/push_transaction.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

class PushHandler {
 public:
  /// `on_commit` is called after each commit, on the calling thread; it must not block.
  PushHandler(std::shared_ptr<const CompiledDomain> domain, storage::Storage& storage, Clock& clock,
              const Limits& limits, Log log, Counters& counters, std::function<void(const CommitEffects&)> on_commit);

  /// Thread-safe; blocks on storage only.
  protocol::HttpResponse handle(const Actor& actor, const protocol::PushRequest& request);

 private:
  using Mutations = std::span<const protocol::PushMutation>;
  /// What became of a request: the handled mutations in order, then why it ended early.
  struct Progress {
    std::vector<HandledMutation> handled;
    std::optional<Error> failure;  // the storage's; met by the mutation after the handled ones
    std::map<std::string, MutationId> sequences;
    std::optional<std::int64_t> clock_skew_ms;
    NotRun not_run;
  };
  struct Batch {
    std::vector<HandledMutation> handled;
    bool stopped = false;
    bool ended_by_constraint = false;  // nothing of it happened, and what ended it is now in Progress::not_run
  };
  Progress run(const Actor& actor, const protocol::PushRequest& request);
  /// In at most that time of the database's. `mode` becomes the one in which a batch that failed should run again.
  Result<Batch> run_batch(const Actor& actor, Mutations mutations, bool with_results,
                          std::chrono::milliseconds time_max, storage::WriteMode& mode, Progress& progress);
  bool searches(Mutations mutations) const;
  void remember_search(const protocol::PushMutation& mutation);
  protocol::HttpResponse answer_with_results(const protocol::PushRequest& request, Progress progress);
  protocol::HttpResponse answer(const protocol::PushRequest& request, const Progress& progress);
  void count(const HandledMutation& handled);

  std::shared_ptr<const CompiledDomain> domain_;
  storage::Storage& storage_;
  Clock& clock_;
  const Limits limits_;
  const Log log_;
  Counters& counters_;
  const std::function<void(const CommitEffects&)> on_commit_;
  mutable std::mutex searching_mutex_;
  std::set<std::string, std::less<>> searching_;  // names of mutators that need WriteMode::serializable
};

}  // namespace nizhal::server
