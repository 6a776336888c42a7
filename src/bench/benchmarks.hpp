// The benchmarks: each runs the engine as a real server process under a real load, and beside it, round by round, what
// limits it physically (design: a ratio in the same run on the same machine; an absolute figure proves nothing).
//
//   push        one mutation per request      beside pgbench with the same transaction, bare
//   push-batch  50 mutations per request      beside pgbench with 50 records and rows per transaction
//   bootstrap   all rows, page by page        beside COPY of row_to_json
//   idle-pull   nothing new, again and again  beside the same HTTP server with a constant answer of the same size
//   poke        a commit to the frame at a subscriber, beside an echo on the same server and the bare commit
//   fanout      queries of a commit with 1,000 subscribers that pull, beside one subscriber
//   sockets     memory of the server per idle socket, beside what is promised
//   live-order, live-fold, live-join          beside running the query again, after one row changed
//   mutate      one mutation on a device      beside the same two inserts through SQLite's C API
//   apply       pages into a device's rows    beside the same upserts through prepared statements
//   crdt-keystrokes, crdt-bulk, crdt-edit     a text of a long editing trace, beside yjs in node
//
// The fact that must not break: both sides do what they say, all of it, with the same durability. Every answer is
// checked; a wrong one ends the benchmark.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>

#include "base/environment.hpp"
#include "bench/statistics.hpp"

namespace nizhal::bench {

enum class Benchmark {
  push,
  push_batch,
  bootstrap,
  idle_pull,
  poke,
  fanout,
  sockets,
  live_order,
  live_fold,
  live_join,
  mutate,
  apply,
  crdt_keystrokes,
  crdt_bulk,
  crdt_edit
};
inline constexpr Benchmark kAllBenchmarks[] = {
    Benchmark::push,   Benchmark::push_batch, Benchmark::bootstrap,       Benchmark::idle_pull, Benchmark::poke,
    Benchmark::fanout, Benchmark::sockets,    Benchmark::live_order,      Benchmark::live_fold, Benchmark::live_join,
    Benchmark::mutate, Benchmark::apply,      Benchmark::crdt_keystrokes, Benchmark::crdt_bulk, Benchmark::crdt_edit};
const char* to_string(Benchmark benchmark);
std::optional<Benchmark> parse_benchmark(std::string_view name);
/// A live query on a device; `live` names all of them.
bool is_live(Benchmark benchmark);
/// Its limit is yjs in node; `crdt` names all of them.
bool is_of_crdt(Benchmark benchmark);
/// Its limit is one of PostgreSQL.
bool needs_postgres(Benchmark benchmark);

struct Options {
  std::string db;  // a PostgreSQL URL; empty: a SQLite file of its own
  std::size_t rounds = 5;
  std::size_t seconds = 5;     // of each side in each round
  std::size_t rows = 100'000;  // of a bootstrap, and under a live query
  std::size_t connections = 16;
  std::size_t sockets = 0;  // subscribers of a fan-out, and idle sockets; 0: 1,000 and 5,000
  std::size_t workers = 0;  // of the server: threads for storage work; 0: its own default
};

/// A server process on the server's core; it ends with the object.
class RunningServer {
 public:
  virtual ~RunningServer() = default;
  virtual std::uint16_t port() const = 0;
  /// Memory that is the process's own: not its program, not what it shares.
  virtual Result<std::uint64_t> memory_bytes() const = 0;
};
struct ServerOrder {
  std::string db =
      {};  // of the sync server: "sqlite:PATH" or a PostgreSQL URL; empty: a constant answer, and streams that echo
  std::string secret = {};  // of its tokens
  std::size_t workers = 0;
  std::size_t body_bytes = 0;  // of the constant answer
};

/// Processes and the machine, which the caller knows how to handle.
struct Outside {
  Random& random;
  Clock& clock;
  std::function<Result<std::unique_ptr<RunningServer>>(const ServerOrder&)> start_server;
  /// Runs a program to its end on the load's core; what it printed.
  std::function<Result<std::string>(std::vector<std::string> arguments,
                                    const std::vector<std::pair<std::string, std::string>>& environment)>
      run_program;
  std::function<void(std::string_view line)> progress;
  /// True: end as soon as possible, and leave nothing behind.
  std::function<bool()> is_interrupted;
  /// Where it runs: "cores", "server core", …
  std::vector<std::pair<std::string, std::string>> settings = {};
};

/// Leaves nothing behind, also when it fails.
Result<Figure> run_benchmark(Benchmark benchmark, const Options& options, const Outside& outside);

}  // namespace nizhal::bench
