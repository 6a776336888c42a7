// Devices of a scenario, and processes.
#include <fmt/format.h>
#include <signal.h>

#include <filesystem>

#include "base/json.hpp"
#include "chaos/world_state.hpp"
#include "server/authenticator.hpp"
#include "sqlite/connection.hpp"
#include "sqlite/table_sql.hpp"

namespace nizhal::chaos {

namespace {
constexpr std::size_t kRefusedMax = 10'000;  // calls that the device itself refuses, of one write()
}

Process::Process(std::unique_ptr<State> state) : state_(std::move(state)) {}
Process::~Process() = default;
Process::Process(Process&&) noexcept = default;
bool Process::write(std::string_view text) { return state_->child->write(text); }
void Process::close_input() { state_->child->close_input(); }
std::optional<std::string> Process::next_line() { return state_->child->next_line(kPatience); }
void Process::kill() {
  state_->child->signal(SIGKILL);
  state_->child->wait(kPatience);
}
int Process::wait() {
  const auto status = state_->child->wait(kPatience);
  if (!status) state_->world->end(state_->name + " does not end; it says: " + err());
  return status->code;
}
std::string Process::out() const { return state_->child->out(); }
std::string Process::err() const { return state_->child->err(); }
void Process::limit_files(std::optional<std::uint64_t> bytes) {
  state_->world->need(state_->child->limit_files(bytes), "limiting files");
}

namespace {

/// What the actor sees on its device.
class DeviceView : public workload::View {
 public:
  DeviceView(const Device::State& device, sqlite::Connection& file, const CompiledDomain& domain)
      : actor_(device.actor()), file_(file), domain_(domain) {}
  const Actor& actor() const override { return actor_; }
  Result<std::vector<Row>> sample(std::size_t table, std::size_t rows_max) override {
    if (!domain_.is_delivered(table)) return std::vector<Row>();
    QuerySpec query;
    query.table = &domain_.table(table);
    query.order.push_back({.column = query.table->key});
    query.limit = rows_max;
    return sqlite::select_rows(file_, query);
  }

 private:
  const Actor actor_;
  sqlite::Connection& file_;
  const CompiledDomain& domain_;
};

}  // namespace

Actor Device::State::actor() const {
  if (options.user.empty()) return world->people[options.person % world->people.size()];
  return {options.user, options.owner.empty() ? "org" : options.owner, {}};
}

std::string Device::State::token() const {
  const std::int64_t now = system_clock().now().microseconds / 1'000'000;
  const Actor who = actor();
  json::object claims;
  if (const auto payload = parse_json(who.claims); payload && payload->if_object()) claims = *payload->if_object();
  claims["userId"] = json::string(who.user_id);
  claims["ownerId"] = json::string(who.owner_id);
  claims["exp"] = is_token_expired->load() ? now - 3'600 : now + 86'400;
  return server::make_jwt(world->secret, to_text(claims));
}

Engine& Device::State::opened() {
  if (engine) return *engine;
  StoreOptions store{.path = file, .domain = world->surroundings.domain.domain};
  store.actor = actor();
  store.server = network->url();
  // The state is where it is for as long as the device lives, and the store ends before.
  store.token = [this] { return token(); };
  store.coverage = options.coverage;
  store.start_online = options.online;
  store.pull_interval = options.pull_interval;
  auto opened = options.clock_offset.count() == 0 ? open_engine(std::move(store))
                                                  : open_engine_with_clock(std::move(store), options.clock_offset);
  engine = world->need(std::move(opened), fmt::format("opening the store of device {}", name));
  return *engine;
}

Device::Device(std::unique_ptr<State> state) : state_(std::move(state)) {}
Device::~Device() {
  // Before the network that it uses.
  state_->engine.reset();
}
const std::string& Device::name() const { return state_->name; }
const DeviceOptions& Device::options() const { return state_->options; }
FaultProxy& Device::network() { return *state_->network; }
Store& Device::store() {
  Store* store = state_->opened().store();
  if (!store) state_->world->end("a device with a clock of its own has no store()");
  return *store;
}
void Device::close() { state_->engine.reset(); }
std::string Device::file() const { return state_->file; }

std::string Device::mutate(std::string_view mutator, std::string_view args, const MutateOptions& options) {
  std::string id = state_->world->need(state_->opened().mutate(mutator, args, options),
                                       fmt::format("device {} refuses {} {}", state_->name, mutator, args));
  state_->written.insert(id);
  return id;
}

void Device::write(std::size_t mutations) {
  World::State& world = *state_->world;
  Engine& engine = state_->opened();
  auto file = world.need(sqlite::Connection::open(state_->file, {.read_only = true, .create = false}),
                         "reading the device's tables");
  DeviceView view(*state_, *file, *world.domain);
  std::string why = "no call was drawn";
  for (std::size_t refused = 0; mutations > 0;) {
    const auto call = world.need(world.generator->next(view, world.random), "drawing a mutation");
    if (!call) world.end("the domain has no mutators");
    const auto id = engine.mutate(call->mutator, call->args, {});
    world.generator->note(call->mutator, id.has_value());
    if (id) {
      state_->written.insert(*id);
      --mutations;
    } else if (id.error().code != ErrorCode::refused || ++refused > kRefusedMax) {
      world.end(
          fmt::format("device {} refuses {} {}: {}", state_->name, call->mutator, call->args, id.error().message));
    }
  }
}

std::size_t Device::written() const { return state_->written.size(); }
Result<SyncReport> Device::sync() { return state_->opened().sync(); }
void Device::set_online(bool online) { state_->opened().set_online(online); }
StoreStatus Device::status() { return state_->opened().status(); }
std::vector<PendingMutation> Device::outbox() {
  return state_->world->need(state_->opened().outbox(), "reading an outbox");
}
std::vector<DeadLetter> Device::dead_letters() {
  auto letters = state_->world->need(state_->opened().dead_letters(), "reading dead letters");
  for (const DeadLetter& letter : letters) state_->refused.insert(letter.client_mutation_id);
  return letters;
}

std::string Device::value(std::string_view sql) {
  const SqlResult result = state_->world->need(state_->opened().sql(sql), fmt::format("{} on {}", sql, state_->name));
  if (result.rows.empty() || result.rows.front().empty()) return {};
  const Value& value = result.rows.front().front();
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  if (const auto* real = std::get_if<double>(&value)) return fmt::format("{}", *real);
  return {};
}

Process Device::client(std::vector<std::string> arguments) {
  World::State& world = *state_->world;
  std::vector<std::string> all{world.surroundings.program,
                               "client",
                               "--domain",
                               world.surroundings.domain.path,
                               "--store",
                               state_->file,
                               "--server",
                               state_->network->url()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  auto process = std::make_unique<Process::State>();
  process->world = &world;
  process->name = "nizhal client of " + state_->name;
  process->child = world.need(process::ChildProcess::spawn(std::move(all), world.environment(state_->token())),
                              "starting nizhal client");
  return Process(std::move(process));
}

void Device::acknowledged(std::string client_mutation_id) { state_->written.insert(std::move(client_mutation_id)); }
void Device::expire_token(bool expired) { *state_->is_token_expired = expired; }

Device& Device::clone(std::string_view name) {
  close();
  Device& copy = state_->world->add_device(name, state_->options);
  for (const char* suffix : {"", "-wal"}) {
    std::error_code error;
    if (*suffix && !std::filesystem::exists(state_->file + suffix, error)) continue;
    std::filesystem::copy_file(state_->file + suffix, copy.file() + suffix, error);
    if (error) state_->world->end("copying a device's file: " + error.message());
  }
  return copy;
}

}  // namespace nizhal::chaos
