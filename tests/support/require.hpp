// Unwraps what a test cannot go on without.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <nizhal/result.hpp>

namespace nizhal::testing {

/// The value, or an exception that says what was being done and why it failed.
template <class T>
T require(Result<T> result, std::string_view doing) {
  if (!result) throw std::runtime_error(std::string(doing) + ": " + result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace nizhal::testing
