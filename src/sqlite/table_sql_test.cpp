#include "sqlite/table_sql.hpp"

#include <gtest/gtest.h>

namespace nizhal::sqlite {
namespace {

TableDef entries() {
  TableDef table;
  table.name = "entries";
  table.key = "id";
  table.columns = {{"id", ColumnType::text, false, {}},
                   {"kind", ColumnType::text, false, Value(std::string("it's"))},
                   {"amount", ColumnType::bigint, false, Value(std::int64_t{0})},
                   {"note", ColumnType::text, true, {}},
                   {"at", ColumnType::timestamp, false, Value(std::int64_t{0})}};
  return table;
}

const TableDef kEntries = entries();

Row entry(const std::string& id, const std::string& kind, std::int64_t amount, Value note = {}) {
  return {Value(id), Value(kind), Value(amount), std::move(note), Value(std::int64_t{1'000'001})};
}
Value key(const std::string& id) { return Value(id); }

class TableSqlTest : public testing::Test {
 protected:
  void SetUp() override {
    auto connection = Connection::open(":memory:", {});
    ASSERT_TRUE(connection);
    connection_ = std::move(*connection);
    ASSERT_TRUE(connection_->execute(table_ddl(kEntries, {"\"nz_version\" INTEGER NOT NULL DEFAULT 0"})));
  }
  std::optional<Row> select(const std::string& id) { return select_row(*connection_, kEntries, key(id)).value(); }

  std::unique_ptr<Connection> connection_;
};

TEST(TableDdl, ColumnsHaveTheirStorageClassNullabilityAndDefault) {
  EXPECT_EQ(column_ddl(kEntries, kEntries.columns[0]), "\"id\" TEXT PRIMARY KEY NOT NULL");
  EXPECT_EQ(column_ddl(kEntries, kEntries.columns[1]), "\"kind\" TEXT NOT NULL DEFAULT 'it''s'");
  EXPECT_EQ(column_ddl(kEntries, kEntries.columns[2]), "\"amount\" INTEGER NOT NULL DEFAULT 0");
  EXPECT_EQ(column_ddl(kEntries, kEntries.columns[3]), "\"note\" TEXT");
  EXPECT_EQ(column_ddl(kEntries, kEntries.columns[4]), "\"at\" TEXT NOT NULL DEFAULT '1970-01-01T00:00:00.000000Z'");
  EXPECT_EQ(column_ddl(kEntries, {"done", ColumnType::boolean, false, Value(true)}),
            "\"done\" INTEGER NOT NULL DEFAULT 1");
  EXPECT_EQ(column_ddl(kEntries, {"w", ColumnType::real, true, Value(-1.0)}), "\"w\" REAL DEFAULT -1.0");
  EXPECT_EQ(column_ddl(kEntries, {"b", ColumnType::blob, false, Value(Blob{{1}})}),
            "\"b\" BLOB NOT NULL DEFAULT X'01'");
}

TEST(TableDdl, EveryDefaultIsValidSqlAndReadsBack) {
  const std::pair<ColumnType, Value> defaults[] = {{ColumnType::text, Value(std::string("a'b\"c"))},
                                                   {ColumnType::bigint, Value(std::int64_t{-5})},
                                                   {ColumnType::real, Value(-1e300)},
                                                   {ColumnType::boolean, Value(true)},
                                                   {ColumnType::numeric, Value(std::string("-1.50"))},
                                                   {ColumnType::timestamp, Value(std::int64_t{-1})},
                                                   {ColumnType::date, Value(std::string("2026-01-02"))},
                                                   {ColumnType::json, Value(std::string("{\"a\":\"it's\"}"))},
                                                   {ColumnType::blob, Value(Blob{{0, 255}})},
                                                   {ColumnType::text, Value{}}};
  for (const auto& [type, value] : defaults) {
    TableDef table;
    table.name = "t";
    table.key = "id";
    table.columns = {{"id", ColumnType::bigint, false, {}}, {"c", type, true, value}};
    auto connection = Connection::open(":memory:", {});
    ASSERT_TRUE(connection);
    ASSERT_TRUE((*connection)->execute(table_ddl(table))) << table_ddl(table);
    ASSERT_TRUE((*connection)->execute("INSERT INTO t (id) VALUES (1)"));
    const auto row = select_row(**connection, table, Value(std::int64_t{1}));
    ASSERT_TRUE(row && row->has_value());
    EXPECT_EQ((**row)[1], value) << table_ddl(table);
  }
}

TEST_F(TableSqlTest, AnInsertedRowIsReadBack) {
  const Row row = entry("a", "credit", 500, Value(std::string("hello")));
  EXPECT_TRUE(insert_row(*connection_, kEntries, row).value());
  EXPECT_EQ(select("a"), row);
  EXPECT_EQ(select("b"), std::nullopt);
}

TEST_F(TableSqlTest, AnInsertUnderATakenKeyWritesNothing) {
  ASSERT_TRUE(insert_row(*connection_, kEntries, entry("a", "credit", 500)).value());
  EXPECT_FALSE(insert_row(*connection_, kEntries, entry("a", "debit", 1)).value());
  EXPECT_EQ(select("a"), entry("a", "credit", 500));
}

TEST_F(TableSqlTest, AnInsertThatBreaksAnotherRuleIsAnErrorAndNotATakenKey) {
  Row row = entry("a", "credit", 500);
  row[1] = Value{};
  const auto inserted = insert_row(*connection_, kEntries, row);
  ASSERT_FALSE(inserted);
  EXPECT_NE(inserted.error().message.find("entries.kind"), std::string::npos);
}

TEST_F(TableSqlTest, AnUpsertReplacesTheDeclaredColumnsAndKeepsTheOthers) {
  ASSERT_TRUE(upsert_row(*connection_, kEntries, entry("a", "credit", 500)));
  ASSERT_TRUE(connection_->execute("UPDATE entries SET nz_version = 7"));
  ASSERT_TRUE(upsert_row(*connection_, kEntries, entry("a", "debit", 1, Value(std::string("n")))));
  EXPECT_EQ(select("a"), entry("a", "debit", 1, Value(std::string("n"))));
  EXPECT_EQ(connection_->query_integer("SELECT nz_version FROM entries").value(), 7);
}

TEST_F(TableSqlTest, AnUpdateChangesOnlyWhatItNames) {
  ASSERT_TRUE(insert_row(*connection_, kEntries, entry("a", "credit", 500)).value());
  EXPECT_TRUE(update_row(*connection_, kEntries, key("a"), {{2, Value(std::int64_t{7})}, {3, Value(std::string("n"))}})
                  .value());
  EXPECT_EQ(select("a"), entry("a", "credit", 7, Value(std::string("n"))));
  EXPECT_FALSE(update_row(*connection_, kEntries, key("b"), {{2, Value(std::int64_t{7})}}).value());
  EXPECT_TRUE(update_row(*connection_, kEntries, key("a"), {}).value());
  EXPECT_FALSE(update_row(*connection_, kEntries, key("b"), {}).value());
  EXPECT_FALSE(update_row(*connection_, kEntries, key("a"), {{9, Value{}}}));
}

TEST_F(TableSqlTest, ADeleteTellsWhetherThereWasARow) {
  ASSERT_TRUE(insert_row(*connection_, kEntries, entry("a", "credit", 500)).value());
  EXPECT_TRUE(delete_row(*connection_, kEntries, key("a")).value());
  EXPECT_FALSE(delete_row(*connection_, kEntries, key("a")).value());
  EXPECT_EQ(select("a"), std::nullopt);
}

TEST_F(TableSqlTest, ARowOfTheWrongWidthIsRefused) {
  const auto inserted = insert_row(*connection_, kEntries, {Value(std::string("a"))});
  ASSERT_FALSE(inserted);
  EXPECT_EQ(inserted.error().code, ErrorCode::internal);
}

TEST_F(TableSqlTest, SelectedRowsCanBeNarrowedByMoreSql) {
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(
        insert_row(*connection_, kEntries, entry(std::string(1, static_cast<char>('a' + i)), "credit", i)).value());
  QuerySpec query;
  query.table = &kEntries;
  query.conditions = {ge("amount", 1)};
  query.order = {{"amount", Direction::descending}};
  query.limit = 2;
  const auto rows = select_rows(*connection_, query, "\"amount\" < 4");
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(*rows, (std::vector<Row>{entry("d", "credit", 3), entry("c", "credit", 2)}));
  query.conditions = {eq("nothing", 1)};
  EXPECT_EQ(select_rows(*connection_, query).error().code, ErrorCode::invalid_args);
}

TEST_F(TableSqlTest, ATableOfOnlyAKeyCanBeUpserted) {
  TableDef table;
  table.name = "keys";
  table.key = "id";
  table.columns = {{"id", ColumnType::integer, false, {}}};
  ASSERT_TRUE(connection_->execute(table_ddl(table)));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(upsert_row(*connection_, table, {Value(std::int64_t{1})}));
  EXPECT_EQ(connection_->query_integer("SELECT count(*) FROM keys").value(), 1);
}

}  // namespace
}  // namespace nizhal::sqlite
