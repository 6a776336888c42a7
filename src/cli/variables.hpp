// What comes from the environment: NIZHAL_JWT_SECRET, NIZHAL_DB, NIZHAL_TOKEN, NIZHAL_ADMIN_PASSWORD, each also as
// NAME_FILE, a file that holds the value. Secrets never need to be on a command line.
#pragma once

#include <string>

#include <nizhal/result.hpp>

namespace nizhal::cli {

/// The variable's value, or the content of the file that NAME_FILE names, without trailing newlines; empty when
/// neither is set. Errors: usage when both are, io_error when the file cannot be read.
Result<std::string> read_variable(const std::string& name);

/// NIZHAL_JWT_SECRET, which must be there (usage, saying how to set it) and have at least 16 bytes (usage).
Result<std::string> read_jwt_secret();

}  // namespace nizhal::cli
