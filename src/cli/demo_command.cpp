// `nizhal demo`: what `make run` runs. Two devices of the ledger example write while offline, one is killed while it
// writes, one write is refused by the server, and all converge; every process in it is a real one.
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <set>
#include <string>

#include "base/json.hpp"
#include "cli/command.hpp"
#include "cli/demo_world.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

namespace {

constexpr std::chrono::seconds kPatience{60};

// Ctrl-C is taken when the demo looks for it, so that children and files are always cleaned up.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&signals_);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals_, number);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  bool within(std::chrono::milliseconds time) const {
    const timespec timeout{time.count() / 1000, static_cast<long>(time.count() % 1000) * 1'000'000};
    return sigtimedwait(&signals_, nullptr, &timeout) > 0;
  }

 private:
  sigset_t signals_{};
};

// What the demo shows did not come out as promised.
tl::unexpected<Error> broken(std::string what) { return failure(ErrorCode::refused, std::move(what)); }

std::string entry(const char* id, const char* customer, int amount) {
  return fmt::format(R"({{"id":"{}","customer_id":"{}","amount":"{}"}})", id, customer, amount);
}

class Story {
 public:
  Story(DemoWorld& world, const Interrupts& interrupts) : world_(world), interrupts_(interrupts) {}

  Result<void> tell() {
    using Chapter = Result<void> (Story::*)();
    for (const Chapter chapter : {&Story::open_shop, &Story::lose_network, &Story::write_offline, &Story::kill_a_writer,
                                  &Story::reconnect, &Story::show_refusal, &Story::compare}) {
      if (interrupts_.within(std::chrono::milliseconds(0))) return broken("interrupted");
      if (auto told = (this->*chapter)(); !told) return told;
    }
    return {};
  }
  const DemoDevice& clerk() const { return b_; }

 private:
  Result<void> do_all(const DemoDevice& device, const std::vector<std::vector<std::string>>& commands) {
    for (const auto& command : commands)
      if (auto done = world_.run(device, command); !done) return tl::unexpected(done.error());
    return {};
  }

  Result<void> open_shop() {
    world_.step("A server starts on an empty SQLite file");
    if (auto started = world_.start_server(); !started) return started;

    auto a = world_.add_device("A", "owner");
    if (!a) return tl::unexpected(a.error());
    auto b = world_.add_device("B", "clerk");
    if (!b) return tl::unexpected(b.error());
    a_ = std::move(*a);
    b_ = std::move(*b);
    world_.step("The owner opens a shop on device A; a clerk, member of it, gets everything on device B");
    auto done = do_all(a_, {{"mutate", "createShop", R"({"id":"corner","name":"Corner shop"})"},
                            {"mutate", "addShopMember", R"({"id":"m-clerk","user_id":"clerk","shop_id":"corner"})"},
                            {"mutate", "addCustomer", R"({"id":"bakery","shop_id":"corner","name":"Bakery"})"},
                            {"mutate", "addCustomer", R"({"id":"garage","shop_id":"corner","name":"Garage"})"},
                            {"mutate", "addCustomer", R"({"id":"school","shop_id":"corner","name":"School"})"},
                            {"mutate", "recordCredit", entry("a-1", "bakery", 10'000)},
                            {"sync"}});
    if (!done) return done;
    return do_all(b_, {{"sync"}, {"query", "SELECT id, name FROM customers ORDER BY id"}});
  }

  Result<void> lose_network() {
    world_.step("The server goes away: both devices are offline now");
    if (auto stopped = world_.stop_server(); !stopped) return stopped;
    if (auto failed = world_.run(a_, {"sync"}, kUnusable); !failed) return tl::unexpected(failed.error());
    return {};
  }

  Result<void> write_offline() {
    world_.step(
        "Both go on writing. The bakery owes 100.00 and pays 80.00 to the owner, 50.00 to the clerk: each is fine "
        "alone");
    auto done = do_all(a_, {{"mutate", "recordPayment", entry("a-2", "bakery", 8'000)},
                            {"mutate", "recordCredit", entry("a-3", "garage", 2'550)}});
    if (!done) return done;
    return do_all(b_, {{"mutate", "recordPayment", entry("b-1", "bakery", 5'000)},
                       {"mutate", "recordCredit", entry("b-2", "school", 1'200)}});
  }

  Result<void> kill_a_writer() {
    world_.step("Device B is killed with kill -9 while it writes one credit after the other");
    auto writer = world_.start_writer(b_);
    if (!writer) return tl::unexpected(writer.error());
    ChildProcess& process = **writer;
    constexpr int kAcknowledged = 3;
    std::set<std::string> acknowledged;
    const auto note = [&](const std::string& line) {
      const auto answer = parse_json(line);
      if (!answer) return;
      if (const auto id = string_member(*answer, "clientMutationId")) acknowledged.insert(std::string(*id));
    };
    for (int i = 0; i <= kAcknowledged; ++i) {
      const std::string line = "recordCredit " + entry(fmt::format("b-{}", 10 + i).c_str(), "garage", 100);
      process.write(line + "\n");
      // The last one is still under way when the signal comes: it may or may not be written, never half.
      if (i == kAcknowledged) break;
      const auto answer = process.next_line(kPatience);
      if (!answer) return broken("the writer did not acknowledge: " + process.err());
      note(*answer);
      world_.say("  " + line + dim("  → durable"));
    }
    world_.say(dim(fmt::format("$ kill -9 {}", process.pid())));
    process.signal(SIGKILL);
    const auto status = process.wait(kPatience);
    if (!status || status->signal != SIGKILL) return broken("the writer was not killed in the middle");
    while (const auto line = process.next_line(std::chrono::milliseconds(0))) note(*line);

    const auto outbox = world_.look(b_, {"outbox"});
    if (!outbox) return tl::unexpected(outbox.error());
    const auto entries = parse_json(*outbox);
    std::set<std::string> kept;
    if (entries && entries->is_array())
      for (const json::value& one : *entries->if_array())
        kept.insert(std::string(string_member(one, "clientMutationId").value_or("")));
    for (const std::string& id : acknowledged)
      if (!kept.contains(id)) return broken("an acknowledged mutation is not in the outbox: " + id);
    world_.say(fmt::format("{} acknowledged before the kill: all {} are in the outbox of device B", acknowledged.size(),
                           acknowledged.size()));
    auto shown = world_.run(b_, {"outbox"});
    if (!shown) return tl::unexpected(shown.error());
    return {};
  }

  Result<void> reconnect() {
    world_.step("The server is back, and both devices sync");
    if (auto started = world_.start_server(); !started) return started;
    return do_all(a_, {{"sync"}}).and_then([&] { return do_all(b_, {{"sync"}}); }).and_then([&] {
      return do_all(a_, {{"sync"}});
    });
  }

  Result<void> show_refusal() {
    world_.step(
        "The server refused the clerk's 50.00, because only 20.00 were left: it is rolled back and kept with its "
        "reason");
    auto done =
        do_all(b_, {{"dead-letters"}, {"query", "SELECT id, kind, amount FROM ledger_entries WHERE id = 'b-1'"}});
    if (!done) return done;
    const auto letters = world_.look(b_, {"dead-letters"});
    const auto ghosts = world_.look(b_, {"query", "SELECT id FROM ledger_entries WHERE id = 'b-1'"});
    if (!letters) return tl::unexpected(letters.error());
    if (!ghosts) return tl::unexpected(ghosts.error());
    const auto parsed = parse_json(*letters);
    const json::array* list = parsed ? parsed->if_array() : nullptr;
    if (!list || list->size() != 1 || string_member(list->front(), "code") != "overpayment")
      return broken("the refused payment is not the one dead letter");
    if (const auto rows = parse_json(*ghosts); !rows || !rows->is_array() || !rows->if_array()->empty())
      return broken("the refused payment is still on device B");
    return {};
  }

  Result<void> compare() {
    world_.step("Non-zero balances, in cents: both devices, and the server's own SQL sum");
    const auto a = world_.balances_on(a_);
    const auto b = world_.balances_on(b_);
    const auto server = world_.balances_on_server();
    for (const auto* one : {&a, &b, &server})
      if (!*one) return tl::unexpected(one->error());
    std::set<std::string> customers;
    for (const auto* one : {&*a, &*b, &*server})
      for (const auto& [customer, balance] : *one) customers.insert(customer);
    SqlResult table;
    table.columns = {"customer", "device A", "device B", "server", ""};
    for (const std::string& customer : customers) {
      const auto cell = [&](const Balances& balances) {
        const auto found = balances.find(customer);
        return found == balances.end() ? Value(std::int64_t{0}) : Value(found->second);
      };
      const bool same = cell(*a) == cell(*server) && cell(*b) == cell(*server);
      table.rows.push_back({Value(customer), cell(*a), cell(*b), cell(*server), Value(same ? "equal" : "DIFFERENT")});
    }
    print_line(rows_as_table(table).text());
    for (const DemoDevice* device : {&a_, &b_}) {
      const auto outbox = world_.look(*device, {"outbox"});
      if (!outbox) return tl::unexpected(outbox.error());
      if (!outbox->starts_with("[]")) return broken("device " + device->letter + " still has something pending");
    }
    if (*a != *server || *b != *server || server->empty()) return broken("the balances differ");
    print_line(green("All equal: nothing lost, nothing doubled."));
    return {};
  }

  DemoWorld& world_;
  const Interrupts& interrupts_;
  DemoDevice a_, b_;
};

void print_what_to_try(const DemoWorld& world, const DemoDevice& clerk) {
  print_line(fmt::format("\n{}\n", bold("The server goes on at " + world.url() + ". Try, in another terminal:")));
  print_line(fmt::format("cd {}", world.directory().string()));
  print_line(fmt::format("export NIZHAL_TOKEN={}", clerk.token));
  print_line(world.shell_function("device"));
  print_line("device --store device-b.db mutate recordPayment " + shell_quoted(entry("b-99", "school", 700)));
  print_line("device --store device-b.db sync");
  print_line("device --store device-b.db query 'SELECT * FROM ledger_entries'");
  print_line("device --store device-c.db --server " + world.url() + " sync" + dim("   # a third device, from scratch"));
  print_line("device --store device-b.db status");
  print_line(fmt::format("\nCtrl-C ends the server and removes {}.", world.directory().string()));
}

int run(bool once) {
  const Interrupts interrupts;
  auto world = DemoWorld::create();
  if (!world) return fail("demo", world.error());
  print_line(fmt::format("Nizhal demo: one server and two devices of the ledger example, all real processes, in {}.",
                         (*world)->directory().string()));
  print_line("A$ and B$ stand for: nizhal client --domain libledger_domain.so --store device-a.db (device-b.db)");
  Story story(**world, interrupts);
  if (auto told = story.tell(); !told)
    return fail("demo", told.error().code == ErrorCode::refused ? kNo : kUnusable, told.error().message);
  if (once) return kDone;
  print_what_to_try(**world, story.clerk());
  while (!interrupts.within(std::chrono::milliseconds(500)))
    if (!(*world)->server_runs()) return fail("demo", kUnusable, "the server ended by itself");
  const std::string directory = (*world)->directory().string();
  world->reset();
  print_line(fmt::format("\nThe server drained and ended; {} is removed.", directory));
  return kDone;
}

}  // namespace

void add_demo_command(const Commands& commands) {
  CLI::App* command =
      commands.app.add_subcommand("demo", "Show the whole loop: a server, two devices, a kill, a refusal");
  auto once = std::make_shared<bool>(false);
  command->add_flag("--once", *once, "End when it is shown; exit 0 only if all is equal");
  command->fallthrough();
  command->callback([&action = commands.action, once] { action = [once] { return run(*once); }; });
}

}  // namespace nizhal::cli
