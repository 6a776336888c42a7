// For tests only: small domains to register, and a context that leads nowhere.
#pragma once

#include <string>
#include <vector>

#include <nizhal/domain.hpp>
#include <nizhal/lint.hpp>

namespace nizhal::test {

struct Note {
  std::string id, owner_id, body;
};
struct Member {
  std::string id, user_id, team_id, role;
};
struct TeamNote {
  std::string id;
  std::optional<std::string> team_id;
  std::string body;
  bool hidden = false;
};

inline Table<Note> notes() {
  return table<Note>("notes").key("id", &Note::id).column("owner_id", &Note::owner_id).column("body", &Note::body);
}
inline Table<Member> members() {
  return table<Member>("members")
      .key("id", &Member::id)
      .column("user_id", &Member::user_id)
      .column("team_id", &Member::team_id)
      .column("role", &Member::role);
}
inline Table<TeamNote> team_notes() {
  return table<TeamNote>("team_notes")
      .key("id", &TeamNote::id)
      .column("team_id", &TeamNote::team_id)
      .column("body", &TeamNote::body)
      .column("hidden", &TeamNote::hidden);
}

/// Three tables, no rules, no mutators.
inline Domain tables_only() {
  Domain domain("test", {.version = "1.0.0"});
  domain.add(notes()).add(members()).add(team_notes());
  return domain;
}

/// Personal notes without a prefix, team notes under "team:".
inline Domain two_rules() {
  Domain domain = tables_only();
  domain.rule("myNotes").parameter("ownerId", actor::owner_id).data(notes(), eq("owner_id", "ownerId"));
  domain.rule("myTeams")
      .prefix("team:")
      .membership(members(), where("user_id", actor::user_id), bucket("teamId", "team_id"))
      .data(members(), eq("team_id", "teamId"))
      .data(team_notes(), eq("team_id", "teamId"), eq("hidden", false));
  return domain;
}

/// Counts calls and finds nothing.
class IdleBackend : public MutatorBackend {
 public:
  std::optional<Row> get(const TableDef&, const Value&, Scope) override { return std::nullopt; }
  std::vector<Row> find(const QuerySpec&, Scope) override { return {}; }
  void insert(const TableDef&, const Row&, Scope) override { ++writes; }
  void upsert(const TableDef&, const Row&, Scope) override { ++writes; }
  bool update(const TableDef&, const Value&, const std::vector<std::pair<std::size_t, Value>>&, Scope) override {
    return false;
  }
  bool remove(const TableDef&, const Value&, Scope) override { return false; }
  std::int64_t next_in_bucket(const TableDef&, std::string_view, std::string_view, const Value&, Scope) override {
    return 1;
  }
  Timestamp now() override { return {}; }
  std::string new_id() override { return "id"; }
  const Actor& actor() const override { return actor_; }
  bool on_server() const override { return true; }
  void mark_unscoped() override {}
  void fail_usage(std::string message) override { usage = std::move(message); }

  int writes = 0;
  std::string usage;

 private:
  Actor actor_;
};

}  // namespace nizhal::test
