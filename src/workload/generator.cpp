// Draws calls: a mutator by weight, its arguments from where values of their kind are found, and a trial run that says
// what would become of it. Most calls that the trial refuses are drawn again.
#include <algorithm>

#include "domain/arguments_codec.hpp"
#include "workload/crdt_edits.hpp"
#include "workload/draw.hpp"
#include "workload/generator_state.hpp"

namespace nizhal::workload {
namespace {

constexpr int kPicks = 8, kAttempts = 5;
constexpr unsigned kWeight = 10, kSourceWeightMax = 40;
/// A mutator that nobody has seen applied is drawn so many times as often.
constexpr unsigned kNeverApplied = 5;
/// Trials that go well without its bytes in a CRDT column, after which a blob is taken for bytes.
constexpr unsigned kTrialsWithoutFeed = 3;

bool can_feed(ColumnType type) { return type == ColumnType::blob || is_crdt(type); }

struct Draft {
  MutatorDef::Values values;
  std::vector<std::size_t> sources;  // drawn, by argument
};

/// Runs the call with a blob that nothing else holds, and looks where it went.
Result<void> learn_feeds(MutatorPlan& plan, const MutatorDef::Values& values, Seen& seen, Random& random) {
  const auto is_unknown = [&](std::size_t i) {
    const ArgumentPlan& argument = plan.arguments[i];
    return can_feed(plan.def->arguments[i].type) && !is_null(values[i]) && !argument.feed &&
           argument.trials_without_feed < kTrialsWithoutFeed;
  };
  MutatorDef::Values marked = values;
  bool asks = false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!is_unknown(i)) continue;
    // A real edit, in case the mutator reads it.
    auto edit = draw_edit(ColumnDef{"trial", ColumnType::crdt_text, false, std::nullopt}, Value{}, random);
    if (!edit) return tl::unexpected(std::move(edit.error()));
    marked[i] = *std::move(edit);
    asks = true;
  }
  if (!asks) return {};
  const Trial trial = try_call(seen, *plan.def, marked);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!is_unknown(i)) continue;
    for (const CrdtWrite& write : trial.crdt_writes) {
      if (Value(write.blob) != marked[i]) continue;
      Feed feed{write.table, write.column, std::nullopt};
      for (std::size_t k = 0; k < values.size(); ++k)
        if (marked[k] == write.key) feed.key_argument = k;
      plan.arguments[i].feed = feed;
      break;
    }
    if (trial.is_applied && !plan.arguments[i].feed) ++plan.arguments[i].trials_without_feed;
  }
  return {};
}

/// Edits, where the bytes of an argument go into a CRDT column.
Result<void> fill_edits(const MutatorPlan& plan, MutatorDef::Values& values, Seen& seen, Random& random) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& feed = plan.arguments[i].feed;
    if (!feed || is_null(values[i])) continue;
    const Row* row = feed->key_argument ? seen.find(feed->table, values[*feed->key_argument]) : nullptr;
    auto edit =
        draw_edit(seen.domain().table(feed->table).columns[feed->column], row ? (*row)[feed->column] : Value{}, random);
    if (!edit) return tl::unexpected(std::move(edit.error()));
    values[i] = *std::move(edit);
  }
  return {};
}

}  // namespace

Generator::State::State(std::shared_ptr<const CompiledDomain> of_domain, std::vector<Actor> of_actors,
                        GeneratorOptions of_options)
    : domain(std::move(of_domain)),
      actors(std::move(of_actors)),
      options(of_options),
      columns(*domain),
      profile(profile_of(*domain)) {
  for (const auto& mutator : domain->domain().mutators()) {
    MutatorPlan plan;
    plan.def = mutator.get();
    if (const auto known = profile.weights.find(mutator->name); known != profile.weights.end())
      plan.weight = known->second;
    for (const ArgumentDef& argument : mutator->arguments) {
      plan.arguments.push_back({sources_of(*domain, columns, argument), std::nullopt, 0});
      if (const auto table = domain->table_index(argument.references))
        if (folded_name(argument.name) != folded_name(domain->table(*table).key))
          references.try_emplace(folded_name(argument.name), *table);
    }
    mutators.push_back(std::move(plan));
  }
}

Generator::Generator(std::shared_ptr<const CompiledDomain> domain, std::vector<Actor> actors, GeneratorOptions options)
    : state_(std::make_unique<State>(std::move(domain), std::move(actors), options)) {}
Generator::~Generator() = default;

const std::vector<Actor>& Generator::actors() const { return state_->actors; }

Result<std::optional<Call>> Generator::next(View& view, Random& random) {
  State& state = *state_;
  if (state.mutators.empty()) return std::optional<Call>();
  Seen seen(*state.domain, view, state.options.sample_rows_max);
  const bool is_careless = chance(random, state.options.careless_per_mille);

  std::vector<unsigned> weights;
  for (const MutatorPlan& plan : state.mutators) {
    unsigned weight = std::max(plan.weight, 1U) * kWeight;
    if (plan.applied == 0)
      weight *= kNeverApplied;
    else if (plan.tried >= 8 && plan.applied * 3 < plan.tried)
      weight /= 3;
    weights.push_back(weight);
  }

  const auto draw_draft = [&](MutatorPlan& plan) -> Result<Draft> {
    Draft draft;
    for (std::size_t i = 0; i < plan.arguments.size(); ++i) {
      const std::vector<Source>& sources = plan.arguments[i].sources;
      std::vector<unsigned> chances;
      for (const Source& source : sources) chances.push_back(is_careless ? 1 : source.weight);
      draft.sources.push_back(draw_weighted(chances, random));
      draft.values.push_back(
          draw_from(sources[draft.sources.back()], plan.def->arguments[i], seen, state.columns, state.actors, random));
    }
    if (state.profile.adjust && !is_careless) state.profile.adjust(*plan.def, draft.values, seen, random);
    if (auto learnt = learn_feeds(plan, draft.values, seen, random); !learnt)
      return tl::unexpected(std::move(learnt.error()));
    if (auto filled = fill_edits(plan, draft.values, seen, random); !filled)
      return tl::unexpected(std::move(filled.error()));
    return draft;
  };

  Call call;
  for (int pick = 0; pick < kPicks; ++pick) {
    MutatorPlan& plan = state.mutators[draw_weighted(weights, random)];
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      auto draft = draw_draft(plan);
      if (!draft) return tl::unexpected(std::move(draft.error()));
      const bool goes_well = try_call(seen, *plan.def, draft->values).is_applied;
      if (seen.error()) return tl::unexpected(*seen.error());
      if (goes_well)
        for (std::size_t i = 0; i < draft->sources.size(); ++i) {
          unsigned& weight = plan.arguments[i].sources[draft->sources[i]].weight;
          weight = std::min(weight + 1, kSourceWeightMax);
        }
      call = Call{plan.def->name, std::move(draft->values), {}};
      if (goes_well == is_careless) continue;
      call.args = encode_arguments(*plan.def, call.values);
      return call;
    }
  }
  // Nothing else was found: then the server may say it.
  call.args = encode_arguments(*state.domain->domain().find_mutator(call.mutator), call.values);
  return call;
}

void Generator::note(std::string_view mutator, bool applied) {
  for (MutatorPlan& plan : state_->mutators) {
    if (plan.def->name != mutator) continue;
    ++plan.tried;
    if (applied) ++plan.applied;
  }
}

std::vector<std::string> Generator::never_applied() const {
  std::vector<std::string> names;
  for (const MutatorPlan& plan : state_->mutators)
    if (plan.applied == 0) names.push_back(plan.def->name);
  return names;
}

}  // namespace nizhal::workload
