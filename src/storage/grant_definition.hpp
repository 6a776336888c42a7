// A membership definition's name in the stored grants. Both storages use it, so a database can be judged by its text.
#pragma once

#include <cstddef>
#include <string>

#include "domain/compiled_domain.hpp"

namespace nizhal::storage {

/// The same as long as the same rows grant the same buckets to the same actors, whatever the order of declarations.
std::string grant_definition_id(const CompiledDomain& domain, std::size_t definition);

}  // namespace nizhal::storage
