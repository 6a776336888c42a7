// For tests only: a domain whose tables merge, each in another way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nizhal/domain.hpp>

namespace nizhal::testing {

struct Task {
  std::string id, owner_id, title;
  std::optional<std::string> body;
  std::int32_t rank = 0;
  Json extra{"{}"};
};
struct Board {
  std::string id, owner_id, name;
  CrdtMap cells;
};
struct Paper {
  std::string id, owner_id, title;
  CrdtText text;
};
struct Setting {
  std::string id, value;
};
struct Remark {
  std::string id, owner_id, body;
};

inline auto tasks_table() {
  return table<Task>("tasks")
      .key("id", &Task::id)
      .column("owner_id", &Task::owner_id)
      .column("title", &Task::title, default_value(""))
      .column("body", &Task::body)
      .column("rank", &Task::rank, default_value(0))
      .column("extra", &Task::extra, default_value(Json{"{}"}));
}

/// tasks: by column; boards: a CRDT column; papers: both; settings: by column, delivered to nobody; remarks: as ever.
inline Domain merge_domain() {
  const auto tasks = tasks_table().merge(Merge::Field);
  const auto boards = table<Board>("boards")
                          .key("id", &Board::id)
                          .column("owner_id", &Board::owner_id)
                          .column("name", &Board::name, default_value(""))
                          .column("cells", &Board::cells);
  const auto papers = table<Paper>("papers")
                          .key("id", &Paper::id)
                          .column("owner_id", &Paper::owner_id)
                          .column("title", &Paper::title, default_value(""))
                          .column("text", &Paper::text)
                          .merge(Merge::Field);
  const auto settings =
      table<Setting>("settings").key("id", &Setting::id).column("value", &Setting::value).merge(Merge::Field);
  const auto remarks = table<Remark>("remarks")
                           .key("id", &Remark::id)
                           .column("owner_id", &Remark::owner_id)
                           .column("body", &Remark::body);
  Domain d("desk", {.version = "1.0.0"});
  d.add(tasks).add(boards).add(papers).add(settings).add(remarks);
  d.rule("own")
      .parameter("owner", actor::owner_id)
      .data(tasks, eq("owner_id", "owner"))
      .data(boards, eq("owner_id", "owner"))
      .data(papers, eq("owner_id", "owner"))
      .data(remarks, eq("owner_id", "owner"));
  return d;
}

}  // namespace nizhal::testing
