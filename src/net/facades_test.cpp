// Server and Store as a user has them: real files, real sockets, one process.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <nizhal/server.hpp>
#include <nizhal/store.hpp>

#include "../../examples/notes/notes.hpp"
#include "base/reserved_port.hpp"
#include "base/test_temp_dir.hpp"
#include "net/store_test_support.hpp"

namespace nizhal::net {
namespace {

using namespace test;

TEST(Facades, TwoDevicesConvergeThroughAServer) {
  TempDir scratch;
  Running server(scratch.file("server.db"));
  auto one = open_store(offline(device(scratch.file("one.db"), server.url())));
  auto two = open_store(offline(device(scratch.file("two.db"), server.url())));
  ASSERT_TRUE(one) << one.error().message;
  ASSERT_TRUE(two) << two.error().message;
  ASSERT_TRUE(one->mutate("addNote", notes::AddNote{.id = "a", .body = "from one"}));
  ASSERT_TRUE(one->mutate_json("addNote", R"({"id":"b","body":"from one too"})"));
  ASSERT_TRUE(two->mutate("addNote", notes::AddNote{.id = "c", .body = "from two"}));
  ASSERT_TRUE(two->mutate("addNote", notes::AddNote{.id = "d", .body = "reject"}));
  EXPECT_EQ(bodies(*two), (std::vector<std::string>{"c=from two", "d=reject"}));
  EXPECT_EQ(one->status().pending, 2u);

  const auto first = one->sync_now();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->applied, 2u);
  EXPECT_EQ(first->pending, 0u);
  const auto second = two->sync_now();
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->applied, 1u);
  EXPECT_EQ(second->rejected, 1u);
  EXPECT_EQ(second->dead_letters, 1u);
  ASSERT_TRUE(one->sync_now());
  const std::vector<std::string> expected{"a=from one", "b=from one too", "c=from two"};
  EXPECT_EQ(bodies(*one), expected);
  EXPECT_EQ(bodies(*two), expected);

  const auto dead = two->dead_letters();
  ASSERT_TRUE(dead);
  ASSERT_EQ(dead->size(), 1u);
  EXPECT_EQ(dead->front().code, "refused_body");
  ASSERT_TRUE(two->retry_with(dead->front().id, R"({"id":"d","body":"better"})"));
  ASSERT_TRUE(two->sync_now());
  ASSERT_TRUE(one->sync_now());
  EXPECT_EQ(bodies(*one).back(), "d=better");
  EXPECT_EQ(server.stop(), 0);
}

TEST(Facades, OnlineStoresHearOfEachOtherThroughPokes) {
  TempDir scratch;
  Running server(scratch.file("server.db"));
  StoreOptions quiet = device(scratch.file("two.db"), server.url());
  quiet.pull_interval = std::chrono::hours(1);  // so that only a poke can be the reason
  auto two = open_store(quiet);
  ASSERT_TRUE(two);
  ASSERT_TRUE(wait_for(*two, [&] { return two->status().connection == StoreStatus::Connection::online; }));
  auto one = open_store(device(scratch.file("one.db"), server.url()));
  ASSERT_TRUE(one);
  for (int i = 0; i < 5; ++i) {
    const std::string id = "n" + std::to_string(i);
    ASSERT_TRUE(one->mutate("addNote", notes::AddNote{.id = id, .body = "poked"}));
    EXPECT_TRUE(wait_for(*two, [&] { return two->get(notes::notes, id)->has_value(); })) << id;
  }
}

TEST(Facades, WritesMadeWithoutAServerArriveOnceItIsThere) {
  TempDir scratch;
  const ReservedPort port;
  auto store = open_store(device(scratch.file("one.db"), "http://127.0.0.1:" + std::to_string(port.port())));
  ASSERT_TRUE(store);
  ASSERT_TRUE(store->mutate("addNote", notes::AddNote{.id = "a", .body = "early"}));
  ASSERT_TRUE(wait_for(*store, [&] { return !store->status().last_error.empty(); }));
  EXPECT_NE(store->status().last_error.find("connection refused"), std::string::npos) << store->status().last_error;
  const auto failed = store->sync_now();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unreachable);
  Running server(scratch.file("server.db"), port.port());
  ASSERT_EQ(server.port(), port.port());
  EXPECT_TRUE(wait_for(*store, [&] { return store->status().pending == 0; }));
}

TEST(Facades, AStoreThatStartsOfflineStaysOfflineAfterASync) {
  TempDir scratch;
  Running server(scratch.file("server.db"));
  auto store = open_store(offline(device(scratch.file("one.db"), server.url())));
  ASSERT_TRUE(store);
  ASSERT_TRUE(store->sync_now());
  EXPECT_EQ(store->status().connection, StoreStatus::Connection::offline);
  ASSERT_TRUE(store->mutate("addNote", notes::AddNote{.id = "a", .body = "kept"}));
  EXPECT_EQ(store->status().pending, 1u);
  store->set_online(true);
  EXPECT_TRUE(wait_for(*store, [&] { return store->status().pending == 0; }));
}

TEST(Facades, WrongCallsAreErrorsAndWriteNothing) {
  TempDir scratch;
  auto store = open_store(device(scratch.file("one.db"), ""));
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ(store->status().connection, StoreStatus::Connection::local_only);
  EXPECT_EQ(store->mutate("noSuch", notes::AddNote{}).error().code, ErrorCode::not_found);
  EXPECT_EQ(store->mutate("addNote", notes::EditNote{.id = "a", .body = "x"}).error().code, ErrorCode::invalid_args);
  EXPECT_EQ(store->mutate("addNote", notes::AddNote{.id = "", .body = ""}).error().code, ErrorCode::invalid_args);
  EXPECT_EQ(store->mutate_json("addNote", "{").error().code, ErrorCode::invalid_args);
  EXPECT_EQ(store->mutate_json("addNote", "[]").error().code, ErrorCode::invalid_args);
  EXPECT_EQ(store->mutate_json("addNote", R"({"id":1,"body":"x"})").error().code, ErrorCode::invalid_args);
  EXPECT_EQ(store->mutate("editNote", notes::EditNote{.id = "none", .body = "x"}).error().code, ErrorCode::refused);
  EXPECT_EQ(store->retry(1).error().code, ErrorCode::not_found);
  EXPECT_EQ(store->sync_now().error().code, ErrorCode::usage);
  EXPECT_TRUE(store->outbox()->empty());
  EXPECT_FALSE(open_store(device(scratch.file("two.db"), "sync.example.com")));
  EXPECT_FALSE(std::filesystem::exists(scratch.file("two.db")));
}

TEST(Facades, AServerThatCannotRunSaysWhyByItsCode) {
  TempDir scratch;
  std::vector<std::string> lines;
  const auto run = [&](ServerOptions options, std::uint16_t port = 0) {
    lines.clear();
    options.log = [&](std::string_view, std::string_view, std::string_view message) { lines.emplace_back(message); };
    Server server(std::move(options));
    return server.listen({.port = port, .handle_signals = false});
  };
  ServerOptions short_secret = server_options(scratch.file("a.db"));
  short_secret.auth.bearer.secret = "short";
  EXPECT_EQ(run(short_secret), 2);
  EXPECT_NE(lines.at(0).find("16"), std::string::npos);
  EXPECT_EQ(lines.at(0).find("short"), std::string::npos);
  ServerOptions nowhere = server_options(scratch.file("a.db"));
  nowhere.storage = postgres_storage("postgresql://someone:hunter2@127.0.0.1:1/db");
  EXPECT_EQ(run(nowhere), 4);
  EXPECT_NE(lines.back().find("127.0.0.1:1"), std::string::npos) << lines.back();
  EXPECT_EQ(lines.back().find("hunter2"), std::string::npos) << lines.back();
  ServerOptions nonsense = server_options(scratch.file("a.db"));
  nonsense.storage.url = "mysql://localhost/db";
  EXPECT_EQ(run(nonsense), 2);
  EXPECT_EQ(run(server_options("/nonexistent/dir/a.db")), 4);
  EXPECT_EQ(run(server_options(scratch.file(""))), 4);  // a directory
  ServerOptions bad_seed = server_options(scratch.file("seeded.db"));
  bad_seed.seed_sql = "insert into nowhere values (1)";
  EXPECT_EQ(run(bad_seed), 4);

  Running running(scratch.file("b.db"));
  EXPECT_EQ(run(server_options(scratch.file("c.db")), running.port()), 4);
  EXPECT_NE(lines.back().find(std::to_string(running.port())), std::string::npos) << lines.back();

  // Another domain's tables where this domain's should be.
  Domain other("other", {.version = "1.0.0"});
  const auto strange = table<notes::Note>("notes").key("id", &notes::Note::id).column("other", &notes::Note::owner_id);
  other.add(strange);
  other.rule("all").parameter("o", actor::owner_id).data(strange, eq("other", "o"));
  ServerOptions drifted = server_options(scratch.file("b2.db"));
  { Running(scratch.file("b2.db")); }
  drifted.domain = other;
  EXPECT_EQ(run(drifted), 3);
}

TEST(Facades, StoppingBeforeListeningMeansNotListening) {
  TempDir scratch;
  Server server(server_options(scratch.file("a.db")));
  server.stop();
  EXPECT_EQ(server.listen({.port = 0, .handle_signals = false}), 0);
}

TEST(Facades, ASignalStopsTheServerCleanly) {
  TempDir scratch;
  Server server(server_options(scratch.file("a.db")));
  const int code = server.listen({.port = 0, .on_ready = [](std::uint16_t) { ::raise(SIGTERM); }});
  EXPECT_EQ(code, 0);
}

TEST(Facades, TheRealServersAnswersComeInTheOrderOfTheProtocol) {
  TempDir scratch;
  Running server(scratch.file("server.db"));
  const auto ask = [&](const std::string& head, const std::string& body) {
    RawSocket socket(server.port());
    socket.send(head + "Host: test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return socket.read_response();
  };
  const std::string good = "Authorization: Bearer " + token("u1", "o1") + "\r\n";
  const std::string large(3 << 20, ' ');
  EXPECT_TRUE(ask("POST /sync/pull HTTP/1.1\r\n", large).starts_with("HTTP/1.1 401 "));
  EXPECT_TRUE(ask("POST /sync/pull HTTP/1.1\r\n" + good, large).starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(ask("POST /sync/pull HTTP/1.1\r\n" + good, "[").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(ask("POST /sync/pull HTTP/1.1\r\n" + good, "{}").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(ask("GET /healthz HTTP/1.1\r\n", "").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(ask("GET /nizhal/contract HTTP/1.1\r\n", "").starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(ask("GET /nothing HTTP/1.1\r\n", "").starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(ask("PUT /sync/pull HTTP/1.1\r\n", "").starts_with("HTTP/1.1 405 "));
  RawWebSocket refused(server.port());
  EXPECT_TRUE(refused.upgrade().starts_with("HTTP/1.1 401 "));
  EXPECT_TRUE(refused.upgrade("/sync/stream?bucket=other&token=" + token("u1", "o1")).starts_with("HTTP/1.1 403 "));
  EXPECT_TRUE(refused.upgrade("/sync/stream?token=" + token("u1", "o1")).starts_with("HTTP/1.1 101 "));
  const auto next = [&] {
    auto message = refused.read_message();
    while (message.payload.starts_with("presence:")) message = refused.read_message();  // they may come at any time
    return message;
  };
  refused.send_frame(0x81, "ping");
  EXPECT_EQ(next().payload, "pong");
  for (int i = 0; i < 30; ++i) refused.send_frame(i % 2 ? 0x81 : 0x82, "nonsense");
  EXPECT_EQ(next().close_code(), 1008);
}

}  // namespace
}  // namespace nizhal::net
