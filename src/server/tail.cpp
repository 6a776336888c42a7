#include "server/tail.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/planted.hpp"
#include "base/reached.hpp"
#include "server/tail_snapshot.hpp"

namespace nizhal::server {
namespace {

// Read beside the changes, in one go; and how many may wait for it.
constexpr std::size_t kAskedMax = 2'000;
constexpr std::size_t kWantedMax = 20'000;
constexpr int kRoundsMax = 10;
/// More changes than this are not worth telling one by one.
constexpr std::size_t kNewsMax = 100'000;

/// No column of every storage holds a zero byte; those who send one are looked up where that is known.
bool has_zero(std::string_view text) {
  return text.find('\0') != std::string_view::npos || text.find("\\u0000") != std::string_view::npos;
}

}  // namespace

Tail::Tail(std::shared_ptr<const CompiledDomain> domain, storage::Storage& storage, const Limits& limits, Log log)
    : domain_(std::move(domain)),
      storage_(storage),
      bytes_max_(limits.tail_bytes_max),
      rows_max_(limits.tail_rows_max),
      log_(std::move(log)),
      is_on_(limits.tail_bytes_max > 0),
      changes_(*domain_),
      known_(*domain_) {}

bool Tail::expect(const Actor& actor, const std::optional<std::string>& device_id, Version after) {
  if (!is_on_) return false;
  std::string name = grants_name(*domain_, actor);
  bool knows_actor = false, knows_client = !device_id, reaches = true;
  {
    const std::shared_lock lock(mutex_, std::try_to_lock);
    if (!lock) return true;  // a refresh is just being taken in
    if (is_begun_) {
      knows_actor = known_.grants(name) != nullptr;
      knows_client = knows_client || known_.client(*device_id) != nullptr;
      reaches = after >= changes_.start();
    }
  }
  if (!reaches) reached(Mark::tail_behind_cursor);
  if (knows_actor && knows_client) return reaches;
  const std::lock_guard lock(wanted_mutex_);
  if (!knows_actor && wanted_actors_.size() < kWantedMax && !has_zero(actor.user_id) && !has_zero(actor.owner_id) &&
      !has_zero(actor.claims))
    wanted_actors_.emplace(std::move(name), actor);
  if (!knows_client && wanted_clients_.size() < kWantedMax && !has_zero(*device_id)) wanted_clients_.insert(*device_id);
  return reaches;
}

void Tail::keep(const Actor& actor) {
  if (!is_on_) return;
  std::string name = grants_name(*domain_, actor);
  const std::lock_guard lock(wanted_mutex_);
  Kept& kept = kept_[name];
  if (++kept.times > 1) return;
  kept.actor = actor;
  if (wanted_actors_.size() < kWantedMax && !has_zero(actor.user_id) && !has_zero(actor.owner_id) &&
      !has_zero(actor.claims))
    wanted_actors_.emplace(std::move(name), actor);
}

void Tail::release(const Actor& actor) {
  const std::lock_guard lock(wanted_mutex_);
  const auto it = kept_.find(grants_name(*domain_, actor));
  if (it != kept_.end() && --it->second.times == 0) kept_.erase(it);
}

bool Tail::has_wanted() const {
  const std::lock_guard lock(wanted_mutex_);
  return !wanted_actors_.empty() || !wanted_clients_.empty();
}

storage::ChangesQuery Tail::take_wanted() {
  storage::ChangesQuery query;
  query.rows_max = rows_max_;
  const std::lock_guard lock(wanted_mutex_);
  while (!wanted_actors_.empty() && query.actors.size() < kAskedMax)
    query.actors.push_back(std::move(wanted_actors_.extract(wanted_actors_.begin()).mapped()));
  while (!wanted_clients_.empty() && query.client_ids.size() < kAskedMax)
    query.client_ids.push_back(std::move(wanted_clients_.extract(wanted_clients_.begin()).value()));
  return query;
}

/// Both hold exactly what was committed up to the same version. A look that is behind the tail may be older than its
/// refresh, or at a database that was restored; the next refresh tells which.
bool Tail::is_at(const storage::Position& now) const {
  const std::shared_lock lock(mutex_);
  return is_begun_ && position_.epoch == now.epoch && position_.horizon == now.last && position_.last == now.last;
}

bool Tail::has_begun() const {
  const std::shared_lock lock(mutex_);
  return is_begun_;
}

bool Tail::bring_up_to(const storage::Position& now) {
  if (!is_on_) return false;
  if (!has_wanted() && (is_at(now) || (is_planted(Planted::skip_the_horizon) && has_begun()))) return true;
  std::unique_lock turn(turn_mutex_);
  // The refresh under way, if any, may have begun too early; the one after it will do.
  const std::uint64_t wanted = begun_ + 1;
  ++waiting_;
  finished_one_.wait(turn, [&] { return !is_refreshing_ || finished_ >= wanted; });
  --waiting_;
  if (finished_ >= wanted) return has_worked_;
  is_refreshing_ = true;
  const std::uint64_t mine = ++begun_;
  turn.unlock();
  bool has_worked = false;
  try {
    has_worked = refresh(now);
  } catch (...) {
    begin_anew();  // out of memory: half of it may have been taken in
  }
  turn.lock();
  is_refreshing_ = false;
  finished_ = mine;
  has_worked_ = has_worked;
  finished_one_.notify_all();
  return has_worked;
}

std::optional<storage::Position> Tail::standing(std::uint64_t& beginnings) const {
  const std::shared_lock lock(mutex_);
  beginnings = beginnings_;
  return is_begun_ ? std::optional(position_) : std::nullopt;
}

std::size_t Tail::waiting() const {
  const std::lock_guard turn(turn_mutex_);
  return waiting_;
}

bool Tail::refresh(storage::Position settled) {
  // The look may be older than the refresh before this one.
  std::uint64_t beginnings = 0;
  if (const auto before = standing(beginnings); before && before->epoch == settled.epoch)
    settled.horizon = std::max(settled.horizon, before->horizon);
  if (resting_ && resting_->first == settled.epoch && resting_->second >= settled.horizon) return false;
  resting_.reset();

  for (int round = 0; round < kRoundsMax; ++round) {
    storage::ChangesQuery query = take_wanted();
    std::vector<std::pair<std::string, Actor>> forgotten;
    if (!read_and_apply(settled, query, forgotten)) return false;
    {
      // Whose buckets changed is known only now; they are read in a snapshot that all the rest then moves to.
      const std::lock_guard lock(wanted_mutex_);
      for (auto& [name, actor] : forgotten) wanted_actors_.emplace(std::move(name), std::move(actor));
      if (wanted_actors_.empty() && wanted_clients_.empty()) return true;
    }
  }
  return true;
}

bool Tail::read_and_apply(const storage::Position& settled, storage::ChangesQuery& query,
                          std::vector<std::pair<std::string, Actor>>& forgotten) {
  std::uint64_t beginnings = 0;
  const auto before = standing(beginnings);
  bool is_anew = !before || before->epoch != settled.epoch;
  for (;;) {
    if (is_anew) {
      std::set<std::string> asked;
      for (const Actor& actor : query.actors) asked.insert(grants_name(*domain_, actor));
      const std::lock_guard lock(wanted_mutex_);
      for (const auto& [name, kept] : kept_)
        if (!asked.contains(name) && query.actors.size() < kAskedMax) query.actors.push_back(kept.actor);
    }
    query.after = is_anew ? settled.horizon : before->horizon;
    ++refreshes_;
    if (!is_anew) reached(Mark::tail_refreshed);
    const auto changes = storage_.changes_since(settled, query);
    if (!changes) {
      begin_anew();
      return false;
    }
    if (!*changes) {
      log_.info("pull", "this storage cannot tell what changed lately: every pull reads its tables");
      is_on_ = false;
      begin_anew();
      return false;
    }
    const bool has_gone_back = !is_anew && (*changes)->position.last < before->last;
    if (!(*changes)->too_many && !has_gone_back) return apply(**changes, query, is_anew, beginnings, forgotten);
    if ((*changes)->too_many) reached(Mark::tail_too_many);
    begin_anew();
    if (is_anew) resting_.emplace(settled.epoch, settled.horizon);
    // The look was at the database as it was before it went back.
    if (is_anew || has_gone_back) return false;
    is_anew = true;
    (void)standing(beginnings);
  }
}

bool Tail::apply(const storage::RecentChanges& changes, const storage::ChangesQuery& query, bool is_anew,
                 std::uint64_t beginnings, std::vector<std::pair<std::string, Actor>>& forgotten) {
  std::set<std::string> kept;
  {
    const std::lock_guard lock(wanted_mutex_);
    for (const auto& [name, one] : kept_) kept.insert(name);
  }
  bool is_whole = false, is_useful = true;
  {
    const std::unique_lock lock(mutex_);
    // What was forgotten meanwhile was forgotten for a reason.
    if (beginnings != beginnings_) return false;
    if (is_anew) {
      changes_.begin(query.after);
      known_.forget_all();
    }
    is_whole = changes_.apply(changes, query.after);
    if (is_whole) {
      forgotten = known_.apply(changes, query);
      position_ = changes.position;
      is_begun_ = true;
      known_.shrink(bytes_max_ / 2, kept);
      changes_.shrink(bytes_max_ - std::min(known_.bytes(), bytes_max_ / 2));
      // Else nobody could be served: no cursor is above the horizon.
      is_useful = changes_.start() <= position_.horizon;
    }
  }
  if (is_anew)
    add_everything_to_news();
  else
    add_news(changes, query.after);
  if (is_whole && is_useful) return true;
  if (!is_useful) resting_.emplace(changes.position.epoch, changes.position.horizon);
  begin_anew();
  return false;
}

void Tail::begin_anew() {
  {
    const std::unique_lock lock(mutex_);
    if (std::exchange(is_begun_, false)) reached(Mark::tail_begun_anew);
    ++beginnings_;
    changes_.begin(Version{});
    known_.forget_all();
  }
  add_everything_to_news();
}

void Tail::add_everything_to_news() {
  const std::lock_guard lock(wanted_mutex_);
  news_.everything = true;
  news_.changes.clear();
  news_.grant_changes.clear();
}

void Tail::add_news(const storage::RecentChanges& changes, Version after) {
  const std::lock_guard lock(wanted_mutex_);
  if (news_.everything) return;
  for (const auto& recent : changes.rows) {
    if (recent.row.version <= after) continue;
    for (const Bucket& bucket : recent.buckets) news_.changes.emplace(recent.row.version, bucket.key);
  }
  for (const auto& recent : changes.removals) news_.changes.emplace(recent.removal.version, recent.bucket);
  news_.grant_changes.insert(news_.grant_changes.end(), changes.grant_changes.begin(), changes.grant_changes.end());
  if (news_.changes.size() + news_.grant_changes.size() <= kNewsMax) return;
  news_.everything = true;
  news_.changes.clear();
  news_.grant_changes.clear();
}

TailNews Tail::look() {
  bool has_worked = false;
  storage::Position position;
  if (is_on_) {
    const auto now = storage_.position();
    if (now) {
      has_worked = bring_up_to(*now);
      position = *now;
    } else {
      begin_anew();
    }
  }
  if (has_worked) {
    const std::shared_lock lock(mutex_);
    if (is_begun_ && position_.epoch == position.epoch) position = position_;
  }
  TailNews news;
  {
    const std::lock_guard lock(wanted_mutex_);
    std::swap(news, news_);
  }
  news.position = std::move(position);
  if (!has_worked) {
    news.everything = true;
    news.changes.clear();
    news.grant_changes.clear();
  }
  return news;
}

std::unique_ptr<storage::Snapshot> Tail::view(const storage::Position& now) {
  std::shared_lock lock(mutex_);
  if (!is_begun_ || position_.epoch != now.epoch) return nullptr;
  storage::Position position = position_;
  // Pruning takes no version.
  position.pruned_through = std::max(position.pruned_through, now.pruned_through);
  if (is_planted(Planted::skip_the_horizon)) position = now;
  return std::make_unique<TailSnapshot>(std::move(lock), *domain_, changes_, known_, std::move(position));
}

TailFigures Tail::figures() const {
  TailFigures figures;
  figures.is_on = is_on_;
  figures.hits = hits_;
  figures.misses = misses_;
  figures.refreshes = refreshes_;
  const std::shared_lock lock(mutex_);
  figures.bytes = changes_.bytes() + known_.bytes();
  figures.rows = changes_.rows();
  figures.removals = changes_.removals();
  figures.start = changes_.start();
  return figures;
}

}  // namespace nizhal::server
