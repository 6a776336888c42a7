#include "server/row_updates.hpp"

#include <gtest/gtest.h>

#include "base/json.hpp"
#include "domain/value_json.hpp"
#include "server/merge_test_rows.hpp"
#include "server/recent_updates.hpp"

namespace nizhal::server {
namespace {

using testing::Pad;

struct Doc {
  std::string id;
  CrdtText body;
  Json extra;
  CrdtText notes;
};
const TableDef kTable = table<Doc>("docs")
                            .key("id", &Doc::id)
                            .column("body", &Doc::body)
                            .column("extra", &Doc::extra)
                            .column("notes", &Doc::notes)
                            .def();

storage::EncodedRow encoded(const crdt::Bytes& body, const crdt::Bytes& notes, const RecentUpdates& recent,
                            const std::string& extra = R"({"a":[1,"},\"]"],"update":"x"})") {
  storage::EncodedRow row{.table = 0, .version = Version{9}, .key = "d\"1", .json = {}};
  append_row_json(row.json, kTable, {std::string("d\"1,}"), Blob{body}, extra, Blob{notes}});
  row.recent = recent.bytes();
  return row;
}

struct Written {
  Pad pad{1};
  crdt::Bytes start = pad.type(0, std::string(200, 'x'));
  crdt::Bytes edit = pad.type(0, "new ");
  RecentUpdates recent;
  Written() {
    recent.begin("body", Version{5});
    recent.begin("notes", Version{5});
    recent.add("body", Version{8}, edit);
  }
};

TEST(RowUpdates, OnlyWhatTheDeviceLacksIsSent) {
  const Written written;
  const auto row = encoded(written.pad.state(), written.start, written.recent);
  const std::string sent = row_with_updates(kTable, row, Version{7});
  EXPECT_LT(sent.size() + 300, row.json.size());
  const auto parsed = parse_json(sent);
  ASSERT_TRUE(parsed) << sent;
  const json::object& object = *parsed->if_object();
  EXPECT_EQ(to_text(object.at("body")), "{\"update\":\"" + to_base64(written.edit) + "\"}");
  EXPECT_EQ(to_text(object.at("notes")), R"({"update":"AAA="})");
  EXPECT_EQ(to_text(object.at("extra")), R"({"a":[1,"},\"]"],"update":"x"})");
  EXPECT_EQ(to_text(object.at("id")), R"("d\"1,}")");
  // Who has that too lacks nothing.
  EXPECT_NE(row_with_updates(kTable, row, Version{8}).find(R"("body":{"update":"AAA="})"), std::string::npos);
}

TEST(RowUpdates, WhatTheyDoNotReachBackToIsSentWhole) {
  const Written written;
  const auto row = encoded(written.pad.state(), written.start, written.recent);
  EXPECT_EQ(row_with_updates(kTable, row, Version{4}), row.json);
  EXPECT_EQ(row_with_updates(kTable, encoded(written.pad.state(), written.start, {}), Version{7}), row.json);
}

TEST(RowUpdates, AStateThatIsShorterIsSentWhole) {
  Pad pad(1);
  RecentUpdates recent;
  recent.begin("body", Version{5});
  recent.add("body", Version{8}, pad.type(0, "ab"));
  const auto row = encoded(pad.state(), crdt::kEmptyUpdate, recent);
  EXPECT_EQ(row_with_updates(kTable, row, Version{7}), row.json);
}

TEST(RowUpdates, UpdatesThatAreNoneAreNotSent) {
  Written written;
  written.recent.add("body", Version{9}, {200, 200, 200});
  const auto row = encoded(written.pad.state(), crdt::kEmptyUpdate, written.recent);
  EXPECT_EQ(row_with_updates(kTable, row, Version{7}), row.json);
}

TEST(RowUpdates, TextThatIsNoRowStaysAsItIs) {
  const Written written;
  for (const char* json : {"", "{", "[]", R"({"body)", R"({"body":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA)",
                           R"({"body":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} )", R"({"body":"\)"}) {
    storage::EncodedRow row{.table = 0, .version = Version{9}, .key = "k", .json = json};
    row.recent = written.recent.bytes();
    EXPECT_EQ(row_with_updates(kTable, row, Version{9}), json);
  }
}

}  // namespace
}  // namespace nizhal::server
