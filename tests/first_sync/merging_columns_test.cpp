// Columns that merge, in first syncs of several pages and in upgrades that bring such a column, against a server core
// on either storage. What is pending meanwhile is lost by neither.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "client/local_store.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "tests/support/require.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

using Texts = std::vector<std::string>;

struct Sheet {
  std::string id, owner_id, title;
};
struct WrittenSheet {
  std::string id, owner_id, title;
  CrdtText body = {};
};
template <class T>
auto sheets_of() {
  return table<T>("sheets")
      .key("id", &T::id)
      .column("owner_id", &T::owner_id)
      .column("title", &T::title)
      .merge(Merge::Field);
}
inline const auto sheets = sheets_of<Sheet>();
inline const auto written_sheets = sheets_of<WrittenSheet>().column("body", &WrittenSheet::body);

struct Title {
  std::string id, title;
};
struct Edit {
  std::string id;
  Blob update;
};

enum class Release { first, with_text };

Domain domain(Release release) {
  Domain d("sheets", {.version = "1.0.0"});
  const bool has_text = release == Release::with_text;
  auto rule = d.rule("mine").parameter("ownerId", actor::owner_id);
  const auto declare = [&](const auto& table) {
    d.add(table);
    rule.data(table, eq("owner_id", "ownerId"));
    d.mutator<Title>("addSheet")
        .arg("id", &Title::id, new_id_of(table))
        .arg("title", &Title::title)
        .run([table](MutatorContext& ctx, const Title& args) -> Outcome {
          ctx.insert(table, {.id = args.id, .owner_id = ctx.actor().owner_id, .title = args.title});
          return done();
        });
    d.mutator<Title>("setTitle")
        .arg("id", &Title::id, references(table))
        .arg("title", &Title::title)
        .run([table](MutatorContext& ctx, const Title& args) -> Outcome {
          return ctx.update(table, args.id, {set("title", args.title)}) ? done() : reject("not_found", "no such sheet");
        });
  };
  if (!has_text) {
    declare(sheets);
    return d;
  }
  declare(written_sheets);
  d.mutator<Edit>("edit")
      .arg("id", &Edit::id, references(written_sheets))
      .arg("update", &Edit::update)
      .run([](MutatorContext& ctx, const Edit& args) -> Outcome {
        return ctx.update(written_sheets, args.id, {set("body", args.update)}) ? done()
                                                                               : reject("not_found", "no such sheet");
      });
  return d;
}

/// Pulls page by page from the world's server, and pushes when told to.
class Phone {
 public:
  Phone(World& world, std::string name, Release release)
      : world_(world), name_(std::move(name)), random_(std::hash<std::string>()(name_)) {
    open(release);
  }
  void open(Release release) {
    store_.reset();
    domain_ = compiled(domain(release));
    client::LocalStoreOptions options;
    options.path = world_.dir.file(name_ + ".db");
    options.domain = domain_;
    options.actor = actor_;
    store_ = require(client::LocalStore::open(std::move(options), world_.clock, random_, Log{}), "opening a device");
  }
  void mutate(const std::string& name, MutatorDef::Values values) {
    world_.clock.advance(std::chrono::milliseconds(5));
    require(store_->mutate(name, values, {}), name);
  }
  /// Types at the end of what this device shows.
  void type(const std::string& id, const std::string& text) {
    auto editor = require(open_crdt("body", CrdtText{state(id)}, 1 + random_.below(1U << 31)), "opening a body");
    require(editor.text().insert(editor.text().length(), text), "typing");
    mutate("edit", {Value(id), Value(editor.take_update())});
  }
  bool pull_page(std::size_t limit) {
    const auto request = require(store_->next_pull(limit), "the next pull");
    const auto response = world_.post(protocol::kPullPath, actor_, protocol::encode_pull_request(request));
    const auto page = require(protocol::decode_page(domain_->domain(), response.body), "decoding a page");
    for (const protocol::ChangedTable& table : page.changed)
      for (const auto& updates : table.updates) updates_ += updates.size();
    return require(store_->apply_page(request, page), "applying a page").complete;
  }
  void pull() {
    while (!pull_page(50)) {
    }
  }
  void push() {
    while (true) {
      const auto request = require(store_->next_push(10, 1 << 20), "the next push");
      if (request.mutations.empty()) return;
      const auto response = world_.post(protocol::kPushPath, actor_, protocol::encode_push_request(request));
      require(store_->settle_push(request, require(protocol::decode_push_reply(response.body), "decoding a reply")),
              "settling a push");
    }
  }
  void sync() {
    push();
    pull();
  }
  std::vector<std::uint8_t> state(const std::string& id) {
    const auto found = require(store_->sql("SELECT body FROM sheets WHERE id = '" + id + "'"), "reading a body");
    return found.rows.empty() ? crdt::Bytes{} : std::get<Blob>(found.rows[0][0]).bytes;
  }
  std::string text(const std::string& id) { return require(to_string(CrdtText{state(id)}, "body"), "a state"); }
  /// "id title text", by id.
  Texts rows() {
    Texts rows;
    for (const auto& row : require(store_->sql("SELECT id, title FROM sheets ORDER BY id"), "reading").rows) {
      const auto& id = std::get<std::string>(row[0]);
      rows.push_back(fmt::format("{} {} {}", id, std::get<std::string>(row[1]), text(id)));
    }
    return rows;
  }
  std::size_t pending() { return require(store_->outbox(), "the outbox").size(); }
  std::size_t dead_letters() { return require(store_->dead_letters(), "the dead letters").size(); }
  /// CRDT values that came as what was missing, and not whole.
  std::size_t updates() const { return updates_; }

 private:
  World& world_;
  std::string name_;
  Actor actor_{"u1", "o1", ""};
  SeededRandom random_;
  std::shared_ptr<const CompiledDomain> domain_;
  std::unique_ptr<client::LocalStore> store_;
  std::size_t updates_ = 0;
};

struct MergingColumns : ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, MergingColumns, every_backend(), kind_name);

TEST_P(MergingColumns, AnUpgradeThatBringsATextKeepsWhatIsPendingAndMergesWhatIsWrittenBeforeItIsFilled) {
  World world(1, domain(Release::with_text), {}, GetParam());
  Phone old_app(world, "a", Release::first), other(world, "b", Release::with_text);
  old_app.mutate("addSheet", {Value("s1"), Value("one")});
  old_app.mutate("addSheet", {Value("s2"), Value("two")});
  old_app.sync();
  other.pull();
  other.type("s1", "theirs.");
  other.sync();
  old_app.pull();
  old_app.mutate("setTitle", {Value("s1"), Value("pending over the upgrade")});

  Phone& phone = old_app;
  phone.open(Release::with_text);
  EXPECT_EQ(phone.pending(), 1u);
  EXPECT_EQ(phone.rows(), (Texts{"s1 pending over the upgrade ", "s2 two "})) << "an empty text until it is filled";
  phone.type("s1", "mine.");
  EXPECT_EQ(phone.text("s1"), "mine.");
  while (!phone.pull_page(1)) EXPECT_EQ(phone.text("s1"), "mine.") << "filling is seen whole";
  EXPECT_EQ(phone.text("s1").size(), std::string("theirs.mine.").size()) << phone.text("s1");
  EXPECT_EQ(phone.pending(), 2u);
  phone.sync();
  other.sync();
  EXPECT_EQ(phone.dead_letters(), 0u);
  EXPECT_EQ(phone.rows(), other.rows());
  EXPECT_EQ(phone.rows()[0], "s1 pending over the upgrade " + other.text("s1"));
  EXPECT_NE(other.text("s1").find("theirs."), std::string::npos);
  EXPECT_NE(other.text("s1").find("mine."), std::string::npos);
}

TEST_P(MergingColumns, AServerWhoseTableGainsATextSyncsDevicesOfBothReleases) {
  World world(1, domain(Release::first), {}, GetParam());
  {
    Phone phone(world, "a", Release::first);
    phone.mutate("addSheet", {Value("s1"), Value("from before")});
    phone.sync();
    phone.mutate("setTitle", {Value("s1"), Value("edited before")});
  }
  world.upgrade(domain(Release::with_text));
  Phone phone(world, "a", Release::first), upgraded(world, "b", Release::with_text);
  upgraded.pull();
  EXPECT_EQ(upgraded.rows(), Texts{"s1 from before "});
  upgraded.type("s1", "a text");
  upgraded.sync();
  phone.sync();
  phone.open(Release::with_text);
  phone.sync();
  upgraded.sync();
  EXPECT_EQ(phone.rows(), Texts{"s1 edited before a text"});
  EXPECT_EQ(upgraded.rows(), phone.rows());
}

TEST_P(MergingColumns, AFirstSyncInPagesBringsWholeStatesAndLosesNothingThatIsWrittenMeanwhile) {
  World world(1, domain(Release::with_text), {}, GetParam());
  constexpr int kSheets = 12;
  const auto id = [](int i) { return fmt::format("s{:02}", i); };
  Phone other(world, "b", Release::with_text);
  for (int i = 0; i < kSheets; ++i) other.mutate("addSheet", {Value(id(i)), Value("t")});
  for (int i = 0; i < kSheets; ++i) other.type(id(i), "base.");
  other.sync();

  Phone phone(world, "a", Release::with_text);
  int pages = 0;
  for (bool complete = false; !complete; ++pages) {
    complete = phone.pull_page(3);
    if (pages == 0) {
      // What came already is edited here, and there by the other; so is what is still to come.
      phone.type(id(0), "mine.");
      phone.mutate("setTitle", {Value(id(1)), Value("mine")});
      other.type(id(0), "theirs.");
      other.type(id(kSheets - 1), "theirs.");
      other.sync();
    }
    // Killed in the middle, and what is pending partly sent before the sync is complete.
    if (pages == 1) phone.open(Release::with_text);
    if (pages == 2) {
      phone.push();
      phone.type(id(2), "after the push.");
    }
    EXPECT_NE(phone.text(id(0)).find("mine."), std::string::npos) << "page " << pages;
    ASSERT_LT(pages, 100);
  }
  EXPECT_GE(pages, 4);
  EXPECT_EQ(phone.updates(), 0u) << "of rows that a device does not have it is told whole states";
  phone.sync();
  other.sync();
  EXPECT_EQ(phone.dead_letters(), 0u);
  EXPECT_EQ(phone.pending(), 0u);
  EXPECT_EQ(phone.rows(), other.rows());
  for (const char* typed : {"base.", "mine.", "theirs."})
    EXPECT_NE(other.text(id(0)).find(typed), std::string::npos) << typed << " in " << other.text(id(0));
  EXPECT_EQ(other.text(id(2)), "base.after the push.");
  EXPECT_EQ(other.text(id(kSheets - 1)), "base.theirs.");
  EXPECT_EQ(other.rows()[1], "s01 mine base.");
}

}  // namespace
}  // namespace nizhal::testing
