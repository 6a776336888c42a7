// What the rows of the server must say in the domains that we know: of the ledger, that each customer's entries are
// those of the calls that were applied, and that nobody paid more than was owed.
#include <fmt/format.h>

#include <map>

#include "domain/value_json.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {
namespace {

class LedgerChecker : public Checker {
 public:
  LedgerChecker(std::shared_ptr<const CompiledDomain> domain, std::size_t entries)
      : domain_(std::move(domain)), entries_(entries) {}

  void settled(const Call& call, bool applied) override {
    if (!applied || (call.mutator != "recordCredit" && call.mutator != "recordPayment")) return;
    const MutatorDef* mutator = domain_->domain().find_mutator(call.mutator);
    if (!mutator) return;
    std::string id;
    Entry entry;
    for (std::size_t i = 0; i < mutator->arguments.size() && i < call.values.size(); ++i) {
      const std::string& name = mutator->arguments[i].name;
      if (name == "id") id = key_text(call.values[i]);
      if (name == "customer_id") entry.customer = key_text(call.values[i]);
      if (const auto* amount = std::get_if<std::int64_t>(&call.values[i]); name == "amount" && amount)
        entry.amount = call.mutator == "recordPayment" ? -*amount : *amount;
    }
    applied_[id] = entry;
  }
  void restored() override { is_restored_ = true; }

  Result<std::vector<std::string>> check(const ServerRows& server, bool is_calm) override {
    const auto rows = server(entries_);
    if (!rows) return tl::unexpected(rows.error());
    const TableDef& table = domain_->table(entries_);
    const std::size_t whose = table.index_of("customer_id"), how_much = table.index_of("amount");
    std::vector<std::string> violated;
    std::map<std::string, std::int64_t> owed, expected;
    std::map<std::string, Entry> found;
    for (const Row& row : *rows) {
      const auto* amount = std::get_if<std::int64_t>(&row[how_much]);
      const Entry entry{key_text(row[whose]), amount ? *amount : 0};
      owed[entry.customer] += entry.amount;
      found[key_text(row[table.key_index()])] = entry;
    }
    for (const auto& [customer, sum] : owed)
      if (sum < 0) violated.push_back(fmt::format("the balance of customer {} is {}, below nothing", customer, sum));
    if (!is_calm || is_restored_) return violated;

    for (const auto& [id, entry] : applied_) {
      expected[entry.customer] += entry.amount;
      const auto there = found.find(id);
      if (there == found.end())
        violated.push_back(fmt::format("entry {} was applied and is not there", id));
      else if (!(there->second == entry))
        violated.push_back(fmt::format("entry {} says {} of customer {} where the call said {} of {}", id,
                                       there->second.amount, there->second.customer, entry.amount, entry.customer));
    }
    for (const auto& [id, entry] : found)
      if (!applied_.contains(id)) violated.push_back(fmt::format("entry {} is there and no call was applied", id));
    for (const auto& [customer, sum] : owed)
      if (const auto fold = expected.find(customer); (fold == expected.end() ? 0 : fold->second) != sum)
        violated.push_back(fmt::format("the entries of customer {} add up to {}, the applied calls to {}", customer,
                                       sum, fold == expected.end() ? 0 : fold->second));
    return violated;
  }

 private:
  struct Entry {
    std::string customer;
    std::int64_t amount = 0;
    bool operator==(const Entry&) const = default;
  };
  std::shared_ptr<const CompiledDomain> domain_;
  std::size_t entries_;
  std::map<std::string, Entry> applied_;  // by the entry's id
  bool is_restored_ = false;
};

}  // namespace

std::unique_ptr<Checker> make_checker(std::shared_ptr<const CompiledDomain> domain) {
  const auto entries = domain->table_index("ledger_entries");
  if (domain->domain().name() == "ledger" && entries && domain->domain().find_mutator("recordPayment") &&
      domain->table(*entries).index_of("customer_id") != TableDef::npos &&
      domain->table(*entries).index_of("amount") != TableDef::npos)
    return std::make_unique<LedgerChecker>(std::move(domain), *entries);
  return std::make_unique<Checker>();
}

}  // namespace nizhal::workload
