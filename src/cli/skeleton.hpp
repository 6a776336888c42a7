// A domain skeleton from a live database: C++ that compiles, loads and registers every table that can be synced. What a
// machine cannot know stands in it as comments: which rows reach whom, and what a user may do.
#pragma once

#include <string>

#include "storage/introspection.hpp"

namespace nizhal::cli {

std::string domain_skeleton(const storage::IntrospectedSchema& schema);

}  // namespace nizhal::cli
