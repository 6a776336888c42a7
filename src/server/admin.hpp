// The admin's endpoints: audit and stats, with a bearer password. Without one configured they do not exist.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/log.hpp"
#include "protocol/transport.hpp"
#include "realtime/realtime.hpp"
#include "server/counters.hpp"
#include "server/limits.hpp"
#include "server/presence.hpp"
#include "server/tail.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// What the other parts of this instance tell for /nizhal/stats.
struct LiveFigures {
  TailFigures tail = {};
  PresenceFigures presence = {};
  std::size_t streams = 0;
  std::uint64_t pokes = 0;                       // frames sent
  const realtime::Realtime* realtime = nullptr;  // none: this instance hears no others
};

class Admin {
 public:
  Admin(storage::Storage& storage, const Limits& limits, Log log, const Counters& counters)
      : storage_(storage), limits_(limits), log_(std::move(log)), counters_(counters) {}

  bool is_configured() const { return !limits_.admin_password.empty(); }
  /// Compared in constant time.
  bool is_password(std::string_view text) const;

  /// `?bucket=&actor=&sinceVersion=&untilVersion=&limit=`: rows in order of version, both versions inclusive. `actor`
  /// is a user id. Looks through at most `limits.audit_scan_max` rows; `scannedAll` tells whether that was all.
  protocol::HttpResponse audit(const protocol::HttpRequest& request);
  protocol::HttpResponse stats(const LiveFigures& live);

 private:
  storage::Storage& storage_;
  const Limits limits_;
  const Log log_;
  const Counters& counters_;
};

}  // namespace nizhal::server
