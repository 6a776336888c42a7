// A life of a device in many processes: a script whose steps can be run again after the process was killed in them, and
// the child process that runs it and kills itself at a chosen commit.
//
// The fact that must not break: what the child was told is on its standard output before it goes on.
#pragma once

#include <string>
#include <vector>

namespace nizhal::testing {

struct ScriptStep {
  enum class Kind {
    open,        // creates the store
    mutate,      // `name` with `id` and `body`
    refused,     // the same, refused here
    dependent,   // the same, depends on the newest mutation that the server will refuse
    others,      // asks the parent to write to the server as another program would
    sync,        // pushes and pulls
    retry,       // the first dead letter, with another body
    checkpoint,  // moves the log into the file
  };
  Kind kind = Kind::mutate;
  std::string name{}, id{}, body{};
};

/// The same in every process.
const std::vector<ScriptStep>& device_script();
std::size_t script_mutations();

/// Where a child kills itself: in the n-th commit after the step began (of a checkpoint: in its n-th write).
enum class KillMode { in_it, after_it };

/// `--device STORE SERVER TOKEN FIRST_STEP KILL_NTH KILL_MODE`: runs the script from a step on. It is killed as asked
/// for in that step, and in the first commit of each later one; with KILL_NTH 0 it is not killed. Lines on standard
/// output: "at STEP", "told ID" (a mutation that was acknowledged), "giving up ID" (a dead letter), "others STEP"
/// (waits for a line), "wrong WHAT", "end".
int run_device(int argc, char** argv);

}  // namespace nizhal::testing
