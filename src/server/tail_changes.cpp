#include "server/tail_changes.hpp"

#include <algorithm>
#include <limits>
#include <tuple>
#include <unordered_set>

namespace nizhal::server {
namespace {

using storage::EncodedRow;
using storage::LiveQuery;
using storage::RecentChanges;
using storage::Removal;

// What the containers take for an entry, beside its texts: nodes of trees and hash tables, with the allocator's own.
constexpr std::size_t kImageBytes = 320;
constexpr std::size_t kPlaceBytes = 64;  // in one bucket
constexpr std::size_t kRemovalBytes = 400;

std::vector<std::vector<bool>> delivered_tables(const CompiledDomain& domain) {
  std::vector<std::vector<bool>> delivered;
  for (const BucketDefinition& definition : domain.definitions()) {
    auto& tables = delivered.emplace_back(domain.tables().size(), false);
    for (const BucketTable& entry : definition.tables) tables[entry.table] = true;
  }
  return delivered;
}

Version last_of(const LiveQuery& query) {
  return query.through.value_or(Version{std::numeric_limits<std::uint64_t>::max()});
}

}  // namespace

bool TailChanges::ByPlace::operator()(const Image* left, const Image* right) const {
  const auto place = [](const Image* image) {
    return std::tuple(image->row.version, image->row.table, std::string_view(image->row.key));
  };
  return place(left) < place(right);
}

bool TailChanges::ByPlace::operator()(const Recorded* left, const Recorded* right) const {
  return std::pair(left->removal.version, left->order) < std::pair(right->removal.version, right->order);
}

TailChanges::TailChanges(const CompiledDomain& domain) : delivered_(delivered_tables(domain)) {}

void TailChanges::begin(Version start) {
  images_by_place_.clear();
  images_.clear();
  removals_.clear();
  named_.clear();
  buckets_.clear();
  bytes_ = 0;
  start_ = start;
}

/// What was above `after` in the snapshot before is above it still, unless it was removed, and then that is told. Only
/// a database that lost commits, or another one in its place, says otherwise.
bool TailChanges::follows(const RecentChanges& changes, Version after) const {
  const auto image = images_by_place_.upper_bound(after);
  const Version unpruned = std::max(after, changes.position.pruned_through);
  const auto removal = removals_.upper_bound(unpruned);
  if (image == images_by_place_.end() && removal == removals_.end()) return true;
  std::unordered_set<RowName, RowNameHash> named;
  std::set<std::tuple<Version, std::string_view, std::size_t, std::string_view>> recorded;
  for (const auto& recent : changes.rows) named.emplace(recent.row.table, recent.row.key);
  for (const auto& recent : changes.removals) {
    named.emplace(recent.removal.table, recent.removal.key);
    recorded.emplace(recent.removal.version, recent.bucket, recent.removal.table, recent.removal.key);
  }
  return std::all_of(image, images_by_place_.end(),
                     [&](const Image* one) {
                       return named.contains({one->row.table, one->row.key});
                     }) &&
         std::all_of(removal, removals_.end(), [&](const auto& entry) {
           const Removal& one = entry.second->removal;
           return recorded.contains({one.version, entry.second->bucket->key, one.table, one.key});
         });
}

bool TailChanges::apply(const RecentChanges& changes, Version after) {
  if (!follows(changes, after)) return false;
  // Told again, as far as they are still there.
  for (auto it = removals_.upper_bound(after); it != removals_.end();) {
    const auto current = it++;
    erase(*current->second);
  }
  std::unordered_set<RowName, RowNameHash> existing;
  for (const auto& recent : changes.rows)
    if (!recent.buckets.empty()) existing.emplace(recent.row.table, recent.row.key);
  for (const auto& recent : changes.removals) {
    if (recent.removal.version <= start_) continue;
    record(recent);
    const RowName name{recent.removal.table, recent.removal.key};
    if (existing.contains(name)) continue;
    // It is gone, or in no bucket at all.
    if (const auto it = images_.find(name); it != images_.end()) erase(*it->second);
  }
  for (const auto& recent : changes.rows) put(recent);
  return true;
}

TailChanges::Bucketful& TailChanges::bucket(const std::string& key) {
  if (const auto it = buckets_.find(key); it != buckets_.end()) return *it->second;
  auto made = std::make_unique<Bucketful>();
  made->key = key;
  const std::string_view name = made->key;
  return *buckets_.emplace(name, std::move(made)).first->second;
}

void TailChanges::leave(Bucketful& bucket) {
  if (bucket.images.empty() && bucket.removals.empty()) buckets_.erase(bucket.key);
}

void TailChanges::put(const RecentChanges::RecentRow& recent) {
  if (const auto it = images_.find({recent.row.table, recent.row.key}); it != images_.end()) erase(*it->second);
  if (recent.buckets.empty() || (recent.row.version <= start_ && !is_named(recent.row))) return;
  auto made = std::make_unique<Image>();
  Image& image = *made;
  image.row = recent.row;
  image.bytes = kImageBytes + image.row.key.size() + image.row.json.size() + image.row.stamps.size() +
                image.row.recent.size() + kPlaceBytes * recent.buckets.size();
  bytes_ += image.bytes;
  for (const Bucket& in : recent.buckets) {
    Bucketful& one = bucket(in.key);
    if (one.images.insert(&image).second) image.buckets.push_back(&one);
  }
  images_by_place_.insert(&image);
  const RowName name{image.row.table, image.row.key};
  images_.emplace(name, std::move(made));
}

void TailChanges::erase(const Image& image) {
  for (Bucketful* in : image.buckets) {
    in->images.erase(&image);
    leave(*in);
  }
  images_by_place_.erase(&image);
  bytes_ -= image.bytes;
  const auto it = images_.find({image.row.table, image.row.key});
  const auto kept = std::move(it->second);  // the map's key is the image's own text
  images_.erase(it);
}

void TailChanges::record(const RecentChanges::RecentRemoval& recent) {
  auto made = std::make_unique<Recorded>();
  Recorded& recorded = *made;
  recorded.removal = recent.removal;
  recorded.order = next_order_++;
  recorded.bucket = &bucket(recent.bucket);
  recorded.bytes = kRemovalBytes + recent.removal.key.size() + recent.removal.client_key.value_or("").size();
  bytes_ += recorded.bytes;
  recorded.bucket->removals.insert(&recorded);
  ++named_[{recorded.removal.table, recorded.removal.key}];
  removals_.emplace(&recorded, std::move(made));
}

void TailChanges::erase(const Recorded& recorded) {
  const auto named = named_.find({recorded.removal.table, recorded.removal.key});
  if (--named->second == 0) {
    named_.erase(named);
    // The image was kept to judge removals by.
    const auto image = images_.find({recorded.removal.table, recorded.removal.key});
    if (image != images_.end() && image->second->row.version <= start_) erase(*image->second);
  }
  recorded.bucket->removals.erase(&recorded);
  leave(*recorded.bucket);
  bytes_ -= recorded.bytes;
  const auto it = removals_.find(&recorded);
  const auto kept = std::move(it->second);
  removals_.erase(it);
}

void TailChanges::shrink(std::size_t bytes_max) {
  while (bytes_ > bytes_max) {
    const auto image = images_by_place_.upper_bound(start_);
    const auto removal = removals_.begin();
    if (image == images_by_place_.end() && removal == removals_.end()) return;
    Version lowest{std::numeric_limits<std::uint64_t>::max()};
    if (image != images_by_place_.end()) lowest = (*image)->row.version;
    if (removal != removals_.end()) lowest = std::min(lowest, removal->second->removal.version);
    const Version before = start_;
    start_ = lowest;
    while (!removals_.empty() && removals_.begin()->second->removal.version <= start_)
      erase(*removals_.begin()->second);
    for (auto it = images_by_place_.upper_bound(before);
         it != images_by_place_.end() && (*it)->row.version <= start_;) {
      const Image* one = *it++;
      if (!is_named(one->row)) erase(*one);
    }
  }
}

bool TailChanges::delivers(std::size_t definition, std::size_t table, const LiveQuery& query) const {
  if (query.tables != nullptr && (table >= query.tables->size() || !(*query.tables)[table])) return false;
  return definition < delivered_.size() && table < delivered_[definition].size() && delivered_[definition][table];
}

std::vector<EncodedRow> TailChanges::live_rows(const LiveQuery& query) const {
  std::vector<EncodedRow> rows;
  if (query.buckets == nullptr) return rows;
  const std::size_t limit = query.limit.value_or(std::numeric_limits<std::size_t>::max());
  std::vector<const Image*> found;
  for (const storage::CoveredBucket& covered : *query.buckets) {
    const auto it = buckets_.find(covered.bucket.key);
    if (it == buckets_.end()) continue;
    const auto& images = it->second->images;
    std::size_t taken = 0;
    for (auto image = images.upper_bound(query.after);
         image != images.end() && taken < limit && (*image)->row.version <= last_of(query); ++image) {
      if (!delivers(covered.bucket.definition, (*image)->row.table, query)) continue;
      found.push_back(*image);
      ++taken;
    }
  }
  std::sort(found.begin(), found.end(), ByPlace());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  if (found.size() > limit) found.resize(limit);
  rows.reserve(found.size());
  for (const Image* image : found) {
    rows.push_back(image->row);
    if (!query.with_recent) rows.back().recent.clear();
  }
  return rows;
}

std::vector<Removal> TailChanges::live_removals(const LiveQuery& query) const {
  std::vector<Removal> removals;
  if (query.buckets == nullptr) return removals;
  const std::size_t limit = query.limit.value_or(std::numeric_limits<std::size_t>::max());
  std::vector<const Recorded*> found;
  for (const storage::CoveredBucket& covered : *query.buckets) {
    const auto it = buckets_.find(covered.bucket.key);
    if (it == buckets_.end()) continue;
    const auto& recorded = it->second->removals;
    std::size_t taken = 0;
    for (auto one = recorded.upper_bound(std::max(query.after, covered.removals_after));
         one != recorded.end() && taken < limit && (*one)->removal.version <= last_of(query); ++one) {
      if (!delivers(covered.bucket.definition, (*one)->removal.table, query)) continue;
      found.push_back(*one);
      ++taken;
    }
  }
  if (found.empty()) return removals;
  std::sort(found.begin(), found.end(), ByPlace());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  if (found.size() > limit) found.resize(limit);
  std::unordered_set<std::string_view> covered_keys;
  for (const storage::CoveredBucket& covered : *query.buckets) covered_keys.insert(covered.bucket.key);
  for (const Recorded* one : found) {
    removals.push_back(one->removal);
    removals.back().covered_at.reset();
    const auto image = images_.find({one->removal.table, one->removal.key});
    if (image == images_.end()) continue;
    const auto& in = image->second->buckets;
    if (std::any_of(in.begin(), in.end(), [&](const Bucketful* bucket) { return covered_keys.contains(bucket->key); }))
      removals.back().covered_at = image->second->row.version;
  }
  return removals;
}

}  // namespace nizhal::server
