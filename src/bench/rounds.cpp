#include "bench/rounds.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace nizhal::bench {

Result<void> go_on(const Outside& outside) {
  if (outside.is_interrupted()) return failure(ErrorCode::closed, "interrupted");
  return {};
}

Result<void> measure_rounds(Figure& figure, const Options& options, const Outside& outside, const Side& engine,
                            const Side& limit) {
  for (const Side* side : {&limit, &engine})
    if (auto warm = (*side)(std::chrono::seconds(1)); !warm) return tl::unexpected(warm.error());
  const auto duration = std::chrono::seconds(options.seconds);
  for (std::size_t i = 0; i < options.rounds; ++i) {
    Round round;
    for (const bool limits_turn : {i % 2 == 0, i % 2 != 0}) {
      if (auto on = go_on(outside); !on) return on;
      const auto measured = (limits_turn ? limit : engine)(duration);
      if (!measured) return tl::unexpected(measured.error());
      (limits_turn ? round.limit : round.value) = *measured;
    }
    outside.progress(fmt::format("{}: round {} of {}: {:.0f} {}, limit {:.0f}, ratio {:.2f}", figure.name, i + 1,
                                 options.rounds, round.value, figure.unit, round.limit, round.ratio()));
    figure.rounds.push_back(round);
  }
  return {};
}

Directory::Directory() {
  std::error_code error;
  std::string pattern = (std::filesystem::temp_directory_path(error) / "nizhal-bench-XXXXXX").string();
  if (!error && ::mkdtemp(pattern.data())) path_ = pattern;
}

Directory::~Directory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace nizhal::bench
