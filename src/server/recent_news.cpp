#include "server/recent_news.hpp"

#include <utility>

#include "server/tail.hpp"

namespace nizhal::server {

Result<std::optional<RecentNews>> StorageNews::since(Version after) {
  const auto position = storage_.position();
  if (!position) return tl::unexpected(position.error());
  storage::ChangesQuery query;
  query.after = after;
  query.rows_max = rows_max_;
  auto changes = storage_.changes_since(*position, query);
  if (!changes) return tl::unexpected(changes.error());
  if (!*changes || (*changes)->too_many) return std::optional<RecentNews>();

  RecentNews news;
  news.position = std::move((*changes)->position);
  for (const auto& [row, buckets] : (*changes)->rows) {
    if (row.version <= after) continue;  // told for the sake of a removal
    for (const Bucket& bucket : buckets) news.buckets[row.version].insert(bucket.key);
  }
  for (const auto& [removal, bucket] : (*changes)->removals) news.buckets[removal.version].insert(bucket);
  news.grant_changes = std::move((*changes)->grant_changes);
  return std::optional<RecentNews>(std::move(news));
}

Result<std::optional<RecentNews>> NewsOfTail::since(Version after) {
  if (!tail_->is_on()) return storage_news_.since(after);
  TailNews told = tail_->look();
  if (must_be_whole_.exchange(false) || told.everything) {
    auto whole = storage_news_.since(after);
    if (!whole) must_be_whole_ = true;
    return whole;
  }
  RecentNews news;
  news.position = std::move(told.position);
  for (const auto& [version, key] : told.changes)
    if (version > after) news.buckets[version].insert(key);
  news.grant_changes = std::move(told.grant_changes);
  return std::optional<RecentNews>(std::move(news));
}

}  // namespace nizhal::server
