// The lowest versions of many buckets: what a page of live changes is made of. Each bucket is a walk along an index;
// the walks of one definition and table are one statement, and all statements are one round trip, or two.
//
// The fact that must not break: no row below the page's end is left out. So a bucket that had more than its share is
// asked again, from its last version on.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postgres/connection.hpp"
#include "storage/postgres/reads.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// Removals of many buckets: version, seq, table, key, client key, deleted, and the bucket's place in the lists,
/// from 1. $1: list of bucket keys; $2: above which version each is asked; $3: through which version; by version, then
/// seq, the $4 lowest of each bucket and the $5 lowest of all (all when null); $6: list of tables.
extern const char* const kRemovalsSql;

/// Buckets of one definition, to be walked by one statement, each from above a version.
struct Walks {
  const EntrySql* entry = nullptr;  // null: removals
  std::vector<std::pair<const Bucket*, Version>> buckets;
  std::string tables{};  // of removals, as a list
  bool with_recent = false;
};
struct Walked {
  Walks walks;
  postgres::Rows rows;  // the version first, the bucket's place (from 1) last
};

/// Rows through a version among which the lowest `rows_max` are. A row may come several times.
Result<std::vector<Walked>> lowest_rows(postgres::Connection& connection, const Catalog& catalog,
                                        std::vector<Walks> walks, std::optional<Version> through,
                                        std::optional<std::size_t> rows_max);

}  // namespace nizhal::storage::pg
