// What must hold in every run, whatever fails: the oracles of docs/spec.md, told of everything that is sent and done.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "protocol/transport.hpp"
#include "sim/device.hpp"
#include "sim/history.hpp"
#include "sim/scope.hpp"

namespace nizhal::sim {

/// What a server answered, with what the tables said at that moment.
struct Answer {
  protocol::HttpResponse response;
  std::shared_ptr<const RowTexts> scope = {};  // of a pull's last page: what the device's base is to be
  std::string cursor = {};                     // of that page
};

class Oracles {
 public:
  Oracles(std::shared_ptr<const CompiledDomain> domain, Scopes& scopes, History& history);

  // Told as it happens
  void sent(const Actor& actor, std::string_view bytes);
  /// Right when the server answered, before anything else happens.
  Answer answered(const Actor& actor, const protocol::HttpRequest& request, protocol::HttpResponse response);
  void frame_sent(const Actor& actor, std::string_view frame);
  void logged(std::string_view line);
  /// The device has dealt with an answer.
  void dealt_with(Device& device, const Answer& answer);
  /// Its user retried or discarded it, or tried to.
  void letter_tended(Device& device, const DeadLetter& letter);
  /// A mutation that the device's app made, or was refused.
  void mutated(Device& device, std::string_view mutator, const Result<Ticket>& ticket);
  /// An older state of the server came back: what it forgot is not lost by us.
  void server_restored();
  /// The servers keep no records of what was handled so far: the copies of a device's file, which have each taken a
  /// client id of their own, may have it done once more.
  void records_pruned();
  void device_copied() { has_copies_ = true; }
  /// The servers' release from now on.
  void upgrade(std::shared_ptr<const CompiledDomain> domain) { domain_ = std::move(domain); }
  /// A device's file was lost or exchanged for an older one: what was not sent yet went with it.
  void device_replaced(const Device& device);

  // Asked at the end, when all is quiet
  void check_calm(Device& device);
  void check_server();
  /// Pushes of which everything is settled, as they were sent: sent once more, they change nothing.
  struct Settled {
    Actor actor;
    protocol::HttpRequest request;
  };
  const std::vector<Settled>& settled() const { return settled_; }
  /// The answer to one of them that was sent once more.
  void answered_again(const Settled& settled, const protocol::HttpResponse& response);

  std::uint64_t applied() const { return applied_count_; }
  std::uint64_t refused() const { return refused_; }
  const std::map<std::string, std::uint64_t>& applied_by_mutator() const { return applied_by_mutator_; }

  /// The server's file cannot be read at the moment, and that is no finding.
  std::function<bool()> is_disk_failing = {};
  /// Once for each mutation, when a server first tells what became of it.
  std::function<void(const std::string& client_mutation_id, bool is_applied)> on_settled = {};

 private:
  using Tokens = std::set<std::string, std::less<>>;
  std::shared_ptr<const RowTexts> scope_of(const Actor& actor, const std::optional<ChosenBuckets>& chosen = {});
  void check_leak(const Actor& actor, std::string_view bytes, std::string_view where);
  void check_on_record(const protocol::PushResult& result);
  void take_push(const Actor& actor, const protocol::HttpRequest& request, const protocol::HttpResponse& response);

  std::shared_ptr<const CompiledDomain> domain_;
  Scopes& scopes_;
  History& history_;
  std::map<std::string, Tokens> known_;  // by principal: of what it wrote, and of what was in its scope
  struct Made {
    std::string mutator;
    std::size_t device = 0;
  };
  std::map<std::string, Made> made_;            // by client mutation id: accepted on a device, fate unknown yet
  std::map<std::string, std::string> applied_;  // client mutation id → mutator
  std::map<std::string, std::uint64_t> applied_by_mutator_;
  std::set<std::string> refused_ids_;
  std::set<std::string> without_record_;
  bool has_copies_ = false;
  std::vector<Settled> settled_;
  std::uint64_t applied_count_ = 0, refused_ = 0;
};

}  // namespace nizhal::sim
