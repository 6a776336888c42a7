#include "tests/device_faults/cycle.hpp"

#include <sqlite3.h>

#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <utility>

#include "sqlite/connection.hpp"
#include "tests/support/select_text.hpp"

namespace nizhal::testing {

using client::LocalStore;

namespace {

/// Three pages of overflow at SQLite's usual page size.
const std::string kLongBody(9'000, 'x');

std::string note(int number) { return fmt::format("n{}", number); }

/// Rows by id, as the notes example's mutators see them.
using Notes = std::map<std::string, std::string>;

/// What the notes example does, told a second time.
void run_on(Notes& notes, const std::string& name, const std::string& id, const std::string& body) {
  if (name == "addNote") {
    notes.try_emplace(id, body);
  } else if (name == "editNote") {
    if (const auto it = notes.find(id); it != notes.end()) it->second = body;
  } else if (name == "deleteNote") {
    notes.erase(id);
  }
}

std::string text_of(const Notes& notes) {
  std::string text;
  for (const auto& [id, body] : notes)
    text += fmt::format("{}={}{} ", id, body.substr(0, 12), body.size() > 12 ? "…" : "");
  return text;
}

/// Beside a store that is open it changes nothing.
Result<std::unique_ptr<sqlite::Connection>> open_to_look(const std::string& path) {
  return sqlite::Connection::open(path, {.read_only = true});
}

}  // namespace

Cycle::Cycle(std::string path, Durability durability) : path_(std::move(path)), durability_(durability) {
  server_.page_limit = 4;
  for (int i = 0; i < 9; ++i) server_.put(fmt::format("s{}", i), "of the server");
  build();
}

Result<void> Cycle::open() {
  client::LocalStoreOptions options;
  options.path = path_;
  options.domain = client::testing::notes_domain();
  options.actor = {.user_id = "u1", .owner_id = "o1", .claims = ""};
  options.server = "http://localhost:1";
  options.durability = durability_;
  auto opened = LocalStore::open(std::move(options), clock_, random_, Log());
  if (!opened) return tl::unexpected(opened.error());
  store_ = std::move(*opened);
  store_->add_listener(*this);
  if (on_commit_) on_commit_();
  return {};
}

void Cycle::close() { store_.reset(); }

void Cycle::committed(std::shared_ptr<const client::Commit>) {
  if (on_commit_) on_commit_();
}

void Cycle::forget_lost() {
  const std::set<std::string> there = known();
  std::erase_if(acknowledged_, [&](const std::string& id) { return !there.contains(id); });
}

std::string Cycle::content(const std::string& path) {
  auto connection = open_to_look(path);
  if (!connection) return connection.error().message;
  std::string all;
  for (const std::string& table :
       select_text(**connection,
                   "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' "
                   "ORDER BY name")) {
    all += table + "\n";
    for (const std::string& row : select_text(**connection, fmt::format("SELECT * FROM {}", table))) all += row + "\n";
  }
  if (all.find("client_id|") == std::string::npos) return {};
  return fmt::format("{:016x}", std::hash<std::string>{}(all));
}

Result<void> Cycle::mutate(const std::string& name, std::vector<std::string> args, MutateOptions options,
                           std::string* id) {
  MutatorDef::Values values;
  for (const std::string& arg : args) values.emplace_back(arg);
  clock_.advance(std::chrono::milliseconds(250));
  auto ticket = store_->mutate(name, values, options);
  if (!ticket && ticket.error().code == ErrorCode::refused && may_be_there_) {
    // The attempt before had failed, and the process ended with it: its commit may have reached the disk after all.
    auto pending = store_->outbox();
    if (!pending) return tl::unexpected(pending.error());
    for (const PendingMutation& one : *pending) {
      if (std::find(acknowledged_.begin(), acknowledged_.end(), one.client_mutation_id) != acknowledged_.end())
        continue;
      const auto parsed = parse_json(one.args);
      if (one.name == name && parsed && string_member(*parsed, "id") == args.front())
        ticket = Ticket{one.client_mutation_id};
    }
  }
  if (!ticket) return tl::unexpected(ticket.error());
  acknowledged_.push_back(ticket->client_mutation_id);
  if (id) *id = ticket->client_mutation_id;
  return {};
}

bool Cycle::was_given_up(const std::vector<DeadLetter>& letters) {
  if (!may_be_there_ || giving_up_.empty() || given_up_.contains(giving_up_)) return false;
  const bool is_there = std::any_of(letters.begin(), letters.end(), [this](const DeadLetter& letter) {
    return letter.client_mutation_id == giving_up_;
  });
  if (!is_there) given_up_.insert(giving_up_);
  return !is_there;
}

Result<void> Cycle::add(const std::string& id, const std::string& body) { return mutate("addNote", {id, body}); }

Result<bool> Cycle::push(Reply reply, std::size_t mutations_max) {
  clock_.advance(std::chrono::seconds(1));
  auto request = store_->next_push(mutations_max, 1 << 20);
  if (!request) return tl::unexpected(request.error());
  if (request->mutations.empty()) return false;
  auto sent = protocol::decode_push_request(protocol::encode_push_request(*request));
  if (!sent) return tl::unexpected(sent.error());
  const protocol::PushReply answer = server_.push(*sent);
  if (reply == Reply::is_lost) {
    auto noted = store_->note_push_failure(*request, "the reply was lost");
    if (!noted) return tl::unexpected(noted.error());
    return true;
  }
  auto settled = store_->settle_push(*request, answer);
  if (!settled) return tl::unexpected(settled.error());
  return true;
}

Result<bool> Cycle::pull_page() {
  clock_.advance(std::chrono::seconds(1));
  auto request = store_->next_pull(server_.page_limit);
  if (!request) return tl::unexpected(request.error());
  auto page = protocol::decode_page(store_->domain().domain(), server_.pull(*request));
  if (!page) return tl::unexpected(page.error());
  auto applied = store_->apply_page(*request, *page);
  if (!applied) return tl::unexpected(applied.error());
  return applied->complete;
}

Result<void> Cycle::pull() {
  for (int pages = 0; pages < 100; ++pages) {
    auto complete = pull_page();
    if (!complete) return tl::unexpected(complete.error());
    if (*complete) return {};
  }
  return failure(ErrorCode::internal, "the pull does not end");
}

Result<void> Cycle::settle() {
  for (int rounds = 0; rounds < 50; ++rounds) {
    for (int pushes = 0; pushes < 50; ++pushes) {
      auto sent = push(Reply::arrives, 100);
      if (!sent) return tl::unexpected(sent.error());
      if (!*sent) break;
    }
    if (auto pulled = pull(); !pulled) return pulled;
    auto left = store_->sql("SELECT count(*) FROM nizhal_outbox");
    if (!left) return tl::unexpected(left.error());
    if (std::get<std::int64_t>(left->rows[0][0]) == 0) return {};
  }
  return failure(ErrorCode::internal, "the outbox does not drain");
}

void Cycle::build() {
  const auto step = [this](std::string name, std::function<Result<void>()> run) {
    steps_.push_back({std::move(name), std::move(run)});
  };
  const auto push_some = [this](Reply reply, std::size_t mutations_max) -> Result<void> {
    auto sent = push(reply, mutations_max);
    return sent ? Result<void>() : tl::unexpected(sent.error());
  };
  const auto push_all = [push_some] { return push_some(Reply::arrives, 100); };
  const auto one_page = [this]() -> Result<void> {
    auto complete = pull_page();
    return complete ? Result<void>() : tl::unexpected(complete.error());
  };

  step("create", [this] { return open(); });
  step("mutate before the first sync", [this] { return add(note(0), "before anything came"); });
  step("first page", one_page);
  step("edit what came with it", [this] { return mutate("editNote", {"s1", "edited here"}); });
  step("rest of the first sync", [this] { return pull(); });
  for (int i = 1; i <= 4; ++i) step("mutate", [this, i] { return add(note(i), fmt::format("body {}", i)); });
  step("refused here", [this]() -> Result<void> {
    auto refused = mutate("addNote", {note(1), "again"});
    if (!refused) return refused.error().code == ErrorCode::refused ? Result<void>() : refused;
    return failure(ErrorCode::internal, "the same note a second time was not refused");
  });
  step("edit", [this] { return mutate("editNote", {"s2", "edited here"}); });
  step("delete", [this] { return mutate("deleteNote", {"s3"}); });
  step("others write", [this]() -> Result<void> {
    server_.put("s2", "edited there");
    server_.put("s4", "edited there too");
    server_.remove("s5");
    for (int i = 9; i < 15; ++i) server_.put(fmt::format("s{}", i), "later");
    return {};
  });
  for (int i = 0; i < 2; ++i) step("staged page", one_page);
  step("rebase", [this] { return pull(); });
  step("push whose reply is lost", [push_some] { return push_some(Reply::is_lost, 3); });
  step("push again", push_all);
  step("confirm", [this] { return pull(); });

  step("what the server refuses", [this] { return mutate("addNote", {note(5), "reject"}, {}, &refused_); });
  step("its dependent", [this] {
    MutateOptions options;
    options.depends_on = {refused_};
    return mutate("editNote", {note(5), "depends"}, options);
  });
  step("its other dependent", [this] {
    MutateOptions options;
    options.depends_on = {refused_};
    return mutate("addNote", {note(6), "depends too"}, options);
  });
  step("between", [this] { return mutate("editNote", {"s6", kLongBody}); });
  step("refused with dependents", [push_some] { return push_some(Reply::arrives, 1); });
  step("read as the app does", [this]() -> Result<void> {
    auto rows = store_->sql("SELECT count(*), sum(length(body)) FROM notes");
    return rows ? Result<void>() : tl::unexpected(rows.error());
  });
  step("push the rest", push_all);
  step("add what gets another id", [this] { return add(note(7), "gets another id"); });
  step("edit it", [this] { return mutate("editNote", {note(7), "edited under the old id"}); });
  step("push with an id map", [this, push_some] {
    if (!server_.notes().contains("of-the-server-7")) server_.give_server_id = "of-the-server-7";
    auto pushed = push_some(Reply::arrives, 1);
    server_.give_server_id.reset();
    return pushed;
  });
  step("retry a dead letter", [this]() -> Result<void> {
    auto letters = store_->dead_letters();
    if (!letters) return tl::unexpected(letters.error());
    if (was_given_up(*letters)) return {};
    if (letters->empty()) return failure(ErrorCode::internal, "there is no dead letter to retry");
    const DeadLetter& first = letters->front();
    giving_up_ = first.client_mutation_id;
    auto ticket = store_->retry(first.id, fmt::format(R"({{"id":"{}","body":"better"}})", note(5)));
    if (!ticket) return tl::unexpected(ticket.error());
    given_up_.insert(first.client_mutation_id);
    acknowledged_.push_back(ticket->client_mutation_id);
    return {};
  });
  step("discard another", [this]() -> Result<void> {
    auto letters = store_->dead_letters();
    if (!letters) return tl::unexpected(letters.error());
    if (was_given_up(*letters)) return {};
    if (letters->empty()) return failure(ErrorCode::internal, "there is no dead letter to discard");
    giving_up_ = letters->front().client_mutation_id;
    if (auto discarded = store_->discard(letters->front().id); !discarded) return discarded;
    given_up_.insert(letters->front().client_mutation_id);
    return {};
  });
  step("push and pull", [this, push_all] {
    auto pushed = push_all();
    return pushed ? pull() : pushed;
  });
  step("checkpoint by another program", [this]() -> Result<void> {
    // As the sqlite3 shell would: its own failure is its own affair.
    auto other = sqlite::Connection::open(path_, {.create = false});
    if (other) static_cast<void>((*other)->query_integer("PRAGMA wal_checkpoint(PASSIVE)"));
    return {};
  });
  for (int i = 10; i < 14; ++i) step("mutate", [this, i] { return add(note(i), kLongBody); });
  step("close and reopen", [this] {
    close();
    return open();
  });
  step("mutate", [this] { return mutate("editNote", {note(10), "shorter"}); });
  step("a fresh start is asked for", [this]() -> Result<void> {
    server_.put("s7", "edited there");
    server_.forget_cursors();
    return {};
  });
  for (int i = 0; i < 3; ++i) step("staged page", one_page);
  step("reset over pending ones", [this] { return pull(); });
  step("push", push_all);
  step("delete", [this] { return mutate("deleteNote", {note(11)}); });
  step("last sync", [this] { return settle(); });
  step("close and reopen", [this] {
    close();
    return open();
  });
}

std::vector<std::string> Cycle::visible_notes() {
  auto connection = sqlite::Connection::open(path_, {.read_only = true});
  if (!connection) return {connection.error().message};
  return select_text(**connection, "SELECT id, body FROM notes ORDER BY id");
}

std::string Cycle::check_file(const std::string& path) {
  if (!std::filesystem::exists(path)) return {};
  auto opened = open_to_look(path);
  if (!opened) return "cannot be read: " + opened.error().message;
  sqlite::Connection& file = **opened;
  const auto rows = [&](std::string_view sql) { return select_text(file, sql); };
  const auto none = [&](std::string_view sql) { return rows(sql).empty(); };

  if (const auto whole = rows("PRAGMA integrity_check"); whole != std::vector<std::string>{"ok"})
    return "integrity_check: " + (whole.empty() ? "nothing" : whole.front());
  if (none("SELECT 1 FROM sqlite_schema WHERE name = 'nizhal_outbox'")) return {};  // not even created
  if (none("SELECT 1 FROM sqlite_schema WHERE name = 'notes'")) return {};

  // Undo images belong to what is pending; nothing of a mutation is there without its outbox entry.
  if (!none("SELECT 1 FROM nizhal_undo WHERE ordinal NOT IN (SELECT ordinal FROM nizhal_outbox WHERE covered = 0)"))
    return "an undo image without its pending mutation";
  // Mutation ids were given in order and without holes, and the device remembers who has each.
  if (!none("SELECT 1 FROM nizhal_outbox a, nizhal_outbox b WHERE a.ordinal < b.ordinal AND b.mutation_id IS NOT NULL "
            "AND (a.mutation_id IS NULL OR a.mutation_id >= b.mutation_id)"))
    return "mutation ids out of order";
  if (!none("SELECT 1 FROM nizhal_outbox o LEFT JOIN nizhal_sent s USING (mutation_id) WHERE o.mutation_id IS NOT NULL "
            "AND o.covered = 0 AND s.client_mutation_id IS NOT o.client_mutation_id"))
    return "a given mutation id that nizhal_sent does not know";
  if (!none("SELECT 1 FROM nizhal_outbox WHERE mutation_id > coalesce((SELECT CAST(value AS INTEGER) FROM nizhal_meta "
            "WHERE key = 'last_given_mutation_id'), 0)"))
    return "a mutation id above the last given one";
  if (!none(fmt::format("SELECT client_mutation_id FROM nizhal_outbox WHERE name <> '{}' INTERSECT "
                        "SELECT client_mutation_id FROM nizhal_dead_letter",
                        protocol::kSkip)))
    return "a mutation that is pending and a dead letter";

  Notes visible, expected;
  {
    auto select = file.prepare("SELECT id, body FROM notes");
    if (!select) return select.error().message;
    while (select->step().value_or(false)) visible[std::string(select->text(0))] = std::string(select->text(1));
  }
  // The base: before-images put back, newest first.
  expected = visible;
  {
    auto select = file.prepare(
        "SELECT key, before IS NULL, json_extract(before, '$.body') FROM nizhal_undo "
        "WHERE table_name = 'notes' ORDER BY ordinal DESC");
    if (!select) return select.error().message;
    while (select->step().value_or(false)) {
      if (select->integer(1) != 0) {
        expected.erase(std::string(select->text(0)));
      } else {
        expected[std::string(select->text(0))] = std::string(select->text(2));
      }
    }
  }
  auto select = file.prepare(
      "SELECT o.name, coalesce(m.server_key, json_extract(o.args, '$.id')), "
      "coalesce(json_extract(o.args, '$.body'), '') FROM nizhal_outbox o LEFT JOIN nizhal_id_map m "
      "ON m.client_key = json_extract(o.args, '$.id') AND (o.name <> 'addNote' OR m.client_mutation_id = "
      "o.client_mutation_id) WHERE o.covered = 0 ORDER BY o.ordinal");
  if (!select) return select.error().message;
  while (select->step().value_or(false))
    run_on(expected, std::string(select->text(0)), std::string(select->text(1)), std::string(select->text(2)));
  if (expected != visible)
    return fmt::format("shown is {}, base and pending make {}", text_of(visible), text_of(expected));
  return {};
}

std::set<std::string> Cycle::known() {
  std::set<std::string> known = given_up_;
  known.insert(giving_up_);
  for (const auto& [id, record] : server_.records) {
    if (record.applied) known.insert(id);
  }
  auto connection = sqlite::Connection::open(path_, {.read_only = true});
  if (!connection || select_text(**connection, "SELECT 1 FROM sqlite_schema WHERE name = 'nizhal_outbox'").empty())
    return known;
  for (const char* table : {"nizhal_outbox", "nizhal_dead_letter"}) {
    for (std::string& id : select_text(**connection, fmt::format("SELECT client_mutation_id FROM {}", table)))
      known.insert(std::move(id));
  }
  return known;
}

std::string Cycle::check_settled(std::size_t unknown) {
  Notes here;
  auto rows = store_->query(from(notes::notes).spec());
  if (!rows) return rows.error().message;
  for (const Row& row : *rows) here[std::get<std::string>(row[0])] = std::get<std::string>(row[2]);
  if (here != server_.notes())
    return fmt::format("the device has {}, the server {}", text_of(here), text_of(server_.notes()));

  auto letters = store_->dead_letters();
  if (!letters) return letters.error().message;
  std::set<std::string> dead;
  for (const DeadLetter& letter : *letters) dead.insert(letter.client_mutation_id);

  std::map<std::string, int> runs;
  for (const std::string& id : server_.runs) ++runs[id];
  for (const auto& [id, times] : runs) {
    if (times != 1) return fmt::format("{} ran {} times", id, times);
  }
  const std::set<std::string> told(acknowledged_.begin(), acknowledged_.end());
  for (const std::string& id : told) {
    const auto record = server_.records.find(id);
    const bool is_applied = record != server_.records.end() && record->second.applied;
    const bool is_told = dead.contains(id) || given_up_.contains(id) || id == giving_up_;
    if (!is_applied && !is_told) return fmt::format("{} was acknowledged and is neither applied nor a dead letter", id);
    if (is_applied && dead.contains(id)) return fmt::format("{} was applied and is a dead letter", id);
  }
  std::size_t others = 0;
  for (const auto& [id, record] : server_.records) others += told.contains(id) ? 0 : 1;
  if (others > unknown) return fmt::format("{} mutations reached the server that nobody was told of", others);
  return {};
}

}  // namespace nizhal::testing
