#include "protocol/push.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

#include "protocol/fields.hpp"

namespace nizhal::protocol {

namespace {

constexpr TextBounds kIdBounds{.bytes_min = 1, .bytes_max = 128, .control_characters = false};
constexpr TextBounds kNameBounds{.bytes_min = 1, .control_characters = false};
constexpr TextBounds kIdSeedBounds{.bytes_max = 128, .control_characters = false};

constexpr std::array<std::pair<PushStatus, const char*>, 9> kStatuses{{
    {PushStatus::applied, "applied"},
    {PushStatus::duplicate, "duplicate"},
    {PushStatus::rejected, "rejected"},
    {PushStatus::out_of_order, "out_of_order"},
    {PushStatus::outcome_unknown, "outcome_unknown"},
    {PushStatus::client_cloned, "client_cloned"},
    {PushStatus::client_id_taken, "client_id_taken"},
    {PushStatus::retry, "retry"},
    {PushStatus::not_tried, "not_tried"},
}};

bool read_mutation(FieldReader& fields, PushMutation& out) {
  fields.required_text("name", out.name, kNameBounds);
  if (const json::value* args = fields.find("args")) {
    if (args->is_object())
      out.args = *args;
    else
      fields.refuse("args", "must be an object");
  } else {
    out.args = json::object();
  }
  fields.required_text("clientMutationId", out.client_mutation_id, kIdBounds);
  fields.text("clientID", out.client_id, kIdBounds);
  std::optional<std::int64_t> mutation_id;
  fields.integer("mutationID", mutation_id, 1, kIntegerMax);
  if (mutation_id) out.mutation_id = MutationId{static_cast<std::uint64_t>(*mutation_id)};
  fields.text("hlc", out.hlc);
  fields.texts("dependsOn", out.depends_on);
  fields.text("idSeed", out.id_seed, kIdSeedBounds);
  std::optional<std::int64_t> args_version;
  fields.integer("argsVersion", args_version, 1, std::numeric_limits<int>::max());
  if (args_version) out.args_version = static_cast<int>(*args_version);

  if (fields.failed()) return false;
  if (out.client_id && !out.mutation_id) fields.refuse("mutationID", "must be there, because clientID is");
  if (out.mutation_id && !out.client_id) fields.refuse("clientID", "must be there, because mutationID is");
  return !fields.failed();
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json_string(out, text);
}

void append_member(std::string& out, std::string_view name, std::int64_t number) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json_number(out, number);
}

void append_texts(std::string& out, std::string_view name, const std::vector<std::string>& texts) {
  out += ",\"";
  out += name;
  out += "\":[";
  bool first = true;
  for (const std::string& text : texts) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, text);
  }
  out += ']';
}

void append_mutation(std::string& out, const PushMutation& mutation) {
  out += "{\"name\":";
  append_json_string(out, mutation.name);
  out += ",\"args\":";
  out += mutation.args.is_object() ? to_text(mutation.args) : std::string("{}");
  append_member(out, "clientMutationId", mutation.client_mutation_id);
  if (mutation.client_id) append_member(out, "clientID", *mutation.client_id);
  if (mutation.mutation_id) append_member(out, "mutationID", static_cast<std::int64_t>(number(*mutation.mutation_id)));
  if (mutation.hlc) append_member(out, "hlc", *mutation.hlc);
  if (!mutation.depends_on.empty()) append_texts(out, "dependsOn", mutation.depends_on);
  if (mutation.id_seed) append_member(out, "idSeed", *mutation.id_seed);
  if (mutation.args_version) append_member(out, "argsVersion", static_cast<std::int64_t>(*mutation.args_version));
  out += '}';
}

bool read_time(FieldReader& fields, std::string_view name, Timestamp& out) {
  std::string text;
  if (!fields.required_text(name, text)) return false;
  const auto time = parse_iso8601(text);
  if (!time) {
    fields.refuse(name, "must be ISO 8601");
    return false;
  }
  out = *time;
  return true;
}

/// False: it is no list of conflicts, and `out` has those before the first that is none.
bool read_conflicts(const json::array& list, std::vector<PushConflict>& out) {
  for (const json::value& element : list) {
    const json::object* object = element.if_object();
    if (object == nullptr) return false;
    FieldReader members(*object);
    PushConflict conflict;
    members.required_text("table", conflict.table);
    members.required_text("key", conflict.key);
    members.required_text("column", conflict.column);
    const json::value* lost = object->if_contains("lost");  // may be null
    read_time(members, "at", conflict.at);
    read_time(members, "winnerAt", conflict.winner_at);
    if (members.failed() || lost == nullptr) return false;
    conflict.lost = to_text(*lost);
    out.push_back(std::move(conflict));
  }
  return true;
}

bool read_result(FieldReader& fields, PushResult& out) {
  fields.required_text("clientMutationId", out.client_mutation_id);
  std::string status;
  if (fields.required_text("status", status)) {
    if (const auto parsed = parse_push_status(status))
      out.status = *parsed;
    else
      fields.refuse("status", "is not a status that this version knows");
  }
  fields.text("code", out.code);
  fields.text("error", out.error);
  fields.text("serverId", out.server_id);
  fields.texts("affectedBuckets", out.affected_buckets);
  if (const json::array* conflicts = fields.array("conflicts"); conflicts && !read_conflicts(*conflicts, out.conflicts))
    fields.refuse("conflicts", "must hold objects with table, key, column, lost, at and winnerAt");
  return !fields.failed();
}

}  // namespace

Result<PushRequest> decode_push_request(std::string_view body) {
  Result<json::value> parsed = parse_object(body, "the body");
  if (!parsed) return tl::unexpected(std::move(parsed.error()));
  FieldReader fields(*parsed->if_object());
  PushRequest request;
  fields.boolean("results", request.results);
  const json::array* mutations = fields.required_array("mutations");
  if (fields.failed()) return fields.error();

  request.mutations.reserve(mutations->size());
  for (const json::value& element : *mutations) {
    const std::size_t index = request.mutations.size();
    const json::object* object = element.if_object();
    if (object == nullptr)
      return failure(ErrorCode::bad_request, fmt::format("mutations[{}] must be an object", index));
    FieldReader members(*object, {.array = "mutations", .index = index});
    PushMutation& mutation = request.mutations.emplace_back();
    if (!read_mutation(members, mutation)) return members.error();
  }
  return request;
}

std::string encode_push_request(const PushRequest& request) {
  std::string out = "{\"mutations\":[";
  bool first = true;
  for (const PushMutation& mutation : request.mutations) {
    if (!std::exchange(first, false)) out += ',';
    append_mutation(out, mutation);
  }
  out += ']';
  if (request.results) out += ",\"results\":true";
  out += '}';
  return out;
}

const char* to_string(PushStatus status) {
  for (const auto& [known, name] : kStatuses)
    if (known == status) return name;
  return "not_tried";
}

std::optional<PushStatus> parse_push_status(std::string_view text) {
  for (const auto& [status, name] : kStatuses)
    if (text == name) return status;
  return std::nullopt;
}

std::string encode_conflicts(const std::vector<PushConflict>& conflicts) {
  std::string out;
  if (conflicts.empty()) return out;
  for (const PushConflict& conflict : conflicts) {
    out += out.empty() ? "[{\"table\":" : ",{\"table\":";
    append_json_string(out, conflict.table);
    append_member(out, "key", conflict.key);
    append_member(out, "column", conflict.column);
    out += ",\"lost\":";
    out += conflict.lost.empty() ? std::string_view("null") : std::string_view(conflict.lost);
    append_member(out, "at", to_iso8601(conflict.at));
    append_member(out, "winnerAt", to_iso8601(conflict.winner_at));
    out += '}';
  }
  out += ']';
  return out;
}

std::vector<PushConflict> decode_conflicts(std::string_view text) {
  std::vector<PushConflict> conflicts;
  if (text.empty()) return conflicts;
  const Result<json::value> parsed = parse_json(text);
  const json::array* list = parsed ? parsed->if_array() : nullptr;
  if (list == nullptr || !read_conflicts(*list, conflicts)) conflicts.clear();
  return conflicts;
}

std::string encode_push_reply(const PushReply& reply) {
  std::string out = "{\"results\":[";
  bool first = true;
  for (const PushResult& result : reply.results) {
    if (!std::exchange(first, false)) out += ',';
    out += "{\"clientMutationId\":";
    append_json_string(out, result.client_mutation_id);
    append_member(out, "status", to_string(result.status));
    if (!result.code.empty()) append_member(out, "code", result.code);
    if (!result.error.empty()) append_member(out, "error", result.error);
    if (result.server_id) append_member(out, "serverId", *result.server_id);
    if (result.affected_buckets) append_texts(out, "affectedBuckets", *result.affected_buckets);
    if (!result.conflicts.empty()) {
      out += ",\"conflicts\":";
      out += encode_conflicts(result.conflicts);
    }
    out += '}';
  }
  out += ']';
  if (reply.last_mutation_id)
    append_member(out, "lastMutationId", static_cast<std::int64_t>(number(*reply.last_mutation_id)));
  if (!reply.client_sequences.empty()) {
    out += ",\"clientSequences\":{";
    first = true;
    for (const auto& [client_id, last] : reply.client_sequences) {
      if (!std::exchange(first, false)) out += ',';
      append_json_string(out, client_id);
      out += ':';
      append_json_number(out, static_cast<std::int64_t>(number(last)));
    }
    out += '}';
  }
  if (reply.clock_skew_ms) append_member(out, "clockSkewMs", *reply.clock_skew_ms);
  out += '}';
  return out;
}

Result<PushReply> decode_push_reply(std::string_view body) {
  Result<json::value> parsed = parse_object(body, "the reply");
  if (!parsed) return tl::unexpected(std::move(parsed.error()));
  FieldReader fields(*parsed->if_object());
  PushReply reply;
  const json::array* results = fields.required_array("results");
  std::optional<std::int64_t> last;
  fields.integer("lastMutationId", last, 0, kIntegerMax);
  if (last) reply.last_mutation_id = MutationId{static_cast<std::uint64_t>(*last)};
  fields.integer("clockSkewMs", reply.clock_skew_ms, -kIntegerMax, kIntegerMax);
  if (const json::object* sequences = fields.object("clientSequences")) {
    for (const auto& [client_id, value] : *sequences) {
      const auto number_read = as_integer(value);
      if (!number_read || *number_read < 0 || *number_read > kIntegerMax) {
        fields.refuse("clientSequences", "must hold integers ≥ 0");
        break;
      }
      reply.client_sequences[std::string(client_id.data(), client_id.size())] =
          MutationId{static_cast<std::uint64_t>(*number_read)};
    }
  }
  if (fields.failed()) return fields.error();

  reply.results.reserve(results->size());
  for (const json::value& element : *results) {
    const std::size_t index = reply.results.size();
    const json::object* object = element.if_object();
    if (object == nullptr) return failure(ErrorCode::bad_request, fmt::format("results[{}] must be an object", index));
    FieldReader members(*object, {.array = "results", .index = index});
    PushResult& result = reply.results.emplace_back();
    if (!read_result(members, result)) return members.error();
  }
  return reply;
}

std::string encode_error(std::string_view code, std::string_view message, const json::object& extra) {
  std::string out = "{\"error\":";
  append_json_string(out, message);
  append_member(out, "code", code);
  for (const auto& [name, value] : extra) {
    out += ',';
    append_json_string(out, std::string_view(name.data(), name.size()));
    out += ':';
    out += to_text(value);
  }
  out += '}';
  return out;
}

ErrorBody decode_error(std::string_view body) {
  ErrorBody error;
  Result<json::value> parsed = parse_object(body, "the answer");
  if (!parsed) {
    error.message = fmt::format("the answer is no error object ({} bytes)", body.size());
    return error;
  }
  error.members = std::move(*parsed->if_object());
  FieldReader fields(error.members);
  fields.text("code", error.code);
  if (!fields.text("error", error.message)) error.message = "the answer gives no reason";
  return error;
}

}  // namespace nizhal::protocol
