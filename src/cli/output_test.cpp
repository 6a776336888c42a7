#include "cli/output.hpp"

#include <gtest/gtest.h>

namespace nizhal::cli {
namespace {

TEST(Output, RowsAreObjectsWithTheirKeysInColumnOrder) {
  SqlResult rows;
  rows.columns = {"z", "a", "n", "b", "r"};
  rows.rows = {{Value("t\"x"), Value(std::int64_t{9007199254740993}), Value(), Value(Blob{{1, 2, 3}}), Value(1.5)}};
  EXPECT_EQ(rows_as_json(rows), R"([{"z":"t\"x","a":9007199254740993,"n":null,"b":"AQID","r":1.5}])");
}

TEST(Output, TwoColumnsOfOneNameStayApart) {
  SqlResult rows;
  rows.columns = {"id", "id"};
  rows.rows = {{Value(std::int64_t{1}), Value(std::int64_t{2})}};
  EXPECT_EQ(rows_as_json(rows), R"([{"id":1,"id:1":2}])");
}

TEST(Output, NoRowsAreAnEmptyArrayAndATableOfHeadings) {
  SqlResult rows;
  rows.columns = {"id"};
  EXPECT_EQ(rows_as_json(rows), "[]");
  EXPECT_EQ(rows_as_table(rows).text(), "id\n--");
}

TEST(Output, TablesAlignNumbersRightAndTextLeft) {
  SqlResult rows;
  rows.columns = {"name", "n"};
  rows.rows = {{Value("é"), Value(std::int64_t{5})}, {Value("longer"), Value(std::int64_t{12})}};
  EXPECT_EQ(rows_as_table(rows).text(), "name     n\n------  --\né        5\nlonger  12");
}

TEST(Output, AValueCannotDriveTheTerminal) {
  SqlResult rows;
  rows.columns = {"t"};
  rows.rows = {{Value("a\x1b[2Jb\nc\xff")}};
  const std::string text = rows_as_table(rows).text();
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\xff'), std::string::npos);
}

TEST(Output, ExitCodesFollowWhatACallerCanDo) {
  EXPECT_EQ(exit_code(ErrorCode::refused), kNo);
  EXPECT_EQ(exit_code(ErrorCode::identity_mismatch), kUsage);
  EXPECT_EQ(exit_code(ErrorCode::usage), kUsage);
  EXPECT_EQ(exit_code(ErrorCode::schema_mismatch), kDrift);
  EXPECT_EQ(exit_code(ErrorCode::unreachable), kUnusable);
  EXPECT_EQ(exit_code(ErrorCode::disk_full), kUnusable);
}

}  // namespace
}  // namespace nizhal::cli
