// A run of a mutator against the rows that its caller sees, to foretell what a server would say, and to learn which
// argument is merged into which CRDT column. Nothing is written anywhere.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"
#include "query/evaluate.hpp"
#include "workload/workload.hpp"

namespace nizhal::workload {

/// The rows of a view, each table read once, when first asked for.
class Seen {
 public:
  Seen(const CompiledDomain& domain, View& view, std::size_t rows_max);
  const std::vector<Row>& rows(std::size_t table);
  const Row* find(std::size_t table, const Value& key);
  const Actor& actor() const { return view_.actor(); }
  /// The keys of the buckets that the actor has, as far as its rows tell.
  const std::set<std::string>& buckets();
  /// The first error of the view; the rows are empty from then on.
  const std::optional<Error>& error() const { return error_; }
  const CompiledDomain& domain() const { return domain_; }

 private:
  const CompiledDomain& domain_;
  View& view_;
  std::size_t rows_max_;
  std::map<std::size_t, std::vector<Row>> rows_;
  std::optional<std::set<std::string>> buckets_;
  std::optional<Error> error_;
};

/// A blob that was written into a CRDT column.
struct CrdtWrite {
  std::size_t table = 0, column = 0;
  Value key;
  Blob blob;
};
struct Trial {
  bool is_applied = false;
  std::vector<CrdtWrite> crdt_writes;
};
Trial try_call(Seen& seen, const MutatorDef& mutator, const MutatorDef::Values& values);

}  // namespace nizhal::workload
