// Domain: the raw declarations, in the order in which they were written. Nothing is checked here: what is wrong is
// reported all at once by registration (registration.hpp), so duplicates and nonsense are kept as they came.
#include <nizhal/domain.hpp>

namespace nizhal {

Domain::Domain(std::string name, DomainOptions options) : name_(std::move(name)), options_(std::move(options)) {}

RuleBuilder Domain::rule(std::string name) {
  auto rule = std::make_shared<RuleDef>();
  rule->name = std::move(name);
  rules_.push_back(rule);
  return RuleBuilder(std::move(rule));
}

const TableDef* Domain::find_table(std::string_view name) const {
  for (const auto& table : tables_)
    if (table->name == name) return table.get();
  return nullptr;
}

const MutatorDef* Domain::find_mutator(std::string_view name) const {
  for (const auto& mutator : mutators_)
    if (mutator->name == name) return mutator.get();
  return nullptr;
}

void Domain::add_table(std::shared_ptr<const TableDef> table) { tables_.push_back(std::move(table)); }

std::shared_ptr<MutatorDef> Domain::add_mutator(std::string name) {
  auto mutator = std::make_shared<MutatorDef>();
  mutator->name = std::move(name);
  mutators_.push_back(mutator);
  return mutator;
}

}  // namespace nizhal
