// In the binary with planted bugs: NIZHAL_PLANT names the bug (base/planted.hpp), for it and the processes that it
// starts.
#include <cstdio>
#include <cstdlib>

#include "tests/canaries/planted.hpp"

namespace {

[[maybe_unused]] const bool is_done = [] {
  const char* name = std::getenv("NIZHAL_PLANT");
  if (!name) return true;
  const auto bug = nizhal::canaries::parse_planted(name);
  if (!bug) {
    std::fprintf(stderr, "NIZHAL_PLANT: there is no bug %s\n", name);
    std::_Exit(2);
  }
  nizhal::canaries::plant(*bug);
  return true;
}();

}  // namespace
