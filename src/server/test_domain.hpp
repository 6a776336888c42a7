// The domain of the server's tests: personal notes (static bucket), teams (membership, prefix "team:"), append-only
// events with numeric keys, and a table that no rule delivers. Its mutators do what honest ones do, and what the
// scope check is there for.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <nizhal/domain.hpp>

#include "domain/compiled_domain.hpp"

namespace nizhal::server::testing {

struct Note {
  std::string id, owner_id, body;
};
struct Member {
  std::string id, user_id, team_id;
};
struct Doc {
  std::string id, team_id, title;
  std::optional<std::string> client_id;
};
struct EventRow {
  std::int64_t number = 0;
  std::string team_id, text;
};
struct Secret {
  std::string id, text;
};

inline const auto note_table =
    table<Note>("notes").key("id", &Note::id).column("owner_id", &Note::owner_id).column("body", &Note::body);
inline const auto member_table = table<Member>("members")
                                     .key("id", &Member::id)
                                     .column("user_id", &Member::user_id)
                                     .column("team_id", &Member::team_id);
inline const auto doc_table = table<Doc>("docs")
                                  .key("id", &Doc::id)
                                  .column("team_id", &Doc::team_id)
                                  .column("title", &Doc::title)
                                  .column("client_id", &Doc::client_id);
inline const auto event_table = table<EventRow>("events")
                                    .key("number", &EventRow::number)
                                    .column("team_id", &EventRow::team_id)
                                    .column("text", &EventRow::text)
                                    .append_only();
inline const auto secret_table = table<Secret>("secrets").key("id", &Secret::id).column("text", &Secret::text);

/// One argument type for all mutators: id, a place to put it, and a text.
struct Args {
  std::string id, place, text;
};

inline Domain test_domain(DomainOptions options = {.version = "1.2.0"}) {
  Domain d("test", std::move(options));
  d.add(note_table).add(member_table).add(doc_table).add(event_table).add(secret_table);
  const auto mutator = [&d](const char* name, auto body) {
    d.mutator<Args>(name)
        .arg("id", &Args::id, min_length(1), max_length(64))
        .arg("place", &Args::place)
        .arg("text", &Args::text, max_length(100))
        .run(std::move(body));
  };
  mutator("addNote", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(note_table, {.id = a.id, .owner_id = ctx.actor().owner_id, .body = a.text});
    return done();
  });
  // Writes for whatever owner it is told: what the scope check is there for.
  mutator("addNoteFor", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(note_table, {.id = a.id, .owner_id = a.place, .body = a.text});
    return done();
  });
  mutator("putNoteFor", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.upsert(note_table, {.id = a.id, .owner_id = a.place, .body = a.text});
    return done();
  });
  mutator("setNote", [](MutatorContext& ctx, const Args& a) -> Outcome {
    if (!ctx.update(note_table, a.id, {set("body", a.text)})) return reject("unknown_note", "no such note");
    return done();
  });
  mutator("removeNote", [](MutatorContext& ctx, const Args& a) -> Outcome {
    if (!ctx.remove(note_table, a.id)) return reject("unknown_note", "no such note");
    return done();
  });
  mutator("addThenRefuse", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(note_table, {.id = a.id, .owner_id = ctx.actor().owner_id, .body = a.text});
    return reject("changed_my_mind", "no after all");
  });
  mutator("addThenThrow", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(note_table, {.id = a.id, .owner_id = ctx.actor().owner_id, .body = a.text});
    throw std::runtime_error("SELECT secret FROM somewhere");
  });
  mutator("swallowScope", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(note_table, {.id = a.id, .owner_id = a.place, .body = a.text});
    return reject("something_else", "not what happened");
  });
  mutator("stampNote", [](MutatorContext& ctx, const Args& a) -> Outcome {
    const std::string first = ctx.new_id(), second = ctx.new_id();
    ctx.insert(
        note_table,
        {.id = a.id, .owner_id = ctx.actor().owner_id, .body = to_iso8601(ctx.now()) + " " + first + " " + second});
    return done();
  });
  // Refuses with what it sees: how many docs of a team `find` gives, and what `get` answers for an id.
  mutator("lookAtDocs", [](MutatorContext& ctx, const Args& a) -> Outcome {
    const auto found = ctx.find(from(doc_table).where(eq("team_id", a.place)));
    const auto one = ctx.get(doc_table, a.id);
    return reject("saw", std::to_string(found.size()) + " and " + (one ? one->title : "nothing"));
  });
  mutator("lookAtMembersUnscoped", [](MutatorContext& ctx, const Args&) -> Outcome {
    return reject("saw", std::to_string(ctx.unscoped().find(from(member_table)).size()));
  });
  d.mutator<Args>("createTeam")
      .arg("id", &Args::id)
      .arg("place", &Args::place)
      .authorize([](MutatorContext& ctx, const Args& a) -> Outcome {
        ctx.new_id();  // what an authorisation takes must not move the body's ids
        if (!ctx.find(from(member_table).where(eq("team_id", a.place)).limit(1)).empty())
          return reject("already_exists", "there is such a team");
        if (a.place == "forbidden") return reject("not_authorized", "not this team");
        return done();
      })
      .run([](MutatorContext& ctx, const Args& a) -> Outcome {
        ctx.insert(member_table, {.id = ctx.new_id(), .user_id = ctx.actor().user_id, .team_id = a.place});
        return done();
      });
  mutator("addMember", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(member_table, {.id = a.id, .user_id = a.text, .team_id = a.place});
    return done();
  });
  mutator("removeMember", [](MutatorContext& ctx, const Args& a) -> Outcome {
    if (!ctx.remove(member_table, a.id)) return reject("unknown_member", "no such member");
    return done();
  });
  mutator("moveMember", [](MutatorContext& ctx, const Args& a) -> Outcome {
    if (!ctx.update(member_table, a.id, {set("team_id", a.place)})) return reject("unknown_member", "no such member");
    return done();
  });
  // Adds the actor to a team with unscoped access and then writes there as anyone in it could.
  mutator("joinAndWrite", [](MutatorContext& ctx, const Args& a) -> Outcome {
    if (!ctx.find(from(doc_table).where(eq("team_id", a.place))).empty()) return reject("seen", "before joining");
    ctx.unscoped().insert(member_table, {.id = a.id, .user_id = ctx.actor().user_id, .team_id = a.place});
    ctx.insert(doc_table, {.id = a.id, .team_id = a.place, .title = a.text, .client_id = std::nullopt});
    return done();
  });
  // The reverse: leaves its team and then writes there.
  mutator("leaveAndWrite", [](MutatorContext& ctx, const Args& a) -> Outcome {
    for (const Member& member : ctx.find(from(member_table).where(eq("user_id", ctx.actor().user_id))))
      ctx.remove(member_table, member.id);
    ctx.insert(doc_table, {.id = a.id, .team_id = a.place, .title = a.text, .client_id = std::nullopt});
    return done();
  });
  d.mutator<Args>("addDoc")
      .arg("id", &Args::id, new_id_of(doc_table))
      .arg("place", &Args::place)
      .arg("text", &Args::text)
      .run([](MutatorContext& ctx, const Args& a) -> Outcome {
        ctx.insert(doc_table, {.id = a.id, .team_id = a.place, .title = a.text, .client_id = std::nullopt});
        return done();
      });
  // Gives the row another id than the device's.
  d.mutator<Args>("addDocRenamed")
      .arg("id", &Args::id, new_id_of(doc_table))
      .arg("place", &Args::place)
      .arg("text", &Args::text)
      .run([](MutatorContext& ctx, const Args& a) -> Outcome {
        ctx.insert(doc_table, {.id = "srv-" + a.id, .team_id = a.place, .title = a.text, .client_id = a.id});
        return done().with_server_id("srv-" + a.id);
      });
  d.mutator<Args>("setDoc")
      .arg("id", &Args::id, references(doc_table))
      .arg("text", &Args::text)
      .run([](MutatorContext& ctx, const Args& a) -> Outcome {
        if (!ctx.update(doc_table, a.id, {set("title", a.text)})) return reject("unknown_doc", "no such doc");
        return done();
      });
  mutator("moveDoc", [](MutatorContext& ctx, const Args& a) -> Outcome {
    if (!ctx.update(doc_table, a.id, {set("team_id", a.place)})) return reject("unknown_doc", "no such doc");
    return done();
  });
  mutator("removeDoc", [](MutatorContext& ctx, const Args& a) -> Outcome {
    if (!ctx.remove(doc_table, a.id)) return reject("unknown_doc", "no such doc");
    return done();
  });
  mutator("addEvent", [](MutatorContext& ctx, const Args& a) -> Outcome {
    const std::int64_t number = ctx.next_in_bucket(event_table, "number", "team_id", a.place);
    ctx.insert(event_table, {.number = number, .team_id = a.place, .text = a.text});
    return done();
  });
  mutator("takeNumber", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.next_in_bucket(event_table, "number", "team_id", a.place);
    return done();
  });
  mutator("changeEvents", [](MutatorContext& ctx, const Args& a) -> Outcome {
    for (const EventRow& event : ctx.find(from(event_table).where(eq("team_id", a.place))))
      ctx.update(event_table, event.number, {set("text", a.text)});
    return done();
  });
  mutator("removeEvents", [](MutatorContext& ctx, const Args& a) -> Outcome {
    for (const EventRow& event : ctx.find(from(event_table).where(eq("team_id", a.place))))
      ctx.remove(event_table, event.number);
    return done();
  });
  mutator("addSecret", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(secret_table, {.id = a.id, .text = a.text});
    return done();
  });
  mutator("addSecretUnscoped", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.unscoped().insert(secret_table, {.id = a.id, .text = a.text});
    return done();
  });
  mutator("wrongColumn", [](MutatorContext& ctx, const Args&) -> Outcome {
    ctx.find(from(note_table).where(eq("no_such_column", "x")));
    return done();
  });
  mutator("wrongText", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(note_table, {.id = a.id, .owner_id = ctx.actor().owner_id, .body = "\xff\xfe"});
    return done();
  });
  mutator("addNoteAffecting", [](MutatorContext& ctx, const Args& a) -> Outcome {
    ctx.insert(note_table, {.id = a.id, .owner_id = ctx.actor().owner_id, .body = a.text});
    return done().with_affected_buckets({a.place});
  });

  d.rule("mine").parameter("ownerId", actor::owner_id).data(note_table, eq("owner_id", "ownerId"));
  d.rule("teams")
      .prefix("team:")
      .priority(1)
      .membership(member_table, where("user_id", actor::user_id), bucket("teamId", "team_id"))
      .data(member_table, eq("team_id", "teamId"))
      .data(doc_table, eq("team_id", "teamId"))
      .data(event_table, eq("team_id", "teamId"));
  return d;
}

inline std::shared_ptr<const CompiledDomain> compiled(Domain domain) {
  auto result = CompiledDomain::compile(std::move(domain));
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return result ? *result : nullptr;
}

}  // namespace nizhal::server::testing
