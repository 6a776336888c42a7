// The write transactions of this process, so that who watches the database can tell them from other programs'.
//
// The fact that must not break: another program's transaction is never taken for one of ours. One of ours that is taken
// for another's only costs a look too many.
//
// Threads: OwnWriters is thread-safe. An Entry belongs to one thread at a time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.hpp"

namespace nizhal::storage::pg {

class OwnWriters : public std::enable_shared_from_this<OwnWriters> {
 public:
  /// `telling_time`: how long a look waits for transactions of ours that are just beginning to tell their versions.
  /// They need one round trip; whoever waits for a lock instead is taken for another program's.
  explicit OwnWriters(std::chrono::milliseconds telling_time = std::chrono::milliseconds(20))
      : telling_time_(telling_time) {}

  /// One write transaction, from before its BEGIN until after the answer to its COMMIT or ROLLBACK: it must outlive the
  /// lease of the connection that the transaction runs on. Dropping it says that the transaction has ended.
  class Entry {
   public:
    Entry() = default;
    Entry(Entry&& other) noexcept;
    Entry& operator=(Entry&& other) noexcept;
    ~Entry();
    /// The transaction has its version. `backend_pid` is pg_backend_pid() as read inside the transaction; the
    /// connection's own will do where no pooler is between.
    void took(Version version, int backend_pid);
    /// What became of its COMMIT is not known: whoever watches must look as after another program's commit.
    void disown();

   private:
    friend class OwnWriters;
    Entry(std::shared_ptr<OwnWriters> writers, std::uint64_t id) : writers_(std::move(writers)), id_(id) {}
    std::shared_ptr<OwnWriters> writers_;
    std::uint64_t id_ = 0;
  };
  Entry begin();

  /// What a look at the database has seen.
  struct Seen {
    Version last{};                    // of the sequence
    std::vector<std::string> writers;  // "pid:virtualtransaction" of those who hold a bound
  };
  /// Called before a look is sent to the database; one look at a time.
  void look_begins();
  /// True when another program may have committed since the look before, as far as versions below or at `seen.last` and
  /// writers that have ended tell. The first look is the base of all others and says no; so does the first one after
  /// forget(), which is for its caller to know.
  bool others_committed(const Seen& seen);
  /// The next look is a first one.
  void forget();

 private:
  struct Own {
    int backend_pid = 0;         // 0: it has not yet told
    std::uint64_t ended_at = 0;  // in ticks; 0: it runs
  };
  enum class Owner { ours, others, unsure };
  bool is_watched() const { return look_began_at_ != 0; }
  Owner owner(std::string_view writer) const;
  std::uint64_t foreign_versions(const Seen& seen) const;

  const std::chrono::milliseconds telling_time_;
  mutable std::mutex mutex_;
  std::condition_variable told_;
  std::uint64_t ticks_ = 0;  // orders ends and looks
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Own> own_;
  std::set<std::uint64_t> in_flight_;  // ids that have begun and not yet told their version
  std::set<std::uint64_t> versions_;   // ours, above the last look's
  std::uint64_t disowned_ = 0;         // since the last look

  bool has_looked_ = false;
  std::uint64_t look_began_at_ = 0;
  std::uint64_t last_ = 0;
  std::set<std::string, std::less<>> others_;  // writers of other programs that were open at the last look
};

}  // namespace nizhal::storage::pg
