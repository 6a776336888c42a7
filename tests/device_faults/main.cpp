// The test program, which is also the device that it kills.
#include <gtest/gtest.h>

#include <string_view>

#include "tests/device_faults/device_script.hpp"

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--device") return nizhal::testing::run_device(argc - 2, argv + 2);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
