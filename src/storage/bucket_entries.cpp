#include "storage/bucket_entries.hpp"

namespace nizhal::storage {

std::vector<BucketEntry> entries_of(const CompiledDomain& domain, std::size_t table) {
  std::vector<BucketEntry> entries;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d)
    for (const BucketTable& entry : domain.definitions()[d].tables)
      if (entry.table == table) entries.push_back({d, &entry});
  return entries;
}

std::vector<std::size_t> granting_definitions(const CompiledDomain& domain, std::size_t table) {
  std::vector<std::size_t> found;
  for (std::size_t d = 0; d < domain.definitions().size(); ++d)
    if (domain.definitions()[d].membership_table == domain.table(table).name) found.push_back(d);
  return found;
}

std::vector<std::string> claim_columns(const BucketDefinition& definition) {
  std::vector<std::string> columns;
  for (const MembershipFilter& filter : definition.membership_filters)
    if (!filter.claim.empty()) columns.push_back(filter.column);
  return columns;
}

std::vector<std::string> membership_columns(const BucketDefinition& definition) {
  std::vector<std::string> columns;
  for (const ParameterDef& parameter : definition.parameters) columns.push_back(parameter.membership_column);
  return columns;
}

const TableDef& membership_table(const CompiledDomain& domain, const BucketDefinition& definition) {
  return *domain.domain().find_table(definition.membership_table);
}

}  // namespace nizhal::storage
