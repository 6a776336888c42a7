// What `nizhal client status` shows: all of the status, or a line for each change of it.
#include "cli/client_status.hpp"

#include <fmt/format.h>

#include "cli/client_command.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

namespace {

const char* name_of(StoreStatus::Connection connection) {
  switch (connection) {
    case StoreStatus::Connection::local_only:
      return "local_only";
    case StoreStatus::Connection::online:
      return "online";
    default:
      return "offline";
  }
}

const char* name_of(StoreStatus::Storage storage) {
  switch (storage) {
    case StoreStatus::Storage::ok:
      return "ok";
    case StoreStatus::Storage::full:
      return "full";
    case StoreStatus::Storage::read_only:
      return "read_only";
    case StoreStatus::Storage::damaged:
      return "damaged";
    default:
      return "failing";
  }
}

std::string progress_text(const StoreStatus& status) {
  if (!status.progress_rows) return {};
  if (!status.progress_total) return counted(*status.progress_rows, "row");
  return fmt::format("{} of {} rows", *status.progress_rows, *status.progress_total);
}

}  // namespace

json::object status_as_json(const StoreStatus& status) {
  json::value progress;
  if (status.progress_rows)
    progress = json::object{{"rows", *status.progress_rows}, {"total", status.progress_total.value_or(0)}};
  return json::object{{"connection", name_of(status.connection)},
                      {"syncing", status.syncing},
                      {"pulling", status.pulling},
                      {"pushing", status.pushing},
                      {"standby", status.standby},
                      {"upgradeRequired", status.upgrade_required},
                      {"pending", status.pending},
                      {"deadLetters", status.dead_letters},
                      {"conflicts", status.conflicts},
                      {"progress", progress},
                      {"lastSynced", status.last_synced ? json::value(to_iso8601(*status.last_synced)) : json::value()},
                      {"lastError", text_or_null(status.last_error)},
                      {"storage", name_of(status.storage)},
                      {"storageError", text_or_null(status.storage_error)},
                      {"clockSkewMs", status.clock_skew_ms},
                      {"clientId", status.client_id},
                      {"userId", status.user_id},
                      {"ownerId", status.owner_id},
                      {"server", text_or_null(status.server)}};
}

std::string status_as_line(const StoreStatus& status) {
  std::string line = name_of(status.connection);
  if (status.standby) line += ", standby: another process syncs";
  if (status.pushing) line += ", pushing";
  if (status.pulling) line += ", pulling";
  if (status.progress_rows) line += " " + progress_text(status);
  line += fmt::format(", pending {}, dead letters {}", status.pending, status.dead_letters);
  if (status.conflicts != 0) line += yellow(fmt::format(", conflicts {}", status.conflicts));
  if (status.last_synced) line += ", last synced " + to_iso8601(*status.last_synced);
  if (status.upgrade_required) line += yellow(", upgrade required");
  if (status.storage != StoreStatus::Storage::ok)
    line += red(fmt::format(", storage {}: {}", name_of(status.storage), status.storage_error));
  if (!status.last_error.empty()) line += red(", " + status.last_error);
  return line;
}

int client_status(const Globals& globals, const Store& store) {
  const StoreStatus status = store.status();
  if (globals.json) {
    print_json(status_as_json(status));
    return kDone;
  }
  const auto line = [](std::string_view name, std::string_view value) {
    print_line(fmt::format("{:<14}{}", name, value));
  };
  line("actor", fmt::format("{} of {}", status.user_id, status.owner_id));
  line("client id", status.client_id);
  line("server", status.server.empty() ? "none: local only" : status.server);
  line("last synced", status.last_synced ? to_iso8601(*status.last_synced) : "never");
  line("pending", fmt::format("{}", status.pending));
  line("dead letters", status.dead_letters == 0 ? "0" : red(fmt::format("{}", status.dead_letters)));
  if (status.conflicts != 0) line("conflicts", yellow(fmt::format("{}", status.conflicts)));
  if (status.progress_rows) line("first sync", progress_text(status));
  if (status.clock_skew_ms != 0) line("clock skew", fmt::format("{} ms", status.clock_skew_ms));
  if (status.standby) line("syncing", "another process that has this file open does it");
  if (status.upgrade_required) line("upgrade", yellow("required: the server takes no writes from so old an app"));
  if (status.storage != StoreStatus::Storage::ok)
    line("storage", red(fmt::format("{}: {}", name_of(status.storage), status.storage_error)));
  if (!status.last_error.empty()) line("last error", red(status.last_error));
  return kDone;
}

}  // namespace nizhal::cli
