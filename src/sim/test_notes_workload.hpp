// A small workload of the notes domain, for the simulator's own tests.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/json.hpp"
#include "domain/arguments_codec.hpp"
#include "examples/notes/notes.hpp"
#include "sim/workload.hpp"

namespace nizhal::sim::testing {

class NotesWorkload : public Workload {
 public:
  explicit NotesWorkload(std::shared_ptr<const CompiledDomain> domain) : domain_(std::move(domain)) {}

  std::vector<Actor> actors() const override { return {{"u0", "o0"}, {"u1", "o1"}, {"u2", "o2"}}; }
  std::vector<std::string> seed_statements(Random& random) override {
    std::vector<std::string> statements;
    for (int user = 0; user < 3; ++user)
      for (int team = 0; team < 3; ++team)
        if (random.below(3) > 0 || user == team)
          statements.push_back(fmt::format(
              "INSERT INTO team_members(id, user_id, team_id) VALUES('m{0}{1}', 'u{0}', 't{1}')", user, team));
    for (int i = 0; i < 10; ++i)
      statements.push_back(
          fmt::format("INSERT INTO team_notes(id, team_id, body) VALUES('r{}', 't{}', '{}')", i, i % 3, mark(random)));
    return statements;
  }
  std::optional<Call> next(Device& device, Random& random) override {
    const std::string id = std::to_string(random.below(25)), team = std::to_string(random.below(3));
    const std::string user = device.actor().user_id;
    switch (random.below(9)) {
      case 0:
        return call("addNote", fmt::format(R"({{"id":"{}-n{}","body":"{}"}})", user, id, mark(random)));
      case 1:
        return call("addNote", fmt::format(R"({{"id":"{}-x{}","body":"reject"}})", user, random.next()));
      case 2:
        return call("editNote", fmt::format(R"({{"id":"{}-n{}","body":"{}"}})", user, id, mark(random)));
      case 3:
        return call("deleteNote", fmt::format(R"({{"id":"{}-n{}"}})", user, id));
      case 4:
        return call("addTeamNote",
                    fmt::format(R"({{"id":"r{}","team_id":"t{}","body":"{}"}})", random.next(), team, mark(random)));
      case 5:
        return call("editTeamNote", fmt::format(R"({{"id":"r{}","body":"{}"}})", random.below(10), mark(random)));
      case 6:
        return call("moveTeamNote", fmt::format(R"({{"id":"r{}","team_id":"t{}"}})", random.below(10), team));
      case 7:
        return call("deleteTeamNote", fmt::format(R"({{"id":"r{}"}})", random.below(10)));
      default:
        return call("addTeamNote",
                    fmt::format(R"({{"id":"r{}","team_id":"t{}","body":"{}"}})", random.below(10), team, mark(random)));
    }
  }
  std::vector<std::string> membership_change(Scopes&, Random& random) override {
    const auto user = random.below(3), team = random.below(3);
    if (random.below(2) == 0)
      return {fmt::format("DELETE FROM team_members WHERE user_id = 'u{}' AND team_id = 't{}'", user, team)};
    return {fmt::format("INSERT OR IGNORE INTO team_members(id, user_id, team_id) VALUES('m{0}{1}', 'u{0}', 't{1}')",
                        user, team)};
  }
  std::vector<std::string> foreign_write(Scopes&, Random& random) override {
    return {fmt::format("UPDATE team_notes SET body = '{}' WHERE id = 'r{}'", mark(random), random.below(10))};
  }
  void settled(const Call&, bool) override {}
  void server_restored() override {}
  std::vector<std::string> violations(Scopes&, bool) override { return {}; }

 private:
  static std::string mark(Random& random) { return fmt::format("tok-{:016x}", random.next()); }
  std::optional<Call> call(const std::string& name, const std::string& args) {
    auto values = decode_arguments(*domain_->domain().find_mutator(name), *parse_json(args));
    if (!values) return std::nullopt;
    return Call{name, std::move(*values)};
  }
  std::shared_ptr<const CompiledDomain> domain_;
};

}  // namespace nizhal::sim::testing
