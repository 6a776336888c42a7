// What server instances on one database tell each other: which buckets a commit changed, and who is present. Place in
// the loop: commit ▶ poker ▶ (realtime) ▶ the other instances' pokers.
//
// The fact that must not break: this is for speed only. Whatever is lost here is found by looking at the database
// (S23), so telling never fails a push, never waits, and never holds more than a bounded amount of memory.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <nizhal/result.hpp>

#include "base/ids.hpp"

namespace nizhal::realtime {

/// The keys of the buckets that a commit changed.
struct CommitNotice {
  Version version{};
  std::set<std::string> buckets;
};

struct Message {
  std::vector<CommitNotice> commits = {};
  std::vector<std::string> presence = {};  // what the server's presence has to say, as JSON objects
};

class Listener {
 public:
  virtual ~Listener() = default;
  /// Another instance said so; an instance never hears itself. Must not block; any thread, one call at a time.
  virtual void heard(Message message) = 0;
  /// Something may have been missed: look everywhere.
  virtual void missed() = 0;
};

/// What came and went since the start.
struct Stats {
  std::uint64_t told = 0;       // messages that this instance sent, in the parts in which they travel
  std::uint64_t heard = 0;      // parts of other instances' messages
  std::uint64_t ignored = 0;    // what came and was none of our messages
  std::uint64_t missed = 0;     // times that the listener was told to look everywhere
  std::uint64_t overflows = 0;  // times that more was to be told than could wait
};

/// Thread-safe.
class Realtime {
 public:
  virtual ~Realtime() = default;
  /// Messages come to `listener` from now on, until stop(). Called once, before anything is told.
  virtual void start(std::weak_ptr<Listener> listener) = 0;
  /// Never blocks. Best effort: what does not fit in the memory that is set aside for it is told as "missed".
  virtual void tell(Message message) = 0;
  /// Ends its threads; nothing is heard after it returned.
  virtual void stop() = 0;
  /// False: this instance is alone, or thinks that it is.
  virtual bool reaches_others() const = 0;
  virtual std::string describe() const = 0;  // for the log, without credentials
  virtual Stats stats() const { return {}; }
};

/// Joins the instances that live in one process: in tests, and in the simulator. An instance that is the only one on
/// its bus is told nothing. Calls the listeners on the telling thread.
class InProcessBus {
 public:
  InProcessBus();
  ~InProcessBus();
  std::unique_ptr<Realtime> join();

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace nizhal::realtime
