#include "bench/live_benchmark.hpp"

#include <utility>

#include <fmt/format.h>

#include <nizhal/domain.hpp>

#include "bench/rounds.hpp"
#include "client/live_queries.hpp"
#include "client/local_store.hpp"
#include "domain/compiled_domain.hpp"
#include "protocol/pull.hpp"

namespace nizhal::bench {
namespace {

constexpr std::size_t kCustomers = 1'000;
constexpr std::size_t kPageRows = 1'000;
constexpr std::int64_t kAmountMax = 1'000'000;
constexpr std::size_t kShown = 50;  // rows of the window
using Monotonic = std::chrono::steady_clock;

struct Customer {
  std::string id, shop_id, name;
};
struct Entry {
  std::string id, shop_id, customer_id;
  std::int64_t amount = 0;
};
struct SetAmount {
  std::string id;
  std::int64_t amount = 0;
};

const auto& customers() {
  static const auto kTable = table<Customer>("customers")
                                 .key("id", &Customer::id)
                                 .column("shop_id", &Customer::shop_id)
                                 .column("name", &Customer::name);
  return kTable;
}
const auto& entries() {
  static const auto kTable = table<Entry>("entries")
                                 .key("id", &Entry::id)
                                 .column("shop_id", &Entry::shop_id)
                                 .column("customer_id", &Entry::customer_id)
                                 .column("amount", &Entry::amount);
  return kTable;
}

Domain live_domain() {
  Domain domain("live_bench", {.version = "1.0.0"});
  domain.add(customers()).add(entries());
  domain.mutator<SetAmount>("setAmount")
      .arg("id", &SetAmount::id)
      .arg("amount", &SetAmount::amount)
      .run([](MutatorContext& ctx, const SetAmount& args) -> Outcome {
        if (!ctx.update(entries(), args.id, {set("amount", args.amount)})) return reject("not_found", "no such entry");
        return done();
      });
  domain.rule("shop")
      .parameter("shopId", actor::owner_id)
      .data(customers(), eq("shop_id", "shopId"))
      .data(entries(), eq("shop_id", "shopId"));
  return domain;
}

QuerySpec query_of(Benchmark benchmark) {
  switch (benchmark) {
    case Benchmark::live_fold:
      return from(entries()).group_by("customer_id").fold(sum("amount").as("balance")).fold(max("amount")).spec();
    case Benchmark::live_join:
      return from(entries())
          .join(customers(), "customer_id")
          .where(gt("amount", 0))
          .order_by("amount", Direction::descending)
          .limit(kShown)
          .spec();
    default:
      return from(entries()).where(gt("amount", 0)).order_by("amount", Direction::descending).limit(kShown).spec();
  }
}

class LiveRunner {
 public:
  LiveRunner(Benchmark benchmark, const Options& options, const Outside& outside)
      : benchmark_(benchmark), options_(options), outside_(outside), query_(query_of(benchmark)) {}

  Result<Figure> run() {
    figure_.name = to_string(benchmark_);
    figure_.unit = "changes/s";
    figure_.settings = outside_.settings;
    outside_.progress(fmt::format("{}: preparing", figure_.name));
    if (auto opened = open(); !opened) return tl::unexpected(opened.error());
    if (auto filled = fill(); !filled) return tl::unexpected(filled.error());
    if (auto followed = follow(); !followed) return tl::unexpected(followed.error());
    auto measured = measure_rounds(
        figure_, options_, outside_, [this](std::chrono::seconds duration) { return changes_per_second(duration); },
        [this](std::chrono::seconds duration) { return runs_per_second(duration); });
    if (!measured) return tl::unexpected(measured.error());
    say("rows", fmt::to_string(options_.rows));
    say("us per change", fmt::format("{:.1f}", 1e6 / figure_.value()));
    say("us per run of the query", fmt::format("{:.0f}", 1e6 / figure_.limit()));
    say("limit", "running the query again");
    return std::move(figure_);
  }

 private:
  void say(std::string name, std::string value) { figure_.settings.emplace_back(std::move(name), std::move(value)); }
  std::string entry_id(std::size_t number) const { return fmt::format("entry-{:08}", number); }

  Result<void> open() {
    if (directory_.path().empty()) return failure(ErrorCode::io_error, "no temporary directory");
    auto domain = CompiledDomain::compile(live_domain());
    if (!domain) return tl::unexpected(domain.error());
    client::LocalStoreOptions options;
    options.path = directory_.path() + "/device.db";
    options.domain = std::move(*domain);
    options.actor = {.user_id = "user", .owner_id = "shop", .claims = ""};
    auto store = client::LocalStore::open(std::move(options), outside_.clock, outside_.random, Log());
    if (!store) return tl::unexpected(store.error());
    store_ = std::move(*store);
    return {};
  }

  /// As a first sync would, page by page.
  Result<void> fill() {
    protocol::PullPage page;
    page.epoch = "bench";
    page.buckets = {"shop"};
    page.changed.push_back({"customers", {}});
    for (std::size_t i = 0; i < kCustomers; ++i)
      page.changed.back().rows.push_back(
          customers().to_row({fmt::format("customer-{}", i), "shop", fmt::format("Customer {}", i)}));
    page.changed.push_back({"entries", {}});
    for (std::size_t i = 0; i < options_.rows; ++i) {
      page.changed.back().rows.push_back(
          entries().to_row({entry_id(i), "shop", fmt::format("customer-{}", i % kCustomers), any_amount()}));
      page.has_more = i + 1 < options_.rows;
      if (page.has_more && (i + 1) % kPageRows != 0) continue;
      page.cursor = fmt::to_string(i);
      auto request = store_->next_pull(kPageRows);
      if (!request) return tl::unexpected(request.error());
      if (auto applied = store_->apply_page(*request, page); !applied) return tl::unexpected(applied.error());
      page.changed = {{"entries", {}}};
    }
    return {};
  }

  std::int64_t any_amount() { return static_cast<std::int64_t>(outside_.random.below(kAmountMax)); }

  Result<void> follow() {
    live_ = std::make_unique<client::LiveQueries>(*store_, [] {});
    client::LiveQueries::Receiver receiver;
    receiver.deliver = [this](const RowSequence& rows, const RawDelta&, std::uint64_t) {
      ++deliveries_;
      shown_.clear();
      for (std::size_t i = 0; i < rows.size() && i < kShown; ++i) shown_.push_back(rows.row(i));
    };
    receiver.fail = [this](const Error& error) { error_ = error; };
    if (auto added = live_->add(query_, std::move(receiver)); !added) return tl::unexpected(added.error());
    live_->process();
    return error_ ? Result<void>(tl::unexpected(*error_)) : Result<void>();
  }

  /// Every other change is of a row that is shown, and mostly takes it away; the rest bring others up.
  Result<void> change(std::size_t number) {
    const bool is_of_shown = benchmark_ != Benchmark::live_fold && number % 2 == 0 && !shown_.empty();
    const std::string id = is_of_shown ? *std::get_if<std::string>(&shown_[outside_.random.below(shown_.size())][0])
                                       : entry_id(outside_.random.below(options_.rows));
    const std::int64_t amount = is_of_shown ? any_amount() : kAmountMax + any_amount();
    const auto ticket = store_->mutate("setAmount", {id, amount}, {});
    if (!ticket) return tl::unexpected(ticket.error());
    return {};
  }

  /// Of one second of changes only the work of the live query counts: the mutation itself has a benchmark of its own.
  Result<double> changes_per_second(std::chrono::seconds duration) {
    const auto end = Monotonic::now() + duration;
    Monotonic::duration spent{0};
    std::size_t changes = 0;
    const std::size_t before = deliveries_;
    for (; Monotonic::now() < end; ++changes) {
      if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
      if (auto changed = change(changes); !changed) return tl::unexpected(changed.error());
      const auto start = Monotonic::now();
      live_->process();
      spent += Monotonic::now() - start;
      if (error_) return tl::unexpected(*error_);
    }
    if (deliveries_ == before) return failure(ErrorCode::internal, "no change was delivered");
    return static_cast<double>(changes) / std::chrono::duration<double>(spent).count();
  }

  Result<double> runs_per_second(std::chrono::seconds duration) {
    const auto start = Monotonic::now();
    std::size_t runs = 0;
    std::size_t rows = 0;
    do {
      if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
      const auto result = store_->query(query_);
      if (!result) return tl::unexpected(result.error());
      rows = result->size();
      ++runs;
    } while (Monotonic::now() - start < duration);
    if (rows == 0) return failure(ErrorCode::internal, "the query gave no rows");
    return static_cast<double>(runs) / std::chrono::duration<double>(Monotonic::now() - start).count();
  }

  const Benchmark benchmark_;
  const Options& options_;
  const Outside& outside_;
  const QuerySpec query_;
  Figure figure_;
  Directory directory_;
  std::unique_ptr<client::LocalStore> store_;
  std::unique_ptr<client::LiveQueries> live_;
  std::vector<Row> shown_;
  std::size_t deliveries_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<Figure> run_live_benchmark(Benchmark benchmark, const Options& options, const Outside& outside) {
  return LiveRunner(benchmark, options, outside).run();
}

}  // namespace nizhal::bench
