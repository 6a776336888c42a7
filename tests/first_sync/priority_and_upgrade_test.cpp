// What a first sync brings first, and what an app upgrade makes it bring again, against a server core on either
// storage.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "client/local_store.hpp"
#include "protocol/pull.hpp"
#include "tests/support/require.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

using Texts = std::vector<std::string>;

struct Paper {
  std::string id, owner_id, title;
};
struct LabelledPaper {
  std::string id, owner_id, title;
  std::optional<std::string> label;
};
struct Tag {
  std::string id, owner_id, text;
};

template <class T>
auto papers(const char* name) {
  return table<T>(name).key("id", &T::id).column("owner_id", &T::owner_id).column("title", &T::title);
}
inline const auto urgent = papers<Paper>("urgent");
inline const auto archive = papers<Paper>("archive");
inline const auto labelled_archive = papers<LabelledPaper>("archive").column("label", &LabelledPaper::label);
inline const auto tags =
    table<Tag>("tags").key("id", &Tag::id).column("owner_id", &Tag::owner_id).column("text", &Tag::text);

enum class Release { first, second };

/// The second release has a column and a table more. The rule that is declared last matters most.
Domain domain(Release release) {
  Domain d("papers", {.version = "1.0.0"});
  d.add(urgent);
  auto old = d.rule("archive").prefix("archive:").parameter("ownerId", actor::owner_id).priority(1);
  if (release == Release::first) {
    d.add(archive);
    old.data(archive, eq("owner_id", "ownerId"));
  } else {
    d.add(labelled_archive).add(tags);
    old.data(labelled_archive, eq("owner_id", "ownerId")).data(tags, eq("owner_id", "ownerId"));
  }
  d.rule("urgent")
      .prefix("urgent:")
      .parameter("ownerId", actor::owner_id)
      .priority(9)
      .data(urgent, eq("owner_id", "ownerId"));
  return d;
}

/// Pulls page by page from the world's server.
class Device {
 public:
  Device(World& world, Release release) : world_(world) { open(release); }
  void open(Release release) {
    store_.reset();
    domain_ = compiled(domain(release));
    client::LocalStoreOptions options;
    options.path = world_.dir.file("device.db");
    options.domain = domain_;
    options.actor = actor_;
    store_ = require(client::LocalStore::open(std::move(options), world_.clock, random_, Log{}), "opening a device");
  }
  struct Page {
    protocol::PullPage page;
    client::LocalStore::PullApplied applied;
  };
  Page pull_page(std::size_t limit) {
    const auto request = require(store_->next_pull(limit), "the next pull");
    const auto response = world_.post(protocol::kPullPath, actor_, protocol::encode_pull_request(request));
    Page pulled{require(protocol::decode_page(domain_->domain(), response.body), "decoding a page"), {}};
    pulled.applied = require(store_->apply_page(request, pulled.page), "applying a page");
    return pulled;
  }
  void pull() {
    while (!pull_page(50).applied.complete) {
    }
  }
  Texts rows(const std::string& sql) {
    Texts rows;
    for (const auto& row : require(store_->sql(sql), sql).rows) {
      const auto* number = std::get_if<std::int64_t>(&row[0]);
      rows.push_back(number            ? std::to_string(*number)
                     : is_null(row[0]) ? std::string("-")
                                       : std::get<std::string>(row[0]));
    }
    return rows;
  }

 private:
  World& world_;
  Actor actor_{"u1", "o1", ""};
  SeededRandom random_{1};
  std::shared_ptr<const CompiledDomain> domain_;
  std::unique_ptr<client::LocalStore> store_;
};

struct FirstSyncOrder : ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, FirstSyncOrder, every_backend(), kind_name);

std::string papers_sql(const std::string& table, int count) {
  std::string sql = fmt::format("INSERT INTO {}(id, owner_id, title) VALUES", table);
  for (int i = 0; i < count; ++i) sql += fmt::format("{}('{}{:03}', 'o1', 't')", i == 0 ? "" : ", ", table, i);
  return sql;
}

TEST_P(FirstSyncOrder, RowsOfTheRuleWithTheHigherPriorityArriveFirstAndCanBeUsed) {
  World world(1, domain(Release::first), {}, GetParam());
  world.sql(papers_sql("archive", 60) + ";" + papers_sql("urgent", 35));
  Device device(world, Release::first);
  const auto expect = [&](const char* urgent_rows, const char* archive_rows) {
    EXPECT_EQ(device.rows("SELECT count(*) FROM urgent"), Texts{urgent_rows});
    EXPECT_EQ(device.rows("SELECT count(*) FROM archive"), Texts{archive_rows});
  };
  const auto first = device.pull_page(20);
  expect("20", "0");
  ASSERT_TRUE(first.applied.progress);
  EXPECT_EQ(first.applied.progress->rows, 20u);
  EXPECT_EQ(first.applied.progress->total, 95u);
  device.pull_page(20);
  expect("35", "5");
  // It goes on after a restart, and what is written meanwhile comes too.
  device.open(Release::first);
  world.sql("INSERT INTO urgent(id, owner_id, title) VALUES('urgent999', 'o1', 'new')");
  device.pull();
  expect("36", "60");
}

struct AppUpgrade : ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, AppUpgrade, every_backend(), kind_name);

TEST_P(AppUpgrade, ANewColumnAndANewTableAreFilledForWhatIsHereAlready) {
  // The server is upgraded first; a device of the first release lives with it.
  World world(1, domain(Release::second), {}, GetParam());
  world.sql(
      "INSERT INTO archive(id, owner_id, title, label) VALUES('a1', 'o1', 'one', 'red'), ('a2', 'o1', 'two', NULL);"
      "INSERT INTO tags(id, owner_id, text) VALUES('g1', 'o1', 'a tag'), ('g2', 'o2', 'another owner''s')");
  Device device(world, Release::first);
  device.pull();
  EXPECT_EQ(device.rows("SELECT title FROM archive ORDER BY id"), (Texts{"one", "two"}));

  device.open(Release::second);
  EXPECT_EQ(device.rows("SELECT label FROM archive ORDER BY id"), (Texts{"-", "-"})) << "shown at once, filled later";
  device.pull();
  EXPECT_EQ(device.rows("SELECT label FROM archive ORDER BY id"), (Texts{"red", "-"}));
  EXPECT_EQ(device.rows("SELECT text FROM tags"), Texts{"a tag"});
}

TEST_P(AppUpgrade, FillingIsSeenWholeAndGoesOnAfterARestart) {
  World world(1, domain(Release::second), {}, GetParam());
  world.sql(papers_sql("archive", 90));
  Device device(world, Release::first);
  device.pull();
  world.sql("UPDATE archive SET label = 'l'");
  device.pull();
  EXPECT_EQ(device.rows("SELECT count(*) FROM archive"), Texts{"90"});

  device.open(Release::second);
  int pages = 1;
  while (!device.pull_page(20).applied.complete) {
    EXPECT_EQ(device.rows("SELECT count(label) FROM archive"), Texts{"0"});
    if (++pages == 3) device.open(Release::second);
  }
  EXPECT_GE(pages, 5);
  EXPECT_EQ(device.rows("SELECT count(label) FROM archive"), Texts{"90"});
}

TEST_P(AppUpgrade, AnUpgradeInTheMiddleOfTheFirstSyncEndsWithEverything) {
  World world(1, domain(Release::second), {}, GetParam());
  world.sql(papers_sql("archive", 60) + ";UPDATE archive SET label = 'l';" + papers_sql("urgent", 30));
  Device device(world, Release::first);
  for (int i = 0; i < 3; ++i) device.pull_page(20);
  device.open(Release::second);
  device.pull();
  EXPECT_EQ(device.rows("SELECT count(label) FROM archive"), Texts{"60"});
  EXPECT_EQ(device.rows("SELECT count(*) FROM urgent"), Texts{"30"});
}

}  // namespace
}  // namespace nizhal::testing
