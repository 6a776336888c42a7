#include "sim/generated_workload.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "domain/arguments_codec.hpp"
#include "workload/workload.hpp"

namespace nizhal::sim {

namespace {

/// What the app of a device sees.
class DeviceView : public workload::View {
 public:
  DeviceView(Device& device, const CompiledDomain& domain) : device_(device), domain_(domain) {}
  const Actor& actor() const override { return device_.actor(); }
  Result<std::vector<Row>> sample(std::size_t table, std::size_t rows_max) override {
    QuerySpec query;
    query.table = &domain_.table(table);
    query.limit = rows_max;
    return device_.store().query(query);
  }

 private:
  Device& device_;
  const CompiledDomain& domain_;
};

class GeneratedWorkload : public Workload {
 public:
  GeneratedWorkload(std::shared_ptr<const CompiledDomain> domain, const Options& options)
      : domain_(std::move(domain)),
        generator_(domain_, workload::make_actors(*domain_, std::max(options.users, kActorsMin))),
        checker_(workload::make_checker(domain_)) {}

  std::vector<Actor> actors() const override { return generator_.actors(); }
  std::vector<std::string> seed_statements(Random& random) override {
    return generator_.seed_statements(Dialect::sqlite, random);
  }
  std::optional<Call> next(Device& device, Random& random) override {
    DeviceView view(device, *domain_);
    auto drawn = generator_.next(view, random);
    // A device whose disk fails now shows its app nothing to do.
    if (!drawn || !*drawn) return std::nullopt;
    return Call{std::move((*drawn)->mutator), std::move((*drawn)->values)};
  }
  std::vector<std::string> membership_change(Scopes& server, Random& random) override {
    return drawn(generator_.membership_change(Dialect::sqlite, rows_of(server), random));
  }
  std::vector<std::string> foreign_write(Scopes& server, Random& random) override {
    return drawn(generator_.foreign_write(Dialect::sqlite, rows_of(server), random));
  }
  void settled(const Call& call, bool is_applied) override {
    generator_.note(call.mutator, is_applied);
    const MutatorDef* mutator = domain_->domain().find_mutator(call.mutator);
    if (mutator) checker_->settled({call.mutator, call.values, encode_arguments(*mutator, call.values)}, is_applied);
  }
  void server_restored() override { checker_->restored(); }
  std::vector<std::string> violations(Scopes& server, bool is_calm) override {
    auto sentences = checker_->check(rows_of(server), is_calm);
    if (sentences) return std::move(*sentences);
    return {"the server's rows cannot be read: " + sentences.error().message};
  }

 private:
  static constexpr std::size_t kActorsMin = 3;  // so that a device can change its actor and find another's rows

  workload::ServerRows rows_of(Scopes& server) const {
    return [this, &server](std::size_t table) { return server.rows(domain_->table(table)); };
  }
  /// Nothing while the server's disk fails.
  static std::vector<std::string> drawn(Result<std::vector<std::string>> statements) {
    return statements ? std::move(*statements) : std::vector<std::string>{};
  }

  std::shared_ptr<const CompiledDomain> domain_;
  workload::Generator generator_;
  std::unique_ptr<workload::Checker> checker_;
};

}  // namespace

MakeWorkload generated_workload(std::shared_ptr<const CompiledDomain> domain) {
  return [domain = std::move(domain)](const Options& options) {
    return std::make_unique<GeneratedWorkload>(domain, options);
  };
}

}  // namespace nizhal::sim
