#include "sim/system.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "domain/arguments_codec.hpp"
#include "sim/report.hpp"
#include "sim/streams.hpp"

namespace nizhal::sim {

namespace {

constexpr Timestamp kStart{1'767'312'000'000'000};  // 2026-01-02T00:00:00Z
constexpr Micros kCalmBound = std::chrono::minutes(30);

std::string first_pending(Device& device) {
  const auto outbox = device.store().outbox();
  if (!outbox || outbox->empty()) return {};
  const PendingMutation& first = outbox->front();
  return fmt::format(" its first is {} ({}), number {}, sent {} times{}{};", first.name, first.client_mutation_id,
                     first.mutation_id.value_or(0), first.attempts, first.covered ? ", covered" : "",
                     first.last_error.empty() ? "" : ", " + first.last_error);
}

}  // namespace

System::System(std::shared_ptr<const CompiledDomain> domain, Options options, Workload& workload, std::string folder)
    : domain_(std::move(domain)),
      options_(std::move(options)),
      workload_(workload),
      folder_(std::move(folder)),
      sqlite_random_(stream_seed(options_.seed, "sqlite")),
      sqlite_outside_([this] { return replayed_time_.value_or(Timestamp{kStart.microseconds + queue_.now().count()}); },
                      sqlite_random_, folder_),
      history_(queue_),
      scopes_(domain_, folder_ + "/server.db"),
      oracles_(domain_, scopes_, history_),
      serial_(domain_, folder_, [this](Timestamp at) { replayed_time_ = at; }),
      cluster_({.domain = domain_,
                .path = folder_ + "/server.db",
                .start = kStart,
                .instances = options_.faults.contains(Fault::second_instance) ? 2U : 1U,
                .page_rows_max = options_.page_rows_max,
                .has_tail = options_.has_tail,
                .seed = options_.seed},
               queue_, history_),
      network_(options_, queue_, history_, cluster_, oracles_),
      actors_(workload.actors()) {
  cluster_.on_down = [this](std::size_t instance) { network_.instance_down(instance); };
  oracles_.on_settled = [this](const std::string& id, bool is_applied) { settle(id, is_applied); };
  oracles_.is_disk_failing = [this] { return !cluster_.is_disk_on() || cluster_.disk().struck() > 0; };
  cluster_.on_request = [this](const protocol::HttpRequest& request) {
    if (request.path == protocol::kPushPath) serial_.sent(cluster_.clock().now(), request.body);
  };
  cluster_.on_disk_off = [this] {
    scopes_.close();
    ++happened_[Fault::server_kill_in_write];
  };
  cluster_.on_log = [this](const std::string& line) { oracles_.logged(line); };
  cluster_.on_storage_dead = [this] { ++happened_[Fault::storage_crash]; };
  cluster_.on_started = [this](const std::shared_ptr<const CompiledDomain>& release) {
    if (next_release_ && next_release_ == release) begin_release();
  };
  if (cluster_.instances() > 1) ++happened_[Fault::second_instance];
}

System::~System() {
  for (const auto& device : devices_) device->kill();
}

void System::open() {
  const auto opened = cluster_.open();
  if (!opened) {
    history_.violated(Violation::Kind::crash, "start", "the server does not start: " + opened.error().message);
    return;
  }
  SeededRandom random(stream_seed(options_.seed, "seed rows"));
  run_script(workload_.seed_statements(random), "seed rows");
  for (std::size_t i = 0; i < options_.devices; ++i) {
    // Every user has a device, some have two.
    users_[i] = i % std::min(std::max<std::size_t>(options_.users, 1), actors_.size());
    devices_.push_back(
        std::make_unique<Device>(Device::Setup{.domain = domain_,
                                               .number = i,
                                               .path = fmt::format("{}/device-{}.db", folder_, i),
                                               .actor = actors_[users_[i]],
                                               .start = kStart,
                                               .seed = stream_seed(options_.seed, "device", i),
                                               .keeps_medium = options_.faults.contains(Fault::power_cut),
                                               .chooses = options_.has_choosers && i % 2 == 1},
                                 queue_, history_, network_));
    queue_.at(Micros(static_cast<std::int64_t>(i) * 700'000), [device = devices_.back().get()] { device->start(); });
  }
}

void System::run_until(Micros end) {
  while (!is_over()) {
    const auto next = queue_.next();
    if (!next || *next > end) {
      queue_.pass(end);  // or whoever waits for a moment waits for ever while nothing happens
      break;
    }
    queue_.run_next();
  }
}

void System::run() {
  open();
  const Plan plan = draw_plan(options_);
  for (const Action& action : plan.actions) {
    if (options_.only && !options_.only->contains(action.number)) continue;
    queue_.at(action.at, [this, action] { carry_out(action); });
  }
  run_until(plan.length);
  write_more();
  if (!options_.only) provoke();
  if (!is_over()) calm();
}

/// Full disks and dead servers may have kept the apps from writing, and much may have gone with a lost file: people go
/// on until the run means something.
void System::write_more() {
  if (options_.only || options_.mutations < kAppliedMin) return;
  SeededRandom random(stream_seed(options_.seed, "more mutations"));
  const auto is_enough = [this] {
    const auto& applied = oracles_.applied_by_mutator();
    const auto& mutators = domain_->domain().mutators();
    return oracles_.applied() >= kAppliedMin && oracles_.applied() * 2 >= history_.counted("mutations made") &&
           std::all_of(mutators.begin(), mutators.end(), [&](const auto& one) { return applied.contains(one->name); });
  };
  for (int tries = 0; tries < 1'000 && !is_over() && !is_enough(); ++tries) {
    use(*devices_[random.below(devices_.size())], random);
    run_until(queue_.now() + Micros(spread(random, 1'000, 4'000'000)));
  }
}

void System::carry_out(const Action& action) {
  SeededRandom random(action.seed);
  if (action.fault) return strike(action, random);
  use(*devices_[action.device], random);
}

/// A fault that found nothing to strike (a disk that nobody used in time, a device that was down) strikes again, with
/// work going on, until each that is on has happened.
void System::provoke() {
  constexpr std::uint64_t kRounds = 25;
  for (std::uint64_t round = 0; round < kRounds && !is_over(); ++round) {
    const auto silent = silent_faults();
    if (silent.empty()) return;
    SeededRandom random(stream_seed(options_.seed, "provoke", round));
    for (const std::string& name : silent) {
      const Fault fault = *parse_fault(name);
      if (!is_of_messages(fault) && fault != Fault::second_instance)
        strike({queue_.now(), 0, fault, random.below(devices_.size()), random.next()}, random);
    }
    for (int i = 0; i < 3; ++i) {
      for (const auto& device : devices_)
        queue_.after(Micros(spread(random, 100'000, 8'000'000)), [this, device = device.get(), seed = random.next()] {
          SeededRandom own(seed);
          use(*device, own);
        });
      run_until(queue_.now() + Micros(10'000'000));
    }
  }
}

void System::run_script(const std::vector<std::string>& statements, std::string_view what) {
  if (statements.empty()) return;
  const auto connection = scopes_.connection();
  if (!connection) return;
  const auto done = run_as_other_program(**connection, statements);
  // It may have been written before the disk went.
  if (cluster_.bury()) serial_.give_up();
  if (done) serial_.wrote(scopes_, cluster_.clock().now(), statements);
  history_.note(fmt::format("{}{}", what, done ? "" : ", and is refused: " + done.error().message));
}

void System::calm() {
  history_.note("calm");
  is_calm_ = true;
  network_.calm();
  cluster_.lift_faults();
  for (const auto& device : devices_) {
    if (next_release_) upgrade_app(*device);
    device->clock().set_right();
    device->disk().lift();
    if (!device->is_open()) device->start();
    if (device->is_told_offline()) device->handle(client::WentOnline{});
  }
  if (!drain(kCalmBound) || !come_to_rest(kCalmBound)) {
    history_.violated(Violation::Kind::liveness, "liveness", standing());
    return;
  }
  settle_from_audit();
  for (const auto& device : devices_) oracles_.check_calm(*device);
  oracles_.check_server();
  send_again();
  check_serial();
  check_growth();
  for (const std::string& sentence : workload_.violations(scopes_, true))
    history_.violated(Violation::Kind::safety, "invariant", sentence);
}

/// By itself: nobody asks for anything any more, so a device that has stopped trying stays as it is.
bool System::drain(Micros bound) {
  const Micros end = queue_.now() + bound;
  for (;;) {
    if (is_over()) return true;
    const bool is_done = std::all_of(devices_.begin(), devices_.end(), [](const auto& device) {
      return device->is_open() && device->status().pending == 0 &&
             device->status().connection == StoreStatus::Connection::online;
    });
    if (is_done) return true;
    if (queue_.now() >= end) return false;
    run_until(queue_.now() + Micros(1'000'000));
  }
}

/// By what was sent and not by what was made: an app whose disk failed under its commit was told of a failure, and the
/// mutation is there all the same.
void System::settle(const std::string& id, bool is_applied) {
  const protocol::PushMutation* sent = serial_.sending(id);
  const MutatorDef* mutator = sent ? domain_->domain().find_mutator(sent->name) : nullptr;
  if (!mutator || !settled_.insert(id).second) return;
  const auto values = decode_arguments(*mutator, sent->args);
  if (values) workload_.settled({mutator->name, *values}, is_applied);
}

/// What became of the calls of which nobody was told: the server died before it could, and the device is somebody
/// else's now.
void System::settle_from_audit() {
  const auto connection = scopes_.connection();
  if (!connection) return;
  auto select = (*connection)
                    ->prepare(
                        "SELECT client_mutation_id, outcome, mutator FROM nizhal_audit WHERE outcome <> 'duplicate' "
                        "ORDER BY version, seq");
  if (!select) return;
  for (auto more = select->step(); more && *more; more = select->step())
    settle(std::string(select->text(0)), select->text(1) == "applied" && select->text(2) != protocol::kSkip);
}

/// The replay oracle: every push that was settled, in the order of then.
void System::send_again() {
  const auto before = scopes_.everything();
  for (const Oracles::Settled& settled : oracles_.settled()) {
    if (is_over() || !cluster_.is_up(0)) return;
    protocol::HttpRequest request = settled.request;
    request.headers["authorization"] = "Bearer " + cluster_.token(settled.actor, Micros(60'000'000));
    if (next_release_)
      request.headers[std::string(protocol::kContractVersionHeader)] = next_release_->domain().options().version;
    cluster_.handle(0, request, [&](std::optional<protocol::HttpResponse> response) {
      if (response) oracles_.answered_again(settled, *response);
    });
  }
  const auto after = scopes_.everything();
  if (!before || !after || *before == *after) return;
  for (const auto& [name, text] : *after) {
    const auto it = before->find(name);
    if (it != before->end() && it->second == text) continue;
    return history_.violated(Violation::Kind::safety, "replay",
                             fmt::format("pushes that are sent once more change {}: {}", name, text));
  }
  history_.violated(Violation::Kind::safety, "replay", "pushes that are sent once more remove rows");
}

void System::check_serial() {
  if (is_over() || !serial_.is_comparable()) return;
  const auto differs = serial_.difference(scopes_);
  replayed_time_.reset();
  history_.count("serial replays");
  if (!differs)
    history_.violated(Violation::Kind::crash, "serial", differs.error().message);
  else if (!differs->empty())
    history_.violated(Violation::Kind::safety, "serial", *differs);
}

void System::check_growth() {
  if (is_over()) return;
  run_until(queue_.now() + Micros(2'000'000));
  const auto pruned = cluster_.prune_all();
  if (!pruned) return history_.violated(Violation::Kind::liveness, "growth", pruned.error().message);
  const auto connection = scopes_.connection();
  if (!connection) return;
  for (const char* table : {"nizhal_removal", "nizhal_mutation", "nizhal_audit"}) {
    const auto count = (*connection)->query_integer(fmt::format("SELECT count(*) FROM {}", table));
    if (!count || count->value_or(1) != 0)
      history_.violated(
          Violation::Kind::safety, "growth",
          fmt::format("{} still has {} rows after everything was pruned", table, count ? count->value_or(-1) : -1));
  }
  for (const auto& device : devices_) {
    for (const char* table : {"nizhal_outbox", "nizhal_undo", "nizhal_staged"}) {
      const auto rows = device->store().sql(fmt::format("SELECT count(*) FROM {}", table));
      if (rows && std::get<std::int64_t>(rows->rows[0][0]) != 0)
        history_.violated(Violation::Kind::safety, "growth",
                          fmt::format("{} still has rows in {} when it is at rest", device->name(), table));
    }
  }
}

bool System::come_to_rest(Micros bound) {
  const Micros end = queue_.now() + bound;
  // Once to drain every outbox, once more so that each device pulls what the others' outboxes brought.
  for (int round = 0; round < 2; ++round) {
    run_until(queue_.now() + Micros(60'000'000));  // what is still on its way arrives
    std::map<Device*, std::uint64_t> asked;
    for (const auto& device : devices_) {
      asked[device.get()] = device->syncs_finished();
      device->request_sync();
    }
    for (;;) {
      if (is_over()) return true;
      bool is_done = true;
      for (const auto& device : devices_) {
        const bool is_finished = device->syncs_finished() > asked[device.get()];
        const bool is_drained =
            device->is_open() && is_finished && device->last_sync_held() && device->status().pending == 0;
        is_done &= is_drained;
        if (is_finished && !is_drained) {
          asked[device.get()] = device->syncs_finished();
          device->request_sync();
        }
      }
      if (is_done) break;
      if (queue_.now() >= end) return false;
      run_until(queue_.now() + Micros(1'000'000));
    }
  }
  return true;
}

std::string System::standing() const {
  std::string text = "after 30 minutes of calm the system is not at rest:";
  for (const auto& device : devices_) {
    if (!device->is_open()) {
      text += fmt::format(" {} has no store;", device->name());
      continue;
    }
    const StoreStatus status = device->status();
    if (status.pending > 0 || status.connection != StoreStatus::Connection::online || !device->last_sync_held())
      text += fmt::format(" {} has {} pending, {};{}", device->name(), status.pending,
                          status.last_error.empty() ? "no error" : status.last_error, first_pending(*device));
  }
  return text;
}

std::vector<std::string> System::silent_faults() const {
  std::vector<std::string> silent;
  for (const auto& [fault, rate] : options_.faults) {
    const bool has_happened = happened_.contains(fault) || network_.happened().contains(fault) ||
                              (fault == Fault::storage_failure && cluster_.is_storage_failing());
    if (!has_happened) silent.emplace_back(to_string(fault));
  }
  return silent;
}

}  // namespace nizhal::sim
