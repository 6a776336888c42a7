// Devices that edit the same documents (columns that merge by clock, a text and a map) while requests and replies are
// lost, apps and servers start anew, memberships change, and another program writes in SQL: whenever it is calm each
// device has exactly the server's rows of its spaces, byte for byte.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "base/test_seed.hpp"
#include "examples/docs/docs.hpp"
#include "tests/support/require.hpp"
#include "tests/support/world.hpp"

namespace nizhal::testing {
namespace {

constexpr std::uint64_t kDocuments = 6, kSpaces = 2, kUsers = 3;

std::string id_of(std::uint64_t document) { return fmt::format("d{}", document); }

/// What an editor makes of a few keystrokes on the document as this device shows it; nothing: it has none.
std::string edit_of(Device& device, Random& random, const std::string& id, bool of_text) {
  const auto rows = require(
      device.store().sql(fmt::format("SELECT {} FROM documents WHERE id = '{}'", of_text ? "body" : "meta", id)),
      "sql");
  if (rows.rows.empty()) return "";
  const auto& state = std::get<Blob>(rows.rows[0][0]).bytes;
  const std::uint64_t client = 1 + random.below(1U << 31);
  Blob update;
  if (of_text) {
    auto editor = require(open_crdt("body", CrdtText{state}, client), "open a body");
    auto text = editor.text();
    require(text.insert(random.below(text.length() + 1), fmt::format("<{}>", random.below(1000))), "insert");
    if (text.length() > 40) require(text.remove(0, 10), "remove");
    update = editor.take_update();
  } else {
    auto editor = require(open_crdt("meta", CrdtMap{state}, client), "open a meta");
    const std::string key = fmt::format("k{}", random.below(4));
    if (random.below(4) == 0)
      editor.map().remove(key);
    else
      require(editor.map().set(key, crdt::Any(static_cast<double>(random.below(100)))), "set");
    update = editor.take_update();
  }
  return to_base64(update.bytes);
}

/// True when it was written.
bool mutate(World& world, Device& device) {
  Random& random = world.random;
  const std::string id = id_of(random.below(kDocuments));
  const auto serial = random.below(1'000'000);
  switch (random.below(6)) {
    case 0:
      return device
          .mutate("createDocument",
                  fmt::format(R"({{"id":"{}","space_id":"s{}","title":"t{}"}})", id, random.below(kSpaces), serial))
          .empty();
    case 1:
      return device.mutate("setTitle", fmt::format(R"({{"id":"{}","title":"t{}"}})", id, serial)).empty();
    case 2:
      return device.mutate("setStatus", fmt::format(R"({{"id":"{}","status":"u{}"}})", id, serial)).empty();
    default: {
      const bool of_text = random.below(3) > 0;
      const std::string update = edit_of(device, random, id, of_text);
      return !update.empty() &&
             device.mutate(of_text ? "editBody" : "editMeta", fmt::format(R"({{"id":"{}","update":"{}"}})", id, update))
                 .empty();
    }
  }
}

void write_outside(World& world) {
  Random& random = world.random;
  const auto document = random.below(kDocuments), space = random.below(kSpaces), user = random.below(kUsers);
  switch (random.below(6)) {
    case 0:
      return world.sql(
          fmt::format("UPDATE documents SET title = 'o{}' WHERE id = 'd{}'", random.below(1000), document));
    case 1:
      return world.sql(fmt::format("UPDATE documents SET space_id = 's{}' WHERE id = 'd{}'", space, document));
    case 2:
      return world.sql(fmt::format("DELETE FROM documents WHERE id = 'd{}'", document));
    case 3:
      return world.sql(
          fmt::format("DELETE FROM space_members WHERE user_id = 'u{}' AND space_id = 's{}'", user, space));
    default:
      return world.sql(
          fmt::format("INSERT INTO space_members(id, user_id, space_id) VALUES('m{0}{1}', 'u{0}', 's{1}') "
                      "ON CONFLICT DO NOTHING",
                      user, space));
  }
}

std::string select(bool on_sqlite, const std::string& where) {
  const char* bytes = on_sqlite ? "lower(hex({0}))" : "encode({0}, 'hex')";
  return fmt::format("SELECT id, space_id, title, status, {}, {} FROM documents {} ORDER BY id",
                     fmt::format(fmt::runtime(bytes), "body"), fmt::format(fmt::runtime(bytes), "meta"), where);
}

struct Tally {
  std::uint64_t written = 0, rows = 0, conflicts = 0;
};

void run(BackendKind kind, std::uint64_t seed, Tally& tally) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  World world(seed, docs::domain(), {}, kind);
  std::vector<Device*> devices;
  for (std::uint64_t user = 0; user < kUsers; ++user) {
    const std::string name = fmt::format("u{}", user);
    devices.push_back(&world.device(name, {name, "o1", ""}));
    for (std::uint64_t space = 0; space < kSpaces; ++space)
      world.sql(fmt::format("INSERT INTO space_members(id, user_id, space_id) VALUES('m{0}{1}', 'u{0}', 's{1}')", user,
                            space));
  }
  for (Device* device : devices) device->request_sync();
  ASSERT_TRUE(world.settle());

  for (int round = 0; round < 8; ++round) {
    world.faults = {.lost_requests_per_mille = 100, .lost_replies_per_mille = 150};
    for (int step = 0; step < 40; ++step) {
      Device& device = *devices[world.random.below(devices.size())];
      switch (world.random.below(12)) {
        case 0:
          world.random.below(2) ? device.cut() : device.mend();
          break;
        case 1:
          write_outside(world);
          break;
        case 2:
          if (world.random.below(6) == 0) device.restart();
          if (world.random.below(12) == 0) world.restart_server();
          break;
        case 3:
        case 4:
        case 5:
        case 6:
          if (mutate(world, device)) ++tally.written;
          break;
        default:
          world.step();
      }
    }
    // Calm.
    world.faults = {};
    for (Device* device : devices) device->mend();
    ASSERT_TRUE(world.settle()) << "the outboxes did not drain";
    for (Device* device : devices) device->request_sync();
    ASSERT_TRUE(world.settle()) << "not every device could pull";
    for (Device* device : devices) {
      const auto expected = world.server_rows(select(
          world.backend().is_sqlite(),
          fmt::format("WHERE space_id IN (SELECT space_id FROM space_members WHERE user_id = '{}')", device->name())));
      ASSERT_EQ(device->rows(select(true, "")), expected) << device->name() << ", round " << round;
      tally.rows += expected.size();
    }
  }
  for (Device* device : devices) tally.conflicts += require(device->store().conflicts(), "conflicts").size();
}

struct MergingConvergence : ::testing::TestWithParam<BackendKind> {};
INSTANTIATE_TEST_SUITE_P(On, MergingConvergence, every_backend(), kind_name);

TEST_P(MergingConvergence, WheneverItIsCalmEachDeviceHasTheServersDocumentsByteForByte) {
  const std::uint64_t seed = test_seed("merging convergence");
  const std::uint64_t runs = GetParam() == BackendKind::sqlite ? 10 : 4;
  Tally tally;
  for (std::uint64_t i = 0; i < runs; ++i) {
    run(GetParam(), seed + i, tally);
    if (HasFatalFailure()) return;
  }
  std::cout << fmt::format("{} mutations, {} rows compared, {} conflicts\n", tally.written, tally.rows,
                           tally.conflicts);
  EXPECT_GT(tally.written, runs * 15);
  EXPECT_GT(tally.rows, runs * 20);
  EXPECT_GT(tally.conflicts, 0u);
}

}  // namespace
}  // namespace nizhal::testing
