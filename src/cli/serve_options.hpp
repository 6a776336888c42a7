// What `nizhal serve` can be told, on the command line or in a TOML file of the same names, and what becomes of it.
// Secrets have no option: they come from the environment.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/server.hpp>

#include "cli/parse.hpp"

namespace nizhal::cli {

/// One setting as text, as it was given last.
struct Setting {
  std::string name;  // "rate-limit": the option's and the file's
  std::string value;
  std::string help;
  bool is_given = false;  // on the command line, which wins over the file
  bool is_list = false;   // `value` holds several, with a space between; the file has an array
};

struct ServeSettings {
  ServeSettings();
  std::vector<Setting> all;
  Setting& operator[](std::string_view name);
  const std::string& value(std::string_view name) const;
};

/// Takes what the file says for every setting that the command line did not give. Errors: io_error (unreadable),
/// usage (not TOML, an unknown name, a secret, a value that is no text or number), naming file and line.
Result<void> apply_config_file(const std::string& path, ServeSettings& settings);

/// Everything but the domain and the log; secrets are read elsewhere. Errors name the option.
struct ServePlan {
  ServerOptions server{.domain = Domain("")};
  Address address;
};
Result<ServePlan> plan_of(const ServeSettings& settings);

/// The effective settings as a config file, and as one JSON object; databases without their passwords.
std::string as_toml(const ServeSettings& settings);
std::string as_json(const ServeSettings& settings);

}  // namespace nizhal::cli
