// The tests, or one of the devices that they start.
#include <gtest/gtest.h>

#include <string_view>

#include "tests/two_processes/device_process.hpp"

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "device") return nizhal::testing::run_device(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
