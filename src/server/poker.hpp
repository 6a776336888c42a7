// Poke: tells open streams in which buckets something changed, after the commit and outside the request's path (S23).
// Place in the loop: commit ▶ poker ▶ (poke) ▶ puller.
//
// The fact that must not break: a stream hears of a bucket only while its actor has it. So a poke first looks whether
// grants moved, and when that cannot be told, it waits for the next look: a late poke only costs time.
//
// A stream that gains a bucket gets `repull:<that bucket>`. One that loses a bucket must pull too, but hears nothing
// of that bucket any more: it gets `repull:` with a bucket that it keeps, or with no key when none is left.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/ids.hpp"
#include "base/log.hpp"
#include "server/commit_effects.hpp"
#include "server/limits.hpp"
#include "server/stream.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

class Poker {
 public:
  /// Commits from here on are looked for. Blocks on storage.
  Poker(storage::Storage& storage, Clock& clock, const Limits& limits, Log log);

  /// What a stream subscribes to: the named buckets while its actor has them, or all that the actor has.
  struct Subscription {
    Actor actor;
    Timestamp expires;
    std::optional<std::set<std::string>> requested;
    std::set<std::string> granted;  // all of the actor's, as of `grants_mark`
    std::uint64_t grants_mark = 0;
  };
  /// Reads the actor's buckets now. Blocks on storage.
  Result<Subscription> subscribe(const Actor& actor, Timestamp expires, std::optional<std::set<std::string>> requested);

  /// Told of streams from now on; before the first is opened.
  void follow(std::shared_ptr<StreamFollower> follower) { follower_ = std::move(follower); }

  StreamId open(Subscription subscription, std::shared_ptr<StreamPeer> peer);
  void frame(StreamId stream, std::string_view text);
  /// Counts a frame that means nothing; too many close the stream.
  void bad_frame(StreamId stream);
  void close(StreamId stream);
  std::size_t streams() const;

  /// Pokes what the commit changed. Blocks on storage.
  void after_commit(const CommitEffects& effects);
  /// Whether each stream has the buckets that its actor has now. False also when that could not be read; a look mends
  /// both. Blocks on storage.
  bool are_buckets_current();
  /// Looks for commits of other programs, for changed grants and for expired credentials. Blocks on storage. Answers
  /// where the database stands; nothing when that could not be read.
  std::optional<storage::ChangeMark> look();

 private:
  struct Stream {
    Subscription subscription;
    std::shared_ptr<StreamPeer> peer;
    std::set<std::string> buckets;  // subscribed and granted
    bool stale = false;             // its grants were read before the last refresh
    std::size_t bad_frames = 0;
  };
  using Pokes = std::map<std::uint64_t, std::set<std::string>>;  // stream → keys

  void subscribe_buckets(std::uint64_t id, Stream& stream, std::set<std::string> buckets);
  void erase(std::unordered_map<std::uint64_t, Stream>::iterator it);
  Result<void> refresh_grants(const storage::ChangeMark& mark, Pokes& pokes);
  void send(const Pokes& pokes);
  void close_expired();

  storage::Storage& storage_;
  Clock& clock_;
  const Limits limits_;
  const Log log_;
  std::shared_ptr<StreamFollower> follower_;

  // One look or poke at a time; taken before mutex_, never while it is held.
  std::mutex look_mutex_;
  std::optional<std::uint64_t> foreign_seen_;  // of ChangeMark::foreign
  std::optional<std::uint64_t> grants_seen_;   // of ChangeMark::grants; the streams' buckets are at least this new
  bool is_blind_ = false;                      // the last look failed, and the log has been told
  bool poke_all_ = false;                      // a poke could not be sent out: the next look pokes everything

  mutable std::mutex mutex_;
  std::uint64_t next_stream_ = 1;
  std::unordered_map<std::uint64_t, Stream> streams_;
  std::unordered_map<std::string, std::set<std::uint64_t>> subscribers_;  // bucket key → streams
};

}  // namespace nizhal::server
