#include "server/tail_snapshot.hpp"

namespace nizhal::server {
namespace {

tl::unexpected<Error> not_here() { return failure(ErrorCode::not_found, "the tail does not hold this"); }

}  // namespace

Result<std::vector<storage::Grant>> TailSnapshot::grants(const Actor& actor) {
  const auto* grants = known_.grants(grants_name(domain_, actor));
  if (grants == nullptr) return not_here();
  return *grants;
}

Result<std::vector<storage::EncodedRow>> TailSnapshot::live_rows(const storage::LiveQuery& query) {
  if (query.after < changes_.start()) return not_here();
  return changes_.live_rows(query);
}

Result<std::vector<storage::Removal>> TailSnapshot::live_removals(const storage::LiveQuery& query) {
  if (query.after < changes_.start()) return not_here();
  return changes_.live_removals(query);
}

Result<std::vector<storage::EncodedRow>> TailSnapshot::backfill(const Bucket& /*bucket*/, std::size_t /*table*/,
                                                                const std::optional<std::string>& /*after_key*/,
                                                                std::size_t /*limit*/) {
  return not_here();
}

Result<std::uint64_t> TailSnapshot::count_rows(const Bucket& /*bucket*/, std::size_t /*table*/) { return not_here(); }

Result<std::optional<storage::ClientRecord>> TailSnapshot::client(std::string_view client_id) {
  const auto* client = known_.client(client_id);
  if (client == nullptr) return not_here();
  return *client;
}

Result<std::vector<storage::AuditRow>> TailSnapshot::audit(Version /*since*/, Version /*until*/,
                                                           std::size_t /*limit*/) {
  return not_here();
}

}  // namespace nizhal::server
