#include "bench/pgbench.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace nizhal::bench {

namespace fs = std::filesystem;

Result<std::string> find_pgbench() {
  std::vector<std::string> directories;
  std::string path = std::getenv("PATH") ? std::getenv("PATH") : "";
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    directories.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  // Debian keeps it beside each version of the server; the newest one talks to all.
  std::error_code error;
  int newest = 0;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const std::string name = entry.path().filename().string();
    int version = 0;
    std::from_chars(name.data(), name.data() + name.size(), version);
    if (version > newest && ::access((entry.path() / "bin/pgbench").c_str(), X_OK) == 0) {
      newest = version;
      directories.insert(directories.begin(), (entry.path() / "bin").string());
    }
  }
  for (const std::string& directory : directories) {
    const std::string program = (directory.empty() ? "." : directory) + "/pgbench";
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return failure(ErrorCode::not_found,
                 "pgbench is not there; it comes with PostgreSQL's server: apt-get install postgresql");
}

std::string bare_tables(std::size_t clients) {
  return fmt::format(
      "CREATE SCHEMA bare;"
      "CREATE TABLE bare.client (client_id text COLLATE \"C\" PRIMARY KEY, last_mutation_id bigint NOT NULL)"
      " WITH (fillfactor = 70);"
      "CREATE TABLE bare.mutation (client_id text COLLATE \"C\" NOT NULL, mutation_id bigint NOT NULL,"
      " client_mutation_id text COLLATE \"C\" NOT NULL, name text NOT NULL, applied boolean NOT NULL,"
      " at timestamptz NOT NULL, PRIMARY KEY (client_id, mutation_id));"
      "CREATE TABLE bare.item (id text COLLATE \"C\" PRIMARY KEY, owner_id text NOT NULL, body text NOT NULL,"
      " amount bigint NOT NULL);"
      "INSERT INTO bare.client SELECT 'client-' || i, 0 FROM generate_series(0, {}) AS i",
      clients - 1);
}

std::string bare_transaction(std::size_t mutations) {
  const std::string series = fmt::format("generate_series(1, {}) AS i", mutations);
  return fmt::format(
      "BEGIN;\n"
      "SELECT last_mutation_id AS last FROM bare.client WHERE client_id = 'client-' || :client_id FOR UPDATE \\gset\n"
      "INSERT INTO bare.mutation SELECT 'client-' || :client_id, :last + i, gen_random_uuid(), 'addItem', true, now()"
      " FROM {0};\n"
      "INSERT INTO bare.item SELECT gen_random_uuid(), 'owner-' || :client_id, repeat('x', 100), i FROM {0};\n"
      "UPDATE bare.client SET last_mutation_id = :last + {1} WHERE client_id = 'client-' || :client_id;\n"
      "COMMIT;\n",
      series, mutations);
}

std::optional<double> parse_tps(std::string_view output) {
  constexpr std::string_view kFailed = "number of failed transactions: ";
  if (const auto at = output.find(kFailed); at != std::string_view::npos)
    if (!output.substr(at + kFailed.size()).starts_with("0 ")) return std::nullopt;
  constexpr std::string_view kRate = "\ntps = ";
  const auto at = output.find(kRate);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = output.substr(at + kRate.size());
  double rate = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), rate).ec != std::errc() || rate <= 0) return std::nullopt;
  return rate;
}

}  // namespace nizhal::bench
