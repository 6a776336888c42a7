#include "server/tail_known.hpp"

#include <algorithm>

namespace nizhal::server {
namespace {

// What the containers take for an entry, beside its texts.
constexpr std::size_t kActorBytes = 400;
constexpr std::size_t kGrantBytes = 160;
constexpr std::size_t kClientBytes = 360;

void append(std::string& name, const std::optional<std::string>& text) {
  if (!text) {
    name += '-';
    return;
  }
  name += std::to_string(text->size());
  name += ':';
  name += *text;
}

}  // namespace

std::string grants_name(const CompiledDomain& domain, const Actor& actor) {
  std::string name;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d) {
    if (!domain.definitions()[d].is_static()) {
      append(name, domain.grant_subject(d, actor));
      continue;
    }
    const auto bucket = domain.static_bucket(d, actor);
    append(name, bucket ? std::optional(bucket->key) : std::nullopt);
  }
  return name;
}

const std::vector<storage::Grant>* TailKnown::grants(std::string_view name) const {
  const auto it = actors_.find(name);
  if (it == actors_.end()) return nullptr;
  it->second.used.store(++uses_, std::memory_order_relaxed);
  return &it->second.grants;
}

const std::optional<storage::ClientRecord>* TailKnown::client(std::string_view client_id) const {
  const auto it = clients_.find(client_id);
  if (it == clients_.end()) return nullptr;
  it->second.used.store(++uses_, std::memory_order_relaxed);
  return &it->second.record;
}

void TailKnown::forget_all() {
  actors_.clear();
  clients_.clear();
  by_subject_.clear();
  bytes_ = 0;
}

std::vector<std::pair<std::string, Actor>> TailKnown::apply(const storage::RecentChanges& changes,
                                                            const storage::ChangesQuery& query) {
  std::vector<std::pair<std::string, Actor>> forgotten;
  std::set<std::string> names;
  for (const auto& change : changes.grant_changes) {
    if (change.subject.empty()) {
      for (const auto& [name, known] : actors_) names.insert(name);
      break;
    }
    if (const auto it = by_subject_.find({change.definition, change.subject}); it != by_subject_.end())
      names.insert(it->second.begin(), it->second.end());
  }
  for (const std::string& name : names) {
    const auto it = actors_.find(name);
    forgotten.emplace_back(name, it->second.actor);
    forget_actor(it);
  }
  for (std::size_t i = 0; i < query.actors.size() && i < changes.grants.size(); ++i) {
    const std::string name = grants_name(domain_, query.actors[i]);
    put(query.actors[i], changes.grants[i]);
    std::erase_if(forgotten, [&](const auto& one) { return one.first == name; });
  }
  for (std::size_t i = 0; i < query.client_ids.size() && i < changes.asked_clients.size(); ++i)
    put(query.client_ids[i], changes.asked_clients[i]);
  for (const storage::ClientRecord& client : changes.clients) put(client.client_id, client);
  return forgotten;
}

void TailKnown::put(const Actor& actor, const std::vector<storage::Grant>& grants) {
  const std::string name = grants_name(domain_, actor);
  if (const auto it = actors_.find(name); it != actors_.end()) forget_actor(it);
  KnownActor& known = actors_[name];
  known.actor = actor;
  known.grants = grants;
  known.used = ++uses_;
  known.bytes = kActorBytes + 3 * name.size() + actor.claims.size();
  for (const storage::Grant& grant : grants) known.bytes += kGrantBytes + 2 * grant.bucket.key.size();
  for (std::size_t d = 0; d < domain_.definitions().size(); ++d) {
    if (domain_.definitions()[d].is_static()) continue;
    if (auto subject = domain_.grant_subject(d, actor)) known.subjects.emplace_back(d, *std::move(subject));
  }
  for (const Subject& subject : known.subjects) by_subject_[subject].insert(name);
  bytes_ += known.bytes;
}

void TailKnown::put(const std::string& client_id, const std::optional<storage::ClientRecord>& record) {
  if (const auto it = clients_.find(client_id); it != clients_.end()) forget_client(it);
  KnownClient& known = clients_[client_id];
  known.record = record;
  known.used = ++uses_;
  known.bytes = kClientBytes + 2 * client_id.size();
  if (record) {
    known.bytes += record->user_id.size() + record->owner_id.size() + record->last_client_mutation_id.size() +
                   record->last_hlc.size();
  }
  bytes_ += known.bytes;
}

void TailKnown::forget_actor(ByName<KnownActor>::iterator it) {
  for (const Subject& subject : it->second.subjects) {
    const auto names = by_subject_.find(subject);
    names->second.erase(it->first);
    if (names->second.empty()) by_subject_.erase(names);
  }
  bytes_ -= it->second.bytes;
  actors_.erase(it);
}

void TailKnown::forget_client(ByName<KnownClient>::iterator it) {
  bytes_ -= it->second.bytes;
  clients_.erase(it);
}

void TailKnown::shrink(std::size_t bytes_max, const std::set<std::string>& kept) {
  if (bytes_ <= bytes_max) return;
  struct Candidate {
    bool is_kept = false;
    std::uint64_t used = 0;
    const std::string* name = nullptr;
    bool is_actor = false;
  };
  std::vector<Candidate> candidates;
  candidates.reserve(actors_.size() + clients_.size());
  for (const auto& [name, known] : actors_) candidates.push_back({kept.contains(name), known.used, &name, true});
  for (const auto& [name, known] : clients_) candidates.push_back({false, known.used, &name, false});
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& left, const Candidate& right) {
    return std::pair(left.is_kept, left.used) < std::pair(right.is_kept, right.used);
  });
  // A quarter more than need be, so that sorting them is rare.
  const std::size_t enough = bytes_max / 4 * 3;
  for (const Candidate& candidate : candidates) {
    if (bytes_ <= enough) return;
    if (candidate.is_actor)
      forget_actor(actors_.find(*candidate.name));
    else
      forget_client(clients_.find(*candidate.name));
  }
}

}  // namespace nizhal::server
