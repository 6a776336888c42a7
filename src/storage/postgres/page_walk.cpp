#include "storage/postgres/page_walk.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>

namespace nizhal::storage::pg {

const char* const kRemovalsSql =
    "SELECT m.version, m.seq, m.table_name, m.key, m.client_key, m.deleted, b.n "
    "FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS b(bucket, after, n) CROSS JOIN LATERAL ("
    "SELECT m.* FROM nizhal.removal AS m WHERE m.bucket = b.bucket AND m.version > b.after AND m.version <= $3::bigint "
    "AND m.table_name = ANY($6::text[]) ORDER BY m.version, m.seq LIMIT $4::bigint) AS m "
    "ORDER BY m.version, m.seq LIMIT $5::bigint";

namespace {

/// Up to so many buckets are each asked for the whole page at once; of more, each first for its share.
constexpr std::size_t kAskedWholeMax = 4;
constexpr std::size_t kShareMin = 4;

int key_column(const Catalog& catalog, std::size_t table) {
  return static_cast<int>(catalog.domain->table(table).key_index()) + 1;
}

using Ticket = postgres::Connection::Ticket;

std::string_view statement_of(const Walks& walks) {
  if (walks.entry == nullptr) return kRemovalsSql;
  return walks.with_recent && !walks.entry->live_recent.empty() ? walks.entry->live_recent : walks.entry->live;
}

/// All walks in one round trip.
Result<void> walk(postgres::Connection& connection, std::vector<Walks> walks, std::optional<std::uint64_t> of_each,
                  std::optional<std::uint64_t> of_all, std::uint64_t through, std::vector<Walked>& out) {
  const auto optional_number = [](const std::optional<std::uint64_t>& number) {
    return number ? std::optional(to_sql(*number)) : std::nullopt;
  };
  std::vector<Ticket> tickets;
  for (const Walks& one : walks) {
    Parameters parameters;
    std::vector<const Bucket*> buckets;
    ArrayText keys, after;
    for (const auto& [bucket, version] : one.buckets) {
      buckets.push_back(bucket);
      keys.add(bucket->key);
      after.add(to_sql(version));
    }
    if (one.entry != nullptr)
      parameters = one.entry->values_of(buckets);
    else
      parameters.emplace_back(std::move(keys).finish());
    parameters.emplace_back(std::move(after).finish());
    parameters.emplace_back(to_sql(through));
    parameters.push_back(optional_number(of_each));
    parameters.push_back(optional_number(of_all));
    if (one.entry == nullptr) parameters.emplace_back(one.tables);
    tickets.push_back(connection.queue(statement_of(one), postgres::parameters_of(parameters)));
  }
  if (auto finished = connection.finish(); !finished) return tl::unexpected(finished.error());
  for (std::size_t i = 0; i < walks.size(); ++i) {
    auto rows = connection.take(tickets[i]);
    if (!rows) return tl::unexpected(rows.error());
    out.push_back({std::move(walks[i]), *std::move(rows)});
  }
  return {};
}

}  // namespace

Result<std::vector<Walked>> lowest_rows(postgres::Connection& connection, const Catalog& catalog,
                                        std::vector<Walks> walks, std::optional<Version> through_version,
                                        std::optional<std::size_t> rows_max) {
  const std::uint64_t through = through_version ? number(*through_version) : std::numeric_limits<std::uint64_t>::max();
  std::vector<Walked> found;
  if (walks.empty()) return found;
  std::size_t buckets = 0;
  for (const Walks& one : walks) buckets += one.buckets.size();
  std::optional<std::uint64_t> limit;
  if (rows_max) limit = *rows_max;
  if (!limit || buckets <= kAskedWholeMax || *limit <= kShareMin) {
    if (auto read = walk(connection, std::move(walks), limit, limit, through, found); !read)
      return tl::unexpected(read.error());
    return found;
  }

  const std::uint64_t share = std::min<std::uint64_t>(*limit, std::max<std::uint64_t>(kShareMin, 2 * *limit / buckets));
  if (auto read = walk(connection, std::move(walks), share, std::nullopt, through, found); !read)
    return tl::unexpected(read.error());
  std::vector<std::uint64_t> versions;
  std::set<std::pair<std::size_t, std::string_view>> seen;
  for (const Walked& one : found)
    for (int row = 0; row < one.rows.size(); ++row)
      // A row that two entries deliver counts once.
      if (one.walks.entry == nullptr || found.size() == 1 ||
          seen.emplace(one.walks.entry->table, one.rows.text(row, key_column(catalog, one.walks.entry->table))).second)
        versions.push_back(number(version_at(one.rows, row, 0)));
  std::uint64_t bound = through;
  if (versions.size() >= *limit) {
    const auto place = versions.begin() + static_cast<std::ptrdiff_t>(*limit - 1);
    std::nth_element(versions.begin(), place, versions.end());
    bound = *place;
  }
  std::vector<Walks> more;
  for (const Walked& one : found) {
    struct Taken {
      std::uint64_t rows = 0;
      Version last{};
    };
    std::vector<Taken> taken(one.walks.buckets.size());
    for (int row = 0; row < one.rows.size(); ++row) {
      Taken& of_bucket = taken[static_cast<std::size_t>(one.rows.integer(row, one.rows.columns() - 1)) - 1];
      ++of_bucket.rows;
      of_bucket.last = version_at(one.rows, row, 0);
    }
    Walks again{one.walks.entry, {}, one.walks.tables, one.walks.with_recent};
    // From the last version itself: the share may have ended within it.
    for (std::size_t i = 0; i < taken.size(); ++i)
      if (taken[i].rows == share && number(taken[i].last) < bound)
        again.buckets.emplace_back(one.walks.buckets[i].first, Version{number(taken[i].last) - 1});
    if (!again.buckets.empty()) more.push_back(std::move(again));
  }
  if (more.empty()) return found;
  if (auto read = walk(connection, std::move(more), limit, limit, bound, found); !read)
    return tl::unexpected(read.error());
  return found;
}

}  // namespace nizhal::storage::pg
