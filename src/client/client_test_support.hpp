// For the client's tests: a device on a temporary file, and a small server model of the notes example that speaks the
// protocol's own bytes. The model knows rows, versions, records of mutations and page limits; nothing of sync rules
// beyond a list of bucket keys that a test sets.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../examples/notes/notes.hpp"
#include "base/environment.hpp"
#include "base/json.hpp"
#include "base/test_temp_dir.hpp"
#include "client/local_store.hpp"
#include "domain/hlc.hpp"
#include "domain/value_json.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "protocol/transport.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::client::testing {

inline constexpr Timestamp kStart{1'767'323'045'000'000};  // 2026-01-02T03:04:05Z

inline std::shared_ptr<const CompiledDomain> compile(Domain domain) {
  auto compiled = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().message);
  return compiled ? *compiled : nullptr;
}
inline std::shared_ptr<const CompiledDomain> notes_domain() {
  static const auto kDomain = compile(notes::domain());
  return kDomain;
}

using NoteRows = std::map<std::string, std::string>;  // id → body

/// The server as the device sees it. Every handled mutation and every write takes the next version.
class FakeServer {
 public:
  explicit FakeServer(ManualClock& clock) : clock_(clock) {}

  std::size_t page_limit = 1000;
  std::string epoch = "epoch-1";
  std::vector<std::string> buckets{"o1"};
  std::int64_t drift_max_ms = 60'000;
  std::optional<std::string> give_server_id;  // for the next addNote
  std::size_t body_mutations_max = 1000;      // more: 413
  std::string poison;                         // a push that contains this text: 400

  struct Client {
    std::uint64_t last = 0;
    std::string last_client_mutation_id;
  };
  struct Record {
    bool applied = false;
    std::string code, error;
    std::optional<std::string> server_id;
  };
  std::map<std::string, Client> clients;
  std::map<std::string, Record> records;                            // by client mutation id
  std::map<std::string, std::map<std::uint64_t, std::string>> ids;  // client → mutation id → client mutation id
  std::vector<std::string> runs;                                    // client mutation ids whose mutator ran, in order
  std::size_t pushes = 0, pulls = 0;

  // Rows, as another device or program writes them
  void put(const std::string& id, const std::string& body) { put_row("notes", {id, std::string("o1"), body}); }
  void put_row(const std::string& table, Row row) {
    const std::string key = std::get<std::string>(row[0]);
    removals_.erase({table, key});
    rows_[{table, key}] = {std::move(row), ++version_};
  }
  void remove(const std::string& id) { remove_row("notes", id); }
  void remove_row(const std::string& table, const std::string& key) {
    if (rows_.erase({table, key}) > 0) removals_[{table, key}] = ++version_;
  }
  NoteRows notes() const {
    NoteRows notes;
    for (const auto& [key, row] : rows_) {
      if (key.first == "notes") notes[key.second] = std::get<std::string>(row.values[2]);
    }
    return notes;
  }
  /// What the next pull also tells.
  void lose_bucket(const std::string& key) {
    std::erase(buckets, key);
    lost_[key] = ++version_;
  }
  /// A cursor from before is not usable any more.
  void forget_cursors() { ++generation_; }

  protocol::HttpResponse handle(const protocol::HttpRequest& request) {
    if (request.path == protocol::kPushPath) {
      auto decoded = protocol::decode_push_request(request.body);
      EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message);
      if (decoded->mutations.size() > body_mutations_max)
        return {413, {}, protocol::encode_error("too_large", "too many")};
      if (!poison.empty() && request.body.find(poison) != std::string::npos)
        return {400, {}, protocol::encode_error("bad_request", "cannot be read")};
      return {200, {}, protocol::encode_push_reply(push(*decoded))};
    }
    auto decoded = protocol::decode_pull_request(request.body);
    EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message);
    return {200, {}, pull(*decoded)};
  }

  protocol::PushReply push(const protocol::PushRequest& request) {
    ++pushes;
    protocol::PushReply reply;
    bool stopped = false;
    for (const protocol::PushMutation& mutation : request.mutations) {
      protocol::PushResult result;
      result.client_mutation_id = mutation.client_mutation_id;
      if (!stopped) handle_mutation(mutation, result, reply);
      stopped = stopped || result.status == protocol::PushStatus::out_of_order ||
                result.status == protocol::PushStatus::client_cloned;
      reply.results.push_back(std::move(result));
    }
    if (!request.mutations.empty()) reply.last_mutation_id = MutationId{clients[*request.mutations[0].client_id].last};
    return reply;
  }

  std::string pull(const protocol::PullRequest& request) {
    ++pulls;
    protocol::PageWriter writer;
    protocol::PageWriter::Tail tail;
    const auto colon = request.cursor.rfind(':');
    std::uint64_t after = 0;
    const std::string usable = epoch + "/" + std::to_string(generation_);
    const bool is_usable = colon != std::string::npos && request.cursor.substr(0, colon) == usable;
    if (is_usable)
      std::from_chars(request.cursor.data() + colon + 1, request.cursor.data() + request.cursor.size(), after);
    tail.cursor_reset = !request.cursor.empty() && !is_usable;

    struct Change {
      std::pair<std::string, std::string> key;
      const Row* row = nullptr;
    };
    std::map<std::uint64_t, Change> changes;
    for (const auto& [key, row] : rows_) {
      if (row.version > after) changes[row.version] = {key, &row.values};
    }
    for (const auto& [key, version] : removals_) {
      if (version > after && is_usable) changes[version] = {key, nullptr};
    }
    std::uint64_t reached = version_;
    std::size_t count = 0;
    for (const auto& [version, change] : changes) {
      if (count++ == page_limit) {
        tail.has_more = true;
        break;
      }
      reached = tail.has_more ? reached : version;
      std::string text;
      const TableDef& table = *notes_domain()->domain().find_table(change.key.first);
      if (change.row) {
        append_row_json(text, table, *change.row);
        writer.add_changed(change.key.first, text);
      } else {
        append_value_json(text, table.key_column().type, Value(change.key.second));
        writer.add_tombstoned(change.key.first, text, std::nullopt);
      }
    }
    if (!tail.has_more) reached = version_;
    tail.cursor = usable + ":" + std::to_string(reached);
    tail.epoch = epoch;
    for (const auto& [key, version] : lost_) {
      if (is_usable && version > after) tail.removed_buckets.push_back(key);
    }
    tail.buckets = buckets;
    tail.server_time = clock_.now();
    if (!tail.has_more && request.device_id) {
      const Client& client = clients[*request.device_id];
      tail.last_mutation_id = MutationId{client.last};
      if (client.last > 0) tail.last_client_mutation_id = client.last_client_mutation_id;
    }
    return writer.finish(tail);
  }

 private:
  struct Stored {
    Row values;
    std::uint64_t version = 0;
  };

  void handle_mutation(const protocol::PushMutation& mutation, protocol::PushResult& result,
                       protocol::PushReply& reply) {
    Client& client = clients[*mutation.client_id];
    const std::uint64_t id = number(*mutation.mutation_id);
    if (id > client.last + 1) {
      result.status = protocol::PushStatus::out_of_order;
      return;
    }
    const auto known = records.find(mutation.client_mutation_id);
    if (id <= client.last) {
      const auto used = ids[*mutation.client_id].find(id);
      if (used == ids[*mutation.client_id].end()) {
        result.status = protocol::PushStatus::outcome_unknown;
      } else if (used->second != mutation.client_mutation_id) {
        result.status = protocol::PushStatus::client_cloned;
      } else {
        repeat(known->second, result);
      }
      return;
    }
    client = {id, mutation.client_mutation_id};
    ids[*mutation.client_id][id] = mutation.client_mutation_id;
    ++version_;
    if (known != records.end()) return repeat(known->second, result);
    if (const auto stamp = parse_hlc(mutation.hlc.value_or("")); stamp) {
      const std::int64_t ahead = stamp->milliseconds - clock_.now().microseconds / 1000;
      if (ahead > drift_max_ms) reply.clock_skew_ms = ahead;
    }
    Record record = run(mutation);
    result.status = record.applied ? protocol::PushStatus::applied : protocol::PushStatus::rejected;
    result.code = record.code;
    result.error = record.error;
    result.server_id = record.server_id;
    records[mutation.client_mutation_id] = std::move(record);
  }

  static void repeat(const Record& record, protocol::PushResult& result) {
    result.status = record.applied ? protocol::PushStatus::duplicate : protocol::PushStatus::rejected;
    result.code = record.code;
    result.error = record.error;
    result.server_id = record.server_id;
  }

  Record run(const protocol::PushMutation& mutation) {
    const auto refuse = [](const char* code) { return Record{false, code, "refused by the model", std::nullopt}; };
    if (mutation.name == protocol::kSkip) return Record{true, "", "", std::nullopt};
    for (const std::string& dependency : mutation.depends_on) {
      const auto it = records.find(dependency);
      if (it != records.end() && !it->second.applied) return refuse("dependency_rejected");
    }
    runs.push_back(mutation.client_mutation_id);
    std::string id(string_member(mutation.args, "id").value_or(""));
    if (const auto it = server_ids_.find(id); it != server_ids_.end()) id = it->second;
    const std::string body(string_member(mutation.args, "body").value_or(""));
    const bool exists = rows_.contains({"notes", id});
    Record record{true, "", "", std::nullopt};
    if (mutation.name == "addNote") {
      if (exists) return refuse("already_exists");
      if (body == "reject") return refuse("refused_body");
      if (give_server_id) {
        server_ids_[id] = *give_server_id;
        record.server_id = give_server_id;
        id = *std::exchange(give_server_id, std::nullopt);
      }
      put(id, body);
    } else if (mutation.name == "editNote") {
      if (!exists) return refuse("not_found");
      put(id, body);
    } else if (mutation.name == "appendNote") {  // only some tests' devices have it
      if (!exists) return refuse("not_found");
      put(id, std::get<std::string>(rows_.at({"notes", id}).values[2]) + body);
    } else if (mutation.name == "deleteNote") {
      if (!exists) return refuse("not_found");
      remove(id);
    } else {
      return refuse("unknown_mutator");
    }
    return record;
  }

  ManualClock& clock_;
  std::uint64_t version_ = 0;
  std::uint64_t generation_ = 0;
  std::map<std::pair<std::string, std::string>, Stored> rows_;
  std::map<std::pair<std::string, std::string>, std::uint64_t> removals_;
  std::map<std::string, std::string> server_ids_;
  std::map<std::string, std::uint64_t> lost_;
};

/// One installation of the app, driven by hand: no state machine between it and the server.
class Device {
 public:
  Device(std::string path, ManualClock& clock, std::uint64_t seed = 1,
         std::shared_ptr<const CompiledDomain> domain = notes_domain())
      : clock_(clock), random_(seed) {
    options_.path = std::move(path);
    options_.domain = std::move(domain);
    options_.actor = {.user_id = "u1", .owner_id = "o1", .claims = ""};
    options_.server = "http://localhost:1";
    open();
  }

  LocalStoreOptions& options() { return options_; }
  LocalStore& store() { return *store_; }
  void open() {
    auto opened = LocalStore::open(options_, clock_, random_, Log());
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  void close() { store_.reset(); }
  void reopen() {
    close();
    open();
  }

  Result<Ticket> mutate(const std::string& name, std::vector<std::string> args, MutateOptions options = {}) {
    MutatorDef::Values values;
    for (std::string& arg : args) values.emplace_back(std::move(arg));
    return store_->mutate(name, values, options);
  }
  /// The client mutation id.
  std::string add(const std::string& id, const std::string& body, MutateOptions options = {}) {
    return expect(mutate("addNote", {id, body}, std::move(options)));
  }
  std::string edit(const std::string& id, const std::string& body, MutateOptions options = {}) {
    return expect(mutate("editNote", {id, body}, std::move(options)));
  }
  std::string erase(const std::string& id, MutateOptions options = {}) {
    return expect(mutate("deleteNote", {id}, std::move(options)));
  }

  NoteRows notes() {
    NoteRows notes;
    QuerySpec query = from(notes::notes).spec();
    auto rows = store_->query(query);
    EXPECT_TRUE(rows) << (rows ? "" : rows.error().message);
    if (!rows) return notes;
    for (const Row& row : *rows) notes[std::get<std::string>(row[0])] = std::get<std::string>(row[2]);
    return notes;
  }
  std::vector<PendingMutation> outbox() { return *store_->outbox(); }
  std::vector<DeadLetter> dead_letters() { return *store_->dead_letters(); }
  /// First column of the first row, as text.
  std::string sql_text(const std::string& text) {
    auto result = store_->sql(text);
    EXPECT_TRUE(result) << (result ? "" : result.error().message);
    if (!result || result->rows.empty()) return "";
    const Value& value = result->rows[0][0];
    if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
    const auto* string = std::get_if<std::string>(&value);
    return string ? *string : "";
  }

  /// As another program writes this file.
  void write_sql(const std::string& text) {
    auto connection = sqlite::Connection::open(options_.path, {});
    ASSERT_TRUE(connection) << connection.error().message;
    const auto done = (*connection)->execute(text);
    ASSERT_TRUE(done) << done.error().message;
  }
  /// The status counts without counting; it must come to the same.
  void check_counts() {
    if (!store_) return;
    const auto counts = store_->counts();
    ASSERT_TRUE(counts) << counts.error().message;
    EXPECT_EQ(std::to_string(counts->pending),
              sql_text("SELECT count(*) FROM nizhal_outbox WHERE name <> '" + std::string(protocol::kSkip) + "'"));
    EXPECT_EQ(std::to_string(counts->dead_letters), sql_text("SELECT count(*) FROM nizhal_dead_letter"));
  }

  enum class Reply { arrives, is_lost };
  /// One batch. False when there was nothing to send.
  bool push(FakeServer& server, Reply reply = Reply::arrives, std::size_t mutations_max = 100) {
    auto request = store_->next_push(mutations_max, 1 << 20);
    EXPECT_TRUE(request) << (request ? "" : request.error().message);
    if (!request || request->mutations.empty()) return false;
    // Over the wire's own bytes, so that what the device leaves out is noticed.
    auto sent = protocol::decode_push_request(protocol::encode_push_request(*request));
    EXPECT_TRUE(sent) << (sent ? "" : sent.error().message);
    const protocol::PushReply answer = server.push(*sent);
    if (reply == Reply::is_lost) {
      EXPECT_TRUE(store_->note_push_failure(*request, "the reply was lost"));
      return true;
    }
    auto settled = store_->settle_push(*request, answer);
    EXPECT_TRUE(settled) << (settled ? "" : settled.error().message);
    if (settled) last_settled = *settled;
    return true;
  }
  /// One page.
  LocalStore::PullApplied pull_page(FakeServer& server, Reply reply = Reply::arrives) {
    auto request = store_->next_pull(server.page_limit);
    EXPECT_TRUE(request) << (request ? "" : request.error().message);
    const std::string body = server.pull(*request);
    if (reply == Reply::is_lost) return {};
    auto page = protocol::decode_page(store_->domain().domain(), body);
    EXPECT_TRUE(page) << (page ? "" : page.error().message);
    auto applied = store_->apply_page(*request, *page);
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    return applied ? *applied : LocalStore::PullApplied{};
  }
  LocalStore::PullApplied pull(FakeServer& server) {
    for (int pages = 0; pages < 1000; ++pages) {
      const LocalStore::PullApplied applied = pull_page(server);
      if (applied.complete || applied.identity_changed) return applied;
    }
    ADD_FAILURE() << "the pull does not end";
    return {};
  }
  /// Pushes and pulls until the outbox is empty.
  void sync(FakeServer& server) {
    for (int rounds = 0; rounds < 100; ++rounds) {
      while (push(server)) {
      }
      pull(server);
      if (outbox().empty() && sql_text("SELECT count(*) FROM nizhal_outbox") == "0") return;
    }
    ADD_FAILURE() << "the outbox does not drain";
  }

  LocalStore::PushSettled last_settled;

 private:
  static std::string expect(const Result<Ticket>& ticket) {
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().message);
    return ticket ? ticket->client_mutation_id : "";
  }
  ManualClock& clock_;
  SeededRandom random_;
  LocalStoreOptions options_;
  std::unique_ptr<LocalStore> store_;
};

/// A device, a server and their clock.
struct World : ::testing::Test {
  TempDir folder;
  ManualClock clock{kStart};
  FakeServer server{clock};
  Device device{folder.file("a.db"), clock};
  void TearDown() override { device.check_counts(); }
};

}  // namespace nizhal::client::testing
