// POST /sync/pull: the request and the page, encoded and decoded. The server writes pages as text straight from
// storage (PageWriter); the device reads them into rows (decode_page).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/domain.hpp>
#include <nizhal/result.hpp>

#include "base/ids.hpp"
#include "base/json.hpp"

namespace nizhal::protocol {

struct PullRequest {
  std::string cursor;                    // empty: from the start
  std::optional<std::string> device_id;  // the client id, 1–128 bytes
  std::optional<std::size_t> limit;      // ≥ 1
  std::optional<std::string> sync_rule;
  std::optional<std::vector<std::string>> buckets;
  std::optional<std::vector<std::string>> sync_rules;        // beside `buckets`
  std::optional<std::map<std::string, std::string>> schema;  // table → fingerprint
  bool updates = false;  // a CRDT column may come as `{"update": base64}`, what this device lacks, instead of its state
};
/// The error (bad_request) names the field.
Result<PullRequest> decode_pull_request(std::string_view body);
std::string encode_pull_request(const PullRequest& request);

/// A removal as it is on the wire.
struct RemovedRow {
  std::string table;
  Value id;
  std::optional<std::string> key;  // the row's client_id column, where it differs
};
struct ChangedTable {
  std::string table;
  std::vector<Row> rows;
  /// By row, the columns whose value is an update to be merged into what the device has. Empty: none in any row.
  std::vector<std::vector<std::size_t>> updates = {};
};
struct PullProgress {
  std::uint64_t rows = 0, total = 0;
};

/// A page as the device reads it. Tables that the device's domain lacks are left out.
struct PullPage {
  std::vector<ChangedTable> changed;
  std::vector<RemovedRow> tombstoned;
  std::vector<RemovedRow> removed;
  std::vector<std::string> removed_buckets;
  std::string cursor;
  bool has_more = false;
  std::optional<std::vector<std::string>> buckets;
  std::string epoch;
  bool cursor_reset = false;
  std::optional<MutationId> last_mutation_id;
  std::optional<std::string> last_client_mutation_id;
  std::optional<PullProgress> progress;
  std::optional<Timestamp> server_time;
  std::optional<std::string> hlc;  // the highest stamp in the page's rows (Merge::Field)
};
Result<PullPage> decode_page(const Domain& domain, std::string_view body);

/// Builds the body of a page. Rows and ids come as JSON text from storage.
class PageWriter {
 public:
  void add_changed(std::string_view table, std::string_view row_json);
  void add_tombstoned(std::string_view table, std::string_view id_json, const std::optional<std::string>& key);
  void add_removed(std::string_view table, std::string_view id_json, const std::optional<std::string>& key);
  struct Tail {
    std::vector<std::string> removed_buckets;
    std::string cursor;
    bool has_more = false;
    std::optional<std::vector<std::string>> buckets;
    std::string epoch;
    bool cursor_reset = false;
    std::optional<MutationId> last_mutation_id;
    std::optional<std::string> last_client_mutation_id;
    std::optional<PullProgress> progress;
    Timestamp server_time;
    std::string hlc = {};  // empty: none
  };
  /// The first six fields of docs/protocol.md are always there, in its order.
  std::string finish(const Tail& tail);

 private:
  std::vector<std::pair<std::string, std::string>> changed_;  // table → rows, comma-separated, in order of first use
  std::string tombstoned_, removed_;
};

}  // namespace nizhal::protocol
