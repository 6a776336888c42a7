#include "sim/disk/simulation_folder.hpp"

#include <stdlib.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace nizhal::sim {

namespace {

constexpr const char* kPattern = "/nizhal-sim-XXXXXX";

}  // namespace

Result<SimulationFolder> SimulationFolder::make() {
  std::string in_memory = std::string("/dev/shm") + kPattern;
  if (::mkdtemp(in_memory.data())) return SimulationFolder(std::move(in_memory));
  std::error_code unknown;
  std::string temporary = std::filesystem::temp_directory_path(unknown).string() + kPattern;
  if (!unknown && ::mkdtemp(temporary.data())) return SimulationFolder(std::move(temporary));
  return failure(
      ErrorCode::io_error,
      fmt::format("no folder for the simulation's files can be made as {}; set TMPDIR to one that takes files",
                  temporary));
}

SimulationFolder::~SimulationFolder() {
  std::error_code ignored;  // a folder that cannot be removed harms nobody
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Result<void> copy_database(const std::string& from, const std::string& to) {
  for (const char* suffix : {"", "-wal", "-journal", "-shm"}) {
    std::error_code failed;
    std::filesystem::remove(to + suffix, failed);
    // The shared memory is no content: whoever opens the copy first makes it anew from the log.
    const bool is_content = std::string_view(suffix) != "-shm";
    if (!failed && is_content && std::filesystem::exists(from + suffix, failed))
      std::filesystem::copy_file(from + suffix, to + suffix, failed);
    if (failed)
      return failure(ErrorCode::io_error,
                     fmt::format("copying {} to {}: {}", from + suffix, to + suffix, failed.message()));
  }
  return {};
}

}  // namespace nizhal::sim
