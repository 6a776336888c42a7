// For tests only: a push handler on a PostgreSQL of the test's own, other sessions beside it, and gates inside
// mutators, so that every interleaving is made and none is waited for by the clock.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <nizhal/domain.hpp>

#include "base/environment.hpp"
#include "domain/compiled_domain.hpp"
#include "postgres/connection.hpp"
#include "server/push_handler.hpp"
#include "storage/postgres/postgres_storage.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::testing {

struct Member {
  std::string id, user_id, team_id;
};
struct Doc {
  std::string id, team_id, title;
};
struct Account {
  std::string id, team_id;
  std::int64_t count = 0;
};
struct Entry {
  std::string id, team_id;
  std::int64_t amount = 0;
};
struct Invoice {
  std::string id, team_id;
  std::int64_t number = 0;
};
inline const auto members = table<Member>("members")
                                .key("id", &Member::id)
                                .column("user_id", &Member::user_id)
                                .column("team_id", &Member::team_id);
inline const auto docs =
    table<Doc>("docs").key("id", &Doc::id).column("team_id", &Doc::team_id).column("title", &Doc::title);
inline const auto accounts = table<Account>("accounts")
                                 .key("id", &Account::id)
                                 .column("team_id", &Account::team_id)
                                 .column("count", &Account::count);
inline const auto entries = table<Entry>("entries")
                                .key("id", &Entry::id)
                                .column("team_id", &Entry::team_id)
                                .column("amount", &Entry::amount)
                                .append_only();
inline const auto invoices = table<Invoice>("invoices")
                                 .key("id", &Invoice::id)
                                 .column("team_id", &Invoice::team_id)
                                 .column("number", &Invoice::number);

struct Args {
  std::string id, team, text;
};

/// A mutator that passes it says so and waits until it is let through.
class Gate {
 public:
  /// For mutators.
  void pass() {
    std::unique_lock lock(mutex_);
    if (!is_closed_) return;
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !is_closed_; });
    --waiting_;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }
  /// Waits until so many stand before it.
  void await(int count = 1) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_closed_ = false;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_closed_ = false;
  int waiting_ = 0;
};

/// A session of another program: psql, an ETL job.
class Session {
 public:
  explicit Session(const std::string& url) {
    auto connected = postgres::Connection::connect({.url = url, .statement_timeout = {}, .lock_timeout = {}});
    EXPECT_TRUE(connected) << (connected ? "" : connected.error().message);
    connection_ = std::move(*connected);
  }
  /// The first column of the first row.
  std::string run(const std::string& sql) {
    auto rows = connection_->execute(sql);
    EXPECT_TRUE(rows) << sql << ": " << connection_->error_text();
    return rows && rows->size() > 0 && rows->columns() > 0 ? std::string(rows->text(0, 0)) : "";
  }
  int pid() const { return connection_->backend_pid(); }

 private:
  std::unique_ptr<postgres::Connection> connection_;
};

struct WorldOptions {
  std::chrono::milliseconds lock_timeout{60'000};  // none waits so long for a lock that it is to have
  std::size_t connections_max = 16;
  PostgresServer* server = nullptr;  // the shared one
  server::Limits limits = {};
};

class PushWorld {
 public:
  explicit PushWorld(WorldOptions options = {})
      : server(options.server ? *options.server : shared_server()), url(server.create_database()) {
    auto result = CompiledDomain::compile(domain());
    EXPECT_TRUE(result) << (result ? "" : result.error().message);
    compiled = *result;
    runs = 0;  // the lint has tried the mutators
    auto opened = storage::open_postgres_storage({.url = url,
                                                  .listen_url = {},
                                                  .connections_max = options.connections_max,
                                                  .lock_timeout = options.lock_timeout},
                                                 compiled, system_random(),
                                                 Log([this](LogLevel, std::string_view, std::string_view message) {
                                                   const std::lock_guard lock(mutex_);
                                                   log_lines.emplace_back(message);
                                                 }));
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    storage = std::move(*opened);
    const auto provisioned = storage->provision();
    EXPECT_TRUE(provisioned) << (provisioned ? "" : provisioned.error().message);
    handler = std::make_unique<server::PushHandler>(compiled, *storage, clock, options.limits, Log(), counters,
                                                    [this](const server::CommitEffects&) {
                                                      const std::lock_guard lock(mutex_);
                                                      ++commits;
                                                    });
    other = std::make_unique<Session>(url);
    other->run("INSERT INTO members VALUES ('m1', 'u1', 't1'), ('m2', 'u2', 't1'), ('m3', 'u3', 't2')");
  }

  static Actor actor(const std::string& user) { return Actor{user, "o-" + user, ""}; }

  struct Sent {
    std::string name = "addDoc", cmid = {}, id = {}, team = "t1", text = "x";
    std::string client = {};
    std::uint64_t mutation_id = 0;
  };
  static protocol::PushMutation mutation(const Sent& sent) {
    protocol::PushMutation mutation;
    mutation.name = sent.name;
    mutation.args =
        json::object{{"id", sent.id.empty() ? sent.cmid : sent.id}, {"team", sent.team}, {"text", sent.text}};
    mutation.client_mutation_id = sent.cmid;
    if (!sent.client.empty()) {
      mutation.client_id = sent.client;
      mutation.mutation_id = MutationId{sent.mutation_id};
    }
    return mutation;
  }
  /// "status" or "status:code" of each result, separated by spaces.
  std::string push(const std::string& user, const std::vector<Sent>& sent) {
    protocol::PushRequest request;
    request.results = true;
    for (const Sent& one : sent) request.mutations.push_back(mutation(one));
    const protocol::HttpResponse response = handler->handle(actor(user), request);
    {
      const std::lock_guard lock(mutex_);
      answers.push_back(response.body);
    }
    const auto reply = protocol::decode_push_reply(response.body);
    if (!reply) return response.body;
    std::string out;
    for (const protocol::PushResult& result : reply->results) {
      if (!out.empty()) out += ' ';
      out += to_string(result.status);
      if (!result.code.empty()) out += ":" + result.code;
    }
    return out;
  }
  std::future<std::string> start_push(std::string user, std::vector<Sent> sent) {
    return std::async(std::launch::async,
                      [this, user = std::move(user), sent = std::move(sent)] { return push(user, sent); });
  }
  /// As a device does with what is to be tried again.
  std::string push_until_decided(const std::string& user, const Sent& sent) {
    for (int i = 0; i < 1'000; ++i) {
      std::string answer = push(user, {sent});
      if (answer.find("retry:busy") == std::string::npos) return answer;
    }
    return "busy for ever";
  }

  std::string value(const std::string& sql) { return other->run(sql); }
  /// Waits, by looking, until so many other sessions of this database wait for a lock.
  void await_blocked(int count = 1) { await_waiting("wait_event_type = 'Lock'", count); }
  void await_waiting(const std::string& what, int count = 1) {
    const std::string sql =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        "pg_backend_pid() AND state = 'active' AND " +
        what;
    Session watcher(url);
    while (std::stoi(watcher.run(sql)) < count) std::this_thread::yield();
  }
  /// Ends the engine's write transactions that are open in the database.
  void terminate_writers() {
    other->run(
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a WHERE a.datname = current_database() AND a.pid "
        "<> pg_backend_pid() AND EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.locktype = 'advisory')");
  }
  /// Nothing that left the server may hold what only the database says.
  void expect_nothing_leaked() {
    for (const std::string& answer : answers)
      for (const char* word : {"SELECT", "INSERT", "nizhal.", "PostgreSQL", "SQLSTATE", "secret"})
        EXPECT_EQ(answer.find(word), std::string::npos) << answer;
  }

  Domain domain() {
    Domain d("races", {.version = "1.0.0"});
    d.add(members).add(docs).add(accounts).add(entries).add(invoices);
    const auto mutator = [&d](const char* name, auto body) {
      d.mutator<Args>(name).arg("id", &Args::id).arg("team", &Args::team).arg("text", &Args::text).run(std::move(body));
    };
    mutator("addDoc", [this](MutatorContext& ctx, const Args& a) -> Outcome {
      ++runs;
      ctx.insert(docs, {.id = a.id, .team_id = a.team, .title = a.text});
      gate.pass();
      return done();
    });
    mutator("readTwiceAndAdd", [this](MutatorContext& ctx, const Args& a) -> Outcome {
      ++runs;
      ctx.insert(docs, {.id = a.id, .team_id = a.team, .title = a.text});
      (void)ctx.get(docs, a.text);  // sends what has been written
      gate.pass();
      (void)ctx.get(docs, a.text);
      return done();
    });
    mutator("addTwoDocs", [this](MutatorContext& ctx, const Args& a) -> Outcome {
      ctx.insert(docs, {.id = a.id + "-1", .team_id = a.team, .title = a.text});
      gate.pass();
      ctx.insert(docs, {.id = a.id + "-2", .team_id = a.team, .title = a.text});
      return done();
    });
    mutator("editDoc", [](MutatorContext& ctx, const Args& a) -> Outcome {
      if (!ctx.update(docs, a.id, {set("title", a.text)})) return reject("unknown_doc", "no such doc");
      return done();
    });
    mutator("increment", [](MutatorContext& ctx, const Args& a) -> Outcome {
      auto account = ctx.get(accounts, a.id);
      if (!account) return reject("unknown_account", "no such account");
      account->count += 1;
      ctx.update(accounts, *account);
      return done();
    });
    mutator("spend", [](MutatorContext& ctx, const Args& a) -> Outcome {
      std::int64_t sum = 0;
      for (const Entry& entry : ctx.find(from(entries).where(eq("team_id", a.team)))) sum += entry.amount;
      if (sum < 1) return reject("no_money", "nothing is left");
      ctx.insert(entries, {.id = a.id, .team_id = a.team, .amount = -1});
      return done();
    });
    mutator("book", [](MutatorContext& ctx, const Args& a) -> Outcome {
      ctx.insert(entries, {.id = a.id, .team_id = a.team, .amount = a.text == "in" ? 1 : -1});
      return done();
    });
    mutator("closeTeam", [this](MutatorContext& ctx, const Args& a) -> Outcome {
      const bool is_empty = ctx.find(from(entries).where(eq("team_id", a.team))).empty();
      gate.pass();
      if (!is_empty) return reject("not_empty", "there are entries");
      ctx.insert(docs, {.id = a.id, .team_id = a.team, .title = "closed"});
      return done();
    });
    mutator("bookIfOpen", [this](MutatorContext& ctx, const Args& a) -> Outcome {
      if (ctx.get(docs, a.text)) return reject("closed", "the team is closed");
      second_gate.pass();
      ctx.insert(entries, {.id = a.id, .team_id = a.team, .amount = 1});
      return done();
    });
    mutator("addInvoice", [](MutatorContext& ctx, const Args& a) -> Outcome {
      const std::int64_t number = ctx.next_in_bucket(invoices, "number", "team_id", a.team);
      ctx.insert(invoices, {.id = a.id, .team_id = a.team, .number = number});
      return done();
    });
    d.rule("teams")
        .prefix("team:")
        .membership(members, where("user_id", actor::user_id), bucket("team", "team_id"))
        .data(members, eq("team_id", "team"))
        .data(docs, eq("team_id", "team"))
        .data(accounts, eq("team_id", "team"))
        .data(entries, eq("team_id", "team"))
        .data(invoices, eq("team_id", "team"));
    return d;
  }

  PostgresServer& server;
  const std::string url;
  Gate gate, second_gate;
  std::atomic<int> runs{0};
  std::shared_ptr<const CompiledDomain> compiled;
  std::unique_ptr<storage::Storage> storage;
  Clock& clock = system_clock();
  server::Counters counters;
  std::unique_ptr<server::PushHandler> handler;
  std::unique_ptr<Session> other;
  int commits = 0;
  std::vector<std::string> answers, log_lines;

 private:
  std::mutex mutex_;
};

}  // namespace nizhal::testing
