// The queries of docs/device.md, on a store of the ledger domain.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>

#include <nizhal/store.hpp>

#include "base/test_temp_dir.hpp"
#include "ledger.hpp"

namespace {

using namespace ledger;
using nizhal::average;
using nizhal::count;
using nizhal::Direction;
using nizhal::eq;
using nizhal::FoldRow;
using nizhal::from;
using nizhal::gt;
using nizhal::in;
using nizhal::is_not_null;
using nizhal::is_null;
using nizhal::like;
using nizhal::max;
using nizhal::sum;

void report(const nizhal::Error& error) { ADD_FAILURE() << error.message; }

class LedgerQueries : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = nizhal::open_store(
        {.path = directory_.file("ledger.db"), .domain = domain(), .actor = {.user_id = "ana", .owner_id = "ana"}});
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::make_unique<nizhal::Store>(*std::move(opened));
    mutate("createShop", CreateShop{.id = "s", .name = "Shop"});
    for (const auto& [id, name] : std::map<std::string, std::string>{{"c1", "Bea"}, {"c2", "Cid"}, {"c3", "Dan 50%"}})
      mutate("addCustomer", AddCustomer{.id = id, .shop_id = "s", .name = name});
    mutate("recordCredit", RecordCredit{.id = "e1", .customer_id = "c1", .amount = 500});
    mutate("recordCredit", RecordCredit{.id = "e2", .customer_id = "c2", .amount = 1'500});
    mutate("recordCredit", RecordCredit{.id = "e3", .customer_id = "c2", .amount = 2'500});
    mutate("recordPayment", RecordPayment{.id = "e4", .customer_id = "c2", .amount = 1'000});
  }
  template <class Args>
  void mutate(std::string_view name, const Args& args) {
    const auto ticket = store_->mutate(name, args);
    ASSERT_TRUE(ticket) << ticket.error().message;
  }

  nizhal::TempDir directory_;
  std::unique_ptr<nizhal::Store> store_;
};

TEST_F(LedgerQueries, Filters) {
  nizhal::Store& store = *store_;
  const auto recent = store.query(from(entries)
                                      .where(in("kind", {"credit", "payment"}) && !eq("customer_id", "c1"))
                                      .where(gt("amount", 2'000) || like("id", "e4%"))
                                      .order_by("created_at", Direction::descending)
                                      .order_by("amount")
                                      .limit(50));
  ASSERT_TRUE(recent) << recent.error().message;
  std::vector<std::string> ids;
  for (const Entry& entry : *recent) ids.push_back(entry.id);
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector<std::string>{"e3", "e4"}));
}

TEST_F(LedgerQueries, Joins) {
  nizhal::Store& store = *store_;
  std::string page;
  const auto lines = store.query(
      from(entries).join(customers, "customer_id").where(like("name", "C%")).order_by("name").order_by("amount"));
  if (!lines) return report(lines.error());
  for (const auto& [entry, customer] : *lines) page += customer.name + " " + std::to_string(entry.amount) + "; ";
  EXPECT_EQ(page, "Cid -1000; Cid 1500; Cid 2500; ");
}

TEST_F(LedgerQueries, Folds) {
  nizhal::Store& store = *store_;
  std::string page;
  const auto balances = store.query(from(entries)
                                        .join(customers, "customer_id")
                                        .group_by("name")
                                        .fold(sum("amount").as("balance"))
                                        .fold(count().as("entries"))
                                        .order_by("balance", Direction::descending));
  if (!balances) return report(balances.error());
  for (const FoldRow& row : *balances)
    page += row.get<std::string>("name") + " owes " + std::to_string(row.get<std::int64_t>("balance")) + "; ";
  EXPECT_EQ(page, "Cid owes 3000; Bea owes 500; ");

  const auto all = store.query(from(entries).fold(sum("amount")).fold(average("amount")).fold(max("created_at")));
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->size(), 1U);
  EXPECT_EQ(all->front().get<std::int64_t>("sum_amount"), 3'500);
  EXPECT_EQ(all->front().get<double>("average_amount"), 875.0);
  EXPECT_FALSE(all->front().is_null("max_created_at"));
}

TEST_F(LedgerQueries, LeftJoins) {
  nizhal::Store& store = *store_;
  mutate("addReminder", AddReminder{.id = "r1", .customer_id = "c1", .due_at = {}, .text = "call"});
  const auto lines = store.query(from(reminders).left_join(customers, "customer_id"));
  ASSERT_TRUE(lines) << lines.error().message;
  ASSERT_EQ(lines->size(), 1U);
  const auto& [reminder, customer] = lines->front();
  EXPECT_EQ(reminder.text, "call");
  ASSERT_TRUE(customer.has_value());
  EXPECT_EQ(customer->name, "Bea");
}

TEST_F(LedgerQueries, MistakesAreNamed) {
  const auto unknown = store_->query(from(entries).where(gt("amout", 1)));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, nizhal::ErrorCode::invalid_args);
  EXPECT_NE(unknown.error().message.find("has no column amout; it has id, shop_id"), std::string::npos)
      << unknown.error().message;
  const auto ambiguous = store_->query(from(entries).join(customers, "customer_id").where(eq("shop_id", "s")));
  ASSERT_FALSE(ambiguous);
  EXPECT_NE(ambiguous.error().message.find("write ledger_entries.shop_id or customers.shop_id"), std::string::npos);
  struct Other {
    std::string id;
  };
  const auto others = nizhal::table<Other>("others").key("id", &Other::id);
  EXPECT_EQ(store_->query(from(others)).error().code, nizhal::ErrorCode::not_found);
  EXPECT_EQ(store_->query(from(entries).join(others, "customer_id")).error().code, nizhal::ErrorCode::not_found);
}

TEST_F(LedgerQueries, Live) {
  nizhal::Store& store = *store_;
  const std::string id = "c2";
  std::promise<std::size_t> shown, counted;
  struct {
    std::promise<std::size_t>& shown;
    void show(const nizhal::Rows<Entry>& rows, const nizhal::Delta<Entry>&) { shown.set_value(rows.size()); }
  } view{shown};
  const auto show_count = [&](std::int64_t count) { counted.set_value(static_cast<std::size_t>(count)); };
  const auto live =
      store.live(from(entries).where(eq("customer_id", id)).order_by("created_at", Direction::descending).limit(50),
                 [&](const nizhal::Rows<Entry>& rows, const nizhal::Delta<Entry>& delta) { view.show(rows, delta); },
                 {.on_error = [](const nizhal::Error& error) { report(error); }});
  const auto count = store.live_sql("SELECT count(*) FROM ledger_entries WHERE amount > 1000",
                                    [&](const nizhal::Rows<nizhal::Row>& rows, const nizhal::Delta<nizhal::Row>&) {
                                      show_count(std::get<std::int64_t>(rows[0][0]));
                                    });
  ASSERT_TRUE(live && count);
  EXPECT_EQ(shown.get_future().get(), 3u);
  EXPECT_EQ(counted.get_future().get(), 2u);
}

TEST_F(LedgerQueries, AWriteShowsAtOnce) {
  nizhal::Store& store = *store_;
  const std::string customer = "c2";
  const auto ticket =
      store.mutate("recordPayment", RecordPayment{.id = nizhal::new_id(), .customer_id = customer, .amount = 500});
  const auto shown =
      store.query(from(entries).where(eq("customer_id", customer)));  // it is there, also with no network
  ASSERT_TRUE(ticket && shown);
  EXPECT_EQ(shown->size(), 4u);
}

}  // namespace
