// What comes back to the sync machine: answers and failures, and what they change.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/planted.hpp"
#include "base/reached.hpp"
#include "client/answers.hpp"
#include "client/client_sync_state.hpp"

namespace nizhal::client {

using std::chrono::milliseconds;

namespace {

/// What a person can do about it, where the message does not say so already.
const char* advice(ErrorCode code) {
  switch (code) {
    case ErrorCode::unreachable:
      return "; check the network. Every write is kept, and it is tried again by itself";
    case ErrorCode::bad_request:
      return "; check the server's address. Every write is kept, and it is tried again by itself";
    case ErrorCode::busy:
    case ErrorCode::internal:
      return "; every write is kept, and it is tried again by itself";
    default:
      return "";
  }
}

}  // namespace

// Failures

void ClientSync::State::try_later(InFlight::Kind kind, Error error, milliseconds at_least) {
  error.message += advice(error.code);
  (kind == InFlight::Kind::push ? push_wanted : pull_wanted) = true;
  // A server that takes no writes for now may still be read from.
  if (kind == InFlight::Kind::push) pushes_in_row = tuning.pushes_in_row_max;
  const milliseconds delay = std::max(backoff.next(), at_least);
  waiting_for_retry = true;
  if (!is_planted(Planted::forget_to_retry)) effects.emplace_back(SetTimer{TimerId::retry, delay});
  log.info("sync", fmt::format("{}; trying again in {} ms", error.message, delay.count()));
  set_status([&](StoreStatus& now) {
    now.syncing = now.pulling = now.pushing = false;
    const bool is_cut_off = error.code == ErrorCode::unreachable || error.code == ErrorCode::unauthorized;
    if (is_cut_off && now.connection == StoreStatus::Connection::online)
      now.connection = StoreStatus::Connection::offline;
    now.last_error = error.message;
  });
  const bool is_passing = error.code == ErrorCode::busy && ++busy_answers <= tuning.busy_retries_of_sync;
  if (!is_passing) finish_sync(std::move(error));
}

void ClientSync::State::storage_failed(std::string_view stage, const Error& error) {
  reached(Mark::storage_failed);
  log.error(stage, error.message);
  try_later(stage == "push" ? InFlight::Kind::push : InFlight::Kind::pull, error, milliseconds{0});
}

bool ClientSync::State::try_storage() {
  if (store.facts().storage == StoreStatus::Storage::ok) return true;
  auto tried = store.try_storage();
  if (tried) return true;
  storage_failed(push_wanted ? "push" : "pull", tried.error());
  return false;
}

void ClientSync::State::withdraw_awaited(const Error& why) {
  if (auto gone = store.withdraw_awaited(reject(to_string(why.code), why.message)); !gone)
    log.error("push", gone.error().message);
}

void ClientSync::State::not_handled(const InFlight& request) {
  if (request.kind != InFlight::Kind::push) return;
  if (auto noted = store.note_not_handled(request.push); !noted) log.error("push", noted.error().message);
}

void ClientSync::State::request_failed(const InFlight& request, Error error, milliseconds at_least) {
  if (request.kind == InFlight::Kind::push) {
    if (auto noted = store.note_push_failure(request.push, error.message); !noted)
      log.error("push", noted.error().message);
  }
  const bool is_cut_off = error.code == ErrorCode::unreachable || error.code == ErrorCode::unauthorized;
  try_later(request.kind, error, at_least);
  if (is_cut_off) withdraw_awaited(error);
}

// Answers

void ClientSync::State::answered(const protocol::HttpResponse& response) {
  if (!in_flight) return;
  const InFlight request = std::move(*in_flight);
  in_flight.reset();
  const bool is_push = request.kind == InFlight::Kind::push;
  if (response.status == 200) return is_push ? push_answered(request, response) : pull_answered(request, response);
  if (response.status == 401) return unauthorized(request, response);
  if (is_push) {
    if (response.status == 426) return upgrade_required(request, response);
    if (response.status == 400 || response.status == 413) return split(request, response);
    if (response.status == 403 || response.status == 409) {
      if (auto reply = reply_of_error(request.push, response)) return settle(request, *reply);
    }
  }
  request_failed(request, Error{code_of_status(response.status), describe_status(response)}, retry_after(response));
}

void ClientSync::State::went_well() {
  backoff.reset();
  busy_answers = 0;
  token_refused = false;
  set_status([](StoreStatus& now) {
    now.connection = StoreStatus::Connection::online;
    now.last_error = now.upgrade_required ? kUpgrade : "";
  });
}

void ClientSync::State::push_answered(const InFlight& request, const protocol::HttpResponse& response) {
  auto reply = protocol::decode_push_reply(response.body);
  if (!reply)
    return request_failed(
        request, Error{ErrorCode::bad_request, "the answer to a push cannot be understood: " + reply.error().message});
  settle(request, *reply);
}

void ClientSync::State::settle(const InFlight& request, const protocol::PushReply& reply) {
  auto settled = store.settle_push(request.push, reply);
  if (!settled) return storage_failed("push", settled.error());
  sync_report.applied += settled->applied;
  sync_report.rejected += settled->rejected;
  const bool has_outcome = settled->applied + settled->rejected > 0;
  if (settled->retry_later) {
    if (has_outcome) pull_wanted = true;
    return try_later(InFlight::Kind::push, Error{ErrorCode::busy, "the server asked for time"}, milliseconds{0});
  }
  // Numbering anew again and again without any outcome: both sides disagree, and hurrying does not help.
  renumberings = has_outcome || !settled->send_again ? 0 : renumberings + 1;
  if (renumberings > tuning.renumberings_max) {
    renumberings = 0;
    return request_failed(request, Error{ErrorCode::busy, "the server does not take this device's mutation ids"});
  }
  went_well();
  if (has_outcome) set_status([](StoreStatus& now) { now.upgrade_required = false; });
  push_mutations_max = std::min(push_mutations_max * 2, tuning.push_mutations_max);
  push_wanted = push_wanted || settled->send_again;
  // What was handled is confirmed by a pull only (S4).
  pull_wanted = true;
}

void ClientSync::State::pull_answered(const InFlight& request, const protocol::HttpResponse& response) {
  auto page = protocol::decode_page(store.domain().domain(), response.body);
  if (!page)
    return request_failed(
        request, Error{ErrorCode::bad_request, "the answer to a pull cannot be understood: " + page.error().message});
  auto applied = store.apply_page(request.pull, *page);
  if (!applied) return storage_failed("pull", applied.error());
  went_well();
  sync_report.pulled_rows += applied->rows;
  presence.pulled(effects, *page);
  if (applied->outcome_wanted || applied->identity_changed || applied->send_again) push_wanted = true;
  set_status([&](StoreStatus& now) {
    now.progress_rows.reset();
    now.progress_total.reset();
    if (applied->progress && !applied->complete) {
      now.progress_rows = applied->progress->rows;
      now.progress_total = applied->progress->total;
    }
  });
  if (!applied->complete) {
    pull_wanted = true;
    return;
  }
  set_pull_timer();
  if (socket.is_closed() && online_wanted && started && options.use_socket) open_socket();
}

void ClientSync::State::unauthorized(const InFlight& request, const protocol::HttpResponse& response) {
  (request.kind == InFlight::Kind::push ? push_wanted : pull_wanted) = true;
  not_handled(request);
  if (options.has_token && !token_refused) {
    reached(Mark::token_refused);
    token_refused = true;
    token_fresh = false;
    return ask_for_token(true);
  }
  token_refused = false;
  token_fresh = false;
  request_failed(request,
                 Error{ErrorCode::unauthorized, fmt::format("{}; {}", describe_status(response),
                                                            options.has_token || options.is_target
                                                                ? "sign in again: every write is kept until then"
                                                                : "this store has no token: give it one")});
}

void ClientSync::State::upgrade_required(const InFlight& request, const protocol::HttpResponse& response) {
  log.warning("push", describe_status(response));
  not_handled(request);
  // Reading goes on; writes wait for a newer app, or for the user's own try.
  push_paused = true;
  reached(Mark::push_paused);
  set_status([](StoreStatus& now) {
    now.upgrade_required = true;
    now.connection = StoreStatus::Connection::online;
    now.last_error = kUpgrade;
  });
  // Last: who is told finds the reason in the status.
  withdraw_awaited(Error{ErrorCode::upgrade_required, kUpgrade});
}

void ClientSync::State::split(const InFlight& request, const protocol::HttpResponse& response) {
  const std::size_t count = request.push.mutations.size();
  push_wanted = true;
  if (count > 1) {
    push_mutations_max = std::max<std::size_t>(1, count / 2);
    reached(Mark::push_split);
    log.warning("push",
                fmt::format("{}: sending {} mutations at a time", describe_status(response), push_mutations_max));
    return;
  }
  const protocol::PushMutation& mutation = request.push.mutations.front();
  const protocol::ErrorBody body = protocol::decode_error(response.body);
  const std::string code = !body.code.empty() ? body.code : response.status == 413 ? "too_large" : "bad_request";
  if (mutation.name == protocol::kSkip) return request_failed(request, Error{ErrorCode::bad_request, code});
  auto buried = store.dead_letter(mutation.client_mutation_id, code, describe_status(response));
  if (!buried) return storage_failed("push", buried.error());
  push_mutations_max = tuning.push_mutations_max;
  ++sync_report.rejected;
  notify();
}

}  // namespace nizhal::client
