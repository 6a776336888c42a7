// A server core on PostgreSQL in this process, senders that know what was acknowledged to them, and devices that pull.
// What every test here asserts at the end: each mutation's row is there exactly once, nothing was refused for good, and
// no answer quotes SQL, a parameter or the database.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <deque>
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
#include "domain/compiled_domain.hpp"
#include "protocol/transport.hpp"
#include "server/server_sync.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::testing {

/// Is part of every row's text, and must be part of no answer to a push.
inline constexpr std::string_view kSecretText = "parameter-7f3a9c";

/// The database that a URL names.
std::string database_of(const std::string& url);

/// Called from mutators at named places ("begin", "middle", "end"); any thread. Empty: nothing happens.
void set_hook(std::function<void(std::string_view place)> hook);

/// Runs what it is given when told to.
class WaitingExecutor : public Executor {
 public:
  void post(std::function<void()> work) override {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  void run_all();

 private:
  std::mutex mutex_;
  std::deque<std::function<void()>> queue_;
};

/// Entries and a total of each owner, in one static bucket per owner. Mutators (all of them add one entry, id and text
/// given, and count it in the owner's total or in one that is named):
///   add       inserts, then reads and updates the total
///   addOnly   only inserts
///   search    looks whether the text is there by a search, then inserts
///   both      locks the totals "a" and "b" in the order that `text` begins with ("ab", "ba"), then inserts
std::shared_ptr<const CompiledDomain> failure_domain();

class Host {
 public:
  /// Opens the storage and provisions it; `change` may alter its options first.
  explicit Host(std::string url, const std::function<void(storage::PostgresStorageOptions&)>& change = {},
                server::Limits limits = {});
  ~Host();

  /// Fails the test when an answer says more than it may.
  protocol::HttpResponse post(std::string_view path, const std::string& owner, std::string body);
  storage::Storage& storage() { return *storage_; }
  server::ServerSync& server() { return *server_; }
  std::string log();
  /// Commits are told to other stages as they are in a running server.
  void tick();

 private:
  WaitingExecutor executor_;
  server::JwtAuthenticator authenticator_;
  std::mutex log_mutex_;
  std::string log_;
  std::unique_ptr<storage::Storage> storage_;
  std::unique_ptr<server::ServerSync> server_;
};

/// A device that writes: sends its mutations in order and again until each was acknowledged.
class Sender {
 public:
  /// Its entries are called NAME-1, NAME-2, …; an owner may have several senders.
  explicit Sender(std::string name, std::string owner = {});
  const std::string& owner() const { return owner_; }

  void queue(std::string_view mutator, std::size_t count = 1, std::string_view text = {});
  /// One request with all that is not acknowledged, at most `batch`. False: something has to be sent again.
  bool push(Host& host, std::size_t batch = 20);
  /// Until all is acknowledged; a bounded number of times.
  void push_all(Host& host, int requests_max = 200);
  bool is_done() const { return waiting_.empty(); }
  std::size_t acknowledged() const { return acknowledged_.size(); }
  /// Compares the database's rows with what was acknowledged: each is there, and nothing else is; and the owner's
  /// total counts each once, if this is its only sender.
  void expect_exactly_once(const std::string& url) const;
  const std::string& last_answer() const { return last_answer_; }

 private:
  struct Mutation {
    std::uint64_t id;
    std::string name, entry, text;
  };
  std::string name_, owner_, client_;
  std::uint64_t next_id_ = 1;
  std::deque<Mutation> waiting_;
  std::set<std::string> acknowledged_;
  std::size_t counted_ = 0;  // of these by `add`
  std::string last_answer_;
};

/// A device that reads.
class Reader {
 public:
  explicit Reader(std::string owner) : owner_(std::move(owner)) {}
  /// One complete pull. False: the server could not answer; what came is kept for the next one.
  bool pull(Host& host);
  const std::map<std::string, std::string>& entries() const { return entries_; }  // text by id
  int resets() const { return resets_; }
  /// What it has is what the database has.
  void expect_equal(const std::string& url) const;

 private:
  std::string owner_, cursor_;
  std::map<std::string, std::string> entries_;
  int resets_ = 0;
};

}  // namespace nizhal::testing
