// What a pull covers: the device's cursor set against the actor's buckets of this moment, the request's choice and
// the domain's fingerprints (S14–S16). Pure: it reads nothing and decides everything that a page then carries out.
//
// The fact that must not break: a bucket is "retained" only when the device holds all of it, or the cursor says how
// far its backfill is. Whatever may have been missed in between (lost and regained, rules changed) is a gain.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>

#include "base/ids.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/cursor.hpp"
#include "protocol/pull.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

struct Coverage {
  /// What the device must remember after the page; the page moves `position`, `backfill` and the row counts on.
  protocol::Cursor cursor;
  /// The covered buckets, in the order of `cursor.buckets`.
  std::vector<storage::CoveredBucket> buckets;
  std::vector<bool> tables;  // by index: the device has it and some rule delivers it
  std::vector<std::string> removed_buckets;
  /// Backfills that begin with this page: (place in `buckets`, table).
  std::vector<std::pair<std::size_t, std::size_t>> begun;
  std::optional<Version> whole_at;  // Cursor::whole_at, as the request's cursor has it
  Version horizon{};                // never below the cursor's position
  bool changed = false;
  bool reset = false;
};

/// The error (bad_request) names a sync rule that the domain lacks.
Result<Coverage> plan_coverage(const CompiledDomain& domain, const protocol::PullRequest& request,
                               const storage::Position& position, const std::vector<storage::Grant>& grants);

}  // namespace nizhal::server
