// The fold oracle under real concurrency, on PostgreSQL: other programs write over each other in overlapping
// transactions, memberships come and go, mutators run, while devices pull pages of random sizes and lose replies.
// After each complete pull a device equals the in-scope SELECT in that pull's snapshot, exactly: a second connection
// looks into the very snapshot from which the last page was made.
//
// Pulls go to a pull handler that reads the tables; or, `through_server`, to a server core as it answers devices, which
// has the tail. What comes from memory is of the snapshot of some refresh; the device then equals the in-scope SELECT
// of one that has everything that was committed before the pull was sent.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "base/json.hpp"
#include "base/test_seed.hpp"
#include "examples/notes/notes.hpp"
#include "net/worker_pool.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "server/authenticator.hpp"
#include "server/pull_handler.hpp"
#include "server/push_handler.hpp"
#include "server/server_sync.hpp"
#include "storage/postgres/snapshot.hpp"
#include "tests/backends/backend.hpp"
#include "tests/concurrency/held_snapshots.hpp"
#include "tests/support/json_answer.hpp"
#include "tests/support/model_device.hpp"
#include "tests/support/notes_model.hpp"
#include "tests/support/process.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {

inline constexpr std::uint64_t kTeams = 6, kIds = 60, kDevices = 3, kForeignWriters = 12, kPushers = 2;

struct StormOptions {
  Fault fault = Fault::none;
  std::string icu_locale = {};
  std::uint64_t comparisons = 1'500;
  bool until_different = false;  // ends at the first difference, or at `comparisons`
  bool through_server = false;   // pulls as devices send them, with the tail
};

struct Tally {
  std::atomic<std::uint64_t> commits{0}, rollbacks{0}, truncates{0}, failed{0}, grants_changed{0}, pushed{0};
  std::atomic<std::uint64_t> pages{0}, lost{0}, comparisons{0}, differing{0}, rows{0}, busy{0}, not_looked{0};
  std::atomic<std::uint64_t> removals{0}, buckets_lost{0}, resets{0}, from_memory{0};
};

/// The first kind of event that a storm of so many comparisons has not met often enough to mean something.
inline std::optional<std::string> unmet(const Tally& tally, std::uint64_t comparisons) {
  const std::tuple<const char*, std::uint64_t, std::uint64_t> kinds[] = {
      {"commits", tally.commits, comparisons / 2},
      {"mutations applied", tally.pushed, comparisons / 20},
      {"rollbacks", tally.rollbacks, comparisons / 20},
      {"changed grants", tally.grants_changed, comparisons / 50},
      {"lost replies", tally.lost, comparisons / 10},
      {"removals", tally.removals, comparisons / 5},
      {"lost buckets", tally.buckets_lost, comparisons / 50},
      {"pages", tally.pages, comparisons + comparisons / 5}};
  for (const auto& [kind, met, more_than] : kinds)
    if (met <= more_than) return fmt::format("{}: {}", kind, met);
  if (tally.truncates < comparisons / 1'000) return fmt::format("TRUNCATE: {}", tally.truncates.load());
  return std::nullopt;
}

class Storm {
 public:
  Storm(std::uint64_t seed, StormOptions options)
      : options_(std::move(options)),
        seed_(seed),
        backend_(make_postgres_backend(options_.icu_locale)),
        domain_(compiled(notes::domain())),
        storage_(backend_->open(domain_), options_.fault, options_.through_server),
        pulls_(domain_, storage_, system_clock(), limits_),
        pushes_(domain_, storage_, system_clock(), limits_, Log{}, counters_, [](const server::CommitEffects&) {}) {
    require(storage_.provision(), "provision");
    if (options_.through_server) {
      server::Limits limits;
      limits.admin_password = "the admin";
      server_ = std::make_unique<server::ServerSync>(
          domain_, server::ServerOutside{system_clock(), system_random(), workers_, storage_, authenticator_, Log()},
          std::move(limits));
    }
    std::string members;
    for (std::uint64_t team = 0; team < kTeams; ++team)
      members += fmt::format("{}('x{}', 'u9', 't{}')", team ? ", " : "", team, team);
    backend_->other_program()->run("INSERT INTO team_members (id, user_id, team_id) VALUES " + members);
  }

  ~Storm() { workers_.stop(); }

  /// Of the tail, as the server core tells it.
  std::int64_t tail_figure(const char* name) {
    protocol::HttpRequest request;
    request.path = "/nizhal/stats";
    request.headers["authorization"] = "Bearer the admin";
    const auto body = require(parse_json(server_->handle(request).body), "the figures");
    return as_integer(body.at("tail").at(name)).value_or(-1);
  }

  void run() {
    const auto started = std::chrono::steady_clock::now();
    std::vector<std::thread> threads, devices;
    std::uint64_t number = 0;
    for (std::uint64_t i = 0; i < kForeignWriters; ++i)
      threads.emplace_back([this, i, seed = seed_ * 1'000 + ++number] { write(i, seed); });
    threads.emplace_back([this, seed = seed_ * 1'000 + ++number] { change_memberships(seed); });
    for (std::uint64_t i = 0; i < kPushers; ++i)
      threads.emplace_back([this, i, seed = seed_ * 1'000 + ++number] { push(i, seed); });
    // As a server's timer does.
    if (server_)
      threads.emplace_back([this] {
        for (; !stop_; std::this_thread::sleep_for(server::Limits{}.look_interval)) server_->tick();
      });
    for (std::uint64_t i = 0; i < kDevices; ++i)
      devices.emplace_back([this, i, seed = seed_ * 1'000 + ++number] { pull(i, seed); });
    for (std::thread& device : devices) device.join();
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
    fmt::print(
        "{} writers ({} foreign, 1 of memberships, {} pushing), {} commits ({} mutations applied, {} of memberships, "
        "{} "
        "TRUNCATE), {} rolled back; {} pulls of {} devices ({} replies lost), {} removals, {} buckets lost; "
        "{} comparisons ({} of what came from memory) of {} rows, differing = {}; seed {}; {:.1f} s\n",
        kForeignWriters + 1 + kPushers, kForeignWriters, kPushers, tally.commits.load(), tally.pushed.load(),
        tally.grants_changed.load(), tally.truncates.load(), tally.rollbacks.load(), tally.pages.load(), kDevices,
        tally.lost.load(), tally.removals.load(), tally.buckets_lost.load(), tally.comparisons.load(),
        tally.from_memory.load(), tally.rows.load(), tally.differing.load(), seed_, took.count());
  }

  Tally tally;
  std::string first_difference, broken;  // what a device's thread met

 private:
  static Actor actor(std::uint64_t user) { return {fmt::format("u{}", user), fmt::format("o{}", user), ""}; }
  /// Ids that bytes and dictionaries order differently.
  static std::string id(Random& random) {
    static constexpr const char* kShapes[] = {"r", "R", "-r", "_R", "r ", "\u00e9"};
    const auto number = random.below(kIds);
    return fmt::format("{}{}", kShapes[number % 6], number);
  }
  static void pause(Random& random) {
    const auto length = random.below(4) != 0 ? 0 : random.below(40) == 0 ? 40'000 : random.below(4'000);
    if (length > 0) std::this_thread::sleep_for(std::chrono::microseconds(length));
  }

  static std::string statement(Random& random) {
    const auto team = random.below(kTeams), user = random.below(kDevices), body = random.below(1'000'000);
    const std::string one = id(random), other = id(random);
    switch (random.below(12)) {
      case 0:
      case 1:
        return fmt::format(
            "INSERT INTO team_notes (id, team_id, body) VALUES ('{}', 't{}', 'b{}') "
            "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            one, team, body);
      case 2:
      case 3:
      case 4:
        return fmt::format("UPDATE team_notes SET team_id = 't{}' WHERE id = '{}'", team, one);
      case 5:
        return fmt::format("DELETE FROM team_notes WHERE id IN ('{}', '{}')", one, other);
      case 6:
        return fmt::format(
            "DELETE FROM team_notes WHERE id = '{0}'; INSERT INTO team_notes (id, team_id, body) VALUES "
            "('{0}', 't{1}', 'again {2}')",
            one, team, body);
      case 7:
        return fmt::format(
            "INSERT INTO notes (id, owner_id, body) VALUES ('{}', 'o{}', 'n{}') "
            "ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id, body = excluded.body",
            one, user, body);
      case 8:
        return fmt::format("DELETE FROM notes WHERE id = '{}'", one);
      case 9:
        return fmt::format(
            "UPDATE team_notes SET id = '{0}' WHERE id = '{1}' AND NOT EXISTS (SELECT 1 FROM team_notes WHERE id = "
            "'{0}')",
            other, one);
      case 10:  // one id in two tables
        return fmt::format(
            "UPDATE team_notes SET body = 'both {1}' WHERE id = '{0}'; UPDATE notes SET body = 'both {1}' WHERE id = "
            "'{0}'",
            one, body);
      default:
        return fmt::format("UPDATE team_notes SET body = 'c{}' WHERE team_id = 't{}' AND id < '{}'", body, team, one);
    }
  }

  /// One transaction; true when it was committed.
  template <class Statement>
  bool transaction(OtherProgram& program, Random& random, Statement next) {
    bool works = program.try_run("BEGIN").empty();
    for (std::uint64_t i = 0, count = 1 + random.below(5); works && i < count; ++i) {
      pause(random);
      if (random.below(5) == 0) {
        works = program.try_run("SAVEPOINT s").empty();
        const bool undone = random.below(2) == 0;
        const bool done = works && program.try_run(next(random)).empty();
        pause(random);
        // What failed is rolled back to the savepoint as well, and the transaction goes on.
        works = program.try_run(undone || !done ? "ROLLBACK TO s; RELEASE s" : "RELEASE s").empty();
      } else {
        works = program.try_run(next(random)).empty();
      }
    }
    pause(random);
    if (!works || random.below(10) == 0) {
      program.try_run("ROLLBACK");
      ++(works ? tally.rollbacks : tally.failed);
      return false;
    }
    if (!storage_.gate().commit([&] { return program.try_run("COMMIT").empty(); })) {
      ++tally.failed;
      return false;
    }
    ++tally.commits;
    return true;
  }

  std::unique_ptr<OtherProgram> writer() {
    auto program = backend_->other_program();
    program->run("SET deadlock_timeout = '20ms'; SET lock_timeout = '1s'; SET client_min_messages = 'error'");
    return program;
  }

  void write(std::uint64_t index, std::uint64_t seed) {
    SeededRandom random(seed);
    const auto program = writer();
    if (index % 2 == 0) program->run("SET synchronous_commit = on");
    while (!stop_) {
      // A refresh of the tail waits for it, so that it is rarer there.
      if (index == 0 && random.below(server_ ? 100 : 25) == 0) {
        const std::lock_guard no_refresh(storage_.gate().refreshes);
        program->try_run("BEGIN; SET LOCAL lock_timeout = '200ms'");
        const bool done = program->try_run("TRUNCATE team_notes").empty() && (pause(random), true) &&
                          program->try_run(statement(random)).empty();
        const bool has_ended =
            storage_.gate().commit([&] { return program->try_run(done ? "COMMIT" : "ROLLBACK").empty(); });
        if (has_ended && done) {
          ++tally.truncates;
          ++tally.commits;
        }
        continue;
      }
      transaction(*program, random, statement);
      pause(random);
    }
  }

  void change_memberships(std::uint64_t seed) {
    SeededRandom random(seed);
    const auto program = writer();
    const auto next = [](Random& r) {
      // Two rows may grant the same.
      const auto user = r.below(kDevices), team = r.below(kTeams), copy = r.below(2), to = r.below(kTeams);
      const std::string row = fmt::format("m{}{}{}", user, team, copy);
      switch (r.below(4)) {
        case 0:
          return fmt::format("DELETE FROM team_members WHERE id = '{}'", row);
        case 1:
          return fmt::format("UPDATE team_members SET team_id = 't{}' WHERE id = '{}'", to, row);
        default:
          return fmt::format(
              "INSERT INTO team_members (id, user_id, team_id) VALUES ('{}', 'u{}', 't{}') ON CONFLICT (id) DO NOTHING",
              row, user, team);
      }
    };
    while (!stop_) {
      if (transaction(*program, random, next)) ++tally.grants_changed;
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(30'000)));
    }
  }

  void push(std::uint64_t index, std::uint64_t seed) {
    SeededRandom random(seed);
    std::uint64_t serial = 0;
    while (!stop_) {
      const Actor who = actor(random.below(3) == 0 ? random.below(kDevices) : 9);
      protocol::PushRequest request;
      request.results = true;
      for (std::uint64_t i = 0, count = 1 + random.below(4); i < count; ++i) {
        protocol::PushMutation mutation;
        mutation.client_mutation_id = fmt::format("push-{}-{}", index, ++serial);
        json::object args;
        args["id"] = id(random);
        switch (random.below(5)) {
          case 0:
            mutation.name = "addNote";
            args["body"] = fmt::format("m{}", serial);
            break;
          case 1:
            mutation.name = "addTeamNote";
            args["team_id"] = fmt::format("t{}", random.below(kTeams));
            args["body"] = fmt::format("m{}", serial);
            break;
          case 2:
            mutation.name = "editTeamNote";
            args["body"] = fmt::format("e{}", serial);
            break;
          case 3:
            mutation.name = "moveTeamNote";
            args["team_id"] = fmt::format("t{}", random.below(kTeams));
            break;
          default:
            mutation.name = "deleteTeamNote";
        }
        mutation.args = std::move(args);
        request.mutations.push_back(std::move(mutation));
      }
      const auto before = counters_.mutations_applied.load();
      pushes_.handle(who, request);
      tally.pushed = counters_.mutations_applied.load();
      if (counters_.mutations_applied.load() != before) ++tally.commits;
      pause(random);
    }
  }

  void pull(std::uint64_t user, std::uint64_t seed) {
    SeededRandom random(seed);
    const Actor who = actor(user);
    ModelDevice device(notes_buckets);
    const auto looking = backend_->other_program();
    constexpr std::size_t kLimits[] = {1, 5, 12, 50, 1'000};
    const std::uint64_t share = options_.comparisons / kDevices;
    // A tenfold share is the end, whatever was not met by then.
    const auto is_done = [&](std::uint64_t compared) {
      if (compared < share) return false;
      return options_.until_different || compared >= 10 * share || !unmet(tally, options_.comparisons);
    };
    for (std::uint64_t compared = 0; !is_done(compared) && !found_difference_;) {
      protocol::PullRequest request;
      request.cursor = device.cursor();
      request.device_id = "device-" + who.user_id;
      request.limit = kLimits[random.below(5)];
      held_snapshot().reset();
      const std::uint64_t committed = storage_.gate().committed();
      const auto page = server_ ? ask_server(who, request) : pulls_.handle(who, request);
      if (!page) {
        if (page.error().code != ErrorCode::busy) return give_up(page.error().message);
        ++tally.busy;
        continue;
      }
      ++tally.pages;
      if (random.below(6) == 0) {  // lost: the same cursor is asked again
        ++tally.lost;
        continue;
      }
      std::string problem;
      const std::uint64_t removals = device.removals, buckets_lost = device.buckets_lost;
      const bool complete = device.take(*page, problem);
      tally.removals += device.removals - removals;
      tally.buckets_lost += device.buckets_lost - buckets_lost;
      if (!problem.empty() && options_.fault == Fault::none) return give_up(problem + ": " + *page);
      if (!complete) continue;
      std::vector<std::string> snapshots;
      std::vector<std::shared_ptr<const RefreshSnapshot>> refreshes;
      if (held_snapshot()) {
        const auto name = storage::pg::export_snapshot(*held_snapshot());
        if (!name) return give_up(name.error().message);
        snapshots.push_back(*name);
      } else {
        refreshes = storage_.refreshes_with(committed);
        for (const auto& refresh : refreshes) snapshots.push_back(refresh->name);
      }
      if (snapshots.empty()) {  // nothing was new since the last one, so there was no look
        ++tally.not_looked;
        continue;
      }
      std::map<std::string, std::string> expected;
      const bool is_equal = std::any_of(snapshots.begin(), snapshots.end(), [&](const std::string& name) {
        looking->run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '" + name + "'");
        expected = notes_in_scope(*looking, who);
        looking->run("COMMIT");
        return device.rows() == expected;
      });
      ++compared;
      ++tally.comparisons;
      if (!held_snapshot()) ++tally.from_memory;
      tally.rows += expected.size();
      if (!is_equal) differs(user, device.rows(), expected);
    }
    held_snapshot().reset();
    tally.resets += device.resets;
  }

  /// As net/ does it: a pull may wait together with others, and else is handled on this thread.
  Result<std::string> ask_server(const Actor& who, const protocol::PullRequest& pull) {
    protocol::HttpRequest request;
    request.method = "POST";
    request.path = protocol::kPullPath;
    request.headers["authorization"] =
        "Bearer " + server::make_jwt(kTestSecret, fmt::format(R"({{"userId":"{}","ownerId":"{}","exp":4102444800}})",
                                                              who.user_id, who.owner_id));
    request.body = protocol::encode_pull_request(pull);
    auto answer = std::make_shared<std::promise<std::optional<protocol::HttpResponse>>>();
    auto answered = answer->get_future();
    std::optional<protocol::HttpResponse> response;
    if (server_->try_defer(request, [answer](auto given) { answer->set_value(std::move(given)); }))
      response = answered.get();
    if (!response) response = server_->handle(request);
    if (response->status == 200) return std::move(response->body);
    return failure(response->status == 503 ? ErrorCode::busy : ErrorCode::internal, response->body);
  }

  void differs(std::uint64_t user, const std::map<std::string, std::string>& has,
               const std::map<std::string, std::string>& expected) {
    ++tally.differing;
    const std::lock_guard lock(mutex_);
    if (options_.until_different) found_difference_ = true;
    if (!first_difference.empty()) return;
    first_difference = fmt::format("device {} at comparison {}:", user, tally.comparisons.load());
    for (const auto& [key, row] : has)
      if (!expected.contains(key)) first_difference += "\n  has and should not: " + row;
    for (const auto& [key, row] : expected) {
      const auto found = has.find(key);
      if (found == has.end()) first_difference += "\n  lacks: " + row;
      if (found != has.end() && found->second != row)
        first_difference += fmt::format("\n  has {} instead of {}", found->second, row);
    }
  }
  void give_up(std::string why) {
    const std::lock_guard lock(mutex_);
    broken = std::move(why);
  }

  const StormOptions options_;
  const std::uint64_t seed_;
  const std::unique_ptr<Backend> backend_;
  const std::shared_ptr<const CompiledDomain> domain_;
  HeldSnapshots storage_;
  const server::Limits limits_;
  server::Counters counters_;
  server::PullHandler pulls_;
  server::PushHandler pushes_;
  net::WorkerPool workers_{3, 1'000, Log()};
  const server::JwtAuthenticator authenticator_{std::string(kTestSecret)};
  std::unique_ptr<server::ServerSync> server_;  // through_server
  std::atomic<bool> stop_{false}, found_difference_{false};
  std::mutex mutex_;
};

inline void expect_exact(Storm& storm, std::uint64_t comparisons) {
  storm.run();
  EXPECT_EQ(storm.broken, "");
  EXPECT_EQ(storm.tally.differing, 0U) << storm.first_difference;
  EXPECT_GE(storm.tally.comparisons, comparisons);
  // The storm meant something: every kind of event was met.
  EXPECT_EQ(unmet(storm.tally, comparisons).value_or(""), "") << "this was met too rarely";
  EXPECT_EQ(storm.tally.resets, 0U);
}

}  // namespace nizhal::testing
