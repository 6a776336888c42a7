#include "sim/system.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "sim/streams.hpp"

namespace nizhal::sim {

namespace {

constexpr Timestamp kStart{1'767'312'000'000'000};  // 2026-01-02T00:00:00Z
constexpr Micros kCalmBound = std::chrono::minutes(30);

}  // namespace

System::System(std::shared_ptr<const CompiledDomain> domain, Options options, Workload& workload, std::string folder)
    : domain_(std::move(domain)),
      options_(std::move(options)),
      workload_(workload),
      folder_(std::move(folder)),
      sqlite_random_(stream_seed(options_.seed, "sqlite")),
      sqlite_outside_([this] { return replayed_time_.value_or(Timestamp{kStart.microseconds + queue_.now().count()}); },
                      sqlite_random_),
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
  oracles_.on_settled = [this](const std::string& id, bool is_applied) {
    const auto call = calls_.find(id);
    if (call != calls_.end()) workload_.settled(call->second, is_applied);
  };
  oracles_.is_disk_failing = [this] { return !cluster_.is_disk_on() || cluster_.disk().struck() > 0; };
  oracles_.on_push = [this](std::string_view body) { serial_.sent(body); };
  cluster_.on_disk_off = [this] {
    scopes_.close();
    ++happened_[Fault::server_kill_in_write];
  };
  cluster_.on_log = [this](const std::string& line) { oracles_.logged(line); };
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
                                               .keeps_medium = options_.faults.contains(Fault::power_cut)},
                                 queue_, history_, network_));
    queue_.at(Micros(static_cast<std::int64_t>(i) * 700'000), [device = devices_.back().get()] { device->start(); });
  }
}

void System::run_until(Micros end) {
  while (!is_over()) {
    const auto next = queue_.next();
    if (!next || *next > end) break;
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
  if (!is_over()) calm();
}

void System::carry_out(const Action& action) {
  SeededRandom random(action.seed);
  if (action.fault) return strike(action, random);
  mutate(*devices_[action.device], random);
}

void System::mutate(Device& device, Random& random) {
  if (!device.is_open()) return;
  const auto call = workload_.next(device, random);
  if (!call) return;
  const auto ticket = device.mutate(call->mutator, call->values);
  history_.count("mutations tried");
  history_.note(fmt::format("{} {} {}", device.name(), call->mutator,
                            ticket ? fmt::format("is made: {}", ticket->client_mutation_id)
                                   : fmt::format("is refused ({})", to_string(ticket.error().code))));
  if (ticket) {
    history_.count("mutations made");
    calls_.emplace(ticket->client_mutation_id, *call);
  }
  oracles_.mutated(device, call->mutator, ticket);
}

void System::strike(const Action& action, Random& random) {
  const Fault fault = *action.fault;
  Device& device = *devices_[action.device];
  switch (fault) {
    case Fault::server_kill:
    case Fault::server_restart:
    case Fault::server_kill_in_write:
    case Fault::storage_error:
    case Fault::full_server_disk:
    case Fault::overload:
    case Fault::epoch_rotation:
    case Fault::server_restore:
      return strike_server(fault, random);
    case Fault::membership_churn:
    case Fault::foreign_write:
    case Fault::hostile_client:
    case Fault::token_expiry:
      return strike_world(fault, random);
    default:
      return strike_device(fault, device, random);
  }
}

void System::strike_server(Fault fault, Random& random) {
  const std::size_t instance = random.below(cluster_.instances());
  const Micros down_for(spread(random, 200'000, 60'000'000));
  switch (fault) {
    case Fault::server_kill:
      if (!cluster_.is_up(instance)) return;
      cluster_.kill_and_restart(instance, down_for);
      break;
    case Fault::server_restart:
      if (!cluster_.is_up(instance)) return;
      cluster_.restart(instance, down_for);
      break;
    case Fault::server_kill_in_write: {
      static constexpr DiskFault kEnds[] = {DiskFault::power_off, DiskFault::power_off_torn,
                                            DiskFault::power_off_after};
      cluster_.kill_in_disk(1 + random.below(30), kEnds[random.below(3)], down_for);
      history_.note("the servers will die while they write");
      return;  // counted when they did
    }
    case Fault::storage_error:
    case Fault::full_server_disk:
      cluster_.disk().arm({.call = DiskCall::write,
                           .fault = fault == Fault::full_server_disk ? DiskFault::disk_full : DiskFault::io_error,
                           .nth = 1 + random.below(10),
                           .persists = fault == Fault::full_server_disk || random.below(2) == 0});
      history_.note(fmt::format("the server's disk will fail: {}", sim::to_string(fault)));
      queue_.after(down_for, [this, fault] {
        if (cluster_.disk().struck() > 0) ++happened_[fault];
        cluster_.disk().lift();
        history_.note("the server's disk is well again");
      });
      return;
    case Fault::overload:
      network_.overload(true);
      history_.note("the server is overloaded");
      queue_.after(down_for, [this] { network_.overload(false); });
      break;
    case Fault::epoch_rotation: {
      const auto rotated = cluster_.rotate_epoch();
      history_.note("the epoch is rotated");
      if (!rotated) return;
      break;
    }
    case Fault::server_restore: {
      // The copy of now comes back later.
      const std::string copy = folder_ + "/backup.db";
      if (!cluster_.backup(copy)) return;
      history_.note("a backup is made");
      ++happened_[fault];
      queue_.after(Micros(spread(random, 20'000'000, 200'000'000)), [this, copy] {
        if (std::exchange(has_backup_, true)) return;
        scopes_.close();
        const auto restored = cluster_.restore(copy);
        history_.note("the backup is restored");
        oracles_.server_restored();
        serial_.give_up();
        workload_.server_restored();
        if (!restored) history_.violated(Violation::Kind::crash, "restore", restored.error().message);
      });
      return;
    }
    default:
      return;
  }
  ++happened_[fault];
}

void System::strike_device(Fault fault, Device& device, Random& random) {
  const Micros lasts(spread(random, 500'000, 120'000'000));
  switch (fault) {
    case Fault::partition:
    case Fault::one_way_partition:
      network_.cut(device, fault == Fault::partition ? Network::Cut::both_ways : Network::Cut::answers);
      history_.note(fmt::format("{} is cut off", device.name()));
      if (fault == Fault::partition && random.below(2) == 0) device.handle(client::WentOffline{});
      queue_.after(lasts, [this, &device] {
        network_.cut(device, Network::Cut::none);
        history_.note(fmt::format("{} has its network again", device.name()));
        device.handle(client::WentOnline{});
      });
      break;
    case Fault::half_open_socket:
      network_.mute_socket(device);
      return;  // counted where there was a socket
    case Fault::device_kill:
      if (!device.is_open()) return;
      history_.note(fmt::format("{} is killed", device.name()));
      device.kill();
      queue_.after(Micros(spread(random, 100'000, 30'000'000)), [&device] { device.start(); });
      break;
    case Fault::clock_jump: {
      const std::int64_t far = spread(random, 1'000'000, 400LL * 24 * 3600 * 1'000'000);
      device.clock().jump(Micros(random.below(2) == 0 ? far : -far));
      history_.note(fmt::format("{}'s clock jumps", device.name()));
      break;
    }
    case Fault::clock_drift:
      device.clock().set_drift(static_cast<std::int64_t>(random.below(200'000)) - 100'000);
      history_.note(fmt::format("{}'s clock drifts", device.name()));
      break;
    case Fault::long_absence:
      network_.cut(device, Network::Cut::both_ways);
      history_.note(fmt::format("{} is away for long", device.name()));
      queue_.after(lasts + Micros(30'000'000), [this, &device] {
        const auto pruned = cluster_.prune_all();
        serial_.give_up();
        history_.note(fmt::format("removals are pruned, and {} comes back", device.name()));
        if (pruned) ++happened_[Fault::long_absence];
        network_.cut(device, Network::Cut::none);
        device.handle(client::WentOnline{});
      });
      return;
    case Fault::restored_store: {
      const std::string copy = fmt::format("{}/device-{}-copy.db", folder_, device.number());
      if (!device.copy_file_to(copy)) return;
      history_.note(fmt::format("{}'s file is copied", device.name()));
      queue_.after(lasts, [this, &device, copy, actor = device.actor()] {
        if (!same_principal(actor, device.actor())) return;
        device.kill();
        oracles_.device_replaced(device);
        const auto taken = device.take_file_from(copy);
        history_.note(fmt::format("{}'s older file is back", device.name()));
        if (taken) ++happened_[Fault::restored_store];
        device.start();
      });
      return;
    }
    case Fault::cloned_store: {
      // Another device of the same user goes on with this one's file; both run from here.
      Device* other = nullptr;
      for (const auto& candidate : devices_)
        if (candidate.get() != &device && same_principal(candidate->actor(), device.actor())) other = candidate.get();
      if (!other || !device.is_open()) {
        // Nobody else has this user: another phone is signed in as them for good.
        other = devices_[(device.number() + 1) % devices_.size()].get();
        if (other == &device || !device.is_open()) return;
        oracles_.device_replaced(*other);
        other->switch_actor(device.actor());
        users_[other->number()] = users_[device.number()];
      }
      other->kill();
      oracles_.device_replaced(*other);
      const std::string copy = fmt::format("{}/clone-{}.db", folder_, other->number());
      if (!device.copy_file_to(copy) || !other->take_file_from(copy)) return;
      history_.note(fmt::format("{} is a clone of {}", other->name(), device.name()));
      other->start();
      break;
    }
    case Fault::device_disk_error: {
      static constexpr DiskFault kErrors[] = {DiskFault::io_error, DiskFault::torn_write, DiskFault::short_read};
      const DiskFault error = kErrors[random.below(std::size(kErrors))];
      const bool persists = random.below(2) == 0;
      device.disk().arm({.call = std::nullopt, .fault = error, .nth = 1 + random.below(40), .persists = persists});
      history_.note(fmt::format("{}'s disk will fail: {}", device.name(), sim::to_string(error)));
      lift_later(device, fault, lasts);
      return;
    }
    case Fault::full_device_disk:
      device.disk().arm({.call = DiskCall::write,
                         .fault = random.below(2) == 0 ? DiskFault::disk_full : DiskFault::full_torn,
                         .nth = 1 + random.below(20),
                         .persists = true});
      history_.note(fmt::format("{}'s disk will be full", device.name()));
      lift_later(device, fault, lasts);
      return;
    case Fault::device_kill_in_write: {
      static constexpr DiskFault kEnds[] = {DiskFault::power_off, DiskFault::power_off_torn,
                                            DiskFault::power_off_after};
      device.disk().arm({.call = DiskCall::write, .fault = kEnds[random.below(3)], .nth = 1 + random.below(30)});
      history_.note(fmt::format("{} will be killed while it writes", device.name()));
      queue_.after(lasts, [this, &device] {
        if (device.disk().struck() > 0) ++happened_[Fault::device_kill_in_write];
        history_.note(fmt::format("{}'s app is started again", device.name()));
        device.kill();
        device.disk().lift();
        device.start();
      });
      return;
    }
    case Fault::power_cut:
      history_.note(fmt::format("{}'s power is cut", device.name()));
      device.cut_power(static_cast<Disk::Unsynced>(random.below(3)), random);
      queue_.after(Micros(spread(random, 100'000, 30'000'000)), [&device] { device.start(); });
      break;
    case Fault::actor_switch: {
      if (!device.is_open()) return;
      const std::size_t next = (users_[device.number()] + 1 + random.below(actors_.size())) % actors_.size();
      users_[device.number()] = next;
      oracles_.device_replaced(device);
      history_.note(fmt::format("{} is now user {}'s", device.name(), actors_[next].user_id));
      network_.close_socket(device);
      device.switch_actor(actors_[next]);
      break;
    }
    default:
      return;
  }
  ++happened_[fault];
}

void System::lift_later(Device& device, Fault fault, Micros after) {
  queue_.after(after, [this, &device, fault] {
    if (device.disk().struck() > 0) ++happened_[fault];
    device.disk().lift();
    history_.note(fmt::format("{}'s disk is well again", device.name()));
  });
}

void System::strike_world(Fault fault, Random& random) {
  switch (fault) {
    case Fault::membership_churn:
      run_script(workload_.membership_change(scopes_, random), "a membership changes");
      break;
    case Fault::foreign_write:
      run_script(workload_.foreign_write(scopes_, random), "another program writes");
      break;
    case Fault::token_expiry:
      network_.set_token_life(Micros(spread(random, 2'000'000, 60'000'000)));
      history_.note("tokens are short-lived");
      break;
    case Fault::hostile_client:
      send_hostile(random);
      break;
    default:
      return;
  }
  ++happened_[fault];
}

void System::send_hostile(Random& random) {
  if (!cluster_.is_up(0)) return;
  static constexpr const char* kBodies[] = {
      "",
      "{",
      "[]",
      "{\"cursor\":\"AAAA\"}",
      "{\"cursor\":5}",
      "{\"cursor\":\"\",\"limit\":-1}",
      "{\"mutations\":[{}]}",
      "{\"mutations\":[{\"name\":\"\",\"args\":{},\"clientMutationId\":\"\"}],\"results\":true}",
      "{\"mutations\":[{\"name\":\"nizhal.skip\",\"args\":null,\"clientMutationId\":\"x\",\"clientID\":\"y\","
      "\"mutationID\":9007199254740993}],\"results\":true}",
      "{\"cursor\":\"\",\"buckets\":[\"team:t1\",\"\\u0000\",\"o1/../o2\"]}",
      "\xff\xfe\x00\x01",
  };
  const Actor& actor = actors_[random.below(actors_.size())];
  protocol::HttpRequest request;
  request.method = "POST";
  request.path = std::string(random.below(2) == 0 ? protocol::kPullPath : protocol::kPushPath);
  request.headers["content-type"] = "application/json";
  const auto way = random.below(4);
  std::string token = cluster_.token(actor, Micros(60'000'000));
  if (way == 0) token.back() = token.back() == 'A' ? 'B' : 'A';
  if (way == 1) token = "not.a.token";
  if (way != 2) request.headers["authorization"] = "Bearer " + token;
  request.body = kBodies[random.below(std::size(kBodies))];
  cluster_.handle(0, request, [this, way, actor, request](std::optional<protocol::HttpResponse> response) {
    if (!response) return;
    history_.note(fmt::format("a hostile client is answered {}", response->status));
    if (way != 3 && response->status != 401)
      history_.violated(Violation::Kind::safety, "no-leak",
                        fmt::format("a request without a valid token is answered {}", response->status));
    if (response->status >= 500)
      history_.violated(Violation::Kind::safety, "hostile",
                        fmt::format("a malformed request is answered {}", response->status));
    (void)oracles_.answered(actor, request, std::move(*response));
  });
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
  network_.calm();
  cluster_.bury();
  cluster_.disk().lift();
  for (const auto& device : devices_) {
    device->clock().set_right();
    device->disk().lift();
    if (!device->is_open()) device->start();
    if (device->is_told_offline()) device->handle(client::WentOnline{});
  }
  if (!drain(kCalmBound) || !settle(kCalmBound)) {
    history_.violated(Violation::Kind::liveness, "liveness", standing());
    return;
  }
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

/// The replay oracle: every push that was settled, in the order of then.
void System::send_again() {
  const auto before = scopes_.everything();
  for (const Oracles::Settled& settled : oracles_.settled()) {
    if (is_over() || !cluster_.is_up(0)) return;
    protocol::HttpRequest request = settled.request;
    request.headers["authorization"] = "Bearer " + cluster_.token(settled.actor, Micros(60'000'000));
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

bool System::settle(Micros bound) {
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
      text += fmt::format(" {} has {} pending, {};", device->name(), status.pending,
                          status.last_error.empty() ? "no error" : status.last_error);
  }
  return text;
}

std::vector<std::string> System::silent_faults() const {
  std::vector<std::string> silent;
  for (const auto& [fault, rate] : options_.faults)
    if (!happened_.contains(fault) && !network_.happened().contains(fault)) silent.emplace_back(to_string(fault));
  return silent;
}

}  // namespace nizhal::sim
