#include "server/pull_handler.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/planted.hpp"
#include "base/reached.hpp"
#include "domain/field_stamps.hpp"
#include "domain/value_json.hpp"
#include "protocol/cursor.hpp"
#include "server/pull_coverage.hpp"
#include "server/row_updates.hpp"

namespace nizhal::server {
namespace {

using storage::EncodedRow;
using storage::LiveQuery;
using storage::Removal;
using storage::Snapshot;

/// Live changes of a page. Not complete: settled changes are left, and the page ends at `position`.
struct Live {
  std::vector<EncodedRow> rows;
  std::vector<Removal> removals;
  Version position{};
  bool complete = false;
};

Result<void> read_changes(Snapshot& snapshot, const LiveQuery& query, Live& live) {
  auto rows = snapshot.live_rows(query);
  if (!rows) return tl::unexpected(rows.error());
  auto removals = snapshot.live_removals(query);
  if (!removals) return tl::unexpected(removals.error());
  live.rows = std::move(*rows);
  live.removals = std::move(*removals);
  return {};
}

/// Each list is cut by storage at limit + 1, the lowest versions first. The (limit + 1)-th entry of both together is
/// therefore known, and every version below it is whole in both lists: that is where a page may end.
Result<Live> read_live(Snapshot& snapshot, LiveQuery query, Version horizon, std::size_t limit) {
  Live live;
  query.limit = limit + 1;
  if (auto read = read_changes(snapshot, query, live); !read) return tl::unexpected(read.error());
  live.position = horizon;
  live.complete = true;
  if (live.rows.size() + live.removals.size() <= limit) return live;

  std::vector<Version> versions;
  versions.reserve(live.rows.size() + live.removals.size());
  for (const EncodedRow& row : live.rows) versions.push_back(row.version);
  for (const Removal& removal : live.removals) versions.push_back(removal.version);
  std::sort(versions.begin(), versions.end());
  const Version first = versions.front();
  const Version beyond = versions[limit];

  query.limit = std::nullopt;
  if (first > horizon) {
    // Nothing settled is left. What is above the horizon cannot be paged, because the cursor may not move over it.
    if (auto read = read_changes(snapshot, query, live); !read) return tl::unexpected(read.error());
    return live;
  }
  live.complete = false;
  if (first == beyond) {
    // One transaction alone is above the limit, and a page never cuts one.
    reached(Mark::transaction_above_limit);
    query.through = first;
    live.position = first;
    if (auto read = read_changes(snapshot, query, live); !read) return tl::unexpected(read.error());
    return live;
  }
  reached(Mark::page_ended_early);
  live.position = std::min(Version{number(beyond) - 1}, horizon);
  if (is_planted(Planted::skip_the_page_end)) live.position = horizon;
  std::erase_if(live.rows, [&](const EncodedRow& row) { return row.version > live.position; });
  std::erase_if(live.removals, [&](const Removal& removal) { return removal.version > live.position; });
  return live;
}

/// The page's body in the making: every row and every removal at most once.
class Page {
 public:
  /// `updates_after`: the device has everything up to there and takes updates of CRDT columns. Nothing: whole states.
  Page(const CompiledDomain& domain, std::optional<Version> updates_after)
      : domain_(domain), updates_after_(updates_after) {}

  /// False: the row is in the page already.
  bool add(const EncodedRow& row) {
    if (!rows_.emplace(row.table, row.key).second) return false;
    const TableDef& table = domain_.table(row.table);
    if (updates_after_ && !row.recent.empty() && table.has_crdt()) {
      writer_.add_changed(table.name, row_with_updates(table, row, *updates_after_));
    } else {
      writer_.add_changed(table.name, row.json);
    }
    if (table.merge == Merge::Field) stamp_ = std::max(stamp_, FieldStamps(row.stamps).highest());
    ++entries_;
    return true;
  }

  void add(const Live& live) {
    for (const EncodedRow& row : live.rows) add(row);
    std::map<std::pair<std::size_t, std::string_view>, const Removal*> latest;
    for (const Removal& removal : live.removals) {
      if (rows_.contains({removal.table, removal.key})) continue;
      // A row that stays in a covered bucket is not removed. But its image must have been told by the end of this page:
      // one that is still to come may never come, when its bucket is lost before the next page, and the cursor would
      // have passed the removal.
      if (removal.covered_at && (live.complete || *removal.covered_at <= live.position)) {
        reached(Mark::removal_withheld);
        continue;
      }
      const Removal*& newest = latest[{removal.table, removal.key}];
      if (!newest || newest->version <= removal.version) newest = &removal;
    }
    for (const auto& [id, removal] : latest) {
      const TableDef& table = domain_.table(removal->table);
      const auto key = key_from_text(table, removal->key);
      if (!key) continue;  // a key that is none of this table's type was never sent to a device
      std::string id_json;
      append_value_json(id_json, table.key_column().type, *key);
      if (removal->deleted) {
        writer_.add_tombstoned(table.name, id_json, removal->client_key);
        reached(Mark::tombstone_told);
      } else {
        reached(Mark::exit_told);
        writer_.add_removed(table.name, id_json, removal->client_key);
      }
      ++entries_;
    }
  }

  std::size_t entries() const { return entries_; }
  /// The highest stamp of its rows, without whose it is: that may be another actor's device. Empty: none.
  std::string hlc() const {
    if (stamp_.node.empty()) return {};
    return Hlc{stamp_.milliseconds, stamp_.counter, std::string(foreign_node())}.text();
  }
  std::string finish(const protocol::PageWriter::Tail& tail) { return writer_.finish(tail); }

 private:
  const CompiledDomain& domain_;
  const std::optional<Version> updates_after_;
  Hlc stamp_;
  protocol::PageWriter writer_;
  std::set<std::pair<std::size_t, std::string>> rows_;
  std::size_t entries_ = 0;
};

/// A table of a bucket whose backfill is under way or to come.
struct Backfill {
  std::size_t bucket = 0;  // place in Coverage::buckets
  std::size_t table = 0;
  int priority = 0;
  std::size_t order = 0;  // within the definition
};

/// All backfills that the cursor names: tables of higher priority first, then by bucket key, then in the
/// definition's order.
std::vector<Backfill> backfills(const CompiledDomain& domain, const Coverage& coverage) {
  std::vector<Backfill> found;
  for (std::size_t place = 0; place < coverage.buckets.size(); ++place) {
    const Bucket& bucket = coverage.buckets[place].bucket;
    const auto& pending = coverage.cursor.buckets.find(bucket.key)->second.backfill;
    const auto& tables = domain.definitions()[bucket.definition].tables;
    for (std::size_t order = 0; order < tables.size(); ++order) {
      const std::size_t table = tables[order].table;
      const bool seen = std::any_of(tables.begin(), tables.begin() + static_cast<std::ptrdiff_t>(order),
                                    [&](const BucketTable& earlier) { return earlier.table == table; });
      if (!seen && pending.contains(domain.table(table).name))
        found.push_back({place, table, tables[order].priority, order});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Backfill& left, const Backfill& right) {
    if (left.priority != right.priority) return left.priority > right.priority;
    if (left.bucket != right.bucket) return left.bucket < right.bucket;  // in key order already
    return left.order < right.order;
  });
  return found;
}

/// Fills the page's remaining room, key order within each backfill, and moves the cursor's backfill positions.
Result<void> fill(Snapshot& snapshot, const CompiledDomain& domain, Coverage& coverage, std::size_t room, Page& page) {
  for (const Backfill& backfill : backfills(domain, coverage)) {
    const Bucket& bucket = coverage.buckets[backfill.bucket].bucket;
    auto& pending = coverage.cursor.buckets.find(bucket.key)->second.backfill;
    const auto position = pending.find(domain.table(backfill.table).name);
    if (position->second) reached(Mark::backfill_went_on);
    bool done = false;
    while (!done) {
      if (room == 0) return {};
      auto rows = snapshot.backfill(bucket, backfill.table, position->second, room + 1);
      if (!rows) return tl::unexpected(rows.error());
      done = rows->size() <= room;
      if (!done) rows->resize(room);
      for (const EncodedRow& row : *rows) {
        if (is_planted(Planted::skip_a_backfill_row) && !done && &row == &rows->back()) continue;
        ++coverage.cursor.rows_backfilled;
        if (page.add(row)) --room;
      }
      if (!done) position->second = rows->back().key;
    }
    pending.erase(position);
  }
  return {};
}

Result<void> count_begun(Snapshot& snapshot, Coverage& coverage) {
  for (const auto& [place, table] : coverage.begun) {
    const auto rows = snapshot.count_rows(coverage.buckets[place].bucket, table);
    if (!rows) return tl::unexpected(rows.error());
    coverage.cursor.rows_total += *rows;
  }
  return {};
}

/// Most of what such a pull reads are rows that have been there for long.
bool is_backfill(const protocol::PullRequest& request) {
  if (request.cursor.empty()) return true;
  const auto cursor = protocol::decode_cursor(request.cursor);
  return cursor && std::any_of(cursor->buckets.begin(), cursor->buckets.end(),
                               [](const auto& bucket) { return !bucket.second.backfill.empty(); });
}

bool is_filled(const protocol::Cursor& cursor) {
  return std::all_of(cursor.buckets.begin(), cursor.buckets.end(),
                     [](const auto& bucket) { return bucket.second.backfill.empty(); });
}

/// The backfill's progress for the page; a finished one leaves nothing behind in the cursor.
protocol::PullProgress progress_of(protocol::Cursor& cursor) {
  // Rows may have come or gone since the total was counted.
  protocol::PullProgress progress{cursor.rows_backfilled, std::max(cursor.rows_total, cursor.rows_backfilled)};
  if (is_filled(cursor)) {
    progress.total = progress.rows;
    cursor.rows_backfilled = 0;
    cursor.rows_total = 0;
  }
  return progress;
}

Result<ClientProgress> progress_of(Snapshot& snapshot, const Actor& actor, const std::string& client_id) {
  const auto client = snapshot.client(client_id);
  if (!client) return tl::unexpected(client.error());
  ClientProgress progress;
  if (!*client) {
    progress.last_mutation_id = MutationId{0};
    return progress;
  }
  // Another actor's sequence is nobody else's business.
  if ((*client)->user_id != actor.user_id || (*client)->owner_id != actor.owner_id) return progress;
  progress.last_mutation_id = (*client)->last_mutation_id;
  if (!(*client)->last_client_mutation_id.empty())
    progress.last_client_mutation_id = (*client)->last_client_mutation_id;
  return progress;
}

void add_progress(protocol::PageWriter::Tail& tail, const ClientProgress& client) {
  tail.last_mutation_id = client.last_mutation_id;
  tail.last_client_mutation_id = client.last_client_mutation_id;
}

}  // namespace

PullHandler::PullHandler(std::shared_ptr<const CompiledDomain> domain, storage::Storage& storage, Clock& clock,
                         const Limits& limits, std::shared_ptr<Tail> tail)
    : domain_(std::move(domain)),
      storage_(storage),
      clock_(clock),
      limit_default_(std::max<std::size_t>(1, limits.pull_limit_default)),
      limit_max_(std::max<std::size_t>(1, limits.pull_limit_max)),
      has_crdt_(std::any_of(domain_->tables().begin(), domain_->tables().end(),
                            [](const auto& table) { return table->has_crdt(); })),
      tail_(std::move(tail)),
      idle_answers_(limits.idle_answers_max) {}

std::optional<PullQuestion> PullHandler::idle_question(const Actor& actor, const protocol::PullRequest& request) {
  if (request.cursor.empty()) return std::nullopt;
  const PullQuestion question = pull_question(actor, request, request.cursor);
  return idle_answers_.knows(question) ? std::optional(question) : std::nullopt;
}

/// The device has everything: its own cursor, and nothing else that is new.
std::optional<std::string> PullHandler::idle_page(const storage::Position& now, const PullQuestion& question,
                                                  const protocol::PullRequest& request) {
  const auto client = idle_answers_.find(now, question);
  if (!client) return std::nullopt;
  reached(Mark::idle_answered);
  protocol::PageWriter::Tail tail;
  tail.cursor = request.cursor;
  tail.epoch = now.epoch;
  tail.server_time = clock_.now();
  add_progress(tail, *client);
  return protocol::PageWriter().finish(tail);
}

bool PullHandler::may_be_in_tail(const Actor& actor, const protocol::PullRequest& request) {
  if (!tail_ || !tail_->is_on()) return false;
  const auto cursor = protocol::decode_cursor(request.cursor);
  const bool may_be = tail_->expect(actor, request.device_id, cursor ? cursor->position : Version{});
  return may_be && cursor && is_filled(*cursor);
}

std::optional<std::string> PullHandler::tail_page(const storage::Position& now, const Actor& actor,
                                                  const protocol::PullRequest& request) {
  if (const auto snapshot = tail_->view(now)) {
    // Whatever is wrong is told where any request is handled.
    if (auto page = page_of(*snapshot, actor, request)) {
      tail_->count_hit();
      reached(Mark::tail_answered);
      return *std::move(page);
    }
  }
  return std::nullopt;
}

Result<std::string> PullHandler::handle(const Actor& actor, const protocol::PullRequest& request) {
  const auto now = storage_.position();
  if (!now) {
    if (tail_) tail_->begin_anew();
    return tl::unexpected(now.error());
  }
  if (const auto question = idle_question(actor, request)) {
    if (auto page = idle_page(*now, *question, request)) return *std::move(page);
  }
  const bool may_be = may_be_in_tail(actor, request);
  // The first ones begin the tail for those that come after them.
  if ((may_be || (tail_ && !tail_->has_begun())) && tail_->bring_up_to(*now) && may_be) {
    if (auto page = tail_page(*now, actor, request)) return *std::move(page);
  }
  if (tail_ && tail_->is_on()) tail_->count_miss();
  auto opened = is_backfill(request) ? storage_.open_backfill_snapshot(*now) : storage_.open_snapshot(*now);
  if (!opened) return tl::unexpected(opened.error());
  return page_of(**opened, actor, request);
}

Result<std::string> PullHandler::page_of(Snapshot& snapshot, const Actor& actor, const protocol::PullRequest& request) {
  const auto position = snapshot.position();
  if (!position) return tl::unexpected(position.error());
  const auto grants = snapshot.grants(actor);
  if (!grants) return tl::unexpected(grants.error());
  auto planned = plan_coverage(*domain_, request, *position, *grants);
  if (!planned) return tl::unexpected(planned.error());
  Coverage& coverage = *planned;
  if (auto counted = count_begun(snapshot, coverage); !counted) return tl::unexpected(counted.error());
  const bool filling = !is_filled(coverage.cursor);

  // Only of a device that had everything and keeps what it has can it be said what it lacks.
  const bool takes_updates = request.updates && has_crdt_;
  std::optional<Version> updates_after;
  if (takes_updates && !filling && !coverage.changed && !coverage.reset && coverage.removed_buckets.empty())
    updates_after = coverage.whole_at;
  Page page(*domain_, updates_after);
  const std::size_t limit = std::min(request.limit.value_or(limit_default_), limit_max_);
  LiveQuery query;
  query.buckets = &coverage.buckets;
  query.tables = &coverage.tables;
  query.after = coverage.cursor.position;
  query.with_recent = updates_after.has_value();
  const auto live = read_live(snapshot, query, coverage.horizon, limit);
  if (!live) return tl::unexpected(live.error());

  page.add(*live);
  if (live->complete) {
    // At least one row, so that every page makes progress.
    const std::size_t room = page.entries() < limit ? limit - page.entries() : 1;
    if (auto filled = fill(snapshot, *domain_, coverage, room, page); !filled) return tl::unexpected(filled.error());
  }
  coverage.cursor.position = live->position;
  const bool is_whole = live->complete && is_filled(coverage.cursor);
  if (takes_updates) coverage.cursor.whole_at = is_whole ? std::optional(live->position) : updates_after;

  protocol::PageWriter::Tail tail;
  tail.has_more = !is_whole;
  tail.removed_buckets = std::move(coverage.removed_buckets);
  tail.epoch = position->epoch;
  tail.cursor_reset = coverage.reset;
  tail.server_time = clock_.now();
  if (filling) tail.progress = progress_of(coverage.cursor);
  tail.hlc = page.hlc();
  tail.cursor = protocol::encode_cursor(coverage.cursor);
  if (coverage.changed) {
    tail.buckets.emplace();
    for (const auto& covered : coverage.buckets) tail.buckets->push_back(covered.bucket.key);
  }
  if (!tail.has_more) {
    ClientProgress client;
    if (request.device_id) {
      auto read = progress_of(snapshot, actor, *request.device_id);
      if (!read) return tl::unexpected(read.error());
      client = std::move(*read);
    }
    add_progress(tail, client);
    idle_answers_.add(*position, pull_question(actor, request, tail.cursor), std::move(client));
  }
  return page.finish(tail);
}

}  // namespace nizhal::server
