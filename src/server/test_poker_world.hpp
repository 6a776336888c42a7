// For tests only: the poker on a model of a database, so that every moment of a commit can be held, and somebody who
// listens to what it tells.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "server/poker.hpp"
#include "server/test_domain.hpp"
#include "storage/forwarding.hpp"
#include "tests/backends/backend.hpp"

namespace nizhal::server::testing {

using Keys = std::set<std::string>;

/// A database as the poker sees it: versions that are taken and then committed, or never; and who has which buckets.
class ModelStorage : public storage::Storage {
 public:
  Version begin() {
    open_.insert(++last_);
    return Version{last_};
  }
  void commit(Version version, const Keys& keys, bool is_foreign) {
    open_.erase(number(version));
    commits_[number(version)] = keys;
    if (is_foreign) ++foreign_;
  }
  /// ChangeMark::grants as a commit would bring it back now.
  std::uint64_t grants_mark() const { return grants_; }
  const Keys& granted(const std::string& user) { return granted_[user]; }
  void roll_back(Version version) { open_.erase(number(version)); }
  /// A membership of the test domain's "members": definition 1.
  void grant(const std::string& user, const Keys& keys) {
    granted_[user] = keys;
    grant_changes_[last_ + 1] = user;
    ++grants_;
    commit(begin(), {}, true);
  }
  void restore(Keys everything) {
    last_ = 1;
    commits_ = {{1, std::move(everything)}};
    open_.clear();
    epoch_ += "'";
    ++foreign_;
  }

  bool can_tell = true;
  int failures = 0;  // of the reads to come
  std::size_t questions = 0, marks = 0;
  std::vector<std::string> read_actors;

  Result<storage::Position> position() override { return here(); }
  Result<storage::ChangeMark> change_mark() override {
    ++marks;
    storage::ChangeMark mark;
    mark.last = Version{last_};
    mark.settled = here().horizon;
    mark.foreign = foreign_;
    mark.grants = grants_;
    return mark;
  }
  Result<std::optional<storage::RecentChanges>> changes_since(const storage::Position&,
                                                              const storage::ChangesQuery& query) override {
    ++questions;
    if (failures > 0) {
      --failures;
      return failure(ErrorCode::busy, "not now");
    }
    if (!can_tell) return std::optional<storage::RecentChanges>();
    storage::RecentChanges changes;
    changes.position = here();
    for (auto it = commits_.upper_bound(number(query.after)); it != commits_.end(); ++it)
      for (const std::string& key : it->second) {
        auto& removal = changes.removals.emplace_back();
        removal.removal.version = Version{it->first};
        removal.bucket = key;
      }
    for (auto it = grant_changes_.upper_bound(number(query.after)); it != grant_changes_.end(); ++it)
      changes.grant_changes.push_back({.definition = membership, .subject = it->second});
    return std::optional(std::move(changes));
  }
  Result<std::unique_ptr<storage::Snapshot>> open_snapshot(const std::optional<storage::Position>&) override {
    return std::make_unique<ModelSnapshot>(*this);
  }

  Result<storage::ProvisionReport> provision() override { return storage::ProvisionReport{}; }
  Result<std::unique_ptr<storage::WriteTransaction>> begin_write(Timestamp, const storage::WriteOptions&) override {
    return failure(ErrorCode::internal, "not in this model");
  }
  Result<storage::GcReport> gc(Timestamp) override { return storage::GcReport{}; }
  Result<std::string> rotate_epoch() override { return epoch_; }
  Result<void> run_script(std::string_view) override { return {}; }
  void interrupt() override {}
  std::string describe() const override { return "a model"; }

  std::size_t membership = 0;  // the definition that grants

 private:
  class ModelSnapshot : public storage::ForwardingSnapshot {
   public:
    explicit ModelSnapshot(ModelStorage& storage) : ForwardingSnapshot(nullptr), storage_(storage) {}
    Result<std::vector<storage::Grant>> grants(const Actor& actor) override {
      storage_.read_actors.push_back(actor.user_id);
      std::vector<storage::Grant> grants;
      for (const std::string& key : storage_.granted_[actor.user_id]) grants.emplace_back().bucket.key = key;
      return grants;
    }

   private:
    ModelStorage& storage_;
  };

  storage::Position here() const {
    storage::Position position;
    position.epoch = epoch_;
    position.last = Version{last_};
    position.horizon = Version{open_.empty() ? last_ : *open_.begin() - 1};
    return position;
  }

  std::uint64_t last_ = 1, foreign_ = 0, grants_ = 0;
  std::string epoch_ = "e";
  std::set<std::uint64_t> open_;
  std::map<std::uint64_t, Keys> commits_;
  std::map<std::uint64_t, std::string> grant_changes_;
  std::map<std::string, Keys> granted_;
};

class CountingPeer : public StreamPeer {
 public:
  void send(std::string frame) override {
    const std::string key = frame.substr(std::string("repull:").size());
    ++frames[key];
    if (on_poke) on_poke(key);
  }
  void close(int, std::string_view) override {}
  /// What came since the last call.
  std::map<std::string, int> take() { return std::exchange(frames, {}); }
  std::map<std::string, int> frames;
  std::function<void(const std::string& key)> on_poke;
};

/// What an instance tells the others.
class RecordingRealtime : public realtime::Realtime {
 public:
  void start(std::weak_ptr<realtime::Listener>) override {}
  void tell(realtime::Message message) override {
    for (const auto& commit : message.commits) told.push_back(commit);
    ++messages;
  }
  void stop() override {}
  bool reaches_others() const override { return true; }
  std::string describe() const override { return "recording"; }
  std::vector<realtime::CommitNotice> told;
  std::size_t messages = 0;
};

class PokeNews : public ::testing::Test {
 protected:
  PokeNews() {
    for (std::size_t d = 0; d < domain->definitions().size(); ++d)
      if (domain->grant_subject(d, Actor{"u1", "o1", ""}) == "u1") storage.membership = d;
    storage.grant("u1", {"a", "b"});
    storage.grant("u2", {"a"});
    start();
  }
  void start() {
    poker = std::make_unique<Poker>(
        PokerOutside{domain, storage, clock, std::make_shared<StorageNews>(storage, 1'000), &bus, {}}, Limits{});
  }
  std::shared_ptr<CountingPeer> open(const std::string& user) {
    auto peer = std::make_shared<CountingPeer>();
    const auto subscription = poker->subscribe(Actor{user, "o", ""}, Timestamp{1'000'000'000}, std::nullopt);
    EXPECT_TRUE(subscription);
    poker->open(*subscription, peer);
    return peer;
  }
  void own_commit(const Keys& keys) {
    const Version version = storage.begin();
    storage.commit(version, keys, false);
    (void)poker->committed({version, keys});
  }
  /// One that brings back where the grants stand; what remains to be done is done at once.
  void commit_with_mark(const Keys& keys) {
    const Version version = storage.begin();
    storage.commit(version, keys, false);
    if (poker->committed({version, keys}, storage.grants_mark())) poker->run();
  }
  Version foreign_commit(const Keys& keys) {
    const Version version = storage.begin();
    storage.commit(version, keys, true);
    return version;
  }
  void hear(Version version, const Keys& keys) {
    if (poker->heard({{version, keys}})) poker->run();
  }

  const std::shared_ptr<const CompiledDomain> domain = nizhal::testing::compiled(test_domain());
  ManualClock clock{Timestamp{0}};
  ModelStorage storage;
  RecordingRealtime bus;
  std::unique_ptr<Poker> poker;
};

using Counts = std::map<std::string, int>;

}  // namespace nizhal::server::testing
