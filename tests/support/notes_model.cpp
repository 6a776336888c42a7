#include "tests/support/notes_model.hpp"

#include <fmt/format.h>

namespace nizhal::testing {

std::set<std::string> notes_buckets(const std::string& table, const json::object& row) {
  const bool is_personal = table == "notes";
  const std::string value(string_member(row, is_personal ? "owner_id" : "team_id").value_or(""));
  return {is_personal ? value : "team:" + value};
}

std::map<std::string, std::string> notes_in_scope(OtherProgram& program, const Actor& actor) {
  std::map<std::string, std::string> rows;
  const auto add = [&](const std::string& table, const std::string& first, const std::string& second,
                       const std::string& where) {
    for (const std::string& line :
         program.query(fmt::format("SELECT id, {}, {} FROM {} WHERE {}", first, second, table, where))) {
      const std::size_t bar = line.find('|'), next = line.find('|', bar + 1);
      const std::string id = line.substr(0, bar);
      rows[fmt::format("{}|\"{}\"", table, id)] =
          fmt::format(R"({{"id":"{}","{}":"{}","{}":"{}"}})", id, first, line.substr(bar + 1, next - bar - 1), second,
                      line.substr(next + 1));
    }
  };
  const std::string teams =
      fmt::format("team_id IN (SELECT team_id FROM team_members WHERE user_id = '{}')", actor.user_id);
  add("notes", "owner_id", "body", fmt::format("owner_id = '{}'", actor.owner_id));
  add("team_members", "user_id", "team_id", teams);
  add("team_notes", "team_id", "body", teams);
  return rows;
}

}  // namespace nizhal::testing
