// A device's life for the live-query oracle: random local writes, refusals, pulls, removals, evictions, resets, floods
// of rows, other handles of the file and restarts. The server is a model: rows, and which mutations it took.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/domain.hpp>

#include "base/environment.hpp"
#include "base/test_temp_dir.hpp"
#include "client/local_store.hpp"
#include "domain/compiled_domain.hpp"
#include "query/test_random_queries.hpp"

namespace nizhal::testing {

/// The one mutator writes or removes the row `id` of a table; which row, its seed says. "refuse" writes and then
/// refuses.
struct ChangeRow {
  std::string kind, id;
  std::int64_t seed = 0;
};

inline Row row_of(const std::string& kind, const std::string& id, std::int64_t seed) {
  SeededRandom dice(static_cast<std::uint64_t>(seed));
  RandomQueries rows(dice);
  if (kind == "region") return rows.region(id);
  if (kind == "team") return rows.team(id);
  return rows.item(id);
}

inline Domain live_domain() {
  Domain domain("live", {.version = "1.0.0"});
  domain.add(regions).add(teams).add(items);
  domain.mutator<ChangeRow>("changeRow")
      .arg("kind", &ChangeRow::kind)
      .arg("id", &ChangeRow::id)
      .arg("seed", &ChangeRow::seed)
      .run([](MutatorContext& ctx, const ChangeRow& args) -> Outcome {
        const auto change = [&](const auto& table, const std::string& kind) {
          if (args.seed % 4 == 0) {
            ctx.remove(table, args.id);
          } else {
            ctx.upsert(table, table.from_row(row_of(kind, args.id, args.seed)));
          }
        };
        if (args.kind == "region") {
          change(regions, "region");
        } else if (args.kind == "team") {
          change(teams, "team");
        } else {
          change(items, "item");
        }
        if (args.kind == "refuse") return reject("refused", "this one is refused on the device");
        return done();
      });
  domain.rule("mine")
      .parameter("ownerId", actor::owner_id)
      .data(regions, eq("owner_id", "ownerId"))
      .data(teams, eq("owner_id", "ownerId"))
      .data(items, eq("owner_id", "ownerId"));
  return domain;
}

class History {
 public:
  explicit History(Random& dice) : dice_(dice), random_(dice) {
    auto compiled = CompiledDomain::compile(live_domain());
    EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().message);
    domain_ = *compiled;
    store_ = open();
    for (int i = 0; i < 30; ++i) change_on_server();
    pull();
  }

  client::LocalStore& store() { return *store_; }
  /// Before the store goes and after another came.
  std::function<void()> closing = [] {}, reopened = [] {};

  /// One thing happens; often one commit.
  void step() {
    switch (dice_.below(20)) {
      case 0:
        return restart();
      case 1:
        return lose_or_gain_bucket();
      case 2:
        return reset_cursor();
      case 3:
        return write_through_another_handle();
      case 4:
        return flood();
      case 5:
      case 6:
      case 7:
        for (std::uint64_t i = dice_.below(4); i > 0; --i) change_on_server();
        return pull();
      case 8:
      case 9:
      case 10:
        return push();
      default:
        return mutate(*store_);
    }
  }
  /// A local write, refused on the device now and then.
  void mutate(client::LocalStore& store) {
    const auto [kind, id] = any_row();
    const bool is_refused = random_.chance(8);
    const auto done = store.mutate("changeRow", {is_refused ? "refuse" : kind, id, any_seed()}, {});
    EXPECT_EQ(done.has_value(), !is_refused) << (done ? "" : done.error().message);
  }

 private:
  using Key = std::pair<std::string, std::string>;  // table and id

  std::unique_ptr<client::LocalStore> open() {
    client::LocalStoreOptions options;
    options.path = folder_.file("device.db");
    options.domain = domain_;
    options.actor = {.user_id = "u1", .owner_id = "o1", .claims = ""};
    options.server = "http://localhost:1";
    auto opened = client::LocalStore::open(std::move(options), clock_, dice_, Log());
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().message);
    return std::move(*opened);
  }

  std::int64_t any_seed() { return static_cast<std::int64_t>(dice_.below(1'000'000)); }
  Key any_row() {
    const std::uint64_t kind = dice_.below(10);
    if (kind == 0) return {"region", RandomQueries::id("r", dice_.below(RandomQueries::kRegions))};
    if (kind < 3) return {"team", RandomQueries::id("t", dice_.below(RandomQueries::kTeams))};
    return {"item", RandomQueries::id("i", dice_.below(40))};
  }

  void apply_on_server(const std::string& kind, const std::string& id, std::int64_t seed) {
    if (seed % 4 == 0) {
      server_.erase({kind + "s", id});
    } else {
      server_[{kind + "s", id}] = row_of(kind, id, seed);
    }
  }
  void change_on_server() {
    const auto [kind, id] = any_row();
    apply_on_server(kind, id, any_seed());
  }

  /// One batch; its reply is lost now and then.
  void push() {
    auto request = store_->next_push(1 + dice_.below(5), 1 << 20);
    ASSERT_TRUE(request) << request.error().message;
    if (request->mutations.empty()) return mutate(*store_);
    protocol::PushReply reply;
    for (const protocol::PushMutation& mutation : request->mutations) {
      protocol::PushResult result;
      result.client_mutation_id = mutation.client_mutation_id;
      result.status = protocol::PushStatus::duplicate;
      const auto known = outcomes_.find(mutation.client_mutation_id);
      bool is_taken = known != outcomes_.end() && known->second;
      if (known == outcomes_.end()) {
        is_taken = !random_.chance(4);
        result.status = protocol::PushStatus::applied;
        outcomes_[mutation.client_mutation_id] = is_taken;
        last_mutation_ = *mutation.mutation_id;
        last_client_mutation_id_ = mutation.client_mutation_id;
        if (is_taken && mutation.name != protocol::kSkip)
          apply_on_server(std::string(*string_member(mutation.args, "kind")),
                          std::string(*string_member(mutation.args, "id")),
                          as_integer(*member(mutation.args, "seed")).value_or(0));
      }
      if (!is_taken) {
        result.status = protocol::PushStatus::rejected;
        result.code = "no";
        result.error = "the server says no";
      }
      reply.results.push_back(std::move(result));
    }
    reply.last_mutation_id = last_mutation_;
    if (random_.chance(5)) {
      EXPECT_TRUE(store_->note_push_failure(*request, "the reply was lost"));
      return;
    }
    const auto settled = store_->settle_push(*request, reply);
    EXPECT_TRUE(settled) << (settled ? "" : settled.error().message);
  }

  /// Everything that differs from what was last sent, in one page.
  void pull(bool is_reset = false) {
    auto request = store_->next_pull(10'000);
    ASSERT_TRUE(request) << request.error().message;
    protocol::PullPage page;
    const std::map<Key, Row> none;
    const std::map<Key, Row>& wanted = has_bucket_ ? server_ : none;
    if (is_reset) sent_.clear();
    for (const TableDef* table : {&regions.def(), &teams.def(), &items.def()}) {
      protocol::ChangedTable changed{table->name, {}};
      for (const auto& [key, row] : wanted) {
        if (key.first != table->name) continue;
        const auto before = sent_.find(key);
        if (before == sent_.end() || before->second != row) changed.rows.push_back(row);
      }
      if (!changed.rows.empty()) page.changed.push_back(std::move(changed));
    }
    for (const auto& [key, row] : sent_)
      if (!wanted.contains(key) && has_bucket_) page.tombstoned.push_back({key.first, key.second, {}});
    if (lost_bucket_) page.removed_buckets.push_back("o1");
    lost_bucket_ = false;
    page.cursor = "c" + std::to_string(++pulls_);
    page.epoch = "e1";
    page.cursor_reset = is_reset;
    page.buckets = has_bucket_ ? std::vector<std::string>{"o1"} : std::vector<std::string>{};
    page.last_mutation_id = last_mutation_;
    if (number(last_mutation_) > 0) page.last_client_mutation_id = last_client_mutation_id_;
    page.server_time = clock_.now();
    const auto applied = store_->apply_page(*request, page);
    ASSERT_TRUE(applied) << applied.error().message;
    sent_ = wanted;
  }

  void lose_or_gain_bucket() {
    lost_bucket_ = has_bucket_;
    has_bucket_ = !has_bucket_;
    pull();
  }
  void reset_cursor() { pull(true); }

  void write_through_another_handle() {
    if (!other_) other_ = open();
    for (std::uint64_t i = 1 + dice_.below(3); i > 0; --i) mutate(*other_);
    if (random_.chance(2)) {
      const auto noticed = store_->notice_others();
      EXPECT_TRUE(noticed) << (noticed ? "" : noticed.error().message);
    }
  }

  /// More rows at once than a change set lists, and away with them.
  void flood() {
    if (floods_ == 0 && !random_.chance(4)) return;
    if (++floods_ > 2) return;
    for (std::uint64_t i = 0; i < 2'100; ++i) {
      const Key key{"items", "many" + std::to_string(i)};
      if (floods_ == 1) {
        server_[key] = row_of("item", key.second, static_cast<std::int64_t>(i));
      } else {
        server_.erase(key);
      }
    }
    pull();
    if (floods_ == 1) flood();
  }

  void restart() {
    closing();
    other_.reset();
    store_.reset();
    store_ = open();
    reopened();
  }

  Random& dice_;
  RandomQueries random_;
  TempDir folder_;
  ManualClock clock_{Timestamp{1'767'323'045'000'000}};
  std::shared_ptr<const CompiledDomain> domain_;
  std::unique_ptr<client::LocalStore> store_, other_;
  std::map<Key, Row> server_, sent_;
  std::map<std::string, bool> outcomes_;
  MutationId last_mutation_{0};
  std::string last_client_mutation_id_;
  bool has_bucket_ = true, lost_bucket_ = false;
  int pulls_ = 0, floods_ = 0;
};

}  // namespace nizhal::testing
