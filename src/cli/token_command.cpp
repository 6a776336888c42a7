// `nizhal token`: a bearer token for development, and nothing else.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/parse.hpp"
#include "cli/variables.hpp"
#include "server/authenticator.hpp"

namespace nizhal::cli {

namespace {

struct Options {
  std::string user, owner, expires = "1h";
  std::vector<std::string> claims;
};

int run(const Globals& globals, const Options& options) {
  const auto secret = read_jwt_secret();
  if (!secret) return fail("token", secret.error());
  const auto lifetime = parse_duration(options.expires);
  if (!lifetime) return fail("token", kUsage, "--expires: " + lifetime.error().message);
  const std::int64_t now_seconds = system_clock().now().microseconds / 1'000'000;
  const std::int64_t expires = now_seconds + std::chrono::duration_cast<std::chrono::seconds>(*lifetime).count();
  const auto claims = make_claims(options.user, options.owner, expires, options.claims);
  if (!claims) return fail("token", claims.error());
  const std::string token = server::make_jwt(*secret, *claims);
  if (globals.json) {
    print_json(json::object{{"token", token}, {"expires", to_iso8601(Timestamp{expires * 1'000'000})}});
  } else {
    print_line(token);
  }
  return kDone;
}

}  // namespace

void add_token_command(const Commands& commands) {
  CLI::App* command = commands.app.add_subcommand("token", "Print a bearer token for development");
  auto options = std::make_shared<Options>();
  command->add_option("--user", options->user, "The claim userId")->required();
  command->add_option("--owner", options->owner, "The claim ownerId")->required();
  command->add_option("--claim", options->claims, "Another claim, NAME=VALUE; may be given several times")
      ->allow_extra_args(false);
  command->add_option("--expires", options->expires, "How long it is valid: 15m, 1h, 7d")->capture_default_str();
  command->footer("Signed with NIZHAL_JWT_SECRET (or NIZHAL_JWT_SECRET_FILE), as the server checks it.");
  command->fallthrough();
  command->callback([&globals = commands.globals, &action = commands.action, options] {
    action = [&globals, options] { return run(globals, *options); };
  });
}

}  // namespace nizhal::cli
