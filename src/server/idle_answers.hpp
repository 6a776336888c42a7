// Pulls with nothing new are answered without looking at tables. Place in the loop: beside pull_handler.
//
// What a pull is told follows from its actor, its request and what the snapshot holds, and from nothing else. A
// snapshot whose last version equals its settled horizon holds exactly the commits up to that version. So whoever has
// just been told everything in such a snapshot is told nothing new, under the same cursor, for as long as no version
// has been handed out since: that much, and where the device's mutations stand, is remembered here.
//
// The facts that must not break: an entry answers the very question that it was made for, all of the actor's claims
// included, because each of them may decide about a bucket; and it holds for one state of the database only, whose
// last version was read *after* the snapshot was taken, else the snapshot may hold more than the state's name says.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include <nizhal/actor.hpp>

#include "base/ids.hpp"
#include "protocol/pull.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// Where the device's mutations stand, as a page tells it; empty when the request named no device, or another's.
struct ClientProgress {
  std::optional<MutationId> last_mutation_id;
  std::optional<std::string> last_client_mutation_id;
};

/// Who asks what, as a digest. `cursor` stands in the place of the request's; the limit plays no part, because a page
/// without entries meets none.
using PullQuestion = std::array<std::uint8_t, 32>;
PullQuestion pull_question(const Actor& actor, const protocol::PullRequest& request, std::string_view cursor);

/// True when a snapshot at this position holds the commits up to its last version and no others.
inline bool is_exact(const storage::Position& position) { return position.horizon == position.last; }

/// Thread-safe.
class IdleAnswers {
 public:
  /// Holds at most this many answers; those not asked for the longest are forgotten first, roughly. 0: none.
  explicit IdleAnswers(std::size_t answers_max) : generation_max_((answers_max + 1) / 2) {}

  /// `now` was read after the question came. Nothing: look at the tables.
  std::optional<ClientProgress> find(const storage::Position& now, const PullQuestion& question);
  /// Whether find() may answer it, should nothing have happened.
  bool knows(const PullQuestion& question);
  /// The question's next answer is idle, as seen in a snapshot at `position`; ignored when that is not exact, or behind
  /// what is known already.
  void add(const storage::Position& position, const PullQuestion& question, ClientProgress client);

 private:
  /// The bytes of a digest are as good a hash as any.
  struct Hash {
    std::size_t operator()(const PullQuestion& question) const {
      std::size_t hash = 0;
      for (std::size_t i = 0; i < sizeof hash; ++i) hash = hash << 8U | question[i];
      return hash;
    }
  };
  using Answers = std::unordered_map<PullQuestion, ClientProgress, Hash>;

  bool is_state(const storage::Position& position) const;
  void put(const PullQuestion& question, ClientProgress client);

  const std::size_t generation_max_;
  std::mutex mutex_;
  storage::Position state_;  // of all answers
  Answers young_, old_;      // what is asked for moves to the young ones; a full generation replaces the old one
};

}  // namespace nizhal::server
