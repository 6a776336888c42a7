// A domain: tables, mutators and sync rules, written once and used by device, server and tools.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/mutator.hpp>
#include <nizhal/outcome.hpp>
#include <nizhal/query.hpp>
#include <nizhal/result.hpp>
#include <nizhal/sync_rule.hpp>
#include <nizhal/table.hpp>
#include <nizhal/value.hpp>

namespace nizhal {

/// Bumped whenever a struct in include/nizhal/ that crosses into a domain library changes shape.
inline constexpr int kDomainAbi = 3;

struct DomainOptions {
  std::string version = "0.0.0";  // the contract version clients send: dotted numbers
  /// Pushes of clients whose contract version is lower are refused (426).
  std::string min_client_version = "0.0.0";
};

class Domain {
 public:
  explicit Domain(std::string name, DomainOptions options = {});

  template <class T>
  Domain& add(const Table<T>& table) {
    add_table(table.shared_def());
    return *this;
  }
  template <class Args>
  MutatorBuilder<Args> mutator(std::string name) {
    return MutatorBuilder<Args>(add_mutator(std::move(name)));
  }
  RuleBuilder rule(std::string name);

  const std::string& name() const { return name_; }
  const DomainOptions& options() const { return options_; }
  const std::vector<std::shared_ptr<const TableDef>>& tables() const { return tables_; }
  const std::vector<std::shared_ptr<MutatorDef>>& mutators() const { return mutators_; }
  const std::vector<std::shared_ptr<RuleDef>>& rules() const { return rules_; }

  const TableDef* find_table(std::string_view name) const;
  const MutatorDef* find_mutator(std::string_view name) const;

 private:
  void add_table(std::shared_ptr<const TableDef> table);
  std::shared_ptr<MutatorDef> add_mutator(std::string name);

  std::string name_;
  DomainOptions options_;
  std::vector<std::shared_ptr<const TableDef>> tables_;
  std::vector<std::shared_ptr<MutatorDef>> mutators_;
  std::vector<std::shared_ptr<RuleDef>> rules_;
};

}  // namespace nizhal

/// Exports a domain from a shared library, so that the `nizhal` binary can load it:
/// NIZHAL_DOMAIN(ledger::domain) with a function `nizhal::Domain domain()`.
#define NIZHAL_DOMAIN(function)                                                                            \
  extern "C" __attribute__((visibility("default"))) int nizhal_domain_abi() { return nizhal::kDomainAbi; } \
  extern "C" __attribute__((visibility("default"))) void* nizhal_domain_create() {                         \
    return new nizhal::Domain(function());                                                                 \
  }
