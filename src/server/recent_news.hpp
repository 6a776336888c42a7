// What was committed lately, by anybody, as pokes need it: which buckets changed, and whose grants. Place in the loop:
// commit ▶ (news) ▶ poker, for the commits that nobody announced.
//
// The fact that must not break: what is asked for is all there or said to be unknown; nothing is left out in silence.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>

#include "base/ids.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

class Tail;

struct RecentNews {
  storage::Position position;                        // of the snapshot that it was read in
  std::map<Version, std::set<std::string>> buckets;  // by commit, the keys of the buckets that it changed
  std::vector<storage::RecentChanges::GrantChange> grant_changes;
};

/// Thread-safe.
class NewsSource {
 public:
  virtual ~NewsSource() = default;
  /// Everything committed above `after`, which was settled when the caller learnt of it, as far as it is still to be
  /// seen (a row that was changed again is news of the later commit); read after the call began. Nothing: it cannot be
  /// told, and anything may have changed. Errors are the storage's.
  virtual Result<std::optional<RecentNews>> since(Version after) = 0;
  /// The caller could not act on the last answer and will ask for the same again.
  virtual void answer_was_lost() {}
};

/// Reads it from the storage each time.
class StorageNews : public NewsSource {
 public:
  StorageNews(storage::Storage& storage, std::size_t rows_max) : storage_(storage), rows_max_(rows_max) {}
  Result<std::optional<RecentNews>> since(Version after) override;

 private:
  storage::Storage& storage_;
  const std::size_t rows_max_;
};

/// Takes it from the tail, which the pulls that follow a poke need anyway; what the tail cannot tell, from the storage.
class NewsOfTail : public NewsSource {
 public:
  NewsOfTail(std::shared_ptr<Tail> tail, storage::Storage& storage, std::size_t rows_max)
      : tail_(std::move(tail)), storage_news_(storage, rows_max) {}
  Result<std::optional<RecentNews>> since(Version after) override;
  void answer_was_lost() override { must_be_whole_ = true; }

 private:
  const std::shared_ptr<Tail> tail_;
  StorageNews storage_news_;
  std::atomic<bool> must_be_whole_{false};  // the tail tells everything once
};

}  // namespace nizhal::server
