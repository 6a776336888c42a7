#include "storage/grant_definition.hpp"

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "query/to_sql.hpp"

namespace nizhal::storage {

std::string grant_definition_id(const CompiledDomain& domain, std::size_t definition) {
  const BucketDefinition& def = domain.definitions()[definition];
  std::string text = def.prefix;
  const auto add = [&text](std::string_view part) { text += fmt::format("\n{}:{}", part.size(), part); };
  add(def.membership_table);
  for (const MembershipFilter& filter : def.membership_filters) {
    add(filter.column);
    const TableDef& table = *domain.domain().find_table(def.membership_table);
    const std::size_t index = table.index_of(filter.column);
    const ColumnType type = index == TableDef::npos ? ColumnType::text : table.columns[index].type;
    // One dialect's literals for both storages: they only have to tell constants apart.
    add(filter.claim.empty() ? sql_literal(Dialect::sqlite, type, filter.constant) : "claim " + filter.claim);
  }
  for (const ParameterDef& parameter : def.parameters) add(parameter.membership_column);
  return to_hex(sha256(as_bytes(text))).substr(0, 16);
}

}  // namespace nizhal::storage
