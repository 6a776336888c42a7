// The notes example with a gate on the server: a test stops a mutation in the middle of its authoritative run, and with
// it the push that carries it. Beside the notes there are cards, which merge by column.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>

#include "../../examples/notes/notes.hpp"

namespace nizhal::testing {

/// Lets all runs pass until a test closes it; then the first one is held until it is opened.
class Gate {
 public:
  /// The next `count` runs pass, the one after them is held.
  void close_after(int count) {
    const std::lock_guard lock(mutex_);
    passes_left_ = count;
    is_closed_ = true;
    is_reached_ = false;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_closed_ = false;
    changed_.notify_all();
  }
  /// Until a run is held. False when none comes.
  bool wait_until_reached(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [this] { return is_reached_; });
  }
  void pass() {
    std::unique_lock lock(mutex_);
    if (!is_closed_ || passes_left_-- > 0) return;
    is_reached_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !is_closed_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_closed_ = false, is_reached_ = false;
  int passes_left_ = 0;
};

struct Card {
  std::string id, owner_id, title;
};
inline const auto cards = table<Card>("cards")
                              .key("id", &Card::id)
                              .column("owner_id", &Card::owner_id)
                              .column("title", &Card::title)
                              .merge(Merge::Field);
struct TitleCard {
  std::string id, title;
};

/// `gate`: where the server's runs pass; devices have none.
inline Domain gated_notes(Gate* gate = nullptr) {
  Domain domain = notes::domain();
  domain.mutator<notes::AddNote>("addNoteThroughGate")
      .arg("id", &notes::AddNote::id, new_id_of(notes::notes), min_length(1), max_length(128))
      .arg("body", &notes::AddNote::body, max_length(10'000))
      .run([gate](MutatorContext& ctx, const notes::AddNote& args) -> Outcome {
        if (ctx.on_server() && gate) gate->pass();
        if (ctx.get(notes::notes, args.id)) return reject("already_exists", "there is a note with this id");
        ctx.insert(notes::notes, {.id = args.id, .owner_id = ctx.actor().owner_id, .body = args.body});
        return done();
      });
  domain.add(cards);
  domain.mutator<TitleCard>("titleCard")
      .arg("id", &TitleCard::id, references(cards))
      .arg("title", &TitleCard::title)
      .run([](MutatorContext& ctx, const TitleCard& args) -> Outcome {
        if (!ctx.update(cards, args.id, {set("title", args.title)}))
          ctx.insert(cards, {.id = args.id, .owner_id = ctx.actor().owner_id, .title = args.title});
        return done();
      });
  domain.rule("myCards").prefix("cards:").parameter("ownerId", actor::owner_id).data(cards, eq("owner_id", "ownerId"));
  return domain;
}

}  // namespace nizhal::testing
