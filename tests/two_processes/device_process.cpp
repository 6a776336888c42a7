// See device_process.hpp.
#include "tests/two_processes/device_process.hpp"

#include <signal.h>

#include <condition_variable>
#include <functional>
#include <iostream>
#include <mutex>
#include <sstream>

#include <fmt/format.h>

#include <nizhal/store.hpp>

#include "server/authenticator.hpp"
#include "tests/two_processes/domain.hpp"

namespace nizhal::testing {

std::string token_of(std::string_view user, std::string_view owner) {
  return server::make_jwt(kTestSecret,
                          fmt::format(R"({{"userId":"{}","ownerId":"{}","exp":4102444800}})", user, owner));
}

// The test's side

DeviceProcess::DeviceProcess(const std::string& file, const std::string& url, const std::string& user,
                             const std::string& owner) {
  auto child = ChildProcess::spawn({"/proc/self/exe", "device", file, url, user, owner});
  if (!child) {
    std::cerr << child.error().message << "\n";
    std::abort();
  }
  process_ = std::move(*child);
}

std::string DeviceProcess::next_line() {
  return process_->next_line(kPatience).value_or("error: no answer; it said: " + process_->err());
}

std::string DeviceProcess::ask(const std::string& command) {
  tell(command);
  return next_line();
}

void DeviceProcess::kill() {
  process_->signal(SIGKILL);
  process_->wait(kPatience);
}

void DeviceProcess::quit() {
  tell("quit");
  process_->wait(kPatience);
}

// The device's side

namespace {

/// Wakes whoever waits for a condition whenever the store's status may have changed.
class Watch {
 public:
  explicit Watch(Store& store)
      : subscription_(store.on_status([this](const StoreStatus&) {
          const std::lock_guard lock(mutex_);
          ++changes_;
          changed_.notify_all();
        })) {}
  bool until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (true) {
      std::uint64_t seen = 0;
      {
        const std::lock_guard lock(mutex_);
        seen = changes_;
      }
      if (condition()) return true;
      if (std::chrono::steady_clock::now() >= deadline) return false;
      // Rows can change without the status: looked at again all the same.
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(100), [&] { return changes_ != seen; });
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t changes_ = 0;
  Subscription subscription_;
};

std::string error_line(const Error& error) { return fmt::format("error {}: {}", to_string(error.code), error.message); }

std::string first_value(const Store& store, const std::string& sql) {
  const auto result = store.sql(sql);
  if (!result) return error_line(result.error());
  if (result->rows.empty()) return "";
  const Value& value = result->rows[0][0];
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  const auto* text = std::get_if<std::string>(&value);
  return text ? *text : "";
}

/// What a live query last delivered.
class Live {
 public:
  Result<void> begin(Store& store, const std::string& sql) {
    auto subscribed = store.live_sql(sql, [this](const Rows<Row>& rows, const Delta<Row>&) {
      const std::lock_guard lock(mutex_);
      const Row first = rows.empty() ? Row() : rows[0];
      const auto* count = first.empty() ? nullptr : std::get_if<std::int64_t>(&first[0]);
      value_ = count ? std::to_string(*count) : "";
      changed_.notify_all();
    });
    if (!subscribed) return tl::unexpected(subscribed.error());
    subscription_ = std::move(*subscribed);
    return {};
  }
  /// Looks at nothing but deliveries.
  bool until(const std::string& wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return value_ == wanted; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string value_;
  Subscription subscription_;
};

class Commands {
 public:
  explicit Commands(Store& store) : store_(store), watch_(store) {}

  std::string run(const std::string& name, std::istringstream& rest) {
    if (name == "online" || name == "offline") {
      store_.set_online(name == "online");
      return name;
    }
    if (name == "mutate") return mutate(rest);
    if (name == "many") return many(rest);
    if (name == "live") {
      const auto begun = live_.begin(store_, line_of(rest));
      return begun ? "live" : error_line(begun.error());
    }
    if (name == "until-live") return live_.until(line_of(rest)) ? "yes" : "error: it was not delivered";
    if (name == "sql") return first_value(store_, line_of(rest));
    if (name == "conflicts") return conflicts();
    if (name == "dismiss") {
      std::int64_t id = 0;
      rest >> id;
      const auto dismissed = store_.dismiss_conflict(id);
      return dismissed ? "dismissed" : error_line(dismissed.error());
    }
    if (name == "sync") {
      const auto report = store_.sync_now(kPatience);
      if (!report) return error_line(report.error());
      return fmt::format("applied {} rejected {} pulled {} pending {}", report->applied, report->rejected,
                         report->pulled_rows, report->pending);
    }
    return wait(name, rest);
  }

 private:
  static std::string line_of(std::istringstream& rest) {
    std::string line;
    std::getline(rest >> std::ws, line);
    return line;
  }
  std::string mutate(std::istringstream& rest) {
    std::string name;
    rest >> name;
    const auto ticket = store_.mutate_json(name, line_of(rest));
    return ticket ? ticket->client_mutation_id : error_line(ticket.error());
  }
  std::string conflicts() const {
    const auto edits = store_.conflicts();
    if (!edits) return error_line(edits.error());
    std::string line = std::to_string(store_.status().conflicts);
    for (const LostEdit& edit : *edits)
      line += fmt::format(", {} {} {} {} {}", edit.id, edit.table, edit.key, edit.column, edit.lost);
    return line;
  }
  std::string many(std::istringstream& rest) {
    std::string prefix;
    int count = 0;
    rest >> prefix >> count;
    for (int i = 0; i < count; ++i) {
      const std::string id = fmt::format("{}-{}", prefix, i);
      const auto ticket = store_.mutate("addNoteThroughGate", notes::AddNote{.id = id, .body = prefix});
      if (!ticket) return error_line(ticket.error());
      std::cout << "made " << id << " " << ticket->client_mutation_id << std::endl;
    }
    return "done";
  }
  std::string wait(const std::string& name, std::istringstream& rest) {
    std::string wanted;
    if (name != "until-online") rest >> wanted;
    const std::string sql = line_of(rest);
    const bool holds = watch_.until([&] {
      const StoreStatus status = store_.status();
      if (name == "until") return first_value(store_, sql) == wanted;
      if (name == "until-standby") return status.standby == (wanted == "yes");
      if (name == "until-conflicts") return std::to_string(status.conflicts) == wanted;
      if (name == "until-online") return status.connection == StoreStatus::Connection::online;
      return std::to_string(status.pending) == wanted;
    });
    if (holds) return "yes";
    const StoreStatus status = store_.status();
    return fmt::format("error: not within {} ms: standby {}, pending {}, last error \"{}\", SQL says \"{}\"",
                       kPatience.count(), status.standby, status.pending, status.last_error,
                       sql.empty() ? "" : first_value(store_, sql));
  }

  Store& store_;
  Watch watch_;
  Live live_;
};

}  // namespace

int run_device(int argc, char** argv) {
  if (argc < 6) return 2;
  const std::string user = argv[4], owner = argv[5];
  auto store = open_store({.path = argv[2],
                           .domain = gated_notes(),
                           .actor = {.user_id = user, .owner_id = owner},
                           .server = argv[3],
                           .token = [user, owner] { return token_of(user, owner); },
                           .start_online = false});
  if (!store) {
    std::cout << error_line(store.error()) << std::endl;
    return 1;
  }
  Commands commands(*store);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream rest(line);
    std::string name;
    rest >> name;
    if (name == "quit") return 0;
    std::cout << commands.run(name, rest) << std::endl;
  }
  return 0;
}

}  // namespace nizhal::testing
