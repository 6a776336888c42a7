// Two pull handlers on one database, one with the tail and one without, and writers of every kind beside them.
#pragma once

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "protocol/pull.hpp"
#include "server/pull_handler.hpp"
#include "server/tail.hpp"
#include "storage/forwarding.hpp"
#include "tests/backends/office_domain.hpp"
#include "tests/backends/test_database.hpp"

namespace nizhal::testing {

/// Counts what is asked of the database.
class CountingStorage : public storage::ForwardingStorage {
 public:
  using storage::ForwardingStorage::ForwardingStorage;
  std::size_t positions = 0, snapshots = 0, changes = 0;
  std::optional<storage::Position> looked_at;  // the last position that was told

  Result<storage::Position> position() override {
    ++positions;
    auto position = inner_->position();
    if (position) looked_at = *position;
    return position;
  }
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>& settled) override {
    ++snapshots;
    return inner_->open_snapshot(settled);
  }
  Result<std::unique_ptr<storage::Snapshot>> open_backfill_snapshot(
      const std::optional<storage::Position>& settled) override {
    ++snapshots;
    return inner_->open_backfill_snapshot(settled);
  }
  Result<std::optional<storage::RecentChanges>> changes_since(const storage::Position& settled,
                                                              const storage::ChangesQuery& query) override {
    ++changes;
    return inner_->changes_since(settled, query);
  }
};

/// Looks where another one looked just before. A transaction may end in between: one that was rolled back may hold its
/// bound for a moment longer.
class PinnedStorage : public storage::ForwardingStorage {
 public:
  PinnedStorage(storage::Storage& inner, const CountingStorage& other)
      : storage::ForwardingStorage(inner), other_(other) {}
  Result<storage::Position> position() override {
    return other_.looked_at ? Result<storage::Position>(*other_.looked_at) : inner_->position();
  }

 private:
  const CountingStorage& other_;
};

inline std::string cursor_of(const std::string& page) {
  const auto value = parse_json(page);
  return value ? std::string(string_member(*value, "cursor").value_or("")) : "";
}
inline bool has_more(const std::string& page) { return page.find(R"("hasMore":true)") != std::string::npos; }

class TailWorld {
 public:
  explicit TailWorld(BackendKind kind, server::Limits given = {}, Domain domain = office_domain())
      : db(kind, std::move(domain)),
        counting(*db.storage),
        clock(Timestamp{1'767'225'600'000'000}),
        limits(std::move(given)) {
    server::Limits off = limits;
    off.idle_answers_max = 0;
    plain = std::make_unique<server::PullHandler>(db.domain, pinned, clock, off);
    restart_tail();
  }

  void restart_tail() {
    tail = std::make_shared<server::Tail>(db.domain, counting, limits, Log());
    tailed = std::make_unique<server::PullHandler>(db.domain, counting, clock, limits, tail);
  }

  /// Both answers, which must be the same bytes.
  std::string pull(const Actor& actor, const protocol::PullRequest& request) {
    const auto answer = tailed->handle(actor, request);
    const auto expected = plain->handle(actor, request);
    EXPECT_EQ(answer.has_value(), expected.has_value());
    if (!answer || !expected) return answer ? *answer : expected ? *expected : answer.error().message;
    EXPECT_EQ(*answer, *expected);
    return *answer;
  }
  /// Whether the pull was answered from the tail.
  bool is_hit(const Actor& actor, protocol::PullRequest& request) {
    const auto before = tail->figures().hits;
    const std::string page = pull(actor, request);
    request.cursor = cursor_of(page);
    return tail->figures().hits > before;
  }

  TestDatabase db;
  CountingStorage counting;
  PinnedStorage pinned{*db.storage, counting};
  ManualClock clock;
  const server::Limits limits;
  std::unique_ptr<server::PullHandler> plain, tailed;
  std::shared_ptr<server::Tail> tail;
};

}  // namespace nizhal::testing
