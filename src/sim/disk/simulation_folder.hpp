// Where a simulation keeps its files, and copies of databases in it.
#pragma once

#include <string>

#include <nizhal/result.hpp>

namespace nizhal::sim {

/// A folder of its own, in memory where the system has such a place (/dev/shm), else where temporary files go; removed
/// with all that is in it when it goes.
class SimulationFolder {
 public:
  static Result<SimulationFolder> make();
  ~SimulationFolder();
  SimulationFolder(SimulationFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  SimulationFolder& operator=(SimulationFolder&&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit SimulationFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// Copies a database with its log as they stand (a cloned device, a backup): between calls of SQLite only. A database
/// that is at `to` is replaced, and must have no handle.
Result<void> copy_database(const std::string& from, const std::string& to);

}  // namespace nizhal::sim
