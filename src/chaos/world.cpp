// The world of a scenario: folder, database, servers, and the check that everything came out as promised.
#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/bytes.hpp"
#include "chaos/world_state.hpp"
#include "storage/database_url.hpp"

namespace nizhal::chaos {

namespace {

constexpr std::chrono::milliseconds kLook{10};  // between two looks at something that is waited for
constexpr std::size_t kPeople = 4;              // whom a world knows to begin with

std::string plural(std::size_t number, std::string_view noun) {
  return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
}

/// The first difference of the two, for people.
std::string difference(const Rows& device, const Rows& server) {
  for (const auto& [key, row] : server) {
    const auto found = device.find(key);
    if (found == device.end()) return fmt::format("{} is missing on the device; the server has {}", key, row);
    if (found->second != row)
      return fmt::format("{} is {} on the device and {} on the server", key, found->second, row);
  }
  for (const auto& [key, row] : device)
    if (!server.contains(key))
      return fmt::format("the device has {}, which its actor may not see or is gone: {}", key, row);
  return {};
}

}  // namespace

Result<std::unique_ptr<World>> make_world(Surroundings surroundings, Narrator& narrator) {
  static std::atomic<int> next{0};
  auto state = std::make_unique<World::State>();
  state->narrator = &narrator;
  state->random = SeededRandom(surroundings.seed);
  auto domain = CompiledDomain::compile(surroundings.domain.domain);
  if (!domain) return tl::unexpected(domain.error());
  state->domain = *std::move(domain);
  state->people = workload::make_actors(*state->domain, kPeople);
  state->generator = std::make_unique<workload::Generator>(state->domain, state->people);

  std::error_code error;
  std::string pattern = (std::filesystem::temp_directory_path(error) / "nizhal-chaos-XXXXXX").string();
  if (error || !::mkdtemp(pattern.data()))
    return failure(ErrorCode::io_error, fmt::format("no temporary directory {}: {}", pattern, std::strerror(errno)));
  state->folder = pattern;
  std::array<std::uint8_t, 32> secret{};
  system_random().fill(secret);
  state->secret = to_hex(secret);
  if (surroundings.database.empty()) {
    state->database = sqlite_database(state->folder);
  } else {
    auto made = postgres_database(surroundings.database, fmt::format("nizhal_chaos_{}_{}", ::getpid(), next++));
    if (!made) return tl::unexpected(made.error());
    state->database = *std::move(made);
  }
  state->surroundings = std::move(surroundings);
  state->add_server().start();
  if (state->surroundings.is_seeded) state->seed_rows();
  return std::make_unique<World>(std::move(state));
}

World::State::~State() {
  devices.clear();
  servers.clear();
  database.reset();
  std::error_code ignored;
  if (!folder.empty()) std::filesystem::remove_all(folder, ignored);
}

void World::State::end(std::string_view why) {
  narrator->failed(why);
  throw Ended();
}

process::SpawnOptions World::State::environment(const std::string& token) const {
  return {.environment = {{"NIZHAL_JWT_SECRET", secret},
                          {"NIZHAL_JWT_SECRET_FILE", ""},
                          {"NIZHAL_DB", database->url()},
                          {"NIZHAL_DB_FILE", ""},
                          {"NIZHAL_TOKEN", token},
                          {"NIZHAL_TOKEN_FILE", ""},
                          {"NIZHAL_ADMIN_PASSWORD", ""},
                          {"NIZHAL_ADMIN_PASSWORD_FILE", ""}},
          .directory = folder,
          .own_group = true,
          .bears_file_limit = true};
}

Server& World::State::add_server() {
  auto made = std::make_unique<Server::State>();
  made->world = this;
  made->number = servers.size();
  made->url = fmt::format("http://127.0.0.1:{}", made->port.port());
  servers.push_back(std::make_unique<Server>(std::move(made)));
  return *servers.back();
}

Device& World::State::add_device(std::string_view name, const DeviceOptions& options) {
  auto made = std::make_unique<Device::State>();
  made->world = this;
  made->name = std::string(name);
  made->options = options;
  made->file = fmt::format("{}/device-{}.db", folder, devices.size());
  std::vector<std::string> urls;
  for (const auto& server : servers) urls.push_back(server->url());
  made->network = std::make_unique<FaultProxy>(urls, FaultProxy::Options{.with_sockets = true});
  devices.push_back(std::make_unique<Device>(std::move(made)));
  return *devices.back();
}

void World::State::settle() {
  for (const auto& device : devices) {
    device->network().heal();
    device->expire_token(false);
  }
  // Twice: in the first round each hears of those that came before it.
  for (int round = 0; round < 2; ++round) {
    for (const auto& device : devices) {
      const auto deadline = std::chrono::steady_clock::now() + kPatience;
      for (;;) {
        const auto report = device->sync();
        if (report && report->pending == 0) break;
        if (std::chrono::steady_clock::now() > deadline)
          end(fmt::format("device {} does not get everything synced: {}", device->name(),
                          report ? plural(report->pending, "mutation") + " pending" : report.error().message));
        std::this_thread::sleep_for(kLook);
      }
    }
  }
}

void World::State::adopt(const DomainLibrary& library) {
  surroundings.domain = library;
  domain = need(CompiledDomain::compile(library.domain), "the domain");
  people = workload::make_actors(*domain, kPeople);
  generator = std::make_unique<workload::Generator>(domain, people);
}

void World::State::seed_rows() {
  std::string script;
  for (const std::string& statement :
       generator->seed_statements(database->is_postgres() ? Dialect::postgres : Dialect::sqlite, random))
    script += statement + ";\n";
  if (!script.empty()) need(database->run(script), "the rows to begin with");
}

void World::State::remember_history() {
  const std::string audit = database->engine_table("audit");
  for (const bool applied : {false, true})
    for (const std::string& id :
         need(database->query(fmt::format("SELECT DISTINCT client_mutation_id FROM {} WHERE outcome {} 'applied'",
                                          audit, applied ? "=" : "<>")),
              "reading the server's records"))
      outcomes[id] = applied;
}

void World::State::compare() {
  const std::string audit = database->engine_table("audit");
  const auto doubled =
      need(database->query(fmt::format("SELECT client_mutation_id FROM {} WHERE outcome = 'applied' GROUP "
                                       "BY client_mutation_id HAVING count(*) > 1",
                                       audit)),
           "reading the server's records");
  if (!doubled.empty()) end("a mutation was applied more than once: " + doubled.front());
  remember_history();
  std::size_t written = 0, letters = 0, rows = 0;
  std::set<std::string> refused;  // of a copied device, the copy may have been told
  for (const auto& device : devices) {
    device->dead_letters();
    refused.insert(device->state().refused.begin(), device->state().refused.end());
  }
  for (const auto& device : devices) {
    for (const std::string& id : device->state().written) {
      ++written;
      const auto outcome = outcomes.find(id);
      if (refused.contains(id))
        ++letters;
      else if (outcome == outcomes.end())
        end(fmt::format("a mutation that device {} had acknowledged is lost: {}", device->name(), id));
      else if (!outcome->second)
        end(fmt::format("a mutation of device {} was refused, and nobody is told: {}", device->name(), id));
    }
  }
  narrator->held(
      letters == 0
          ? fmt::format("nothing is pending; each of {} was applied exactly once", plural(written, "mutation"))
          : fmt::format("nothing is pending; of {} none is lost, none was applied twice, and {} with the reason "
                        "on the device that wrote it",
                        plural(written, "mutation"),
                        letters == 1 ? "1 refused one is kept" : fmt::format("{} refused ones are kept", letters)));
  for (const auto& device : devices) {
    const auto truth = need(database->in_scope(domain, device->state().actor()), "reading the server's tables");
    const auto held = need(rows_of_device(device->file(), *domain), "reading the device's tables");
    if (const std::string what = difference(held, truth); !what.empty())
      end(fmt::format("device {} differs from the server: {}", device->name(), what));
    rows += truth.size();
  }
  narrator->held(fmt::format("{} {} exactly what {} may see of the server's tables ({})",
                             plural(devices.size(), "device"), devices.size() == 1 ? "holds" : "hold",
                             devices.size() == 1 ? "its actor" : "their actors", plural(rows, "row")));
}

World::World(std::unique_ptr<State> state) : state_(std::move(state)) {}
World::~World() = default;

void World::step(std::string_view sentence) { state_->narrator->did(sentence); }

void World::expect(bool holds, std::string_view sentence) {
  if (!holds) state_->end(sentence);
  state_->narrator->held(sentence);
}

void World::wait_until(std::string_view sentence, const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  bool is_so = holds();
  while (!is_so && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kLook);
    is_so = holds();
  }
  expect(is_so, sentence);
}

std::uint64_t World::seed() const { return state_->surroundings.seed; }
std::uint64_t World::draw(std::uint64_t below) { return state_->random.below(below); }

Server& World::server(std::size_t number) {
  if (number >= state_->servers.size()) {
    if (!is_postgres()) state_->end("several servers need PostgreSQL: a SQLite file has one");
    if (!state_->devices.empty()) state_->end("make the servers before the devices");
  }
  while (number >= state_->servers.size()) state_->add_server().start();
  return *state_->servers[number];
}

Device& World::device(std::string_view name, const DeviceOptions& options) {
  for (const auto& device : state_->devices)
    if (device->name() == name) return *device;
  return state_->add_device(name, options);
}

std::vector<Device*> World::devices() {
  std::vector<Device*> all;
  for (const auto& device : state_->devices) all.push_back(device.get());
  return all;
}

bool World::is_postgres() const { return state_->database->is_postgres(); }
void World::sql(const std::string& script) {
  state_->need(state_->database->run(script), "another program on the database");
}
std::string World::value(const std::string& query) {
  const auto rows = state_->need(state_->database->query(query), "another program on the database");
  return rows.empty() ? std::string() : rows.front();
}

std::string World::command(std::vector<std::string> arguments) {
  // What it prunes of the server's records is held against what the devices wrote as of now.
  if (!arguments.empty() && arguments.front() == "gc") state_->remember_history();
  std::vector<std::string> all{state_->surroundings.program};
  all.insert(all.end(), arguments.begin(), arguments.end());
  if (arguments.empty() || arguments.front() != "epoch")
    all.insert(all.end(), {"--domain", state_->surroundings.domain.path});
  const auto finished =
      state_->need(process::run_process(std::move(all), state_->environment(), {}, kPatience), "starting nizhal");
  if (finished.status != process::ExitStatus{0, 0})
    state_->end(fmt::format("nizhal {} failed: {}", arguments.empty() ? "" : arguments.front(), finished.err));
  return finished.out;
}

std::function<void()> World::hold_transaction(const std::string& script) {
  std::shared_ptr<Held> held = state_->need(state_->database->hold(script), "another program's transaction");
  return [held, state = state_.get()] { state->need(held->commit(), "committing another program's transaction"); };
}

void World::backup() { state_->need(state_->database->backup(), "copying the server's database"); }
void World::restore() {
  state_->remember_history();
  state_->need(state_->database->restore(), "putting the server's database back");
}

std::string World::folder() const { return state_->folder; }

void World::settle() { state_->settle(); }
void World::converge() {
  state_->settle();
  state_->compare();
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() = default;

void Server::start(std::vector<std::string> options) {
  if (is_running()) state_->world->end("the server runs already");
  state_->options.insert(state_->options.end(), options.begin(), options.end());
  const Surroundings& surroundings = state_->world->surroundings;
  std::vector<std::string> arguments{surroundings.program, "serve",
                                     "--domain",           surroundings.domain.path,
                                     "--listen",           fmt::format("127.0.0.1:{}", state_->port.port()),
                                     "--end-with-parent"};
  arguments.insert(arguments.end(), state_->options.begin(), state_->options.end());
  auto process = std::make_unique<Process::State>();
  process->world = state_->world;
  process->name = "the server";
  process->child = state_->world->need(process::ChildProcess::spawn(std::move(arguments), state_->world->environment()),
                                       "starting a server");
  const bool is_up = process->child->wait_for_line("listening on ", kPatience).has_value();
  if (!is_up) state_->world->end("the server did not come up; it says: " + process->child->err());
  state_->process.emplace(std::move(process));
}

void Server::stop() {
  process().state_->child->signal(SIGTERM);
  const auto status = process().state_->child->wait(kPatience);
  const std::string said = process().err();
  state_->process.reset();
  if (!status || *status != process::ExitStatus{0, 0})
    state_->world->end("the server did not drain and end with 0 after SIGTERM; it says: " + said);
}

void Server::kill() {
  process().kill();
  state_->process.reset();
}

bool Server::is_running() const { return state_->process.has_value(); }
const std::string& Server::url() const { return state_->url; }
Process& Server::process() {
  if (!state_->process) state_->world->end("the server does not run");
  return *state_->process;
}

}  // namespace nizhal::chaos
