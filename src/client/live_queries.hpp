// Live queries of one open store: hears of the commits, keeps the views up to date and delivers what changed.
//
// A commit only lays its change set down and wakes the store's thread (`committed`); all work is done there, later, in
// `process`. A view takes change sets from memory, in order. When it must read the file (first run, a limit's window
// that ran dry, a table of which too much changed, another process that wrote, plain SQL), it reads a snapshot of its
// own, which may be further than the change sets in hand: those up to it are then dropped for this view.
//
// The fact that must not break: what is delivered is the query's result at one commit, never a state in between; and
// after `process` with nothing waiting it is the result at the last one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/live.hpp>
#include <nizhal/query.hpp>
#include <nizhal/result.hpp>

#include "client/commit.hpp"
#include "client/local_store.hpp"
#include "query/incremental_view.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::client {

class LiveQueries : public CommitListener {
 public:
  struct Receiver {
    /// `commit`: the number of the commit at which the rows are the result. Must not throw.
    std::function<void(const RowSequence& rows, const RawDelta& delta, std::uint64_t commit)> deliver;
    /// Told once, until it goes well again; it is tried again after each commit.
    std::function<void(const Error& error)> fail = {};
  };
  enum class Id : std::uint64_t {};

  /// `wake` asks for a `process`, from any thread, also under the store's lock. The store must outlive it, or `close`
  /// be called before the store goes.
  LiveQueries(LocalStore& store, std::function<void()> wake);
  ~LiveQueries() override;
  LiveQueries(const LiveQueries&) = delete;
  LiveQueries& operator=(const LiveQueries&) = delete;

  // Any thread.
  /// The first delivery comes with the next `process`. Errors: those of with_tables and compile_query.
  Result<Id> add(const QuerySpec& query, Receiver receiver);
  /// Errors: usage (not one reading statement), closed, and the disk's.
  Result<Id> add_sql(std::string text, Receiver receiver);
  /// Nothing is delivered afterwards, except by a `process` that is delivering already.
  void remove(Id id);
  Result<Explanation> explain(const QuerySpec& query) const;
  Result<Explanation> explain_sql(std::string_view text) const;
  /// The store goes. Not while `process` runs.
  void close();
  void committed(std::shared_ptr<const Commit> commit) override;

  /// On the store's thread only. Receivers may call anything but this and `close`.
  void process();

 private:
  struct Entry;
  struct Snapshot {
    sqlite::Transaction transaction;
    std::uint64_t commit = 0;
    bool has_others = false;  // also what another process wrote and no commit has told yet
  };
  class Lookup;
  using Commits = std::vector<std::shared_ptr<const Commit>>;

  Result<QuerySpec> own_query(const QuerySpec& query) const;
  Result<Id> add(std::shared_ptr<Entry> entry);
  void wake();
  void bring_up(Entry& entry, const Commits& commits);
  bool apply(Entry& entry, const Commit& commit);
  Result<void> load(Entry& entry);
  Result<void> take_snapshot();

  LocalStore::State& state_;
  const std::shared_ptr<const CompiledDomain> domain_;  // the store may be gone
  LocalStore* store_;
  const std::function<void()> wake_;

  mutable std::mutex open_mutex_;  // guards `store_`; taken before the store's lock

  std::mutex queue_mutex_;  // guards the next four; nothing is locked under it
  std::map<Id, std::shared_ptr<Entry>> entries_;
  std::uint64_t last_id_ = 0;
  Commits queue_;
  bool reload_all_ = false;
  std::atomic<bool> is_woken_{false};

  // Of the store's thread.
  std::unique_ptr<sqlite::Connection> reader_;
  std::optional<Snapshot> snapshot_;
};

}  // namespace nizhal::client
