// The app's side of the store: mutate, queries, plain SQL, whose store it is, and app upgrades.
#include "client/local_store.hpp"

#include <sqlite3.h>

#include <fstream>
#include <iterator>

#include "client/client_test_support.hpp"
#include "sqlite/connection.hpp"

namespace nizhal::client {
namespace {

using testing::Device;
using testing::NoteRows;
using testing::World;

using Mutate = World;

TEST_F(Mutate, CommitsTheRowAndItsOutboxEntryTogether) {
  const std::string id = device.add("n1", "hello");
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "hello"}}));
  const auto outbox = device.outbox();
  ASSERT_EQ(outbox.size(), 1u);
  EXPECT_EQ(outbox[0].client_mutation_id, id);
  EXPECT_EQ(outbox[0].name, "addNote");
  EXPECT_EQ(outbox[0].args, R"({"id":"n1","body":"hello"})");
  EXPECT_FALSE(outbox[0].mutation_id);
  EXPECT_TRUE(is_uuid(id));
}

TEST_F(Mutate, ALocalRefusalWritesNothingAndEnqueuesNothing) {
  device.add("n1", "hello");
  const auto ticket = device.mutate("addNote", {"n1", "again"});
  ASSERT_FALSE(ticket);
  EXPECT_EQ(ticket.error().code, ErrorCode::refused);
  EXPECT_EQ(ticket.error().message.substr(0, 16), "already_exists: ");
  EXPECT_EQ(device.outbox().size(), 1u);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "hello"}}));
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_undo"), "1");
}

TEST_F(Mutate, AConstraintOfTheFileRefusesTheMutationAndNothingIsWritten) {
  device.add("n1", "hello");
  auto file = sqlite::Connection::open(folder.file("a.db"), {});
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_TRUE((*file)->execute(R"(
    CREATE UNIQUE INDEX one_body ON notes (body);
    CREATE TRIGGER kept BEFORE DELETE ON notes BEGIN SELECT RAISE(ABORT, 'kept'); END;
    CREATE TRIGGER never BEFORE UPDATE ON notes BEGIN SELECT RAISE(ROLLBACK, 'never'); END)"));
  file->reset();
  for (const auto& ticket : {device.mutate("addNote", {"n2", "hello"}), device.mutate("deleteNote", {"n1"}),
                             device.mutate("editNote", {"n1", "other"})}) {
    ASSERT_FALSE(ticket);
    EXPECT_EQ(ticket.error().code, ErrorCode::refused);
    EXPECT_EQ(ticket.error().message,
              "constraint_violated: table \"notes\": the write breaks a constraint of the file");
  }
  EXPECT_EQ(device.outbox().size(), 1u);
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "hello"}}));
  EXPECT_EQ(device.sql_text("SELECT count(*) FROM nizhal_undo"), "1");
  device.add("n3", "goes on");
  EXPECT_EQ(device.outbox().size(), 2u);
}

TEST_F(Mutate, AnUnknownMutatorAndArgumentsThatDoNotFitAreNamed) {
  const auto unknown = device.mutate("fly", {});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::not_found);
  const auto empty_id = device.mutate("addNote", {"", "x"});
  ASSERT_FALSE(empty_id);
  EXPECT_EQ(empty_id.error().code, ErrorCode::invalid_args);
  EXPECT_NE(empty_id.error().message.find("\"id\""), std::string::npos);
  const auto broken = device.mutate("addNote", {"n1", "\xff"});
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::invalid_args);
  EXPECT_TRUE(device.outbox().empty());
}

TEST_F(Mutate, WhatReturnedIsThereAfterReopening) {
  device.add("n1", "hello");
  device.edit("n1", "hello again");
  const std::string client_id = device.store().client_id();
  device.reopen();
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "hello again"}}));
  EXPECT_EQ(device.outbox().size(), 2u);
  EXPECT_EQ(device.store().client_id(), client_id);
}

TEST_F(Mutate, ARerunGivesTheSameIdsAsTheFirstRun) {
  ASSERT_TRUE(device.mutate("createTeam", {"t1"}));
  const std::string id = device.sql_text("SELECT id FROM team_members");
  EXPECT_TRUE(is_uuid(id));
  server.put("n9", "from elsewhere");
  device.pull(server);
  EXPECT_EQ(device.sql_text("SELECT id FROM team_members"), id);
}

TEST_F(Mutate, StampsOnlyGoUpWhenTheClockGoesBack) {
  device.add("n1", "a");
  clock.jump_wall(std::chrono::hours(-5));
  device.reopen();
  device.add("n2", "b");
  EXPECT_EQ(device.sql_text("SELECT group_concat(ordinal) FROM (SELECT ordinal FROM nizhal_outbox ORDER BY hlc)"),
            "1,2");
}

using Query = World;

TEST_F(Query, AnswersInTheQuerysOrder) {
  device.add("n1", "b");
  device.add("n2", "a");
  const auto query = from(notes::notes).where(eq("owner_id", "o1")).order_by("body").limit(1);
  const auto rows = device.store().query(query.spec());
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(std::get<std::string>((*rows)[0][0]), "n2");
}

TEST_F(Query, AConditionOnAnUnknownColumnIsAnError) {
  const auto query = from(notes::notes).where(eq("colour", "red"));
  EXPECT_FALSE(device.store().query(query.spec()));
}

using PlainSql = World;

TEST_F(PlainSql, ReadsByStorageClassInTheQuerysColumnOrder) {
  device.add("n1", "hello");
  const auto result = device.store().sql("SELECT body, 1 AS one, 0.5 AS half, NULL AS none FROM notes;  -- all");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->columns, (std::vector<std::string>{"body", "one", "half", "none"}));
  ASSERT_EQ(result->rows.size(), 1u);
  EXPECT_EQ(result->rows[0][0], Value(std::string("hello")));
  EXPECT_EQ(result->rows[0][1], Value(std::int64_t{1}));
  EXPECT_EQ(result->rows[0][2], Value(0.5));
  EXPECT_TRUE(is_null(result->rows[0][3]));
}

TEST_F(PlainSql, RefusesWhateverCouldWrite) {
  device.add("n1", "hello");
  const std::string elsewhere = folder.file("elsewhere.db");
  for (const std::string& text : std::vector<std::string>{
           "DELETE FROM notes", "INSERT INTO notes VALUES('x','o1','y')", "UPDATE notes SET body = ''",
           "DROP TABLE notes", "CREATE TABLE x(y)", "PRAGMA user_version = 3", "PRAGMA journal_mode = DELETE",
           "ATTACH '" + elsewhere + "' AS other", "VACUUM INTO '" + elsewhere + "'", "BEGIN IMMEDIATE",
           "SELECT 1; DELETE FROM notes", "WITH x AS (SELECT 1) DELETE FROM notes", "REINDEX", "", "SELEC 1"}) {
    const auto result = device.store().sql(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, ErrorCode::usage) << text;
  }
  EXPECT_FALSE(std::filesystem::exists(elsewhere));
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "hello"}}));
}

using Identity = World;

TEST_F(Identity, AnotherActorIsRefusedAndNothingIsTouched) {
  device.add("n1", "mine");
  device.close();
  LocalStoreOptions options = device.options();
  options.actor = {.user_id = "u2", .owner_id = "o2", .claims = ""};
  SeededRandom random(2);
  const auto opened = LocalStore::open(options, clock, random, Log());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::identity_mismatch);
  device.open();
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "mine"}}));
  EXPECT_EQ(device.outbox().size(), 1u);
}

TEST_F(Identity, ArchivingKeepsTheOtherActorsFileWhole) {
  device.add("n1", "mine");
  device.close();
  device.options().actor = {.user_id = "u2", .owner_id = "o2", .claims = ""};
  device.options().other_actor = OtherActor::Archive;
  device.open();
  EXPECT_TRUE(device.notes().empty());
  EXPECT_TRUE(device.outbox().empty());
  EXPECT_EQ(device.store().actor().user_id, "u2");
  const std::string archived = folder.file("a.db") + ".archived-20260102T030405.000000Z";
  ASSERT_TRUE(std::filesystem::exists(archived));
  Device old(archived, clock, 3);
  EXPECT_EQ(old.notes(), (NoteRows{{"n1", "mine"}}));
  EXPECT_EQ(old.outbox().size(), 1u);
}

TEST_F(Identity, DiscardingStartsAfreshUnderANewClientId) {
  device.add("n1", "mine");
  const std::string client_id = device.store().client_id();
  device.close();
  device.options().actor = {.user_id = "u2", .owner_id = "o2", .claims = ""};
  device.options().other_actor = OtherActor::Discard;
  device.open();
  EXPECT_TRUE(device.notes().empty());
  EXPECT_NE(device.store().client_id(), client_id);
}

TEST_F(Identity, ActorAndServerAreRemembered) {
  device.close();
  device.options().actor = {};
  device.options().server = "";
  device.open();
  EXPECT_EQ(device.store().actor().owner_id, "o1");
  EXPECT_EQ(device.store().server(), "http://localhost:1");
}

TEST_F(Identity, ANewStoreWithoutAnActorIsAUsageError) {
  LocalStoreOptions options = device.options();
  options.path = folder.file("nobody.db");
  options.actor = {};
  SeededRandom random(2);
  const auto opened = LocalStore::open(options, clock, random, Log());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::usage);
}

TEST_F(Identity, NewClaimsOfTheSamePrincipalReplaceTheOldOnes) {
  device.close();
  device.options().actor.claims = R"({"userId":"u1","ownerId":"o1","role":"admin"})";
  device.reopen();
  EXPECT_EQ(device.store().actor().claim("role"), "admin");
}

// App upgrades: the same domain with other columns.
struct OldNote {
  std::string id, owner_id, body;
};
struct NewNote {
  std::string id, owner_id, body, colour;
  std::optional<std::int64_t> stars;
};
struct AddOld {
  std::string id, body;
};

Domain old_app() {
  const auto table = nizhal::table<OldNote>("notes")
                         .key("id", &OldNote::id)
                         .column("owner_id", &OldNote::owner_id)
                         .column("body", &OldNote::body);
  Domain d("notes");
  d.add(table);
  d.mutator<AddOld>("addNote")
      .arg("id", &AddOld::id)
      .arg("body", &AddOld::body)
      .run([table](MutatorContext& ctx, const AddOld& args) -> Outcome {
        ctx.insert(table, {.id = args.id, .owner_id = ctx.actor().owner_id, .body = args.body});
        return done();
      });
  d.rule("mine").parameter("ownerId", actor::owner_id).data(table, eq("owner_id", "ownerId"));
  return d;
}
Domain new_app() {
  const auto table = nizhal::table<NewNote>("notes")
                         .key("id", &NewNote::id)
                         .column("owner_id", &NewNote::owner_id)
                         .column("body", &NewNote::body)
                         .column("colour", &NewNote::colour)
                         .column("stars", &NewNote::stars);
  Domain d("notes");
  d.add(table);
  d.mutator<AddOld>("addNote")
      .arg("id", &AddOld::id)
      .arg("body", &AddOld::body)
      .run([table](MutatorContext& ctx, const AddOld& args) -> Outcome {
        ctx.insert(table, {.id = args.id,
                           .owner_id = ctx.actor().owner_id,
                           .body = args.body,
                           .colour = "blue",
                           .stars = std::nullopt});
        return done();
      });
  d.rule("mine").parameter("ownerId", actor::owner_id).data(table, eq("owner_id", "ownerId"));
  return d;
}

struct Upgrade : World {
  Upgrade() {
    device.close();
    device.options().path = folder.file("upgraded.db");
    device.options().domain = testing::compile(old_app());
    device.open();
  }
};

TEST_F(Upgrade, ANewColumnIsAddedInPlaceAndPendingMutationsStay) {
  device.add("n1", "old");
  const auto before = device.store().next_pull(10)->schema;
  device.close();
  device.options().domain = testing::compile(new_app());
  device.open();
  EXPECT_EQ(device.sql_text("SELECT colour FROM notes"), "blue") << "it ran again, with the new mutator";
  EXPECT_EQ(device.outbox().size(), 1u);
  EXPECT_NE(device.store().next_pull(10)->schema, before);
  protocol::PullPage page;
  page.cursor = "c1";
  page.epoch = "e";
  page.buckets = {"o1"};
  const auto applied = device.store().apply_page(*device.store().next_pull(10), page);
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(device.sql_text("SELECT colour FROM notes"), "blue");
  device.reopen();
  EXPECT_EQ(device.sql_text("SELECT colour FROM notes"), "blue");
}

TEST_F(Upgrade, ARemovedRequiredColumnStaysInTheFileAndRowsAreWrittenWithoutIt) {
  device.close();
  device.options().path = folder.file("made by the new app.db");
  device.options().domain = testing::compile(new_app());
  device.options().server = "";
  device.open();
  device.add("n1", "new");
  device.close();
  device.options().domain = testing::compile(old_app());
  device.open();
  device.add("n2", "old");
  EXPECT_EQ(device.notes(), (NoteRows{{"n1", "new"}, {"n2", "old"}}));
  EXPECT_EQ(device.outbox().size(), 2u);
  device.close();
  device.options().domain = testing::compile(new_app());
  device.open();
  EXPECT_EQ(device.sql_text("SELECT group_concat(id || '=' || colour) FROM (SELECT * FROM notes ORDER BY id)"),
            "n1=blue,n2=blue")
      << "what is pending runs again";
}

TEST_F(Upgrade, AFileThatIsNoStoreIsRefusedAndLeftAsItIs) {
  const struct {
    const char* sql;
    const char* says;
  } kCases[] = {
      {"CREATE TABLE nizhal_state (epoch TEXT); CREATE TABLE nizhal_id_map (id TEXT)", "a server's database"},
      {"CREATE TABLE birds (name TEXT)", "something else"},
  };
  for (const auto& one : kCases) {
    SCOPED_TRACE(one.sql);
    LocalStoreOptions options = device.options();
    options.path = folder.file(new_id());
    options.other_actor = OtherActor::Discard;
    {
      sqlite3* database = nullptr;
      ASSERT_EQ(sqlite3_open(options.path.c_str(), &database), SQLITE_OK);
      EXPECT_EQ(sqlite3_exec(database, one.sql, nullptr, nullptr, nullptr), SQLITE_OK);
      sqlite3_close(database);
    }
    const auto bytes = [&] {
      std::ifstream file(options.path, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    const std::string before = bytes();
    SeededRandom random(2);
    const auto opened = LocalStore::open(options, clock, random, Log());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::schema_mismatch);
    EXPECT_NE(opened.error().message.find(one.says), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().message.find(options.path), std::string::npos) << opened.error().message;
    EXPECT_EQ(bytes(), before);
  }
}

TEST_F(Upgrade, FactsThatReadAsZerosAreDamageAndNoNewDevice) {
  device.close();
  auto raw = sqlite::Connection::open(device.options().path, {});
  ASSERT_TRUE(raw);
  ASSERT_TRUE(
      (*raw)->execute("DROP TABLE nizhal_meta; CREATE TABLE nizhal_meta(key TEXT, value TEXT);"
                      "INSERT INTO nizhal_meta VALUES(NULL, NULL)"));
  SeededRandom random(2);
  const auto opened = LocalStore::open(device.options(), clock, random, Log());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::corrupt);
}

TEST_F(Upgrade, AnotherDomainsFileIsRefused) {
  device.close();
  LocalStoreOptions options = device.options();
  Domain other("other");
  other.add(notes::notes);
  other.rule("mine").parameter("ownerId", actor::owner_id).data(notes::notes, eq("owner_id", "ownerId"));
  options.domain = testing::compile(std::move(other));
  SeededRandom random(2);
  const auto opened = LocalStore::open(options, clock, random, Log());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::schema_mismatch);
}

}  // namespace
}  // namespace nizhal::client
