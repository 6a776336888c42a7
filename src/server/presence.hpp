// Presence: who is in a bucket at the moment, told to everybody who has that bucket. Nothing of it is stored.
//
// Place beside the loop: frames of streams in, frames to streams out; joins and leaves to the other instances by
// realtime. It is best effort: a connection that stops beating, and an instance that falls silent, are gone after
// `presence_timeout`.
//
// The fact that must not break: a stream is told of a bucket only while it has it. So frames go out by flush() only,
// which is called after the poker has looked what the actors have, and a stream that loses a bucket leaves it here too.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "realtime/realtime.hpp"
#include "server/limits.hpp"
#include "server/presence_messages.hpp"
#include "server/stream.hpp"

namespace nizhal::server {

/// How presence is spread over time and frames.
struct PresencePace {
  std::size_t frame_bytes = 16 << 10;       // of a state or diff; longer ones are told in several
  std::size_t waiting_bytes = 32 << 10;     // of a peer, beyond which it is told later: half of what closes it
  std::chrono::milliseconds flush_gap{50};  // between two flushes; what comes in between goes out together
  std::chrono::milliseconds repeat_interval{10'000};  // of the whole list to the other instances
  std::size_t repeat_bytes = 64 << 10;                // of it at one tick, so that a long list is spread
  std::size_t message_bytes = 3'000;       // about, of one message to the others: two fit into a notification
  std::size_t untold_bytes_max = 1 << 20;  // for the others; beyond it they learn of it by the list
};

/// Since the start, but for `present` and `bytes`.
struct PresenceFigures {
  std::size_t present = 0;    // connections, of all instances that are known
  std::size_t bytes = 0;      // memory that is held for them, roughly
  std::uint64_t tracked = 0;  // times a connection of this instance came, or showed something else
  std::uint64_t told = 0;     // frames to streams
  std::uint64_t late = 0;     // times a stream that reads slowly was left for later
  std::uint64_t evicted = 0;  // connections that fell silent, or whose instance did
  std::uint64_t refused = 0;  // times there was no room for one
};

class Presence : public StreamFollower, public std::enable_shared_from_this<Presence> {
 public:
  /// flush() is to be called soon, if it still lives, and not by the caller itself.
  using Wake = std::function<void(std::weak_ptr<Presence>)>;
  /// `realtime`: none when there are no other instances.
  Presence(Clock& clock, Random& random, const Limits& limits, Log log, realtime::Realtime* realtime, Wake wake,
           PresencePace pace = {});

  // Of the poker
  void opened(StreamId stream, const std::string& user_id, std::shared_ptr<StreamPeer> peer) override;
  void buckets_changed(StreamId stream, const std::set<std::string>& before, const std::set<std::string>& now) override;
  void closed(StreamId stream) override;

  /// A frame that begins with "presence:". False when it means nothing. One about a bucket that the stream does not
  /// have, or beyond the limits, is none's fault and changes nothing.
  bool frame(StreamId stream, std::string_view text);
  /// What other instances said (realtime::Message::presence). Does not block.
  void heard(const std::vector<std::string>& messages);
  /// Something that they said may have been lost.
  void missed();

  /// Some times a second: whoever stopped beating leaves, and what is due is told to the other instances.
  void tick();
  /// There is something to be said.
  bool wants_flush() const;
  /// Sends what is to be said. After the poker made the streams' buckets fit, else nobody is told anything.
  void flush();
  /// The part of it that goes to the other instances, which look for themselves.
  void tell_others();
  /// This instance ends: the others need not wait until its connections time out.
  void begin_shutdown();

  /// Connections that are present, of all instances that are known.
  std::size_t size() const;
  /// Memory that is held for them, roughly.
  std::size_t bytes() const;
  PresenceFigures figures() const;

 private:
  using Time = std::chrono::microseconds;
  struct Key {
    std::string user, ref;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    std::string json;      // {"presence_ref": …, …payload}
    std::string instance;  // empty: this one
    Time heard{0};         // its last beat, or when its instance last said so
  };
  struct Bucket {
    std::map<Key, Entry> present;
    std::set<std::uint64_t> followers;
    std::map<Key, std::optional<std::string>> changed;  // → what the followers last heard of it
  };
  struct Stream {
    std::string user, ref;
    std::shared_ptr<StreamPeer> peer;
    std::set<std::string> tracked;
    std::map<std::string, std::optional<Key>> behind;  // buckets whose state is to be told, and after which entry
  };
  using Buckets = std::map<std::string, Bucket>;

  // With the mutex held
  void put(const std::string& bucket, const Key& key, Entry entry);
  void remove(Buckets::iterator bucket, const Key& key);
  void untrack(Stream& stream, const std::string& bucket);
  void note_change(const std::string& key, Bucket& bucket, const Key& entry);
  void forget_if_empty(Buckets::iterator bucket);
  void hear(const PresenceMessage& message);
  void tell_join(const std::string& bucket, const Key& key, const std::string& entry);
  void tell_leave(const std::string& bucket, const Key& key);
  void tell(PresenceMessage message);
  void repeat_list();
  void evict();
  void send_changes();
  void send_states();
  bool has_room(const Stream& stream, std::size_t bytes) const;
  bool tells_others() const;
  /// Asks for a flush, soon.
  void want_flush();

  Clock& clock_;
  const Limits limits_;
  const PresencePace pace_;
  const Log log_;
  realtime::Realtime* const realtime_;
  const Wake wake_;
  const std::string instance_;

  mutable std::mutex mutex_;
  Buckets buckets_;
  std::map<std::uint64_t, Stream> streams_;
  std::set<std::string> changed_buckets_;
  std::set<std::uint64_t> behind_;  // streams that are to be told a state
  std::size_t bytes_ = 0, entries_ = 0;
  PresenceFigures figures_;  // what is counted
  bool is_full_ = false;     // and the log has been told
  bool wake_wanted_ = false;
  std::optional<Time> flushed_at_;
  Time swept_at_{0};

  // To the other instances
  std::vector<std::string> untold_;
  std::size_t untold_bytes_ = 0;
  bool is_telling_ = false;  // one thread at a time, so that they hear it in order
  bool is_ending_ = false;
  std::optional<Time> repeat_at_;              // the next round of the list; nothing: never told yet
  std::optional<std::uint64_t> repeat_after_;  // a round is under way: streams after this one
};

}  // namespace nizhal::server
