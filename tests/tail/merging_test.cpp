// Tables that merge, as devices see them: over random histories every pull has the same bytes with the tail and without
// it; and after every complete pull a device that takes updates of CRDT columns has exactly what is in its scope, as
// has one that takes whole states (S13, S22).
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "base/test_seed.hpp"
#include "crdt/column.hpp"
#include "domain/hlc.hpp"
#include "server/merge_test_rows.hpp"
#include "server/push_handler.hpp"
#include "tests/backends/cards_domain.hpp"
#include "tests/tail/tail_world.hpp"

namespace nizhal::testing {
namespace {

constexpr std::uint64_t kCards = 6, kTeams = 3, kUsers = 3;

/// Rows by table and key. Of a CRDT column only what it says is compared: the bytes may be split otherwise.
using Rows = std::map<std::pair<std::string, std::string>, Row>;

class MergeHistory {
 public:
  MergeHistory(BackendKind kind, std::uint64_t seed) : random_(seed), world_(kind, limits(), cards_domain()) {
    server::Limits of_push;
    of_push.crdt_recent_bytes_max = 60 + random_.below(400);
    push_ = std::make_unique<server::PushHandler>(world_.db.domain, world_.counting, world_.clock, of_push, Log(),
                                                  counters_, [](const server::CommitEffects&) {});
    for (std::uint64_t user = 0; user < kUsers; ++user)
      for (const bool takes_updates : {true, false}) {
        Device device;
        device.actor = {"u" + std::to_string(user), "o", ""};
        device.request.updates = takes_updates;
        if (random_.below(2) == 0) device.request.limit = 1 + random_.below(4);
        devices_.push_back(std::move(device));
      }
    for (std::uint64_t team = 0; team < kTeams; ++team) join("u0", team);
  }

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      for (std::uint64_t i = 0; i <= random_.below(3); ++i) change();
      pull(devices_[random_.below(devices_.size())]);
    }
  }
  std::uint64_t updates = 0, states = 0, conflicts = 0;
  std::uint64_t hits() const { return world_.tail->figures().hits; }

 private:
  struct Device {
    Actor actor;
    protocol::PullRequest request;
    Rows rows;
    std::set<std::string> covered;
  };

  server::Limits limits() {
    server::Limits limits;
    if (random_.below(3) == 0) limits.tail_bytes_max = 4'000;
    return limits;
  }
  std::string card() { return "c" + std::to_string(random_.below(kCards)); }
  std::string team() { return "t" + std::to_string(random_.below(kTeams)); }
  void join(const std::string& user, std::uint64_t team) {
    world_.db.other->run(fmt::format(
        "INSERT INTO card_members (id, user_id, team_id) VALUES ('{0}t{1}', '{0}', 't{1}') ON CONFLICT DO NOTHING",
        user, team));
  }

  void push(const std::string& name, const std::string& id, const std::string& place, const std::string& text) {
    protocol::PushMutation mutation;
    mutation.name = name;
    mutation.client_mutation_id = "m" + std::to_string(++mutations_);
    mutation.args = json::object{{"id", id}, {"place", place}, {"text", text}};
    // Devices whose clocks differ, some seconds about the server's.
    mutation.hlc = Hlc{world_.clock.now().microseconds / 1000 - static_cast<std::int64_t>(random_.below(3'000)),
                       static_cast<std::uint16_t>(random_.below(3)), hlc_node(std::to_string(random_.below(4)))}
                       .text();
    const auto answer = push_->handle({"u0", "o", ""}, {.mutations = {std::move(mutation)}, .results = true});
    EXPECT_EQ(answer.status, 200) << answer.body;
    conflicts += answer.body.find("\"conflicts\"") != std::string::npos;
  }

  void change() {
    world_.clock.advance(std::chrono::milliseconds(random_.below(500)));
    const std::string id = card();
    switch (random_.below(16)) {
      case 0:
      case 1:
      case 2:
        return push("addCard", id, team(), "title=new");
      case 3:
        return push("editCard", id, "", fmt::format("title=t{};color=c{}", random_.below(9), random_.below(9)));
      case 4:
        return push("replaceCard", id, "", fmt::format("color=c{}", random_.below(9)));
      case 5:
        return push("moveCard", id, team(), "");
      case 6:
        return push(random_.below(2) == 0 ? "removeCard" : "putCard", id, team(), "title=put");
      case 7:
        if (random_.below(3) == 0) {
          world_.clock.advance(std::chrono::hours(1));
          EXPECT_TRUE(world_.db.storage->gc(Timestamp{random_.below(2) == 0 ? 1 : world_.clock.now().microseconds}));
          // What is not sent as an update for it is sent whole: the same to a device, but not the same bytes.
          world_.restart_tail();
        }
        return;
      case 8: {
        const std::string user = "u" + std::to_string(1 + random_.below(kUsers - 1));
        const std::uint64_t where = random_.below(kTeams);
        if (random_.below(2) == 0) return join(user, where);
        return world_.db.other->run(fmt::format("DELETE FROM card_members WHERE id = '{}t{}'", user, where));
      }
      case 9:
        return other_program(id);
      default:
        return type(id);
    }
  }
  /// Another program changes a card, its text among it.
  void other_program(const std::string& id) {
    switch (random_.below(4)) {
      case 0:
        return world_.db.other->run(fmt::format("UPDATE cards SET title = 'by hand' WHERE id = '{}'", id));
      case 1:
        return world_.db.other->run(fmt::format("UPDATE cards SET team_id = '{}' WHERE id = '{}'", team(), id));
      case 2:
        return world_.db.other->run(fmt::format("DELETE FROM cards WHERE id = '{}'", id));
      default: {
        server::testing::Pad pad(1'000 + random_.below(1'000'000));
        pad.type(0, "by hand");
        const std::string hex = to_hex(pad.state());
        const std::string literal = world_.db.backend->is_sqlite() ? "x'" + hex + "'" : "'\\x" + hex + "'";
        return world_.db.other->run(fmt::format("UPDATE cards SET body = {} WHERE id = '{}'", literal, id));
      }
    }
  }
  /// Somebody writes into a card's text, from its present state or from none.
  void type(const std::string& id) {
    server::testing::Pad pad(2'000'000 + ++typists_);
    for (const Row& row : world_.db.all_rows(0))
      if (key_text(row[0]) == id && random_.below(4) != 0) pad.take(std::get<Blob>(row[5]).bytes);
    const auto update = pad.type(0, fmt::format("{} ", typists_) + std::string(random_.below(40), 'x'));
    push("typeCard", id, "", to_base64(update));
  }

  void pull(Device& device) {
    std::vector<protocol::PullPage> staged;
    for (int pages = 0; pages < 200 && !::testing::Test::HasFailure(); ++pages) {
      const std::string body = world_.pull(device.actor, device.request);
      auto page = protocol::decode_page(world_.db.domain->domain(), body);
      ASSERT_TRUE(page) << page.error().message << body;
      device.request.cursor = page->cursor;
      const bool more = page->has_more;
      staged.push_back(std::move(*page));
      if (!more) break;
      if (random_.below(2) == 0) change();
    }
    for (const auto& page : staged) apply(device, page);
    compare(device);
  }

  void apply(Device& device, const protocol::PullPage& page) {
    if (page.cursor_reset) {
      device.rows.clear();
      device.covered.clear();
    }
    std::set<std::string> kept = device.covered;
    for (const std::string& key : page.removed_buckets) kept.erase(key);
    if (page.buckets) {
      device.covered = {page.buckets->begin(), page.buckets->end()};
      std::erase_if(kept, [&](const std::string& key) { return !device.covered.contains(key); });
      std::erase_if(device.rows, [&](const auto& entry) {
        const auto buckets =
            world_.db.domain->buckets_of(*world_.db.domain->table_index(entry.first.first), entry.second);
        return std::none_of(buckets.begin(), buckets.end(), [&](const Bucket& one) { return kept.contains(one.key); });
      });
    }
    for (const auto* list : {&page.tombstoned, &page.removed})
      for (const auto& removal : *list) device.rows.erase({removal.table, key_text(removal.id)});
    for (const auto& changed : page.changed) {
      const TableDef& table = *world_.db.domain->domain().find_table(changed.table);
      for (std::size_t i = 0; i < changed.rows.size(); ++i) {
        Row row = changed.rows[i];
        const std::pair<std::string, std::string> id{changed.table, key_text(row[table.key_index()])};
        const auto lacking = changed.updates.empty() ? std::vector<std::size_t>{} : changed.updates[i];
        ++(lacking.empty() ? states : updates);
        for (const std::size_t column : lacking) {
          EXPECT_TRUE(device.request.updates);
          const auto known = device.rows.find(id);
          ASSERT_NE(known, device.rows.end()) << id.second << ": an update of a row that the device does not have";
          const auto merged =
              crdt::merge_column(table.columns[column].type, table.columns[column].name,
                                 std::get<Blob>(known->second[column]).bytes, std::get<Blob>(row[column]).bytes);
          ASSERT_TRUE(merged) << merged.error().message;
          row[column] = Blob{merged->state};
        }
        device.rows[id] = std::move(row);
      }
    }
  }

  Row told(Row row) const {
    for (Value& value : row)
      if (const Blob* blob = std::get_if<Blob>(&value)) value = server::testing::text_of(blob->bytes);
    return row;
  }
  void compare(const Device& device) {
    const auto granted = world_.db.snapshot()->grants(device.actor);
    ASSERT_TRUE(granted);
    Rows expected, found;
    for (const Row& row : world_.db.all_rows(0)) {
      const auto buckets = world_.db.domain->buckets_of(0, row);
      if (std::any_of(buckets.begin(), buckets.end(), [&](const Bucket& bucket) {
            return std::any_of(granted->begin(), granted->end(),
                               [&](const storage::Grant& grant) { return grant.bucket.key == bucket.key; });
          }))
        expected[{"cards", key_text(row[0])}] = told(row);
    }
    for (const auto& [id, row] : device.rows) found[id] = told(row);
    ASSERT_EQ(found, expected) << device.actor.user_id << (device.request.updates ? " with updates" : "");
  }

  SeededRandom random_;
  TailWorld world_;
  server::Counters counters_;
  std::unique_ptr<server::PushHandler> push_;
  std::vector<Device> devices_;
  std::uint64_t mutations_ = 0, typists_ = 0;
};

class Merging : public OnEveryBackend {};
INSTANTIATE_TEST_SUITE_P(On, Merging, every_backend(), kind_name);

TEST_P(Merging, DevicesHaveWhatIsInScopeWithUpdatesOrWholeStatesTailOrNot) {
  const std::uint64_t seed = test_seed("merging");
  std::uint64_t updates = 0, states = 0, conflicts = 0, hits = 0;
  // Where each statement crosses a socket fewer will do: what is different there is in the storage's own tests.
  const std::uint64_t runs = GetParam() == BackendKind::sqlite ? 6 : 2;
  for (std::uint64_t run = 0; run < runs && !HasFailure(); ++run) {
    MergeHistory history(GetParam(), seed + run);
    history.run(60);
    EXPECT_FALSE(HasFailure()) << "in history " << seed + run;
    updates += history.updates;
    states += history.states;
    conflicts += history.conflicts;
    hits += history.hits();
  }
  std::printf("%llu rows came with updates, %llu whole; %llu pushes lost something; %llu pages came from the tail\n",
              static_cast<unsigned long long>(updates), static_cast<unsigned long long>(states),
              static_cast<unsigned long long>(conflicts), static_cast<unsigned long long>(hits));
  EXPECT_GT(updates, 2 * runs);
  EXPECT_GT(states, 10 * runs);
  EXPECT_GT(conflicts, 0U);
}

}  // namespace
}  // namespace nizhal::testing
