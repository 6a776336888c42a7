// The canaries: each bug of base/planted.hpp is planted in turn, and the simulator is let loose on an example's domain
// as it is on a healthy engine. One of its oracles must find the bug within the stated number of runs; and none may
// complain of the same seeds when nothing is planted.
//
//   canaries [BUG]…   all without a name; the first seed comes from NIZHAL_SEED, else it is 1
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/test_seed.hpp"
#include "examples/docs/docs.hpp"
#include "examples/ledger/ledger.hpp"
#include "examples/notes/notes.hpp"
#include "sim/generated_workload.hpp"
#include "sim/run.hpp"
#include "sim/test_invoices.hpp"
#include "tests/canaries/planted.hpp"

namespace nizhal::canaries {
namespace {

using sim::Fault;

struct Canary {
  Planted bug;
  const char* domain;
  std::uint64_t runs_max;
  std::set<Fault> faults = {};  // only these: what the bug needs to show itself; none: as the seed draws them
  std::uint64_t times = 1;      // their rates are what the seed draws, times this
};

const std::vector<Canary> kCanaries = {
    {Planted::skip_the_horizon, "notes", 5},
    {Planted::skip_the_page_end, "notes", 15},
    {Planted::skip_a_backfill_row, "notes", 10},
    {Planted::forget_an_exit, "notes", 5},
    {Planted::hide_a_revocation, "notes", 5},
    {Planted::lose_a_crdt_update, "docs", 5},
    {Planted::prune_without_a_horizon, "notes", 10},
    {Planted::acknowledge_before_commit, "notes", 10},
    {Planted::apply_twice, "notes", 10},
    {Planted::overlook_a_clone, "ledger", 40, {Fault::cloned_store, Fault::restored_store, Fault::lost_reply}},
    {Planted::tell_a_skip_as_done,
     "notes",
     120,
     {Fault::restored_store, Fault::refused_body, Fault::lost_request, Fault::partition},
     4},
    {Planted::forget_a_number, "invoices", 5},
    {Planted::leak_in_a_refusal, "notes", 30},
    {Planted::poke_everybody, "notes", 5},
    {Planted::drop_an_undo, "notes", 5},
    {Planted::staged_pages_last, "notes", 10},
    {Planted::confirm_without_outcome, "notes", 15},
    {Planted::bury_without_a_letter, "notes", 15},
    {Planted::forget_to_retry, "notes", 5},
    {Planted::live_view_misses, "notes", 5},
};

class Domains {
 public:
  const std::shared_ptr<const CompiledDomain>& of(const std::string& name) {
    auto& domain = compiled_[name];
    if (!domain)
      domain = *CompiledDomain::compile(name == "docs"       ? docs::domain()
                                        : name == "ledger"   ? ledger::domain()
                                        : name == "invoices" ? sim::invoices::domain()
                                                             : notes::domain());
    return domain;
  }

 private:
  std::map<std::string, std::shared_ptr<const CompiledDomain>> compiled_;
};

struct Found {
  std::uint64_t runs = 0;
  std::optional<sim::Violation> violation;
  double seconds = 0;
};

sim::Options options_of(const Canary& canary, std::uint64_t seed) {
  sim::Overrides overrides;
  if (!canary.faults.empty()) overrides.faults = canary.faults;
  auto options = sim::draw_options(seed, overrides);
  for (auto& [fault, rate] : options.faults) rate *= canary.times;
  return options;
}

/// Seed after seed until an oracle complains.
Found hunt(Domains& domains, const Canary& canary, std::uint64_t first_seed, std::uint64_t runs_max) {
  const auto& domain = domains.of(canary.domain);
  const auto make =
      canary.domain == std::string_view("invoices") ? sim::invoices::workload(domain) : sim::generated_workload(domain);
  const auto began = std::chrono::steady_clock::now();
  Found found;
  while (found.runs < runs_max && !found.violation)
    found.violation = run_once(domain, options_of(canary, first_seed + found.runs++), make).violation;
  found.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return found;
}

int run(const std::set<std::string_view>& wanted) {
  const std::uint64_t first_seed = ::nizhal::test_seed("canaries", 1);
  Domains domains;
  std::map<std::string, std::pair<Canary, std::uint64_t>> healthy;  // by domain and faults: the most runs that one took
  int failures = 0;
  fmt::print("{:<26} {:<7} {:>9} {:>6}  {:<12} {:>7}  {}\n", "planted", "domain", "runs", "seed", "oracle", "seconds",
             "what it says");
  std::set<Planted> seen;
  for (const Canary& canary : kCanaries) {
    seen.insert(canary.bug);
    if (!wanted.empty() && !wanted.contains(to_string(canary.bug))) continue;
    plant(canary.bug);
    const Found found = hunt(domains, canary, first_seed, canary.runs_max);
    plant(Planted::nothing);
    // A crash or a refusal to begin would be no oracle's merit.
    const bool is_oracles = found.violation && (found.violation->kind == sim::Violation::Kind::safety ||
                                                found.violation->kind == sim::Violation::Kind::liveness);
    fmt::print("{:<26} {:<7} {:>3} of {:<2} {:>6}  {:<12} {:>7.1f}  {}\n", to_string(canary.bug), canary.domain,
               found.runs, canary.runs_max, first_seed + found.runs - 1,
               is_oracles ? found.violation->oracle : "NOT FOUND", found.seconds,
               found.violation ? found.violation->what.substr(0, 100) : "");
    std::fflush(stdout);
    if (!is_oracles) ++failures;
    auto& most = healthy.try_emplace(fmt::format("{}{}", canary.domain, canary.faults.size()), canary, 0).first->second;
    most.second = std::max(most.second, found.runs);
  }
  for (const auto& [name, most] : healthy) {
    const Found found = hunt(domains, most.first, first_seed, most.second);
    fmt::print("{:<26} {:<7} {:>9} {:>6}  {:<12} {:>7.1f}  {}\n", "nothing", most.first.domain, found.runs, "",
               found.violation ? found.violation->oracle : "-", found.seconds,
               found.violation ? found.violation->what : "");
    if (found.violation) ++failures;
  }
  for (const Planted bug : all_planted()) {
    if (seen.contains(bug)) continue;
    fmt::print("{} has no canary\n", to_string(bug));
    ++failures;
  }
  if (failures > 0) fmt::print("{} failed\n", failures);
  return failures > 0 ? 1 : 0;
}

}  // namespace
}  // namespace nizhal::canaries

int main(int count, char** words) {
  std::set<std::string_view> wanted;
  for (int i = 1; i < count; ++i) {
    if (!nizhal::canaries::parse_planted(words[i])) {
      fmt::print(stderr, "canaries: there is no planted bug \"{}\"\n", words[i]);
      return 2;
    }
    wanted.insert(words[i]);
  }
  return nizhal::canaries::run(wanted);
}
