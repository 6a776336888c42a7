// An oracle: the server's tables are what a server has to which nothing ever happened, given the same mutations one by
// one in the order in which they were committed, and the other programs' writes between them. It shows at once what was
// lost, done twice, done in another order than told, or done in part.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "protocol/push.hpp"
#include "sim/scope.hpp"

namespace nizhal::sim {

class SerialReplay {
 public:
  /// `folder` takes the second database. `set_time` moves the time that SQL has.
  SerialReplay(std::shared_ptr<const CompiledDomain> domain, std::string folder,
               std::function<void(Timestamp)> set_time);

  /// A server takes it in hand, whatever becomes of it. A device may send a mutation again with another stamp.
  void sent(Timestamp at, std::string_view push_body);
  /// As it was sent last; nothing when no server ever had it.
  const protocol::PushMutation* sending(const std::string& client_mutation_id) const;
  /// Another program's transaction, right after it committed.
  void wrote(Scopes& server, Timestamp at, const std::vector<std::string>& statements);
  /// From now on the two cannot be compared: the record of what was done is gone, or the server was put back.
  void give_up() { is_comparable_ = false; }
  /// The last release, as one that takes all that earlier ones sent.
  void upgrade(std::shared_ptr<const CompiledDomain> domain) { domain_ = std::move(domain); }
  bool is_comparable() const { return is_comparable_; }

  /// A sentence that says how they differ; nothing when they are equal.
  Result<std::string> difference(Scopes& server);

 private:
  const protocol::PushMutation* sent_at(const std::string& client_mutation_id, Timestamp at) const;
  struct Script {
    std::int64_t version = 0;  // of the database, after it
    Timestamp at;
    std::vector<std::string> statements;
  };
  std::shared_ptr<const CompiledDomain> domain_;
  std::string folder_;
  std::function<void(Timestamp)> set_time_;
  struct Sent {
    Timestamp at;
    protocol::PushMutation mutation;
  };
  std::map<std::string, std::vector<Sent>> mutations_;  // by client mutation id
  std::vector<Script> scripts_;
  bool is_comparable_ = true;
};

/// Runs the statements as another program's transaction.
Result<void> run_as_other_program(sqlite::Connection& connection, const std::vector<std::string>& statements);

/// The first row in which the two differ, as a sentence; empty when they are equal.
std::string difference(const RowTexts& expected, const RowTexts& found);

}  // namespace nizhal::sim
