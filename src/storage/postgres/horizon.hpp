// Where the database stands (S12), read for everybody who waits: like group commit, one reads and the others share it.
//
// The facts that must not break: nobody is given a read that began before it asked; and no horizon is handed out that
// rests on a version which a crash of the database could hand out again.
//
// Threads: thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "base/log.hpp"
#include "postgres/connection.hpp"
#include "storage/storage.hpp"

namespace nizhal::storage::pg {

/// nizhal.horizon() as it was answered.
struct Standing {
  std::string epoch;
  Version last{};
  Version settled{};
  bool durable = false;  // no crash takes `last` back
  Version pruned_through{};
  std::string min_client_version;
  std::vector<std::string> writers;  // "pid:virtualtransaction" of those who hold a bound
};
extern const char* const kStandingSql;
Standing standing_from(const postgres::Rows& rows);

struct HorizonOptions {
  postgres::ConnectOptions connect;
  /// A transaction that holds its bound for longer is reported in the log, once.
  std::chrono::milliseconds report_after{300'000};
  /// How long a caller waits for others' reads before its own. With that, it is over well before a request's time is.
  std::chrono::milliseconds wait_max{2'000};
};

class Horizon {
 public:
  Horizon(HorizonOptions options, Log log) : options_(std::move(options)), log_(std::move(log)) {}

  /// Read after the call began, and durable.
  Result<Position> read();
  /// Ends the read under way, which then fails with `busy`.
  void cancel();
  /// Reads of the database so far, and callers that wait for one.
  std::uint64_t reads() const;
  std::size_t waiting() const;

 private:
  struct Holder {
    std::chrono::steady_clock::time_point since;
    bool reported = false;
  };
  Result<Position> read_database();
  Result<Standing> ask();
  Result<std::shared_ptr<postgres::Connection>> connection(bool& is_new);
  void drop_connection();
  void report_old_bounds(postgres::Connection& connection, const Standing& standing);

  const HorizonOptions options_;
  const Log log_;

  mutable std::mutex mutex_;
  std::condition_variable finished_one_;
  bool is_reading_ = false;
  std::size_t waiting_ = 0;
  std::uint64_t begun_ = 0, finished_ = 0;
  Result<Position> newest_ = failure(ErrorCode::busy, "nothing was read yet");

  std::mutex connection_mutex_;
  std::shared_ptr<postgres::Connection> connection_;

  // Of the one who reads.
  std::string epoch_;
  Version durable_{};  // no version up to here is ever handed out again in this epoch
  Version settled_{};  // the highest horizon so far: what is settled stays so
  std::map<std::string, Holder, std::less<>> holders_;
};

}  // namespace nizhal::storage::pg
