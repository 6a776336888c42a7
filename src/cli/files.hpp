// Files that commands read whole, and where this program lies.
#pragma once

#include <string>

#include <nizhal/result.hpp>

namespace nizhal::cli {

/// Errors: io_error, naming the file and the reason.
Result<std::string> read_file(const std::string& path);

/// The path of the running `nizhal`.
Result<std::string> own_program();

}  // namespace nizhal::cli
