// SQLite's result codes as errors.
#pragma once

#include <string>
#include <string_view>

#include <nizhal/result.hpp>

namespace nizhal::sqlite {

/// `code` may be an extended one.
ErrorCode error_code_of(int code);
/// "doing: reason; what to do".
Error make_error(int code, std::string_view doing, std::string_view reason);

}  // namespace nizhal::sqlite
