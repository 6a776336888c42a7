// The notes example: personal notes scoped by the token's owner, and team notes scoped by membership.
#pragma once

#include <optional>
#include <string>

#include <nizhal/domain.hpp>

namespace notes {

struct Note {
  std::string id, owner_id, body;
};
struct TeamMember {
  std::string id, user_id, team_id;
};
struct TeamNote {
  std::string id, team_id, body;
};

inline const auto notes =
    nizhal::table<Note>("notes").key("id", &Note::id).column("owner_id", &Note::owner_id).column("body", &Note::body);
inline const auto team_members = nizhal::table<TeamMember>("team_members")
                                     .key("id", &TeamMember::id)
                                     .column("user_id", &TeamMember::user_id)
                                     .column("team_id", &TeamMember::team_id);
inline const auto team_notes = nizhal::table<TeamNote>("team_notes")
                                   .key("id", &TeamNote::id)
                                   .column("team_id", &TeamNote::team_id)
                                   .column("body", &TeamNote::body);

struct AddNote {
  std::string id, body;
};
struct EditNote {
  std::string id, body;
};
struct DeleteNote {
  std::string id;
};
struct CreateTeam {
  std::string team_id;
};
struct AddTeamMember {
  std::string id, user_id, team_id;
};
struct RemoveTeamMember {
  std::string user_id, team_id;
};
struct AddTeamNote {
  std::string id, team_id, body;
};
struct EditTeamNote {
  std::string id, body;
};
struct MoveTeamNote {
  std::string id, team_id;
};
struct DeleteTeamNote {
  std::string id;
};

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::eq, nizhal::call, nizhal::MutationCall, nizhal::MutatorContext,
      nizhal::Outcome;
  nizhal::Domain d("notes", {.version = "1.0.0"});
  d.add(notes).add(team_members).add(team_notes);

  d.mutator<AddNote>("addNote")
      .arg("id", &AddNote::id, nizhal::new_id_of(notes), nizhal::min_length(1), nizhal::max_length(128))
      .arg("body", &AddNote::body, nizhal::max_length(10'000))
      .inverse([](MutatorContext&, const AddNote& args) { return call("deleteNote", DeleteNote{args.id}); })
      .run([](MutatorContext& ctx, const AddNote& args) -> Outcome {
        if (ctx.get(notes, args.id)) return reject("already_exists", "there is a note with this id");
        // Something that only the server can know: the device keeps the note until it hears of the refusal.
        if (ctx.on_server() && args.body == "reject") return reject("refused_body", "this body is not accepted");
        ctx.insert(notes, {.id = args.id, .owner_id = ctx.actor().owner_id, .body = args.body});
        return done();
      });
  d.mutator<EditNote>("editNote")
      .arg("id", &EditNote::id, nizhal::references(notes))
      .arg("body", &EditNote::body, nizhal::max_length(10'000))
      .inverse([](MutatorContext& ctx, const EditNote& args) -> std::optional<MutationCall> {
        const auto before = ctx.get(notes, args.id);
        if (!before) return std::nullopt;
        return call("editNote", EditNote{.id = args.id, .body = before->body});
      })
      .run([](MutatorContext& ctx, const EditNote& args) -> Outcome {
        if (!ctx.update(notes, args.id, {nizhal::set("body", args.body)})) return reject("not_found", "no such note");
        return done();
      });
  d.mutator<DeleteNote>("deleteNote")
      .arg("id", &DeleteNote::id, nizhal::references(notes))
      .inverse([](MutatorContext& ctx, const DeleteNote& args) -> std::optional<MutationCall> {
        const auto before = ctx.get(notes, args.id);
        if (!before) return std::nullopt;
        return call("addNote", AddNote{.id = args.id, .body = before->body});
      })
      .run([](MutatorContext& ctx, const DeleteNote& args) -> Outcome {
        if (!ctx.remove(notes, args.id)) return reject("not_found", "no such note");
        return done();
      });

  // A new team is in nobody's buckets yet, so this says itself who may: anyone, as long as the team is new.
  d.mutator<CreateTeam>("createTeam")
      .arg("team_id", &CreateTeam::team_id, nizhal::min_length(1), nizhal::max_length(128))
      .authorize([](MutatorContext& ctx, const CreateTeam& args) -> Outcome {
        if (!ctx.find(nizhal::from(team_members).where(eq("team_id", args.team_id)).limit(1)).empty())
          return reject("already_exists", "there is a team with this id");
        return done();
      })
      .run([](MutatorContext& ctx, const CreateTeam& args) -> Outcome {
        ctx.insert(team_members, {.id = ctx.new_id(), .user_id = ctx.actor().user_id, .team_id = args.team_id});
        return done();
      });
  d.mutator<AddTeamMember>("addTeamMember")
      .arg("id", &AddTeamMember::id, nizhal::new_id_of(team_members), nizhal::min_length(1), nizhal::max_length(128))
      .arg("user_id", &AddTeamMember::user_id, nizhal::min_length(1), nizhal::max_length(128))
      .arg("team_id", &AddTeamMember::team_id)
      .run([](MutatorContext& ctx, const AddTeamMember& args) -> Outcome {
        ctx.insert(team_members, {.id = args.id, .user_id = args.user_id, .team_id = args.team_id});
        return done();
      });
  d.mutator<RemoveTeamMember>("removeTeamMember")
      .arg("user_id", &RemoveTeamMember::user_id)
      .arg("team_id", &RemoveTeamMember::team_id)
      .run([](MutatorContext& ctx, const RemoveTeamMember& args) -> Outcome {
        const auto members =
            ctx.find(nizhal::from(team_members).where(eq("team_id", args.team_id)).where(eq("user_id", args.user_id)));
        if (members.empty()) return reject("not_found", "no such member in this team");
        for (const TeamMember& member : members) ctx.remove(team_members, member.id);
        return done();
      });

  d.mutator<AddTeamNote>("addTeamNote")
      .arg("id", &AddTeamNote::id, nizhal::new_id_of(team_notes), nizhal::min_length(1), nizhal::max_length(128))
      .arg("team_id", &AddTeamNote::team_id)
      .arg("body", &AddTeamNote::body, nizhal::max_length(10'000))
      .run([](MutatorContext& ctx, const AddTeamNote& args) -> Outcome {
        ctx.insert(team_notes, {.id = args.id, .team_id = args.team_id, .body = args.body});
        return done();
      });
  d.mutator<EditTeamNote>("editTeamNote")
      .arg("id", &EditTeamNote::id, nizhal::references(team_notes))
      .arg("body", &EditTeamNote::body, nizhal::max_length(10'000))
      .run([](MutatorContext& ctx, const EditTeamNote& args) -> Outcome {
        if (!ctx.update(team_notes, args.id, {nizhal::set("body", args.body)}))
          return reject("not_found", "no such note in your teams");
        return done();
      });
  d.mutator<MoveTeamNote>("moveTeamNote")
      .arg("id", &MoveTeamNote::id, nizhal::references(team_notes))
      .arg("team_id", &MoveTeamNote::team_id)
      .run([](MutatorContext& ctx, const MoveTeamNote& args) -> Outcome {
        if (!ctx.update(team_notes, args.id, {nizhal::set("team_id", args.team_id)}))
          return reject("not_found", "no such note in your teams");
        return done();
      });
  d.mutator<DeleteTeamNote>("deleteTeamNote")
      .arg("id", &DeleteTeamNote::id, nizhal::references(team_notes))
      .run([](MutatorContext& ctx, const DeleteTeamNote& args) -> Outcome {
        if (!ctx.remove(team_notes, args.id)) return reject("not_found", "no such note in your teams");
        return done();
      });

  d.rule("myNotes").parameter("ownerId", nizhal::actor::owner_id).data(notes, eq("owner_id", "ownerId"));
  d.rule("myTeams")
      .prefix("team:")
      .membership(team_members, nizhal::where("user_id", nizhal::actor::user_id), nizhal::bucket("teamId", "team_id"))
      .data(team_members, eq("team_id", "teamId"))
      .data(team_notes, eq("team_id", "teamId"));
  return d;
}

}  // namespace notes
