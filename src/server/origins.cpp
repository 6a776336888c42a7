#include "server/origins.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "server/answers.hpp"

namespace nizhal::server {
namespace {

using protocol::HttpResponse;

/// What pages may ask for; the stream is no matter of CORS.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kOpenPaths{{
    {protocol::kPullPath, "POST"},
    {protocol::kPushPath, "POST"},
    {"/nizhal/contract", "GET, HEAD"},
}};
constexpr std::string_view kPreflightSeconds = "600";  // as long as the browsers that bear the least

std::string_view methods_of(std::string_view path) {
  for (const auto& [open, methods] : kOpenPaths)
    if (open == path) return methods;
  return {};
}

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

/// Browsers leave out the scheme's own port.
std::string_view without_default_port(std::string_view scheme, std::string_view authority) {
  const std::string_view port = scheme == "https" ? ":443" : scheme == "http" ? ":80" : "";
  if (!port.empty() && authority.ends_with(port)) authority.remove_suffix(port.size());
  return authority;
}

bool is_scheme(std::string_view text) {
  if (text.empty() || text[0] < 'a' || text[0] > 'z') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  });
}

/// A name, an address or an address in brackets, and perhaps a port.
bool is_authority(std::string_view text) {
  if (text.empty() || text[0] == ':') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' || c == ':' ||
           c == '[' || c == ']';
  });
}

}  // namespace

Result<std::string> parse_origin(std::string_view text) {
  if (text == "*") return std::string(text);
  const std::string lower = to_lower(text);
  const auto mark = lower.find("://");
  const std::string_view scheme = std::string_view(lower).substr(0, mark);
  const std::string_view authority = mark == std::string::npos ? "" : std::string_view(lower).substr(mark + 3);
  if (!is_scheme(scheme) || !is_authority(authority))
    return failure(ErrorCode::usage, fmt::format("\"{}\" is no origin; one looks like https://app.example.com or "
                                                 "http://localhost:5173: no path, no slash at its end, names that are "
                                                 "not ASCII as in xn--…; \"*\" allows every page",
                                                 text));
  return fmt::format("{}://{}", scheme, without_default_port(scheme, authority));
}

Origins::Origins(std::vector<std::string> allowed) : allowed_(std::move(allowed)) {
  any_ = std::find(allowed_.begin(), allowed_.end(), "*") != allowed_.end();
}

bool Origins::allows(std::string_view origin, std::string_view host) const {
  if (any_) return true;
  if (std::find(allowed_.begin(), allowed_.end(), origin) != allowed_.end()) return true;
  const auto mark = origin.find("://");
  if (mark == std::string_view::npos) return false;
  const std::string own = to_lower(host);
  return !own.empty() && origin.substr(mark + 3) == without_default_port(origin.substr(0, mark), own);
}

void Origins::add_headers(std::string_view path, std::string_view origin, std::string_view host,
                          HttpResponse& response) const {
  if (methods_of(path).empty() || allowed_.empty()) return;
  // Caches on the way must not give one page the answer for another; with "*" all are the same.
  if (!any_) response.headers["vary"] = "Origin";
  if (origin.empty() || !allows(origin, host)) return;
  response.headers["access-control-allow-origin"] = any_ ? "*" : std::string(origin);
  response.headers["access-control-expose-headers"] = "Retry-After";
}

HttpResponse Origins::preflight(std::string_view path, std::string_view origin, std::string_view host) const {
  const std::string_view methods = methods_of(path);
  HttpResponse response;
  if (allowed_.empty() || methods.empty() || !allows(origin, host)) {
    response = origin_not_allowed(origin);
  } else {
    response.status = 204;
    add_headers(path, origin, host, response);
    response.headers["access-control-allow-methods"] = std::string(methods);
    response.headers["access-control-allow-headers"] =
        fmt::format("Authorization, Content-Type, {}", protocol::kContractVersionHeader);
    response.headers["access-control-max-age"] = std::string(kPreflightSeconds);
  }
  if (!any_) response.headers["vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
  return response;
}

HttpResponse origin_not_allowed(std::string_view origin) {
  return error_response(
      403, "origin_not_allowed",
      fmt::format("pages of {} may not use this server; it can allow them with --allow-origin", origin.substr(0, 200)));
}

}  // namespace nizhal::server
