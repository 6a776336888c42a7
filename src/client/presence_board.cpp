#include "client/presence_board.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {
namespace {

constexpr std::string_view kState = "presence:state:", kDiff = "presence:diff:";
constexpr std::string_view kRef = "presence_ref";
constexpr std::size_t kEntryBytes = 128;  // of a map's node

std::string frame_about(std::string_view kind, const std::string& bucket) {
  std::string frame(kind);
  frame += R"({"bucket":)";
  append_json_string(frame, bucket);
  return frame;
}

/// Calls `act(user, ref, entry)` for each of `{user:[{"presence_ref":ref,…},…],…}`; false when it is not that.
template <class Act>
bool each_of(const json::value* users, Act act) {
  if (!users || !users->is_object()) return false;
  for (const auto& [user, entries] : users->get_object()) {
    const json::array* list = entries.if_array();
    if (!list) return false;
    for (const json::value& entry : *list) {
      const auto ref = string_member(entry, kRef);
      if (!ref) return false;
      act(std::string(user), std::string(*ref), entry.get_object());
    }
  }
  return true;
}

std::string payload_of(const json::object& entry) {
  json::object payload = entry;
  payload.stable_erase(kRef);  // the others keep their order
  return to_text(payload);
}

}  // namespace

void PresenceBoard::say(Effects& effects, const std::string& bucket, const std::string& payload) const {
  effects.emplace_back(SendFrame{frame_about("presence:track:", bucket) + R"(,"payload":)" + payload + "}"});
}

void PresenceBoard::set_timer(Effects& effects) const {
  effects.emplace_back(SetTimer{TimerId::presence, Tuning{}.presence_interval});
}

void PresenceBoard::track(Effects& effects, const std::string& bucket, const std::string& payload) {
  const bool is_first = tracked_.empty();
  tracked_[bucket] = payload;
  if (!open_) return;
  say(effects, bucket, payload);
  if (is_first) set_timer(effects);
}

void PresenceBoard::untrack(Effects& effects, const std::string& bucket) {
  if (tracked_.erase(bucket) == 0 || !open_) return;
  effects.emplace_back(SendFrame{frame_about("presence:untrack:", bucket) + "}"});
  if (tracked_.empty()) effects.emplace_back(CancelTimer{TimerId::presence});
}

void PresenceBoard::timer_fired(Effects& effects) {
  if (!open_ || tracked_.empty()) return;
  // The whole payload and not only a heartbeat: a server that has dropped this connection meanwhile, or a bucket that
  // is the actor's again, needs it, and the server takes what it knows for a heartbeat.
  for (const auto& [bucket, payload] : tracked_) say(effects, bucket, payload);
  set_timer(effects);
}

void PresenceBoard::socket_is(Effects& effects, bool open) {
  if (std::exchange(open_, open) == open) return;
  if (open) {
    for (const auto& [bucket, payload] : tracked_) say(effects, bucket, payload);
    if (!tracked_.empty()) set_timer(effects);
    return;
  }
  effects.emplace_back(CancelTimer{TimerId::presence});
  const std::lock_guard lock(mutex_);
  for (const auto& [bucket, people] : std::exchange(buckets_, {}))
    if (!people.empty()) effects.emplace_back(PresenceChanged{bucket});
  hidden_.clear();
  bytes_ = 0;
  is_full_ = false;
}

void PresenceBoard::pulled(Effects& effects, const protocol::PullPage& page) {
  if (!page.buckets) return;
  const auto has = [&](const std::string& bucket) {
    return std::find(page.buckets->begin(), page.buckets->end(), bucket) != page.buckets->end();
  };
  const std::lock_guard lock(mutex_);
  for (auto it = hidden_.begin(); it != hidden_.end();) {
    const auto current = it++;
    if (!has(*current)) continue;
    effects.emplace_back(PresenceChanged{*current});
    hidden_.erase(current);
  }
  const auto hide = [&](const std::string& bucket) {
    if (!has(bucket) && buckets_.contains(bucket) && hidden_.insert(bucket).second)
      effects.emplace_back(PresenceChanged{bucket});
  };
  for (const std::string& bucket : page.removed_buckets) hide(bucket);
  if (!page.cursor_reset) return;
  for (const auto& [bucket, people] : buckets_) hide(bucket);
}

void PresenceBoard::heard(Effects& effects, std::string_view frame) {
  const bool is_state = frame.starts_with(kState);
  if (!open_ || (!is_state && !frame.starts_with(kDiff))) return;
  const auto body = parse_json(frame.substr(is_state ? kState.size() : kDiff.size()));
  const auto bucket = body ? string_member(*body, "bucket") : std::nullopt;
  if (!bucket) return log_.debug("presence", "a frame that cannot be read");

  const std::lock_guard lock(mutex_);
  const auto it = buckets_.try_emplace(std::string(*bucket)).first;
  People& people = it->second;
  const auto size_of = [&](const Key& key, const std::string& payload) {
    return kEntryBytes + key.user.size() + key.ref.size() + payload.size();
  };
  const auto drop = [&](People::iterator gone) {
    bytes_ -= size_of(gone->first, gone->second);
    people.erase(gone);
  };
  const auto put = [&](std::string user, std::string ref, const json::object& entry) {
    Key key{std::move(user), std::move(ref)};
    std::string payload = payload_of(entry);
    if (const auto old = people.find(key); old != people.end()) drop(old);
    const std::size_t size = size_of(key, payload);
    if (bytes_ + size > kPresenceBytesMax) {
      if (!std::exchange(is_full_, true))
        log_.warning("presence", fmt::format("more people are there than fit into {} bytes; some are not shown",
                                             kPresenceBytesMax));
      return;
    }
    bytes_ += size;
    people.emplace(std::move(key), std::move(payload));
  };
  bool is_read = true;
  if (is_state) {
    hidden_.erase(it->first);
    while (!people.empty()) drop(people.begin());
    is_read = each_of(member(*body, "state"), put);
  } else {
    is_read = each_of(member(*body, "leaves"), [&](std::string user, std::string ref, const json::object&) {
      if (const auto gone = people.find({std::move(user), std::move(ref)}); gone != people.end()) drop(gone);
    });
    is_read = each_of(member(*body, "joins"), put) && is_read;
  }
  if (!is_read) log_.debug("presence", "a frame that can be read in part only");
  if (people.empty()) buckets_.erase(it);
  // The server follows this bucket from now on: what was said of it before the actor had it was in vain.
  const auto mine = tracked_.find(*bucket);
  if (is_state && mine != tracked_.end()) say(effects, mine->first, mine->second);
  effects.emplace_back(PresenceChanged{std::string(*bucket)});
}

std::vector<Presence> PresenceBoard::there(std::string_view bucket) const {
  std::vector<Presence> all;
  const std::lock_guard lock(mutex_);
  const auto it = buckets_.find(bucket);
  if (it == buckets_.end() || hidden_.contains(bucket)) return all;
  all.reserve(it->second.size());
  for (const auto& [key, payload] : it->second) all.push_back({key.user, key.ref, payload});
  return all;
}

}  // namespace nizhal::client
