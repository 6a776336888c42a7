// See files.hpp.
#include "cli/files.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

namespace nizhal::cli {

Result<std::string> read_file(const std::string& path) {
  const auto unreadable = [&] {
    return failure(ErrorCode::io_error, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) return unreadable();
  std::string content;
  char buffer[16384];
  std::size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof buffer, file.get())) > 0) content.append(buffer, count);
  if (std::ferror(file.get())) return unreadable();
  return content;
}

Result<std::string> own_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return failure(ErrorCode::io_error, fmt::format("cannot read /proc/self/exe: {}", error.message()));
  return path.string();
}

}  // namespace nizhal::cli
