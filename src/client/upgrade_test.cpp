// App upgrades (S10): what is pending survives them, whatever they change, and so does what only this file knows.
#include <sqlite3.h>

#include <functional>
#include <thread>

#include "client/client_test_support.hpp"
#include "client/store_schema.hpp"
#include "client/upcasts.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::World;

struct Item {
  std::string id, owner_id, size;
};
struct ItemWithNumber {
  std::string id, owner_id;
  std::int64_t size = 0;
};
struct Tag {
  std::string id, owner_id;
};
struct AddItem {
  std::string id, size;
};
struct AddItemWithNumber {
  std::string id;
  std::int64_t size = 0;
};

const auto kTags = table<Tag>("tags").key("id", &Tag::id).column("owner_id", &Tag::owner_id);

void add_rest(Domain& d) {
  d.mutator<Tag>("addTag").arg("id", &Tag::id).run([](MutatorContext& ctx, const Tag& args) -> Outcome {
    ctx.insert(kTags, {.id = args.id, .owner_id = "o1"});
    return done();
  });
  d.rule("tags").prefix("t:").parameter("ownerId", actor::owner_id).data(kTags, eq("owner_id", "ownerId"));
}

/// The size of an item is a text.
Domain version_1() {
  const auto items =
      table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id).column("size", &Item::size);
  Domain d("shop", {.version = "1.0"});
  d.add(items).add(kTags);
  d.mutator<AddItem>("addItem")
      .arg("id", &AddItem::id)
      .arg("size", &AddItem::size)
      .inverse([](MutatorContext&, const AddItem& args) {
        return call("addItem", AddItem{args.id + "'", args.size});
      })
      .run([items](MutatorContext& ctx, const AddItem& args) -> Outcome {
        ctx.insert(items, {.id = args.id, .owner_id = "o1", .size = args.size});
        return done();
      });
  d.rule("items").parameter("ownerId", actor::owner_id).data(items, eq("owner_id", "ownerId"));
  add_rest(d);
  return d;
}

/// It is a number: of the table's column, or only of the arguments.
enum class Column { text, number };
Domain version_2(Column column) {
  Domain d("shop", {.version = "2.0"});
  const auto declare = [&](const auto& items, auto make) {
    d.add(items).add(kTags);
    d.mutator<AddItemWithNumber>("addItem")
        .version(2)
        .upcast(1, arguments<AddItem>().arg("id", &AddItem::id).arg("size", &AddItem::size),
                [](const AddItem& old) -> std::optional<AddItemWithNumber> {
                  if (old.size == "huge") return std::nullopt;
                  return AddItemWithNumber{.id = old.id, .size = static_cast<std::int64_t>(old.size.size())};
                })
        .arg("id", &AddItemWithNumber::id)
        .arg("size", &AddItemWithNumber::size)
        .run([items, make](MutatorContext& ctx, const AddItemWithNumber& args) -> Outcome {
          ctx.insert(items, make(args));
          return done();
        });
    d.rule("items").parameter("ownerId", actor::owner_id).data(items, eq("owner_id", "ownerId"));
  };
  if (column == Column::text) {
    declare(table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id).column("size", &Item::size),
            [](const AddItemWithNumber& args) {
              return Item{.id = args.id, .owner_id = "o1", .size = "number " + std::to_string(args.size)};
            });
  } else {
    declare(table<ItemWithNumber>("items")
                .key("id", &ItemWithNumber::id)
                .column("owner_id", &ItemWithNumber::owner_id)
                .column("size", &ItemWithNumber::size),
            [](const AddItemWithNumber& args) {
              return ItemWithNumber{.id = args.id, .owner_id = "o1", .size = args.size};
            });
  }
  add_rest(d);
  return d;
}

struct AppUpgrade : World {
  AppUpgrade() {
    device.close();
    device.options().path = folder.file("shop.db");
    device.options().server = "";
    device.options().domain = testing::compile(version_1());
    device.open();
  }
  void upgrade(Domain domain) {
    device.close();
    device.options().domain = testing::compile(std::move(domain));
    device.open();
  }
  std::string add_item(const std::string& id, const std::string& size, MutateOptions options = {}) {
    return added(device.mutate("addItem", {id, size}, std::move(options)));
  }
  std::string add_tag(const std::string& id) { return added(device.mutate("addTag", {id})); }
  std::string items() {
    return device.sql_text("SELECT group_concat(id || '=' || size) FROM (SELECT * FROM items ORDER BY id)");
  }
  std::string tags() { return device.sql_text("SELECT group_concat(id) FROM (SELECT * FROM tags ORDER BY id)"); }
  /// A page of these rows; the last of its pull.
  void pull(const std::vector<std::pair<std::string, Row>>& rows, const std::string& cursor,
            std::uint64_t last_id = 0) {
    const auto request = device.store().next_pull(100);
    ASSERT_TRUE(request) << request.error().message;
    protocol::PullPage page;
    for (const auto& [name, row] : rows) page.changed.push_back({name, {row}});
    page.cursor = cursor;
    page.epoch = "e";
    page.buckets = {"o1", "t:o1"};
    page.last_mutation_id = MutationId{last_id};
    const auto applied = device.store().apply_page(*request, page);
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_TRUE(applied->complete);
  }
  static Row item(const std::string& id, Value size) { return {id, std::string("o1"), std::move(size)}; }
  static Row tag(const std::string& id) { return {id, std::string("o1")}; }

 private:
  static std::string added(const Result<Ticket>& ticket) {
    EXPECT_TRUE(ticket) << (ticket ? "" : ticket.error().message);
    return ticket ? ticket->client_mutation_id : "";
  }
};

TEST_F(AppUpgrade, PendingMutationsAreUpcastAtOpenAndRunAgain) {
  const std::string id = add_item("i1", "four");
  add_tag("t1");
  upgrade(version_2(Column::text));
  EXPECT_EQ(items(), "i1=number 4");
  EXPECT_EQ(tags(), "t1");
  ASSERT_EQ(device.outbox().size(), 2u);
  EXPECT_EQ(device.outbox()[0].args, R"({"id":"i1","size":"4"})");
  device.reopen();
  const auto request = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(request->mutations.size(), 2u);
  EXPECT_EQ(request->mutations[0].client_mutation_id, id);
  EXPECT_EQ(request->mutations[0].args_version, 2);
  EXPECT_EQ(request->mutations[1].args_version, 1);
}

TEST_F(AppUpgrade, WhatCannotBeUpcastIsADeadLetterWithItsArgumentsAndTheRestGoesOn) {
  const std::string first = add_item("i1", "huge");
  const std::string second = add_item("i2", "one", {.depends_on = {first}});
  add_item("i3", "three");
  upgrade(version_2(Column::text));
  EXPECT_EQ(items(), "i3=number 5");
  ASSERT_EQ(device.dead_letters().size(), 2u);
  const DeadLetter letter = device.dead_letters()[0];
  EXPECT_EQ(letter.code, "cannot_upcast");
  EXPECT_EQ(letter.args, R"({"id":"i1","size":"huge"})");
  EXPECT_NE(letter.message.find("cannot be brought to version 2"), std::string::npos) << letter.message;
  EXPECT_EQ(device.dead_letters()[1].chain, (std::vector<std::string>{first, second}));
  const auto as_it_is = device.store().retry(letter.id, std::nullopt);
  ASSERT_FALSE(as_it_is);
  EXPECT_EQ(as_it_is.error().code, ErrorCode::refused);
  EXPECT_EQ(as_it_is.error().message.rfind("cannot_upcast: ", 0), 0u) << as_it_is.error().message;
  ASSERT_TRUE(device.store().retry(letter.id, R"({"id":"i1","size":9})"));
  ASSERT_TRUE(device.store().retry(device.dead_letters()[0].id, std::nullopt)) << "its arguments are upcast now";
  EXPECT_EQ(items(), "i1=number 9,i2=number 3,i3=number 5");
  EXPECT_EQ(device.store().next_push(100, 1 << 20)->mutations.size(), 3u);
}

TEST_F(AppUpgrade, WhatWasSentAndCannotBeUpcastLeavesASkip) {
  const std::string first = add_item("i1", "huge");
  ASSERT_TRUE(device.store().next_push(100, 1 << 20));
  upgrade(version_2(Column::text));
  ASSERT_EQ(device.dead_letters().size(), 1u);
  EXPECT_EQ(items(), "");
  const auto request = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(request->mutations.size(), 1u);
  EXPECT_EQ(request->mutations[0].name, protocol::kSkip);
  EXPECT_EQ(request->mutations[0].client_mutation_id, first);
}

TEST_F(AppUpgrade, AnOlderAppKeepsAndSendsWhatANewerOneLeft) {
  upgrade(version_2(Column::text));
  ASSERT_TRUE(device.store().mutate("addItem", {std::string("i1"), std::int64_t{7}}, {}));
  upgrade(version_1());
  EXPECT_EQ(items(), "i1=number 7") << "its effects were there already";
  add_item("i2", "two");
  pull({{"items", item("i0", std::string("zero"))}}, "c1");
  EXPECT_EQ(items(), "i0=zero,i2=two") << "run again, it has none here";
  const auto request = device.store().next_push(100, 1 << 20);
  ASSERT_EQ(request->mutations.size(), 2u);
  EXPECT_EQ(request->mutations[0].args_version, 2);
  EXPECT_EQ(to_text(request->mutations[0].args), R"({"id":"i1","size":"7"})");
  EXPECT_TRUE(device.dead_letters().empty());
  upgrade(version_2(Column::text));
  EXPECT_EQ(device.outbox().size(), 2u);
}

TEST_F(AppUpgrade, AnUndoOfBeforeTheUpgradeIsUpcastToo) {
  const std::string first = add_item("i1", "four");
  upgrade(version_2(Column::text));
  const auto undone = device.store().undo(first, {});
  ASSERT_TRUE(undone) << undone.error().message;
  EXPECT_EQ(items(), "i1=number 4,i1'=number 4");
}

struct WithServer : AppUpgrade {
  WithServer() {
    device.options().server = "http://localhost:1";
    device.reopen();
  }
};

TEST_F(WithServer, AChangedTypeRebuildsTheTableAndReplaysTheOutbox) {
  pull({{"items", item("i0", std::string("zero"))}, {"tags", tag("t0")}}, "c1");
  add_item("i1", "four");
  add_tag("t1");
  upgrade(version_2(Column::number));
  EXPECT_EQ(items(), "i1=4") << "what is pending is shown at once";
  EXPECT_EQ(tags(), "t0,t1") << "other tables keep what they have";
  EXPECT_EQ(device.outbox().size(), 2u);
  EXPECT_EQ(device.store().next_pull(100)->cursor, "") << "everything comes anew";
  device.reopen();
  pull({{"items", item("i0", std::int64_t{0})}, {"tags", tag("t0")}}, "c2");
  EXPECT_EQ(items(), "i0=0,i1=4");
  EXPECT_EQ(tags(), "t0,t1");
}

TEST_F(WithServer, AChangedKeyRebuildsTheTable) {
  struct Renamed {
    std::string code, owner_id, size;
  };
  pull({{"items", item("i0", std::string("zero"))}}, "c1");
  add_tag("t1");
  const auto renamed = table<Renamed>("items")
                           .key("code", &Renamed::code)
                           .column("owner_id", &Renamed::owner_id)
                           .column("size", &Renamed::size);
  Domain d("shop");
  d.add(renamed).add(kTags);
  d.rule("items").parameter("ownerId", actor::owner_id).data(renamed, eq("owner_id", "ownerId"));
  add_rest(d);
  upgrade(std::move(d));
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM items WHERE code <> ''"), "0");
  EXPECT_EQ(tags(), "t1");
  pull({{"items", item("i0", std::string("zero"))}}, "c2");
  EXPECT_EQ(device.sql_text("SELECT code FROM items"), "i0");
}

TEST_F(WithServer, AFirstSyncThatIsUnderWayStartsOver) {
  auto request = device.store().next_pull(100);
  protocol::PullPage page;
  page.changed.push_back({"items", {item("i0", std::string("zero"))}});
  page.cursor = "half";
  page.epoch = "e";
  page.has_more = true;
  ASSERT_TRUE(device.store().apply_page(*request, page));
  upgrade(version_2(Column::number));
  EXPECT_EQ(device.store().next_pull(100)->cursor, "");
  pull({{"items", item("i0", std::int64_t{0})}}, "c1");
  EXPECT_EQ(items(), "i0=0");
}

TEST_F(AppUpgrade, WithoutAServerAStoreThatNeverSyncedIsReplayedFromItsOutbox) {
  add_item("i1", "four");
  add_tag("t1");
  upgrade(version_2(Column::number));
  EXPECT_EQ(items(), "i1=4");
  EXPECT_EQ(tags(), "t1");
  EXPECT_EQ(device.outbox().size(), 2u);
}

TEST_F(AppUpgrade, WithoutAServerWhatWasPulledOnceIsNotThrownAway) {
  pull({{"items", item("i0", std::string("zero"))}}, "c1");  // by an app's own backend, which this open does not name
  add_item("i1", "four");
  device.close();
  LocalStoreOptions options = device.options();
  options.domain = testing::compile(version_2(Column::number));
  SeededRandom random(2);
  const auto opened = LocalStore::open(options, clock, random, Log());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::schema_mismatch);
  EXPECT_NE(opened.error().message.find("table \"items\": column \"size\" changed from text to bigint"),
            std::string::npos)
      << opened.error().message;
  device.open();
  EXPECT_EQ(items(), "i0=zero,i1=four");
  EXPECT_EQ(device.outbox().size(), 1u);
  device.close();
  device.options().has_target = true;
  upgrade(version_2(Column::number));
  EXPECT_EQ(items(), "i1=4");
}

// Columns that may be null or not
struct Loose {
  std::string id, owner_id;
  std::optional<std::string> size;
};
Domain with_loose_size() {
  const auto items =
      table<Loose>("items").key("id", &Loose::id).column("owner_id", &Loose::owner_id).column("size", &Loose::size);
  Domain d("shop");
  d.add(items).add(kTags);
  d.rule("items").parameter("ownerId", actor::owner_id).data(items, eq("owner_id", "ownerId"));
  add_rest(d);
  return d;
}

TEST_F(AppUpgrade, AColumnThatMayBeNullOrMayNoLongerIsChangedWhereItStands) {
  add_item("i1", "four");
  auto file = sqlite::Connection::open(folder.file("shop.db"), {});
  ASSERT_TRUE((*file)->execute(
      "CREATE INDEX own ON items(size); CREATE TRIGGER mine AFTER DELETE ON items BEGIN SELECT 1; END"));
  file->reset();
  upgrade(with_loose_size());
  pull({{"items", item("i2", std::monostate{})}}, "c1");
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM items WHERE size IS NULL"), "1");
  upgrade(version_1());
  EXPECT_EQ(items(), "i1=four,i2=") << "empty until the server says what it is";
  EXPECT_EQ(
      device.sql_text("SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name IN ('own', 'mine') "
                      "ORDER BY name)"),
      "mine,own");
}

TEST_F(AppUpgrade, AFailedUpgradeLeavesTheFileToTheOldApp) {
  add_item("i1", "four");
  ASSERT_TRUE(device.mutate("addTag", {"t1"}));
  auto file = sqlite::Connection::open(folder.file("shop.db"), {});
  // A name that the copy needs is taken: the upgrade cannot be made.
  ASSERT_TRUE((*file)->execute("CREATE TABLE nizhal_copy_items(x)"));
  file->reset();
  device.close();
  LocalStoreOptions options = device.options();
  options.domain = testing::compile(with_loose_size());
  SeededRandom random(2);
  EXPECT_FALSE(LocalStore::open(options, clock, random, Log()));
  device.open();
  EXPECT_EQ(items(), "i1=four");
  EXPECT_EQ(device.outbox().size(), 2u);
}

// The control tables' first format

constexpr const char* kFormat1 = R"(
CREATE TABLE nizhal_meta(key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE nizhal_outbox(
  ordinal INTEGER PRIMARY KEY NOT NULL, mutation_id INTEGER UNIQUE, client_mutation_id TEXT NOT NULL UNIQUE,
  id_seed TEXT NOT NULL, name TEXT NOT NULL, args_version INTEGER NOT NULL, args TEXT NOT NULL, hlc TEXT NOT NULL,
  depends_on TEXT NOT NULL DEFAULT '[]', enqueued_at TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  covered INTEGER NOT NULL DEFAULT 0, outcome_known INTEGER NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT '');
CREATE TABLE nizhal_undo(
  ordinal INTEGER NOT NULL, table_name TEXT NOT NULL, key TEXT NOT NULL, before TEXT,
  PRIMARY KEY(ordinal, table_name, key)) WITHOUT ROWID;
CREATE TABLE nizhal_sent(mutation_id INTEGER PRIMARY KEY NOT NULL, client_mutation_id TEXT NOT NULL);
CREATE TABLE nizhal_staged(page INTEGER PRIMARY KEY NOT NULL, is_reset INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE nizhal_dead_letter(
  id INTEGER PRIMARY KEY AUTOINCREMENT, client_mutation_id TEXT NOT NULL, id_seed TEXT NOT NULL, name TEXT NOT NULL,
  args_version INTEGER NOT NULL, args TEXT NOT NULL, depends_on TEXT NOT NULL, code TEXT NOT NULL,
  message TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE nizhal_id_map(
  table_name TEXT NOT NULL, client_key TEXT NOT NULL, server_key TEXT NOT NULL, client_mutation_id TEXT NOT NULL,
  PRIMARY KEY(table_name, client_key)) WITHOUT ROWID;
CREATE TABLE items(id TEXT PRIMARY KEY NOT NULL, owner_id TEXT NOT NULL, size TEXT NOT NULL);
CREATE TABLE tags(id TEXT PRIMARY KEY NOT NULL, owner_id TEXT NOT NULL);
INSERT INTO nizhal_meta VALUES('format', '1'), ('domain', 'shop'), ('client_id', '0b5d9a3e-0000-4000-8000-000000000001'),
  ('actor', '{"userId":"u1","ownerId":"o1","claims":""}'),
  ('schema', '{"items":{"key":"id","columns":[["id","text",false],["owner_id","text",false],["size","text",false]]},'
          || '"tags":{"key":"id","columns":[["id","text",false],["owner_id","text",false]]}}');
INSERT INTO items VALUES('i1', 'o1', 'four');
INSERT INTO nizhal_outbox(ordinal, client_mutation_id, id_seed, name, args_version, args, hlc, enqueued_at)
  VALUES(1, '0b5d9a3e-0000-4000-8000-000000000002', 'seed', 'addItem', 1, '{"id":"i1","size":"four"}',
         '2026-01-02T03:04:05.000Z-0000-00000000000000000000000000000000', '2026-01-02T03:04:05.000000Z');
INSERT INTO nizhal_undo VALUES(1, 'items', 'i1', NULL);
INSERT INTO nizhal_dead_letter(client_mutation_id, id_seed, name, args_version, args, depends_on, code, message, at)
  VALUES('0b5d9a3e-0000-4000-8000-000000000003', 'seed 2', 'addItem', 1, '{"id":"i2","size":"two"}', '[]', 'no', 'no',
         '2026-01-02T03:04:05.000000Z');
)";

struct OlderFormat : AppUpgrade {
  OlderFormat() {
    device.close();
    device.options().path = folder.file("format1.db");
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(device.options().path.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, kFormat1, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
    sqlite3_close(database);
  }
};

TEST_F(OlderFormat, IsBroughtForwardWithAllThatItHolds) {
  for (int opens = 0; opens < 2; ++opens) {
    device.reopen();
    EXPECT_EQ(device.sql_text("SELECT value FROM nizhal_meta WHERE key = 'format'"), "3");
    EXPECT_EQ(items(), "i1=four");
    ASSERT_EQ(device.outbox().size(), 1u);
    ASSERT_EQ(device.dead_letters().size(), 1u);
    EXPECT_TRUE(device.dead_letters()[0].chain.empty());
  }
  ASSERT_TRUE(device.store().retry(1, std::nullopt));
  const std::string third = add_item("i3", "three");
  EXPECT_EQ(items(), "i1=four,i2=two,i3=three");
  ASSERT_TRUE(device.store().undo(third, {}));
  EXPECT_EQ(device.store().next_push(100, 1 << 20)->mutations.size(), 4u);
}

TEST_F(OlderFormat, IsBroughtForwardOnceByTwoThatOpenItTogether) {
  for (int round = 0; round < 8; ++round) {
    const std::string path = folder.file("together" + std::to_string(round) + ".db");
    std::filesystem::copy_file(device.options().path, path);
    LocalStoreOptions options = device.options();
    options.path = path;
    std::string errors[2];
    std::vector<std::thread> threads;
    for (std::string& error : errors) {
      threads.emplace_back([&] {
        SeededRandom random(2);
        if (auto opened = LocalStore::open(options, clock, random, Log()); !opened) error = opened.error().message;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(errors[0], "");
    EXPECT_EQ(errors[1], "");
  }
}

TEST_F(OlderFormat, OfANewerReleaseIsRefusedAndLeftAsItIs) {
  device.open();
  device.close();
  {
    auto file = sqlite::Connection::open(device.options().path, {});
    ASSERT_TRUE((*file)->execute("UPDATE nizhal_meta SET value = '99' WHERE key = 'format'"));
  }
  SeededRandom random(2);
  const auto opened = LocalStore::open(device.options(), clock, random, Log());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::schema_mismatch);
  EXPECT_NE(opened.error().message.find("newer release"), std::string::npos) << opened.error().message;
}

}  // namespace
}  // namespace nizhal::client
