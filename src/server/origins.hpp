// Which web pages may use this server: the allow-list of browser origins, for streams and for CORS.
//
// Only browsers send an Origin header, and always the true one; a device sends none and is not concerned. The fact that
// must not break: an answer lets a page read it only when the page's origin is allowed, and never together with the
// browser's cookies: what authorises is the bearer token, which the page must hold itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "protocol/transport.hpp"

namespace nizhal::server {

/// "*", or an origin as browsers send it: "HTTPS://App.Example.com:443" becomes "https://app.example.com". usage: it is
/// none, saying what one looks like.
Result<std::string> parse_origin(std::string_view text);

class Origins {
 public:
  /// As parse_origin gives them.
  explicit Origins(std::vector<std::string> allowed);

  /// A page of `origin` may use the server that it calls `host` (the Host header): it is on the list, or it is served
  /// under the very same host.
  bool allows(std::string_view origin, std::string_view host) const;

  /// What an answer at `path` says to the browser (CORS), whatever the answer is.
  void add_headers(std::string_view path, std::string_view origin, std::string_view host,
                   protocol::HttpResponse& response) const;
  /// The answer to OPTIONS of a browser that asks before the request itself.
  protocol::HttpResponse preflight(std::string_view path, std::string_view origin, std::string_view host) const;

 private:
  std::vector<std::string> allowed_;
  bool any_ = false;
};

/// For a page that is not allowed: 403 `origin_not_allowed`.
protocol::HttpResponse origin_not_allowed(std::string_view origin);

}  // namespace nizhal::server
