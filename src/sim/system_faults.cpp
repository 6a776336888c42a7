// What strikes a system: each fault carried out, and counted when it happened.
#include <fmt/format.h>

#include "base/json.hpp"
#include "protocol/cursor.hpp"
#include "sim/release.hpp"
#include "sim/streams.hpp"
#include "sim/system.hpp"

namespace nizhal::sim {

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
    case Fault::storage_crash:
    case Fault::storage_failure:
    case Fault::storage_stall:
      return strike_storage(fault, random);
    case Fault::membership_churn:
    case Fault::foreign_write:
    case Fault::hostile_client:
    case Fault::token_expiry:
    case Fault::token_rotation:
    case Fault::app_upgrade:
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
        if (is_calm_ || std::exchange(has_backup_, true)) return;
        scopes_.close();
        const auto restored = cluster_.restore(copy);
        history_.note("the backup is restored");
        oracles_.server_restored();
        serial_.give_up();
        settled_.clear();
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

void System::strike_storage(Fault fault, Random& random) {
  const std::size_t instance = random.below(cluster_.instances());
  const Micros lasts(spread(random, 200'000, 60'000'000));
  switch (fault) {
    case Fault::storage_crash: {
      const StorageFault how = random.below(2) == 0 ? StorageFault::crash : StorageFault::crash_after;
      cluster_.kill_in_storage(instance, 1 + random.below(120), how, lasts);
      history_.note(fmt::format("server {} will die at a call to its storage: {}", instance, sim::to_string(how)));
      return;  // counted when it did
    }
    case Fault::storage_failure: {
      static constexpr StorageFault kFailures[] = {StorageFault::busy, StorageFault::io_error,
                                                   StorageFault::lost_answer};
      const StorageFault how = kFailures[random.below(std::size(kFailures))];
      cluster_.fail_storage(instance, how, 2 + random.below(30), random.next(), lasts);
      history_.note(fmt::format("calls to server {}'s storage fail: {}", instance, sim::to_string(how)));
      return;  // counted when they did
    }
    default:
      if (!cluster_.is_up(instance)) return;
      cluster_.stall(instance, lasts);
      history_.note(fmt::format("server {} waits for its storage", instance));
      ++happened_[fault];
  }
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
      mute_socket(device.number(), 100);
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
        settle_from_audit();
        const auto pruned = cluster_.prune_all();
        oracles_.records_pruned();
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
        oracles_.device_copied();
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
      oracles_.device_copied();
      if (next_release_ && &device.domain() == next_release_.get()) other->upgrade(next_release_);
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

/// Of this device, or else of one that has one, or else when there is one.
void System::mute_socket(std::size_t first, int tries) {
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    const Device& device = *devices_[(first + i) % devices_.size()];
    if (!network_.has_socket(device)) continue;
    history_.note(fmt::format("{}'s socket is half open", device.name()));
    return network_.mute_socket(device);
  }
  if (tries > 0) queue_.after(Micros(300'000), [this, first, tries] { mute_socket(first, tries - 1); });
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
    case Fault::token_rotation:
      cluster_.rotate_secret();
      history_.note("tokens of before are refused");
      break;
    case Fault::hostile_client:
      send_hostile(random);
      break;
    case Fault::app_upgrade:
      upgrade_servers(random);
      return;
    default:
      return;
  }
  ++happened_[fault];
}

void System::upgrade_servers(Random& random) {
  auto next = next_release(*domain_);
  if (!next) {
    history_.violated(Violation::Kind::crash, "upgrade", "the next release is none: " + next.error().message);
    return;
  }
  next_release_ = std::move(*next);
  ++happened_[Fault::app_upgrade];
  history_.note("the servers are upgraded");
  const Micros between(spread(random, 100'000, 20'000'000));
  cluster_.upgrade(next_release_, between);
  // Once all of them have been: in the order in which people come to it, and some only when all is calm.
  Micros at = between * static_cast<int>(cluster_.instances()) + Micros(5'000'000);
  for (const auto& device : devices_) {
    at += Micros(spread(random, 1'000'000, 200'000'000));
    queue_.after(at, [this, device = device.get()] { upgrade_app(*device); });
  }
}

/// When the first server of it is up, which has made its tables.
void System::begin_release() {
  if (std::exchange(has_begun_release_, true)) return;
  scopes_.upgrade(next_release_);
  oracles_.upgrade(next_release_);
  // What went through the old servers before, it takes as it is.
  if (auto lenient = next_release(*domain_, EarlierArguments::all_taken)) serial_.upgrade(std::move(*lenient));
  SeededRandom random(stream_seed(options_.seed, "release"));
  run_script(release_statements(actors_, random), "the release brings rows");
}

void System::upgrade_app(Device& device) {
  if (&device.domain() == next_release_.get()) return;
  history_.note(fmt::format("{}'s app is upgraded", device.name()));
  device.kill();
  device.upgrade(next_release_);
  device.start();
}

/// Malformed, or well-formed and with what belongs to another device: its client id, its cursor as it is, altered, or
/// one of the future.
std::string System::hostile_body(const std::string& path, Random& random) {
  static constexpr const char* kMalformed[] = {
      "",
      "{",
      "[]",
      "{\"cursor\":\"AAAA\"}",
      "{\"cursor\":5}",
      "{\"cursor\":\"\",\"limit\":-1}",
      "{\"mutations\":[{}]}",
      "{\"mutations\":[{\"name\":\"\",\"args\":{},\"clientMutationId\":\"\"}],\"results\":true}",
      ("{\"mutations\":[{\"name\":\"nizhal.skip\",\"args\":null,\"clientMutationId\":\"x\",\"clientID\":\"y\","
       "\"mutationID\":9007199254740993}],\"results\":true}"),
      "{\"cursor\":\"\",\"buckets\":[\"team:t1\",\"\\u0000\",\"o1/../o2\"]}",
      "\xff\xfe\x00\x01",
  };
  const auto way = random.below(3);
  Device& victim = *devices_[random.below(devices_.size())];
  std::optional<protocol::PullRequest> stolen;
  if (way > 0 && victim.is_open())
    if (auto pull = victim.store().next_pull(1)) stolen = std::move(*pull);
  if (!stolen) return kMalformed[random.below(std::size(kMalformed))];
  if (path == protocol::kPushPath) {
    protocol::PushMutation skip;
    skip.name = protocol::kSkip;
    skip.args = json::object{};
    skip.client_mutation_id = fmt::format("hostile-{:016x}", random.next());
    skip.client_id = victim.store().client_id();
    skip.mutation_id = MutationId{1 + random.below(60)};
    return protocol::encode_push_request({.mutations = {skip}, .results = true});
  }
  if (auto cursor = protocol::decode_cursor(stolen->cursor); cursor && way == 2) {
    cursor->position = Version{number(cursor->position) + 1 + random.below(1'000'000)};
    stolen->cursor = protocol::encode_cursor(*cursor);
  } else if (cursor && random.below(2) == 0) {
    char& changed = stolen->cursor[random.below(stolen->cursor.size())];
    changed = changed == 'A' ? 'B' : 'A';
  }
  return protocol::encode_pull_request(*stolen);
}

void System::send_hostile(Random& random) {
  if (!cluster_.is_up(0)) return;
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
  request.body = hostile_body(request.path, random);
  cluster_.handle(0, request, [this, way, actor, request](std::optional<protocol::HttpResponse> response) {
    if (!response) return;
    history_.note(fmt::format("a hostile client is answered {}", response->status));
    if (way != 3 && response->status != 401)
      history_.violated(Violation::Kind::safety, "no-leak",
                        fmt::format("a request without a valid token is answered {}", response->status));
    if (response->status >= 500 && !cluster_.is_storage_failing())
      history_.violated(Violation::Kind::safety, "hostile",
                        fmt::format("a hostile request is answered {}", response->status));
    (void)oracles_.answered(actor, request, std::move(*response));
  });
}

}  // namespace nizhal::sim
