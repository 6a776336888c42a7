// What SQLite asks its operating system for besides files, answered by a simulation: the time (strftime('now') in the
// engine's triggers), random numbers (random(), salts of the write-ahead log), waiting for locks, and where its
// temporary files are.
//
// The fact that must not break: the same answers in, the same bytes in every file out.
#pragma once

#include <functional>
#include <string>

#include <nizhal/value.hpp>

#include "base/environment.hpp"

namespace nizhal::sim {

/// While it lives, SQLite has its time and random numbers from here in all that this thread does, and waits for
/// nothing: who finds a lock taken is told `busy` at once, as if its patience had passed. One at a time; in several
/// threads at once only the time is the thread's own, as SQLite has one generator of random numbers.
class SqliteOutside {
 public:
  /// `random` is drawn from when SQLite first needs it; give it a generator that nothing else draws from. SQLite draws
  /// the names of its temporary files from it, too: two simulations of one seed at once would take them from each other
  /// in a folder of both, so they are made in `folder`, of this one alone.
  SqliteOutside(std::function<Timestamp()> now, Random& random, const std::string& folder);
  ~SqliteOutside();
  SqliteOutside(const SqliteOutside&) = delete;
  SqliteOutside& operator=(const SqliteOutside&) = delete;

  Timestamp now() const { return now_(); }
  Random& random() const { return random_; }

 private:
  const std::function<Timestamp()> now_;
  Random& random_;
};

}  // namespace nizhal::sim
