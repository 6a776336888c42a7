// A server core on a real database with manual time and a queue for an executor, and a device that folds pages as a
// real one does.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "base/json.hpp"
#include "base/timers.hpp"
#include "domain/compiled_domain.hpp"
#include "domain/hlc.hpp"
#include "domain/value_json.hpp"
#include "protocol/pull.hpp"
#include "protocol/transport.hpp"
#include "server/server_sync.hpp"
#include "server/test_domain.hpp"
#include "server/test_storage.hpp"
#include "tests/backends/backend.hpp"
#include "tests/backends/tail_switch.hpp"

namespace nizhal::server::testing {

using nizhal::testing::Backend;
using nizhal::testing::BackendKind;

/// Work waits until it is told to run.
class QueueExecutor : public Executor {
 public:
  void post(std::function<void()> work) override { queue_.push_back(std::move(work)); }
  void run() {
    while (!queue_.empty()) {
      auto work = std::move(queue_.front());
      queue_.erase(queue_.begin());
      work();
    }
  }
  std::size_t waiting() const { return queue_.size(); }

 private:
  std::vector<std::function<void()>> queue_;
};

inline const std::string kSecret = "a secret of the tests";
inline const Timestamp kStart = *parse_iso8601("2026-01-02T03:04:05.000Z");

inline std::string token_for(std::string_view user, std::string_view owner, Timestamp expires) {
  json::object claims;
  claims["userId"] = user;
  claims["ownerId"] = owner;
  claims["exp"] = expires.microseconds / 1'000'000;
  return make_jwt(kSecret, to_text(claims));
}

/// A mutation as a device sends it; members with defaults are left out.
struct Sent {
  std::string name = {};
  std::string cmid = {};
  std::string id = {}, place = {}, text = {};
  std::string client = {};  // empty: unsequenced
  std::uint64_t mutation_id = 0;
  std::string hlc = {};
  std::vector<std::string> depends_on = {};
  std::string id_seed = {};
};

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string text;
  json::object body;

  std::string code() const { return string_of("code"); }
  std::string string_of(std::string_view name) const {
    const json::value* value = body.if_contains(name);
    return value && value->is_string() ? std::string(std::string_view(value->get_string())) : "";
  }
  std::optional<std::int64_t> number_of(std::string_view name) const {
    const json::value* value = body.if_contains(name);
    return value ? as_integer(*value) : std::nullopt;
  }
  bool has(std::string_view name) const { return body.contains(name); }
  /// "status" or "status:code" of each result, separated by spaces.
  std::string statuses() const {
    std::string out;
    const json::value* results = body.if_contains("results");
    if (!results || !results->is_array()) return "no results: " + text;
    for (const json::value& result : results->get_array()) {
      if (!out.empty()) out += ' ';
      out += std::string(string_member(result, "status").value_or("?"));
      if (const auto code = string_member(result, "code")) out += ":" + std::string(*code);
    }
    return out;
  }
  /// A list of texts, joined with spaces.
  std::string list(std::string_view name) const {
    std::string out;
    const json::value* values = body.if_contains(name);
    if (!values || !values->is_array()) return "no " + std::string(name) + ": " + text;
    for (const json::value& value : values->get_array()) {
      if (!out.empty()) out += ' ';
      out += value.is_string() ? std::string(std::string_view(value.get_string())) : to_text(value);
    }
    return out;
  }
};

class World {
 public:
  explicit World(Limits limits = {}, DomainOptions options = {.version = "1.2.0"})
      : World(test_domain(std::move(options)), std::move(limits)) {}
  explicit World(BackendKind kind) : World(test_domain(), Limits{}, kind) {}
  World(Domain given, Limits limits, BackendKind kind = nizhal::testing::default_backend())
      : backend(nizhal::testing::make_backend(kind)),
        random(7),
        clock(kStart),
        authenticator(kSecret),
        limits_(nizhal::testing::with_tail_as_told(std::move(limits))) {
    start(std::move(given));
  }

  /// Stops the server and starts another on the same database, as after a deployment of another domain.
  void restart(Domain given) {
    server.reset();
    storage.reset();
    const auto fitted = backend->fit(compiled(Domain(given)));
    EXPECT_TRUE(fitted) << (fitted ? "" : fitted.error().message);
    start(std::move(given));
  }

  /// Another server process on the same storage.
  void restart_server() {
    server.reset();
    server = std::make_unique<ServerSync>(
        domain, ServerOutside{clock, random, executor, *storage, authenticator, Log(), nullptr, &timers}, limits_);
  }

  Answer request(std::string method, std::string path, const std::string& token, std::string body = {},
                 std::map<std::string, std::string> headers = {}) {
    protocol::HttpRequest http;
    http.method = std::move(method);
    if (const auto mark = path.find('?'); mark != std::string::npos) {
      std::string query = path.substr(mark + 1);
      path.resize(mark);
      while (!query.empty()) {
        const auto end = query.find('&');
        const std::string pair = query.substr(0, end);
        const auto equals = pair.find('=');
        http.query.emplace(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
        query = end == std::string::npos ? "" : query.substr(end + 1);
      }
    }
    http.path = std::move(path);
    http.headers = std::move(headers);
    if (!token.empty()) http.headers["authorization"] = "Bearer " + token;
    http.body = std::move(body);
    return answer_of(server->handle(http));
  }

  static Answer answer_of(const protocol::HttpResponse& response) {
    Answer answer;
    answer.status = response.status;
    answer.headers = response.headers;
    answer.text = response.body;
    auto body = parse_json(response.body);
    EXPECT_TRUE(body && body->is_object()) << "not a JSON object: " << response.body;
    if (body && body->is_object()) answer.body = std::move(body->get_object());
    return answer;
  }

  /// User "u1" of owner "o1" has the token of both.
  std::string token(std::string_view user) const {
    return token_for(user, "o" + std::string(user.substr(1)), Timestamp{clock_now() + 3'600'000'000});
  }
  static Actor actor(std::string_view user) { return Actor{std::string(user), "o" + std::string(user.substr(1)), ""}; }

  /// Of the named buckets, or of all that the user has.
  protocol::HttpRequest stream_request(std::string_view user, const std::vector<std::string>& buckets = {}) const {
    protocol::HttpRequest request;
    request.path = "/sync/stream";
    request.headers["authorization"] = "Bearer " + token(user);
    for (const auto& key : buckets) request.query.emplace("bucket", key);
    return request;
  }
  /// "u1" has the teams a and b, "u2" is in a.
  void make_teams() {
    run("u1", "createTeam", "x", "a");
    run("u1", "createTeam", "x", "b");
    run("u1", "addMember", "m2", "a", "u2");
  }

  Answer pull(std::string_view user, std::string body = "{}") {
    return request("POST", "/sync/pull", token(user), std::move(body));
  }

  static std::string push_body(const std::vector<Sent>& mutations, bool results) {
    json::array list;
    for (const Sent& sent : mutations) {
      json::object mutation;
      mutation["name"] = sent.name;
      json::object args;
      args["id"] = sent.id;
      args["place"] = sent.place;
      args["text"] = sent.text;
      mutation["args"] = std::move(args);
      mutation["clientMutationId"] = sent.cmid;
      if (!sent.client.empty()) {
        mutation["clientID"] = sent.client;
        mutation["mutationID"] = sent.mutation_id;
      }
      if (!sent.hlc.empty()) mutation["hlc"] = sent.hlc;
      if (!sent.id_seed.empty()) mutation["idSeed"] = sent.id_seed;
      if (!sent.depends_on.empty()) {
        json::array depends;
        for (const std::string& dependency : sent.depends_on) depends.emplace_back(std::string_view(dependency));
        mutation["dependsOn"] = std::move(depends);
      }
      list.push_back(std::move(mutation));
    }
    json::object body;
    body["mutations"] = std::move(list);
    if (results) body["results"] = true;
    return to_text(body);
  }
  /// With `results`.
  Answer push(std::string_view user, const std::vector<Sent>& mutations) {
    return request("POST", "/sync/push", token(user), push_body(mutations, true));
  }
  /// Without.
  Answer push_plain(std::string_view user, const std::vector<Sent>& mutations) {
    return request("POST", "/sync/push", token(user), push_body(mutations, false));
  }
  /// One unsequenced mutation that must be applied.
  void run(std::string_view user, std::string name, std::string id, std::string place = "", std::string text = "") {
    const Answer answer = push(user, {{.name = name,
                                       .cmid = "auto-" + std::to_string(++auto_),
                                       .id = std::move(id),
                                       .place = std::move(place),
                                       .text = std::move(text)}});
    EXPECT_EQ(answer.statuses(), "applied") << name << ": " << answer.text << told();
  }

  /// What was logged last.
  std::string told() const {
    std::string lines;
    for (std::size_t i = log_lines.size() < 3 ? 0 : log_lines.size() - 3; i < log_lines.size(); ++i)
      lines += "\n" + log_lines[i];
    return lines;
  }

  /// One row's column as text, read behind everybody's back; empty when there is no such row.
  std::string read(const TableDef& table, const Value& key, std::string_view column) {
    const auto transaction = storage->write(clock.now());
    if (!transaction) return "no transaction";
    const auto row = (*transaction)->get(table, key);
    if (!row || !*row) return "";
    std::string out;
    append_value_json(out, table.columns[table.index_of(column)].type, (**row)[table.index_of(column)]);
    return out;
  }
  std::uint64_t last_version() {
    const auto mark = storage->change_mark();
    return mark ? number(mark->last) : 0;
  }
  /// Stays as it is for as long as nothing is committed. (A version is also gone when its transaction was rolled back.)
  std::string committed() {
    return backend->other_program()->value("SELECT (SELECT count(*) FROM " + backend->engine_table("mutation") +
                                           "), (SELECT count(*) FROM " + backend->engine_table("removal") +
                                           "), (SELECT coalesce(max(version), 0) FROM " +
                                           backend->engine_table("audit") +
                                           "), (SELECT coalesce(max(nizhal_version), 0) FROM notes), (SELECT "
                                           "coalesce(sum(last_mutation_id), 0) FROM " +
                                           backend->engine_table("client") + ")");
  }
  std::string hlc_at(std::chrono::milliseconds ahead, std::string_view client) {
    Hlc hlc;
    hlc.milliseconds = clock.now().microseconds / 1000 + ahead.count();
    hlc.node = hlc_node(client);
    return hlc.text();
  }
  std::int64_t clock_now() const { return const_cast<ManualClock&>(clock).now().microseconds; }

  std::unique_ptr<Backend> backend;
  SeededRandom random;
  ManualClock clock;
  ManualTimers timers{clock};
  QueueExecutor executor;
  JwtAuthenticator authenticator;
  std::vector<std::string> log_lines;
  std::vector<ReportedConflict> conflicts;
  std::function<void(const ReportedConflict&)> on_conflict = nullptr;
  std::shared_ptr<const CompiledDomain> domain;
  std::unique_ptr<FaultyStorage> storage;
  std::unique_ptr<ServerSync> server;

 private:
  void start(Domain given) {
    domain = compiled(std::move(given));
    Log log([this](LogLevel level, std::string_view area, std::string_view message) {
      log_lines.push_back(std::string(to_string(level)) + " " + std::string(area) + ": " + std::string(message));
    });
    storage = std::make_unique<FaultyStorage>(
        backend->open(domain, {.lock_timeout = std::chrono::milliseconds(200), .random = &random, .log = log}));
    const auto provisioned = storage->provision();
    EXPECT_TRUE(provisioned) << (provisioned ? "" : provisioned.error().message);
    server = std::make_unique<ServerSync>(
        domain,
        ServerOutside{clock, random, executor, *storage, authenticator, log, nullptr, &timers,
                      [this](const ReportedConflict& conflict) {
                        conflicts.push_back(conflict);
                        if (on_conflict) on_conflict(conflict);
                      }},
        limits_);
  }

  Limits limits_;
  std::uint64_t auto_ = 0;
};

/// A device that folds pages as semantics say: pages are kept aside until a pull is complete, then applied in order,
/// and within a page removed buckets, removals, rows.
class Device {
 public:
  Device(World& world, std::string user) : world_(world), user_(std::move(user)) {}

  std::size_t limit = 1000;
  std::string extra;  // more members of the request: `,"syncRule":"mine"`
  std::string cursor;
  std::map<std::pair<std::string, std::string>, Row> rows;  // (table, key) → row
  std::size_t pages = 0, rows_received = 0;
  std::vector<Answer> answers;                 // of the last complete pull
  std::function<bool()> lose_reply = nullptr;  // true: the reply never arrives

  /// One complete pull.
  void sync() {
    answers.clear();
    std::vector<protocol::PullPage> staged;
    for (std::size_t round = 0; round < 10'000; ++round) {
      const Answer answer = world_.pull(user_, "{\"cursor\":\"" + cursor + "\",\"limit\":" + std::to_string(limit) +
                                                   ",\"deviceId\":\"device-" + user_ + "\"" + extra + "}");
      ASSERT_EQ(answer.status, 200) << answer.text;
      if (lose_reply && lose_reply()) continue;
      auto page = protocol::decode_page(world_.domain->domain(), answer.text);
      ASSERT_TRUE(page) << page.error().message;
      ++pages;
      check(*page);
      cursor = page->cursor;
      const bool more = page->has_more;
      answers.push_back(answer);
      staged.push_back(std::move(*page));
      if (more) continue;
      for (const auto& one : staged) apply(one);
      return;
    }
    FAIL() << "a pull did not end";
  }

  /// What the in-scope SELECT of this moment gives.
  std::map<std::pair<std::string, std::string>, Row> expected() {
    std::map<std::pair<std::string, std::string>, Row> found;
    const auto transaction = world_.storage->write(world_.clock.now(), {.mode = storage::WriteMode::serializable});
    if (!transaction) return found;
    const auto grants = (*transaction)->grants(World::actor(user_));
    if (!grants) return found;
    storage::ScopeFilter scope;
    for (const auto& grant : *grants) scope.push_back(grant.bucket);
    for (std::size_t index = 0; index < world_.domain->tables().size(); ++index) {
      if (!world_.domain->is_delivered(index)) continue;
      const TableDef& table = world_.domain->table(index);
      QuerySpec all;
      all.table = &table;
      const auto selected = (*transaction)->find(all, &scope);
      if (!selected) continue;
      for (const Row& row : *selected) found[{table.name, key_text(row[table.key_index()])}] = row;
    }
    return found;
  }
  std::string ids(std::string_view table) const {
    std::string out;
    for (const auto& [id, row] : rows) {
      if (id.first != table) continue;
      if (!out.empty()) out += ' ';
      out += id.second;
    }
    return out;
  }

 private:
  /// A row comes at most once in a page, and no id both as changed and as removed.
  void check(const protocol::PullPage& page) {
    std::set<std::pair<std::string, std::string>> seen;
    for (const auto& changed : page.changed) {
      const TableDef* table = world_.domain->domain().find_table(changed.table);
      for (const Row& row : changed.rows) {
        ++rows_received;
        EXPECT_TRUE(seen.emplace(changed.table, key_text(row[table->key_index()])).second);
      }
    }
    for (const auto* list : {&page.tombstoned, &page.removed})
      for (const auto& removal : *list) EXPECT_TRUE(seen.emplace(removal.table, key_text(removal.id)).second);
  }

  void apply(const protocol::PullPage& page) {
    if (page.cursor_reset) {
      rows.clear();
      covered_.clear();
    }
    std::set<std::string> kept = covered_;
    for (const std::string& key : page.removed_buckets) kept.erase(key);
    if (page.buckets) {
      covered_ = {page.buckets->begin(), page.buckets->end()};
      for (auto it = kept.begin(); it != kept.end();) it = covered_.contains(*it) ? std::next(it) : kept.erase(it);
      std::erase_if(rows, [&](const auto& entry) { return !is_in(entry.first.first, entry.second, kept); });
    } else {
      EXPECT_TRUE(page.removed_buckets.empty());
    }
    for (const auto* list : {&page.tombstoned, &page.removed})
      for (const auto& removal : *list) rows.erase({removal.table, key_text(removal.id)});
    for (const auto& changed : page.changed) {
      const TableDef* table = world_.domain->domain().find_table(changed.table);
      for (const Row& row : changed.rows) rows[{changed.table, key_text(row[table->key_index()])}] = row;
    }
  }

  bool is_in(const std::string& table, const Row& row, const std::set<std::string>& buckets) const {
    const auto index = world_.domain->table_index(table);
    if (!index) return false;
    for (const Bucket& bucket : world_.domain->buckets_of(*index, row))
      if (buckets.contains(bucket.key)) return true;
    return false;
  }

  World& world_;
  const std::string user_;
  std::set<std::string> covered_;
};

}  // namespace nizhal::server::testing
