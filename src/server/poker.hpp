// Poke: tells open streams in which buckets something changed, after the commit and outside the request's path (S23).
// Place in the loop: commit ▶ poker ▶ (poke) ▶ puller.
//
// News of a commit comes up to three ways: from this server's push, from the instance that made it (realtime), and from
// a look at the database, which finds everybody's. Whichever comes first pokes; of one commit a stream is poked once
// per bucket.
//
// The fact that must not break: a stream hears of a bucket only while its actor has it. So before a poke it is known
// where the grants stood at a moment after the commit: the commit itself brought that back, or a look is made; and when
// that cannot be told, the poke waits for the next look: a late poke only costs time.
//
// A stream that gains a bucket gets `repull:<that bucket>`. One that loses a bucket must pull too, but hears nothing
// of that bucket any more: it gets `repull:` with a bucket that it keeps, or with no key when none is left.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
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
#include "domain/compiled_domain.hpp"
#include "realtime/realtime.hpp"
#include "server/expected_pulls.hpp"
#include "server/limits.hpp"
#include "server/recent_news.hpp"
#include "server/stream.hpp"
#include "server/told_commits.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

struct PokerOutside {
  std::shared_ptr<const CompiledDomain> domain;
  storage::Storage& storage;
  Clock& clock;
  std::shared_ptr<NewsSource> news;        // of commits that nobody announced
  realtime::Realtime* realtime = nullptr;  // to the other instances; none: there are no others
  Log log = {};
};

class Poker {
 public:
  /// Commits from here on are looked for. Blocks on storage.
  Poker(PokerOutside outside, const Limits& limits);

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

  /// Called with the streams before they are poked, when they are at least `limits.gather_streams_min`. Must not block;
  /// set before the first is opened.
  using BeforePoking = std::function<void(const PokedStreams&)>;
  void before_poking(BeforePoking call) { before_poking_ = std::move(call); }

  StreamId open(Subscription subscription, std::shared_ptr<StreamPeer> peer);
  void frame(StreamId stream, std::string_view text);
  /// Counts a frame that means nothing; too many close the stream.
  void bad_frame(StreamId stream);
  void close(StreamId stream);
  std::size_t streams() const;

  // News, which never blocks. True: run() is to be called, on a thread that may; it was not asked for yet.

  /// A push of this server has committed. `grants`: storage::ChangeMark::grants as it stood at a moment since. Where it
  /// is known and nothing has moved, few streams are poked here and now; many by run(), which then needs no look.
  [[nodiscard]] bool committed(realtime::CommitNotice commit, std::optional<std::uint64_t> grants = std::nullopt);
  /// Another instance says so.
  [[nodiscard]] bool heard(std::vector<realtime::CommitNotice> commits);
  /// What other instances said may have been lost: the next look asks the database what was committed.
  void missed() { must_ask_ = true; }

  /// Pokes what was told above, and tells the other instances of this server's own commits: what came meanwhile goes
  /// together. Blocks on storage.
  void run();
  /// Whether each stream has the buckets that its actor has now. False also when that could not be read; a look mends
  /// both. Blocks on storage.
  bool are_buckets_current();
  /// Looks for commits of others, for changed grants and for expired credentials. Blocks on storage. Answers where the
  /// database stands; nothing when that could not be read.
  std::optional<storage::ChangeMark> look();

  /// Frames of pokes that were sent, each for one stream and bucket.
  std::uint64_t poked() const { return poked_; }

 private:
  struct Stream {
    Subscription subscription;
    std::shared_ptr<StreamPeer> peer;
    std::set<std::string> buckets;  // subscribed and granted
    std::size_t bad_frames = 0;
  };
  using Pokes = std::map<std::uint64_t, std::set<std::string>>;  // stream → keys
  using Notices = std::vector<realtime::CommitNotice>;
  enum class Occasion { news, look };

  /// Own commits that wait to be poked together.
  struct OwnNews {
    Notices notices;
    std::optional<std::uint64_t> grants = 0;  // after the last one of them; nothing: not known of some
  };

  void subscribe_buckets(std::uint64_t id, Stream& stream, std::set<std::string> buckets);
  void erase(std::unordered_map<std::uint64_t, Stream>::iterator it);
  void keep_for_run(Notices& kept, Notices commits);
  bool poke_at_once(const realtime::CommitNotice& commit, std::uint64_t grants);
  bool are_buckets_of(std::uint64_t grants) const;
  bool has_news();
  void take_news();
  void tell_others(Notices own);
  bool poke_without_look();
  std::optional<storage::ChangeMark> proceed(Occasion occasion);
  std::optional<storage::ChangeMark> see_where_it_stands();
  /// What the database has to say of commits: nothing and `everything` when that cannot be told.
  struct Told {
    std::optional<RecentNews> news;
    bool everything = false;
  };
  Told ask();
  void note_progress(const storage::ChangeMark& mark, const Told& told, bool has_asked);
  bool affects(const std::vector<storage::RecentChanges::GrantChange>& changes, const Actor& actor) const;
  struct ReadGrants {
    Actor actor;
    std::set<std::string> keys;
  };
  using Actors = std::map<std::string, ReadGrants>;
  Actors actors_to_read(const storage::ChangeMark& mark, const Told& told) const;
  Result<void> refresh_grants(const storage::ChangeMark& mark, const Told& told, Pokes& pokes);
  void forget_unpoked();
  void add_pokes(const std::set<std::string>& keys, Pokes& pokes) const;
  void add_announced(Pokes& pokes);
  void add_told(const Told& told, Pokes& pokes);
  void send(const Pokes& pokes);
  void close_expired();

  const PokerOutside outside_;
  const Limits limits_;
  std::shared_ptr<StreamFollower> follower_;
  BeforePoking before_poking_;

  std::mutex news_mutex_;  // the last one to be taken
  OwnNews own_;
  Notices others_;
  bool run_is_asked_for_ = false;
  std::atomic<bool> must_ask_{false};  // something was committed that nothing else tells of

  // One look or run at a time; taken before mutex_, never while it is held.
  std::mutex look_mutex_;
  Notices unpoked_;                                  // announced, and told to the other instances
  std::optional<std::uint64_t> unpoked_grants_ = 0;  // OwnNews::grants of those
  ToldCommits told_;
  Version settled_{};                          // everything up to here was poked, or will be by its announcement
  std::optional<Version> unsettled_;           // once the horizon has passed it, the database is asked once more
  std::string epoch_;                          // of the last news
  Version last_{};                             // of the last mark
  std::optional<std::uint64_t> foreign_seen_;  // of ChangeMark::foreign
  std::optional<std::uint64_t> grants_seen_;   // of ChangeMark::grants; the streams' buckets are at least this new
  bool is_blind_ = false;                      // the last look failed, and the log has been told
  bool reread_all_ = false;                    // a change of grants may not have been applied to everybody
  int failures_ = 0;                           // of asking, in a row

  mutable std::mutex mutex_;
  std::uint64_t next_stream_ = 1;
  std::unordered_map<std::uint64_t, Stream> streams_;
  std::set<std::uint64_t> stale_;  // streams whose grants were read before the last refresh
  std::unordered_map<std::string, std::set<std::uint64_t>> subscribers_;  // bucket key → streams
  std::atomic<std::uint64_t> poked_{0};
};

}  // namespace nizhal::server
