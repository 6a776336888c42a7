// See variables.hpp.
#include "cli/variables.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "cli/files.hpp"

namespace nizhal::cli {

namespace {

// A key shorter than this can be found by trying; HS256 itself would accept it.
constexpr std::size_t kSecretBytesMin = 16;

std::string from_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

}  // namespace

Result<std::string> read_variable(const std::string& name) {
  std::string value = from_environment(name);
  const std::string file = from_environment(name + "_FILE");
  if (file.empty()) return value;
  if (!value.empty())
    return failure(ErrorCode::usage, fmt::format("both {0} and {0}_FILE are set; unset one of them", name));
  auto content = read_file(file);
  if (!content) return failure(ErrorCode::io_error, fmt::format("{}_FILE: {}", name, content.error().message));
  while (!content->empty() && (content->back() == '\n' || content->back() == '\r')) content->pop_back();
  return *content;
}

Result<std::string> read_jwt_secret() {
  auto secret = read_variable("NIZHAL_JWT_SECRET");
  if (!secret) return secret;
  if (secret->empty())
    return failure(ErrorCode::usage,
                   "no secret to check tokens with; set NIZHAL_JWT_SECRET, or NIZHAL_JWT_SECRET_FILE to a file that "
                   "holds it, for example: export NIZHAL_JWT_SECRET=$(head -c 32 /dev/urandom | base64)");
  if (secret->size() < kSecretBytesMin)
    return failure(ErrorCode::usage,
                   fmt::format("NIZHAL_JWT_SECRET has {} bytes and needs at least {}, for example: export "
                               "NIZHAL_JWT_SECRET=$(head -c 32 /dev/urandom | base64)",
                               secret->size(), kSecretBytesMin));
  return secret;
}

}  // namespace nizhal::cli
