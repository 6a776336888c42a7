// Scenarios that must fail, each in another way.
#include <stdexcept>

#include <nizhal/chaos.hpp>

#include "../../examples/notes/notes.hpp"

namespace {

using nizhal::chaos::World;

nizhal::chaos::Device& device_with_a_note(World& world) {
  auto& device = world.device("A", {.user = "ann", .owner = "ann"});
  device.mutate("addNote", R"({"id":"n1","body":"b"})");
  world.expect(device.sync().has_value(), "the note is on the server");
  return device;
}

void wrong_count(World& world) {
  device_with_a_note(world);
  world.expect(world.value("SELECT count(*) FROM notes") == "2", "there are two notes");
  world.step("never reached");
}
void throws(World& world) {
  device_with_a_note(world);
  throw std::runtime_error("on purpose");
}
void expects_nothing(World& world) { world.step("nothing is looked at"); }

/// A row that the engine is told nothing of: what an engine that loses changes would leave.
void lost_row(World& world) {
  device_with_a_note(world);
  world.server().stop();
  world.sql(
      "DROP TRIGGER IF EXISTS nizhal_notes_insert; CREATE TABLE saved AS SELECT name, sql FROM sqlite_master WHERE "
      "type "
      "= 'trigger'");
  for (;;) {
    const std::string name = world.value("SELECT name FROM sqlite_master WHERE type = 'trigger' LIMIT 1");
    if (name.empty()) break;
    world.sql("DROP TRIGGER \"" + name + "\"");
  }
  world.sql("INSERT INTO notes(id, owner_id, body) VALUES('silent', 'ann', 'nobody is told')");
  for (;;) {
    const std::string sql = world.value("SELECT sql FROM saved LIMIT 1");
    if (sql.empty()) break;
    world.sql(sql + "; DELETE FROM saved WHERE sql = (SELECT sql FROM saved LIMIT 1)");
  }
  world.sql("DROP TABLE saved");
  world.server().start();
  world.converge();
}
void doubled(World& world) {
  device_with_a_note(world);
  world.sql(
      "CREATE TABLE copy AS SELECT * FROM nizhal_audit WHERE outcome = 'applied'; UPDATE copy SET seq = seq + 1000; "
      "INSERT INTO nizhal_audit SELECT * FROM copy; DROP TABLE copy");
  world.converge();
}
void lost_mutation(World& world) {
  device_with_a_note(world).acknowledged("3c50398c-4727-4ff8-87a2-6e9b91a4b883");
  world.converge();
}

std::vector<nizhal::chaos::Scenario> scenarios() {
  std::vector<nizhal::chaos::Scenario> all;
  const auto add = [&](const char* name, void (*run)(World&)) {
    all.push_back({.name = name, .what = "fails on purpose", .domain = "notes", .run = run});
  };
  add("wrong-count", wrong_count);
  add("throws", throws);
  add("expects-nothing", expects_nothing);
  add("lost-row", lost_row);
  add("doubled", doubled);
  add("lost-mutation", lost_mutation);
  return all;
}

}  // namespace

NIZHAL_DOMAIN(notes::domain)
NIZHAL_CHAOS(scenarios)
