// See runner.hpp.
#include "chaos/runner.hpp"

#include <fmt/format.h>

#include <exception>

namespace nizhal::chaos {
namespace {

class Recorder : public Narrator {
 public:
  Recorder(Outcome& outcome, const std::function<void(const Line&)>& told) : outcome_(outcome), told_(told) {}
  void did(std::string_view sentence) override { add(Line::Kind::did, sentence); }
  void held(std::string_view sentence) override { add(Line::Kind::held, sentence); }
  void failed(std::string_view sentence) override { add(Line::Kind::failed, sentence); }

 private:
  void add(Line::Kind kind, std::string_view sentence) {
    outcome_.lines.push_back({kind, std::string(sentence)});
    if (told_) told_(outcome_.lines.back());
  }
  Outcome& outcome_;
  const std::function<void(const Line&)>& told_;
};

}  // namespace

Result<Choice> domain_of(const Scenario& scenario, const RunOptions& options) {
  const auto example = [&](const std::string& name) -> Result<const DomainLibrary*> {
    const auto found = options.examples.find(name);
    if (found == options.examples.end())
      return failure(ErrorCode::io_error,
                     fmt::format("scenario {} needs the example domain \"{}\", which is not beside "
                                 "this binary; `make build` makes it",
                                 scenario.name, name));
    return &found->second;
  };
  Choice choice{&options.domain, {}};
  if (!scenario.domain.empty() && scenario.domain != options.domain.domain.name()) {
    auto found = example(scenario.domain);
    if (!found) return tl::unexpected(found.error());
    choice = {*found, fmt::format("runs on the built-in domain \"{}\", whose tables it needs", scenario.domain)};
  } else if (scenario.domain.empty() && options.domain.domain.mutators().empty()) {
    auto found = example("notes");
    if (!found) return tl::unexpected(found.error());
    choice = {*found, fmt::format("runs on the built-in domain \"notes\": \"{}\" has no mutators",
                                  options.domain.domain.name())};
  }
  return choice;
}

Result<Outcome> run_scenario(const Scenario& scenario, const RunOptions& options,
                             const std::function<void(const Line&)>& told) {
  const auto choice = domain_of(scenario, options);
  if (!choice) return tl::unexpected(choice.error());
  Outcome outcome{
      .name = scenario.name, .held = false, .seed = options.seed, .domain = choice->domain->domain.name(), .lines = {}};
  Recorder recorder(outcome, told);
  try {
    auto world = make_world({.program = options.program,
                             .domain = *choice->domain,
                             .examples = &options.examples,
                             .is_seeded = scenario.domain.empty(),
                             .database = options.database,
                             .may_kill_postgres = options.may_kill_postgres,
                             .seed = options.seed},
                            recorder);
    if (!world) return tl::unexpected(world.error());
    scenario.run(**world);
    outcome.held = true;
    for (const Line& line : outcome.lines)
      if (line.kind == Line::Kind::failed) outcome.held = false;
  } catch (const Ended&) {
    outcome.held = false;
  } catch (const std::exception& exception) {
    recorder.failed(fmt::format("the scenario threw: {}", exception.what()));
  } catch (...) {
    recorder.failed("the scenario threw");
  }
  if (outcome.held) {
    bool has_held = false;
    for (const Line& line : outcome.lines) has_held = has_held || line.kind == Line::Kind::held;
    if (!has_held) {
      recorder.failed("the scenario expected nothing: call expect() or converge()");
      outcome.held = false;
    }
  }
  return outcome;
}

}  // namespace nizhal::chaos
