// Every state of the status, and what leads there and back.
#include <sqlite3.h>

#include <deque>

#include "client/client_sync.hpp"
#include "client/client_test_support.hpp"

namespace nizhal::client {
namespace {

using testing::FakeServer;
using testing::World;
using Connection = StoreStatus::Connection;
using Storage = StoreStatus::Storage;

/// Disks that fail when they are written: the system's own VFS, but for its write.
class FailingDisk {
 public:
  FailingDisk() {
    code() = SQLITE_OK;
    sqlite3_vfs* system = sqlite3_vfs_find(nullptr);
    shim_ = *system;
    shim_.zName = "failing";
    shim_.pAppData = system;
    shim_.xOpen = [](sqlite3_vfs* self, sqlite3_filename name, sqlite3_file* file, int flags, int* out) {
      auto* real = static_cast<sqlite3_vfs*>(self->pAppData);
      const int opened = real->xOpen(real, name, file, flags, out);
      if (opened != SQLITE_OK || !file->pMethods) return opened;
      // The main file's methods are others than those of the write-ahead log.
      const auto [entry, is_new] = changed().try_emplace(file->pMethods, *file->pMethods);
      if (is_new) {
        system_write() = file->pMethods->xWrite;
        entry->second.xWrite = [](sqlite3_file* target, const void* bytes, int count, sqlite3_int64 offset) {
          return code() != SQLITE_OK ? code() : system_write()(target, bytes, count, offset);
        };
      }
      file->pMethods = &entry->second;
      return opened;
    };
    sqlite3_vfs_register(&shim_, 1);
  }
  ~FailingDisk() { sqlite3_vfs_unregister(&shim_); }
  void fail(int with) { code() = with; }
  void mend() { code() = SQLITE_OK; }

 private:
  static int& code() {
    static int armed = SQLITE_OK;
    return armed;
  }
  static auto system_write() -> decltype(sqlite3_io_methods::xWrite)& {
    static decltype(sqlite3_io_methods::xWrite) known = nullptr;
    return known;
  }
  static std::map<const sqlite3_io_methods*, sqlite3_io_methods>& changed() {
    static std::map<const sqlite3_io_methods*, sqlite3_io_methods> all;
    return all;
  }
  sqlite3_vfs shim_{};
};

struct Status : World {
  FailingDisk disk;
  SeededRandom random{5};
  std::unique_ptr<ClientSync> sync;
  std::deque<SendRequest> requests;
  std::optional<std::chrono::milliseconds> retry;
  int notifications = 0;

  void SetUp() override {
    device.close();  // it was opened before the disk could fail
    device.open();
    sync = machine({.server = "http://localhost:1"});
  }
  void TearDown() override {
    disk.mend();
    World::TearDown();
    sync.reset();
    device.close();
  }
  std::unique_ptr<ClientSync> machine(SyncOptions options) {
    return std::make_unique<ClientSync>(device.store(), clock, random, Log(), std::move(options));
  }
  void handle(const Event& event) {
    for (Effect& effect : sync->handle(event)) {
      if (auto* send = std::get_if<SendRequest>(&effect)) requests.push_back(std::move(*send));
      if (auto* timer = std::get_if<SetTimer>(&effect); timer && timer->timer == TimerId::retry) retry = timer->delay;
      if (std::holds_alternative<Notify>(effect)) ++notifications;
    }
  }
  SendRequest take() {
    EXPECT_FALSE(requests.empty());
    if (requests.empty()) return {};
    SendRequest request = std::move(requests.front());
    requests.pop_front();
    return request;
  }
  void answer(int status, const std::string& body = "{}") { handle(Answered{take().request, {status, {}, body}}); }
  void run() {
    while (!requests.empty()) {
      const SendRequest request = take();
      handle(Answered{request.request, server.handle(request.http)});
    }
  }
  void fire_retry() {
    ASSERT_TRUE(retry);
    retry.reset();
    handle(TimerFired{TimerId::retry});
  }
  StoreStatus now() const { return sync->status(); }
};

TEST_F(Status, ConnectionIsLocalOnlyWithoutAServer) {
  sync = machine({});
  handle(Started{});
  EXPECT_EQ(now().connection, Connection::local_only);
}

TEST_F(Status, ConnectionIsOfflineThenOnlineWithTheFirstAnswerAndOfflineWhenCutOff) {
  EXPECT_EQ(now().connection, Connection::offline);
  handle(Started{});
  EXPECT_EQ(now().connection, Connection::offline) << "nobody answered yet";
  run();
  EXPECT_EQ(now().connection, Connection::online);
  handle(SocketFrame{"repull:o1"});
  handle(Failed{.request = take().request, .reason = "connection reset"});
  EXPECT_EQ(now().connection, Connection::offline);
  fire_retry();
  run();
  EXPECT_EQ(now().connection, Connection::online);
  handle(WentOffline{});
  EXPECT_EQ(now().connection, Connection::offline);
}

TEST_F(Status, PushingAndPullingAreToldWhileTheyGoOn) {
  device.add("n1", "mine");
  handle(Started{});
  EXPECT_TRUE(now().syncing && now().pushing && !now().pulling);
  const SendRequest push = take();
  handle(Answered{push.request, server.handle(push.http)});
  EXPECT_TRUE(now().syncing && now().pulling && !now().pushing);
  run();
  EXPECT_FALSE(now().syncing || now().pulling || now().pushing);
  handle(SocketFrame{"repull:o1"});
  EXPECT_TRUE(now().pulling);
  answer(503);
  EXPECT_FALSE(now().syncing || now().pulling) << "it waits";
}

TEST_F(Status, PendingAndDeadLettersAreCountedAsTheyComeAndGo) {
  device.add("n1", "mine");
  device.add("n2", "reject");
  EXPECT_EQ(now().pending, 2u);
  handle(Started{});
  run();
  EXPECT_EQ(now().pending, 0u);
  EXPECT_EQ(now().dead_letters, 1u);
  ASSERT_TRUE(device.store().retry(device.dead_letters()[0].id, std::nullopt));
  EXPECT_EQ(now().pending, 1u);
  EXPECT_EQ(now().dead_letters, 0u);
  handle(Mutated{});
  run();
  ASSERT_TRUE(device.store().discard(device.dead_letters()[0].id));
  EXPECT_EQ(now().dead_letters, 0u);
}

TEST_F(Status, WhatAnotherHandleWroteIsCounted) {
  testing::Device other(folder.file("a.db"), clock, 7);
  other.add("n1", "theirs");
  other.add("n2", "theirs");
  EXPECT_EQ(now().pending, 2u);
  device.add("n3", "mine");
  other.add("n4", "theirs");
  EXPECT_EQ(now().pending, 4u);
}

TEST_F(Status, TheLastErrorSaysWhatToDoAndGoesWithTheNextSuccess) {
  handle(Started{});
  handle(Failed{.request = take().request, .reason = "connection refused"});
  EXPECT_NE(now().last_error.find("http://localhost:1 cannot be reached: connection refused"), std::string::npos);
  EXPECT_NE(now().last_error.find("tried again"), std::string::npos) << now().last_error;
  fire_retry();
  run();
  EXPECT_EQ(now().last_error, "");
}

TEST_F(Status, LastSyncedIsTheTimeOfTheLastWholePullAndSurvivesARestart) {
  EXPECT_FALSE(now().last_synced);
  handle(Started{});
  run();
  EXPECT_EQ(now().last_synced, clock.now());
  clock.advance(std::chrono::minutes(5));
  handle(SocketFrame{"repull:o1"});
  run();
  EXPECT_EQ(now().last_synced, clock.now()) << "an idle pull counts too";
  const auto last = clock.now();
  sync.reset();
  device.reopen();
  sync = machine({.server = "http://localhost:1"});
  EXPECT_EQ(now().last_synced, last);
}

TEST_F(Status, ClockSkewIsWhatTheDeviceAddsToItsClock) {
  EXPECT_EQ(now().clock_skew_ms, 0);
  handle(Started{});
  const SendRequest pull = take();
  const protocol::HttpResponse page = server.handle(pull.http);
  clock.jump_wall(std::chrono::hours(1));  // the device's; the page was made before
  handle(Answered{pull.request, page});
  EXPECT_EQ(now().clock_skew_ms, -3'600'000);
}

TEST_F(Status, UpgradeRequiredStaysUntilAPushGoesWell) {
  device.add("n1", "mine");
  handle(Started{});
  answer(426, R"({"error":"too old","code":"upgrade_required"})");
  run();
  EXPECT_TRUE(now().upgrade_required);
  EXPECT_NE(now().last_error.find("update"), std::string::npos);
  EXPECT_EQ(now().pending, 1u);
  handle(SyncRequested{});
  run();
  EXPECT_FALSE(now().upgrade_required);
  EXPECT_EQ(now().last_error, "");
}

TEST_F(Status, StorageSaysWhyAMutationCouldNotBeWrittenUntilOneCan) {
  for (const auto& [code, state] : std::vector<std::pair<int, Storage>>{{SQLITE_FULL, Storage::full},
                                                                        {SQLITE_READONLY, Storage::read_only},
                                                                        {SQLITE_CORRUPT, Storage::damaged},
                                                                        {SQLITE_IOERR_WRITE, Storage::failing}}) {
    disk.fail(code);
    EXPECT_FALSE(device.mutate("addNote", {"n1", "mine"}));
    EXPECT_EQ(now().storage, state);
    EXPECT_NE(now().storage_error.find(';'), std::string::npos) << "what to do: " << now().storage_error;
    EXPECT_EQ(now().pending, 0u);
    disk.mend();
    device.add("n" + std::to_string(code), "fine");
    EXPECT_EQ(now().storage, Storage::ok);
    EXPECT_EQ(now().storage_error, "");
    device.sync(server);
  }
}

TEST_F(Status, SyncPausesWhileTheFileCannotBeWrittenAndGoesOnByItself) {
  device.add("n1", "mine");
  server.put("n2", "theirs");
  disk.fail(SQLITE_FULL);
  handle(Started{});
  EXPECT_TRUE(requests.empty()) << "a mutation id must be given durably first";
  EXPECT_EQ(now().storage, Storage::full);
  EXPECT_FALSE(now().syncing);
  for (int i = 0; i < 5; ++i) {
    fire_retry();
    EXPECT_TRUE(requests.empty());
  }
  disk.mend();
  fire_retry();
  EXPECT_EQ(now().storage, Storage::ok);
  run();
  EXPECT_EQ(now().pending, 0u);
  EXPECT_EQ(now().last_error, "");
  EXPECT_EQ(device.notes().size(), 2u);
}

TEST_F(Status, AFileThatFailedUnderAMutationIsTriedByTheSyncUntilItCanBeWritten) {
  handle(Started{});
  run();
  disk.fail(SQLITE_IOERR_WRITE);
  EXPECT_FALSE(device.mutate("addNote", {"n1", "mine"}));
  handle(StorageChanged{});
  EXPECT_EQ(now().storage, Storage::failing);
  ASSERT_TRUE(retry) << "nothing is to be sent, but the app wants to know when it can write again";
  disk.mend();
  fire_retry();
  EXPECT_EQ(now().storage, Storage::ok);
}

TEST_F(Status, ARefusedMutationSaysNothingOfTheFile) {
  EXPECT_FALSE(device.mutate("editNote", {"none", "x"}));
  EXPECT_EQ(now().storage, Storage::ok);
}

TEST_F(Status, WhoTheDeviceIs) {
  EXPECT_EQ(now().user_id, "u1");
  EXPECT_EQ(now().owner_id, "o1");
  EXPECT_EQ(now().client_id, device.store().client_id());
  EXPECT_EQ(now().server, "http://localhost:1");
}

}  // namespace
}  // namespace nizhal::client
