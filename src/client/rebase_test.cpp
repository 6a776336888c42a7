// The rebase against a replay from scratch: after any interleaving of mutations, refusals, lost replies, pulls, resets
// and reopenings, what a query sees is the base that the device was last told plus what is pending, run in order.
#include "client/rebase.hpp"

#include <cstdlib>

#include "base/test_seed.hpp"
#include "client/client_test_support.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::NoteRows;
using testing::World;

/// The notes mutators once more, in a few lines of their own.
void replay(NoteRows& rows, const PendingMutation& mutation) {
  const auto args = parse_json(mutation.args);
  ASSERT_TRUE(args);
  const std::string id(string_member(*args, "id").value_or(""));
  const std::string body(string_member(*args, "body").value_or(""));
  if (mutation.name == "addNote") {
    rows.emplace(id, body);
  } else if (mutation.name == "editNote") {
    if (const auto it = rows.find(id); it != rows.end()) it->second = body;
  } else if (mutation.name == "deleteNote") {
    rows.erase(id);
  }
}

class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : random_(seed), device_(folder_.file("a.db"), clock_, seed + 1) {}

  void run(int steps) {
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      one_step();
      check();
    }
    if (::testing::Test::HasFailure()) return;
    // Calm: everything drains, and both sides are equal.
    server_.page_limit = 1000;
    device_.sync(server_);
    EXPECT_EQ(device_.notes(), server_.notes());
    for (const DeadLetter& letter : device_.dead_letters()) {
      const auto record = server_.records.find(letter.client_mutation_id);
      EXPECT_TRUE(record == server_.records.end() || !record->second.applied) << letter.code;
    }
  }

 private:
  std::string any_id() { return "n" + std::to_string(random_.below(6)); }
  std::string any_body() {
    return random_.below(5) == 0 ? std::string("reject") : "body " + std::to_string(random_.below(1000));
  }

  void one_step() {
    clock_.advance(std::chrono::milliseconds(random_.below(500)));
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2:
        mutate("addNote", {any_id(), any_body()});
        return;
      case 3:
      case 4:
        mutate("editNote", {any_id(), any_body()});
        return;
      case 5:
        mutate("deleteNote", {any_id()});
        return;
      case 6:
      case 7:
        device_.push(server_, random_.below(3) == 0 ? Device::Reply::is_lost : Device::Reply::arrives,
                     1 + random_.below(4));
        return;
      case 8:
      case 9:
      case 10:
        pull();
        return;
      case 11:
        server_.put(any_id(), "by another " + std::to_string(random_.below(1000)));
        return;
      case 12:
        server_.remove(any_id());
        return;
      default:
        if (random_.below(4) == 0) {
          server_.forget_cursors();
        } else {
          device_.reopen();
        }
        return;
    }
  }

  void mutate(const std::string& name, std::vector<std::string> args) {
    MutateOptions options;
    if (const auto pending = device_.outbox(); !pending.empty() && random_.below(4) == 0)
      options.depends_on.push_back(pending[random_.below(pending.size())].client_mutation_id);
    const auto ticket = device_.mutate(name, std::move(args), options);
    if (!ticket) {
      EXPECT_EQ(ticket.error().code, ErrorCode::refused) << ticket.error().message;
    }
  }

  void pull() {
    server_.page_limit = 1 + random_.below(6);
    const Device::Reply reply = random_.below(4) == 0 ? Device::Reply::is_lost : Device::Reply::arrives;
    const bool is_first = device_.sql_text("SELECT value FROM nizhal_meta WHERE key = 'first_sync'") != "done";
    const auto applied = device_.pull_page(server_, reply);
    if (applied.complete) {
      base_ = server_.notes();
    } else if (is_first && reply == Device::Reply::arrives) {
      // The first sync shows each page as it comes; the base is whole again at its end.
      is_base_known_ = false;
    }
    if (applied.complete) is_base_known_ = true;
  }

  void check() {
    if (!is_base_known_) return;
    NoteRows expected = base_;
    for (const PendingMutation& mutation : device_.outbox()) {
      if (!mutation.covered) replay(expected, mutation);
    }
    EXPECT_EQ(device_.notes(), expected);
  }

  SeededRandom random_;
  TempDir folder_;
  ManualClock clock_{testing::kStart};
  testing::FakeServer server_{clock_};
  Device device_;
  NoteRows base_;
  bool is_base_known_ = true;
};

/// A domain that counts how often its mutators run here.
struct Counted {
  std::string id;
};
struct CountedRow {
  std::string id, owner_id;
};
std::size_t runs_seen = 0;

Domain counting_domain() {
  const auto rows =
      nizhal::table<CountedRow>("notes").key("id", &CountedRow::id).column("owner_id", &CountedRow::owner_id);
  const auto others =
      nizhal::table<CountedRow>("others").key("id", &CountedRow::id).column("owner_id", &CountedRow::owner_id);
  Domain d("counting");
  d.add(rows).add(others);
  d.mutator<Counted>("write").arg("id", &Counted::id).run([rows](MutatorContext& ctx, const Counted& args) -> Outcome {
    ++runs_seen;
    ctx.upsert(rows, {.id = args.id, .owner_id = ctx.actor().owner_id});
    return done();
  });
  d.mutator<Counted>("look").arg("id", &Counted::id).run([rows](MutatorContext& ctx, const Counted& args) -> Outcome {
    ++runs_seen;
    ctx.get(rows, args.id);
    return done();
  });
  d.mutator<Counted>("search").arg("id", &Counted::id).run([others](MutatorContext& ctx, const Counted&) -> Outcome {
    ++runs_seen;
    ctx.find(from(others).where(eq("owner_id", "o1")));
    return done();
  });
  d.rule("mine")
      .parameter("ownerId", actor::owner_id)
      .data(rows, eq("owner_id", "ownerId"))
      .data(others, eq("owner_id", "ownerId"));
  return d;
}

struct Shortcut : World {
  Shortcut() {
    device.close();
    device.options().path = folder.file("counting.db");
    device.options().domain = testing::compile(counting_domain());
    device.open();
    pull({});
  }
  /// One page with these rows; the number of mutator runs that it caused.
  std::size_t pull(std::vector<protocol::ChangedTable> changed) {
    protocol::PullPage page;
    page.cursor = "c" + std::to_string(++pages);
    page.epoch = "e";
    page.buckets = {"o1"};
    page.changed = std::move(changed);
    const std::size_t before = runs_seen;
    const auto applied = device.store().apply_page(*device.store().next_pull(10), page);
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    return runs_seen - before;
  }
  static protocol::ChangedTable row(const std::string& table, const std::string& id) {
    return {table, {{id, std::string("o1")}}};
  }
  int pages = 0;
};

TEST_F(Shortcut, APullThatMeetsNothingPendingRunsNothingAgain) {
  ASSERT_TRUE(device.mutate("write", {"w"}));
  ASSERT_TRUE(device.mutate("look", {"l"}));
  EXPECT_EQ(pull({row("notes", "x"), row("others", "y")}), 0u);
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM notes"), "2");
  EXPECT_EQ(pull({row("notes", "w")}), 1u) << "it wrote that row";
  EXPECT_EQ(pull({row("notes", "l")}), 1u) << "it looked for that row and missed it";
  EXPECT_EQ(pull({row("notes", "w"), row("notes", "l")}), 0u) << "they are what they were";
  EXPECT_EQ(pull({row("notes", "z")}), 0u);
  ASSERT_TRUE(device.mutate("search", {"s"}));
  EXPECT_EQ(pull({row("notes", "y")}), 0u);
  EXPECT_EQ(pull({row("others", "z")}), 1u) << "it searched that table";
}

TEST_F(Shortcut, WhatAnotherProcessDidIsNotTakenForApart) {
  ASSERT_TRUE(device.mutate("write", {"w"}));
  EXPECT_EQ(pull({row("notes", "x")}), 0u);
  Device other(device.options().path, clock, 9, device.options().domain);
  ASSERT_TRUE(other.mutate("write", {"v"}));
  EXPECT_EQ(pull({row("notes", "v")}), 2u);
  EXPECT_EQ(device.sql_text("SELECT before FROM nizhal_undo WHERE key = 'v'"), R"({"id":"v","owner_id":"o1"})");
}

TEST_F(Shortcut, AReopenedStoreRebasesOnceAndKnowsAgain) {
  ASSERT_TRUE(device.mutate("write", {"w"}));
  device.reopen();
  EXPECT_EQ(pull({row("notes", "x")}), 1u);
  EXPECT_EQ(pull({row("notes", "y")}), 0u);
}

TEST(Rebase, EqualsAReplayFromScratchAfterAnyInterleaving) {
  const std::uint64_t seed = test_seed("rebase");
  for (std::uint64_t run = 0; run < 12 && !::testing::Test::HasFailure(); ++run) {
    SCOPED_TRACE("NIZHAL_SEED=" + std::to_string(seed) + ", run " + std::to_string(run));
    RandomRun(seed + run * 1000).run(60);
  }
}

}  // namespace
}  // namespace nizhal::client
