#include "sim/release.hpp"

#include <fmt/format.h>

#include "query/to_sql.hpp"
#include "sim/streams.hpp"

namespace nizhal {

namespace {
struct Existing {};
}  // namespace

/// A table of which only the definition is known, which is all that a domain asks of one.
template <>
class Table<Existing> {
 public:
  explicit Table(std::shared_ptr<const TableDef> def) : def_(std::move(def)) {}
  std::shared_ptr<const TableDef> shared_def() const { return def_; }

 private:
  std::shared_ptr<const TableDef> def_;
};

namespace sim {

namespace {

struct Novelty {
  std::string id, user_id, text;
};
const auto kNovelties = table<Novelty>("simulated_novelty")
                            .key("id", &Novelty::id)
                            .column("user_id", &Novelty::user_id)
                            .column("text", &Novelty::text);

/// One in eight, and for the same values the same on every device.
bool can_be_taken(const std::vector<Value>& values) {
  std::string texts;
  for (const Value& value : values)
    if (const auto* text = std::get_if<std::string>(&value)) texts += *text;
  return texts.empty() || stream_seed(0, texts) % 8 != 0;
}

}  // namespace

Result<std::shared_ptr<const CompiledDomain>> next_release(const CompiledDomain& domain,
                                                           EarlierArguments earlier_arguments) {
  const Domain& earlier = domain.domain();
  Domain next(earlier.name(), {.version = "1000000.0.0", .min_client_version = "1000000.0.0"});
  for (const auto& def : earlier.tables()) next.add(Table<Existing>(def));
  next.add(kNovelties);
  for (const auto& def : earlier.mutators()) {
    next.mutator<Novelty>(def->name);  // its arguments' type is the original's, as everything else
    MutatorDef& later = *next.mutators().back();
    later = *def;
    later.version = def->version + 1;
    later.upcasters.push_back(
        {def->version, def->arguments,
         [earlier_arguments](const std::vector<Value>& values) -> std::optional<std::vector<Value>> {
           if (earlier_arguments == EarlierArguments::mostly_taken && !can_be_taken(values)) return std::nullopt;
           return values;
         }});
  }
  for (const auto& def : earlier.rules()) {
    next.rule(def->name);
    *next.rules().back() = *def;
  }
  next.rule("simulatedNovelties")
      .prefix("simulated-novelties:")
      .parameter("userId", actor::user_id)
      .data(kNovelties, eq("user_id", "userId"));
  return CompiledDomain::compile(std::move(next));
}

std::vector<std::string> release_statements(const std::vector<Actor>& actors, Random& random) {
  std::vector<std::string> statements;
  for (std::size_t i = 0; i < actors.size(); ++i)
    for (std::uint64_t row = 1 + random.below(4); row > 0; --row)
      statements.push_back(
          fmt::format("INSERT INTO simulated_novelty (id, user_id, text) VALUES ('n{}-{}', {}, 'tok-{:016x}')", i, row,
                      quote_text(actors[i].user_id), random.next()));
  return statements;
}

}  // namespace sim
}  // namespace nizhal
