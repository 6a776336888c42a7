// The docs example: documents of a space that its members edit together, also while apart. Title and status merge per
// field, the body is text and the meta a map that merge edit by edit.
#pragma once

#include <string>

#include <nizhal/domain.hpp>

namespace docs {

struct SpaceMember {
  std::string id, user_id, space_id;
};
struct Document {
  std::string id, space_id, title, status;
  nizhal::CrdtText body = {};
  nizhal::CrdtMap meta = {};
};

inline const auto space_members = nizhal::table<SpaceMember>("space_members")
                                      .key("id", &SpaceMember::id)
                                      .column("user_id", &SpaceMember::user_id)
                                      .column("space_id", &SpaceMember::space_id);
inline const auto documents = nizhal::table<Document>("documents")
                                  .key("id", &Document::id)
                                  .column("space_id", &Document::space_id)
                                  .column("title", &Document::title)
                                  .column("status", &Document::status)
                                  .column("body", &Document::body)
                                  .column("meta", &Document::meta)
                                  .merge(nizhal::Merge::Field);

struct CreateSpace {
  std::string space_id;
};
struct CreateDocument {
  std::string id, space_id, title;
};
struct SetTitle {
  std::string id, title;
};
struct SetStatus {
  std::string id, status;
};
struct EditBody {
  std::string id;
  nizhal::Blob update;  // what an editor made of the user's keystrokes
};
struct EditMeta {
  std::string id;
  nizhal::Blob update;
};

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::eq, nizhal::set, nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("docs", {.version = "1.0.0"});
  d.add(space_members).add(documents);

  // A new space is in nobody's buckets yet, so this says itself who may: anyone, as long as the space is new.
  d.mutator<CreateSpace>("createSpace")
      .arg("space_id", &CreateSpace::space_id, nizhal::min_length(1), nizhal::max_length(128))
      .authorize([](MutatorContext& ctx, const CreateSpace& args) -> Outcome {
        if (!ctx.find(nizhal::from(space_members).where(eq("space_id", args.space_id)).limit(1)).empty())
          return reject("already_exists", "there is a space with this id");
        return done();
      })
      .run([](MutatorContext& ctx, const CreateSpace& args) -> Outcome {
        ctx.insert(space_members, {.id = ctx.new_id(), .user_id = ctx.actor().user_id, .space_id = args.space_id});
        return done();
      });
  d.mutator<CreateDocument>("createDocument")
      .arg("id", &CreateDocument::id, nizhal::new_id_of(documents), nizhal::min_length(1), nizhal::max_length(128))
      .arg("space_id", &CreateDocument::space_id)
      .arg("title", &CreateDocument::title, nizhal::max_length(200))
      .run([](MutatorContext& ctx, const CreateDocument& args) -> Outcome {
        ctx.insert(documents, {.id = args.id, .space_id = args.space_id, .title = args.title, .status = "draft"});
        return done();
      });
  // Only what is set counts as edited: whoever sets the status at the same time keeps their edit, too.
  d.mutator<SetTitle>("setTitle")
      .arg("id", &SetTitle::id, nizhal::references(documents))
      .arg("title", &SetTitle::title, nizhal::max_length(200))
      .run([](MutatorContext& ctx, const SetTitle& args) -> Outcome {
        if (!ctx.update(documents, args.id, {set("title", args.title)}))
          return reject("not_found", "no such document in your spaces");
        return done();
      });
  d.mutator<SetStatus>("setStatus")
      .arg("id", &SetStatus::id, nizhal::references(documents))
      .arg("status", &SetStatus::status, nizhal::max_length(50))
      .run([](MutatorContext& ctx, const SetStatus& args) -> Outcome {
        if (!ctx.update(documents, args.id, {set("status", args.status)}))
          return reject("not_found", "no such document in your spaces");
        return done();
      });
  // What is written into a CRDT column is merged into it, here and on the server.
  d.mutator<EditBody>("editBody")
      .arg("id", &EditBody::id, nizhal::references(documents))
      .arg("update", &EditBody::update)
      .run([](MutatorContext& ctx, const EditBody& args) -> Outcome {
        if (!ctx.update(documents, args.id, {set("body", args.update)}))
          return reject("not_found", "no such document in your spaces");
        return done();
      });
  d.mutator<EditMeta>("editMeta")
      .arg("id", &EditMeta::id, nizhal::references(documents))
      .arg("update", &EditMeta::update)
      .run([](MutatorContext& ctx, const EditMeta& args) -> Outcome {
        if (!ctx.update(documents, args.id, {set("meta", args.update)}))
          return reject("not_found", "no such document in your spaces");
        return done();
      });

  d.rule("mySpaces")
      .membership(space_members, nizhal::where("user_id", nizhal::actor::user_id),
                  nizhal::bucket("spaceId", "space_id"))
      .data(space_members, eq("space_id", "spaceId"))
      .data(documents, eq("space_id", "spaceId"));
  return d;
}

}  // namespace docs
