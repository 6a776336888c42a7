// Presence on the device: where this user is said to be, and who else is there as far as the server told.
//
// Place beside the loop: frames of the socket in, frames out. The fact that must not break: nothing here outlives the
// socket. When it is closed nobody is there, and when it is open again everything is said anew.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/store.hpp>

#include "base/log.hpp"
#include "client/client_sync.hpp"
#include "protocol/pull.hpp"

namespace nizhal::client {

class PresenceBoard {
 public:
  explicit PresenceBoard(Log log) : log_(std::move(log)) {}

  /// `payload` is a JSON object. Said at once when the socket is open, and again from time to time.
  void track(Effects& effects, const std::string& bucket, const std::string& payload);
  void untrack(Effects& effects, const std::string& bucket);

  /// Whether the socket is open; after each event of the machine.
  void socket_is(Effects& effects, bool open);
  /// A frame that begins with "presence:". What cannot be read is ignored.
  void heard(Effects& effects, std::string_view frame);
  void timer_fired(Effects& effects);
  /// What a pull told of the actor's buckets: of one that is lost, the server says nothing any more on the socket.
  void pulled(Effects& effects, const protocol::PullPage& page);

  /// By user and connection. Any thread.
  std::vector<Presence> there(std::string_view bucket) const;

 private:
  struct Key {
    std::string user, ref;
    auto operator<=>(const Key&) const = default;
  };
  using People = std::map<Key, std::string>;  // → payload

  void say(Effects& effects, const std::string& bucket, const std::string& payload) const;
  /// The next time that all is said again.
  void set_timer(Effects& effects) const;

  const Log log_;
  bool open_ = false;
  std::map<std::string, std::string, std::less<>> tracked_;  // bucket → payload

  mutable std::mutex mutex_;  // for what follows, which other threads read
  std::map<std::string, People, std::less<>> buckets_;
  // Lost, as a pull said. What is known of one is kept unseen: when the actor has it again, the socket may have told
  // the new state before the pull that hides the old one.
  std::set<std::string, std::less<>> hidden_;
  std::size_t bytes_ = 0;
  bool is_full_ = false;  // and the log has been told
};

}  // namespace nizhal::client
