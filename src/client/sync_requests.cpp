#include "client/sync_requests.hpp"

#include <string>

#include "base/json.hpp"

namespace nizhal::client::sync_requests {
namespace {

std::int64_t integer(const json::value& object, std::string_view name) {
  const json::value* found = member(object, name);
  return found ? as_integer(*found).value_or(0) : 0;
}

std::uint64_t count(const json::value& object, std::string_view name) {
  return static_cast<std::uint64_t>(integer(object, name));
}

/// An answer by a newer release may have a code that this one does not know.
ErrorCode code_of(std::string_view name) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code) {
    if (to_string(static_cast<ErrorCode>(code)) == name) return static_cast<ErrorCode>(code);
  }
  return ErrorCode::busy;
}

std::optional<json::value> last_answer(const StoreState& state) {
  auto parsed = parse_json(state.meta->get(meta_key::kSyncAnswered));
  if (!parsed || !parsed->is_object()) return std::nullopt;
  return std::move(*parsed);
}

}  // namespace

Result<std::int64_t> ask(StoreState& state) {
  const std::int64_t request = state.meta->integer(meta_key::kSyncAsked) + 1;
  if (auto kept = state.meta->set(meta_key::kSyncAsked, request); !kept) return tl::unexpected(kept.error());
  return request;
}

std::optional<std::int64_t> outstanding(const StoreState& state) {
  const std::int64_t asked = state.meta->integer(meta_key::kSyncAsked);
  if (asked == 0) return std::nullopt;
  const auto answered = last_answer(state);
  if (answered && integer(*answered, "upTo") >= asked) return std::nullopt;
  return asked;
}

Result<void> answer(StoreState& state, std::int64_t up_to, const Result<SyncReport>& report) {
  json::object text{{"upTo", up_to}};
  if (report) {
    text["report"] = json::object{{"applied", report->applied},
                                  {"rejected", report->rejected},
                                  {"pulledRows", report->pulled_rows},
                                  {"pending", report->pending},
                                  {"deadLetters", report->dead_letters}};
  } else {
    text["error"] = json::object{{"code", to_string(report.error().code)}, {"message", report.error().message}};
  }
  return state.meta->set(meta_key::kSyncAnswered, to_text(json::value(std::move(text))));
}

std::optional<Result<SyncReport>> answer_to(const StoreState& state, std::int64_t request) {
  const auto answered = last_answer(state);
  if (!answered || integer(*answered, "upTo") < request) return std::nullopt;
  if (const json::value* error = member(*answered, "error"))
    return Result<SyncReport>(failure(code_of(string_member(*error, "code").value_or("")),
                                      std::string(string_member(*error, "message").value_or(""))));
  SyncReport report;
  if (const json::value* told = member(*answered, "report")) {
    report.applied = count(*told, "applied");
    report.rejected = count(*told, "rejected");
    report.pulled_rows = count(*told, "pulledRows");
    report.pending = count(*told, "pending");
    report.dead_letters = count(*told, "deadLetters");
  }
  return Result<SyncReport>(report);
}

Result<void> tell_status(StoreState& state, const LocalStore::HolderStatus& status) {
  const json::object text{{"online", status.is_online}, {"lastError", status.last_error}};
  return state.meta->set(meta_key::kHolder, to_text(json::value(text)));
}

LocalStore::HolderStatus told_status(const StoreState& state) {
  LocalStore::HolderStatus status;
  const auto parsed = parse_json(state.meta->get(meta_key::kHolder));
  if (!parsed) return status;
  const json::value* online = member(*parsed, "online");
  status.is_online = online && online->is_bool() && online->get_bool();
  status.last_error = std::string(string_member(*parsed, "lastError").value_or(""));
  return status;
}

}  // namespace nizhal::client::sync_requests
