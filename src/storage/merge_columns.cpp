#include "storage/merge_columns.hpp"

#include <algorithm>

#include "storage/bucket_entries.hpp"

namespace nizhal::storage {

bool has_stamps(const TableDef& table) { return table.merge == Merge::Field; }

bool has_recent(const CompiledDomain& domain, std::size_t table) {
  return domain.is_delivered(table) && domain.table(table).has_crdt();
}

std::vector<std::string> merge_columns(const CompiledDomain& domain, std::size_t table) {
  std::vector<std::string> columns;
  if (has_stamps(domain.table(table))) columns.emplace_back(kStampsColumn);
  if (has_recent(domain, table)) columns.emplace_back(kRecentColumn);
  return columns;
}

std::vector<std::string> stamped_columns(const TableDef& table) {
  std::vector<std::string> columns;
  for (const ColumnDef& column : table.columns)
    if (column.name != table.key && !is_crdt(column.type)) columns.push_back(column.name);
  return columns;
}

std::vector<std::string> columns_of_recent(const CompiledDomain& domain, std::size_t table) {
  const TableDef& def = domain.table(table);
  std::vector<std::string> columns{def.key};
  const auto add = [&columns](const std::string& name) {
    if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
  };
  for (const ColumnDef& column : def.columns)
    if (is_crdt(column.type)) add(column.name);
  for (const BucketEntry& entry : entries_of(domain, table)) {
    for (const std::string& name : entry.table->parameter_columns) add(name);
    for (const Condition& condition : entry.table->conditions) add(condition.column);
  }
  return columns;
}

}  // namespace nizhal::storage
