// Oracle 3: whatever happens to a device, a live query delivers what the same query gives when it is run from scratch
// at that commit, and its deltas lead there.
#include <gtest/gtest.h>

#include <thread>

#include "base/test_seed.hpp"
#include "client/commit.hpp"
#include "client/live_queries.hpp"
#include "tests/live_queries/history.hpp"

namespace nizhal::testing {
namespace {

using client::LiveQueries;
using Result = std::vector<Row>;

constexpr const char* kSql[] = {
    "SELECT team_id, count(*), total(score) FROM items GROUP BY team_id ORDER BY team_id",
    "SELECT items.id, regions.name FROM items JOIN teams ON teams.id = items.team_id JOIN regions ON regions.id = "
    "teams.region_id WHERE score > 1 ORDER BY items.id DESC LIMIT 12",
    "SELECT (SELECT count(*) FROM nizhal_outbox), (SELECT max(weight) FROM teams)",
};

struct Query {
  QuerySpec spec;
  std::string sql;  // instead
};

Result fresh(client::LocalStore& store, const Query& query) {
  if (query.sql.empty()) {
    auto rows = store.query(query.spec);
    EXPECT_TRUE(rows) << (rows ? "" : rows.error().message);
    return rows ? *rows : Result();
  }
  auto result = store.sql(query.sql);
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return result ? result->rows : Result();
}

std::vector<Query> random_queries(RandomQueries& random, std::size_t count) {
  std::vector<Query> queries;
  for (std::size_t i = 0; i < count; ++i) queries.push_back({random.query(), ""});
  for (const char* sql : kSql) queries.push_back({{}, sql});
  return queries;
}

/// The rows that a receiver has by following the deltas alone.
void follow(Result& rows, const RowSequence& delivered, const RawDelta& delta) {
  if (delta.is_first) {
    EXPECT_TRUE(delta.changes.empty());
    rows.clear();
    for (std::size_t i = 0; i < delivered.size(); ++i) rows.push_back(delivered.row(i));
  }
  for (const RawChange& change : delta.changes) {
    const auto at = rows.begin() + static_cast<std::ptrdiff_t>(change.index);
    ASSERT_LE(change.index + (change.step == Step::inserted ? 0 : 1), rows.size());
    if (change.step == Step::inserted) rows.insert(at, change.row);
    if (change.step == Step::updated) *at = change.row;
    if (change.step == Step::removed) {
      EXPECT_EQ(*at, change.row);
      rows.erase(at);
    }
  }
  ASSERT_EQ(rows.size(), delivered.size());
  for (std::size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(rows[i], delivered.row(i)) << "row " << i;
}

/// The number of the last commit, and whether rows may have changed since it was asked.
class LastCommit : public client::CommitListener {
 public:
  void committed(std::shared_ptr<const client::Commit> commit) override { number = commit->number; }
  std::uint64_t number = 0;
};

/// All live queries of a history, each delivery held against the results that there were at its commit.
class Oracle {
 public:
  Oracle(History& history, std::vector<Query> queries) : history_(history), queries_(std::move(queries)) {
    states_.resize(queries_.size());
    history_.closing = [this] { close(); };
    history_.reopened = [this] { open(); };
    open();
  }
  ~Oracle() { close(); }

  /// What the queries give now is right for deliveries at this commit. What others wrote comes without a commit of
  /// ours, so there may be several for one.
  void note() {
    for (std::size_t i = 0; i < queries_.size(); ++i) {
      Result result = fresh(history_.store(), queries_[i]);
      auto& at = states_[i].right[last_.number];
      if (at.empty() || at.back() != result) at.push_back(std::move(result));
    }
  }
  void process() {
    if (is_wanted_) live_->process();
    is_wanted_ = false;
  }
  /// Nothing waits: every query has what it gives now.
  void check_end() {
    ASSERT_TRUE(history_.store().notice_others());
    note();
    process();
    for (std::size_t i = 0; i < queries_.size(); ++i)
      ASSERT_EQ(states_[i].rows, fresh(history_.store(), queries_[i])) << "query " << i;
  }
  std::size_t deliveries = 0;

 private:
  struct State {
    Result rows;
    std::map<std::uint64_t, std::vector<Result>> right;
  };

  void open() {
    last_.number = 0;
    history_.store().add_listener(last_);
    live_ = std::make_unique<LiveQueries>(history_.store(), [this] { is_wanted_ = true; });
    for (std::size_t i = 0; i < queries_.size(); ++i) {
      states_[i] = State();
      LiveQueries::Receiver receiver;
      receiver.deliver = [this, i](const RowSequence& rows, const RawDelta& delta, std::uint64_t commit) {
        delivered(i, rows, delta, commit);
      };
      receiver.fail = [](const Error& error) { ADD_FAILURE() << error.message; };
      const auto added = queries_[i].sql.empty() ? live_->add(queries_[i].spec, std::move(receiver))
                                                 : live_->add_sql(queries_[i].sql, std::move(receiver));
      ASSERT_TRUE(added) << added.error().message;
    }
    note();
  }
  void close() {
    history_.store().remove_listener(last_);
    live_.reset();
  }
  void delivered(std::size_t query, const RowSequence& rows, const RawDelta& delta, std::uint64_t commit) {
    ++deliveries;
    State& state = states_[query];
    follow(state.rows, rows, delta);
    // Before its first write of its own nobody has told the commit's number.
    const auto at = state.right.find(last_.number == 0 ? 0 : commit);
    ASSERT_TRUE(at != state.right.end()) << "query " << query << " was delivered at commit " << commit;
    EXPECT_TRUE(std::find(at->second.begin(), at->second.end(), state.rows) != at->second.end())
        << "query " << query << " at commit " << commit;
  }

  History& history_;
  const std::vector<Query> queries_;
  std::vector<State> states_;
  LastCommit last_;
  std::unique_ptr<LiveQueries> live_;
  bool is_wanted_ = false;
};

TEST(LiveOracle, EveryDeliveryIsTheQueryRunFromScratchAtItsCommitAndTheDeltasLeadThere) {
  const std::uint64_t seed = test_seed("LiveOracle");
  std::size_t cases = 0;
  std::size_t deliveries = 0;
  for (std::uint64_t history_number = 0; history_number < 90 && !::testing::Test::HasFailure(); ++history_number) {
    SCOPED_TRACE("history " + std::to_string(history_number));
    SeededRandom dice(seed + history_number);
    RandomQueries random(dice);
    History history(dice);
    const auto queries = random_queries(random, 22);
    Oracle oracle(history, queries);
    for (int step = 0; step < 30 && !::testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      history.step();
      oracle.note();
      if (random.chance(2)) oracle.process();
    }
    oracle.check_end();
    cases += queries.size();
    deliveries += oracle.deliveries;
  }
  std::printf("%zu query x history cases, %zu deliveries compared\n", cases, deliveries);
  EXPECT_GE(cases, 2'000u);
}

TEST(LiveOracle, DeliveriesWhileAnotherThreadWritesAreStillOfOneCommitEach) {
  const std::uint64_t seed = test_seed("LiveOracle");
  for (std::uint64_t round = 0; round < 4; ++round) {
    SeededRandom dice(seed + round);
    RandomQueries random(dice);
    History history(dice);
    const auto queries = random_queries(random, 6);
    struct Delivery {
      std::uint64_t commit = 0;
      Result rows;
    };
    std::vector<std::vector<Delivery>> delivered(queries.size());
    std::atomic<bool> is_wanted{false};
    LiveQueries live(history.store(), [&] { is_wanted = true; });
    LastCommit last;
    history.store().add_listener(last);
    for (std::size_t i = 0; i < queries.size(); ++i) {
      LiveQueries::Receiver receiver;
      receiver.deliver = [&, i, followed = Result()](const RowSequence& rows, const RawDelta& delta,
                                                     std::uint64_t commit) mutable {
        follow(followed, rows, delta);
        delivered[i].push_back({commit, followed});
      };
      ASSERT_TRUE(queries[i].sql.empty() ? live.add(queries[i].spec, std::move(receiver))
                                         : live.add_sql(queries[i].sql, std::move(receiver)));
    }
    std::atomic<bool> is_over{false};
    std::thread reader([&] {
      while (!is_over || is_wanted) {
        if (is_wanted.exchange(false)) live.process();
        std::this_thread::yield();
      }
    });
    std::vector<std::map<std::uint64_t, Result>> right(queries.size());
    for (int step = 0; step < 150; ++step) {
      // Not before the first commit of this handle: its number is then known.
      history.mutate(history.store());
      for (std::size_t i = 0; i < queries.size(); ++i) right[i][last.number] = fresh(history.store(), queries[i]);
    }
    is_over = true;
    reader.join();
    history.store().remove_listener(last);
    for (std::size_t i = 0; i < queries.size(); ++i) {
      ASSERT_FALSE(delivered[i].empty());
      for (const Delivery& delivery : delivered[i]) {
        const auto at = right[i].find(delivery.commit);
        if (at == right[i].end()) continue;  // from before the first write
        ASSERT_EQ(delivery.rows, at->second) << "query " << i << " at commit " << delivery.commit;
      }
      EXPECT_EQ(delivered[i].back().rows, fresh(history.store(), queries[i])) << "query " << i;
    }
  }
}

}  // namespace
}  // namespace nizhal::testing
