// The domain that is measured: one table, in the bucket of its owner, and one mutator that inserts a row.
#pragma once

#include <nizhal/domain.hpp>

namespace nizhal::bench {

inline constexpr const char* kItemTable = "items";
inline constexpr const char* kAddItem = "addItem";

Domain bench_domain();

}  // namespace nizhal::bench
