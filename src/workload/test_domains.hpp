// For tests only: a domain that is named like none of the examples, with whole numbers and UUIDs as keys.
#pragma once

#include <optional>

#include "domain/compiled_domain.hpp"

namespace nizhal::workload::testing {

struct Crew {
  std::int64_t id = 0;
  nizhal::Uuid ship;
  std::string sailor, rank;
};
struct Ship {
  nizhal::Uuid id;
  std::string name;
};
struct Voyage {
  std::int64_t id = 0;
  nizhal::Uuid ship_ref;
  std::string title;
  std::optional<double> miles;
  nizhal::CrdtText journal;
};
struct Diary {
  nizhal::Uuid id;
  std::string fleet, text;
};

inline const auto crews = table<Crew>("crews")
                              .key("id", &Crew::id)
                              .column("ship", &Crew::ship)
                              .column("sailor", &Crew::sailor)
                              .column("rank", &Crew::rank);
inline const auto ships = table<Ship>("ships").key("id", &Ship::id).column("name", &Ship::name);
inline const auto voyages = table<Voyage>("voyages")
                                .key("id", &Voyage::id)
                                .column("ship_ref", &Voyage::ship_ref)
                                .column("title", &Voyage::title)
                                .column("miles", &Voyage::miles)
                                .column("journal", &Voyage::journal);
inline const auto diaries =
    table<Diary>("diaries").key("id", &Diary::id).column("fleet", &Diary::fleet).column("text", &Diary::text);

struct BeginVoyage {
  std::int64_t id = 0;
  nizhal::Uuid ship;
  std::string title;
  nizhal::Blob first_words;
};
struct Write {
  std::int64_t voyage = 0;
  nizhal::Blob words;
};
struct Note {
  nizhal::Uuid id;
  std::string text;
};

inline Domain domain() {
  Domain d("fleet", {.version = "1.0.0"});
  d.add(crews).add(ships).add(voyages).add(diaries);
  d.mutator<BeginVoyage>("beginVoyage")
      .arg("id", &BeginVoyage::id, new_id_of(voyages))
      .arg("ship", &BeginVoyage::ship)
      .arg("title", &BeginVoyage::title, max_length(80))
      .arg("first_words", &BeginVoyage::first_words)
      .run([](MutatorContext& ctx, const BeginVoyage& args) {
        ctx.insert(voyages, {.id = args.id,
                             .ship_ref = args.ship,
                             .title = args.title,
                             .miles = {},
                             .journal = {args.first_words.bytes}});
        return done();
      });
  d.mutator<Write>("write")
      .arg("voyage", &Write::voyage, references(voyages))
      .arg("words", &Write::words)
      .run([](MutatorContext& ctx, const Write& args) -> Outcome {
        if (!ctx.update(voyages, args.voyage, {set("journal", args.words)}))
          return reject("not_found", "no such voyage");
        return done();
      });
  d.mutator<Note>("note")
      .arg("id", &Note::id, new_id_of(diaries))
      .arg("text", &Note::text)
      .run([](MutatorContext& ctx, const Note& args) {
        ctx.insert(diaries, {.id = args.id, .fleet = ctx.actor().claim("fleet").value_or(""), .text = args.text});
        return done();
      });
  d.rule("ships")
      .prefix("ship:")
      .membership(crews, where("sailor", actor::user_id), where("rank", "officer"), bucket("ship", "ship"))
      .data(ships, eq("id", "ship"))
      .data(voyages, eq("ship_ref", "ship"), is_null("miles"));
  d.rule("diaries").prefix("fleet:").parameter("fleet", actor::claim("fleet")).data(diaries, eq("fleet", "fleet"));
  return d;
}

}  // namespace nizhal::workload::testing
