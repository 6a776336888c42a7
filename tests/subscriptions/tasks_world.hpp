// For the tests of subscriptions: tasks that a device may have for two reasons, because they are in a project of its
// user's or because they are its user's own; and a device whose pulls are made one by one against a real server core.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nizhal/domain.hpp>

#include "client/local_store.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "tests/support/require.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing::tasks {

struct Member {
  std::string id, user_id, project_id;
};
struct Task {
  std::string id, project_id, assignee, title;
};
inline const auto members = table<Member>("members")
                                .key("id", &Member::id)
                                .column("user_id", &Member::user_id)
                                .column("project_id", &Member::project_id);
inline const auto all_tasks = table<Task>("tasks")
                                  .key("id", &Task::id)
                                  .column("project_id", &Task::project_id)
                                  .column("assignee", &Task::assignee)
                                  .column("title", &Task::title);

struct SetTitle {
  std::string id, title;
};

inline Domain domain() {
  Domain d("tasks", {.version = "1.0.0"});
  d.add(members).add(all_tasks);
  d.mutator<Task>("addTask")
      .arg("id", &Task::id, new_id_of(all_tasks))
      .arg("project_id", &Task::project_id)
      .arg("assignee", &Task::assignee)
      .arg("title", &Task::title)
      .run([](MutatorContext& ctx, const Task& args) -> Outcome {
        ctx.insert(all_tasks, args);
        return done();
      });
  d.mutator<SetTitle>("setTitle")
      .arg("id", &SetTitle::id, references(all_tasks))
      .arg("title", &SetTitle::title)
      .run([](MutatorContext& ctx, const SetTitle& args) -> Outcome {
        if (!ctx.update(all_tasks, args.id, {set("title", args.title)})) return reject("not_found", "no such task");
        return done();
      });
  d.rule("mine").prefix("mine:").parameter("userId", actor::user_id).data(all_tasks, eq("assignee", "userId"));
  d.rule("project")
      .prefix("project:")
      .membership(members, where("user_id", actor::user_id), bucket("projectId", "project_id"))
      .data(members, eq("project_id", "projectId"))
      .data(all_tasks, eq("project_id", "projectId"));
  return d;
}

/// One bucket of a rule with one parameter.
inline RuleParameters project(const std::string& id) { return {{"projectId", id}}; }
inline RuleParameters mine(const std::string& user) { return {{"userId", user}}; }

class Device {
 public:
  explicit Device(World& world, Coverage coverage = Coverage::subscribed) : world_(world), coverage_(coverage) {
    open();
  }
  void open() {
    store_.reset();
    client::LocalStoreOptions options;
    options.path = world_.dir.file("device.db");
    options.domain = domain_;
    options.actor = actor_;
    options.coverage = coverage_;
    store_ = require(client::LocalStore::open(std::move(options), world_.clock, random_, Log{}), "opening a device");
  }
  void reopen_with(Coverage coverage) {
    coverage_ = coverage;
    open();
  }
  client::LocalStore& store() { return *store_; }
  const Actor& actor() const { return actor_; }

  void subscribe(std::string_view rule, const RuleParameters& parameters = {}) {
    const auto done = store_->subscribe(rule, parameters);
    EXPECT_TRUE(done) << done.error().message;
  }
  void unsubscribe(std::string_view rule, const RuleParameters& parameters = {},
                   std::chrono::seconds keep = std::chrono::seconds(0)) {
    const auto done = store_->unsubscribe(rule, parameters, keep);
    EXPECT_TRUE(done) << done.error().message;
  }
  /// "project projectId=p1 held until …"
  std::vector<std::string> subscriptions() {
    std::vector<std::string> texts;
    for (const BucketSubscription& subscription : require(store_->subscriptions(), "subscriptions")) {
      std::string text = subscription.rule;
      for (const auto& [name, value] : subscription.parameters) text += fmt::format(" {}={}", name, value);
      if (subscription.is_held) text += " held";
      if (subscription.until) text += " until " + to_iso8601(*subscription.until);
      texts.push_back(std::move(text));
    }
    return texts;
  }

  struct Pulled {
    protocol::PullRequest request;
    bool is_complete = false;
  };
  enum class Reply { arrives, is_lost };
  /// One page.
  Pulled pull_page(std::size_t limit = 100, Reply reply = Reply::arrives) {
    Pulled pulled{require(store_->next_pull(limit), "the next pull"), false};
    const auto response = world_.post(protocol::kPullPath, actor_, protocol::encode_pull_request(pulled.request));
    if (response.status != 200) throw std::runtime_error("a pull was answered " + response.body);
    if (reply == Reply::is_lost) return pulled;
    const auto page = require(protocol::decode_page(domain_->domain(), response.body), "decoding a page");
    pulled.is_complete = require(store_->apply_page(pulled.request, page), "applying a page").complete;
    return pulled;
  }
  protocol::PullRequest pull(std::size_t limit = 100) {
    for (int pages = 0; pages < 1'000; ++pages)
      if (const Pulled pulled = pull_page(limit); pulled.is_complete) return pulled.request;
    throw std::runtime_error("the pull does not end");
  }
  void push() {
    for (;;) {
      const auto request = require(store_->next_push(100, 1 << 20), "the next push");
      if (request.mutations.empty()) return;
      const auto response = world_.post(protocol::kPushPath, actor_, protocol::encode_push_request(request));
      const auto reply = require(protocol::decode_push_reply(response.body), "decoding a reply");
      require(store_->settle_push(request, reply), "settling a push");
    }
  }
  std::string mutate(std::string_view name, std::vector<Value> values) {
    const auto ticket = store_->mutate(name, values, {});
    return ticket ? "" : ticket.error().message;
  }

  /// "tasks t1 p1/u1/title", "members m1 u1/p1"
  std::set<std::string> rows() {
    std::set<std::string> rows;
    for (const auto& table : domain_->tables()) {
      QuerySpec all;
      all.table = table.get();
      for (const Row& row : require(store_->query(all), "reading")) {
        std::string text = table->name;
        for (std::size_t i = 0; i < row.size(); ++i)
          text += (i == 0 ? " " : i == 1 ? " " : "/") + std::get<std::string>(row[i]);
        rows.insert(std::move(text));
      }
    }
    return rows;
  }

 private:
  World& world_;
  Coverage coverage_;
  Actor actor_{"u1", "o1", ""};
  SeededRandom random_{1};
  std::shared_ptr<const CompiledDomain> domain_ = compiled(domain());
  std::unique_ptr<client::LocalStore> store_;
};

/// The in-scope SELECT of the buckets that a pull named, on the server's database, in the form of Device::rows().
inline std::set<std::string> in_scope(World& world, const Actor& actor, const protocol::PullRequest& asked) {
  const auto names = [&](const std::string& key, const std::string& rule) {
    const auto has = [](const auto& list, const std::string& text) {
      return list && std::find(list->begin(), list->end(), text) != list->end();
    };
    return (!asked.buckets && !asked.sync_rules) || has(asked.buckets, key) || has(asked.sync_rules, rule);
  };
  std::string projects = "''";
  for (const std::string& id :
       world.server_rows(fmt::format("SELECT DISTINCT project_id FROM members WHERE user_id = '{}'", actor.user_id)))
    if (names("project:" + id, "project")) projects += fmt::format(", '{}'", id);
  const std::string own = names("mine:" + actor.user_id, "mine") ? actor.user_id : "";
  std::set<std::string> rows;
  for (const std::string& row : world.server_rows(
           fmt::format("SELECT 'members ' || id || ' ' || user_id || '/' || project_id FROM members "
                       "WHERE project_id IN ({}) UNION ALL "
                       "SELECT 'tasks ' || id || ' ' || project_id || '/' || assignee || '/' || title FROM tasks "
                       "WHERE project_id IN ({}) OR assignee = '{}'",
                       projects, projects, own)))
    rows.insert(row);
  return rows;
}

}  // namespace nizhal::testing::tasks
