#include "storage/database_url.hpp"

#include <gtest/gtest.h>

namespace nizhal::storage {
namespace {

TEST(DatabaseUrl, TellsTheKindsApart) {
  EXPECT_EQ(kind_of_database("sqlite:a.db"), DatabaseKind::sqlite);
  EXPECT_EQ(sqlite_path("sqlite:a/b c.db"), "a/b c.db");
  for (const char* url : {"postgresql://u:p@h:5432/d?sslmode=require", "postgres://h/d", "postgresql://",
                          "host=/run/postgresql dbname=app", " dbname = app", "application_name=x"})
    EXPECT_EQ(kind_of_database(url), DatabaseKind::postgres) << url;
  for (const char* url : {"", "sqlite:", "a.db", "mysql://u@h/d?x=y", "postgresql:", "postgresql:/h", "=x", "a b=c",
                          "./dir=x/a.db", "file:a?mode=ro"})
    EXPECT_EQ(kind_of_database(url), std::nullopt) << url;
}

}  // namespace
}  // namespace nizhal::storage
