// Columns that merge over a target, the app's own backend: it is sent updates, it sends whole states, and its rows
// stand.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "client/merging_test_support.hpp"
#include "net/target_adapter.hpp"

namespace nizhal::net {
namespace {

using namespace client::testing::papers;
using client::testing::Device;

/// A backend that merges what it is sent, as docs/brownfield.md says.
class MergingBackend : public SyncTarget {
 public:
  std::string title = "one";
  crdt::Bytes body = crdt::kEmptyUpdate;
  std::vector<TargetMutation> pushes;
  std::function<TargetPage()> page = [this] {
    TargetPage whole;
    whole.changed(kPapers, Paper{"p1", "o1", title, "new", CrdtText{body}, {}});
    whole.cursor = "1";
    return whole;
  };
  TargetResult<TargetPage> pull(const TargetPull&) override { return page(); }
  TargetResult<Outcome> push(const TargetMutation& mutation) override {
    pushes.push_back(mutation);
    const auto args = parse_json(mutation.args);
    if (!args) return reject("bad_args", "no JSON");
    if (mutation.name == "retitle") title = std::string(string_member(*args, "title").value_or(""));
    if (mutation.name == "edit") {
      auto update = from_base64(string_member(*args, "update").value_or(""));
      if (!update) return reject("bad_args", "no base64");
      body = merged(body, *update);
    }
    return done();
  }
};

struct TargetMerging : ::testing::Test {
  TempDir folder;
  ManualClock clock{client::testing::kStart};
  Writer writer{folder.file("a.db"), clock};
  std::shared_ptr<MergingBackend> backend = std::make_shared<MergingBackend>();
  TargetAdapter adapter{backend, writer.device.store(), Log()};

  Result<protocol::HttpResponse> ask(std::string_view path, std::string body) {
    protocol::HttpRequest request;
    request.path = std::string(path);
    request.body = std::move(body);
    return adapter.answer(request);
  }
  void push() {
    const auto sent = *writer.device.store().next_push(10, 1 << 20);
    const auto answer = ask(protocol::kPushPath, protocol::encode_push_request(sent));
    ASSERT_TRUE(answer && answer->status == 200);
    ASSERT_TRUE(writer.device.store().settle_push(sent, *protocol::decode_push_reply(answer->body)));
  }
  /// Empty, or what was wrong.
  std::string pull() {
    const auto request = *writer.device.store().next_pull(100);
    const auto answer = ask(protocol::kPullPath, protocol::encode_pull_request(request));
    if (!answer) return answer.error().message;
    if (answer->status != 200) return answer->body;
    const auto page = protocol::decode_page(writer.device.store().domain().domain(), answer->body);
    if (!page) return page.error().message;
    const auto applied = writer.device.store().apply_page(request, *page);
    return applied ? "" : applied.error().message;
  }
};

TEST_F(TargetMerging, WhatIsPushedIsTheUpdateAndWhatIsPendingIsMergedIntoTheStateThatComes) {
  backend->body = typed(crdt::kEmptyUpdate, 7, "base").bytes;
  ASSERT_EQ(pull(), "");
  EXPECT_EQ(writer.text("p1"), "base");
  const Blob mine = typed(writer.bodies()["p1"], 8, "mine");
  ASSERT_TRUE(writer.edit("p1", mine));
  // Somebody else writes there before it arrives.
  backend->body = merged(backend->body, typed(backend->body, 9, "theirs").bytes);
  push();
  ASSERT_EQ(backend->pushes.size(), 1u);
  EXPECT_EQ(backend->pushes[0].args, R"({"id":"p1","update":")" + to_base64(mine.bytes) + R"("})");
  ASSERT_TRUE(writer.edit("p1", typed(writer.bodies()["p1"], 10, "later")));
  ASSERT_EQ(pull(), "");
  const std::string shown = writer.text("p1");
  for (const char* part : {"base", "mine", "theirs", "later"})
    EXPECT_NE(shown.find(part), std::string::npos) << part << " in " << shown;
  EXPECT_EQ(shown.size(), std::string("baseminetheirslater").size()) << "each once: " << shown;
  EXPECT_EQ(writer.device.outbox().size(), 1u);
  push();
  ASSERT_EQ(pull(), "");
  EXPECT_TRUE(writer.device.outbox().empty());
  EXPECT_EQ(writer.text("p1"), text_of(backend->body));
  EXPECT_EQ(writer.text("p1"), shown);
}

TEST_F(TargetMerging, ARowWithoutTheColumnIsEmptyAndAValueThatIsNoStateIsNamedAndNothingIsApplied) {
  backend->page = [] {
    TargetPage page;
    page.changed_json("papers", R"({"id":"p1","owner_id":"o1","title":"one","state":"new"})");
    page.cursor = "1";
    return page;
  };
  ASSERT_EQ(pull(), "");
  EXPECT_EQ(writer.text("p1"), "");
  ASSERT_TRUE(writer.edit("p1", typed(writer.bodies()["p1"], 8, "pending")));
  for (const char* broken : {R"("////")", R"("")", R"("no base64!")", "7"}) {
    backend->page = [&] {
      TargetPage page;
      page.changed_json("papers", R"({"id":"p2","owner_id":"o1","title":"two","state":"new"})");
      page.changed_json(
          "papers", R"({"id":"p1","owner_id":"o1","title":"other","state":"new","body":)" + std::string(broken) + "}");
      page.cursor = "2";
      return page;
    };
    const std::string why = pull();
    EXPECT_NE(why.find("papers"), std::string::npos) << why;
    EXPECT_NE(why.find("body"), std::string::npos) << why;
    EXPECT_EQ(writer.bodies().size(), 1u) << broken;
    EXPECT_EQ(writer.text("p1"), "pending") << broken;
  }
}

TEST_F(TargetMerging, WhatTheBackendSaysOfAColumnStandsAndIsNoConflict) {
  ASSERT_EQ(pull(), "");
  ASSERT_TRUE(writer.retitle("p1", "mine"));
  push();
  EXPECT_EQ(backend->title, "mine");
  backend->title = "the backend's";
  ASSERT_EQ(pull(), "");
  EXPECT_EQ(writer.device.sql_text("SELECT title FROM papers"), "the backend's");
  EXPECT_TRUE(writer.device.store().conflicts()->empty());
  EXPECT_EQ(writer.device.store().facts().conflicts, 0u);
}

}  // namespace
}  // namespace nizhal::net
