// What an actor may have, read from the server's tables by SQL that is made from the rules alone: it shares nothing
// with the engine's buckets, grants and triggers, which it is held against.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nizhal/actor.hpp>

#include "domain/compiled_domain.hpp"
#include "protocol/pull.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::sim {

/// "table/key" → the row's columns as text.
using RowTexts = std::map<std::string, std::string>;

std::string row_name(const TableDef& table, std::string_view key_text);
/// CRDT columns as what a person reads of them, and their state vector: the bytes of a state are not fixed.
std::string row_text(const TableDef& table, const Row& row);

/// The buckets that a device wants of those that its actor may have: by key, and by rules that it wants all of.
struct ChosenBuckets {
  std::set<std::string> keys = {}, rules = {};
};
/// Nothing: it wants them all.
std::optional<ChosenBuckets> chosen_by(const protocol::PullRequest& request);

class Scopes {
 public:
  Scopes(std::shared_ptr<const CompiledDomain> domain, std::string path);
  /// As the file stands now.
  Result<RowTexts> of(const Actor& actor, const std::optional<ChosenBuckets>& chosen = std::nullopt);
  /// Whether the rules give it to the actor now.
  Result<bool> has_bucket(const Actor& actor, std::string_view key);
  /// All rows of all tables.
  Result<RowTexts> everything();
  /// Delivered or not, in the order of their keys; for a workload that is to know what there is.
  Result<std::vector<Row>> rows(const TableDef& table);
  Result<sqlite::Connection*> connection();
  /// The servers' release from now on.
  void upgrade(std::shared_ptr<const CompiledDomain> domain) { domain_ = std::move(domain); }
  /// The file is about to be replaced.
  void close() { connection_.reset(); }

 private:
  std::shared_ptr<const CompiledDomain> domain_;
  std::string path_;
  std::unique_ptr<sqlite::Connection> connection_;
};

}  // namespace nizhal::sim
