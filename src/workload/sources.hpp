// Where the value of an argument can come from, and which places did well: a key that its caller sees, a bucket that it
// has, somebody's id, something new, or just a value that fits.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "workload/bucket_columns.hpp"
#include "workload/trial.hpp"

namespace nizhal::workload {

struct Source {
  enum class Kind {
    plain,     // what the declaration allows
    new_id,    // nobody has it yet
    key,       // of a visible row of `table`
    seen,      // what visible rows hold for `naming`; for claims the actor's own, too
    of_others  // what another actor has for `naming`, or what was there to begin with
  };
  Kind kind = Kind::plain;
  std::size_t table = 0;
  std::size_t naming = 0;
  unsigned weight = 1;  // raised where trials with it went well
};

/// The sources of one argument.
std::vector<Source> sources_of(const CompiledDomain& domain, const BucketColumns& columns, const ArgumentDef& argument);

/// A value that fits the declaration. What the source cannot give comes from elsewhere.
Value draw_from(const Source& source, const ArgumentDef& argument, Seen& seen, const BucketColumns& columns,
                const std::vector<Actor>& actors, Random& random);

/// By weight; 0 when there is no weight at all.
std::size_t draw_weighted(const std::vector<unsigned>& weights, Random& random);

}  // namespace nizhal::workload
