// Workloads of any domain: the mutations that its users might make, and what other programs write into its database,
// drawn from what the domain declares. The simulator and the chaos scenarios run the same ones.
//
// The fact that must not break: all chance comes from the `Random` that a call is given, so the same seed, the same
// rows and the same reports give the same calls and statements.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/domain.hpp>

#include "base/environment.hpp"
#include "domain/compiled_domain.hpp"
#include "query/to_sql.hpp"

namespace nizhal::workload {

/// Texts carry a mark that no other text has, where their declaration allows: `tok-` and 16 hex digits. Who has a mark
/// that was only ever in rows out of its reach has been told too much.
inline constexpr std::string_view kMarkPrefix = "tok-";
inline constexpr std::size_t kMarkDigits = 16;
std::string mark(Random& random);

/// What the caller of a mutator sees.
class View {
 public:
  virtual ~View() = default;
  virtual const Actor& actor() const = 0;
  /// Up to `rows_max` visible rows of a table, the same ones in the same order for the same state.
  virtual Result<std::vector<Row>> sample(std::size_t table, std::size_t rows_max) = 0;
};

struct Call {
  std::string mutator;
  MutatorDef::Values values;
  std::string args;  // the values as a JSON object
};

/// All rows of a table on the server, in the order of their keys.
using ServerRows = std::function<Result<std::vector<Row>>(std::size_t table)>;

/// Actors for a domain: ids of users and owners, and every claim that its rules use, of which some share one.
std::vector<Actor> make_actors(const CompiledDomain& domain, std::size_t count);

struct GeneratorOptions {
  /// Calls that are looked for because a trial run refuses them (a key that is gone or another's, a taken id, a bucket
  /// that the actor does not have), so that refusals happen too.
  unsigned careless_per_mille = 60;
  std::size_t sample_rows_max = 40;  // of a table, to draw keys from
  std::size_t rows_per_bucket = 2;   // to begin with, of each table in it
};

/// Draws calls and statements. Not thread-safe.
class Generator {
 public:
  Generator(std::shared_ptr<const CompiledDomain> domain, std::vector<Actor> actors, GeneratorOptions options = {});
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  const std::vector<Actor>& actors() const;

  /// The next call of the view's actor; nothing when the domain has no mutators. The arguments fit their declarations.
  /// Errors: the view's.
  Result<std::optional<Call>> next(View& view, Random& random);
  /// What the server made of a call. Mutators that were never applied are drawn more often.
  void note(std::string_view mutator, bool applied);
  /// Mutators without an applied call, in the order of the domain.
  std::vector<std::string> never_applied() const;

  // Statements of other programs, in the dialect asked for, without a semicolon, to be run in their order. They keep
  // keys and types, and leave append-only tables to the mutators.

  /// To begin with: each actor has a bucket or two of each membership rule, which others have too, and there are rows
  /// in them. The same for the same seed, so a database may be given them again.
  std::vector<std::string> seed_statements(Dialect dialect, Random& random) const;
  /// A membership is given or taken. Nothing where no rule reads memberships.
  Result<std::vector<std::string>> membership_change(Dialect dialect, const ServerRows& server, Random& random) const;
  /// A delivered row is added, changed, moved to another bucket or removed. Nothing where there is nothing to change.
  Result<std::vector<std::string>> foreign_write(Dialect dialect, const ServerRows& server, Random& random) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What must hold of the server's rows in a domain that we know; of any other it asks nothing.
class Checker {
 public:
  virtual ~Checker() = default;
  /// A call that the server answered, once, when its outcome is known.
  virtual void settled(const Call&, bool /*applied*/) {}
  /// The server was put back to an older state: what had been applied may be gone.
  virtual void restored() {}
  /// What is violated, one sentence each. `is_calm`: every call that was made has been settled.
  virtual Result<std::vector<std::string>> check(const ServerRows&, bool /*is_calm*/) {
    return std::vector<std::string>{};
  }
};
std::unique_ptr<Checker> make_checker(std::shared_ptr<const CompiledDomain> domain);

}  // namespace nizhal::workload
