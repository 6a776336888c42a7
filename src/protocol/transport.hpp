// HTTP messages as plain values: what the engine parts exchange with whatever carries them (sockets, the
// simulator, a test that calls straight through).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nizhal::protocol {

struct HttpRequest {
  std::string method = "GET";
  std::string path;                               // without the query, percent-decoded
  std::multimap<std::string, std::string> query;  // decoded
  std::map<std::string, std::string> headers;     // names in lower case
  std::string body;
  std::string peer;  // remote address without port; for rate limits
  std::string_view header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? std::string_view() : std::string_view(it->second);
  }
};

struct HttpResponse {
  int status = 200;
  std::map<std::string, std::string> headers;
  std::string body;
};

inline constexpr std::string_view kContractVersionHeader = "x-nizhal-contract-version";
inline constexpr std::string_view kPullPath = "/sync/pull";
inline constexpr std::string_view kPushPath = "/sync/push";
inline constexpr std::string_view kStreamPath = "/sync/stream";

}  // namespace nizhal::protocol
