#include "client/subscriptions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "base/json.hpp"
#include "client/base_rows.hpp"

namespace nizhal::client::subscriptions {
namespace {

/// A rule and the bucket of it that the parameters name; none: all buckets of the rule.
struct Named {
  const RuleDef* rule = nullptr;
  std::optional<Bucket> bucket;
};

std::size_t definition_of(const CompiledDomain& domain, std::string_view rule) {
  for (std::size_t i = 0; i < domain.definitions().size(); ++i) {
    const auto& rules = domain.definitions()[i].rules;
    if (std::find(rules.begin(), rules.end(), rule) != rules.end()) return i;
  }
  return domain.definitions().size();
}

Result<Named> resolve(const CompiledDomain& domain, std::string_view name, const RuleParameters& parameters) {
  Named named;
  std::string known;
  for (const auto& rule : domain.domain().rules()) {
    if (rule->name == name) named.rule = rule.get();
    known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", rule->name);
  }
  const std::size_t definition = definition_of(domain, name);
  if (!named.rule || definition >= domain.definitions().size())
    return failure(ErrorCode::not_found, fmt::format("domain \"{}\" has no sync rule \"{}\"; it has {}",
                                                     domain.domain().name(), name, known.empty() ? "none" : known));
  if (parameters.empty()) return named;

  std::vector<std::string> values;
  std::string expected;
  for (const ParameterDef& parameter : named.rule->parameters) {
    expected += fmt::format("{}\"{}\"", expected.empty() ? "" : ", ", parameter.name);
    if (const auto it = parameters.find(parameter.name); it != parameters.end()) values.push_back(it->second);
  }
  if (values.size() != named.rule->parameters.size() || values.size() != parameters.size())
    return failure(ErrorCode::not_found,
                   fmt::format("sync rule \"{}\" has the parameters {}; name all of them, or none "
                               "for every bucket of the rule",
                               name, expected));
  named.bucket = domain.make_bucket(definition, std::move(values));
  if (!named.bucket)
    return failure(ErrorCode::not_found,
                   fmt::format("sync rule \"{}\" has no bucket of these parameters: a value is empty, or no value of "
                               "the columns that it is compared with",
                               name));
  return named;
}

std::string to_text(const RuleParameters& parameters) {
  std::string text = "{";
  for (const auto& [name, value] : parameters) {
    if (text.size() > 1) text += ',';
    append_json_string(text, name);
    text += ':';
    append_json_string(text, value);
  }
  return text + "}";
}

Result<RuleParameters> parse_parameters(std::string_view text) {
  auto parsed = parse_json(text);
  if (!parsed || !parsed->is_object())
    return failure(ErrorCode::corrupt, "nizhal_subscription: parameters cannot be read");
  RuleParameters parameters;
  for (const auto& [name, value] : parsed->get_object()) {
    if (!value.is_string()) return failure(ErrorCode::corrupt, "nizhal_subscription: parameters cannot be read");
    parameters.emplace(std::string(name), std::string(value.get_string()));
  }
  return parameters;
}

struct Entry {
  BucketSubscription subscription;
  bool has_run_out = false;
};
Result<std::vector<Entry>> entries(StoreState& state) {
  auto select = state.connection->prepare("SELECT rule, parameters, until FROM nizhal_subscription ORDER BY 1, 2");
  if (!select) return tl::unexpected(select.error());
  const Timestamp now = state.now();
  std::vector<Entry> found;
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return found;
    auto parameters = parse_parameters(select->text(1));
    if (!parameters) return tl::unexpected(parameters.error());
    Entry entry;
    entry.subscription.rule = std::string(select->text(0));
    entry.subscription.parameters = std::move(*parameters);
    if (!select->is_null(2)) entry.subscription.until = parse_iso8601(select->text(2));
    entry.has_run_out = entry.subscription.until && *entry.subscription.until <= now;
    found.push_back(std::move(entry));
  }
}

/// What the wire names: buckets by key, and rules with all their buckets. Subscriptions of rules that an app upgrade
/// took away wait for their return.
struct Wanted {
  std::set<std::string> buckets, rules;
};
Wanted wanted(const CompiledDomain& domain, const std::vector<Entry>& all) {
  Wanted wanted;
  for (const Entry& entry : all) {
    if (entry.has_run_out) continue;
    const auto named = resolve(domain, entry.subscription.rule, entry.subscription.parameters);
    if (!named) continue;
    if (named->bucket) {
      wanted.buckets.insert(named->bucket->key);
    } else {
      wanted.rules.insert(entry.subscription.rule);
    }
  }
  return wanted;
}

std::vector<std::string> listed(const std::set<std::string>& texts) { return {texts.begin(), texts.end()}; }

std::string held_rules_text(const protocol::PullRequest& sent) {
  base_rows::BucketKeys rules;
  if (sent.sync_rules) rules.insert(sent.sync_rules->begin(), sent.sync_rules->end());
  return rules.empty() ? std::string() : base_rows::keys_text(rules);
}

Result<void> check_mode(const StoreState& state) {
  if (state.options.coverage == Coverage::subscribed) return {};
  return failure(ErrorCode::usage,
                 "this store holds all buckets of its actor; open it with StoreOptions::coverage = "
                 "Coverage::subscribed to choose them");
}

}  // namespace

Result<void> subscribe(StoreState& state, std::string_view rule, const RuleParameters& parameters) {
  if (auto allowed = check_mode(state); !allowed) return allowed;
  if (auto named = resolve(state.domain(), rule, parameters); !named) return tl::unexpected(named.error());
  return in_transaction(state, [&]() -> Result<void> {
    auto insert = state.connection->prepare(
        "INSERT INTO nizhal_subscription(rule, parameters, until) VALUES(?1, ?2, NULL) "
        "ON CONFLICT(rule, parameters) DO UPDATE SET until = NULL");
    if (!insert) return tl::unexpected(insert.error());
    insert->bind_text(1, rule).bind_text(2, to_text(parameters));
    return insert->run();
  });
}

Result<void> unsubscribe(StoreState& state, std::string_view rule, const RuleParameters& parameters,
                         std::chrono::seconds keep) {
  if (auto allowed = check_mode(state); !allowed) return allowed;
  return in_transaction(state, [&]() -> Result<void> {
    auto update =
        state.connection->prepare("UPDATE nizhal_subscription SET until = ?3 WHERE rule = ?1 AND parameters = ?2");
    if (!update) return tl::unexpected(update.error());
    // "For ever" must not overflow.
    const std::chrono::microseconds kept =
        std::clamp<std::chrono::seconds>(keep, std::chrono::seconds(0), std::chrono::years(1'000));
    const Timestamp until{state.now().microseconds + kept.count()};
    update->bind_text(1, rule).bind_text(2, to_text(parameters)).bind_text(3, to_iso8601(until));
    if (auto done = update->run(); !done) return done;
    if (state.connection->changes() > 0) return {};
    return failure(ErrorCode::not_found,
                   fmt::format("there is no subscription to sync rule \"{}\" with these parameters", rule));
  });
}

Result<std::vector<BucketSubscription>> list(StoreState& state) {
  auto all = entries(state);
  if (!all) return tl::unexpected(all.error());
  const Meta& meta = *state.meta;
  const bool is_whole = parse_sync_state(meta.get(meta_key::kSyncState)) == SyncState::done;
  const auto covered = base_rows::parse_keys(meta.get(meta_key::kBuckets));
  const auto rules = base_rows::parse_keys(meta.get(meta_key::kHeldRules));
  std::vector<BucketSubscription> found;
  for (Entry& entry : *all) {
    BucketSubscription& subscription = entry.subscription;
    if (const auto named = resolve(state.domain(), subscription.rule, subscription.parameters)) {
      subscription.is_held =
          is_whole && (named->bucket ? covered.contains(named->bucket->key) : rules.contains(subscription.rule));
    }
    found.push_back(std::move(subscription));
  }
  return found;
}

Result<void> choose(StoreState& state, protocol::PullRequest& request) {
  if (state.options.coverage == Coverage::everything) return {};
  auto all = entries(state);
  if (!all) return tl::unexpected(all.error());
  const Wanted now = wanted(state.domain(), *all);
  request.buckets = listed(now.buckets);
  if (!now.rules.empty()) request.sync_rules = listed(now.rules);
  return {};
}

Result<void> note_complete(StoreState& state, const protocol::PullRequest& sent) {
  std::vector<Entry> evicted;
  if (state.options.coverage == Coverage::subscribed) {
    auto all = entries(state);
    if (!all) return tl::unexpected(all.error());
    // What ran out or was chosen while the request was on its way is the next pull's business.
    const Wanted now = wanted(state.domain(), *all);
    const std::vector<std::string> none;
    if (listed(now.buckets) == sent.buckets.value_or(none) && listed(now.rules) == sent.sync_rules.value_or(none))
      std::copy_if(all->begin(), all->end(), std::back_inserter(evicted),
                   [](const Entry& entry) { return entry.has_run_out; });
  }
  const std::string held = held_rules_text(sent);
  if (evicted.empty() && held == state.meta->get(meta_key::kHeldRules)) return {};
  return in_transaction(state, [&]() -> Result<void> {
    for (const Entry& entry : evicted) {
      auto remove = state.connection->prepare("DELETE FROM nizhal_subscription WHERE rule = ?1 AND parameters = ?2");
      if (!remove) return tl::unexpected(remove.error());
      remove->bind_text(1, entry.subscription.rule).bind_text(2, to_text(entry.subscription.parameters));
      if (auto done = remove->run(); !done) return done;
    }
    return state.meta->set(meta_key::kHeldRules, held);
  });
}

std::optional<std::chrono::milliseconds> next_eviction(StoreState& state) {
  if (state.options.coverage == Coverage::everything) return std::nullopt;
  auto all = entries(state);
  if (!all) {
    state.log.error("pull", all.error().message);
    return std::nullopt;
  }
  std::optional<std::int64_t> next;
  const std::int64_t now = state.now().microseconds;
  for (const Entry& entry : *all) {
    if (!entry.subscription.until) continue;
    const std::int64_t wait = std::max<std::int64_t>(0, entry.subscription.until->microseconds - now);
    next = next ? std::min(*next, wait) : wait;
  }
  // Rounded up, so that it has run out when the timer fires.
  if (!next) return std::nullopt;
  return std::chrono::milliseconds{(*next + 999) / 1000};
}

}  // namespace nizhal::client::subscriptions

namespace nizhal::client {

Result<void> LocalStore::subscribe(std::string_view rule, const RuleParameters& parameters) {
  const std::lock_guard lock(state_->mutex);
  return subscriptions::subscribe(*state_, rule, parameters);
}

Result<void> LocalStore::unsubscribe(std::string_view rule, const RuleParameters& parameters,
                                     std::chrono::seconds keep) {
  const std::lock_guard lock(state_->mutex);
  return subscriptions::unsubscribe(*state_, rule, parameters, keep);
}

Result<std::vector<BucketSubscription>> LocalStore::subscriptions() {
  const std::lock_guard lock(state_->mutex);
  return subscriptions::list(*state_);
}

std::optional<std::chrono::milliseconds> LocalStore::next_eviction() {
  const std::lock_guard lock(state_->mutex);
  return subscriptions::next_eviction(*state_);
}

}  // namespace nizhal::client
