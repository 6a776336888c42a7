#include "sim/oracles.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/json.hpp"
#include "sim/serial_replay.hpp"

namespace nizhal::sim {

namespace {

constexpr std::string_view kToken = "tok-";
constexpr std::size_t kTokenDigits = 16;

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

/// Calls `visit` with each token: the mark that the workload puts into the texts of a row, never the same twice.
template <class Visit>
void for_each_token(std::string_view text, Visit visit) {
  for (std::size_t at = text.find(kToken); at != std::string_view::npos; at = text.find(kToken, at + 1)) {
    std::size_t end = at + kToken.size();
    while (end < text.size() && end < at + kToken.size() + kTokenDigits && is_hex(text[end])) ++end;
    if (end == at + kToken.size() + kTokenDigits) visit(text.substr(at, end - at));
  }
}

std::string principal(const Actor& actor) { return actor.user_id + "/" + actor.owner_id; }

/// An app of an earlier release has no table of a later one.
RowTexts known_to(const CompiledDomain& domain, const RowTexts& rows) {
  RowTexts known;
  for (const auto& [name, text] : rows)
    if (domain.table_index(std::string_view(name).substr(0, name.find('/')))) known.emplace(name, text);
  return known;
}

bool is_settled(const protocol::PushResult& result) {
  return result.status == protocol::PushStatus::applied || result.status == protocol::PushStatus::duplicate ||
         result.status == protocol::PushStatus::rejected;
}

}  // namespace

Oracles::Oracles(std::shared_ptr<const CompiledDomain> domain, Scopes& scopes, History& history)
    : domain_(std::move(domain)), scopes_(scopes), history_(history) {}

std::shared_ptr<const RowTexts> Oracles::scope_of(const Actor& actor, const std::optional<ChosenBuckets>& chosen) {
  auto rows = scopes_.of(actor, chosen);
  if (!rows) {
    if (is_disk_failing && is_disk_failing()) return nullptr;
    history_.violated(Violation::Kind::crash, "database", "the server's file cannot be read: " + rows.error().message);
    return nullptr;
  }
  Tokens& known = known_[principal(actor)];
  for (const auto& [name, text] : *rows) for_each_token(text, [&](std::string_view token) { known.emplace(token); });
  return std::make_shared<const RowTexts>(std::move(*rows));
}

void Oracles::sent(const Actor& actor, std::string_view bytes) {
  Tokens& known = known_[principal(actor)];
  for_each_token(bytes, [&](std::string_view token) { known.emplace(token); });
}

void Oracles::check_leak(const Actor& actor, std::string_view bytes, std::string_view where) {
  std::optional<bool> is_read;  // whether the scope could be
  for_each_token(bytes, [&](std::string_view token) {
    const Tokens& known = known_[principal(actor)];
    if (known.contains(token)) return;
    if (!is_read) is_read = scope_of(actor) != nullptr;
    if (*is_read && !known.contains(token))
      history_.violated(Violation::Kind::safety, "no-leak",
                        fmt::format("{} for user {} has {}, of a row that it never had", where, actor.user_id, token));
  });
}

Answer Oracles::answered(const Actor& actor, const protocol::HttpRequest& request, protocol::HttpResponse response) {
  Answer answer;
  answer.response = std::move(response);
  const protocol::HttpResponse& told = answer.response;
  if (told.status == 200 && request.path == protocol::kPullPath) {
    const auto page = protocol::decode_page(domain_->domain(), told.body);
    if (!page) {
      history_.violated(Violation::Kind::safety, "protocol", "a page cannot be read: " + page.error().message);
      return answer;
    }
    answer.cursor = page->cursor;
    const auto asked = protocol::decode_pull_request(request.body);
    if (!page->has_more && asked) answer.scope = scope_of(actor, chosen_by(*asked));
  }
  if (request.path == protocol::kPushPath) take_push(actor, request, told);
  check_leak(actor, told.body, fmt::format("an answer ({}) to {}", told.status, request.path));
  for (const auto& [name, value] : told.headers) check_leak(actor, value, "the header " + name);
  return answer;
}

void Oracles::take_push(const Actor& actor, const protocol::HttpRequest& request,
                        const protocol::HttpResponse& response) {
  const auto sent = protocol::decode_push_request(request.body);
  const auto reply = protocol::decode_push_reply(response.body);
  if (!sent || !reply) return;
  std::map<std::string_view, std::string_view> names;
  for (const auto& mutation : sent->mutations) names[mutation.client_mutation_id] = mutation.name;
  for (const auto& result : reply->results) {
    const std::string& id = result.client_mutation_id;
    const bool is_refused = result.status == protocol::PushStatus::rejected ||
                            (result.status == protocol::PushStatus::duplicate && !result.code.empty());
    const bool is_applied = result.status == protocol::PushStatus::applied ||
                            (result.status == protocol::PushStatus::duplicate && result.code.empty());
    const auto name = names.find(id);
    if (name == names.end() || name->second == protocol::kSkip) continue;
    const bool is_forgotten = has_copies_ && without_record_.contains(id);
    if (is_applied && refused_ids_.contains(id) && !is_forgotten)
      history_.violated(Violation::Kind::safety, "history", fmt::format("{} was refused, and is applied now", id));
    if (is_refused && applied_.contains(id) && !is_forgotten)
      history_.violated(Violation::Kind::safety, "history", fmt::format("{} was applied, and is refused now", id));
    if (is_applied && applied_.emplace(id, name->second).second) {
      check_on_record(result);
      ++applied_count_;
      ++applied_by_mutator_[std::string(name->second)];
      if (on_settled) on_settled(id, true);
    }
    if (is_refused && refused_ids_.insert(id).second) {
      ++refused_;
      if (on_settled) on_settled(id, false);
    }
  }
  if (std::all_of(reply->results.begin(), reply->results.end(), is_settled)) settled_.push_back({actor, request});
}

/// Acknowledged means durable: what is answered "applied" can be read from the file at that moment; and that something
/// was done before is not said of what was given up before.
void Oracles::check_on_record(const protocol::PushResult& result) {
  const auto connection = scopes_.connection();
  if (!connection) return;
  auto select =
      (*connection)
          ->prepare("SELECT mutator FROM nizhal_audit WHERE client_mutation_id = ?1 AND outcome = 'applied' LIMIT 1");
  if (!select) return;
  select->bind_text(1, result.client_mutation_id);
  const auto found = select->step();
  if (!found) return;
  if (!*found && result.status == protocol::PushStatus::applied)
    history_.violated(Violation::Kind::safety, "history",
                      fmt::format("{} is said to be applied, and is not on record", result.client_mutation_id));
  if (*found && select->text(0) == protocol::kSkip)
    history_.violated(Violation::Kind::safety, "history",
                      fmt::format("{} is said to be applied, and was given up", result.client_mutation_id));
}

void Oracles::answered_again(const Settled& settled, const protocol::HttpResponse& response) {
  const auto reply = protocol::decode_push_reply(response.body);
  if (response.status != 200 || !reply) return;
  for (const auto& result : reply->results)
    if (result.status == protocol::PushStatus::applied)
      history_.violated(Violation::Kind::safety, "replay",
                        fmt::format("{} of user {} runs once more when it is sent once more", result.client_mutation_id,
                                    settled.actor.user_id));
}

void Oracles::frame_sent(const Actor& actor, std::string_view frame) {
  check_leak(actor, frame, "a frame");
  constexpr std::string_view kPoke = "repull:";
  if (!frame.starts_with(kPoke) || frame.size() == kPoke.size()) return;
  const auto has = scopes_.has_bucket(actor, frame.substr(kPoke.size()));
  if (has && !*has)
    history_.violated(Violation::Kind::safety, "no-leak",
                      fmt::format("user {} is poked for a bucket of others: {}", actor.user_id, frame));
}

void Oracles::logged(std::string_view line) {
  for_each_token(line, [&](std::string_view token) {
    history_.violated(Violation::Kind::safety, "no-leak", fmt::format("the log tells {}: {}", token, line));
  });
}

void Oracles::dealt_with(Device& device, const Answer& answer) {
  if (!device.is_open()) return;
  const std::string live = device.live_difference();
  if (!live.empty()) history_.violated(Violation::Kind::safety, "live", live);
  if (!answer.scope) return;
  // A page that was not taken (for its disk, or because another sync began meanwhile) says nothing.
  const auto next = device.store().next_pull(1);
  if (!next || next->cursor != answer.cursor) return;
  // Pages still wait for a last one that did not bring the cursor forward.
  const auto staged = device.store().sql("SELECT count(*) FROM nizhal_staged");
  if (!staged || std::get<std::int64_t>(staged->rows[0][0]) != 0) return;
  const auto base = device.base();
  if (!base) return;
  history_.count("complete pulls compared");
  const std::string differs = difference(known_to(device.domain(), *answer.scope), *base);
  if (!differs.empty())
    history_.violated(
        Violation::Kind::safety, "fold",
        fmt::format("{} of user {} after a complete pull: {}", device.name(), device.actor().user_id, differs));
}

void Oracles::mutated(Device& device, std::string_view mutator, const Result<Ticket>& ticket) {
  if (!ticket) return;
  made_[std::string(ticket->client_mutation_id)] = {std::string(mutator), device.number()};
  const auto outbox = device.store().outbox();
  if (!outbox) return;
  bool is_there = false;
  for (const auto& pending : *outbox) is_there |= pending.client_mutation_id == ticket->client_mutation_id;
  if (!is_there)
    history_.violated(Violation::Kind::safety, "history",
                      fmt::format("{}: {} was accepted and is not in the outbox", device.name(), mutator));
}

void Oracles::letter_tended(Device& device, const DeadLetter& letter) {
  const auto letters = device.store().dead_letters();
  // Unless it is still there: its disk failed.
  if (letters && std::any_of(letters->begin(), letters->end(),
                             [&](const auto& left) { return left.client_mutation_id == letter.client_mutation_id; }))
    return;
  made_.erase(letter.client_mutation_id);
}

void Oracles::server_restored() {
  settled_.clear();  // it has forgotten these, and may run them
  // What it had answered, its device has long let go of.
  std::erase_if(
      made_, [&](const auto& entry) { return applied_.contains(entry.first) || refused_ids_.contains(entry.first); });
  applied_.clear();
  refused_ids_.clear();
}

void Oracles::records_pruned() {
  for (const auto& [id, mutator] : applied_) without_record_.insert(id);
  without_record_.insert(refused_ids_.begin(), refused_ids_.end());
}

void Oracles::device_replaced(const Device& device) {
  std::erase_if(made_, [&](const auto& entry) { return entry.second.device == device.number(); });
}

void Oracles::check_calm(Device& device) {
  const auto visible = device.visible();
  const auto chosen = device.chosen();
  const auto scope = scopes_.of(device.actor(), chosen.value_or(std::nullopt));
  if (!visible || !chosen || !scope) {
    history_.violated(Violation::Kind::crash, "calm", "what is there cannot be read");
    return;
  }
  const std::string differs = difference(*scope, *visible);
  if (!differs.empty())
    history_.violated(Violation::Kind::safety, "convergence",
                      fmt::format("{} of user {} at the end: {}", device.name(), device.actor().user_id, differs));
  const std::string live = device.live_difference();
  if (!live.empty()) history_.violated(Violation::Kind::safety, "live", live);
  // Nothing that the app was told is kept may be gone: it was applied, or refused, or is a dead letter.
  const auto letters = device.store().dead_letters();
  std::set<std::string> dead;
  if (letters)
    for (const auto& letter : *letters) dead.insert(letter.client_mutation_id);
  for (const auto& [id, made] : made_)
    if (made.device == device.number() && !applied_.contains(id) && !refused_ids_.contains(id) && !dead.contains(id))
      history_.violated(Violation::Kind::safety, "history",
                        fmt::format("{}: {} ({}) is lost: neither applied nor refused nor a dead letter", device.name(),
                                    made.mutator, id));
  // And what was refused, its app is told. What a copy of the device sends again after its record was pruned can be
  // both (the replies above say when it may not): then the device has heard the other of its two fates.
  for (const auto& [id, made] : made_)
    if (made.device == device.number() && refused_ids_.contains(id) && !applied_.contains(id) && !dead.contains(id))
      history_.violated(Violation::Kind::safety, "history",
                        fmt::format("{}: {} ({}) was refused, and nobody is told", device.name(), made.mutator, id));
}

void Oracles::check_server() {
  const auto connection = scopes_.connection();
  if (!connection) return;
  auto doubled =
      (*connection)
          ->query_text(
              "SELECT client_mutation_id FROM nizhal_audit WHERE outcome = 'applied' AND client_mutation_id <> '' "
              "GROUP BY client_mutation_id HAVING count(*) > 1 LIMIT 1");
  if (!doubled)
    history_.violated(Violation::Kind::crash, "audit", doubled.error().message);
  else if (*doubled)
    history_.violated(Violation::Kind::safety, "replay", fmt::format("{} was applied twice", **doubled));
}

}  // namespace nizhal::sim
