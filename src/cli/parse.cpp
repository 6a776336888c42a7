// See parse.hpp.
#include "cli/parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "postgres/url.hpp"

namespace nizhal::cli {

namespace {

struct NumberAndUnit {
  std::uint64_t number = 0;
  std::string_view unit;
};

std::optional<NumberAndUnit> split_number(std::string_view text) {
  NumberAndUnit result;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result.number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  result.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return result;
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

template <std::size_t kCount>
std::optional<std::uint64_t> in_units(std::string_view text, const Unit (&units)[kCount], std::uint64_t max) {
  const auto parts = split_number(text);
  if (!parts) return std::nullopt;
  for (const Unit& unit : units) {
    if (unit.name != parts->unit) continue;
    if (parts->number > max / unit.factor) return std::nullopt;
    return parts->number * unit.factor;
  }
  return std::nullopt;
}

}  // namespace

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  static constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  constexpr std::uint64_t kTenThousandYears = 10'000ULL * 366 * 86'400'000;
  const auto milliseconds = in_units(text, kUnits, kTenThousandYears);
  if (!milliseconds)
    return failure(ErrorCode::usage,
                   fmt::format("\"{}\" is not a duration; write a number with its unit: 30s, 15m, 1h, 7d", text));
  return std::chrono::milliseconds(*milliseconds);
}

Result<std::size_t> parse_bytes(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1},          {"B", 1},         {"kB", 1'000},         {"MB", 1'000'000},
                                    {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GB", 1'000'000'000}, {"GiB", 1 << 30}};
  const auto bytes = in_units(text, kUnits, std::numeric_limits<std::size_t>::max());
  if (!bytes || *bytes == 0)
    return failure(ErrorCode::usage,
                   fmt::format("\"{}\" is not a size; write bytes or a number with its unit: 64KiB, 1MiB", text));
  return static_cast<std::size_t>(*bytes);
}

Result<RateLimit> parse_rate(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const bool per_second = unit.empty() || unit == "/s";
  if (error != std::errc() || !std::isfinite(number) || number < 0 || (!per_second && unit != "/m"))
    return failure(ErrorCode::usage, fmt::format("\"{}\" is not a rate; write requests per second or minute: 20/s, "
                                                 "600/m (0 turns the limit off)",
                                                 text));
  RateLimit limit;
  limit.requests_per_second = per_second ? number : number / 60;
  limit.burst = number == 0 ? 0 : std::max(1.0, limit.requests_per_second);
  return limit;
}

std::string Address::url() const {
  return host.find(':') == std::string::npos ? fmt::format("http://{}:{}", host, port)
                                             : fmt::format("http://[{}]:{}", host, port);
}

Result<Address> parse_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const auto wrong = [&] {
    return failure(ErrorCode::usage,
                   fmt::format("\"{}\" is not an address; write HOST:PORT, as in 127.0.0.1:4000 or [::1]:4000", text));
  };
  if (colon == std::string_view::npos || colon == 0) return wrong();
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find(':') != std::string_view::npos) return wrong();
  const auto port = split_number(text.substr(colon + 1));
  if (!port || !port->unit.empty() || port->number > 65'535) return wrong();
  return Address{std::string(host), static_cast<std::uint16_t>(port->number)};
}

Result<storage::DatabaseKind> parse_db(const std::string& text) {
  const auto kind = storage::kind_of_database(text);
  if (!kind)
    return failure(ErrorCode::usage,
                   "this is not a database that can be used; write postgresql://USER@HOST:5432/NAME or sqlite:PATH");
  if (*kind == storage::DatabaseKind::postgres)
    if (const auto url = postgres::parse_url(text); !url) return tl::unexpected(url.error());
  return *kind;
}

Result<std::size_t> parse_count(std::string_view text) {
  const auto parts = split_number(text);
  if (!parts || !parts->unit.empty() || parts->number == 0)
    return failure(ErrorCode::usage, fmt::format("\"{}\" is not a whole number of at least 1", text));
  return static_cast<std::size_t>(parts->number);
}

Result<std::string> make_claims(std::string_view user, std::string_view owner, std::int64_t expires_unix_seconds,
                                const std::vector<std::string>& claims) {
  std::string out = "{\"userId\":";
  const auto check = [](std::string_view what, std::string_view text) -> Result<void> {
    if (text.empty()) return failure(ErrorCode::usage, fmt::format("{} must not be empty", what));
    if (!is_utf8(text)) return failure(ErrorCode::usage, fmt::format("{} must be UTF-8", what));
    return {};
  };
  if (auto fine = check("--user", user); !fine) return tl::unexpected(fine.error());
  if (auto fine = check("--owner", owner); !fine) return tl::unexpected(fine.error());
  append_json_string(out, user);
  out += ",\"ownerId\":";
  append_json_string(out, owner);
  std::set<std::string, std::less<>> seen{"userId", "ownerId", "exp"};
  for (const std::string& claim : claims) {
    const std::size_t equals = claim.find('=');
    if (equals == std::string::npos || equals == 0)
      return failure(ErrorCode::usage, fmt::format("--claim \"{}\": write NAME=VALUE", claim));
    const std::string name = claim.substr(0, equals);
    if (!is_utf8(claim)) return failure(ErrorCode::usage, "--claim must be UTF-8");
    if (!seen.insert(name).second)
      return failure(ErrorCode::usage, fmt::format("--claim \"{}\": this claim is set already ({})", name,
                                                   name == "userId" || name == "ownerId" || name == "exp"
                                                       ? "use --user, --owner and --expires"
                                                       : "give it once"));
    out += ',';
    append_json_string(out, name);
    out += ':';
    append_json_string(out, std::string_view(claim).substr(equals + 1));
  }
  out += ",\"exp\":";
  append_json_number(out, expires_unix_seconds);
  out += '}';
  return out;
}

}  // namespace nizhal::cli
