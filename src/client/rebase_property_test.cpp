// The rebase against a replay from scratch: after any interleaving of mutations, refusals, edits, pulls of one or many
// pages, lost and gained buckets, resets, id maps, clock corrections, restarts and writes of a second handle, the rows
// are the base that the device was last told plus what is pending, run in order, and nizhal_undo holds exactly the
// images that this replay meets.
#include <algorithm>

#include "base/test_seed.hpp"
#include "client/client_test_support.hpp"
#include "client/rebase_model_test_support.hpp"
#include "client/store_state.hpp"

namespace nizhal::client {
namespace {

using testing::Call;
using testing::IdMap;
using testing::Images;
using testing::Tables;

std::shared_ptr<const CompiledDomain> domain() {
  static const auto kDomain = testing::compile(testing::model_domain());
  return kDomain;
}
const Actor kActor{.user_id = "u1", .owner_id = "o1", .claims = ""};

/// What the server says, as tables in memory.
class ModelServer {
 public:
  ModelServer(ManualClock& clock, Random& random) : clock_(clock), random_(random) {}

  Tables rows;
  std::set<std::string> buckets{"s0", "s1"};
  std::int64_t offset_ms = 0;  // of its clock

  protocol::PushReply push(const protocol::PushRequest& request) {
    protocol::PushReply reply;
    for (const protocol::PushMutation& mutation : request.mutations) {
      const std::uint64_t id = number(*mutation.mutation_id);
      if (id == last_ + 1) {
        last_ = id;
        last_client_mutation_id_ = mutation.client_mutation_id;
        if (!results_.contains(mutation.client_mutation_id)) results_[mutation.client_mutation_id] = judge(mutation);
      } else {
        EXPECT_LE(id, last_) << "a hole in the ids";
      }
      reply.results.push_back(results_[mutation.client_mutation_id]);
    }
    reply.last_mutation_id = MutationId{last_};
    if (random_.below(12) == 0) reply.clock_skew_ms = 1'000 + static_cast<std::int64_t>(random_.below(100'000));
    return reply;
  }

  Tables in_scope() const {
    Tables scoped;
    for (const auto& [table, keyed] : rows) {
      for (const auto& [key, row] : keyed)
        if (buckets.contains(std::get<std::string>(row[1]))) scoped[table][key] = row;
    }
    return scoped;
  }
  void add_tail(protocol::PullPage& page) const {
    page.last_mutation_id = MutationId{last_};
    if (last_ > 0) page.last_client_mutation_id = last_client_mutation_id_;
    page.server_time = Timestamp{clock_.now().microseconds + offset_ms * 1000};
  }

 private:
  protocol::PushResult judge(const protocol::PushMutation& mutation) {
    protocol::PushResult result;
    result.client_mutation_id = mutation.client_mutation_id;
    result.status = protocol::PushStatus::applied;
    if (mutation.name == protocol::kSkip) return result;
    const std::string id(string_member(mutation.args, "id").value_or(""));
    if (mutation.name == "make" && random_.below(2) == 0) {
      result.server_id = "m" + std::to_string(++made_);
      ids_[{"accounts", id}] = {*result.server_id, mutation.client_mutation_id};
    }
    const Call call{mutation.name, to_text(mutation.args), mutation.id_seed.value_or(""), mutation.hlc.value_or(""),
                    mutation.client_mutation_id};
    const bool is_allowed = random_.below(5) != 0;
    if (is_allowed && testing::run_in_memory(*domain(), rows, call, kActor, ids_)) return result;
    result.status = protocol::PushStatus::rejected;
    result.code = "refused_by_model";
    result.server_id.reset();
    ids_.erase({"accounts", id});
    return result;
  }

  ManualClock& clock_;
  Random& random_;
  std::uint64_t last_ = 0, made_ = 0;
  std::string last_client_mutation_id_;
  std::map<std::string, protocol::PushResult> results_;
  IdMap ids_;
};

class RandomHistory {
 public:
  explicit RandomHistory(std::uint64_t seed) : random_(seed), device_random_(seed + 1) {
    options_.path = folder_.file("a.db");
    options_.domain = domain();
    options_.actor = kActor;
    for (auto& handle : handles_) handle = open();
    handles_[1].reset();
    pull();
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      last_step_.clear();
      one_step();
      SCOPED_TRACE(last_step_);
      check();
    }
  }
  LocalStore::RebaseWork work() {
    for (auto& handle : handles_)
      if (handle) count_work(*std::exchange(handle, nullptr));
    return work_;
  }

 private:
  std::unique_ptr<LocalStore> open() {
    auto opened = LocalStore::open(options_, clock_, device_random_, Log());
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    return opened ? std::move(*opened) : nullptr;
  }
  LocalStore& store() { return handles_[1] && random_.below(2) == 0 ? *handles_[1] : *handles_[0]; }
  std::string any_id() { return "a" + std::to_string(random_.below(6)); }
  std::int64_t any_number() { return static_cast<std::int64_t>(random_.below(8)); }

  void one_step() {
    clock_.advance(std::chrono::milliseconds(random_.below(500)));
    const std::uint64_t what = random_.below(40);
    if (what < 16) return mutate();
    if (what < 20) return push();
    if (what < 30) return pull();
    if (what < 33) return write_elsewhere();
    if (what < 35) return edit_dead_letter();
    if (what == 35) return give_up();
    if (what == 36) return change_buckets();
    if (what == 37) {
      server_.offset_ms = random_.below(2) == 0 ? 0 : static_cast<std::int64_t>(random_.below(200'000)) - 100'000;
      return;
    }
    if (what == 38) {
      last_step_ = "restart";
      count_work(*handles_[0]);
      handles_[0].reset();
      handles_[0] = open();
      return;
    }
    last_step_ = "second handle";
    if (handles_[1]) count_work(*handles_[1]);
    handles_[1] = handles_[1] ? nullptr : open();
  }

  void mutate() {
    static const std::vector<std::string> kNames{"put",   "open",  "bump", "close", "move",  "follow", "number",
                                                 "total", "stamp", "make", "touch", "write", "type"};
    const std::string name = kNames[random_.below(kNames.size())];
    MutatorDef::Values values;
    if (name == "make") {
      made_ids_.push_back("n" + std::to_string(made_ids_.size()));
      values = {made_ids_.back(), any_number()};
    } else if (name == "touch") {
      values = {made_ids_.empty()
                    ? any_id()
                    : made_ids_[made_ids_.size() - 1 - random_.below(std::min<std::size_t>(made_ids_.size(), 4))],
                any_number()};
    } else {
      values = {any_id(), any_id(), any_number()};
    }
    MutateOptions options;
    LocalStore& chosen = store();
    if (const auto pending = chosen.outbox(); pending && !pending->empty() && random_.below(5) == 0)
      options.depends_on.push_back((*pending)[random_.below(pending->size())].client_mutation_id);
    const auto ticket = chosen.mutate(name, values, options);
    last_step_ = name + (ticket ? " done" : " refused");
    if (!ticket) {
      EXPECT_EQ(ticket.error().code, ErrorCode::refused) << ticket.error().message;
    }
  }

  void push() {
    last_step_ = "push";
    LocalStore& chosen = store();
    auto request = chosen.next_push(1 + random_.below(5), 1 << 20);
    ASSERT_TRUE(request) << request.error().message;
    if (request->mutations.empty()) return;
    const auto reply = server_.push(*request);
    if (random_.below(4) == 0) {
      EXPECT_TRUE(chosen.note_push_failure(*request, "the reply was lost"));
      return;
    }
    const auto settled = chosen.settle_push(*request, reply);
    EXPECT_TRUE(settled) << (settled ? "" : settled.error().message);
  }

  /// The changes from what the device has to what the server has, and some that are none.
  std::vector<protocol::PullPage> make_pages(const std::string& cursor) {
    struct Change {
      std::string table, key;
      std::optional<Row> row;
    };
    next_base_ = server_.in_scope();
    const bool is_reset = !cursor.empty() && random_.below(15) == 0;
    std::vector<Change> changes;
    for (const auto& [table, keyed] : next_base_) {
      for (const auto& [key, row] : keyed) {
        const auto& known = base_[table];
        const auto it = known.find(key);
        if (is_reset || it == known.end() || it->second != row || random_.below(6) == 0)
          changes.push_back({table, key, row});
      }
    }
    for (const auto& [table, keyed] : base_) {
      for (const auto& [key, row] : keyed)
        if (!next_base_[table].contains(key)) changes.push_back({table, key, std::nullopt});
    }
    if (random_.below(4) == 0) {
      const std::string id = any_id();
      if (!next_base_["accounts"].contains(id)) changes.push_back({"accounts", id, std::nullopt});
    }
    for (std::size_t i = changes.size(); i > 1; --i) std::swap(changes[i - 1], changes[random_.below(i)]);

    const bool is_first = cursor.empty();
    const std::size_t page_count = is_first ? 1 : 1 + random_.below(3);
    std::vector<protocol::PullPage> pages(page_count);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      protocol::PullPage& page = pages[i * page_count / changes.size()];
      const Change& change = changes[i];
      if (change.row)
        page.changed.push_back({change.table, {*change.row}});
      else
        (random_.below(2) == 0 ? page.tombstoned : page.removed).push_back({change.table, change.key, std::nullopt});
    }
    pages.front().cursor_reset = is_reset;
    for (const std::string& bucket : told_buckets_)
      if (!server_.buckets.contains(bucket)) pages.front().removed_buckets.push_back(bucket);
    const bool tells_buckets = is_first || is_reset || told_buckets_ != server_.buckets || random_.below(2) == 0;
    for (protocol::PullPage& page : pages) {
      page.cursor = "c" + std::to_string(++cursors_);
      page.epoch = "e";
      page.has_more = &page != &pages.back();
      if (tells_buckets) page.buckets.emplace(server_.buckets.begin(), server_.buckets.end());
    }
    told_buckets_ = server_.buckets;
    server_.add_tail(pages.back());
    return pages;
  }

  void pull() {
    LocalStore& chosen = store();
    auto request = chosen.next_pull(10);
    ASSERT_TRUE(request) << request.error().message;
    if (pages_.empty() || request->cursor == pages_.back().cursor) {
      pages_ = make_pages(request->cursor);
      pages_start_ = request->cursor;
    }
    std::string before = pages_start_;
    for (const protocol::PullPage& page : pages_) {
      if (std::exchange(before, page.cursor) != request->cursor) continue;
      last_step_ = "page " + page.cursor + (page.has_more ? " of more" : "");
      if (random_.below(5) == 0) return;  // lost on its way
      const auto applied = chosen.apply_page(*request, page);
      ASSERT_TRUE(applied) << applied.error().message;
      // Not complete at its last page: the handle had not noticed what the other one pulled.
      if (!applied->complete) return;
      base_ = next_base_;
      confirmed_ = static_cast<std::int64_t>(number(*page.last_mutation_id));
      return;
    }
    // Only a handle that has not noticed what the other one pulled asks for something long past.
    EXPECT_TRUE(handles_[1]) << "the device asks for " << request->cursor;
  }

  void write_elsewhere() {
    last_step_ = "written elsewhere";
    const std::string id = any_id();
    const bool is_slip = random_.below(3) == 0;
    auto& keyed = server_.rows[is_slip ? "slips" : "accounts"];
    if (random_.below(4) == 0)
      keyed.erase(id);
    else if (is_slip)
      keyed[id] = {id, testing::shop_of(id), std::string("elsewhere"), any_number(), written_elsewhere(keyed, id)};
    else
      keyed[id] = {id, testing::shop_of(id), any_number()};
  }

  /// Another's text beside what is there, or a body of its own.
  Blob written_elsewhere(const std::map<std::string, Row>& keyed, const std::string& id) {
    const auto it = keyed.find(id);
    const auto before =
        it == keyed.end() || random_.below(3) == 0 ? crdt::Bytes() : std::get<Blob>(it->second[4]).bytes;
    const auto theirs = crdt_text("body", "elsewhere " + std::to_string(any_number()) + ";");
    const auto merged = crdt::merge_column(ColumnType::crdt_text, "body", before, theirs.state);
    EXPECT_TRUE(merged) << (merged ? "" : merged.error().message);
    return merged ? Blob{merged->state} : Blob{before};
  }

  void edit_dead_letter() {
    LocalStore& chosen = store();
    const auto letters = chosen.dead_letters();
    ASSERT_TRUE(letters);
    if (letters->empty()) return;
    const DeadLetter& letter = (*letters)[random_.below(letters->size())];
    last_step_ = "edit " + letter.name;
    if (random_.below(4) == 0) {
      EXPECT_TRUE(chosen.discard(letter.id));
      return;
    }
    auto args = parse_json(letter.args);
    ASSERT_TRUE(args);
    args->as_object()["n"] = std::to_string(any_number());
    const auto retried = chosen.retry(letter.id, to_text(*args));
    if (!retried) {
      EXPECT_EQ(retried.error().code, ErrorCode::refused) << retried.error().message;
    }
  }

  void give_up() {
    LocalStore& chosen = store();
    const auto pending = chosen.outbox();
    ASSERT_TRUE(pending);
    std::vector<std::string> known;
    for (const PendingMutation& mutation : *pending)
      if (!mutation.covered) known.push_back(mutation.client_mutation_id);
    if (known.empty()) return;
    last_step_ = "give up";
    EXPECT_TRUE(chosen.dead_letter(known[random_.below(known.size())], "too_large", "given up"));
  }

  void change_buckets() {
    // The change is told with the next pull.
    if (server_.buckets.size() == 2)
      server_.buckets.erase(random_.below(2) == 0 ? "s0" : "s1");
    else
      server_.buckets = {"s0", "s1"};
  }

  // Checks.

  SqlResult sql(const std::string& text) {
    auto result = handles_[0]->sql(text);
    EXPECT_TRUE(result) << (result ? "" : result.error().message);
    return result ? std::move(*result) : SqlResult{};
  }
  static const std::string& text(const Value& value) { return std::get<std::string>(value); }

  IdMap known_ids() {
    IdMap ids;
    for (const auto& row : sql("SELECT table_name, client_key, server_key, client_mutation_id FROM nizhal_id_map").rows)
      ids[{text(row[0]), text(row[1])}] = {text(row[2]), text(row[3])};
    return ids;
  }

  using Undo = std::map<std::tuple<std::int64_t, std::string, std::string>, std::string>;

  void check() {
    Tables expected = base_;
    Undo expected_undo;
    const IdMap ids = known_ids();
    for (const auto& row : sql("SELECT ordinal, name, args, id_seed, hlc, client_mutation_id, covered, mutation_id "
                               "FROM nizhal_outbox ORDER BY ordinal")
                               .rows) {
      const bool is_covered = std::get<std::int64_t>(row[6]) != 0;
      const auto* mutation_id = std::get_if<std::int64_t>(&row[7]);
      EXPECT_EQ(is_covered, mutation_id && *mutation_id <= confirmed_) << "ordinal " << std::get<std::int64_t>(row[0]);
      if (is_covered || text(row[1]) == protocol::kSkip) continue;
      const Call call{text(row[1]), text(row[2]), text(row[3]), text(row[4]), text(row[5])};
      const auto images = testing::run_in_memory(*domain(), expected, call, kActor, ids);
      if (!images) continue;
      for (const auto& [place, image] : *images) {
        std::string json = "(nothing)";
        if (image) {
          json.clear();
          append_row_json(json, *domain()->domain().find_table(place.first), *image);
        }
        expected_undo[{std::get<std::int64_t>(row[0]), place.first, place.second}] = json;
      }
    }
    Tables shown;
    for (const auto& table : domain()->tables()) {
      QuerySpec query;
      query.table = table.get();
      const auto rows = handles_[0]->query(query);
      ASSERT_TRUE(rows);
      for (const Row& row : *rows) shown[table->name][text(row[0])] = row;
    }
    std::erase_if(expected, [](const auto& table) { return table.second.empty(); });
    EXPECT_EQ(lines(shown), lines(expected));
    Undo undo;
    for (const auto& row : sql("SELECT ordinal, table_name, key, before FROM nizhal_undo").rows)
      undo[{std::get<std::int64_t>(row[0]), text(row[1]), text(row[2])}] = is_null(row[3]) ? "(nothing)" : text(row[3]);
    EXPECT_EQ(undo, expected_undo);
  }

  static std::vector<std::string> lines(const Tables& tables) {
    std::vector<std::string> all;
    for (const auto& [table, keyed] : tables) {
      for (const auto& [key, row] : keyed) {
        std::string line = table + " ";
        append_row_json(line, *domain()->domain().find_table(table), row);
        all.push_back(std::move(line));
      }
    }
    return all;
  }

  void count_work(const LocalStore& handle) {
    const LocalStore::RebaseWork work = handle.rebase_work();
    work_.whole += work.whole;
    work_.undone += work.undone;
    work_.rerun += work.rerun;
  }

  SeededRandom random_, device_random_;
  TempDir folder_;
  ManualClock clock_{testing::kStart};
  ModelServer server_{clock_, random_};
  LocalStoreOptions options_;
  std::unique_ptr<LocalStore> handles_[2];
  std::vector<protocol::PullPage> pages_;  // of the pull that is under way
  std::string pages_start_;
  Tables base_, next_base_;
  std::int64_t confirmed_ = 0;
  std::set<std::string> told_buckets_;
  std::vector<std::string> made_ids_;
  std::uint64_t cursors_ = 0;
  std::string last_step_;
  LocalStore::RebaseWork work_;
};

TEST(Rebase, OfAPartEqualsAReplayFromScratchInRowsAndImages) {
  const std::uint64_t seed = test_seed("rebase of a part");
  LocalStore::RebaseWork work;
  for (std::uint64_t run = 0; run < 25 && !::testing::Test::HasFailure(); ++run) {
    SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed) + ", run " + std::to_string(run));
    RandomHistory history(seed + run * 1000);
    history.run(160);
    const LocalStore::RebaseWork done = history.work();
    work.whole += done.whole;
    work.undone += done.undone;
  }
  // Otherwise the test would say nothing about rebases of a part.
  if (!::testing::Test::HasFailure()) {
    EXPECT_GT(work.undone, work.whole);
  }
}

}  // namespace
}  // namespace nizhal::client
