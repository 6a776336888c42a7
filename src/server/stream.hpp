// One open /sync/stream as the server core sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace nizhal::server {

/// Implemented by whatever holds the socket; both calls are thread-safe and do not block.
class StreamPeer {
 public:
  virtual ~StreamPeer() = default;
  virtual void send(std::string frame) = 0;
  virtual void close(int code, std::string_view reason) = 0;
  /// Of frames that were sent and have not left yet. What can be said later is not sent to a peer that reads slowly.
  virtual std::size_t waiting_bytes() const { return 0; }
};
enum class StreamId : std::uint64_t {};

/// Follows which streams are open and which buckets each of them has. Called under the poker's lock, in order: must not
/// block, nor call the poker.
class StreamFollower {
 public:
  virtual ~StreamFollower() = default;
  virtual void opened(StreamId stream, const std::string& user_id, std::shared_ptr<StreamPeer> peer) = 0;
  virtual void buckets_changed(StreamId stream, const std::set<std::string>& before,
                               const std::set<std::string>& now) = 0;
  /// It has lost its buckets before.
  virtual void closed(StreamId stream) = 0;
};

}  // namespace nizhal::server
