#include "cli/skeleton.hpp"

#include <gtest/gtest.h>

namespace nizhal::cli {
namespace {

using storage::IntrospectedColumn;
using storage::IntrospectedSchema;
using storage::IntrospectedTable;

IntrospectedColumn column(std::string name, ColumnType type, bool nullable = false) {
  return {.name = std::move(name), .declared_type = "", .type = type, .fault = "", .nullable = nullable};
}
IntrospectedColumn left_out(std::string name, std::string declared, std::string fault) {
  return {
      .name = std::move(name), .declared_type = std::move(declared), .type = std::nullopt, .fault = std::move(fault)};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(Skeleton, ATableBecomesAStructAndADeclaration) {
  IntrospectedTable notes{
      .name = "team_notes",
      .columns = {column("id", ColumnType::uuid), column("team_id", ColumnType::text),
                  column("stars", ColumnType::integer), column("seen_at", ColumnType::timestamp, true)},
      .key = "id",
      .fault = "",
      .foreign_keys = {{"team_id", "teams", "id"}}};
  const std::string text = domain_skeleton({.place = "here", .tables = {notes}});
  EXPECT_TRUE(has(text,
                  "struct TeamNote {\n  nizhal::Uuid id;\n  std::string team_id;  // foreign key: teams.id\n"
                  "  std::int32_t stars = 0;\n  std::optional<nizhal::Timestamp> seen_at;\n};\n"))
      << text;
  EXPECT_TRUE(has(text,
                  "inline const auto team_notes = nizhal::table<TeamNote>(\"team_notes\")\n"
                  "    .key(\"id\", &TeamNote::id)\n    .column(\"team_id\", &TeamNote::team_id)\n"))
      << text;
  EXPECT_TRUE(has(text, "//   team_id in team_notes (foreign key: teams.id)\n")) << text;
  EXPECT_TRUE(has(text, "// d.rule(\"mine\")\n")) << text;
  IntrospectedTable teams{
      .name = "teams", .columns = {column("id", ColumnType::text)}, .key = "id", .fault = "", .foreign_keys = {}};
  EXPECT_TRUE(has(domain_skeleton({.place = "here", .tables = {notes, teams}}),
                  "//     .data(teams, nizhal::eq(\"id\", \"teamId\"))\n"
                  "  //     .data(team_notes, nizhal::eq(\"team_id\", \"teamId\"));\n"));
}

TEST(Skeleton, WhatCannotBeSyncedStandsThereWithTheReason) {
  IntrospectedTable notes{.name = "notes",
                          .columns = {column("id", ColumnType::text), left_out("tags", "text[]", "arrays do not sync"),
                                      left_out("a\nb", "text", "its name has a line end; rename it")},
                          .key = "id",
                          .fault = "",
                          .foreign_keys = {}};
  IntrospectedTable pairs{.name = "pairs",
                          .columns = {column("a", ColumnType::text)},
                          .key = "",
                          .fault = "its primary key has several columns",
                          .foreign_keys = {}};
  IntrospectedTable odd{
      .name = "odd\n#error", .columns = {column("id", ColumnType::text)}, .key = "id", .fault = "", .foreign_keys = {}};
  const std::string text = domain_skeleton({.place = "here\nthere", .tables = {notes, odd, pairs}});
  EXPECT_TRUE(has(text,
                  "  // tags text[] is left out: arrays do not sync.\n"
                  "  //   It is NOT NULL without a default, so mutators cannot insert rows until it has one.\n"))
      << text;
  EXPECT_TRUE(has(text, "  // a b text is left out")) << text;
  EXPECT_TRUE(has(text, "// Table \"pairs\" is left out: its primary key has several columns.")) << text;
  EXPECT_TRUE(has(text, "// Table \"odd #error\" is left out: its name has characters")) << text;
  EXPECT_FALSE(has(text, "\n#error")) << text;
  EXPECT_FALSE(has(text, "d.add(pairs)")) << text;
}

TEST(Skeleton, WordsOfTheLanguageAndEqualNamesAreToldApart) {
  const auto table = [](std::string name) {
    return IntrospectedTable{.name = std::move(name),
                             .columns = {column("class", ColumnType::text), column("default", ColumnType::boolean)},
                             .key = "class",
                             .fault = "",
                             .foreign_keys = {}};
  };
  const std::string text =
      domain_skeleton({.place = "", .tables = {table("Note"), table("domain"), table("note"), table("notes")}});
  EXPECT_TRUE(has(text, "  std::string class_;\n  bool default_ = false;\n")) << text;
  EXPECT_TRUE(has(text, ".key(\"class\", &NoteRow::class_)")) << text;
  EXPECT_TRUE(has(text, "inline const auto domain_ = nizhal::table<Domain>(\"domain\")")) << text;
  for (const char* name : {"struct NoteRow {", "struct NoteRowRow {", "struct NoteRowRowRow {"})
    EXPECT_TRUE(has(text, name)) << name << "\n" << text;
}

TEST(Skeleton, ATableThatNamesUsersAndASharedColumnMakesARuleByMembership) {
  IntrospectedTable members{.name = "shop_members",
                            .columns = {column("id", ColumnType::text), column("shop_id", ColumnType::text),
                                        column("user_id", ColumnType::text)},
                            .key = "id",
                            .fault = "",
                            .foreign_keys = {}};
  IntrospectedTable orders{.name = "orders",
                           .columns = {column("id", ColumnType::text), column("shop_id", ColumnType::text),
                                       column("note_id", ColumnType::text)},
                           .key = "id",
                           .fault = "",
                           .foreign_keys = {}};
  const std::string text = domain_skeleton({.place = "", .tables = {orders, members}});
  EXPECT_TRUE(has(text, "//   shop_id in orders, shop_members\n")) << text;
  EXPECT_FALSE(has(text, "//   note_id in")) << "nothing else has it: " << text;
  EXPECT_TRUE(has(text,
                  "// d.rule(\"byShopId\")\n  //     .membership(shop_members, nizhal::where(\"user_id\", "
                  "nizhal::actor::user_id), nizhal::bucket(\"shopId\", \"shop_id\"))\n"
                  "  //     .data(orders, nizhal::eq(\"shop_id\", \"shopId\"))\n"
                  "  //     .data(shop_members, nizhal::eq(\"shop_id\", \"shopId\"));\n"))
      << text;
}

}  // namespace
}  // namespace nizhal::cli
