// Addresses and request targets as text, parsed strictly: what a person typed becomes an error that says what to write
// instead, what a peer sent becomes a value or a refusal.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <nizhal/result.hpp>

namespace nizhal::net {

struct Url {
  bool secure = false;
  std::string host;  // without brackets
  std::uint16_t port = 0;
  std::string base_path;  // "" or "/sub/path", without a slash at its end

  /// For the Host header: the port only where it is not the scheme's own.
  std::string host_header() const;
  /// For messages: "127.0.0.1:4000", "[::1]:4000".
  std::string endpoint() const;
};

/// "http://host", "https://host:8443/base", "http://[::1]:4000". Errors (usage) name what is wrong.
Result<Url> parse_url(std::string_view text);

enum class Plus { keep, is_space };
/// Nothing when an escape is not % and two hex digits.
std::optional<std::string> percent_decode(std::string_view text, Plus plus = Plus::keep);
/// Escapes all but letters, digits, "-._~" and the characters of `also`.
std::string percent_encode(std::string_view text, std::string_view also = "");

struct Target {
  std::string path;
  std::multimap<std::string, std::string> query;
};
/// Of a request line: "/sync/stream?bucket=a&bucket=b", also in the absolute form. Errors (bad_request) never repeat
/// the query, which may hold a token.
Result<Target> parse_target(std::string_view target);
/// The reverse, for a request that a client sends.
std::string format_target(std::string_view path, const std::multimap<std::string, std::string>& query);

}  // namespace nizhal::net
