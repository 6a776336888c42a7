#include "tests/device_faults/device_script.hpp"

#include <unistd.h>

#include <fmt/format.h>
#include <charconv>
#include <iostream>
#include <optional>
#include <string_view>
#include <utility>

#include <nizhal/store.hpp>

#include "../../examples/notes/notes.hpp"
#include "base/json.hpp"
#include "sim/disk/disk.hpp"
#include "sqlite/connection.hpp"
#include "tests/device_faults/cycle.hpp"

namespace nizhal::testing {

namespace {

using Kind = ScriptStep::Kind;

constexpr int kRounds = 12;
constexpr int kNotesPerRound = 9;
/// Writes of a checkpoint between two kills.
constexpr std::uint64_t kCheckpointStride = 5;

std::vector<ScriptStep> make_script() {
  std::vector<ScriptStep> script{{Kind::open}, {Kind::sync}};
  for (int round = 0; round < kRounds; ++round) {
    const auto note = [&](int number) { return fmt::format("n{}-{}", round, number); };
    for (int i = 0; i < kNotesPerRound; ++i)
      script.push_back({Kind::mutate, "addNote", note(i), fmt::format("body {}", i)});
    script.push_back({Kind::refused, "addNote", note(0), "again"});
    for (int i = 0; i < 4; ++i) script.push_back({Kind::mutate, "editNote", note(i), fmt::format("edited {}", round)});
    script.push_back({Kind::others});
    // Edits of what others edit as well: the next pull runs them again on top.
    if (round > 0) script.push_back({Kind::mutate, "editNote", "others-1", fmt::format("here {}", round)});
    script.push_back({Kind::mutate, "deleteNote", note(8)});
    script.push_back({Kind::mutate, "addNote", fmt::format("bad-{}", round), "reject"});
    script.push_back({Kind::dependent, "editNote", fmt::format("bad-{}", round), fmt::format("depends {}", round)});
    script.push_back({Kind::mutate, "addNote", note(20), std::string(4'000, 'x')});
    script.push_back({Kind::sync});
    script.push_back({Kind::retry, "", "", fmt::format("better {}", round)});
    script.push_back({Kind::mutate, "editNote", note(5), "edited after the sync"});
    if (round % 4 == 3) script.push_back({Kind::checkpoint});
    script.push_back({Kind::sync});
  }
  return script;
}

void say(const std::string& line) {
  const std::string text = line + "\n";
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = ::write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (wrote <= 0) return;
    done += static_cast<std::size_t>(wrote);
  }
}

struct Arguments {
  std::string store, server, token;
  std::size_t first_step = 0;
  std::uint64_t kill_nth = 0;
  KillMode mode = KillMode::in_it;
};

class DeviceChild {
 public:
  explicit DeviceChild(Arguments arguments) : arguments_(std::move(arguments)), disk_(arguments_.store) {}

  int run() {
    if (const std::string wrong = Cycle::check_file(arguments_.store); !wrong.empty()) return fail(wrong);
    if (arguments_.first_step > 0 && !open()) return 1;
    const auto& script = device_script();
    for (std::size_t i = arguments_.first_step; i < script.size(); ++i) {
      say(fmt::format("at {}", i));
      arm(script[i], i);
      const bool done = run_step(script[i], i);
      disk_.lift();
      if (!done) return 1;
    }
    store_.reset();
    if (const std::string wrong = Cycle::check_file(arguments_.store); !wrong.empty()) return fail(wrong);
    say("end");
    return 0;
  }

 private:
  int fail(const std::string& what) {
    say("wrong " + what);
    return 1;
  }
  bool failed(const Error& error) {
    fail(fmt::format("{}: {}", to_string(error.code), error.message));
    return false;
  }

  void arm(const ScriptStep& step, std::size_t number) {
    if (arguments_.kill_nth == 0) return;
    const bool is_first = number == arguments_.first_step;
    const std::uint64_t nth = is_first ? arguments_.kill_nth : 1;
    // Of steps that write once it depends on the step which of the two comes, unless both are asked for.
    const KillMode mode = is_first ? arguments_.mode : number % 2 == 0 ? KillMode::in_it : KillMode::after_it;
    const sim::DiskFault fault = mode == KillMode::in_it ? sim::DiskFault::crash_torn : sim::DiskFault::crash_after;
    if (step.kind == Kind::checkpoint) {
      disk_.arm({.call = sim::DiskCall::write, .fault = fault, .nth = 1 + (nth - 1) * kCheckpointStride});
    } else {
      disk_.arm({.call = sim::DiskCall::write, .fault = fault, .nth = nth, .commits_only = true});
    }
  }

  bool open() {
    auto opened = open_store({.path = arguments_.store,
                              .domain = notes::domain(),
                              .actor = {.user_id = "u1", .owner_id = "o1"},
                              .server = arguments_.server,
                              .token = [token = arguments_.token] { return token; },
                              .start_online = false});
    if (!opened) return failed(opened.error());
    store_.emplace(std::move(*opened));
    return true;
  }

  /// The row is there and says what the step wrote: the process was killed between the commit and its return.
  bool is_done(const ScriptStep& step) {
    const auto row = store_->get(notes::notes, step.id);
    if (!row) return false;
    return row->has_value() && (*row)->body == step.body;
  }

  bool mutate(const ScriptStep& step, const MutateOptions& options = {}) {
    const std::string args = step.name == "deleteNote"
                                 ? fmt::format(R"({{"id":"{}"}})", step.id)
                                 : fmt::format(R"({{"id":"{}","body":"{}"}})", step.id, step.body);
    if (step.name == "editNote" && is_done(step)) return true;
    const auto ticket = store_->mutate_json(step.name, args, options);
    if (ticket) {
      say("told " + ticket->client_mutation_id);
      return true;
    }
    // Refused because it is done already, or because what it edits is gone: an app would see the same.
    return ticket.error().code == ErrorCode::refused || failed(ticket.error());
  }

  bool run_step(const ScriptStep& step, std::size_t number) {
    switch (step.kind) {
      case Kind::open:
        return open();
      case Kind::mutate:
        return mutate(step);
      case Kind::refused: {
        const auto ticket = store_->mutate_json(step.name, fmt::format(R"({{"id":"{}","body":"x"}})", step.id));
        if (!ticket && ticket.error().code == ErrorCode::refused) return true;
        fail("a note with an id that is taken was not refused");
        return false;
      }
      case Kind::dependent: {
        const auto pending = store_->outbox();
        if (!pending) return failed(pending.error());
        MutateOptions options;
        for (const PendingMutation& one : *pending) {
          if (one.args.find("\"reject\"") != std::string::npos) options.depends_on = {one.client_mutation_id};
        }
        return mutate(step, options);
      }
      case Kind::others: {
        say(fmt::format("others {}", number));
        std::string line;
        return static_cast<bool>(std::getline(std::cin, line));
      }
      case Kind::sync: {
        const auto report = store_->sync_now(std::chrono::minutes(1));
        return report ? true : failed(report.error());
      }
      case Kind::retry: {
        const auto letters = store_->dead_letters();
        if (!letters) return failed(letters.error());
        for (const DeadLetter& letter : *letters) {
          if (letter.name != "addNote") continue;
          const auto args = parse_json(letter.args);
          const std::string id(args ? string_member(*args, "id").value_or("") : "");
          say("giving up " + letter.client_mutation_id);
          const auto ticket = store_->retry_with(letter.id, fmt::format(R"({{"id":"{}","body":"{}"}})", id, step.body));
          if (!ticket) return failed(ticket.error());
          say("told " + ticket->client_mutation_id);
          return true;
        }
        return true;  // retried already
      }
      case Kind::checkpoint: {
        auto other = sqlite::Connection::open(arguments_.store, {.create = false});
        if (!other) return failed(other.error());
        const auto moved = (*other)->query_integer("PRAGMA wal_checkpoint(TRUNCATE)");
        return moved ? true : failed(moved.error());
      }
    }
    return false;
  }

  const Arguments arguments_;
  sim::Disk disk_;
  std::optional<Store> store_;
};

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

const std::vector<ScriptStep>& device_script() {
  static const std::vector<ScriptStep> kScript = make_script();
  return kScript;
}

std::size_t script_mutations() {
  std::size_t mutations = 0;
  for (const ScriptStep& step : device_script())
    mutations += step.kind == Kind::mutate || step.kind == Kind::dependent || step.kind == Kind::retry ? 1 : 0;
  return mutations;
}

int run_device(int argc, char** argv) {
  Arguments arguments;
  if (argc != 6) return 2;
  arguments.store = argv[0];
  arguments.server = argv[1];
  arguments.token = argv[2];
  if (!read_number(argv[3], arguments.first_step) || !read_number(argv[4], arguments.kill_nth)) return 2;
  arguments.mode = std::string_view(argv[5]) == "after" ? KillMode::after_it : KillMode::in_it;
  return DeviceChild(std::move(arguments)).run();
}

}  // namespace nizhal::testing
