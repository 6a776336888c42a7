#include "sim/run.hpp"

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <filesystem>

#include <fmt/format.h>

#include "sim/system.hpp"

namespace nizhal::sim {

namespace {

/// In memory where the system has such a place: a run writes thousands of times and keeps nothing.
class Folder {
 public:
  Folder() {
    std::error_code ignored;
    const char* place = std::filesystem::is_directory("/dev/shm", ignored) ? "/dev/shm" : "/tmp";
    std::string name = fmt::format("{}/nizhal-sim-XXXXXX", place);
    if (::mkdtemp(name.data())) path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

RunResult run_once(const std::shared_ptr<const CompiledDomain>& domain, const Options& options,
                   const MakeWorkload& make_workload) {
  RunResult result;
  const Folder folder;
  if (folder.path().empty()) {
    result.violation = Violation{Violation::Kind::crash, "start", "no folder can be made for the run's files", {}};
    return result;
  }
  const auto workload = make_workload(options);
  System system(domain, options, *workload, folder.path());
  system.run();
  const History& history = system.history();
  result.violation = history.violation();
  result.digest = history.digest();
  result.virtual_time = system.virtual_time();
  result.mutations_made = history.counted("mutations made");
  result.applied = system.oracles().applied();
  result.refused = system.oracles().refused();
  result.applied_by_mutator = system.oracles().applied_by_mutator();
  result.counts = history.counts();
  result.silent_faults = system.silent_faults();
  result.last_lines.assign(history.last_lines().begin(), history.last_lines().end());
  return result;
}

}  // namespace nizhal::sim
