// The board with a file and a store's thread played by the test.
#include "net/ticket_board.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <stdexcept>

#include "net/net_test_support.hpp"

namespace nizhal::detail {
namespace {

using client::Settlement;
using client::Standing;
using net::test::kDeadline;
using std::chrono::milliseconds;

struct Board : ::testing::Test {
  void TearDown() override { board->close(); }
  void tell(Settlement::Kind kind, const std::string& id, Outcome outcome = done()) {
    auto commit = std::make_shared<client::Commit>();
    commit->settlements.push_back({kind, id, std::move(outcome)});
    board->committed(commit);
  }
  /// The store's thread has its turn.
  void run_posted() {
    while (!posted.empty()) {
      const auto work = std::move(posted.front());
      posted.pop_front();
      work();
    }
  }
  TicketBoard::Callback note(const std::string& name) {
    return [this, name](const Outcome& outcome) {
      called.push_back(name + (outcome.is_done() ? "" : "!" + outcome.code));
    };
  }
  void put(const std::string& id, Standing standing) {
    const std::lock_guard lock(file_mutex);
    file[id] = std::move(standing);
  }
  std::mutex file_mutex;
  std::map<std::string, Standing> file;
  std::deque<std::function<void()>> posted;
  std::vector<std::string> called;
  bool is_own_thread = false;
  std::shared_ptr<TicketBoard> board = std::make_shared<TicketBoard>(
      TicketBoard::Outside{.look_up = [this](const std::string& id) -> Result<Standing> {
                             const std::lock_guard lock(file_mutex);
                             return file[id];
                           },
                           .post = [this](std::function<void()> work) { posted.push_back(std::move(work)); },
                           .is_own_thread = [this] { return is_own_thread; }});
};

TEST_F(Board, CallbacksComeOnceInTheOrderOfTheTiersAndOnTheStoresThread) {
  put("a", {.tier = Tier::on_device, .outcome = done()});
  board->follow("a", Tier::confirmed, note("confirmed"));
  board->follow("a", Tier::on_server, note("on server"));
  tell(Settlement::Kind::applied, "a");
  EXPECT_TRUE(called.empty()) << "whoever commits calls nobody";
  run_posted();
  EXPECT_EQ(called, std::vector<std::string>{"on server"});
  tell(Settlement::Kind::applied, "a");
  tell(Settlement::Kind::confirmed, "a");
  tell(Settlement::Kind::confirmed, "a");
  run_posted();
  EXPECT_EQ(called, (std::vector<std::string>{"on server", "confirmed"}));
}

TEST_F(Board, ARefusalReachesBothTiersAtOnce) {
  put("a", {.tier = Tier::on_device, .outcome = done()});
  board->follow("a", Tier::confirmed, note("confirmed"));
  board->follow("a", Tier::on_server, note("on server"));
  tell(Settlement::Kind::refused, "a", reject("no", "because"));
  run_posted();
  EXPECT_EQ(called, (std::vector<std::string>{"on server!no", "confirmed!no"}));
}

TEST_F(Board, WhatIsReachedAlreadyIsToldFromTheFile) {
  put("a", {.tier = Tier::confirmed, .outcome = reject("no", "because")});
  board->follow("a", Tier::on_server, note("on server"));
  EXPECT_TRUE(called.empty());
  run_posted();
  EXPECT_EQ(called, std::vector<std::string>{"on server!no"});
  EXPECT_EQ(board->wait("a", Tier::confirmed, milliseconds(0))->code, "no");
}

TEST_F(Board, WhatTheFileDoesNotKnowIsNotFoundAndCallsNobody) {
  board->follow("a", Tier::on_server, note("on server"));
  EXPECT_EQ(board->wait("a", Tier::on_server, kDeadline).error().code, ErrorCode::not_found);
  run_posted();
  EXPECT_TRUE(called.empty());
}

TEST_F(Board, OnlyWhatIsFollowedIsRemembered) {
  for (int i = 0; i < 1000; ++i) tell(Settlement::Kind::applied, std::to_string(i));
  EXPECT_EQ(board->followed(), 0u);
  put("a", {.tier = Tier::on_device, .outcome = done()});
  EXPECT_EQ(board->wait("a", Tier::on_server, milliseconds(0)).error().code, ErrorCode::busy);
  EXPECT_EQ(board->followed(), 0u);
  board->follow("a", Tier::on_server, note("on server"));
  EXPECT_EQ(board->followed(), 1u);
  tell(Settlement::Kind::applied, "a");
  EXPECT_EQ(board->followed(), 0u);
  board->follow("unknown", Tier::on_server, note("on server"));
  EXPECT_EQ(board->followed(), 0u);
}

TEST_F(Board, ACallbackThatThrowsHoldsUpNobody) {
  put("a", {.tier = Tier::on_device, .outcome = done()});
  board->follow("a", Tier::on_server, [](const Outcome&) { throw std::runtime_error("a bug in the app"); });
  board->follow("a", Tier::on_server, [](const Outcome&) { throw 7; });
  board->follow("a", Tier::on_server, note("on server"));
  tell(Settlement::Kind::applied, "a");
  run_posted();
  EXPECT_EQ(called, std::vector<std::string>{"on server"});
}

TEST_F(Board, AllThatWaitAreWokenAndMayWaitForDifferentTiers) {
  put("a", {.tier = Tier::on_device, .outcome = done()});
  EXPECT_TRUE(board->wait("a", Tier::on_device, milliseconds(0))->is_done());
  std::vector<std::thread> threads;
  std::atomic<int> on_server{0}, confirmed{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const Tier tier = i % 2 ? Tier::on_server : Tier::confirmed;
      if (board->wait("a", tier, kDeadline)) ++(i % 2 ? on_server : confirmed);
    });
  }
  put("a", {.tier = Tier::on_server, .outcome = done()});
  tell(Settlement::Kind::applied, "a");
  threads[1].join();
  threads[3].join();
  EXPECT_EQ(on_server, 2);
  EXPECT_EQ(confirmed, 0);
  put("a", {.tier = Tier::confirmed, .outcome = done()});
  tell(Settlement::Kind::confirmed, "a");
  threads[0].join();
  threads[2].join();
  EXPECT_EQ(confirmed, 2);
}

TEST_F(Board, WhatAnotherProcessLearnedIsLookedUp) {
  put("a", {.tier = Tier::on_device, .outcome = done()});
  board->follow("a", Tier::on_server, note("on server"));
  put("a", {.tier = Tier::confirmed, .outcome = reject("no", "because")});
  auto commit = std::make_shared<client::Commit>();
  commit->changes.is_unknown = true;
  board->committed(commit);
  board->committed(commit);
  EXPECT_EQ(posted.size(), 1u);
  run_posted();
  EXPECT_EQ(called, std::vector<std::string>{"on server!no"});
}

TEST_F(Board, TheEndOfTheStoreEndsWhatWaitsAndCallsNobody) {
  put("a", {.tier = Tier::on_device, .outcome = done()});
  board->follow("a", Tier::on_server, note("on server"));
  std::atomic<ErrorCode> code{ErrorCode::internal};
  std::thread waiter([&] { code = board->wait("a", Tier::on_server, kDeadline).error().code; });
  // It may wait already or not yet: it is ended in both cases.
  board->close();
  waiter.join();
  EXPECT_EQ(code, ErrorCode::closed);
  tell(Settlement::Kind::applied, "a");
  run_posted();
  EXPECT_TRUE(called.empty());
  EXPECT_EQ(board->wait("a", Tier::on_server, kDeadline).error().code, ErrorCode::closed);
}

TEST_F(Board, WaitingOnTheStoresThreadIsAUsageError) {
  is_own_thread = true;
  EXPECT_EQ(board->wait("a", Tier::on_server, kDeadline).error().code, ErrorCode::usage);
}

TEST(Ticket, WithoutAStoreItIsClosed) {
  EXPECT_EQ(Ticket("a").wait(Tier::on_server, kDeadline).error().code, ErrorCode::closed);
  Ticket("a").on_server([](const Outcome&) { FAIL(); });
}

}  // namespace
}  // namespace nizhal::detail
