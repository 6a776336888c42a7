#include "tests/support/world.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include <fmt/format.h>

#include "base/json.hpp"
#include "tests/backends/tail_switch.hpp"
#include "tests/support/require.hpp"

namespace nizhal::testing {

namespace {

constexpr std::string_view kSecret = "a secret that only this test knows";

std::string value_text(const Value& value) {
  struct Visitor {
    std::string operator()(std::monostate) const { return "~"; }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(double number) const { return fmt::format("{}", number); }
    std::string operator()(const std::string& text) const { return text; }
    std::string operator()(const Blob& blob) const { return fmt::format("blob({})", blob.bytes.size()); }
  };
  return std::visit(Visitor{}, value);
}

}  // namespace

Device::Device(World& world, std::string name, Actor actor)
    : world_(world), name_(std::move(name)), actor_(std::move(actor)), token_(world.token(actor_)) {
  open();
}
Device::~Device() = default;

void Device::open() {
  client::LocalStoreOptions options;
  options.path = world_.dir.file("device-" + name_ + ".db");
  options.domain = world_.compiled_;
  options.actor = actor_;
  options.server = "http://world";
  options.coverage = coverage_;
  store_ = require(client::LocalStore::open(std::move(options), world_.clock, world_.random, Log{}), "open a device");
  client::SyncOptions sync;
  sync.server = "http://world";
  sync.has_token = true;
  sync.use_socket = false;
  sync_ = std::make_unique<client::ClientSync>(*store_, world_.clock, world_.random, Log{}, sync);
  handle(client::Started{});
  if (!connected_) handle(client::WentOffline{});
}

void Device::restart() {
  requests_.clear();
  timers_.clear();
  fetch_token_ = false;
  sync_.reset();
  store_.reset();
  open();
}

std::string Device::mutate(std::string_view mutator, std::string_view args) {
  const MutatorDef* def = world_.compiled_->domain().find_mutator(mutator);
  if (!def) return "no such mutator";
  const auto parsed = parse_json(args);
  if (!parsed) return parsed.error().message;
  auto values = decode_arguments(*def, *parsed);
  if (!values) return values.error().message;
  const auto ticket = store_->mutate(mutator, *values, {});
  if (!ticket) return ticket.error().message;
  handle(client::Mutated{});
  return {};
}

void Device::cut() {
  connected_ = false;
  handle(client::WentOffline{});
}
void Device::mend() {
  connected_ = true;
  handle(client::WentOnline{});
}
void Device::set_coverage(Coverage coverage) {
  coverage_ = coverage;
  restart();
}

void Device::coverage_changed() { handle(client::CoverageChanged{}); }

void Device::request_sync() { handle(client::SyncRequested{}); }

void Device::handle(const client::Event& event) {
  struct Visitor {
    Device& device;
    void operator()(const client::SendRequest& effect) const { device.requests_.push_back(effect); }
    void operator()(const client::FetchToken&) const { device.fetch_token_ = true; }
    void operator()(const client::OpenSocket&) const {}
    void operator()(const client::CloseSocket&) const {}
    void operator()(const client::SendFrame&) const {}
    void operator()(const client::SetTimer& effect) const {
      device.timers_[effect.timer] = device.world_.clock.monotonic() + effect.delay;
    }
    void operator()(const client::CancelTimer& effect) const { device.timers_.erase(effect.timer); }
    void operator()(const client::Notify&) const {}
    void operator()(const client::PresenceChanged&) const {}
    void operator()(const client::SyncFinished&) const { ++device.syncs_finished_; }
  };
  for (const client::Effect& effect : sync_->handle(event)) std::visit(Visitor{*this}, effect);
}

bool Device::deliver() {
  if (fetch_token_) {
    fetch_token_ = false;
    handle(client::TokenFetched{token_});
    return true;
  }
  if (requests_.empty()) return false;
  const client::SendRequest sent = std::move(requests_.front());
  requests_.pop_front();
  const auto lost = [this](std::uint32_t per_mille) { return per_mille > 0 && world_.random.below(1000) < per_mille; };
  if (!connected_ || lost(world_.faults.lost_requests_per_mille)) {
    handle(client::Failed{sent.request, "the request was lost"});
    return true;
  }
  const protocol::HttpResponse response = world_.server_->handle(sent.http);
  world_.executor_.run_all();
  if (lost(world_.faults.lost_replies_per_mille)) {
    handle(client::Failed{sent.request, "the reply was lost"});
  } else {
    handle(client::Answered{sent.request, response});
  }
  return true;
}

std::optional<std::chrono::microseconds> Device::next_timer() const {
  std::optional<std::chrono::microseconds> next;
  for (const auto& [timer, due] : timers_)
    if (!next || due < *next) next = due;
  return next;
}

void Device::fire_due_timers() {
  std::vector<client::TimerId> due;
  for (const auto& [timer, when] : timers_)
    if (when <= world_.clock.monotonic()) due.push_back(timer);
  for (const client::TimerId timer : due) {
    timers_.erase(timer);
    handle(client::TimerFired{timer});
  }
}

std::vector<std::string> Device::rows(std::string_view sql) {
  const auto result = require(store_->sql(sql), sql);
  std::vector<std::string> rows;
  for (const auto& values : result.rows) {
    std::string row;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) row += '|';
      row += value_text(values[i]);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

World::World(std::uint64_t seed, Domain domain, server::Limits limits, BackendKind kind)
    : random(seed),
      limits_(with_tail_as_told(std::move(limits))),
      authenticator_(std::string(kSecret)),
      backend_(make_backend(kind)) {
  compiled_ = require(CompiledDomain::compile(std::move(domain)), "compile the domain");
  open_server();
}
World::~World() = default;

void World::open_server() {
  storage_ = require(backend_->try_open(compiled_, {.random = &random}), "open the storage");
  require(storage_->provision(), "provision");
  server_ = std::make_unique<server::ServerSync>(
      compiled_, server::ServerOutside{clock, random, executor_, *storage_, authenticator_, Log{}}, limits_);
  if (!outside_) outside_ = backend_->other_program();
}

void World::restart_server() {
  executor_.run_all();
  server_.reset();
  storage_.reset();
  open_server();
}

void World::upgrade(Domain domain) {
  executor_.run_all();
  server_.reset();
  storage_.reset();
  compiled_ = require(CompiledDomain::compile(std::move(domain)), "compile the domain");
  require(backend_->fit(compiled_), "make the database fit");
  open_server();
}

Device& World::device(const std::string& name, Actor actor) {
  devices_.push_back(std::make_unique<Device>(*this, name, std::move(actor)));
  return *devices_.back();
}

std::string World::token(const Actor& actor) {
  json::object claims;
  claims["userId"] = actor.user_id;
  claims["ownerId"] = actor.owner_id;
  claims["exp"] = clock.now().microseconds / 1'000'000 + 365 * 24 * 3600;
  return server::make_jwt(kSecret, to_text(claims));
}

protocol::HttpResponse World::post(std::string_view path, const Actor& actor, std::string body) {
  protocol::HttpRequest request;
  request.method = "POST";
  request.path = std::string(path);
  request.headers["authorization"] = "Bearer " + token(actor);
  request.headers["content-type"] = "application/json";
  request.body = std::move(body);
  auto response = server_->handle(request);
  executor_.run_all();
  return response;
}

void World::sql(const std::string& text) {
  const std::string refused = outside_->try_run(text);
  if (!refused.empty()) throw std::runtime_error(fmt::format("{}: {}", text, refused));
}

void World::step() {
  if (devices_.empty()) return;
  Device& device = *devices_[random.below(devices_.size())];
  if (!device.deliver()) {
    clock.advance(std::chrono::milliseconds(1 + random.below(2'000)));
    device.fire_due_timers();
  }
}

bool World::settle(int steps_max) {
  // Once to drain every outbox, once more so that each device pulls what the others' outboxes brought.
  return drain(steps_max) && drain(steps_max);
}

bool World::drain(int steps_max) {
  // A device asked for a sync at the end of a round tells whether it is done: nothing pending, a complete pull.
  std::map<Device*, std::uint64_t> finished;
  for (auto& device : devices_) {
    finished[device.get()] = device->syncs_finished();
    device->request_sync();
  }
  for (int steps = 0; steps < steps_max; ++steps) {
    bool moved = false, all_done = true;
    for (auto& device : devices_) {
      moved |= device->deliver();
      const auto status = device->status();
      const bool done = device->syncs_finished() > finished[device.get()] && status.pending == 0;
      if (device->syncs_finished() > finished[device.get()] && !done) {
        finished[device.get()] = device->syncs_finished();
        device->request_sync();
      }
      all_done &= done && device->is_idle();
    }
    if (all_done) return true;
    if (!moved) {
      clock.advance(std::chrono::seconds(1));
      for (auto& device : devices_) device->fire_due_timers();
    }
  }
  return false;
}

}  // namespace nizhal::testing
