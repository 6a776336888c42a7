// Pruning of what is older than its retention, in batches, each a short transaction of its own.
#pragma once

#include <memory>
#include <string>

#include <nizhal/value.hpp>

#include "domain/compiled_domain.hpp"
#include "storage/sqlite/connections.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage {

/// Tombstones and exits go together with the horizon that they guard: in the same transaction `pruned_through` rises to
/// the highest version pruned. Client rows stay for ever (S19).
/// A row whose recent updates are emptied keeps its version.
Result<GcReport> collect_garbage(const std::shared_ptr<Writer>& writer, const CompiledDomain& domain, Timestamp before);

}  // namespace nizhal::storage
