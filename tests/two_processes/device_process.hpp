// A device in a process of its own: this test program started again as `device FILE URL USER OWNER`, which opens the
// store offline and does what it is told, one line at a time. Each command is answered by one line; a failure begins
// with "error".
//
//   online | offline            | sync               | quit
//   mutate NAME JSON            the client mutation id
//   many PREFIX COUNT           one line "made PREFIX-i CLIENT-MUTATION-ID" for each, then "done"
//   sql SELECT                  the first column of the first row
//   until VALUE SELECT          waits until `sql` says VALUE
//   live SELECT                 begins a live query; until-live VALUE waits until its first column's first row is VALUE
//   conflicts                   how many the status counts, then "ID TABLE KEY COLUMN LOST" of each; until-conflicts N
//   dismiss ID                  dismisses a conflict
//   until-standby yes|no, until-online, until-pending N
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tests/support/process.hpp"

namespace nizhal::testing {

class DeviceProcess {
 public:
  DeviceProcess(const std::string& file, const std::string& url, const std::string& user = "u1",
                const std::string& owner = "o1");
  /// The answer to one command; "error: …" also when the process does not answer.
  std::string ask(const std::string& command);
  void tell(const std::string& command) { process_->write(command + "\n"); }
  std::string next_line();
  ChildProcess& process() { return *process_; }
  void kill();
  /// Closes the store and ends.
  void quit();

 private:
  std::unique_ptr<ChildProcess> process_;
};

/// The other side: what `main` runs for `device …`.
int run_device(int argc, char** argv);

/// Signed with the tests' secret.
std::string token_of(std::string_view user, std::string_view owner);

}  // namespace nizhal::testing
