#include "server/pull_coverage.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>

#include "base/bytes.hpp"
#include "base/planted.hpp"
#include "base/reached.hpp"

namespace nizhal::server {
namespace {

/// Nothing: absent or unusable; `reset` tells which.
std::optional<protocol::Cursor> usable_cursor(const protocol::PullRequest& request, const storage::Position& position,
                                              bool& reset) {
  if (request.cursor.empty()) return std::nullopt;
  auto cursor = protocol::decode_cursor(request.cursor);
  const std::optional<Mark> why = !cursor                                      ? Mark::cursor_malformed
                                  : cursor->epoch != position.epoch            ? Mark::cursor_of_other_epoch
                                  : cursor->position > position.last           ? Mark::cursor_ahead
                                  : cursor->position < position.pruned_through ? Mark::cursor_behind_pruned
                                                                               : std::optional<Mark>();
  reset = why.has_value();
  if (why) reached(*why);
  return why ? std::nullopt : std::move(cursor);
}

/// The actor's buckets by key, narrowed to what the request wants covered.
struct Wanted {
  std::map<std::string, const storage::Grant*> granted;
  std::map<std::string, const storage::Grant*> covered;
};

/// The request chooses buckets by key, and by rules that it wants all buckets of; or nothing, which is everything.
bool is_named(const protocol::PullRequest& request, const std::string& key, const std::vector<std::string>& rules) {
  const auto has = [](const std::vector<std::string>& all, const std::string& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
  };
  if (!request.buckets && !request.sync_rules) return true;
  if (request.buckets && has(*request.buckets, key)) return true;
  return request.sync_rules && std::any_of(rules.begin(), rules.end(),
                                           [&](const std::string& rule) { return has(*request.sync_rules, rule); });
}

Result<Wanted> wanted_buckets(const CompiledDomain& domain, const protocol::PullRequest& request,
                              const std::vector<storage::Grant>& grants) {
  if (request.sync_rule) {
    const auto& rules = domain.domain().rules();
    const bool known =
        std::any_of(rules.begin(), rules.end(), [&](const auto& rule) { return rule->name == *request.sync_rule; });
    if (!known) return failure(ErrorCode::bad_request, "syncRule names no sync rule: \"" + *request.sync_rule + "\"");
  }
  Wanted wanted;
  for (const storage::Grant& grant : grants) {
    wanted.granted.emplace(grant.bucket.key, &grant);
    const auto& rules = domain.definitions()[grant.bucket.definition].rules;
    if (request.sync_rule && std::find(rules.begin(), rules.end(), *request.sync_rule) == rules.end()) continue;
    if (!is_named(request, grant.bucket.key, rules)) continue;
    wanted.covered.emplace(grant.bucket.key, &grant);
  }
  return wanted;
}

/// A device may name a fingerprint of any length; the cursor keeps a short one.
std::string short_fingerprint(const std::string& text) {
  return text.size() <= 80 ? text : to_hex(sha256(as_bytes(text)));
}

/// What each table that the device knows is filled for from now on, by table name.
std::map<std::string, std::string> current_fingerprints(const CompiledDomain& domain,
                                                        const protocol::PullRequest& request,
                                                        std::vector<bool>& tables) {
  std::map<std::string, std::string> fingerprints;
  tables.assign(domain.tables().size(), false);
  for (std::size_t table = 0; table < tables.size(); ++table) {
    if (!domain.is_delivered(table)) continue;
    const std::string& name = domain.table(table).name;
    const std::string own = domain.fingerprint(table).text();
    std::string device = own;
    if (request.schema) {
      const auto it = request.schema->find(name);
      if (it == request.schema->end()) continue;
      device = short_fingerprint(it->second);
    }
    tables[table] = true;
    fingerprints.emplace(name, device + "|" + own);
  }
  return fingerprints;
}

/// What the device was filled with no longer fits the domain or the device.
struct Differences {
  bool rules = false;           // some table is in other buckets now than the device knows
  std::vector<bool> to_refill;  // by table: its columns are new to the device
};

Differences compare_fingerprints(const CompiledDomain& domain, const std::vector<bool>& tables,
                                 const std::map<std::string, std::string>& before,
                                 const std::map<std::string, std::string>& now) {
  Differences differences;
  differences.to_refill.assign(tables.size(), false);
  for (const auto& [name, text] : before) {
    const auto table = domain.table_index(name);
    // A table that no rule delivers any more leaves rows behind on the device unless its buckets are sent anew.
    if (!table || !domain.is_delivered(*table)) {
      differences.rules = true;
      continue;
    }
    const std::string own_before = text.substr(text.rfind('|') + 1);
    const std::string_view rules_before = std::string_view(own_before).substr(own_before.rfind('.') + 1);
    if (tables[*table] && rules_before != domain.fingerprint(*table).rules) differences.rules = true;
  }
  for (std::size_t table = 0; table < tables.size(); ++table) {
    if (!tables[table]) continue;
    const std::string& name = domain.table(table).name;
    const auto it = before.find(name);
    differences.to_refill[table] = it == before.end() || it->second != now.find(name)->second;
  }
  return differences;
}

class Planner {
 public:
  Planner(const CompiledDomain& domain, Coverage& coverage) : domain_(domain), coverage_(coverage) {}

  void gain(const storage::Grant& grant) {
    protocol::CursorBucket state;
    state.gain = grant.gained;
    state.removals_after = coverage_.horizon;
    state_of(grant, std::move(state), std::vector<bool>(domain_.tables().size(), true));
  }

  void retain(const storage::Grant& grant, protocol::CursorBucket state, const std::vector<bool>& to_refill) {
    // Backfills of tables that the device or the domain has no more are over.
    std::erase_if(state.backfill, [&](const auto& entry) {
      const auto table = domain_.table_index(entry.first);
      return !table || !coverage_.tables[*table] || !has_table(grant.bucket.definition, *table);
    });
    state_of(grant, std::move(state), to_refill);
  }

 private:
  bool has_table(std::size_t definition, std::size_t table) const {
    const auto& tables = domain_.definitions()[definition].tables;
    return std::any_of(tables.begin(), tables.end(), [&](const BucketTable& entry) { return entry.table == table; });
  }

  void state_of(const storage::Grant& grant, protocol::CursorBucket state, const std::vector<bool>& to_fill) {
    const std::size_t place = coverage_.buckets.size();
    for (std::size_t table = 0; table < to_fill.size(); ++table) {
      if (!to_fill[table] || !coverage_.tables[table] || !has_table(grant.bucket.definition, table)) continue;
      state.backfill[domain_.table(table).name] = std::nullopt;
      coverage_.begun.emplace_back(place, table);
    }
    coverage_.buckets.push_back({grant.bucket, state.removals_after});
    coverage_.cursor.buckets.emplace(grant.bucket.key, std::move(state));
  }

  const CompiledDomain& domain_;
  Coverage& coverage_;
};

}  // namespace

Result<Coverage> plan_coverage(const CompiledDomain& domain, const protocol::PullRequest& request,
                               const storage::Position& position, const std::vector<storage::Grant>& grants) {
  auto wanted = wanted_buckets(domain, request, grants);
  if (!wanted) return tl::unexpected(wanted.error());

  Coverage coverage;
  auto before = usable_cursor(request, position, coverage.reset);
  coverage.cursor.epoch = position.epoch;
  coverage.cursor.fingerprints = current_fingerprints(domain, request, coverage.tables);
  coverage.horizon = before ? std::max(position.horizon, before->position) : position.horizon;
  coverage.cursor.position = before ? before->position : coverage.horizon;

  Planner planner(domain, coverage);
  if (!before) {
    for (const auto& [key, grant] : wanted->covered) planner.gain(*grant);
    coverage.changed = true;
    return coverage;
  }

  coverage.whole_at = before->whole_at;
  coverage.cursor.rows_backfilled = before->rows_backfilled;
  coverage.cursor.rows_total = before->rows_total;
  const Differences differences =
      compare_fingerprints(domain, coverage.tables, before->fingerprints, coverage.cursor.fingerprints);
  for (const auto& [key, state] : before->buckets) {
    const auto granted = wanted->granted.find(key);
    const bool lost = granted == wanted->granted.end() || granted->second->gained != state.gain;
    const bool covered = wanted->covered.contains(key);
    if (is_planted(Planted::hide_a_revocation) && granted == wanted->granted.end()) continue;
    if (lost) reached(granted == wanted->granted.end() ? Mark::bucket_lost : Mark::bucket_regained);
    if (!lost && !covered) reached(Mark::bucket_left_out);
    // Left out by `buckets` or `syncRule`, but still the actor's: dropped without a word (S16).
    if (lost || (differences.rules && covered)) coverage.removed_buckets.push_back(key);
    if (lost || !covered) coverage.changed = true;
  }
  for (const auto& [key, grant] : wanted->covered) {
    const auto it = before->buckets.find(key);
    const bool retained = it != before->buckets.end() && it->second.gain == grant->gained && !differences.rules;
    if (retained) {
      if (std::find(differences.to_refill.begin(), differences.to_refill.end(), true) != differences.to_refill.end())
        reached(Mark::table_refilled);
      planner.retain(*grant, it->second, differences.to_refill);
    } else {
      planner.gain(*grant);
      coverage.changed = true;
    }
  }
  return coverage;
}

}  // namespace nizhal::server
