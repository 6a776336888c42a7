// See harness.hpp.
#include "tests/postgres_failures/harness.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.hpp"
#include "domain/value_json.hpp"
#include "postgres/connection.hpp"
#include "protocol/pull.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {
namespace {

struct Entry {
  std::string id, owner_id, body;
};
struct Total {
  std::string id, owner_id;
  std::int64_t count = 0;
};
const auto entry_table =
    table<Entry>("entries").key("id", &Entry::id).column("owner_id", &Entry::owner_id).column("body", &Entry::body);
const auto total_table =
    table<Total>("totals").key("id", &Total::id).column("owner_id", &Total::owner_id).column("count", &Total::count);

struct Args {
  std::string id, text;
};

constexpr std::string_view kJwtSecret = "a secret that only this test knows";

std::mutex hook_mutex;
std::shared_ptr<const std::function<void(std::string_view)>> current_hook;

void at(std::string_view place) {
  std::shared_ptr<const std::function<void(std::string_view)>> hook;
  {
    const std::lock_guard lock(hook_mutex);
    hook = current_hook;
  }
  if (hook && *hook) (*hook)(place);
}

void count_in(MutatorContext& ctx, const std::string& total) {
  if (const auto found = ctx.get(total_table, total))
    ctx.update(total_table, total, {set("count", found->count + 1)});
  else
    ctx.insert(total_table, {.id = total, .owner_id = ctx.actor().owner_id, .count = 1});
}

std::unique_ptr<postgres::Connection> connect(const std::string& url) {
  postgres::ConnectOptions options;
  options.url = url;
  options.statement_timeout = options.lock_timeout = std::chrono::seconds(60);
  return require(postgres::Connection::connect(options), "connect");
}

std::map<std::string, std::string> rows_of(const std::string& url, const std::string& sql) {
  const auto connection = connect(url);
  const auto found = require(connection->query(sql), sql);
  std::map<std::string, std::string> rows;
  for (int row = 0; row < found.size(); ++row) rows[std::string(found.text(row, 0))] = found.text(row, 1);
  return rows;
}

/// What a device must never be told.
void expect_discreet(std::string_view body, bool is_push) {
  for (const std::string_view forbidden : {"SELECT", "INSERT", "UPDATE", "DELETE", "SQLSTATE", "PostgreSQL", "postgres",
                                           "nizhal_", "nizhal.", "pgbouncer", "violates", "relation", "deadlock"})
    EXPECT_EQ(body.find(forbidden), std::string_view::npos) << forbidden << " in " << body;
  if (is_push) {
    EXPECT_EQ(body.find(kSecretText), std::string_view::npos) << body;
  }
}

}  // namespace

std::string database_of(const std::string& url) {
  const std::string name = url.substr(url.rfind('/') + 1);
  return name.substr(0, name.find('?'));
}

void set_hook(std::function<void(std::string_view)> hook) {
  const std::lock_guard lock(hook_mutex);
  current_hook = std::make_shared<const std::function<void(std::string_view)>>(std::move(hook));
}

void WaitingExecutor::run_all() {
  while (true) {
    std::function<void()> work;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

std::shared_ptr<const CompiledDomain> failure_domain() {
  Domain d("failures", {.version = "1.0.0"});
  d.add(entry_table).add(total_table);
  const auto mutator = [&d](const char* name, auto body) {
    d.mutator<Args>(name).arg("id", &Args::id).arg("text", &Args::text).run(std::move(body));
  };
  const auto insert = [](MutatorContext& ctx, const Args& a) {
    ctx.insert(entry_table, {.id = a.id, .owner_id = ctx.actor().owner_id, .body = a.text});
  };
  mutator("add", [insert](MutatorContext& ctx, const Args& a) -> Outcome {
    at("begin");
    insert(ctx, a);
    at("middle");
    count_in(ctx, ctx.actor().owner_id);
    at("end");
    return done();
  });
  mutator("addOnly", [insert](MutatorContext& ctx, const Args& a) -> Outcome {
    at("begin");
    insert(ctx, a);
    at("end");
    return done();
  });
  mutator("search", [insert](MutatorContext& ctx, const Args& a) -> Outcome {
    at("begin");
    if (!ctx.find(from(entry_table).where(eq("body", a.text + "?"))).empty()) return reject("taken", "there is one");
    at("middle");
    insert(ctx, a);
    at("end");
    return done();
  });
  mutator("both", [insert](MutatorContext& ctx, const Args& a) -> Outcome {
    const std::string& owner = ctx.actor().owner_id;
    const bool a_first = a.text.starts_with("ab");
    ctx.get(total_table, owner + (a_first ? "a" : "b"));
    at("middle");
    ctx.get(total_table, owner + (a_first ? "b" : "a"));
    count_in(ctx, owner + "a");
    count_in(ctx, owner + "b");
    insert(ctx, a);
    return done();
  });
  d.rule("mine")
      .parameter("ownerId", actor::owner_id)
      .data(entry_table, eq("owner_id", "ownerId"))
      .data(total_table, eq("owner_id", "ownerId"));
  return require(CompiledDomain::compile(std::move(d)), "compile the domain");
}

Host::Host(std::string url, const std::function<void(storage::PostgresStorageOptions&)>& change, server::Limits limits)
    : authenticator_(std::string(kJwtSecret)) {
  storage::PostgresStorageOptions options;
  options.url = std::move(url);
  if (change) change(options);
  const Log log([this](LogLevel level, std::string_view area, std::string_view message) {
    const std::lock_guard lock(log_mutex_);
    log_ += fmt::format("{} {}: {}\n", to_string(level), area, message);
  });
  const auto domain = failure_domain();
  storage_ = require(storage::open_postgres_storage(options, domain, system_random(), log), "open the storage");
  require(storage_->provision(), "provision");
  server_ = std::make_unique<server::ServerSync>(
      domain, server::ServerOutside{system_clock(), system_random(), executor_, *storage_, authenticator_, log},
      std::move(limits));
}

Host::~Host() { EXPECT_EQ(log().find(kSecretText), std::string::npos) << "the log quotes a row: " << log(); }

std::string Host::log() {
  const std::lock_guard lock(log_mutex_);
  return log_;
}

void Host::tick() {
  server_->tick();
  executor_.run_all();
}

protocol::HttpResponse Host::post(std::string_view path, const std::string& owner, std::string body) {
  json::object claims;
  claims["userId"] = "u-" + owner;
  claims["ownerId"] = owner;
  claims["exp"] = system_clock().now().microseconds / 1'000'000 + 3'600;
  protocol::HttpRequest request;
  request.method = "POST";
  request.path = path;
  request.headers["authorization"] = "Bearer " + server::make_jwt(kJwtSecret, to_text(claims));
  request.body = std::move(body);
  auto response = server_->handle(request);
  expect_discreet(response.body, path == protocol::kPushPath);
  return response;
}

Sender::Sender(std::string name, std::string owner)
    : name_(std::move(name)), owner_(owner.empty() ? name_ : std::move(owner)), client_("client-" + name_) {}

void Sender::queue(std::string_view mutator, std::size_t count, std::string_view text) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t id = next_id_++;
    waiting_.push_back(
        {id, std::string(mutator), fmt::format("{}-{}", name_, id), fmt::format("{}{}-{}", text, kSecretText, id)});
  }
}

bool Sender::push(Host& host, std::size_t batch) {
  if (waiting_.empty()) return true;
  json::array list;
  for (std::size_t i = 0; i < std::min(batch, waiting_.size()); ++i) {
    const Mutation& mutation = waiting_[i];
    json::object one, args;
    args["id"] = mutation.entry;
    args["text"] = mutation.text;
    one["name"] = mutation.name;
    one["args"] = std::move(args);
    one["clientMutationId"] = "m-" + mutation.entry;
    one["clientID"] = client_;
    one["mutationID"] = mutation.id;
    list.push_back(std::move(one));
  }
  json::object body;
  body["mutations"] = std::move(list);
  body["results"] = true;
  const auto response = host.post(protocol::kPushPath, owner_, to_text(body));
  last_answer_ = response.body;
  if (response.status == 503 || response.status == 500) return false;
  EXPECT_EQ(response.status, 200) << response.body;
  const auto parsed = parse_json(response.body);
  const json::value* results = parsed && parsed->is_object() ? parsed->get_object().if_contains("results") : nullptr;
  if (!results || !results->is_array()) {
    ADD_FAILURE() << "not an answer: " << response.body;
    return false;
  }
  for (const json::value& result : results->get_array()) {
    const std::string status(string_member(result, "status").value_or("?"));
    if (status == "retry" || status == "not_tried") return false;
    if (status != "applied" && status != "duplicate") {
      ADD_FAILURE() << "a final refusal for a transient failure: " << response.body << "\n" << host.log();
      return false;
    }
    acknowledged_.insert(waiting_.front().entry);
    if (waiting_.front().name == "add") ++counted_;
    waiting_.pop_front();
  }
  return waiting_.empty();
}

void Sender::push_all(Host& host, int requests_max) {
  for (int request = 0; request < requests_max && !is_done(); ++request) push(host);
  EXPECT_TRUE(is_done()) << "not acknowledged in the end: " << last_answer_ << "\n" << host.log();
}

void Sender::expect_exactly_once(const std::string& url) const {
  const auto rows = rows_of(url, fmt::format("SELECT id, body FROM entries WHERE id LIKE '{}-%'", name_));
  std::set<std::string> there;
  for (const auto& [id, body] : rows) there.insert(id);
  EXPECT_EQ(there, acknowledged_) << "of " << name_;
  if (name_ != owner_) return;
  const auto totals = rows_of(url, fmt::format("SELECT id, count FROM totals WHERE owner_id = '{}'", owner_));
  for (const auto& [id, count] : totals) EXPECT_EQ(count, std::to_string(counted_)) << "total " << id;
}

bool Reader::pull(Host& host) {
  static const auto domain = failure_domain();
  // Pages are applied when the pull is complete; until then they are told again.
  auto cursor = cursor_;
  auto entries = entries_;
  int resets = 0;
  for (int page = 0; page < 10'000; ++page) {
    json::object body;
    body["cursor"] = cursor;
    body["limit"] = 50;
    const auto response = host.post(protocol::kPullPath, owner_, to_text(body));
    if (response.status == 503 || response.status == 500) return false;
    EXPECT_EQ(response.status, 200) << response.body;
    const auto decoded = protocol::decode_page(domain->domain(), response.body);
    if (!decoded) {
      ADD_FAILURE() << decoded.error().message << ": " << response.body;
      return false;
    }
    if (decoded->cursor_reset) {
      ++resets;
      entries.clear();
    }
    for (const auto* list : {&decoded->tombstoned, &decoded->removed})
      for (const auto& removal : *list)
        if (removal.table == "entries") entries.erase(key_text(removal.id));
    for (const auto& changed : decoded->changed) {
      if (changed.table != "entries") continue;
      for (const Row& row : changed.rows) entries[key_text(row[0])] = std::get<std::string>(row[2]);
    }
    cursor = decoded->cursor;
    if (decoded->has_more) continue;
    cursor_ = std::move(cursor);
    entries_ = std::move(entries);
    resets_ += resets;
    return true;
  }
  ADD_FAILURE() << "a pull did not end";
  return false;
}

void Reader::expect_equal(const std::string& url) const {
  EXPECT_EQ(entries_, rows_of(url, fmt::format("SELECT id, body FROM entries WHERE owner_id = '{}'", owner_)));
}

}  // namespace nizhal::testing
