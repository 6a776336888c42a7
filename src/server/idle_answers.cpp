#include "server/idle_answers.hpp"

#include <utility>

#include "base/bytes.hpp"

namespace nizhal::server {
namespace {

/// With its length, so that no two lists of texts read the same.
void append(std::string& out, std::string_view text) {
  for (std::size_t size = text.size(), i = 0; i < 8; ++i, size >>= 8U) out += static_cast<char>(size & 0xFFU);
  out += text;
}

void append(std::string& out, const std::optional<std::string>& text) {
  out += text ? '1' : '0';
  if (text) append(out, std::string_view(*text));
}

}  // namespace

PullQuestion pull_question(const Actor& actor, const protocol::PullRequest& request, std::string_view cursor) {
  std::string text;
  text.reserve(256 + cursor.size() + actor.claims.size());
  append(text, std::string_view(actor.user_id));
  append(text, std::string_view(actor.owner_id));
  append(text, std::string_view(actor.claims));
  append(text, cursor);
  append(text, request.device_id);
  append(text, request.sync_rule);
  text += request.buckets ? std::to_string(request.buckets->size()) : "all";
  text += ';';
  if (request.buckets)
    for (const std::string& key : *request.buckets) append(text, std::string_view(key));
  text += request.sync_rules ? std::to_string(request.sync_rules->size()) : "no rules";
  text += ';';
  if (request.sync_rules)
    for (const std::string& rule : *request.sync_rules) append(text, std::string_view(rule));
  text += request.schema ? std::to_string(request.schema->size()) : "own";
  text += ';';
  if (request.schema) {
    for (const auto& [table, fingerprint] : *request.schema) {
      append(text, std::string_view(table));
      append(text, std::string_view(fingerprint));
    }
  }
  text += request.updates ? "updates" : "states";
  return sha256(as_bytes(text));
}

bool IdleAnswers::is_state(const storage::Position& position) const {
  return position.last == state_.last && position.pruned_through == state_.pruned_through &&
         position.epoch == state_.epoch;
}

std::optional<ClientProgress> IdleAnswers::find(const storage::Position& now, const PullQuestion& question) {
  if (!is_exact(now)) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (!is_state(now)) return std::nullopt;
  if (const auto it = young_.find(question); it != young_.end()) return it->second;
  const auto it = old_.find(question);
  if (it == old_.end()) return std::nullopt;
  ClientProgress client = it->second;
  put(question, client);
  return client;
}

bool IdleAnswers::knows(const PullQuestion& question) {
  const std::lock_guard lock(mutex_);
  return young_.contains(question) || old_.contains(question);
}

void IdleAnswers::add(const storage::Position& position, const PullQuestion& question, ClientProgress client) {
  if (generation_max_ == 0 || !is_exact(position)) return;
  const std::lock_guard lock(mutex_);
  if (!is_state(position)) {
    // A slow reader's snapshot is no reason to forget what holds now. Across epochs there is no order.
    if (position.epoch == state_.epoch && position.last < state_.last) return;
    state_ = position;
    young_.clear();
    old_.clear();
  }
  put(question, std::move(client));
}

void IdleAnswers::put(const PullQuestion& question, ClientProgress client) {
  if (young_.size() >= generation_max_ && !young_.contains(question)) {
    old_ = std::move(young_);
    young_ = {};
  }
  young_.insert_or_assign(question, std::move(client));
}

}  // namespace nizhal::server
