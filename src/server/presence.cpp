#include "server/presence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/bytes.hpp"
#include "base/json.hpp"

namespace nizhal::server {
namespace {

using std::chrono::microseconds;

constexpr std::string_view kTrack = "presence:track:", kUntrack = "presence:untrack:",
                           kHeartbeat = "presence:heartbeat:";
/// Of the bookkeeping for one connection in one bucket: the nodes of its maps.
constexpr std::size_t kEntryBytes = 256;
/// How often everybody is looked at for who stopped beating.
constexpr std::chrono::seconds kSweepInterval{1};
/// The list is not told anew more often, however often it is asked for.
constexpr std::chrono::seconds kRepeatMin{1};

std::string new_instance(Random& random) {
  std::array<std::uint8_t, 8> bytes{};
  random.fill(bytes);
  return to_hex(bytes);
}

/// `{"presence_ref":ref,…payload}`: a payload's own member of that name says nothing.
std::string entry_json(std::string_view ref, const json::object& payload) {
  std::string text = R"({"presence_ref":)";
  append_json_string(text, ref);
  for (const auto& [name, value] : payload) {
    if (name == "presence_ref") continue;
    text += ',';
    append_json_string(text, name);
    text += ':';
    text += to_text(value);
  }
  return text + "}";
}

/// `{user:[entry,…],…}` of entries that come in the order of users.
class ByUser {
 public:
  void add(const std::string& user, std::string_view entry) {
    if (text_.empty() || user != user_) {
      if (!text_.empty()) text_ += "],";
      append_json_string(text_, user);
      text_ += ":[";
      user_ = user;
    } else {
      text_ += ',';
    }
    text_ += entry;
  }
  std::size_t size() const { return text_.size(); }
  std::string take() {
    if (text_.empty()) return "{}";
    return "{" + std::exchange(text_, {}) + "]}";
  }

 private:
  std::string text_, user_;
};

std::string state_frame(std::string_view bucket, ByUser& state) {
  std::string text = R"(presence:state:{"bucket":)";
  append_json_string(text, bucket);
  return text + R"(,"state":)" + state.take() + "}";
}

std::string diff_frame(std::string_view bucket, ByUser& joins, ByUser& leaves) {
  std::string text = R"(presence:diff:{"bucket":)";
  append_json_string(text, bucket);
  return text + R"(,"joins":)" + joins.take() + R"(,"leaves":)" + leaves.take() + "}";
}

}  // namespace

Presence::Presence(Clock& clock, Random& random, const Limits& limits, Log log, realtime::Realtime* realtime, Wake wake,
                   PresencePace pace)
    : clock_(clock),
      limits_(limits),
      pace_(pace),
      log_(std::move(log)),
      realtime_(realtime),
      wake_(std::move(wake)),
      instance_(new_instance(random)) {}

std::size_t Presence::size() const {
  const std::lock_guard lock(mutex_);
  return entries_;
}

std::size_t Presence::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

PresenceFigures Presence::figures() const {
  const std::lock_guard lock(mutex_);
  PresenceFigures figures = figures_;
  figures.present = entries_;
  figures.bytes = bytes_;
  return figures;
}

// Streams

void Presence::opened(StreamId stream, const std::string& user_id, std::shared_ptr<StreamPeer> peer) {
  const auto id = static_cast<std::uint64_t>(stream);
  const std::lock_guard lock(mutex_);
  Stream& opened = streams_[id];
  opened.user = user_id;
  opened.ref = fmt::format("{}-{:x}", instance_, id);
  opened.peer = std::move(peer);
}

void Presence::buckets_changed(StreamId stream, const std::set<std::string>& before, const std::set<std::string>& now) {
  const auto id = static_cast<std::uint64_t>(stream);
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& changed = found->second;
  for (const std::string& key : before) {
    if (now.contains(key)) continue;
    // It follows the bucket no more when the others are told that it left.
    changed.behind.erase(key);
    if (const auto bucket = buckets_.find(key); bucket != buckets_.end()) bucket->second.followers.erase(id);
    untrack(changed, key);
    if (const auto bucket = buckets_.find(key); bucket != buckets_.end()) forget_if_empty(bucket);
  }
  for (const std::string& key : now) {
    if (before.contains(key)) continue;
    buckets_[key].followers.insert(id);
    changed.behind[key] = std::nullopt;
    behind_.insert(id);
    want_flush();
  }
}

void Presence::closed(StreamId stream) {
  const auto id = static_cast<std::uint64_t>(stream);
  const std::lock_guard lock(mutex_);
  streams_.erase(id);
  behind_.erase(id);
}

bool Presence::frame(StreamId stream, std::string_view text) {
  const std::string_view kind = text.starts_with(kTrack) ? kTrack : text.starts_with(kUntrack) ? kUntrack : kHeartbeat;
  if (!text.starts_with(kind)) return false;
  const auto body = parse_json(text.substr(kind.size()));
  if (!body) return false;
  const auto bucket = string_member(*body, "bucket");
  if (!bucket) return false;
  const json::object* payload = nullptr;
  if (kind == kTrack) {
    const json::value* given = member(*body, "payload");
    payload = given ? given->if_object() : nullptr;
    if (!payload) return false;
    // What others could not read inside of a state would hide the whole bucket from them.
    const std::string written = to_text(*given);
    if (written.size() > limits_.presence_payload_bytes_max || !is_json(written, kJsonValueDepthMax)) return false;
  }

  const std::string key(*bucket);
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(static_cast<std::uint64_t>(stream));
  if (found == streams_.end()) return true;
  Stream& sender = found->second;
  const auto it = buckets_.find(key);
  if (it == buckets_.end() || !it->second.followers.contains(found->first)) return true;
  if (kind == kUntrack) {
    untrack(sender, key);
    return true;
  }
  const Key name{sender.user, sender.ref};
  const auto present = it->second.present.find(name);
  if (kind == kHeartbeat) {
    if (present != it->second.present.end()) present->second.heard = clock_.monotonic();
    return true;
  }
  if (present == it->second.present.end() && sender.tracked.size() >= limits_.presence_per_stream_max) {
    ++figures_.refused;
    return true;
  }
  const std::string before = present == it->second.present.end() ? std::string() : present->second.json;
  put(key, name, {.json = entry_json(sender.ref, *payload), .instance = {}, .heard = clock_.monotonic()});
  const auto after = it->second.present.find(name);
  if (after == it->second.present.end()) return true;
  sender.tracked.insert(key);
  if (after->second.json != before) {
    ++figures_.tracked;
    tell_join(key, name, after->second.json);
  }
  return true;
}

void Presence::untrack(Stream& stream, const std::string& bucket) {
  if (stream.tracked.erase(bucket) == 0) return;
  const Key key{stream.user, stream.ref};
  if (const auto it = buckets_.find(bucket); it != buckets_.end()) remove(it, key);
  tell_leave(bucket, key);
}

// Buckets

void Presence::put(const std::string& bucket_key, const Key& key, Entry entry) {
  const auto it = buckets_.try_emplace(bucket_key).first;
  Bucket& bucket = it->second;
  const auto found = bucket.present.find(key);
  const bool is_new = found == bucket.present.end();
  if (!is_new && found->second.instance != entry.instance) return;
  if (!is_new && found->second.json == entry.json) {
    found->second.heard = entry.heard;
    return;
  }
  const std::size_t more = is_new
                               ? kEntryBytes + bucket_key.size() + key.user.size() + key.ref.size() + entry.json.size()
                               : entry.json.size();
  const std::size_t less = is_new ? 0 : found->second.json.size();
  if (more > less && bytes_ + (more - less) > limits_.presence_bytes_max) {
    ++figures_.refused;
    if (!std::exchange(is_full_, true))
      log_.warning("presence", fmt::format("{} connections are present, as many as fit into {} bytes: nobody new is "
                                           "shown until some of them leave",
                                           entries_, limits_.presence_bytes_max));
    if (!is_new) found->second.heard = entry.heard;
    forget_if_empty(it);
    return;
  }
  note_change(bucket_key, bucket, key);
  bytes_ += more;
  bytes_ -= less;
  if (is_new) ++entries_;
  bucket.present[key] = std::move(entry);
}

void Presence::remove(Buckets::iterator it, const Key& key) {
  Bucket& bucket = it->second;
  const auto found = bucket.present.find(key);
  if (found == bucket.present.end()) return;
  note_change(it->first, bucket, key);
  bytes_ -= kEntryBytes + it->first.size() + key.user.size() + key.ref.size() + found->second.json.size();
  --entries_;
  if (bytes_ < limits_.presence_bytes_max / 10 * 9) is_full_ = false;
  bucket.present.erase(found);
  // Nobody had heard of it: there is nothing to tell.
  if (const auto change = bucket.changed.find(key); change != bucket.changed.end() && !change->second)
    bucket.changed.erase(change);
  forget_if_empty(it);
}

void Presence::note_change(const std::string& key, Bucket& bucket, const Key& entry) {
  if (bucket.followers.empty()) return;
  const auto present = bucket.present.find(entry);
  bucket.changed.try_emplace(
      entry, present == bucket.present.end() ? std::nullopt : std::optional<std::string>(present->second.json));
  changed_buckets_.insert(key);
  want_flush();
}

void Presence::forget_if_empty(Buckets::iterator it) {
  if (!it->second.followers.empty()) return;
  it->second.changed.clear();
  changed_buckets_.erase(it->first);
  if (it->second.present.empty()) buckets_.erase(it);
}

// Time

void Presence::tick() {
  const std::lock_guard lock(mutex_);
  const Time now = clock_.monotonic();
  if (now - swept_at_ >= kSweepInterval) {
    swept_at_ = now;
    evict();
  }
  repeat_list();
}

void Presence::evict() {
  const Time now = clock_.monotonic();
  const auto is_stale = [&](const Entry& entry) { return now - entry.heard > limits_.presence_timeout; };
  std::vector<std::pair<std::string, Key>> gone;
  for (const auto& [bucket_key, bucket] : buckets_)
    for (const auto& [key, entry] : bucket.present)
      if (!entry.instance.empty() && is_stale(entry)) gone.emplace_back(bucket_key, key);
  for (const auto& [bucket_key, key] : gone)
    if (const auto it = buckets_.find(bucket_key); it != buckets_.end()) remove(it, key);
  figures_.evicted += gone.size();
  for (auto& [id, stream] : streams_) {
    std::vector<std::string> silent;
    for (const std::string& bucket_key : stream.tracked) {
      const auto it = buckets_.find(bucket_key);
      if (it == buckets_.end()) continue;
      const auto entry = it->second.present.find({stream.user, stream.ref});
      if (entry != it->second.present.end() && is_stale(entry->second)) silent.push_back(bucket_key);
    }
    for (const std::string& bucket_key : silent) untrack(stream, bucket_key);
    figures_.evicted += silent.size();
  }
}

// Frames out

void Presence::want_flush() {
  if (std::exchange(wake_wanted_, true)) return;
  // Else the next tick brings it.
  if (!flushed_at_ || clock_.monotonic() - *flushed_at_ >= pace_.flush_gap) wake_(weak_from_this());
}

bool Presence::has_room(const Stream& stream, std::size_t bytes) const {
  const std::size_t waiting = stream.peer->waiting_bytes();
  return waiting == 0 || waiting + bytes <= pace_.waiting_bytes;
}

void Presence::send_changes() {
  for (const std::string& key : std::exchange(changed_buckets_, {})) {
    const auto it = buckets_.find(key);
    if (it == buckets_.end()) continue;
    Bucket& bucket = it->second;
    std::vector<std::string> frames;
    ByUser joins, leaves;
    bool is_empty = true;
    const auto finish = [&] {
      if (!std::exchange(is_empty, true)) frames.push_back(diff_frame(key, joins, leaves));
    };
    for (const auto& [name, before] : bucket.changed) {
      const auto now = bucket.present.find(name);
      const bool is_here = now != bucket.present.end();
      if (is_here ? before == now->second.json : !before) continue;
      const std::string& entry = is_here ? now->second.json : *before;
      if (joins.size() + leaves.size() + entry.size() > pace_.frame_bytes) finish();
      (is_here ? joins : leaves).add(name.user, entry);
      is_empty = false;
    }
    finish();
    bucket.changed.clear();
    for (const std::uint64_t id : bucket.followers) {
      Stream& stream = streams_.at(id);
      const auto behind = stream.behind.find(key);
      // Its whole state is still to come, and says this too.
      if (behind != stream.behind.end() && !behind->second) continue;
      for (const std::string& frame : frames) {
        if (!has_room(stream, frame.size())) {
          stream.behind[key] = std::nullopt;
          behind_.insert(id);
          ++figures_.late;
          break;
        }
        stream.peer->send(frame);
        ++figures_.told;
      }
    }
  }
}

void Presence::send_states() {
  for (auto next = behind_.begin(); next != behind_.end();) {
    const auto current = next++;
    Stream& stream = streams_.at(*current);
    while (!stream.behind.empty() && has_room(stream, pace_.frame_bytes)) {
      const auto behind = stream.behind.begin();
      const auto& present = buckets_.at(behind->first).present;
      const bool is_first = !behind->second;
      auto entry = is_first ? present.begin() : present.upper_bound(*behind->second);
      ByUser state, nobody;
      bool is_empty = true;
      while (entry != present.end() && (is_empty || state.size() + entry->second.json.size() <= pace_.frame_bytes)) {
        state.add(entry->first.user, entry->second.json);
        behind->second = entry->first;
        is_empty = false;
        ++entry;
      }
      if (is_first)
        stream.peer->send(state_frame(behind->first, state));
      else if (!is_empty)
        stream.peer->send(diff_frame(behind->first, state, nobody));
      if (is_first || !is_empty) ++figures_.told;
      if (entry == present.end()) stream.behind.erase(behind);
    }
    if (stream.behind.empty()) behind_.erase(current);
  }
}

bool Presence::wants_flush() const {
  const std::lock_guard lock(mutex_);
  return !changed_buckets_.empty() || !behind_.empty() || !untold_.empty();
}

void Presence::flush() {
  {
    const std::lock_guard lock(mutex_);
    wake_wanted_ = false;
    flushed_at_ = clock_.monotonic();
    send_changes();
    send_states();
  }
  tell_others();
}

void Presence::tell_others() {
  {
    const std::lock_guard lock(mutex_);
    if (untold_.empty() || std::exchange(is_telling_, true)) return;
  }
  for (;;) {
    realtime::Message message;
    {
      const std::lock_guard lock(mutex_);
      message.presence = std::exchange(untold_, {});
      untold_bytes_ = 0;
      if (message.presence.empty()) {
        is_telling_ = false;
        return;
      }
    }
    realtime_->tell(std::move(message));
  }
}

// The other instances

bool Presence::tells_others() const { return realtime_ && !is_ending_ && realtime_->reaches_others(); }

void Presence::tell(PresenceMessage message) {
  if (!tells_others()) return;
  if (untold_bytes_ > pace_.untold_bytes_max) {
    repeat_at_ = clock_.monotonic() + kRepeatMin;
    return;
  }
  message.from = instance_;
  for (std::string& text : encode_presence(message, pace_.message_bytes)) {
    untold_bytes_ += text.size();
    untold_.push_back(std::move(text));
  }
  want_flush();
}

void Presence::tell_join(const std::string& bucket, const Key& key, const std::string& entry) {
  tell({.from = {}, .joins = {{.bucket = bucket, .user = key.user, .ref = key.ref, .entry = entry}}});
}

void Presence::tell_leave(const std::string& bucket, const Key& key) {
  tell({.from = {}, .leaves = {{.bucket = bucket, .user = key.user, .ref = key.ref}}});
}

void Presence::repeat_list() {
  if (!tells_others()) {
    repeat_at_.reset();
    repeat_after_.reset();
    return;
  }
  const Time now = clock_.monotonic();
  if (!repeat_at_) {
    tell({.from = {}, .kind = PresenceMessage::Kind::ask});
    repeat_at_ = now;
  }
  if (!repeat_after_ && *repeat_at_ <= now) {
    repeat_after_ = 0;
    repeat_at_ = now + pace_.repeat_interval;
  }
  if (!repeat_after_) return;
  PresenceMessage list;
  std::size_t bytes = 0;
  auto stream = streams_.upper_bound(*repeat_after_);
  for (; stream != streams_.end() && bytes < pace_.repeat_bytes; ++stream) {
    const Key key{stream->second.user, stream->second.ref};
    for (const std::string& bucket : stream->second.tracked) {
      const std::string& entry = buckets_.at(bucket).present.at(key).json;
      bytes += entry.size() + bucket.size() + key.user.size();
      list.joins.push_back({.bucket = bucket, .user = key.user, .ref = key.ref, .entry = entry});
    }
    repeat_after_ = stream->first;
  }
  if (stream == streams_.end()) repeat_after_.reset();
  if (!list.joins.empty()) tell(std::move(list));
}

void Presence::heard(const std::vector<std::string>& messages) {
  for (const std::string& text : messages) {
    if (const auto message = decode_presence(text)) {
      const std::lock_guard lock(mutex_);
      hear(*message);
    } else {
      log_.debug("presence", "another instance said what this one does not know: " + text.substr(0, 100));
    }
  }
}

void Presence::hear(const PresenceMessage& message) {
  if (message.from == instance_) return;
  const Time now = clock_.monotonic();
  if (message.kind == PresenceMessage::Kind::ask) {
    if (repeat_at_) repeat_at_ = std::min(*repeat_at_, now + kRepeatMin);
    return;
  }
  if (message.kind == PresenceMessage::Kind::gone) {
    std::vector<std::pair<std::string, Key>> gone;
    for (const auto& [bucket_key, bucket] : buckets_)
      for (const auto& [key, entry] : bucket.present)
        if (entry.instance == message.from) gone.emplace_back(bucket_key, key);
    for (const auto& [bucket_key, key] : gone)
      if (const auto it = buckets_.find(bucket_key); it != buckets_.end()) remove(it, key);
    return;
  }
  for (const auto& leave : message.leaves) {
    const auto it = buckets_.find(leave.bucket);
    if (it == buckets_.end()) continue;
    const Key key{leave.user, leave.ref};
    const auto entry = it->second.present.find(key);
    if (entry != it->second.present.end() && entry->second.instance == message.from) remove(it, key);
  }
  for (const auto& join : message.joins)
    put(join.bucket, {join.user, join.ref}, {.json = join.entry, .instance = message.from, .heard = now});
}

void Presence::missed() {
  const std::lock_guard lock(mutex_);
  repeat_at_.reset();  // with the next tick: ask, and tell
}

void Presence::begin_shutdown() {
  const std::lock_guard lock(mutex_);
  if (is_ending_) return;
  const bool has_to_tell = tells_others();
  tell({.from = {}, .kind = PresenceMessage::Kind::gone});
  is_ending_ = true;
  if (has_to_tell) wake_(weak_from_this());
}

}  // namespace nizhal::server
