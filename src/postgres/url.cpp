// See url.hpp.
#include "postgres/url.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <string_view>

#include "postgres/connection.hpp"

namespace nizhal::postgres {
namespace {

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    list.remove_prefix(comma + 1);
  }
}

/// As libpq reads it back: the folder of a Unix socket has slashes.
std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          std::string_view("-._~:[]").find(c) != std::string_view::npos;
    if (is_plain)
      encoded += c;
    else
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace

Result<Url> parse_url(const std::string& url) {
  char* reason = nullptr;  // not shown: it quotes what may be a password
  PQconninfoOption* const options = PQconninfoParse(url.c_str(), &reason);
  PQfreemem(reason);
  if (!options)
    return failure(ErrorCode::usage,
                   "the database's URL cannot be read; it looks like postgresql://user:password@host:5432/database, "
                   "with special characters in the password written as %XX");
  Url parsed;
  std::string names, addresses, ports;
  for (const PQconninfoOption* option = options; option->keyword; ++option) {
    if (!option->val) continue;
    const std::string_view keyword = option->keyword;
    if (keyword == "host") names = option->val;
    if (keyword == "hostaddr") addresses = option->val;
    if (keyword == "port") ports = option->val;
    if (keyword == "user") parsed.user = option->val;
    if (keyword == "dbname") parsed.database = option->val;
    if (keyword == "target_session_attrs") parsed.has_session_attributes = true;
  }
  PQconninfoFree(options);
  if (names.empty() && addresses.empty()) {
    if (!ports.empty()) parsed.hosts.push_back({"", "", ports});
    return parsed;
  }
  const auto name_list = split(names);
  const auto address_list = split(addresses);
  const auto port_list = split(ports);
  const std::size_t count = std::max(name_list.size(), address_list.size());
  for (std::size_t i = 0; i < count; ++i) {
    // One port is every host's, as in libpq.
    const std::string& port = port_list.size() == 1  ? port_list[0]
                              : i < port_list.size() ? port_list[i]
                                                     : std::string();
    parsed.hosts.push_back(
        {i < name_list.size() ? name_list[i] : "", i < address_list.size() ? address_list[i] : "", port});
  }
  return parsed;
}

std::string describe_url(const std::string& url) {
  const auto parsed = parse_url(url);
  if (!parsed) return "postgresql:(a URL that cannot be read)";
  std::string text = "postgresql://";
  if (!parsed->user.empty()) text += percent_encoded(parsed->user) + "@";
  bool is_first = true;
  for (const auto& host : parsed->hosts) {
    if (!is_first) text += ",";
    is_first = false;
    text += percent_encoded(host.name.empty() ? host.address : host.name);
    if (!host.port.empty()) text += ":" + host.port;
  }
  if (!parsed->database.empty()) text += "/" + percent_encoded(parsed->database);
  return text;
}

}  // namespace nizhal::postgres
