# nizhal_module(NAME DIR dir [NO_EXCEPTIONS] DEPENDS module… EXTERNAL target… [TEST_DEPENDS module…])
#
# A module is the static library nizhal_NAME of all src/DIR/*.cpp, with beside it
#  - NAME_test: its unit tests (src/DIR/*_test.cpp), one ctest entry per module;
#  - link_NAME: the whole library linked with its declared dependencies only, so that a call to a
#    module that is not declared fails the build.
# TEST_DEPENDS names modules that only the unit tests link.
# Files named *_native.cpp keep exceptions in a NO_EXCEPTIONS module: the places where what a user's
# code throws is caught.
function(nizhal_module NAME)
  cmake_parse_arguments(ARG "NO_EXCEPTIONS" "DIR" "DEPENDS;EXTERNAL;TEST_DEPENDS" ${ARGN})
  set(dir ${CMAKE_SOURCE_DIR}/src/${ARG_DIR})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cpp)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cpp$")
  set(native ${sources})
  list(FILTER native INCLUDE REGEX "_native\\.cpp$")

  set(depends ${ARG_DEPENDS})
  list(TRANSFORM depends PREPEND nizhal_)
  if(NOT sources)  # a module of headers only
    add_library(nizhal_${NAME} INTERFACE)
    target_link_libraries(nizhal_${NAME} INTERFACE nizhal_flags ${depends} ${ARG_EXTERNAL})
    return()
  endif()
  add_library(nizhal_${NAME} STATIC ${sources})
  target_link_libraries(nizhal_${NAME} PUBLIC nizhal_flags ${depends} ${ARG_EXTERNAL})
  if(ARG_NO_EXCEPTIONS)
    target_compile_options(nizhal_${NAME} PRIVATE -fno-exceptions)
    set_source_files_properties(${native} PROPERTIES COMPILE_OPTIONS -fexceptions)
  endif()

  add_executable(link_${NAME} ${CMAKE_SOURCE_DIR}/tests/link/main.cpp)
  target_link_libraries(link_${NAME} PRIVATE nizhal_flags -Wl,--whole-archive nizhal_${NAME} -Wl,--no-whole-archive)
  add_test(NAME link_${NAME} COMMAND link_${NAME})

  if(tests)
    list(TRANSFORM ARG_TEST_DEPENDS PREPEND nizhal_)
    add_executable(${NAME}_test ${tests})
    target_link_libraries(${NAME}_test PRIVATE nizhal_${NAME} ${ARG_TEST_DEPENDS} GTest::gtest GTest::gtest_main)
    add_test(NAME ${NAME}_test COMMAND ${NAME}_test)
  endif()
endfunction()
