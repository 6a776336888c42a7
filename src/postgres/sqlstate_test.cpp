// What each SQLSTATE means to the engine: the difference between "again" and "never".
#include <gtest/gtest.h>

#include <utility>

#include "postgres/connection.hpp"

namespace nizhal::postgres {
namespace {

TEST(Sqlstate, SaysWhetherAnotherAttemptMaySucceed) {
  const std::pair<const char*, ErrorCode> cases[] = {
      {"40001", ErrorCode::busy},                 // serialization failure
      {"40P01", ErrorCode::busy},                 // deadlock
      {"55P03", ErrorCode::busy},                 // lock timeout
      {"57014", ErrorCode::busy},                 // statement timeout
      {"57P01", ErrorCode::busy},                 // the administrator ended the session
      {"57P02", ErrorCode::busy},                 // another process of the server crashed
      {"57P03", ErrorCode::busy},                 // starting up
      {"25P03", ErrorCode::busy},                 // idle in a transaction
      {"25006", ErrorCode::busy},                 // a standby that is not promoted yet
      {"26000", ErrorCode::busy},                 // a prepared statement is gone
      {"53300", ErrorCode::busy},                 // too many connections
      {"53200", ErrorCode::busy},                 // out of memory
      {"08006", ErrorCode::busy},                 // the connection
      {"08P01", ErrorCode::busy},                 // a pooler's own trouble
      {"53100", ErrorCode::disk_full},            //
      {"58030", ErrorCode::io_error},             //
      {"XX001", ErrorCode::corrupt},              //
      {"23505", ErrorCode::constraint_violated},  //
      {"23514", ErrorCode::constraint_violated},  //
      {"23ZZZ", ErrorCode::constraint_violated},  // one that this program does not know yet
      {"22001", ErrorCode::constraint_violated},  // too long for its column
      {"P0001", ErrorCode::constraint_violated},  // RAISE EXCEPTION
      {"UX001", ErrorCode::constraint_violated},  // RAISE … USING ERRCODE of one's own
      {"42P01", ErrorCode::schema_mismatch},      // no such table
      {"42703", ErrorCode::schema_mismatch},      // no such column
      {"42501", ErrorCode::schema_mismatch},      // no rights on it
      {"28P01", ErrorCode::unauthorized},         //
      {"42601", ErrorCode::internal},             // our SQL is wrong
      {"XX000", ErrorCode::internal},             //
      {"", ErrorCode::internal},                  //
  };
  for (const auto& [sqlstate, code] : cases) EXPECT_EQ(code_of_sqlstate(sqlstate), code) << sqlstate;
}

TEST(Sqlstate, HasANameWherePeopleMeetIt) {
  EXPECT_EQ(name_of_sqlstate("40001"), "serialization_failure");
  EXPECT_EQ(name_of_sqlstate("23505"), "unique_violation");
  EXPECT_EQ(name_of_sqlstate("UX001"), "");
}

TEST(DatabaseUrl, IsDescribedWithoutItsPassword) {
  EXPECT_EQ(describe_url("postgresql://me:secret@db.example:6543/shop?sslmode=require"),
            "postgresql://me@db.example:6543/shop");
  EXPECT_EQ(describe_url("host=a,b port=1,2 user=me password=secret dbname=shop"), "postgresql://me@a:1,b:2/shop");
  EXPECT_EQ(describe_url("postgresql://me@%2Ftmp%2Fx:1/shop"), "postgresql://me@%2Ftmp%2Fx:1/shop");
  EXPECT_EQ(describe_url("postgresql://me:sec%zzret@h/shop").find("sec"), std::string::npos);
}

TEST(DatabaseUrl, ThatCannotBeReadIsRefusedWithoutQuotingIt) {
  ConnectOptions options;
  options.url = "postgresql://me:sec%zzret@h/shop";
  const auto connected = Connection::connect(options);
  ASSERT_FALSE(connected);
  EXPECT_EQ(connected.error().code, ErrorCode::usage);
  EXPECT_EQ(connected.error().message.find("sec"), std::string::npos) << connected.error().message;
}

}  // namespace
}  // namespace nizhal::postgres
