// The notes domain's scopes as a test reads them, without the engine: what ModelDevice is held against.
#pragma once

#include <map>
#include <set>
#include <string>

#include <nizhal/actor.hpp>

#include "base/json.hpp"
#include "tests/backends/backend.hpp"

namespace nizhal::testing {

std::set<std::string> notes_buckets(const std::string& table, const json::object& row);

/// What the actor may have, straight from the tables, as the model device keeps it. Values must need no escapes.
std::map<std::string, std::string> notes_in_scope(OtherProgram& program, const Actor& actor);

}  // namespace nizhal::testing
