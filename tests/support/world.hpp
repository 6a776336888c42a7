// A whole system in one thread: a server core over storage of either kind and any number of devices, with a clock that
// moves when told to, one seeded generator, and a network that is a function call and may lose requests and replies.
//
//   World w{seed, notes::domain()};
//   auto& a = w.device("a", {"u1", "o1"});
//   a.cut();  a.mutate("addNote", R"({"id":"n1","body":"x"})");  a.mend();  w.settle();
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/domain.hpp>

#include "base/environment.hpp"
#include "base/test_temp_dir.hpp"
#include "client/client_sync.hpp"
#include "client/local_store.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/transport.hpp"
#include "server/server_sync.hpp"
#include "storage/storage.hpp"
#include "tests/backends/backend.hpp"

namespace nizhal::testing {

class World;

/// Posted work waits here until the world runs it.
class QueueExecutor : public Executor {
 public:
  void post(std::function<void()> work) override { queue_.push_back(std::move(work)); }
  void run_all() {
    while (!queue_.empty()) {
      auto work = std::move(queue_.front());
      queue_.pop_front();
      work();
    }
  }

 private:
  std::deque<std::function<void()>> queue_;
};

class Device {
 public:
  Device(World& world, std::string name, Actor actor);
  ~Device();

  const std::string& name() const { return name_; }
  client::LocalStore& store() { return *store_; }
  /// Empty on success, else the error's message.
  std::string mutate(std::string_view mutator, std::string_view args);
  void cut();  // no network
  void mend();
  /// Closes the file and opens it again, as a killed and restarted app would.
  void restart();
  void request_sync();
  /// Opens the file again with this coverage.
  void set_coverage(Coverage coverage);
  void coverage_changed();  // after a subscribe or unsubscribe on its store
  /// Carries one waiting request to the server. False: nothing was waiting.
  bool deliver();
  bool is_idle() const { return requests_.empty() && !fetch_token_; }
  StoreStatus status() const { return sync_->status(); }
  /// Every visible row of a query, one text per row, in the query's order.
  std::vector<std::string> rows(std::string_view sql);
  std::uint64_t syncs_finished() const { return syncs_finished_; }
  void fire_due_timers();
  std::optional<std::chrono::microseconds> next_timer() const;
  void set_token(std::string token) { token_ = std::move(token); }

 private:
  void open();
  void handle(const client::Event& event);
  World& world_;
  std::string name_;
  Actor actor_;
  Coverage coverage_ = Coverage::everything;
  std::string token_;
  bool connected_ = true;
  bool fetch_token_ = false;
  std::unique_ptr<client::LocalStore> store_;
  std::unique_ptr<client::ClientSync> sync_;
  std::deque<client::SendRequest> requests_;
  std::map<client::TimerId, std::chrono::microseconds> timers_;
  std::uint64_t syncs_finished_ = 0;
};

struct NetworkFaults {
  std::uint32_t lost_requests_per_mille = 0;
  std::uint32_t lost_replies_per_mille = 0;
};

class World {
 public:
  World(std::uint64_t seed, Domain domain, server::Limits limits = {}, BackendKind kind = default_backend());
  ~World();

  Device& device(const std::string& name, Actor actor);
  server::ServerSync& server() { return *server_; }
  storage::Storage& storage() { return *storage_; }
  /// Another program on the server's database.
  OtherProgram& outside() { return *outside_; }
  const Backend& backend() const { return *backend_; }
  /// Runs SQL on it; fails the test on an error.
  void sql(const std::string& text);
  std::vector<std::string> server_rows(const std::string& sql) { return outside_->query(sql); }
  /// POSTs straight to the server core.
  protocol::HttpResponse post(std::string_view path, const Actor& actor, std::string body);
  std::string token(const Actor& actor);
  void restart_server();
  /// The server's next release: its database is made to fit.
  void upgrade(Domain domain);

  /// Delivers, advances time and fires timers until every device has nothing to send and its outbox is empty.
  /// False when that does not happen within the bound.
  bool settle(int steps_max = 20'000);
  /// One random step: a delivery, or time passing.
  void step();

  ManualClock clock{Timestamp{1'767'312'000'000'000}};  // 2026-01-02T00:00:00Z
  SeededRandom random;
  NetworkFaults faults;
  TempDir dir;

 private:
  friend class Device;
  void open_server();
  bool drain(int steps_max);
  std::shared_ptr<const CompiledDomain> compiled_;
  server::Limits limits_;
  QueueExecutor executor_;
  server::JwtAuthenticator authenticator_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<storage::Storage> storage_;
  std::unique_ptr<server::ServerSync> server_;
  std::unique_ptr<OtherProgram> outside_;
  std::vector<std::unique_ptr<Device>> devices_;
};

}  // namespace nizhal::testing
