// A bucket of many rows, read page by page as a new device's pulls do. NIZHAL_ROWS says how many (200,000); figures are
// printed.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "../../../examples/notes/notes.hpp"
#include "storage/postgres/plan.hpp"
#include "storage/postgres/test_database.hpp"

namespace nizhal::storage {
namespace {

using Clock = std::chrono::steady_clock;

std::size_t rows_wanted() {
  std::size_t rows = 200'000;
  if (const char* text = std::getenv("NIZHAL_ROWS")) std::from_chars(text, text + std::string_view(text).size(), rows);
  return std::max<std::size_t>(rows, 20'000);
}

/// What the process holds in memory, in MiB.
double resident_mib() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0);
}

/// Processor time of this process, in seconds.
double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Reads the bucket to its end in pages and checks that memory does not grow with them.
template <class NextPage>
double read_all(const char* what, std::size_t rows, std::size_t limit, const NextPage& next_page) {
  std::size_t seen = 0, pages = 0, bytes = 0;
  double early_memory = 0, slowest = 0, first_tenth = 0, last_tenth = 0;
  const auto start = Clock::now();
  const double processor_start = processor_seconds();
  for (;;) {
    const auto page_start = Clock::now();
    const std::vector<EncodedRow> page = next_page();
    const double took = seconds_since(page_start);
    slowest = std::max(slowest, took);
    if (seen < rows / 10) first_tenth += took;
    if (seen >= rows - rows / 10) last_tenth += took;
    for (const EncodedRow& row : page) bytes += row.json.size();
    seen += page.size();
    ++pages;
    if (early_memory == 0 && seen >= rows / 10) early_memory = resident_mib();
    if (page.size() < limit) break;
  }
  const double took = seconds_since(start);
  EXPECT_EQ(seen, rows);
  EXPECT_LT(resident_mib(), early_memory + 32) << "memory grows with what was read";
  fmt::print(
      "{}: {} rows in {} pages of {}: {:.2f} s, {:.0f} rows/s ({:.2f} s of our own processor time), {:.1f} MiB of "
      "JSON; ms per page: {:.2f}, first "
      "tenth {:.2f}, last tenth {:.2f}, slowest {:.2f}; memory {:.1f} MiB early, {:.1f} MiB at the end\n",
      what, seen, pages, limit, took, static_cast<double>(seen) / took, processor_seconds() - processor_start,
      static_cast<double>(bytes) / (1024.0 * 1024.0), 1000 * took / static_cast<double>(pages),
      10'000 * first_tenth / static_cast<double>(pages), 10'000 * last_tenth / static_cast<double>(pages),
      1000 * slowest, early_memory, resident_mib());
  return static_cast<double>(seen) / took;
}

TEST(PostgresManyRows, PagesAndMemoryStayFlat) {
  const std::size_t rows = rows_wanted();
  constexpr std::size_t kLimit = 1'000;
  TestDatabase db(notes::domain());
  const auto start = Clock::now();
  db.other->run(
      fmt::format("SET session_replication_role = replica; SET synchronous_commit = off;"
                  "INSERT INTO notes (id, owner_id, body, nizhal_version) SELECT md5(i::text), 'o1', "
                  "'some words about note number ' || i, 1 + i / 10 FROM generate_series(1, {}) AS i;"
                  "SELECT setval('nizhal.version_seq', {}); SET session_replication_role = origin",
                  rows, rows));
  for (const char* statement : {"VACUUM ANALYZE notes", "CHECKPOINT"}) db.other->run(statement);
  fmt::print("{} rows written in {:.1f} s\n", rows, seconds_since(start));

  const auto counting = Clock::now();
  const auto counted = db.snapshot()->count_rows(db.bucket("o1"), 0);
  ASSERT_TRUE(counted.has_value());
  EXPECT_GT(*counted, rows / 2);
  EXPECT_LT(*counted, rows * 2);
  fmt::print("counted or estimated {} rows in {:.1f} ms\n", *counted, 1000 * seconds_since(counting));

  std::optional<std::string> after;
  const double backfilled = read_all("backfill", rows, kLimit, [&] {
    auto page = db.snapshot()->backfill(db.bucket("o1"), 0, after, kLimit);
    EXPECT_TRUE(page.has_value()) << (page ? "" : page.error().message);
    if (page && !page->empty()) after = page->back().key;
    return page.value_or(std::vector<EncodedRow>{});
  });

  const std::vector<CoveredBucket> covered{{db.bucket("o1"), Version{0}}};
  LiveQuery query;
  query.buckets = &covered;
  query.limit = kLimit;
  // Ten rows a version, and pages end at the end of one.
  read_all("live", rows, kLimit - 10, [&] {
    auto page = db.snapshot()->live_rows(query);
    EXPECT_TRUE(page.has_value()) << (page ? "" : page.error().message);
    std::vector<EncodedRow> whole = page.value_or(std::vector<EncodedRow>{});
    if (whole.size() == kLimit) {
      const Version cut = whole.back().version;
      std::erase_if(whole, [cut](const EncodedRow& row) { return row.version == cut; });
    }
    if (!whole.empty()) query.after = whole.back().version;
    return whole;
  });

  // What the database itself does with the same rows.
  const auto copying = Clock::now();
  db.other->run(
      "COPY (SELECT row_to_json(r) FROM (SELECT id, owner_id, body FROM notes WHERE owner_id = 'o1' ORDER BY "
      "id COLLATE \"C\") AS r) TO PROGRAM 'cat > /dev/null'");
  const double copied = static_cast<double>(rows) / seconds_since(copying);
  fmt::print("COPY of row_to_json: {:.0f} rows/s; backfill / COPY = {:.2f}\n", copied, backfilled / copied);
}

}  // namespace
}  // namespace nizhal::storage
