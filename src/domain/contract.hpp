// The public contract of a domain: OpenAPI 3.1 with JSON Schemas of rows and mutator inputs, and the merge
// policies and rules under `x-nizhal` (and `x-echo`, for existing clients).
#pragma once

#include "base/json.hpp"
#include "domain/compiled_domain.hpp"

namespace nizhal {

json::object contract(const CompiledDomain& domain);

/// Compares dotted numbers: "1.10" > "1.9"; missing parts are 0. Nothing when a text is no version.
std::optional<int> compare_versions(std::string_view left, std::string_view right);

}  // namespace nizhal
