// Where a table stands in the domain's bucket definitions: what both storages make their triggers and predicates of.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage {

/// A table's place in one definition.
struct BucketEntry {
  std::size_t definition = 0;
  const BucketTable* table = nullptr;
};

/// By definition, then in the definition's order. They point into the domain.
std::vector<BucketEntry> entries_of(const CompiledDomain& domain, std::size_t table);

/// The definitions that read memberships from the table.
std::vector<std::size_t> granting_definitions(const CompiledDomain& domain, std::size_t table);

/// Of a membership definition: the columns that name the actor, those that name the bucket, and their table.
std::vector<std::string> claim_columns(const BucketDefinition& definition);
std::vector<std::string> membership_columns(const BucketDefinition& definition);
const TableDef& membership_table(const CompiledDomain& domain, const BucketDefinition& definition);

}  // namespace nizhal::storage
