// Whether other instances of the engine serve the same database. An instance that does not hear them says so once: what
// they commit reaches its devices with the next look, and who is present there is not seen here.
//
// The fact that must not break: an instance is seen for as long as it lives, and no longer. So it is an advisory lock
// of a session of its own that tells of it, which goes with its process.
//
// Threads: belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <nizhal/result.hpp>

#include "base/log.hpp"
#include "postgres/connection.hpp"

namespace nizhal::realtime {

/// The lock that every instance shares: of the domain with this class of locks. No program has a reason to take it.
constexpr std::int64_t instances_key(std::int32_t lock_class) {
  constexpr std::int64_t kNizhal = 0x6e697a68;  // "nizh"
  return kNizhal << 32 | lock_class;
}

class InstanceWatch {
 public:
  /// `url`: a direct connection. Connects with the first look.
  InstanceWatch(std::string url, std::int64_t key, Log log);

  /// How many others there are; from now on they see this one. Says so in the log the first time that there is one.
  /// Blocks on the database.
  Result<std::size_t> look();

 private:
  const postgres::ConnectOptions options_;
  const std::int64_t key_;
  const Log log_;
  std::unique_ptr<postgres::Connection> connection_;
  bool has_warned_ = false;
};

}  // namespace nizhal::realtime
