#include "client/live_queries.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "client/sql_reader.hpp"
#include "client/store_state.hpp"
#include "client/tuning.hpp"
#include "query/compiled_query.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::client {

struct LiveQueries::Entry {
  Receiver receiver;
  std::unique_ptr<View> view;
  std::string sql;                            // empty: the view's source
  std::set<std::string, std::less<>> tables;  // of the app
  bool follows_all = false;                   // it reads other tables too, whose changes nobody lists
  std::atomic<bool> is_removed{false};

  // Of the store's thread.
  std::uint64_t commit = 0;  // at which the view's rows are the result
  bool needs_load = true;
  bool is_first = true;
  View::Steps steps;                      // since the last delivery
  std::optional<std::string> told_error;  // that is still so
  std::optional<Error> error;             // to be told
};

/// Looks rows up in the file as long as it is no further than the commit in hand.
class LiveQueries::Lookup : public RowLookup {
 public:
  Lookup(LiveQueries& live, std::uint64_t commit) : live_(live), commit_(commit) {}
  Result<Found> find(const TableDef& table, const Value& key, Row& row) override {
    if (auto taken = live_.take_snapshot(); !taken) return tl::unexpected(taken.error());
    if (live_.snapshot_->commit != commit_ || live_.snapshot_->has_others) return Found::unknown;
    auto found = sqlite::select_row(*live_.reader_, table, key);
    if (!found) return tl::unexpected(found.error());
    if (!*found) return Found::no;
    row = std::move(**found);
    return Found::yes;
  }

 private:
  LiveQueries& live_;
  std::uint64_t commit_;
};

LiveQueries::LiveQueries(LocalStore& store, std::function<void()> wake)
    : state_(*store.state_), domain_(store.state_->options.domain), store_(&store), wake_(std::move(wake)) {
  store.add_listener(*this);
}

LiveQueries::~LiveQueries() { close(); }

void LiveQueries::close() {
  const std::lock_guard open(open_mutex_);
  if (LocalStore* store = std::exchange(store_, nullptr)) store->remove_listener(*this);
}

void LiveQueries::wake() {
  if (!is_woken_.exchange(true)) wake_();
}

Result<QuerySpec> LiveQueries::own_query(const QuerySpec& query) const {
  return with_tables(query, [&](std::string_view name) { return domain_->domain().find_table(name); });
}

Result<LiveQueries::Id> LiveQueries::add(const QuerySpec& query, Receiver receiver) {
  auto own = own_query(query);
  if (!own) return tl::unexpected(own.error());
  auto view = make_view(*own);
  if (!view) return tl::unexpected(view.error());
  auto entry = std::make_shared<Entry>();
  entry->receiver = std::move(receiver);
  entry->view = std::move(*view);
  entry->tables.insert(own->table->name);
  for (const JoinSpec& join : own->joins) entry->tables.insert(join.table->name);
  return add(std::move(entry));
}

Result<LiveQueries::Id> LiveQueries::add_sql(std::string text, Receiver receiver) {
  auto explained = explain_sql(text);
  if (!explained) return tl::unexpected(explained.error());
  auto entry = std::make_shared<Entry>();
  entry->receiver = std::move(receiver);
  entry->view = make_rerun_view();
  entry->sql = std::move(text);
  for (std::string& table : explained->tables) {
    if (domain_->domain().find_table(table)) {
      entry->tables.insert(std::move(table));
    } else {
      entry->follows_all = true;
    }
  }
  return add(std::move(entry));
}

Result<LiveQueries::Id> LiveQueries::add(std::shared_ptr<Entry> entry) {
  const std::lock_guard open(open_mutex_);
  if (!store_) return failure(ErrorCode::closed, "the store was closed");
  {
    const std::lock_guard lock(state_.mutex);
    for (const std::string& table : entry->tables) state_.changes.watch(table);
  }
  Id id{};
  {
    const std::lock_guard lock(queue_mutex_);
    id = Id{++last_id_};
    entries_.emplace(id, std::move(entry));
  }
  wake();
  return id;
}

void LiveQueries::remove(Id id) {
  const std::lock_guard open(open_mutex_);
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(queue_mutex_);
    const auto it = entries_.find(id);
    if (it == entries_.end()) return;
    entry = std::move(it->second);
    entries_.erase(it);
  }
  entry->is_removed = true;
  if (!store_) return;
  const std::lock_guard lock(state_.mutex);
  for (const std::string& table : entry->tables) state_.changes.unwatch(table);
}

Result<Explanation> LiveQueries::explain(const QuerySpec& query) const {
  auto own = own_query(query);
  if (!own) return tl::unexpected(own.error());
  return explain_upkeep(*own);
}

Result<Explanation> LiveQueries::explain_sql(std::string_view text) const {
  const std::lock_guard open(open_mutex_);
  if (!store_) return failure(ErrorCode::closed, "the store was closed");
  const std::lock_guard lock(state_.reader_mutex);
  auto tables = tables_read(state_, text);
  if (!tables) return tl::unexpected(tables.error());
  Explanation explanation;
  explanation.upkeep = Explanation::Upkeep::rerun;
  explanation.tables.assign(tables->begin(), tables->end());
  const auto foreign = std::find_if(tables->begin(), tables->end(),
                                    [&](const std::string& table) { return !domain_->domain().find_table(table); });
  explanation.reason =
      foreign == tables->end()
          ? std::string("Plain SQL runs again after each change of one of its tables.")
          : fmt::format("Plain SQL that reads \"{}\", no table of the app, runs again after each commit.", *foreign);
  return explanation;
}

void LiveQueries::committed(std::shared_ptr<const Commit> commit) {
  {
    const std::lock_guard lock(queue_mutex_);
    if (entries_.empty()) return;
    if (queue_.size() >= kQueuedCommitsMax) {
      queue_.clear();
      reload_all_ = true;
    } else {
      queue_.push_back(std::move(commit));
    }
  }
  wake();
}

void LiveQueries::process() {
  is_woken_ = false;
  Commits commits;
  bool reload_all = false;
  std::vector<std::shared_ptr<Entry>> entries;
  {
    const std::lock_guard lock(queue_mutex_);
    commits.swap(queue_);
    reload_all = std::exchange(reload_all_, false);
    for (const auto& [id, entry] : entries_) entries.push_back(entry);
  }
  for (const auto& entry : entries) {
    if (entry->is_removed) continue;
    if (reload_all) entry->needs_load = true;
    bring_up(*entry, commits);
  }
  // Receivers are called when all is read: the snapshot holds up nobody, and they may call the store.
  snapshot_.reset();
  for (const auto& entry : entries) {
    if (entry->is_removed) continue;
    if (const auto error = std::exchange(entry->error, std::nullopt)) {
      if (entry->receiver.fail) entry->receiver.fail(*error);
      continue;
    }
    if (entry->needs_load || (!entry->is_first && entry->steps.empty())) continue;
    RawDelta delta;
    delta.is_first = std::exchange(entry->is_first, false);
    delta.changes = std::exchange(entry->steps, {});
    entry->receiver.deliver(*entry->view, delta, entry->commit);
  }
}

void LiveQueries::bring_up(Entry& entry, const Commits& commits) {
  for (const auto& commit : commits) {
    if (entry.needs_load) break;
    if (commit->number > entry.commit) entry.needs_load = !apply(entry, *commit);
  }
  if (!entry.needs_load) return;
  const auto loaded = load(entry);
  if (loaded) {
    entry.told_error.reset();
    return;
  }
  if (entry.told_error == loaded.error().message) return;
  entry.told_error = loaded.error().message;
  entry.error = loaded.error();
}

/// False: it must be loaded.
bool LiveQueries::apply(Entry& entry, const Commit& commit) {
  const ChangeSet& changes = commit.changes;
  if (changes.is_unknown || entry.follows_all) return false;
  for (const std::string& table : changes.bulk)
    if (entry.tables.contains(table)) return false;
  std::vector<TableChange> own;
  for (const RowChange& change : changes.rows) {
    if (!entry.tables.contains(change.table->name)) continue;
    own.push_back({change.table, change.before ? &*change.before : nullptr, change.after ? &*change.after : nullptr});
  }
  if (!own.empty()) {
    Lookup lookup(*this, commit.number);
    // Whatever it could not do, loading does or tells why not.
    const auto applied = entry.view->apply(own, lookup, entry.steps);
    if (!applied || *applied == View::Applied::needs_load) return false;
  }
  entry.commit = commit.number;
  return true;
}

Result<void> LiveQueries::load(Entry& entry) {
  if (auto taken = take_snapshot(); !taken) return taken;
  std::vector<Row> rows;
  if (entry.sql.empty()) {
    auto selected = sqlite::select_rows(*reader_, entry.view->source());
    if (!selected) return tl::unexpected(selected.error());
    rows = std::move(*selected);
  } else {
    auto selected = read_sql(*reader_, entry.sql);
    if (!selected) return tl::unexpected(selected.error());
    rows = std::move(selected->rows);
  }
  if (auto loaded = entry.view->load(std::move(rows), entry.steps); !loaded) return loaded;
  if (entry.is_first) entry.steps.clear();
  entry.commit = snapshot_->commit;
  entry.needs_load = false;
  return {};
}

/// One for all views that need it in this round.
Result<void> LiveQueries::take_snapshot() {
  if (snapshot_) return {};
  if (!reader_) {
    auto opened = open_reading(state_.options.path);
    if (!opened) return tl::unexpected(opened.error());
    reader_ = std::move(*opened);
  }
  // Under the lock, so that the snapshot is at this commit of ours.
  const std::lock_guard lock(state_.mutex);
  auto transaction = sqlite::Transaction::begin(*reader_, sqlite::Transaction::Mode::deferred);
  if (!transaction) return tl::unexpected(transaction.error());
  // A transaction sees the file as it is at its first read.
  if (auto read = reader_->query_integer("SELECT count(*) FROM sqlite_schema"); !read)
    return tl::unexpected(read.error());
  auto version = state_.connection->query_integer("PRAGMA data_version");
  if (!version) return tl::unexpected(version.error());
  const bool has_others = version->value_or(0) != state_.data_version || state_.changes.has_noted_others();
  snapshot_.emplace(Snapshot{std::move(*transaction), state_.commits, has_others});
  return {};
}

}  // namespace nizhal::client
