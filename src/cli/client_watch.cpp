// The commands of `nizhal client` that follow the device's data until a signal.
#include <fmt/format.h>

#include <atomic>
#include <string>

#include "cli/client_command.hpp"
#include "cli/client_status.hpp"
#include "cli/output.hpp"
#include "cli/watch_end.hpp"

namespace nizhal::cli {

namespace {

const char* name_of(Step step) {
  switch (step) {
    case Step::inserted:
      return "inserted";
    case Step::updated:
      return "updated";
    default:
      return "removed";
  }
}

std::string mark_of(Step step) {
  switch (step) {
    case Step::inserted:
      return green("+");
    case Step::updated:
      return yellow("~");
    default:
      return red("-");
  }
}

std::string row_as_json(const std::vector<std::string>& columns, Row row) {
  SqlResult one;
  one.columns = columns;
  one.rows.push_back(std::move(row));
  const std::string array = rows_as_json(one);
  return array.substr(1, array.size() - 2);
}

std::string delivery_as_json(const std::vector<std::string>& columns, const Rows<Row>& rows, const Delta<Row>& delta) {
  if (delta.is_first) {
    SqlResult all;
    all.columns = columns;
    all.rows = rows.to_vector();
    return R"({"rows":)" + rows_as_json(all) + "}";
  }
  std::string changes;
  for (const Change<Row>& change : delta.changes)
    changes += fmt::format(R"({}{{"step":"{}","index":{},"row":{}}})", changes.empty() ? "" : ",", name_of(change.step),
                           change.index, row_as_json(columns, change.row));
  return R"({"changes":[)" + changes + "]}";
}

std::string delivery_as_text(const std::vector<std::string>& columns, const Rows<Row>& rows, const Delta<Row>& delta) {
  if (delta.is_first) {
    SqlResult all;
    all.columns = columns;
    all.rows = rows.to_vector();
    return rows_as_table(all).text() + "\n" + dim("(" + counted(rows.size(), "row") + ")");
  }
  std::string text;
  for (const Change<Row>& change : delta.changes)
    text += fmt::format("{}{} {}", text.empty() ? "" : "\n", mark_of(change.step), row_as_json(columns, change.row));
  return text;
}

void go_online_if_asked(Store& store, const WatchOptions& options) {
  if (options.online) store.set_online(true);
}

}  // namespace

int client_watch_status(const Globals& globals, Store& store, const WatchOptions& options) {
  if (options.online && store.status().server.empty())
    return fail("client status", kUsage, "--online: this store knows no server; give --server http://HOST:PORT once");
  WatchLines lines(options.count);
  const auto observed = store.on_status([&](const StoreStatus& status) {
    lines.print(globals.json ? to_text(status_as_json(status)) : status_as_line(status));
  });
  go_online_if_asked(store, options);
  wait_for_end();
  return kDone;
}

int client_watch(const Globals& globals, Store& store, const std::string& sql, const WatchOptions& options) {
  if (options.online && store.status().server.empty())
    return fail("client watch", kUsage, "--online: this store knows no server; give --server http://HOST:PORT once");
  // Names the columns, and refuses what is no reading statement before anything is shown.
  const auto shape = store.sql(sql);
  if (!shape) return fail("client watch", shape.error());
  WatchLines lines(options.count);
  std::atomic<int> failed{kDone};
  const auto live = store.live_sql(sql,
                                   [&](const Rows<Row>& rows, const Delta<Row>& delta) {
                                     lines.print(globals.json ? delivery_as_json(shape->columns, rows, delta)
                                                              : delivery_as_text(shape->columns, rows, delta));
                                   },
                                   {.on_error = [&](const Error& error) {
                                     failed = fail("client watch", error);
                                     end_watch();
                                   }});
  if (!live) return fail("client watch", live.error());
  go_online_if_asked(store, options);
  wait_for_end();
  return failed;
}

}  // namespace nizhal::cli
