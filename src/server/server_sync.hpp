// The server core: requests in, answers out. It is given its Clock, Random, Executor and Storage; sockets, threads
// and real time live in net/. This file's switch is the only place where the stages (push, pull, poke) meet.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/conflict.hpp>
#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "base/log.hpp"
#include "base/timers.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/transport.hpp"
#include "realtime/realtime.hpp"
#include "server/authenticator.hpp"
#include "server/limits.hpp"
#include "server/stream.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

struct ServerOutside {
  Clock& clock;
  Random& random;
  Executor& executor;  // pokes are handed out here, outside the request's path
  storage::Storage& storage;
  const Authenticator& authenticator;
  Log log;
  realtime::Realtime* realtime = nullptr;  // to the other instances; none: there are no others
  Timers* timers = nullptr;                // none: pulls do not wait for others to come
  /// After the commit, for each edit that lost; on the thread of the push. What it throws is logged.
  std::function<void(const ReportedConflict&)> on_conflict = {};
};

class ServerSync {
 public:
  ServerSync(std::shared_ptr<const CompiledDomain> domain, ServerOutside outside, Limits limits);
  ~ServerSync();

  /// Any request but the stream's upgrade. Thread-safe; blocks on storage only. Never throws.
  protocol::HttpResponse handle(const protocol::HttpRequest& request);
  /// True for what is answered from memory (healthz, contract): need not wait for a worker.
  bool is_immediate(const protocol::HttpRequest& request) const;

  /// A pull that is probably told nothing new waits for that together with others, and holds no thread. True: `answer`
  /// is called once, on a thread of the executor; with nothing, the request is to be handled as any other. False: it is
  /// to be handled at once, and `answer` is never called. Thread-safe; never blocks, never throws.
  bool try_defer(const protocol::HttpRequest& request,
                 std::function<void(std::optional<protocol::HttpResponse>)> answer);

  /// Checks a request for /sync/stream: an answer to send instead of the upgrade (401, 403, …), or nothing.
  struct StreamTicket;
  tl::expected<std::shared_ptr<StreamTicket>, protocol::HttpResponse> authorize_stream(
      const protocol::HttpRequest& request);
  /// After the upgrade. Frames may be sent to `peer` from then on, also before this returns.
  StreamId open_stream(std::shared_ptr<StreamTicket> ticket, std::shared_ptr<StreamPeer> peer);
  void stream_frame(StreamId stream, std::string_view text);
  void close_stream(StreamId stream);

  /// Background work, called about every `limits.look_interval`: looks for commits of other programs and pokes,
  /// closes streams whose credential expired, learns since which contract version clients may write.
  void tick();
  /// Prunes what is older than the retention, and logs what went and what did not work; called every
  /// `limits.gc_interval`. May take long: not on a thread that requests wait for.
  Result<storage::GcReport> gc();
  /// From now on requests that write are answered 503.
  void begin_shutdown();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::server
