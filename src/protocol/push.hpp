// POST /sync/push: mutations in order, and what became of each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/value.hpp>

#include "base/ids.hpp"
#include "base/json.hpp"

namespace nizhal::protocol {

/// The name that burns a mutation id and does nothing.
inline constexpr std::string_view kSkip = "nizhal.skip";

struct PushMutation {
  std::string name = {};
  json::value args = {};
  std::string client_mutation_id = {};
  std::optional<std::string> client_id = {};  // with mutation_id: a sequenced mutation
  std::optional<MutationId> mutation_id = {};
  std::optional<std::string> hlc = {};       // as sent; checked by the push handler (422)
  std::vector<std::string> depends_on = {};  // client mutation ids
  std::optional<std::string> id_seed = {};
  std::optional<int> args_version = {};
};
struct PushRequest {
  std::vector<PushMutation> mutations;
  bool results = false;
};
/// The error (bad_request) names the field: `mutations[3].mutationID must be an integer ≥ 1`.
Result<PushRequest> decode_push_request(std::string_view body);
std::string encode_push_request(const PushRequest& request);

enum class PushStatus {
  applied,
  duplicate,
  rejected,
  out_of_order,
  outcome_unknown,
  client_cloned,
  client_id_taken,
  retry,
  not_tried,
};
const char* to_string(PushStatus status);
std::optional<PushStatus> parse_push_status(std::string_view text);

/// An edit of this mutation that lost (Merge::Field).
struct PushConflict {
  std::string table, key, column;
  std::string lost;     // JSON
  Timestamp at;         // on the wire ISO 8601, as winner_at
  Timestamp winner_at;  // not whose it is: that may be another actor
  bool operator==(const PushConflict&) const = default;
};

/// A list of them as it is in a result, and as it is recorded. Empty: none.
std::string encode_conflicts(const std::vector<PushConflict>& conflicts);
/// Of encode_conflicts; what is no such list holds none.
std::vector<PushConflict> decode_conflicts(std::string_view text);

struct PushResult {
  std::string client_mutation_id = {};
  PushStatus status = PushStatus::not_tried;
  std::string code = {};  // of a rejection, also of a recorded one answered again with `duplicate`
  std::string error = {};
  std::optional<std::string> server_id = {};
  std::optional<std::vector<std::string>> affected_buckets = {};
  std::vector<PushConflict> conflicts = {};
};
struct PushReply {
  std::vector<PushResult> results = {};
  std::optional<MutationId> last_mutation_id = {};
  std::map<std::string, MutationId> client_sequences = {};  // when several client ids took part
  std::optional<std::int64_t> clock_skew_ms = {};
};
/// With `results`.
std::string encode_push_reply(const PushReply& reply);
Result<PushReply> decode_push_reply(std::string_view body);

/// `{"error": text, "code": word, …extra}`
std::string encode_error(std::string_view code, std::string_view message, const json::object& extra = {});
struct ErrorBody {
  std::string code, message;
  json::object members;
};
/// Never fails: a body that is no error object gives an empty code and a short message.
ErrorBody decode_error(std::string_view body);

}  // namespace nizhal::protocol
