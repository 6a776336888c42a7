#include "server/push_handler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "base/json.hpp"
#include "base/planted.hpp"
#include "base/reached.hpp"
#include "server/answers.hpp"

namespace nizhal::server {
namespace {

using protocol::PushStatus;
using storage::WriteMode;

/// With `results`, a refusal does not stop the rest; what makes the following ids meaningless does.
bool stops_request(const HandledMutation& handled, bool with_results) {
  if (!with_results) return handled.http_status != 200;
  const PushStatus status = handled.result.status;
  return status == PushStatus::out_of_order || status == PushStatus::client_cloned ||
         status == PushStatus::client_id_taken;
}

storage::PushIntent intent_of(const Actor& actor, std::span<const protocol::PushMutation> mutations) {
  storage::PushIntent intent{.client_ids = {}, .client_mutation_ids = {}, .actor = actor};
  std::set<std::string_view> clients, ids;
  // What others depend on is looked for in any case: it may have been handled in an earlier request.
  for (const protocol::PushMutation& mutation : mutations)
    for (const std::string& dependency : mutation.depends_on)
      if (ids.insert(dependency).second) intent.client_mutation_ids.push_back(dependency);
  for (const protocol::PushMutation& mutation : mutations) {
    const bool is_sequenced = mutation.client_id && mutation.mutation_id;
    if (is_sequenced && clients.insert(*mutation.client_id).second) intent.client_ids.push_back(*mutation.client_id);
    if (!ids.insert(mutation.client_mutation_id).second) continue;
    auto& list = is_sequenced ? intent.new_client_mutation_ids : intent.client_mutation_ids;
    list.push_back(mutation.client_mutation_id);
  }
  return intent;
}

/// Half as many each time, and alone in the last attempt.
std::size_t smaller(std::size_t size, bool last_attempt) {
  return last_attempt ? 1 : std::max<std::size_t>(1, size / 2);
}

}  // namespace

PushHandler::PushHandler(std::shared_ptr<const CompiledDomain> domain, storage::Storage& storage, Clock& clock,
                         const Limits& limits, Log log, Counters& counters,
                         std::function<void(const CommitEffects&)> on_commit)
    : domain_(std::move(domain)),
      storage_(storage),
      clock_(clock),
      limits_(limits),
      log_(std::move(log)),
      counters_(counters),
      on_commit_(std::move(on_commit)) {}

protocol::HttpResponse PushHandler::handle(const Actor& actor, const protocol::PushRequest& request) {
  if (request.mutations.size() > limits_.mutations_max)
    return error_response(400, "bad_request",
                          fmt::format("mutations must be at most {} in one request", limits_.mutations_max));
  std::size_t dependencies = 0;
  for (const protocol::PushMutation& mutation : request.mutations) dependencies += mutation.depends_on.size();
  if (dependencies > limits_.dependencies_max)
    return error_response(
        400, "bad_request",
        fmt::format("dependsOn must name at most {} mutations in one request", limits_.dependencies_max));
  Progress progress = run(actor, request);
  for (const HandledMutation& handled : progress.handled) count(handled);
  return request.results ? answer_with_results(request, std::move(progress)) : answer(request, progress);
}

PushHandler::Progress PushHandler::run(const Actor& actor, const protocol::PushRequest& request) {
  Progress progress;
  const auto started = clock_.monotonic();
  const Mutations all(request.mutations);
  std::size_t size = std::max<std::size_t>(1, limits_.batch_mutations);
  int attempts = 0;
  WriteMode mode = WriteMode::pipelined;
  while (progress.handled.size() < all.size()) {
    const std::size_t done = progress.handled.size();
    const Mutations mutations = all.subspan(done, std::min(size, all.size() - done));
    mode = std::max(mode, searches(mutations) ? WriteMode::serializable : WriteMode::pipelined);
    const WriteMode ran_in = mode;
    const auto time_left =
        limits_.push_time_max - std::chrono::duration_cast<std::chrono::milliseconds>(clock_.monotonic() - started);
    if (time_left.count() <= 0) {
      progress.failure = Error{ErrorCode::busy, "the time for a push is over; the rest is for the next one"};
      break;
    }
    auto batch = run_batch(actor, mutations, request.results, time_left, mode, progress);
    if (batch && batch->ended_by_constraint) continue;
    if (batch) {
      attempts = 0;
      mode = WriteMode::pipelined;
      std::move(batch->handled.begin(), batch->handled.end(), std::back_inserter(progress.handled));
      if (batch->stopped) break;
      continue;
    }
    const Error& error = batch.error();
    const bool in_time = clock_.monotonic() - started < limits_.retry_budget;
    // A constraint that is only judged at the commit is told by a batch of one.
    const bool alone_next = error.code == ErrorCode::constraint_violated && mutations.size() > 1;
    const bool has_risen = mode > ran_in;
    if (!has_risen) ++attempts;
    if ((!is_transient(error.code) && !alone_next) || attempts >= limits_.attempts_max || !in_time) {
      progress.failure = std::move(batch.error());
      break;
    }
    if (has_risen) continue;
    ++counters_.retries;
    reached(Mark::batch_tried_again);
    log_.debug("push", "a batch met a transient failure and is tried again: " + error.message);
    size = smaller(mutations.size(), alone_next || attempts + 1 >= limits_.attempts_max);
  }
  return progress;
}

Result<PushHandler::Batch> PushHandler::run_batch(const Actor& actor, Mutations mutations, bool with_results,
                                                  std::chrono::milliseconds time_max, WriteMode& mode,
                                                  Progress& progress) {
  const storage::PushIntent intent = intent_of(actor, mutations);
  auto opened = storage_.write(clock_.now(), {.mode = mode, .intent = &intent, .time_max = time_max});
  if (!opened) return tl::unexpected(std::move(opened.error()));
  PushTransaction transaction(*domain_, **opened, actor, clock_, limits_, log_, progress.not_run);
  Batch batch;
  // What came before in the batch was lost with it and runs again; this one is refused then.
  const auto ends_batch = [&](const protocol::PushMutation& mutation, ErrorCode code, std::string why) {
    if (code != ErrorCode::constraint_violated) return false;
    reached(Mark::batch_ended_by_constraint);
    return progress.not_run.emplace(mutation.client_mutation_id, std::move(why)).second;
  };
  for (const protocol::PushMutation& mutation : mutations) {
    auto handled = transaction.handle(mutation);
    if (!handled) {
      batch.ended_by_constraint = ends_batch(mutation, handled.error().code, handled.error().message);
      if (batch.ended_by_constraint) return batch;
      if ((*opened)->retry_mode() == WriteMode::serializable) remember_search(mutation);
      mode = std::max(mode, (*opened)->retry_mode());
      return tl::unexpected(std::move(handled.error()));
    }
    batch.stopped = stops_request(*handled, with_results);
    batch.handled.push_back(std::move(*handled));
    if (batch.stopped) break;
  }
  if (auto finished = transaction.finish(); !finished && !is_planted(Planted::acknowledge_before_commit)) {
    // The database's words may quote its schema, so only the log has them.
    batch.ended_by_constraint =
        mutations.size() == 1 && ends_batch(mutations.front(), finished.error().code, std::string(kConstraintBroken));
    if (batch.ended_by_constraint) {
      log_.warning("push", "a commit met a constraint: " + finished.error().message);
      return batch;
    }
    mode = std::max(mode, (*opened)->retry_mode());
    return tl::unexpected(std::move(finished.error()));
  }
  for (const auto& [client_id, last] : transaction.sequences()) progress.sequences[client_id] = last;
  if (transaction.clock_skew_ms()) progress.clock_skew_ms = transaction.clock_skew_ms();
  opened->reset();
  if (transaction.has_committed()) on_commit_(transaction.effects());
  return batch;
}

bool PushHandler::searches(Mutations mutations) const {
  const std::lock_guard lock(searching_mutex_);
  if (searching_.empty()) return false;
  return std::any_of(mutations.begin(), mutations.end(),
                     [this](const protocol::PushMutation& mutation) { return searching_.contains(mutation.name); });
}

void PushHandler::remember_search(const protocol::PushMutation& mutation) {
  if (!domain_->domain().find_mutator(mutation.name)) return;
  const std::lock_guard lock(searching_mutex_);
  searching_.insert(mutation.name);
}

void PushHandler::count(const HandledMutation& handled) {
  switch (handled.result.status) {
    case PushStatus::applied:
      ++counters_.mutations_applied;
      break;
    case PushStatus::rejected:
      ++counters_.mutations_rejected;
      break;
    case PushStatus::duplicate:
      ++counters_.mutations_repeated;
      break;
    default:
      break;
  }
}

protocol::HttpResponse PushHandler::answer_with_results(const protocol::PushRequest& request, Progress progress) {
  protocol::PushReply reply;
  for (HandledMutation& handled : progress.handled) reply.results.push_back(std::move(handled.result));
  if (progress.failure) {
    // Logged as any storage failure is; the device only hears that it should come again.
    const bool transient = is_transient(progress.failure->code);
    storage_failure(*progress.failure, "push", limits_, log_);
    protocol::PushResult result;
    result.client_mutation_id = request.mutations[reply.results.size()].client_mutation_id;
    result.status = PushStatus::retry;
    result.code = transient ? "busy" : "internal";
    result.error = transient ? "the server is busy; try again" : "the server failed; its log says why";
    reply.results.push_back(std::move(result));
  }
  while (reply.results.size() < request.mutations.size()) {
    protocol::PushResult result;
    result.client_mutation_id = request.mutations[reply.results.size()].client_mutation_id;
    reply.results.push_back(std::move(result));
  }
  if (progress.sequences.size() == 1) {
    reply.last_mutation_id = progress.sequences.begin()->second;
  } else {
    reply.client_sequences = std::move(progress.sequences);
  }
  reply.clock_skew_ms = progress.clock_skew_ms;
  return json_response(200, protocol::encode_push_reply(reply));
}

protocol::HttpResponse PushHandler::answer(const protocol::PushRequest& request, const Progress& progress) {
  if (progress.failure) {
    json::object extra;
    extra["clientMutationId"] = request.mutations[progress.handled.size()].client_mutation_id;
    return storage_failure(*progress.failure, "push", limits_, log_, extra);
  }
  if (!progress.handled.empty() && progress.handled.back().http_status != 200) {
    const HandledMutation& failed = progress.handled.back();
    json::object extra;
    extra["clientMutationId"] = failed.result.client_mutation_id;
    if (failed.last_mutation_id) extra["lastMutationId"] = number(*failed.last_mutation_id);
    if (progress.clock_skew_ms) extra["clockSkewMs"] = *progress.clock_skew_ms;
    return error_response(failed.http_status, failed.result.code, failed.result.error, extra);
  }
  json::array applied;
  for (const HandledMutation& handled : progress.handled)
    applied.emplace_back(std::string_view(handled.result.client_mutation_id));
  json::object body;
  body["applied"] = std::move(applied);
  if (progress.sequences.size() == 1) body["lastMutationId"] = number(progress.sequences.begin()->second);
  if (progress.sequences.size() > 1) {
    json::object& sequences = body["clientSequences"].emplace_object();
    for (const auto& [client_id, last] : progress.sequences) sequences[client_id] = number(last);
  }
  if (progress.clock_skew_ms) body["clockSkewMs"] = *progress.clock_skew_ms;
  return json_response(200, to_text(body));
}

}  // namespace nizhal::server
