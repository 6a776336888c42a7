// The one meaning of LIKE, on every side: `%` stands for any text, `_` for one character (a code point), `\` takes the
// next character as it is; case counts.
#pragma once

#include <string_view>

namespace nizhal {

/// False when the pattern ends with a lone `\`, which no database takes.
bool is_like_pattern(std::string_view pattern);
/// Both UTF-8. At worst the product of both lengths.
bool is_like(std::string_view text, std::string_view pattern);

}  // namespace nizhal
