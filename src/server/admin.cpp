#include "server/admin.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "server/answers.hpp"

namespace nizhal::server {
namespace {

std::optional<std::string> parameter(const protocol::HttpRequest& request, const std::string& name) {
  const auto it = request.query.find(name);
  if (it == request.query.end() || it->second.empty()) return std::nullopt;
  return it->second;
}

/// False: the parameter is there and no whole number up to `most`.
bool read_number(const protocol::HttpRequest& request, const std::string& name, std::uint64_t most,
                 std::uint64_t& out) {
  const auto text = parameter(request, name);
  if (!text) return true;
  const auto [stopped, fault] = std::from_chars(text->data(), text->data() + text->size(), out);
  return fault == std::errc() && stopped == text->data() + text->size() && out <= most;
}

json::object row_json(const storage::AuditRow& row) {
  json::object out;
  out["version"] = number(row.version);
  out["at"] = to_iso8601(row.at);
  out["userId"] = row.user_id;
  out["ownerId"] = row.owner_id;
  if (row.client_id) out["clientID"] = *row.client_id;
  if (row.mutation_id) out["mutationID"] = number(*row.mutation_id);
  out["clientMutationId"] = row.client_mutation_id;
  out["mutator"] = row.mutator;
  out["outcome"] = row.outcome;
  out["unscoped"] = row.unscoped;
  json::array buckets;
  for (const std::string& key : row.buckets) buckets.emplace_back(std::string_view(key));
  out["buckets"] = std::move(buckets);
  auto changes = parse_json(row.changes);
  out["changes"] = changes ? std::move(*changes) : json::value(json::array());
  return out;
}

}  // namespace

bool Admin::is_password(std::string_view text) const {
  // Hashes have one length, so that not even the password's is told by the time it takes.
  const auto given = sha256(as_bytes(text));
  const auto expected = sha256(as_bytes(limits_.admin_password));
  return CRYPTO_memcmp(given.data(), expected.data(), expected.size()) == 0;
}

protocol::HttpResponse Admin::audit(const protocol::HttpRequest& request) {
  constexpr auto kVersionMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t since = 0, until = kVersionMax, limit = limits_.audit_limit_default;
  if (!read_number(request, "sinceVersion", kVersionMax, since))
    return error_response(400, "bad_request", "sinceVersion must be a whole number");
  if (!read_number(request, "untilVersion", kVersionMax, until))
    return error_response(400, "bad_request", "untilVersion must be a whole number");
  if (!read_number(request, "limit", kVersionMax, limit) || limit == 0)
    return error_response(400, "bad_request", "limit must be an integer ≥ 1");
  limit = std::min<std::uint64_t>(limit, limits_.audit_limit_max);
  const auto bucket = parameter(request, "bucket");
  const auto actor = parameter(request, "actor");

  const auto snapshot = storage_.snapshot();
  if (!snapshot) return storage_failure(snapshot.error(), "audit", limits_, log_);
  const std::size_t scan = bucket || actor ? limits_.audit_scan_max : static_cast<std::size_t>(limit);
  const auto rows = (*snapshot)->audit(Version{since}, Version{until}, scan);
  if (!rows) return storage_failure(rows.error(), "audit", limits_, log_);

  json::array found;
  bool all_told = rows->size() < scan;
  for (const storage::AuditRow& row : *rows) {
    if (actor && row.user_id != *actor) continue;
    if (bucket && std::find(row.buckets.begin(), row.buckets.end(), *bucket) == row.buckets.end()) continue;
    if (found.size() == limit) {
      all_told = false;
      break;
    }
    found.push_back(row_json(row));
  }
  json::object body;
  body["rows"] = std::move(found);
  body["scannedAll"] = all_told;
  return json_response(200, to_text(body));
}

protocol::HttpResponse Admin::stats(const LiveFigures& live) {
  const auto snapshot = storage_.snapshot();
  if (!snapshot) return storage_failure(snapshot.error(), "stats", limits_, log_);
  const auto position = (*snapshot)->position();
  if (!position) return storage_failure(position.error(), "stats", limits_, log_);
  json::object body;
  body["storage"] = storage_.describe();
  body["epoch"] = position->epoch;
  body["lastVersion"] = number(position->last);
  body["horizon"] = number(position->horizon);
  body["prunedThrough"] = number(position->pruned_through);
  body["streams"] = live.streams;
  body["pokes"] = live.pokes;
  body["pulls"] = counters_.pulls.load();
  body["pushes"] = counters_.pushes.load();
  body["mutationsApplied"] = counters_.mutations_applied.load();
  body["mutationsRejected"] = counters_.mutations_rejected.load();
  body["mutationsRepeated"] = counters_.mutations_repeated.load();
  body["batchesRetried"] = counters_.retries.load();
  json::object& conflicts = body["conflicts"].emplace_object();
  for (const auto& [table, count] : counters_.conflicts.by_table()) conflicts[table] = count;
  if (live.realtime) {
    const realtime::Stats stats = live.realtime->stats();
    json::object realtime;
    realtime["adapter"] = live.realtime->describe();
    realtime["told"] = stats.told;
    realtime["heard"] = stats.heard;
    realtime["ignored"] = stats.ignored;
    realtime["missed"] = stats.missed;
    realtime["overflows"] = stats.overflows;
    body["realtime"] = std::move(realtime);
  }
  json::object figures;
  figures["on"] = live.tail.is_on;
  figures["hits"] = live.tail.hits;
  figures["misses"] = live.tail.misses;
  figures["refreshes"] = live.tail.refreshes;
  figures["bytes"] = live.tail.bytes;
  figures["rows"] = live.tail.rows;
  figures["removals"] = live.tail.removals;
  figures["start"] = number(live.tail.start);
  body["tail"] = std::move(figures);
  json::object presence;
  presence["present"] = live.presence.present;
  presence["bytes"] = live.presence.bytes;
  presence["tracked"] = live.presence.tracked;
  presence["told"] = live.presence.told;
  presence["late"] = live.presence.late;
  presence["evicted"] = live.presence.evicted;
  presence["refused"] = live.presence.refused;
  body["presence"] = std::move(presence);
  return json_response(200, to_text(body));
}

}  // namespace nizhal::server
