// The small languages of the command line: durations, sizes, rates, addresses, database URLs, claims. Every error is
// `usage` and says what was given and what is expected.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/server.hpp>

#include "storage/database_url.hpp"

namespace nizhal::cli {

/// `500ms`, `30s`, `15m`, `1h`, `7d`, `0s`.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

/// `1048576`, `64KiB`, `1MiB`, `1GiB` (1,024) and `64kB`, `1MB`, `1GB` (1,000).
Result<std::size_t> parse_bytes(std::string_view text);

/// `20/s`, `600/m`, or a bare number per second; 0 is off. The burst is one second's worth, at least one request.
Result<RateLimit> parse_rate(std::string_view text);

struct Address {
  std::string host;
  std::uint16_t port = 0;
  /// `http://127.0.0.1:4000`; an IPv6 address in brackets.
  std::string url() const;
};
/// `HOST:PORT`; an IPv6 address in brackets.
Result<Address> parse_address(std::string_view text);

/// What kind of database a URL names: `sqlite:PATH`, `postgresql://…` or libpq's `key=value` pairs. The URL is never
/// repeated in an error: it may hold a password.
Result<storage::DatabaseKind> parse_db(const std::string& text);

/// A whole number ≥ 1.
Result<std::size_t> parse_count(std::string_view text);

/// The payload of a token: userId, ownerId, exp, and the claims of `k=v` as texts. A claim may not replace one of the
/// three.
Result<std::string> make_claims(std::string_view user, std::string_view owner, std::int64_t expires_unix_seconds,
                                const std::vector<std::string>& claims);

}  // namespace nizhal::cli
