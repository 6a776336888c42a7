// The recent changes of all buckets in memory: the newest image of each recently changed row, and the removals. Place
// in the loop: inside the tail.
//
// The facts that must not break: above `start` nothing is missing, as of one snapshot; and every row that a removal
// here names is here too, whatever its version, as long as it is in some bucket: a removal is judged by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.hpp"
#include "domain/compiled_domain.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// Not thread-safe.
class TailChanges {
 public:
  explicit TailChanges(const CompiledDomain& domain);

  /// Forgets everything; from now on, what is above `start` is known.
  void begin(Version start);
  /// Brings it to the snapshot of `changes`, which were read with this `after`: the horizon of the snapshot before.
  /// False, and nothing was changed: something above `after` is gone without a trace, so that they do not follow.
  bool apply(const storage::RecentChanges& changes, Version after);
  /// Forgets the oldest versions until it is no larger; `start` rises.
  void shrink(std::size_t bytes_max);

  Version start() const { return start_; }
  std::size_t bytes() const { return bytes_; }  // roughly
  std::size_t rows() const { return images_.size(); }
  std::size_t removals() const { return removals_.size(); }

  /// As Snapshot's, for a query that is about nothing at or below `start`.
  std::vector<storage::EncodedRow> live_rows(const storage::LiveQuery& query) const;
  std::vector<storage::Removal> live_removals(const storage::LiveQuery& query) const;

 private:
  struct Bucketful;
  struct Image {
    storage::EncodedRow row;
    std::vector<Bucketful*> buckets;
    std::size_t bytes = 0;
  };
  struct Recorded {
    storage::Removal removal;
    std::uint64_t order = 0;  // of recording, within a version
    Bucketful* bucket = nullptr;
    std::size_t bytes = 0;
  };
  /// By the order in which pages tell them; a version alone stands before everything of the next version.
  struct ByPlace {
    using is_transparent = void;
    bool operator()(const Image* left, const Image* right) const;
    bool operator()(Version version, const Image* image) const { return version < image->row.version; }
    bool operator()(const Image* image, Version version) const { return image->row.version < version; }
    bool operator()(const Recorded* left, const Recorded* right) const;
    bool operator()(Version version, const Recorded* recorded) const { return version < recorded->removal.version; }
    bool operator()(const Recorded* recorded, Version version) const { return recorded->removal.version < version; }
  };
  struct Bucketful {
    std::string key;
    std::set<const Image*, ByPlace> images;
    std::set<const Recorded*, ByPlace> removals;
  };
  using RowName = std::pair<std::size_t, std::string_view>;  // table and key
  struct RowNameHash {
    std::size_t operator()(const RowName& name) const {
      return std::hash<std::string_view>()(name.second) * 31 + name.first;
    }
  };

  bool follows(const storage::RecentChanges& changes, Version after) const;
  Bucketful& bucket(const std::string& key);
  void leave(Bucketful& bucket);
  void put(const storage::RecentChanges::RecentRow& recent);
  void erase(const Image& image);
  void record(const storage::RecentChanges::RecentRemoval& recent);
  void erase(const Recorded& recorded);
  bool is_named(const storage::EncodedRow& row) const { return named_.contains({row.table, row.key}); }
  bool delivers(std::size_t definition, std::size_t table, const storage::LiveQuery& query) const;

  const std::vector<std::vector<bool>> delivered_;  // by definition and table
  Version start_{};
  std::size_t bytes_ = 0;
  std::uint64_t next_order_ = 0;
  std::unordered_map<RowName, std::unique_ptr<Image>, RowNameHash> images_;  // the names are the images' own
  std::set<const Image*, ByPlace> images_by_place_;
  std::map<const Recorded*, std::unique_ptr<Recorded>, ByPlace> removals_;
  std::map<std::pair<std::size_t, std::string>, std::size_t> named_;  // rows, with how many removals name each
  std::unordered_map<std::string_view, std::unique_ptr<Bucketful>> buckets_;
};

}  // namespace nizhal::server
