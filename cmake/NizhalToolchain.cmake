# Compiler flags shared by every target, and the sanitizer switches of the presets.
set(NIZHAL_SANITIZE "" CACHE STRING "Sanitizers to build with, as in -fsanitize=…")

add_library(nizhal_flags INTERFACE)
target_compile_options(nizhal_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "Release")
  # g++ 12 reports both of these falsely for std::variant once it optimises; the debug and
  # clang builds keep them.
  target_compile_options(nizhal_flags INTERFACE -Wno-free-nonheap-object -Wno-maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # clang counts sign conversions into -Wconversion, g++ does not; and it blames std::stable_sort's use of
  # std::get_temporary_buffer on whoever sorts.
  target_compile_options(nizhal_flags INTERFACE -Wno-sign-conversion -Wno-deprecated-declarations)
endif()
target_include_directories(nizhal_flags INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
if(NIZHAL_SANITIZE)
  target_compile_options(nizhal_flags INTERFACE -fsanitize=${NIZHAL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(nizhal_flags INTERFACE -fsanitize=${NIZHAL_SANITIZE})
endif()

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# mold halves the time of an incremental link; GNU ld serves where it is absent.
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()
