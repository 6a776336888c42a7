#include "server/poker.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/planted.hpp"
#include "base/reached.hpp"

namespace nizhal::server {
namespace {

constexpr int kPolicyViolation = 1008;
/// Commits that wait to be poked, some 100 bytes each. With more the database is asked what was committed.
constexpr std::size_t kNoticesMax = 50'000;
/// Frames that the thread of a push sends before the push is answered, about a microsecond each.
constexpr std::size_t kFramesAtOnceMax = 32;
/// Failures to read what was committed, before everybody is poked.
constexpr int kFailuresMax = 3;

/// Streams of one principal with the same claims share one read of its grants.
std::string grants_name(const Actor& actor) {
  return std::to_string(actor.user_id.size()) + ':' + std::to_string(actor.owner_id.size()) + ':' + actor.user_id +
         actor.owner_id + actor.claims;
}

std::set<std::string> keys_of(const std::vector<storage::Grant>& grants) {
  std::set<std::string> keys;
  for (const storage::Grant& grant : grants) keys.insert(grant.bucket.key);
  return keys;
}

std::set<std::string> subscribed(const Poker::Subscription& subscription) {
  if (!subscription.requested) return subscription.granted;
  std::set<std::string> buckets;
  std::set_intersection(subscription.requested->begin(), subscription.requested->end(), subscription.granted.begin(),
                        subscription.granted.end(), std::inserter(buckets, buckets.end()));
  return buckets;
}

}  // namespace

Poker::Poker(PokerOutside outside, const Limits& limits) : outside_(std::move(outside)), limits_(limits) {
  // What was there at the start is nobody's news. Unread, the first look asks for everything: too much, never too
  // little.
  if (const auto mark = outside_.storage.change_mark()) {
    foreign_seen_ = mark->foreign;
    grants_seen_ = mark->grants;
    settled_ = mark->settled;
    last_ = mark->last;
    if (settled_ < last_) unsettled_ = last_;
  } else {
    outside_.log.warning("poke", "could not read where the database stands: " + mark.error().message);
  }
}

Result<Poker::Subscription> Poker::subscribe(const Actor& actor, Timestamp expires,
                                             std::optional<std::set<std::string>> requested) {
  // The mark first: grants that move in between make the subscription look older than it is, never newer.
  const auto mark = outside_.storage.change_mark();
  if (!mark) return tl::unexpected(mark.error());
  const auto snapshot = outside_.storage.snapshot();
  if (!snapshot) return tl::unexpected(snapshot.error());
  const auto grants = (*snapshot)->grants(actor);
  if (!grants) return tl::unexpected(grants.error());
  return Subscription{actor, expires, std::move(requested), keys_of(*grants), mark->grants};
}

StreamId Poker::open(Subscription subscription, std::shared_ptr<StreamPeer> peer) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t id = next_stream_++;
  Stream& stream = streams_[id];
  stream.subscription = std::move(subscription);
  stream.peer = std::move(peer);
  // A refresh may have run between subscribing and opening; the next poke or look makes this one fit.
  stale_.insert(id);
  if (follower_) follower_->opened(StreamId{id}, stream.subscription.actor.user_id, stream.peer);
  subscribe_buckets(id, stream, subscribed(stream.subscription));
  return StreamId{id};
}

void Poker::subscribe_buckets(std::uint64_t id, Stream& stream, std::set<std::string> buckets) {
  for (const std::string& key : stream.buckets) {
    if (buckets.contains(key)) continue;
    const auto it = subscribers_.find(key);
    it->second.erase(id);
    if (it->second.empty()) subscribers_.erase(it);
  }
  for (const std::string& key : buckets) subscribers_[key].insert(id);
  if (follower_) follower_->buckets_changed(StreamId{id}, stream.buckets, buckets);
  stream.buckets = std::move(buckets);
}

void Poker::erase(std::unordered_map<std::uint64_t, Stream>::iterator it) {
  subscribe_buckets(it->first, it->second, {});
  stale_.erase(it->first);
  if (follower_) follower_->closed(StreamId{it->first});
  streams_.erase(it);
}

void Poker::close(StreamId stream) {
  const std::lock_guard lock(mutex_);
  if (const auto it = streams_.find(static_cast<std::uint64_t>(stream)); it != streams_.end()) erase(it);
}

std::size_t Poker::streams() const {
  const std::lock_guard lock(mutex_);
  return streams_.size();
}

void Poker::frame(StreamId stream, std::string_view text) {
  if (text != "ping") return bad_frame(stream);
  std::shared_ptr<StreamPeer> peer;
  {
    const std::lock_guard lock(mutex_);
    const auto it = streams_.find(static_cast<std::uint64_t>(stream));
    if (it == streams_.end()) return;
    peer = it->second.peer;
  }
  peer->send("pong");
}

void Poker::bad_frame(StreamId stream) {
  std::shared_ptr<StreamPeer> peer;
  {
    const std::lock_guard lock(mutex_);
    const auto it = streams_.find(static_cast<std::uint64_t>(stream));
    if (it == streams_.end() || ++it->second.bad_frames <= limits_.stream_bad_frames_max) return;
    peer = it->second.peer;
    erase(it);
  }
  peer->close(kPolicyViolation, "too many malformed frames");
}

bool Poker::affects(const std::vector<storage::RecentChanges::GrantChange>& changes, const Actor& actor) const {
  std::map<std::size_t, std::optional<std::string>> subjects;  // of the actor, by definition
  for (const auto& change : changes) {
    if (change.subject.empty()) return true;
    const auto [it, is_new] = subjects.try_emplace(change.definition);
    if (is_new) it->second = outside_.domain->grant_subject(change.definition, actor);
    if (it->second == change.subject) return true;
  }
  return false;
}

/// Whose grants have to be read again. One entry for all streams of an actor.
Poker::Actors Poker::actors_to_read(const storage::ChangeMark& mark, const Told& told) const {
  const bool moved = grants_seen_ != mark.grants || reread_all_;
  const bool is_known_whose = told.news && !told.everything && !reread_all_;
  const bool are_changes_known = is_known_whose && !told.news->grant_changes.empty();
  Actors actors;
  const std::lock_guard lock(mutex_);
  for (const std::uint64_t id : stale_) {
    const Stream& stream = streams_.at(id);
    if (stream.subscription.grants_mark != mark.grants)
      actors.try_emplace(grants_name(stream.subscription.actor), ReadGrants{stream.subscription.actor, {}});
  }
  if ((!moved || is_known_whose) && !are_changes_known) return actors;
  std::set<std::string> spared;
  for (const auto& [id, stream] : streams_) {
    const Actor& actor = stream.subscription.actor;
    std::string name = grants_name(actor);
    if (spared.contains(name) || actors.contains(name)) continue;
    if (!is_known_whose || affects(told.news->grant_changes, actor))
      actors.emplace(std::move(name), ReadGrants{actor, {}});
    else
      spared.insert(std::move(name));
  }
  return actors;
}

/// Brings the streams' buckets up to the mark, and adds the pokes that gains and losses call for.
Result<void> Poker::refresh_grants(const storage::ChangeMark& mark, const Told& told, Pokes& pokes) {
  Actors actors = actors_to_read(mark, told);
  if (!actors.empty()) {
    reached(Mark::grants_read_again);
    const auto snapshot = outside_.storage.snapshot();
    if (!snapshot) return tl::unexpected(snapshot.error());
    for (auto& [name, read] : actors) {
      const auto grants = (*snapshot)->grants(read.actor);
      if (!grants) return tl::unexpected(grants.error());
      read.keys = keys_of(*grants);
    }
  }
  reread_all_ = false;

  const std::lock_guard lock(mutex_);
  if (actors.empty()) {
    std::erase_if(stale_, [&](std::uint64_t id) { return streams_.at(id).subscription.grants_mark == mark.grants; });
    return {};
  }
  for (auto& [id, stream] : streams_) {
    const auto it = actors.find(grants_name(stream.subscription.actor));
    if (it == actors.end()) {
      // One that was opened meanwhile waits for its turn.
      if (stream.subscription.grants_mark == mark.grants) stale_.erase(id);
      continue;
    }
    stream.subscription.granted = it->second.keys;
    stream.subscription.grants_mark = mark.grants;
    stale_.erase(id);
    std::set<std::string> now = subscribed(stream.subscription);
    bool lost = false;
    for (const std::string& key : stream.buckets) lost = lost || !now.contains(key);
    for (const std::string& key : now)
      if (!stream.buckets.contains(key)) pokes[id].insert(key);
    subscribe_buckets(id, stream, std::move(now));
    if (lost && pokes[id].empty()) pokes[id].insert(stream.buckets.empty() ? "" : *stream.buckets.begin());
  }
  return {};
}

void Poker::keep_for_run(Notices& kept, Notices commits) {
  if (kept.size() + commits.size() > kNoticesMax) {
    // They are in the database; so is what the other instances will not be told.
    kept.clear();
    must_ask_ = true;
  }
  kept.insert(kept.end(), std::make_move_iterator(commits.begin()), std::make_move_iterator(commits.end()));
}

bool Poker::committed(realtime::CommitNotice commit, std::optional<std::uint64_t> grants) {
  if (grants && poke_at_once(commit, *grants)) return false;
  Notices one;
  one.push_back(std::move(commit));
  const std::lock_guard lock(news_mutex_);
  keep_for_run(own_.notices, std::move(one));
  own_.grants = grants && own_.grants ? std::optional(std::max(*grants, *own_.grants)) : std::nullopt;
  return !std::exchange(run_is_asked_for_, true);
}

bool Poker::heard(std::vector<realtime::CommitNotice> commits) {
  if (commits.empty()) return false;
  const std::lock_guard lock(news_mutex_);
  keep_for_run(others_, std::move(commits));
  return !std::exchange(run_is_asked_for_, true);
}

/// Whether every stream's buckets are at least as new as that; under both locks.
bool Poker::are_buckets_of(std::uint64_t grants) const {
  if (is_blind_ || reread_all_ || !grants_seen_ || *grants_seen_ < grants) return false;
  return std::all_of(stale_.begin(), stale_.end(),
                     [&](std::uint64_t id) { return streams_.at(id).subscription.grants_mark >= grants; });
}

/// On the thread that has committed, so it waits for nobody, and tells few. False: nobody was told anything.
bool Poker::poke_at_once(const realtime::CommitNotice& commit, std::uint64_t grants) {
  const std::unique_lock look_lock(look_mutex_, std::try_to_lock);
  if (!look_lock) return false;
  Pokes pokes;
  {
    const std::lock_guard lock(mutex_);
    if (!are_buckets_of(grants)) return false;
    std::size_t frames = 0;
    for (const std::string& key : commit.buckets)
      if (const auto it = subscribers_.find(key); it != subscribers_.end()) frames += it->second.size();
    if (frames > kFramesAtOnceMax) return false;
    add_pokes(told_.announced(commit.version, commit.buckets), pokes);
  }
  if (!pokes.empty()) reached(Mark::poked_at_once);
  tell_others({commit});
  send(pokes);
  return true;
}

bool Poker::has_news() {
  const std::lock_guard lock(news_mutex_);
  run_is_asked_for_ = !own_.notices.empty() || !others_.empty();
  return run_is_asked_for_;
}

void Poker::run() {
  try {
    while (has_news()) {
      const std::lock_guard look_lock(look_mutex_);
      proceed(Occasion::news);
    }
  } catch (...) {
    must_ask_ = true;
    const std::lock_guard lock(news_mutex_);
    run_is_asked_for_ = false;
    throw;
  }
}

bool Poker::are_buckets_current() {
  const std::lock_guard look_lock(look_mutex_);
  const auto mark = outside_.storage.change_mark();
  if (!mark || grants_seen_ != mark->grants || reread_all_) return false;
  const std::lock_guard lock(mutex_);
  return std::all_of(stale_.begin(), stale_.end(),
                     [&](std::uint64_t id) { return streams_.at(id).subscription.grants_mark == mark->grants; });
}

std::optional<storage::ChangeMark> Poker::look() {
  close_expired();
  const std::lock_guard look_lock(look_mutex_);
  return proceed(Occasion::look);
}

/// Moves the news to where it stays until it is poked, and passes on what is this server's own.
void Poker::take_news() {
  OwnNews own;
  Notices others;
  {
    const std::lock_guard lock(news_mutex_);
    own = std::exchange(own_, {});
    others.swap(others_);
  }
  const bool is_known = own.grants && unpoked_grants_ && others.empty();
  unpoked_grants_ = is_known ? std::optional(std::max(*own.grants, *unpoked_grants_)) : std::nullopt;
  for (Notices* notices : {&own.notices, &others}) unpoked_.insert(unpoked_.end(), notices->begin(), notices->end());
  if (unpoked_.size() > kNoticesMax) {
    unpoked_.clear();
    must_ask_ = true;
  }
  tell_others(std::move(own.notices));
}

void Poker::tell_others(Notices own) {
  if (outside_.realtime && !own.empty() && outside_.realtime->reaches_others())
    outside_.realtime->tell({.commits = std::move(own), .presence = {}});
}

std::optional<storage::ChangeMark> Poker::see_where_it_stands() {
  const auto mark = outside_.storage.change_mark();
  if (!mark) {
    // Looks come several times a second; once is enough to tell.
    if (!std::exchange(is_blind_, true))
      outside_.log.warning("poke", "cannot look for commits, and goes on trying: " + mark.error().message);
    return std::nullopt;
  }
  const bool is_back = std::exchange(is_blind_, false);
  if (is_back) outside_.log.info("poke", "looks for commits again");
  // A database that was away may have lost commits, and their numbers may come again.
  if (is_back || mark->last < last_) {
    told_.clear();
    reread_all_ = true;
    must_ask_ = true;
  }
  last_ = mark->last;
  return *mark;
}

Poker::Told Poker::ask() {
  auto news = outside_.news->since(settled_);
  if (!news) {
    if (++failures_ < kFailuresMax) return {};
    outside_.log.warning("poke", "cannot read what was committed, and pokes everybody: " + news.error().message);
    return {.news = std::nullopt, .everything = true};
  }
  failures_ = 0;
  if (!*news) return {.news = std::nullopt, .everything = true};
  // Of another generation nothing that was known before says anything.
  const bool is_other_epoch = !epoch_.empty() && epoch_ != (*news)->position.epoch;
  epoch_ = (*news)->position.epoch;
  if (is_other_epoch) {
    told_.clear();
    reread_all_ = true;
  }
  return {.news = std::move(*news), .everything = is_other_epoch};
}

/// How far everything that was committed has been dealt with.
void Poker::note_progress(const storage::ChangeMark& mark, const Told& told, bool has_asked) {
  grants_seen_ = mark.grants;
  if (told.news || told.everything) {
    // Whoever had a version and has not committed yet is among those above `settled`.
    const Version last = told.news ? told.news->position.last : mark.last;
    const Version settled = told.news ? told.news->position.horizon : mark.settled;
    const bool is_last_question = unsettled_ && mark.settled >= *unsettled_ && foreign_seen_ == mark.foreign;
    unsettled_.reset();
    if (settled < last && !is_last_question) unsettled_ = last;
    settled_ = settled;
    foreign_seen_ = mark.foreign;
  } else if (has_asked) {
    must_ask_ = true;
  } else if (foreign_seen_ == mark.foreign && !unsettled_ && !must_ask_) {
    settled_ = mark.settled;
  }
  told_.settle(settled_);
}

std::optional<storage::ChangeMark> Poker::proceed(Occasion occasion) {
  take_news();
  if (occasion == Occasion::news) {
    if (unpoked_.empty()) return std::nullopt;
    if (streams() == 0) {
      // Whoever comes now pulls first. A grant that moved meanwhile shows at the next look.
      for (const auto& [version, buckets] : unpoked_) told_.announced(version, buckets);
      forget_unpoked();
      return std::nullopt;
    }
    if (poke_without_look()) return std::nullopt;
  }
  const auto mark = see_where_it_stands();
  if (!mark) return std::nullopt;
  const bool grants_moved = grants_seen_ != mark->grants;
  const bool horizon_has_passed = unsettled_ && mark->settled >= *unsettled_;
  bool must_ask = grants_moved;
  // What others have committed waits for the look, so that it costs the same however often they say so.
  if (occasion == Occasion::look)
    must_ask = must_ask_.exchange(false) || must_ask || foreign_seen_ != mark->foreign || horizon_has_passed;
  Told told;
  // Without streams there is nobody to be told.
  if (must_ask) told = streams() == 0 ? Told{.news = std::nullopt, .everything = true} : ask();

  Pokes pokes;
  if (const auto refreshed = refresh_grants(*mark, told, pokes); !refreshed) {
    outside_.log.warning("poke", "could not read who may have what: " + refreshed.error().message);
    must_ask_ = true;
    reread_all_ = true;
    if (must_ask) outside_.news->answer_was_lost();
    return mark;
  }
  add_told(told, pokes);
  if (!pokes.empty()) reached(Mark::poked_after_look);
  note_progress(*mark, told, must_ask);
  send(pokes);
  return mark;
}

/// Of what is announced, when the commits themselves told where the grants stand, and the streams are there.
bool Poker::poke_without_look() {
  Pokes pokes;
  {
    const std::lock_guard lock(mutex_);
    if (!unpoked_grants_ || !are_buckets_of(*unpoked_grants_)) return false;
    add_announced(pokes);
  }
  send(pokes);
  return true;
}

void Poker::forget_unpoked() {
  unpoked_.clear();
  unpoked_grants_ = 0;
}

/// Under both locks, as what follows.
void Poker::add_pokes(const std::set<std::string>& keys, Pokes& pokes) const {
  for (const std::string& key : keys) {
    if (is_planted(Planted::poke_everybody))
      for (const auto& [id, stream] : streams_) pokes[id].insert(key);
    const auto it = subscribers_.find(key);
    if (it == subscribers_.end()) continue;
    for (const std::uint64_t id : it->second) pokes[id].insert(key);
  }
}

void Poker::add_announced(Pokes& pokes) {
  for (const auto& [version, buckets] : unpoked_) add_pokes(told_.announced(version, buckets), pokes);
  forget_unpoked();
}

void Poker::add_told(const Told& told, Pokes& pokes) {
  const std::lock_guard lock(mutex_);
  add_announced(pokes);
  if (told.news)
    for (const auto& [version, buckets] : told.news->buckets) add_pokes(told_.seen(version, buckets), pokes);
  if (told.everything)
    for (const auto& [id, stream] : streams_)
      if (!stream.buckets.empty()) pokes[id].insert(stream.buckets.begin(), stream.buckets.end());
}

void Poker::send(const Pokes& pokes) {
  const bool are_many = before_poking_ && limits_.gather_streams_min > 0 && pokes.size() >= limits_.gather_streams_min;
  PokedStreams poked;
  std::vector<std::pair<std::shared_ptr<StreamPeer>, const std::set<std::string>*>> targets;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, keys] : pokes) {
      const auto it = streams_.find(id);
      if (it == streams_.end()) continue;
      targets.emplace_back(it->second.peer, &keys);
      if (are_many) ++poked[it->second.subscription.actor.user_id];
    }
  }
  if (are_many) before_poking_(poked);
  for (const auto& [peer, keys] : targets) {
    for (const std::string& key : *keys) peer->send("repull:" + key);
    poked_ += keys->size();
  }
}

void Poker::close_expired() {
  const Timestamp now = outside_.clock.now();
  std::vector<std::shared_ptr<StreamPeer>> expired;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = streams_.begin(); it != streams_.end();) {
      const auto current = it++;
      if (current->second.subscription.expires > now) continue;
      expired.push_back(current->second.peer);
      erase(current);
    }
  }
  for (const auto& peer : expired) peer->close(kPolicyViolation, "the credential expired");
}

}  // namespace nizhal::server
