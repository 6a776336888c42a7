#include "net/url.hpp"

#include <charconv>

#include <fmt/format.h>

namespace nizhal::net {
namespace {

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_host_character(char c, bool bracketed) { return is_unreserved(c) || (bracketed && (c == ':' || c == '%')); }

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : fmt::format("[{}]", host);
}

tl::unexpected<Error> bad_url(std::string_view text, std::string_view why) {
  return failure(ErrorCode::usage,
                 fmt::format("\"{}\" is not a server address: {}; write it like http://host:4000", text, why));
}

}  // namespace

std::string Url::host_header() const {
  return port == (secure ? 443 : 80) ? bracketed(host) : fmt::format("{}:{}", bracketed(host), port);
}

std::string Url::endpoint() const { return fmt::format("{}:{}", bracketed(host), port); }

Result<Url> parse_url(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    url.secure = true;
    rest.remove_prefix(8);
  } else {
    return bad_url(text, "it must begin with http:// or https://");
  }
  url.port = url.secure ? 443 : 80;
  // Before anything is put into a message: an address with a password in it is not repeated.
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (authority.find('@') != std::string_view::npos)
    return failure(ErrorCode::usage, "the server address must not hold a user name or password (\"@\")");
  std::string_view path = rest.substr(authority.size());
  if (path.find_first_of("?#") != std::string_view::npos)
    return failure(ErrorCode::usage, "the server address must not have a query or a fragment (\"?\" or \"#\")");

  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return bad_url(text, "the bracket \"[\" is not closed");
    url.host = authority.substr(1, end - 1);
    const std::string_view after = authority.substr(end + 1);
    if (!after.empty() && !after.starts_with(':')) return bad_url(text, "after \"]\" only a port may follow");
    has_port = !after.empty();
    if (has_port) port = after.substr(1);
    if (url.host.find(':') == std::string::npos) return bad_url(text, "brackets are for IPv6 addresses only");
  } else {
    const auto colon = authority.find(':');
    url.host = authority.substr(0, colon);
    has_port = colon != std::string_view::npos;
    if (has_port) port = authority.substr(colon + 1);
    if (port.find(':') != std::string_view::npos) return bad_url(text, "an IPv6 address needs brackets");
  }
  if (url.host.empty()) return bad_url(text, "the host is missing");
  for (const char c : url.host)
    if (!is_host_character(c, authority.starts_with('['))) return bad_url(text, "the host has a character it cannot");
  if (has_port) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0)
      return bad_url(text, "the port must be a number from 1 to 65535");
  }
  for (const char c : path)
    if (static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7f)
      return bad_url(text, "the path has a character it cannot; escape it");
  while (path.ends_with('/')) path.remove_suffix(1);
  url.base_path = path;
  return url;
}

std::optional<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == Plus::is_space) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

std::string percent_encode(std::string_view text, std::string_view also) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c) || also.find(c) != std::string_view::npos) {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out.push_back('%');
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    }
  }
  return out;
}

Result<Target> parse_target(std::string_view target) {
  // The absolute form ("http://host/path") is what a proxy sends; servers must take it (RFC 9112, 3.2.2).
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const auto slash = target.find_first_of("/?");
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
    break;
  }
  if (!target.starts_with('/')) return failure(ErrorCode::bad_request, "the request target must begin with \"/\"");
  const auto question = target.find('?');
  auto path = percent_decode(target.substr(0, question));
  if (!path) return failure(ErrorCode::bad_request, "the path has a broken % escape");
  Target parsed;
  parsed.path = std::move(*path);
  if (question == std::string_view::npos) return parsed;
  std::string_view rest = target.substr(question + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    auto name = percent_decode(pair.substr(0, equals), Plus::is_space);
    auto value =
        percent_decode(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), Plus::is_space);
    if (!name || !value) return failure(ErrorCode::bad_request, "the query has a broken % escape");
    parsed.query.emplace(std::move(*name), std::move(*value));
  }
  return parsed;
}

std::string format_target(std::string_view path, const std::multimap<std::string, std::string>& query) {
  std::string target = percent_encode(path, "/:@!$&'()*,;=");
  char separator = '?';
  for (const auto& [name, value] : query) {
    target.push_back(separator);
    target += percent_encode(name) + "=" + percent_encode(value);
    separator = '&';
  }
  return target;
}

}  // namespace nizhal::net
