#include "server/poker.hpp"

#include <algorithm>
#include <utility>

namespace nizhal::server {
namespace {

constexpr int kPolicyViolation = 1008;

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

Poker::Poker(storage::Storage& storage, Clock& clock, const Limits& limits, Log log)
    : storage_(storage), clock_(clock), limits_(limits), log_(std::move(log)) {
  // What was there at the start is nobody's news. Unread, the first look pokes everybody: too often, never too seldom.
  if (const auto mark = storage_.change_mark()) {
    foreign_seen_ = mark->foreign;
    grants_seen_ = mark->grants;
  } else {
    log_.warning("poke", "could not read where the database stands: " + mark.error().message);
  }
}

Result<Poker::Subscription> Poker::subscribe(const Actor& actor, Timestamp expires,
                                             std::optional<std::set<std::string>> requested) {
  // The mark first: grants that move in between make the subscription look older than it is, never newer.
  const auto mark = storage_.change_mark();
  if (!mark) return tl::unexpected(mark.error());
  const auto snapshot = storage_.snapshot();
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
  stream.stale = true;
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

/// Brings the streams' buckets up to the mark, and adds the pokes that gains and losses call for.
Result<void> Poker::refresh_grants(const storage::ChangeMark& mark, Pokes& pokes) {
  std::map<std::string, std::pair<Actor, std::set<std::string>>> actors;
  const bool moved = grants_seen_ != mark.grants;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, stream] : streams_) {
      if (!moved && stream.stale && stream.subscription.grants_mark == mark.grants) continue;
      if (moved || stream.stale) actors[grants_name(stream.subscription.actor)].first = stream.subscription.actor;
    }
  }
  if (!actors.empty()) {
    const auto snapshot = storage_.snapshot();
    if (!snapshot) return tl::unexpected(snapshot.error());
    for (auto& [name, entry] : actors) {
      const auto grants = (*snapshot)->grants(entry.first);
      if (!grants) return tl::unexpected(grants.error());
      entry.second = keys_of(*grants);
    }
  }

  const std::lock_guard lock(mutex_);
  for (auto& [id, stream] : streams_) {
    const bool fits = stream.subscription.grants_mark == mark.grants;
    if (const auto it = actors.find(grants_name(stream.subscription.actor)); it != actors.end()) {
      stream.subscription.granted = it->second.second;
      stream.subscription.grants_mark = mark.grants;
      std::set<std::string> now = subscribed(stream.subscription);
      bool lost = false;
      for (const std::string& key : stream.buckets) lost = lost || !now.contains(key);
      for (const std::string& key : now)
        if (!stream.buckets.contains(key)) pokes[id].insert(key);
      subscribe_buckets(id, stream, std::move(now));
      if (lost && pokes[id].empty()) pokes[id].insert(stream.buckets.empty() ? "" : *stream.buckets.begin());
      stream.stale = false;
    } else if (fits) {
      stream.stale = false;
    }
  }
  grants_seen_ = mark.grants;
  return {};
}

void Poker::after_commit(const CommitEffects& effects) {
  const std::lock_guard look_lock(look_mutex_);
  if (streams() == 0) return;
  const auto mark = storage_.change_mark();
  Pokes pokes;
  const auto refreshed = mark ? refresh_grants(*mark, pokes) : Result<void>(tl::unexpected(mark.error()));
  if (!refreshed) {
    log_.warning("poke", "could not read who may have what: " + refreshed.error().message);
    poke_all_ = true;
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& key : effects.buckets) {
      const auto it = subscribers_.find(key);
      if (it == subscribers_.end()) continue;
      for (const std::uint64_t id : it->second) pokes[id].insert(key);
    }
  }
  send(pokes);
}

bool Poker::are_buckets_current() {
  const std::lock_guard look_lock(look_mutex_);
  const auto mark = storage_.change_mark();
  if (!mark || grants_seen_ != mark->grants) return false;
  const std::lock_guard lock(mutex_);
  return std::all_of(streams_.begin(), streams_.end(), [&](const auto& entry) {
    return !entry.second.stale || entry.second.subscription.grants_mark == mark->grants;
  });
}

std::optional<storage::ChangeMark> Poker::look() {
  close_expired();
  const std::lock_guard look_lock(look_mutex_);
  const auto mark = storage_.change_mark();
  if (!mark) {
    // Looks come several times a second; once is enough to tell.
    if (!std::exchange(is_blind_, true))
      log_.warning("poke", "cannot look for commits, and goes on trying: " + mark.error().message);
    return std::nullopt;
  }
  if (std::exchange(is_blind_, false)) log_.info("poke", "looks for commits again");
  // Looking once too often is harmless.
  if (foreign_seen_ != mark->foreign) poke_all_ = true;
  foreign_seen_ = mark->foreign;
  Pokes pokes;
  if (const auto refreshed = refresh_grants(*mark, pokes); !refreshed) {
    log_.warning("poke", "could not read who may have what: " + refreshed.error().message);
    poke_all_ = true;
    return *mark;
  }
  if (poke_all_) {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, stream] : streams_)
      if (!stream.buckets.empty()) pokes[id].insert(stream.buckets.begin(), stream.buckets.end());
    poke_all_ = false;
  }
  send(pokes);
  return *mark;
}

void Poker::send(const Pokes& pokes) {
  std::vector<std::pair<std::shared_ptr<StreamPeer>, const std::set<std::string>*>> targets;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, keys] : pokes)
      if (const auto it = streams_.find(id); it != streams_.end()) targets.emplace_back(it->second.peer, &keys);
  }
  for (const auto& [peer, keys] : targets)
    for (const std::string& key : *keys) peer->send("repull:" + key);
}

void Poker::close_expired() {
  const Timestamp now = clock_.now();
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
