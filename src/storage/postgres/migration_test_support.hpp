// For tests only: a small domain in several versions, and a database to migrate.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/domain.hpp>

#include "storage/postgres/migration.hpp"
#include "storage/postgres/other_program.hpp"
#include "storage/postgres/postgres_storage.hpp"

namespace nizhal::storage {

struct Item {
  std::string id, shop, name;
};
struct Member {
  std::string id, user_id, shop;
};
struct Note {
  std::string id, owner_id, body;
};

/// What the versions of the domain differ in.
struct ShopVersion {
  std::string version = "1.0.0";
  bool has_notes = true;
  bool delivers_members = false;
  bool shares_items_by_name = false;  // another definition on the membership table
  enum class Items {
    plain,
    with_note,       // + note text null
    with_counted,    // + counted integer not null default 0
    with_required,   // + counted integer not null
    without_name,    // name is gone
    name_is_number,  // name integer
    name_may_be_null,
  } items = Items::plain;
};

struct NotedItem {
  std::string id, shop, name;
  std::optional<std::string> note;
};
struct CountedItem {
  std::string id, shop, name;
  std::int32_t counted = 0;
};
struct NamelessItem {
  std::string id, shop;
};
struct NumberedItem {
  std::string id, shop;
  std::int32_t name = 0;
};
struct MaybeNamedItem {
  std::string id, shop;
  std::optional<std::string> name;
};

inline std::shared_ptr<const CompiledDomain> shop_domain(const ShopVersion& v = {}) {
  using Items = ShopVersion::Items;
  Domain d("shop", {.version = v.version});
  const auto members =
      table<Member>("members").key("id", &Member::id).column("user_id", &Member::user_id).column("shop", &Member::shop);
  const auto notes =
      table<Note>("notes").key("id", &Note::id).column("owner_id", &Note::owner_id).column("body", &Note::body);
  const auto add_items = [&](const auto& items) {
    d.add(items);
    d.rule("items")
        .prefix("shop:")
        .membership(members, where("user_id", actor::user_id), bucket("shop", "shop"))
        .data(items, eq("shop", "shop"));
    if (v.shares_items_by_name)
      d.rule("colleagues")
          .prefix("staff:")
          .membership(members, where("user_id", actor::user_id), bucket("shop", "shop"))
          .data(members, eq("shop", "shop"));
    else if (v.delivers_members)
      d.rule("members").prefix("me:").parameter("me", actor::user_id).data(members, eq("user_id", "me"));
  };
  d.add(members);
  if (v.has_notes) {
    d.add(notes);
    d.rule("own").parameter("owner", actor::owner_id).data(notes, eq("owner_id", "owner"));
  }
  switch (v.items) {
    case Items::plain:
      add_items(table<Item>("items").key("id", &Item::id).column("shop", &Item::shop).column("name", &Item::name));
      break;
    case Items::with_note:
      add_items(table<NotedItem>("items")
                    .key("id", &NotedItem::id)
                    .column("shop", &NotedItem::shop)
                    .column("name", &NotedItem::name)
                    .column("note", &NotedItem::note));
      break;
    case Items::with_counted:
      add_items(table<CountedItem>("items")
                    .key("id", &CountedItem::id)
                    .column("shop", &CountedItem::shop)
                    .column("name", &CountedItem::name)
                    .column("counted", &CountedItem::counted, default_value(0)));
      break;
    case Items::with_required:
      add_items(table<CountedItem>("items")
                    .key("id", &CountedItem::id)
                    .column("shop", &CountedItem::shop)
                    .column("name", &CountedItem::name)
                    .column("counted", &CountedItem::counted));
      break;
    case Items::without_name:
      add_items(table<NamelessItem>("items").key("id", &NamelessItem::id).column("shop", &NamelessItem::shop));
      break;
    case Items::name_is_number:
      add_items(table<NumberedItem>("items")
                    .key("id", &NumberedItem::id)
                    .column("shop", &NumberedItem::shop)
                    .column("name", &NumberedItem::name));
      break;
    case Items::name_may_be_null:
      add_items(table<MaybeNamedItem>("items")
                    .key("id", &MaybeNamedItem::id)
                    .column("shop", &MaybeNamedItem::shop)
                    .column("name", &MaybeNamedItem::name));
      break;
  }
  auto compiled = CompiledDomain::compile(std::move(d));
  EXPECT_TRUE(compiled.has_value()) << (compiled ? "" : compiled.error().message);
  return *compiled;
}

/// What the shop's tables look like in a database that has never met the engine.
inline constexpr const char* kOldShop =
    "CREATE TABLE members (id text PRIMARY KEY, user_id text NOT NULL, shop text NOT NULL);"
    "CREATE TABLE notes (id text PRIMARY KEY, owner_id text NOT NULL, body text NOT NULL);"
    "CREATE TABLE items (id text PRIMARY KEY, shop text NOT NULL, name text NOT NULL);";

/// A database that is migrated, with another program beside.
class MigratedDatabase {
 public:
  explicit MigratedDatabase(std::string database_url = testing::shared_server().create_database())
      : url(std::move(database_url)), other(url) {}

  Result<MigrateReport> migrate(const std::shared_ptr<const CompiledDomain>& domain, bool allow_breaking = false,
                                const MigrationTuning& tuning = {}) {
    auto connection = postgres::Connection::connect({.url = url, .statement_timeout = std::chrono::milliseconds(0)});
    EXPECT_TRUE(connection.has_value());
    MigrateOptions options;
    options.allow_breaking = allow_breaking;
    options.progress = [this](std::string_view line) { lines.emplace_back(line); };
    return migrate_database(**connection, *domain, system_random(), Log(), options, tuning);
  }
  /// Expects it to work; its sentences.
  std::vector<std::string> migrated(const std::shared_ptr<const CompiledDomain>& domain, bool allow_breaking = false) {
    auto report = migrate(domain, allow_breaking);
    EXPECT_TRUE(report.has_value()) << (report ? "" : report.error().message);
    EXPECT_EQ(differences(domain), std::vector<std::string>{});
    return report ? report->changes : std::vector<std::string>{};
  }
  /// `place what`, with `+` before what apply() mends and `!` before what is breaking.
  std::vector<std::string> differences(const std::shared_ptr<const CompiledDomain>& domain) {
    auto found = check_database(other.connection(), *domain);
    EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().message + other.connection().error_text());
    std::vector<std::string> texts;
    if (found) {
      for (const Difference& one : *found) {
        EXPECT_FALSE(one.fix.empty()) << one.place;
        texts.push_back((one.additive ? "+" : one.breaking ? "!" : " ") + one.place + " " + one.what);
      }
    }
    return texts;
  }
  std::string epoch() { return other.value("SELECT epoch FROM nizhal.state"); }
  std::vector<std::string> grants() {
    return other.query("SELECT subject || ':' || bucket || '=' || granting_rows FROM nizhal.bucket_grant ORDER BY 1");
  }

  const std::string url;
  OtherProgram other;
  std::vector<std::string> lines;  // of progress
};

using Names = std::vector<std::string>;

inline bool has_part(const std::vector<std::string>& texts, std::string_view part) {
  for (const std::string& text : texts)
    if (text.find(part) != std::string::npos) return true;
  return false;
}

}  // namespace nizhal::storage
