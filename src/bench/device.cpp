#include "bench/device.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "bench/bench_domain.hpp"
#include "bench/rounds.hpp"
#include "client/local_store.hpp"
#include "domain/compiled_domain.hpp"
#include "domain/value_json.hpp"
#include "protocol/pull.hpp"

namespace nizhal::bench {
namespace {

constexpr std::size_t kPageRows = 1'000;
constexpr std::size_t kBodyBytes = 100;  // of a row's text
constexpr const char* kOwner = "owner-1";

// What the limit keeps: the app's table as the store makes it, and the outbox with the columns, constraints and indexes
// of nizhal_outbox (the store's schema, store_schema.cpp).
constexpr const char* kItems =
    "CREATE TABLE items(id TEXT PRIMARY KEY NOT NULL, owner_id TEXT NOT NULL, body TEXT NOT NULL, amount INTEGER NOT "
    "NULL)";
constexpr const char* kOutbox = R"(
CREATE TABLE outbox(
  ordinal INTEGER PRIMARY KEY NOT NULL, mutation_id INTEGER UNIQUE, client_mutation_id TEXT NOT NULL UNIQUE,
  id_seed TEXT NOT NULL, name TEXT NOT NULL, args_version INTEGER NOT NULL, args TEXT NOT NULL, hlc TEXT NOT NULL,
  depends_on TEXT NOT NULL DEFAULT '[]', enqueued_at TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  covered INTEGER NOT NULL DEFAULT 0, outcome_known INTEGER NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT '',
  dependency_key TEXT NOT NULL DEFAULT '', awaits_server INTEGER NOT NULL DEFAULT 0,
  send_before INTEGER NOT NULL DEFAULT 0);
CREATE INDEX outbox_awaiting ON outbox(ordinal) WHERE awaits_server <> 0;
CREATE INDEX outbox_key ON outbox(dependency_key) WHERE dependency_key <> '';
CREATE INDEX outbox_dependent ON outbox(ordinal) WHERE depends_on <> '[]';
)";

/// A file through SQLite's C API, with the store's pragmas, and nothing else.
class BareFile {
 public:
  ~BareFile() {
    for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
    sqlite3_close(database_);
  }
  Result<void> open(const std::string& path) {
    if (sqlite3_open(path.c_str(), &database_) != SQLITE_OK) return failed();
    return execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=OFF");
  }
  Result<void> execute(const char* sql) {
    if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failed();
    return {};
  }
  Result<sqlite3_stmt*> prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK)
      return failed();
    statements_.push_back(statement);
    return statement;
  }
  Result<void> run(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) return failed();
    return {};
  }

 private:
  tl::unexpected<Error> failed() const {
    return failure(ErrorCode::io_error, fmt::format("the limit's file: {}", sqlite3_errmsg(database_)));
  }
  sqlite3* database_ = nullptr;
  std::vector<sqlite3_stmt*> statements_;
};

void bind_text(sqlite3_stmt* statement, int index, const std::string& text) {
  sqlite3_bind_text(statement, index, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

class DeviceRunner {
 public:
  DeviceRunner(Benchmark benchmark, const Options& options, const Outside& outside)
      : benchmark_(benchmark), options_(options), outside_(outside) {}

  Result<Figure> run() {
    figure_.name = to_string(benchmark_);
    figure_.settings = outside_.settings;
    if (directory_.path().empty()) return failure(ErrorCode::io_error, "no temporary directory");
    auto compiled = CompiledDomain::compile(bench_domain());
    if (!compiled) return tl::unexpected(compiled.error());
    domain_ = std::move(*compiled);
    outside_.progress(fmt::format("{}: preparing", figure_.name));
    auto measured = benchmark_ == Benchmark::mutate ? measure_mutate() : measure_apply();
    if (!measured) return tl::unexpected(measured.error());
    return std::move(figure_);
  }

 private:
  using Watch = std::chrono::steady_clock;

  void say(std::string name, std::string value) { figure_.settings.emplace_back(std::move(name), std::move(value)); }
  std::string new_path() { return fmt::format("{}/{}.db", directory_.path(), ++files_); }
  static double seconds_since(Watch::time_point start) {
    return std::chrono::duration<double>(Watch::now() - start).count();
  }

  Result<std::unique_ptr<client::LocalStore>> open_store() {
    client::LocalStoreOptions options;
    options.path = new_path();
    options.domain = domain_;
    options.actor = {.user_id = "user-1", .owner_id = kOwner, .claims = ""};
    return client::LocalStore::open(std::move(options), outside_.clock, outside_.random, Log());
  }

  // One mutation: a row and an outbox entry, durable when the call returns.

  Result<void> measure_mutate() {
    figure_.unit = "mutations/s";
    say("durability", "process: WAL, synchronous=NORMAL");
    say("body", fmt::format("{} bytes", kBodyBytes));
    say("limit", "the same two inserts in one transaction, prepared, through the sqlite3 C API");
    return measure_rounds(
        figure_, options_, outside_, [this](std::chrono::seconds duration) { return mutate_for(duration); },
        [this](std::chrono::seconds duration) { return insert_for(duration); });
  }

  Result<double> mutate_for(std::chrono::seconds duration) {
    auto store = open_store();
    if (!store) return tl::unexpected(store.error());
    MutatorDef::Values values{std::string(), std::string(kBodyBytes, 'x'), std::int64_t{0}};
    std::int64_t done = 0;
    const auto start = Watch::now();
    while (Watch::now() - start < duration) {
      if (done % 1'000 == 0)
        if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
      values[0] = random_uuid(outside_.random);
      values[2] = done;
      if (auto ticket = (*store)->mutate(kAddItem, values, {}); !ticket) return tl::unexpected(ticket.error());
      ++done;
    }
    return static_cast<double>(done) / seconds_since(start);
  }

  Result<double> insert_for(std::chrono::seconds duration) {
    BareFile file;
    if (auto opened = file.open(new_path()); !opened) return tl::unexpected(opened.error());
    for (const char* sql : {kItems, kOutbox})
      if (auto made = file.execute(sql); !made) return tl::unexpected(made.error());
    const auto begin = file.prepare("BEGIN IMMEDIATE");
    const auto commit = file.prepare("COMMIT");
    const auto item = file.prepare("INSERT INTO items(id, owner_id, body, amount) VALUES(?1, ?2, ?3, ?4)");
    const auto entry = file.prepare(
        "INSERT INTO outbox(ordinal, client_mutation_id, id_seed, name, args_version, args, hlc, depends_on, "
        "enqueued_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    for (const auto* statement : {&begin, &commit, &item, &entry})
      if (!*statement) return tl::unexpected(statement->error());
    // Ids that are spread as random ones are, and texts as long as the engine's, all made ahead: the limit only writes.
    std::vector<std::string> ids(1'000);
    for (std::string& id : ids) id = random_uuid(outside_.random);
    const std::string owner = kOwner, body(kBodyBytes, 'x'), name = kAddItem, none = "[]";
    const std::string hlc(60, '0'), time = to_iso8601(outside_.clock.now());
    const std::string args = fmt::format(R"({{"id":"{}","body":"{}","amount":"12345"}})", ids[0], body);
    std::int64_t done = 0;
    const auto start = Watch::now();
    while (Watch::now() - start < duration) {
      if (done % 1'000 == 0)
        if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
      // The n-th round through the list changes the middle of each id, so that none comes twice.
      std::string& id = ids[static_cast<std::size_t>(done) % ids.size()];
      const auto turn = static_cast<std::size_t>(done) / ids.size();
      for (std::size_t digit = 0, rest = turn; digit < 4; ++digit, rest /= 10)
        id[9 + digit] = static_cast<char>('0' + rest % 10);
      sqlite3_bind_int64(*entry, 1, done + 1);
      bind_text(*item, 1, id);
      bind_text(*item, 2, owner);
      bind_text(*item, 3, body);
      sqlite3_bind_int64(*item, 4, done);
      bind_text(*entry, 2, id);
      bind_text(*entry, 3, id);
      bind_text(*entry, 4, name);
      sqlite3_bind_int64(*entry, 5, 1);
      bind_text(*entry, 6, args);
      bind_text(*entry, 7, hlc);
      bind_text(*entry, 8, none);
      bind_text(*entry, 9, time);
      for (sqlite3_stmt* statement : {*begin, *item, *entry, *commit})
        if (auto ran = file.run(statement); !ran) return tl::unexpected(ran.error());
      ++done;
    }
    return static_cast<double>(done) / seconds_since(start);
  }

  // A bootstrap: pages as they come over the wire, into rows.

  Result<void> measure_apply() {
    figure_.unit = "rows/s";
    say("rows", fmt::to_string(options_.rows));
    say("page", fmt::format("{} rows, {} bytes of text each, as a JSON body", kPageRows, kBodyBytes));
    say("limit", "the same upserts through prepared sqlite3 statements, 1,000 per transaction");
    make_pages();
    return measure_rounds(
        figure_, options_, outside_, [this](std::chrono::seconds duration) { return apply_for(duration); },
        [this](std::chrono::seconds duration) { return upsert_for(duration); });
  }

  /// As a backfill brings them: in the order of keys.
  void make_pages() {
    const TableDef& table = *domain_->domain().find_table(kItemTable);
    for (std::size_t i = 0; i < options_.rows; ++i)
      rows_.push_back({random_uuid(outside_.random), std::string(kOwner), std::string(kBodyBytes, 'x'),
                       static_cast<std::int64_t>(i)});
    std::sort(rows_.begin(), rows_.end());
    std::string text;
    for (std::size_t first = 0; first < rows_.size(); first += kPageRows) {
      const std::size_t end = std::min(first + kPageRows, rows_.size());
      protocol::PageWriter writer;
      for (std::size_t i = first; i < end; ++i) {
        text.clear();
        append_row_json(text, table, rows_[i]);
        writer.add_changed(kItemTable, text);
      }
      protocol::PageWriter::Tail tail;
      tail.cursor = fmt::format("cursor-{}", end);
      tail.has_more = end < rows_.size();
      tail.buckets = {kOwner};
      tail.epoch = "epoch";
      tail.server_time = outside_.clock.now();
      pages_.push_back(writer.finish(tail));
    }
  }

  Result<double> apply_for(std::chrono::seconds duration) {
    double seconds = 0;
    std::size_t rows = 0;
    while (seconds < static_cast<double>(duration.count())) {
      auto store = open_store();
      if (!store) return tl::unexpected(store.error());
      const auto start = Watch::now();
      for (const std::string& body : pages_) {
        if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
        auto request = (*store)->next_pull(kPageRows);
        if (!request) return tl::unexpected(request.error());
        auto page = protocol::decode_page(domain_->domain(), body);
        if (!page) return tl::unexpected(page.error());
        auto applied = (*store)->apply_page(*request, *page);
        if (!applied) return tl::unexpected(applied.error());
        rows += applied->rows;
      }
      seconds += seconds_since(start);
    }
    if (rows == 0 || rows % rows_.size() != 0)
      return failure(ErrorCode::internal, fmt::format("{} rows were applied, not {}", rows, rows_.size()));
    return static_cast<double>(rows) / seconds;
  }

  Result<double> upsert_for(std::chrono::seconds duration) {
    double seconds = 0;
    std::size_t rows = 0;
    while (seconds < static_cast<double>(duration.count())) {
      BareFile file;
      if (auto opened = file.open(new_path()); !opened) return tl::unexpected(opened.error());
      if (auto made = file.execute(kItems); !made) return tl::unexpected(made.error());
      const auto begin = file.prepare("BEGIN IMMEDIATE");
      const auto commit = file.prepare("COMMIT");
      const auto upsert = file.prepare(
          "INSERT INTO items(id, owner_id, body, amount) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(id) DO UPDATE SET owner_id "
          "= excluded.owner_id, body = excluded.body, amount = excluded.amount");
      for (const auto* statement : {&begin, &commit, &upsert})
        if (!*statement) return tl::unexpected(statement->error());
      const auto start = Watch::now();
      for (std::size_t first = 0; first < rows_.size(); first += kPageRows) {
        if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
        if (auto begun = file.run(*begin); !begun) return tl::unexpected(begun.error());
        for (std::size_t i = first; i < std::min(first + kPageRows, rows_.size()); ++i) {
          for (int column = 0; column < 3; ++column)
            bind_text(*upsert, column + 1, std::get<std::string>(rows_[i][static_cast<std::size_t>(column)]));
          sqlite3_bind_int64(*upsert, 4, std::get<std::int64_t>(rows_[i][3]));
          if (auto ran = file.run(*upsert); !ran) return tl::unexpected(ran.error());
          ++rows;
        }
        if (auto done = file.run(*commit); !done) return tl::unexpected(done.error());
      }
      seconds += seconds_since(start);
    }
    return static_cast<double>(rows) / seconds;
  }

  const Benchmark benchmark_;
  const Options& options_;
  const Outside& outside_;
  Figure figure_;
  Directory directory_;
  std::shared_ptr<const CompiledDomain> domain_;
  std::size_t files_ = 0;
  std::vector<Row> rows_;
  std::vector<std::string> pages_;
};

}  // namespace

bool is_of_device(Benchmark benchmark) { return benchmark == Benchmark::mutate || benchmark == Benchmark::apply; }

Result<Figure> run_device_benchmark(Benchmark benchmark, const Options& options, const Outside& outside) {
  return DeviceRunner(benchmark, options, outside).run();
}

}  // namespace nizhal::bench
