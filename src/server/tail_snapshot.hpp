// The tail as a snapshot, so that a pull runs the same code on it as on the tables. Place in the loop: tail ▶
// pull_handler.
//
// The fact that must not break: what the tail does not hold is refused, never answered with less.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "server/tail_changes.hpp"
#include "server/tail_known.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

class TailSnapshot : public storage::Snapshot {
 public:
  /// `lock` keeps the others as they are.
  TailSnapshot(std::shared_lock<std::shared_mutex> lock, const CompiledDomain& domain, const TailChanges& changes,
               const TailKnown& known, storage::Position position)
      : lock_(std::move(lock)), domain_(domain), changes_(changes), known_(known), position_(std::move(position)) {}

  Result<storage::Position> position() override { return position_; }
  Result<std::vector<storage::Grant>> grants(const Actor& actor) override;
  Result<std::vector<storage::EncodedRow>> live_rows(const storage::LiveQuery& query) override;
  Result<std::vector<storage::Removal>> live_removals(const storage::LiveQuery& query) override;
  Result<std::vector<storage::EncodedRow>> backfill(const Bucket& bucket, std::size_t table,
                                                    const std::optional<std::string>& after_key,
                                                    std::size_t limit) override;
  Result<std::uint64_t> count_rows(const Bucket& bucket, std::size_t table) override;
  Result<std::optional<storage::ClientRecord>> client(std::string_view client_id) override;
  Result<std::vector<storage::AuditRow>> audit(Version since, Version until, std::size_t limit) override;

 private:
  const std::shared_lock<std::shared_mutex> lock_;
  const CompiledDomain& domain_;
  const TailChanges& changes_;
  const TailKnown& known_;
  const storage::Position position_;
};

}  // namespace nizhal::server
