#include "sim/options.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "sim/streams.hpp"

namespace nizhal::sim {

namespace {

enum class Class { message, network, server, device, world };
struct Kind {
  const char* name;
  Class group;
  std::uint64_t low, high;  // of its rate: per mille of messages, or times
  std::uint64_t share;      // of runs that have it, per mille
};

constexpr std::array<Kind, kFaults> kKinds = {{
    {"lost-request", Class::message, 20, 150, 500},
    {"lost-reply", Class::message, 20, 150, 500},
    {"duplicated-request", Class::message, 20, 100, 400},
    {"delayed-message", Class::message, 30, 200, 500},
    {"truncated-answer", Class::message, 20, 60, 300},
    {"foreign-answer", Class::message, 20, 60, 300},
    {"partition", Class::network, 1, 4, 500},
    {"one-way-partition", Class::network, 1, 3, 300},
    {"half-open-socket", Class::network, 1, 3, 300},
    {"server-kill", Class::server, 1, 4, 400},
    {"server-kill-in-write", Class::server, 1, 4, 400},
    {"server-restart", Class::server, 1, 3, 300},
    {"second-instance", Class::server, 1, 1, 300},
    {"storage-error", Class::server, 1, 6, 300},
    {"full-server-disk", Class::server, 1, 2, 200},
    {"overload", Class::server, 1, 3, 300},
    {"device-kill", Class::device, 1, 5, 400},
    {"device-kill-in-write", Class::device, 1, 4, 300},
    {"device-disk-error", Class::device, 1, 4, 300},
    {"full-device-disk", Class::device, 1, 3, 250},
    {"power-cut", Class::device, 1, 3, 250},
    {"clock-jump", Class::device, 1, 4, 300},
    {"clock-drift", Class::device, 1, 3, 300},
    {"long-absence", Class::device, 1, 2, 250},
    {"cloned-store", Class::device, 1, 2, 200},
    {"restored-store", Class::device, 1, 2, 200},
    {"actor-switch", Class::device, 1, 2, 200},
    {"token-expiry", Class::device, 1, 3, 300},
    {"membership-churn", Class::world, 3, 12, 500},
    {"foreign-write", Class::world, 5, 30, 400},
    {"epoch-rotation", Class::world, 1, 1, 150},
    {"server-restore", Class::world, 1, 1, 120},
    {"hostile-client", Class::world, 5, 20, 300},
    {"storage-crash", Class::server, 1, 4, 400},
    {"storage-failure", Class::server, 1, 3, 300},
    {"storage-stall", Class::server, 1, 4, 300},
    {"app-upgrade", Class::world, 1, 1, 250},
    {"token-rotation", Class::device, 1, 3, 300},
    {"refused-body", Class::message, 20, 100, 300},
}};

const Kind& kind_of(Fault fault) { return kKinds[static_cast<std::size_t>(fault)]; }

}  // namespace

const char* to_string(Fault fault) { return kind_of(fault).name; }

bool is_of_messages(Fault fault) { return kind_of(fault).group == Class::message; }

std::optional<Fault> parse_fault(std::string_view name) {
  for (std::size_t i = 0; i < kFaults; ++i)
    if (name == kKinds[i].name) return static_cast<Fault>(i);
  return std::nullopt;
}

Options draw_options(std::uint64_t seed, const Overrides& overrides) {
  SeededRandom random(stream_seed(seed, "options"));
  Options options;
  options.seed = seed;
  options.devices = 3 + random.below(3);
  options.users = 2 + random.below(2);
  options.mutations = 150 + random.below(100);
  const bool is_calm = random.below(20) == 0;  // now and then a run without any fault
  for (std::size_t i = 0; i < kFaults; ++i) {
    // Drawn whether wanted or not, so that leaving one out changes nothing about the others.
    const std::uint64_t rate = kKinds[i].low + random.below(kKinds[i].high - kKinds[i].low + 1);
    const bool is_drawn = random.below(1000) < kKinds[i].share && !is_calm;
    const auto fault = static_cast<Fault>(i);
    if (overrides.faults ? overrides.faults->contains(fault) : is_drawn) options.faults[fault] = rate;
  }
  SeededRandom setup(stream_seed(seed, "setup"));
  if (setup.below(2) == 0) options.page_rows_max = 1 + setup.below(8);
  options.has_tail = setup.below(4) > 0;
  options.has_choosers = setup.below(3) == 0;
  if (overrides.devices) options.devices = std::max<std::size_t>(*overrides.devices, 1);
  if (overrides.mutations) options.mutations = *overrides.mutations;
  options.only = overrides.only;
  return options;
}

std::string replay_arguments(const Options& options, bool is_whole) {
  std::string text = fmt::format("--seed {}", options.seed);
  if (is_whole) return text;
  text += fmt::format(" --devices {} --mutations {} --faults ", options.devices, options.mutations);
  std::string names;
  for (const auto& [fault, rate] : options.faults) names += (names.empty() ? "" : ",") + std::string(to_string(fault));
  text += names.empty() ? "none" : names;
  if (options.only) {
    std::string numbers;
    for (auto it = options.only->begin(); it != options.only->end();) {
      const std::size_t first = *it;
      std::size_t last = first;
      while (++it != options.only->end() && *it == last + 1) last = *it;
      numbers += fmt::format("{}{}", numbers.empty() ? "" : ",", first);
      if (last > first) numbers += fmt::format("-{}", last);
    }
    text += " --only " + (numbers.empty() ? "none" : numbers);
  }
  return text;
}

std::string describe(const Options& options) {
  std::string text =
      fmt::format("{} devices of {} users, {} mutations", options.devices, options.users, options.mutations);
  if (options.page_rows_max > 0) text += fmt::format(", pages of {}", options.page_rows_max);
  if (!options.has_tail) text += ", no tail";
  if (options.has_choosers) text += ", some choose their buckets";
  text += "; faults:";
  if (options.faults.empty()) text += " none";
  bool is_first = true;
  for (const auto& [fault, rate] : options.faults) {
    text += fmt::format("{} {} {}{}", is_first ? "" : ",", to_string(fault), rate, is_of_messages(fault) ? "‰" : "");
    is_first = false;
  }
  if (options.only) text += fmt::format("; only {} of its actions", options.only->size());
  return text;
}

Plan draw_plan(const Options& options) {
  SeededRandom random(stream_seed(options.seed, "plan"));
  Plan plan;
  // People write in bursts: short gaps, and now and then a pause.
  Micros at{5'000'000};
  const auto add = [&](Micros when, std::optional<Fault> fault, std::size_t device, std::uint64_t seed) {
    plan.actions.push_back({when, 0, fault, device, seed});
  };
  for (std::size_t i = 0; i < options.mutations; ++i) {
    at += Micros(random.below(12) == 0 ? spread(random, 5'000'000, 120'000'000) : spread(random, 1'000, 4'000'000));
    add(at, std::nullopt, random.below(options.devices), stream_seed(options.seed, "mutation", i));
  }
  plan.length = at + Micros(10'000'000);
  for (const auto& [fault, rate] : options.faults) {
    if (is_of_messages(fault) || fault == Fault::second_instance) continue;
    SeededRandom own(stream_seed(options.seed, to_string(fault)));
    for (std::uint64_t i = 0; i < rate; ++i) {
      const auto when = static_cast<std::int64_t>(own.below(static_cast<std::uint64_t>(plan.length.count()) * 9 / 10));
      add(Micros(when), fault, own.below(options.devices), stream_seed(options.seed, to_string(fault), i + 1));
    }
  }
  std::stable_sort(plan.actions.begin(), plan.actions.end(),
                   [](const Action& left, const Action& right) { return left.at < right.at; });
  for (std::size_t i = 0; i < plan.actions.size(); ++i) plan.actions[i].number = i;
  return plan;
}

}  // namespace nizhal::sim
