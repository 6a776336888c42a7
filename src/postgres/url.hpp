// What a database URL says, as far as the engine needs to know it. libpq reads it, so every form that libpq knows is
// understood. The fact that must not break: no password leaves here.
#pragma once

#include <string>
#include <vector>

#include <nizhal/result.hpp>

namespace nizhal::postgres {

struct Url {
  struct Host {
    std::string name, address, port;  // each may be empty
  };
  std::vector<Host> hosts;  // empty: libpq's default
  std::string user, database;
  bool has_session_attributes = false;  // target_session_attrs is given
};

/// Fails with `usage`, without quoting the URL.
Result<Url> parse_url(const std::string& url);

}  // namespace nizhal::postgres
