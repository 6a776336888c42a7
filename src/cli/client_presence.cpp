// `nizhal client track` and `presence`: a user's presence in a bucket from the terminal.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cli/client_command.hpp"
#include "cli/output.hpp"
#include "cli/parse.hpp"
#include "cli/watch_end.hpp"

namespace nizhal::cli {
namespace {

using std::chrono::milliseconds;

std::string presence_as_json(const std::vector<Presence>& people) {
  json::array list;
  for (const Presence& one : people)
    list.push_back(json::object{{"userId", one.user_id}, {"ref", one.ref}, {"payload", json_or_text(one.payload)}});
  return to_text(list);
}

std::string presence_as_line(const std::vector<Presence>& people) {
  if (people.empty()) return dim("nobody");
  std::string line;
  for (const Presence& one : people) {
    if (!line.empty()) line += ", ";
    line += bold(one.user_id);
    if (one.payload != "{}") line += " " + one.payload;
  }
  return line;
}

/// One that stands by has no connection of its own, and says so instead of showing nobody for ever.
Subscription warn_of_standby(Store& store, std::string_view what) {
  return store.on_status([what = std::string(what), told = false](const StoreStatus& status) mutable {
    if (!status.standby || std::exchange(told, true)) return;
    std::cerr << fmt::format(
                     "nizhal {}: another process syncs this file, and presence goes by its connection; this one takes "
                     "over when that ends",
                     what)
              << std::endl;
  });
}

bool lacks_server(const Store& store) { return store.status().server.empty(); }
constexpr const char* kNoServer = "this store knows no server; give --server http://HOST:PORT once";

}  // namespace

int client_track(const Globals& globals, Store& store, const PresenceWords& words) {
  std::optional<milliseconds> limit;
  if (!words.duration.empty()) {
    const auto parsed = parse_duration(words.duration);
    if (!parsed) return fail("client track", kUsage, "--for: " + parsed.error().message);
    limit = *parsed;
  }
  if (lacks_server(store)) return fail("client track", kUsage, kNoServer);
  const auto given = parse_json(words.payload);
  const auto tracked = store.track(words.bucket, words.payload);
  if (!tracked) return fail("client track", tracked.error());
  const std::string user = store.status().user_id;
  const std::string payload = to_text(*given);
  const auto warned = warn_of_standby(store, "client track");
  const auto observed = store.on_presence(
      words.bucket, [&, was_there = std::optional<bool>()](const std::vector<Presence>& people) mutable {
        const bool is_there = std::any_of(people.begin(), people.end(), [&](const Presence& one) {
          return one.user_id == user && one.payload == payload;
        });
        if (std::exchange(was_there, is_there) == is_there) return;
        if (globals.json)
          print_json(json::object{{"bucket", words.bucket}, {"present", is_there}});
        else
          print_line(is_there ? green("present in " + words.bucket) : dim("not present in " + words.bucket));
      });
  store.set_online(true);
  wait_for_end(limit);
  return kDone;
}

int client_presence(const Globals& globals, Store& store, const PresenceWords& words) {
  const auto timeout = parse_duration(words.duration);
  if (!timeout) return fail("client presence", kUsage, "--timeout: " + timeout.error().message);
  if (lacks_server(store)) return fail("client presence", kUsage, kNoServer);
  const auto show = [&](const std::vector<Presence>& people) {
    return globals.json ? presence_as_json(people) : presence_as_line(people);
  };
  const auto warned = warn_of_standby(store, "client presence");
  if (words.watches) {
    WatchLines lines(words.count);
    const auto observed =
        store.on_presence(words.bucket, [&](const std::vector<Presence>& people) { lines.print(show(people)); });
    store.set_online(true);
    wait_for_end();
    return kDone;
  }
  const auto observed = store.on_presence(words.bucket, [](const std::vector<Presence>& people) {
    if (!people.empty()) end_watch();
  });
  store.set_online(true);
  const bool somebody_or_signal = wait_for_end(*timeout);
  const StoreStatus status = store.status();
  if (!somebody_or_signal && status.connection != StoreStatus::Connection::online)
    return fail("client presence", kUnusable,
                status.last_error.empty()
                    ? fmt::format("no connection with {} within {}", status.server, words.duration)
                    : status.last_error);
  print_line(show(store.presence(words.bucket)));
  return kDone;
}

}  // namespace nizhal::cli
