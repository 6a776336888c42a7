// For tests only: a domain whose tables merge. Cards of teams by column and with a text that many edit; pads of an
// owner with CRDT columns beside others that the last write decides.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nizhal/domain.hpp>

#include "base/bytes.hpp"

namespace nizhal::testing {

struct Card {
  std::string id, team_id, title, color;
  std::optional<std::int32_t> points;
  CrdtText body;
};
struct CardPad {
  std::string id, owner_id, title;
  CrdtText body;
  CrdtMap marks;
};
struct CardMember {
  std::string id, user_id, team_id;
};

inline const auto cards = table<Card>("cards")
                              .key("id", &Card::id)
                              .column("team_id", &Card::team_id)
                              .column("title", &Card::title)
                              .column("color", &Card::color, default_value("white"))
                              .column("points", &Card::points)
                              .column("body", &Card::body)
                              .merge(Merge::Field);
inline const auto card_pads = table<CardPad>("pads")
                                  .key("id", &CardPad::id)
                                  .column("owner_id", &CardPad::owner_id)
                                  .column("title", &CardPad::title)
                                  .column("body", &CardPad::body)
                                  .column("marks", &CardPad::marks);
inline const auto card_members = table<CardMember>("card_members")
                                     .key("id", &CardMember::id)
                                     .column("user_id", &CardMember::user_id)
                                     .column("team_id", &CardMember::team_id);

/// `text` of an edit: "title=a;color=b", or an update in base64.
struct CardArgs {
  std::string id, place, text;
};

inline std::vector<std::pair<std::string, std::string>> assignments_of(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> found;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const std::size_t equals = one.find('=');
    if (equals != std::string_view::npos) found.emplace_back(one.substr(0, equals), one.substr(equals + 1));
  }
  return found;
}
inline void assign(Card& card, std::string_view text) {
  for (const auto& [column, value] : assignments_of(text)) (column == "title" ? card.title : card.color) = value;
}
inline std::vector<std::uint8_t> update_in(const std::string& text) {
  return from_base64(text).value_or(std::vector<std::uint8_t>{});
}

inline Domain cards_domain() {
  Domain d("cards", {.version = "1.0.0"});
  d.add(cards).add(card_pads).add(card_members);
  const auto with_args = [&d](const char* name) -> MutatorBuilder<CardArgs> {
    return d.mutator<CardArgs>(name)
        .arg("id", &CardArgs::id)
        .arg("place", &CardArgs::place)
        .arg("text", &CardArgs::text);
  };
  const auto mutator = [&](const char* name, auto body) { with_args(name).run(std::move(body)); };
  mutator("addCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    Card card{.id = a.id, .team_id = a.place, .title = {}, .color = "white", .points = std::nullopt, .body = {}};
    assign(card, a.text);
    ctx.insert(cards, card);
    return done();
  });
  mutator("putCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    Card card{.id = a.id, .team_id = a.place, .title = {}, .color = "white", .points = std::nullopt, .body = {}};
    if (const auto known = ctx.get(cards, a.id)) card = *known;
    assign(card, a.text);
    ctx.upsert(cards, card);
    return done();
  });
  mutator("editCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    std::vector<Assignment> edits;
    for (const auto& [column, value] : assignments_of(a.text)) edits.push_back(set(column, value));
    if (!ctx.update(cards, a.id, edits)) return reject("unknown_card", "no such card");
    return done();
  });
  mutator("replaceCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    auto card = ctx.get(cards, a.id);
    if (!card) return reject("unknown_card", "no such card");
    assign(*card, a.text);
    ctx.update(cards, *card);
    return done();
  });
  mutator("editCardTwice", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    ctx.update(cards, a.id, {set("title", a.text + ", a draft")});
    ctx.update(cards, a.id, {set("title", a.text)});
    return done();
  });
  mutator("moveCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    if (!ctx.update(cards, a.id, {set("team_id", a.place)})) return reject("unknown_card", "no such card");
    return done();
  });
  mutator("removeCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    if (!ctx.remove(cards, a.id)) return reject("unknown_card", "no such card");
    return done();
  });
  mutator("remakeCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    ctx.update(cards, a.id, {set("title", a.text)});
    ctx.remove(cards, a.id);
    ctx.insert(cards, {.id = a.id, .team_id = a.place, .title = a.text, .color = "new", .points = 1, .body = {}});
    return done();
  });
  mutator("typeCard", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    if (!ctx.update(cards, a.id, {set("body", CrdtText{update_in(a.text)})}))
      return reject("unknown_card", "no such card");
    return done();
  });
  mutator("typeCardAndRefuse", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    ctx.update(cards, a.id, {set("title", "written"), set("body", CrdtText{update_in(a.text)})});
    return reject("changed_my_mind", "no after all");
  });
  // Decides for itself who may, and sees all cards.
  with_args("paintAll")
      .authorize([](MutatorContext&, const CardArgs&) -> Outcome { return done(); })
      .run([](MutatorContext& ctx, const CardArgs& a) -> Outcome {
        for (const Card& card : ctx.find(from(cards).order_by("id")))
          ctx.update(cards, card.id, {set("color", a.text)});
        return done();
      });
  mutator("addPad", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    ctx.insert(card_pads, {.id = a.id,
                           .owner_id = ctx.actor().owner_id,
                           .title = a.place,
                           .body = a.text.empty() ? CrdtText{} : CrdtText{update_in(a.text)},
                           .marks = {}});
    return done();
  });
  mutator("namePad", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    auto pad = ctx.get(card_pads, a.id);
    if (!pad) return reject("unknown_pad", "no such pad");
    pad->title = a.text;
    ctx.update(card_pads, *pad);
    return done();
  });
  mutator("typePad", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    if (!ctx.update(card_pads, a.id, {set("body", CrdtText{update_in(a.text)})}))
      return reject("unknown_pad", "no such pad");
    return done();
  });
  mutator("removePad", [](MutatorContext& ctx, const CardArgs& a) -> Outcome {
    if (!ctx.remove(card_pads, a.id)) return reject("unknown_pad", "no such pad");
    return done();
  });
  d.rule("teams")
      .prefix("team:")
      .membership(card_members, where("user_id", actor::user_id), bucket("teamId", "team_id"))
      .data(cards, eq("team_id", "teamId"));
  d.rule("mine").parameter("ownerId", actor::owner_id).data(card_pads, eq("owner_id", "ownerId"));
  return d;
}

}  // namespace nizhal::testing
