// For the client's tests of merging: a table with a field merge, a text and a map, a device that has it, and a small
// server model that merges as a server does and tells updates, or whole states, in pages.
#pragma once

#include <gtest/gtest.h>

#include <charconv>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "client/client_test_support.hpp"
#include "crdt/column.hpp"

namespace nizhal::client::testing {

namespace papers {

struct Paper {
  std::string id, owner_id, title, state;
  CrdtText body = {};
  CrdtMap meta = {};
};
inline const auto kPapers = table<Paper>("papers")
                                .key("id", &Paper::id)
                                .column("owner_id", &Paper::owner_id)
                                .column("title", &Paper::title)
                                .column("state", &Paper::state)
                                .column("body", &Paper::body)
                                .column("meta", &Paper::meta)
                                .merge(Merge::Field);
struct Add {
  std::string id, title;
  Blob body;
};
struct Title {
  std::string id, title;
};
struct Edit {
  std::string id;
  Blob update;
};
struct Id {
  std::string id;
};

inline Domain domain() {
  Domain d("papers", {.version = "1.0.0"});
  d.add(kPapers);
  const auto put = [](MutatorContext& ctx, const Add& args) {
    return Paper{args.id, ctx.actor().owner_id, args.title, "new", CrdtText{args.body.bytes}, {}};
  };
  d.mutator<Add>("add")
      .arg("id", &Add::id, new_id_of(kPapers))
      .arg("title", &Add::title)
      .arg("body", &Add::body)
      .run([put](MutatorContext& ctx, const Add& args) -> Outcome {
        ctx.insert(kPapers, put(ctx, args));
        return done();
      });
  d.mutator<Add>("put")
      .arg("id", &Add::id, references(kPapers))
      .arg("title", &Add::title)
      .arg("body", &Add::body)
      .run([put](MutatorContext& ctx, const Add& args) -> Outcome {
        ctx.upsert(kPapers, put(ctx, args));
        return done();
      });
  // Reads the whole object and writes it back, as an app does that knows nothing of columns.
  d.mutator<Title>("retitle")
      .arg("id", &Title::id, references(kPapers))
      .arg("title", &Title::title)
      .run([](MutatorContext& ctx, const Title& args) -> Outcome {
        auto paper = ctx.get(kPapers, args.id);
        if (!paper) return reject("not_found", "no such paper");
        paper->title = args.title;
        return ctx.update(kPapers, *paper) ? done() : reject("not_found", "no such paper");
      });
  d.mutator<Edit>("edit")
      .arg("id", &Edit::id, references(kPapers))
      .arg("update", &Edit::update)
      .run([](MutatorContext& ctx, const Edit& args) -> Outcome {
        if (!ctx.update(kPapers, args.id, {set("body", args.update)})) return reject("not_found", "no such paper");
        return done();
      });
  d.mutator<Id>("remove").arg("id", &Id::id, references(kPapers)).run([](MutatorContext& ctx, const Id& args) {
    return ctx.remove(kPapers, args.id) ? done() : reject("not_found", "no such paper");
  });
  d.rule("mine").parameter("ownerId", actor::owner_id).data(kPapers, eq("owner_id", "ownerId"));
  return d;
}

inline std::shared_ptr<const CompiledDomain> compiled() {
  static const auto kDomain = compile(domain());
  return kDomain;
}

inline std::string text_of(const crdt::Bytes& state) {
  auto text = to_string(CrdtText{state}, "body");
  EXPECT_TRUE(text) << (text ? "" : text.error().message);
  return text.value_or("");
}
inline crdt::Bytes merged(const crdt::Bytes& state, const crdt::Bytes& update) {
  auto column = crdt::merge_column(ColumnType::crdt_text, "body", state, update);
  EXPECT_TRUE(column) << (column ? "" : column.error().message);
  return column ? column->state : state;
}
/// What an editor makes of typing `text` at the place that `at` draws.
inline Blob typed(const crdt::Bytes& state, std::uint64_t client, std::string_view text, std::uint64_t at = 0) {
  auto editor = open_crdt("body", CrdtText{state}, client);
  EXPECT_TRUE(editor) << (editor ? "" : editor.error().message);
  auto body = editor->text();
  const auto inserted = body.insert(at % (body.length() + 1), text);
  EXPECT_TRUE(inserted) << (inserted ? "" : inserted.error().message);
  return editor->take_update();
}

struct Stored {
  std::string title;
  crdt::Bytes body = crdt::kEmptyUpdate;
  std::uint64_t version = 0, made = 0;
  std::vector<std::pair<std::uint64_t, crdt::Bytes>> recent;
};

/// Mutations come in their order; a reply may be lost. The cursor is the version that the device has seen.
class Server {
 public:
  std::map<std::string, Stored> rows;
  std::map<std::string, std::vector<protocol::PushConflict>> conflicts;  // by client mutation id
  std::optional<std::string> hlc;
  std::uint64_t version = 0;
  bool tells_updates = true;

  protocol::PushReply push(const protocol::PushRequest& request) {
    protocol::PushReply reply;
    for (const protocol::PushMutation& mutation : request.mutations) {
      Client& client = clients_[*mutation.client_id];
      protocol::PushResult result;
      result.client_mutation_id = mutation.client_mutation_id;
      const std::uint64_t id = number(*mutation.mutation_id);
      if (id > client.last) {
        EXPECT_EQ(id, client.last + 1);
        client.last = id;
        client.last_client_mutation_id = mutation.client_mutation_id;
        codes_[mutation.client_mutation_id] = run(mutation);
        result.status = protocol::PushStatus::applied;
      } else {
        result.status = protocol::PushStatus::duplicate;
      }
      result.code = codes_[mutation.client_mutation_id];
      if (!result.code.empty()) result.status = protocol::PushStatus::rejected;
      result.conflicts = conflicts[mutation.client_mutation_id];
      reply.results.push_back(std::move(result));
      reply.last_mutation_id = MutationId{client.last};
    }
    return reply;
  }

  /// A whole pull in one page.
  protocol::PullPage pull(const protocol::PullRequest& request) {
    std::uint64_t after = 0;
    std::from_chars(request.cursor.data(), request.cursor.data() + request.cursor.size(), after);
    protocol::PullPage page;
    protocol::ChangedTable changed{.table = "papers", .rows = {}};
    for (const auto& [id, row] : rows) {
      if (row.version <= after) continue;
      const bool as_update = request.updates && tells_updates && after > 0 && row.made <= after;
      crdt::Bytes body = row.body;
      if (as_update) {
        std::vector<crdt::Bytes> missing;
        for (const auto& [at, update] : row.recent)
          if (at > after) missing.push_back(update);
        body = missing.empty() ? crdt::kEmptyUpdate : crdt::merge_updates(missing).value_or(row.body);
      }
      changed.rows.push_back(
          {Value(id), Value("o1"), Value(row.title), Value("new"), Value(Blob{body}), Value(Blob{crdt::kEmptyUpdate})});
      changed.updates.push_back(as_update ? std::vector<std::size_t>{4} : std::vector<std::size_t>{});
    }
    page.changed.push_back(std::move(changed));
    if (after > 0) {
      for (const auto& [id, at] : removed_)
        if (at > after && !rows.contains(id)) page.tombstoned.push_back({"papers", Value(id), std::nullopt});
    }
    page.cursor = std::to_string(version + 1);
    ++version;
    page.buckets = std::vector<std::string>{"o1"};
    page.epoch = "e1";
    const Client& client = clients_[*request.device_id];
    page.last_mutation_id = MutationId{client.last};
    if (client.last > 0) page.last_client_mutation_id = client.last_client_mutation_id;
    page.hlc = hlc;
    return page;
  }

  void edit(const std::string& id, const crdt::Bytes& update) {
    Stored& row = rows.at(id);
    auto column = crdt::merge_column(ColumnType::crdt_text, "body", row.body, update);
    ASSERT_TRUE(column) << column.error().message;
    row.body = column->state;
    row.version = ++version;
    row.recent.emplace_back(version, column->update);
  }
  void put(const std::string& id, const std::string& title, const crdt::Bytes& body) {
    ++version;
    rows[id] = {title, body, version, version, {}};
  }

 private:
  struct Client {
    std::uint64_t last = 0;
    std::string last_client_mutation_id;
  };
  static crdt::Bytes bytes_arg(const json::value& args, std::string_view name) {
    return from_base64(string_member(args, name).value_or("")).value_or(crdt::Bytes{});
  }
  std::string run(const protocol::PushMutation& mutation) {
    const std::string id(string_member(mutation.args, "id").value_or(""));
    const std::string title(string_member(mutation.args, "title").value_or(""));
    const bool exists = rows.contains(id);
    ++version;
    if (mutation.name == "add") {
      if (exists) return "already_exists";
      put(id, title, merged({}, bytes_arg(mutation.args, "body")));
      return "";
    }
    if (!exists) return "not_found";
    if (mutation.name == "edit") {
      edit(id, bytes_arg(mutation.args, "update"));
    } else if (mutation.name == "retitle") {
      rows[id].title = title;
      rows[id].version = version;
    } else {
      rows.erase(id);
      removed_[id] = version;
    }
    return "";
  }
  std::map<std::string, Client> clients_;
  std::map<std::string, std::string> codes_;
  std::map<std::string, std::uint64_t> removed_;
};

/// One installation, driven by hand.
class Writer {
 public:
  Writer(std::string path, ManualClock& clock, std::uint64_t seed = 1)
      : device(std::move(path), clock, seed, compiled()) {}

  Result<Ticket> add(const std::string& id, const std::string& title, Blob body = Blob{crdt::kEmptyUpdate}) {
    return device.store().mutate("add", {Value(id), Value(title), Value(std::move(body))}, {});
  }
  Result<Ticket> put(const std::string& id, const std::string& title, Blob body) {
    return device.store().mutate("put", {Value(id), Value(title), Value(std::move(body))}, {});
  }
  Result<Ticket> retitle(const std::string& id, const std::string& title) {
    return device.store().mutate("retitle", {Value(id), Value(title)}, {});
  }
  Result<Ticket> edit(const std::string& id, Blob update) {
    return device.store().mutate("edit", {Value(id), Value(std::move(update))}, {});
  }
  Result<Ticket> remove(const std::string& id) { return device.store().mutate("remove", {Value(id)}, {}); }

  std::map<std::string, crdt::Bytes> bodies() {
    std::map<std::string, crdt::Bytes> all;
    auto rows = device.store().query(from(kPapers).spec());
    EXPECT_TRUE(rows) << (rows ? "" : rows.error().message);
    if (rows)
      for (const Row& row : *rows) all[std::get<std::string>(row[0])] = std::get<Blob>(row[4]).bytes;
    return all;
  }
  std::string text(const std::string& id) { return text_of(bodies()[id]); }

  enum class Reply { arrives, is_lost };
  bool push(Server& server, Reply reply = Reply::arrives) {
    auto request = device.store().next_push(100, 1 << 20);
    EXPECT_TRUE(request) << (request ? "" : request.error().message);
    if (!request || request->mutations.empty()) return false;
    const protocol::PushReply answer = server.push(*request);
    if (reply == Reply::is_lost) return true;
    const auto settled = device.store().settle_push(*request, answer);
    EXPECT_TRUE(settled) << (settled ? "" : settled.error().message);
    return true;
  }
  Result<LocalStore::PullApplied> pull_page(Server& server) {
    auto request = device.store().next_pull(1000);
    if (!request) return tl::unexpected(request.error());
    return device.store().apply_page(*request, server.pull(*request));
  }
  /// True when it needed no fresh start.
  bool pull(Server& server) {
    for (int pages = 0; pages < 3; ++pages) {
      const auto applied = pull_page(server);
      EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
      if (applied && applied->complete) return pages == 0;
    }
    ADD_FAILURE() << "the pull does not end";
    return false;
  }

  Device device;
};

}  // namespace papers
}  // namespace nizhal::client::testing
