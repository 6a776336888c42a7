// Who the tail knows: the buckets of actors and where devices' mutations stand, as of its snapshot, and whom it has
// been asked for. Place in the loop: inside the tail.
//
// The fact that must not break: what stands here was read in the tail's snapshot, or has not changed since it was.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nizhal/actor.hpp>

#include "domain/compiled_domain.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// What an actor's buckets follow from, and nothing else: a token that was renewed is the same actor still.
std::string grants_name(const CompiledDomain& domain, const Actor& actor);

/// Reading is const and may go on in several threads at once.
class TailKnown {
 public:
  explicit TailKnown(const CompiledDomain& domain) : domain_(domain) {}

  /// Nothing: not known.
  const std::vector<storage::Grant>* grants(std::string_view name) const;
  /// Nothing: not known. Known not to exist: an empty record.
  const std::optional<storage::ClientRecord>* client(std::string_view client_id) const;

  void forget_all();
  /// Forgets what no longer holds, takes in what was read. Whose grants were forgotten.
  std::vector<std::pair<std::string, Actor>> apply(const storage::RecentChanges& changes,
                                                   const storage::ChangesQuery& query);
  /// Forgets those not asked for the longest until it is no larger; those kept go last.
  void shrink(std::size_t bytes_max, const std::set<std::string>& kept);

  std::size_t bytes() const { return bytes_; }  // roughly

 private:
  using Subject = std::pair<std::size_t, std::string>;  // definition and text
  struct KnownActor {
    Actor actor;
    std::vector<storage::Grant> grants;
    std::vector<Subject> subjects;
    std::size_t bytes = 0;
    mutable std::atomic<std::uint64_t> used{0};
  };
  struct KnownClient {
    std::optional<storage::ClientRecord> record;
    std::size_t bytes = 0;
    mutable std::atomic<std::uint64_t> used{0};
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <class T>
  using ByName = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

  void put(const Actor& actor, const std::vector<storage::Grant>& grants);
  void put(const std::string& client_id, const std::optional<storage::ClientRecord>& record);
  void forget_actor(ByName<KnownActor>::iterator it);
  void forget_client(ByName<KnownClient>::iterator it);

  const CompiledDomain& domain_;
  ByName<KnownActor> actors_;
  ByName<KnownClient> clients_;
  std::map<Subject, std::set<std::string>> by_subject_;  // names of the actors
  std::size_t bytes_ = 0;
  mutable std::atomic<std::uint64_t> uses_{0};
};

}  // namespace nizhal::server
