// A domain whose rows are numbered within a bucket (next_in_bucket), and the run's workload that looks at the numbers.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/generated_workload.hpp"
#include "sim/run.hpp"

namespace nizhal::sim::invoices {

struct Invoice {
  std::string id, owner_id;
  std::int64_t number = 0;
  std::string text;
};
inline const auto kInvoices = table<Invoice>("invoices")
                                  .key("id", &Invoice::id)
                                  .column("owner_id", &Invoice::owner_id)
                                  .column("number", &Invoice::number)
                                  .column("text", &Invoice::text);

struct Issue {
  std::string id, text;
};
struct Cancel {
  std::string id;
};

enum class Numbers { from_the_engine, counted };  // counted: what an app must not do

inline Domain domain(Numbers numbers = Numbers::from_the_engine) {
  Domain d("invoices", {.version = "1.0.0"});
  d.add(kInvoices);
  d.mutator<Issue>("issue")
      .arg("id", &Issue::id, new_id_of(kInvoices))
      .arg("text", &Issue::text, max_length(200))
      .run([numbers](MutatorContext& ctx, const Issue& args) -> Outcome {
        const std::string owner = ctx.actor().owner_id;
        const auto number =
            numbers == Numbers::from_the_engine
                ? ctx.next_in_bucket(kInvoices, "number", "owner_id", owner)
                : static_cast<std::int64_t>(ctx.find(from(kInvoices).where(eq("owner_id", owner))).size()) + 1;
        ctx.insert(kInvoices, {.id = args.id, .owner_id = owner, .number = number, .text = args.text});
        return done();
      });
  d.mutator<Cancel>("cancel")
      .arg("id", &Cancel::id, references(kInvoices))
      .run([](MutatorContext& ctx, const Cancel& args) -> Outcome {
        if (!ctx.remove(kInvoices, args.id)) return reject("not_found", "there is no such invoice");
        return done();
      });
  d.rule("mine").parameter("ownerId", actor::owner_id).data(kInvoices, eq("owner_id", "ownerId"));
  return d;
}

/// The generated workload, with one more thing to be looked at: no two rows of a bucket have one number.
class Numbered : public Workload {
 public:
  explicit Numbered(std::unique_ptr<Workload> inner) : inner_(std::move(inner)) {}
  std::vector<Actor> actors() const override { return inner_->actors(); }
  std::vector<std::string> seed_statements(Random&) override { return {}; }  // whose numbers nobody gave
  std::optional<Call> next(Device& device, Random& random) override { return inner_->next(device, random); }
  std::vector<std::string> membership_change(Scopes&, Random&) override { return {}; }
  std::vector<std::string> foreign_write(Scopes&, Random&) override { return {}; }
  void settled(const Call& call, bool is_applied) override { inner_->settled(call, is_applied); }
  void server_restored() override { inner_->server_restored(); }
  std::vector<std::string> violations(Scopes& server, bool is_calm) override {
    auto sentences = inner_->violations(server, is_calm);
    const auto rows = server.rows(kInvoices.def());
    if (!rows) return {rows.error().message};
    std::set<std::pair<std::string, std::int64_t>> given;
    for (const Row& row : *rows)
      if (!given.emplace(std::get<std::string>(row[1]), std::get<std::int64_t>(row[2])).second)
        sentences.push_back(
            fmt::format("{} has two invoices {}", std::get<std::string>(row[1]), std::get<std::int64_t>(row[2])));
    return sentences;
  }

 private:
  std::unique_ptr<Workload> inner_;
};

inline MakeWorkload workload(const std::shared_ptr<const CompiledDomain>& domain) {
  return
      [make = generated_workload(domain)](const Options& options) { return std::make_unique<Numbered>(make(options)); };
}

}  // namespace nizhal::sim::invoices
