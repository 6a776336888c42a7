// Undo: what takes a mutation back is told before it runs, kept with it, and run as a mutation of its own.
#include "client/inverses.hpp"

#include <functional>
#include <stdexcept>

#include "client/client_test_support.hpp"
#include "client/tuning.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::NoteRows;
using testing::World;

struct Undo : World {
  Result<Ticket> undo(const std::string& id) { return device.store().undo(id, {}); }
  std::string undone(const std::string& id) {
    const auto ticket = undo(id);
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().message);
    return ticket ? ticket->client_mutation_id : "";
  }
  Error refusal(const std::string& id) {
    const auto ticket = undo(id);
    EXPECT_FALSE(ticket);
    return ticket ? Error{} : ticket.error();
  }
};

TEST_F(Undo, APendingMutationIsTakenBackByOneThatDependsOnIt) {
  device.add("n1", "first");
  const std::string edit = device.edit("n1", "second");
  undone(edit);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "first"}}));
  const auto request = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(request->mutations.size(), 3u);
  EXPECT_EQ(request->mutations[2].name, "editNote");
  EXPECT_EQ(request->mutations[2].depends_on, std::vector<std::string>{edit});
  ASSERT_TRUE(device.store().settle_push(*request, server.push(*request)));
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "first"}}));
}

TEST_F(Undo, AConfirmedMutationIsTakenBackToWhatTheUserHadSeen) {
  const std::string added = device.add("n1", "mine");
  device.sync(server);
  server.put("n1", "somebody else's");
  device.pull(server);
  const std::string erased = device.erase("n1");
  device.sync(server);
  device.reopen();
  undone(erased);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "somebody else's"}}));
  undone(added);
  EXPECT_TRUE(device.notes().empty());
  device.sync(server);
  EXPECT_TRUE(server.notes().empty());
  EXPECT_TRUE(device.dead_letters().empty());
}

TEST_F(Undo, AnUndoIsUndoneInTurnAndASecondOneSaysSo) {
  device.add("n1", "first");
  const std::string edit = device.edit("n1", "second");
  const std::string back = undone(edit);
  const Error again = refusal(edit);
  EXPECT_EQ(again.code, ErrorCode::refused);
  EXPECT_EQ(again.message, "already_undone: mutation " + back + " undid it; undo that one to have it back");
  const std::string redone = undone(back);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "second"}}));
  undone(redone);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "first"}}));
  EXPECT_EQ(device.outbox().size(), 5u);
  device.sync(server);
  EXPECT_EQ(server.notes(), (NoteRows{{"n1", "first"}}));
}

TEST_F(Undo, OfARefusedMutationThereIsNothingToUndo) {
  const std::string refused = device.add("n1", "reject");
  const std::string back = undone(refused);
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 2u) << "the undo went with it";
  EXPECT_EQ(device.dead_letters()[1].client_mutation_id, back);
  const Error error = refusal(refused);
  EXPECT_EQ(error.code, ErrorCode::refused);
  EXPECT_EQ(error.message,
            "nothing_to_undo: \"addNote\" was refused (refused_body) and changed nothing; discard dead letter 1");
  ASSERT_TRUE(device.store().discard(1));
  EXPECT_EQ(refusal(refused).code, ErrorCode::not_found);
  EXPECT_EQ(refusal("nobody").code, ErrorCode::not_found);
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Undo, AnUndoThatTheServerRefusedIsTriedAgainOnceItsDeadLetterIsGone) {
  const std::string added = device.add("n1", "a");
  device.sync(server);
  server.remove("n1");
  const std::string back = undone(added);
  device.sync(server);
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_NE(refusal(added).message.find("already_undone: it was undone, but that was refused"), std::string::npos);
  ASSERT_TRUE(device.store().discard(device.dead_letters()[0].id));
  server.put("n1", "there again");
  device.pull(server);
  undone(added);
  device.sync(server);
  EXPECT_TRUE(server.notes().empty());
}

TEST_F(Undo, ALocalRefusalOfTheInverseLeavesEverythingAsItWas) {
  const std::string added = device.add("n1", "a");
  device.erase("n1");
  const Error error = refusal(added);
  EXPECT_EQ(error.message, "not_found: no such note");
  EXPECT_EQ(device.outbox().size(), 2u);
  device.add("n1", "b");
  undone(added);
}

TEST_F(Undo, OnlyTheNewestMutationsCanBeUndone) {
  const std::string first = device.add("n0", "a");
  const std::string second = device.add("n1", "a");
  for (std::int64_t i = 1; i < kInversesMax; ++i) device.edit("n1", "b" + std::to_string(i));
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_inverse"), std::to_string(kInversesMax));
  EXPECT_EQ(refusal(first).code, ErrorCode::not_found);
  undone(second);
}

struct Args {
  std::string id, body;
};
struct OtherArgs {
  std::string id;
};
using Inverse = std::function<std::optional<MutationCall>(MutatorContext&, const Args&)>;

/// addNote with this inverse, and remove.
Domain with_inverse(Inverse inverse) {
  Domain d("notes");
  d.add(notes::notes);
  d.mutator<Args>("addNote")
      .arg("id", &Args::id)
      .arg("body", &Args::body)
      .inverse(std::move(inverse))
      .run([](MutatorContext& ctx, const Args& args) -> Outcome {
        ctx.insert(notes::notes, {.id = args.id, .owner_id = "o1", .body = args.body});
        return done();
      });
  d.mutator<OtherArgs>("remove")
      .arg("id", &OtherArgs::id, max_length(3))
      .run([](MutatorContext& ctx, const OtherArgs& args) -> Outcome {
        ctx.remove(notes::notes, args.id);
        return done();
      });
  d.rule("mine").parameter("ownerId", actor::owner_id).data(notes::notes, eq("owner_id", "ownerId"));
  return d;
}

struct Inverses : Undo {
  void use(Inverse inverse) {
    device.close();
    device.options().path = folder.file("inverses.db");
    device.options().domain = testing::compile(with_inverse(std::move(inverse)));
    device.open();
  }
  /// Of adding n1, which leaves no trace.
  std::string refused_add() {
    const auto ticket = device.mutate("addNote", {"n1", "a"});
    EXPECT_FALSE(ticket);
    EXPECT_TRUE(device.notes().empty());
    EXPECT_TRUE(device.outbox().empty());
    EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_inverse"), "0");
    if (ticket) return "";
    EXPECT_EQ(ticket.error().code, ErrorCode::refused);
    return ticket.error().message;
  }
};

TEST_F(Inverses, MayOnlyRead) {
  const std::string begin = "internal: the inverse of mutator \"addNote\": it may only read, but calls ";
  const std::string end = " on \"notes\"; what it needs belongs into the call's arguments";
  const notes::Note note{.id = "x", .owner_id = "o1", .body = "x"};
  use([&](MutatorContext& ctx, const Args&) {
    ctx.insert(notes::notes, note);
    return std::nullopt;
  });
  EXPECT_EQ(refused_add(), begin + "insert" + end);
  use([&](MutatorContext& ctx, const Args&) {
    ctx.upsert(notes::notes, note);
    return std::nullopt;
  });
  EXPECT_EQ(refused_add(), begin + "upsert" + end);
  use([&](MutatorContext& ctx, const Args&) {
    ctx.update(notes::notes, "x", {set("body", "y")});
    return std::nullopt;
  });
  EXPECT_EQ(refused_add(), begin + "update" + end);
  use([&](MutatorContext& ctx, const Args&) {
    ctx.unscoped().remove(notes::notes, "x");
    return std::nullopt;
  });
  EXPECT_EQ(refused_add(), begin + "remove" + end);
}

TEST_F(Inverses, MustNameACallThatExistsWithItsOwnArguments) {
  use([](MutatorContext&, const Args& args) { return call("fly", OtherArgs{args.id}); });
  EXPECT_EQ(refused_add(),
            "internal: the inverse of mutator \"addNote\": it calls \"fly\", which this domain does not have");
  use([](MutatorContext&, const Args& args) { return call("remove", args); });
  EXPECT_EQ(refused_add(),
            "internal: the inverse of mutator \"addNote\": it calls \"remove\" with other arguments than "
            "that mutator declares");
  use([](MutatorContext&, const Args&) -> std::optional<MutationCall> { throw std::runtime_error("a secret"); });
  EXPECT_EQ(refused_add(), "internal: the inverse of mutator \"addNote\" failed");
}

TEST_F(Inverses, WhatDoesNotFitTodaysConstraintsKeepsNobodyFromWriting) {
  use([](MutatorContext&, const Args& args) { return call("remove", OtherArgs{args.id + " far too long"}); });
  const std::string added = device.add("n1", "a");
  EXPECT_EQ(refusal(added).code, ErrorCode::not_found);
}

TEST_F(Inverses, SeeWhatQueriesSeeBeforeTheRun) {
  std::size_t seen = 99;
  use([&](MutatorContext& ctx, const Args& args) {
    seen = ctx.find(from(notes::notes)).size() + (ctx.get(notes::notes, args.id) ? 10 : 0);
    return call("remove", OtherArgs{args.id});
  });
  device.add("n1", "a");
  EXPECT_EQ(seen, 0u);
  device.add("n2", "b");
  EXPECT_EQ(seen, 1u);
}

}  // namespace
}  // namespace nizhal::client
