// Ids and versions as types, so that one is never taken for another.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/environment.hpp"

namespace nizhal {

/// 1, 2, 3 … per client id; 0 = none yet.
enum class MutationId : std::uint64_t {};
/// Number of the transaction that last changed a row; 0 = before the first.
enum class Version : std::uint64_t {};

constexpr std::uint64_t number(MutationId id) { return static_cast<std::uint64_t>(id); }
constexpr std::uint64_t number(Version version) { return static_cast<std::uint64_t>(version); }
constexpr MutationId next(MutationId id) { return MutationId{number(id) + 1}; }

/// Version 4 UUID, lower case with dashes.
std::string random_uuid(Random& random);
/// The n-th id of a mutation (S7): a version 8 UUID from SHA-256 of seed and n, the same on both sides.
std::string derived_uuid(std::string_view seed, std::uint64_t n);
/// 8-4-4-4-12 hex digits with dashes, any version, either case.
bool is_uuid(std::string_view text);

}  // namespace nizhal
