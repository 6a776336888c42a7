#include "server/told_commits.hpp"

#include <algorithm>
#include <iterator>

namespace nizhal::server {

ToldCommits::Keys ToldCommits::tell(Told& told, const Keys& keys) {
  Keys news;
  for (const std::string& key : keys)
    if (told.keys.insert(key).second) news.insert(key);
  return news;
}

ToldCommits::Keys ToldCommits::announced(Version version, const Keys& keys) {
  Told& told = commits_[version];
  told.announced = true;
  Keys news = tell(told, keys);
  while (commits_.size() > kMax) commits_.erase(commits_.begin());
  return news;
}

ToldCommits::Keys ToldCommits::seen(Version version, const Keys& keys) {
  Told& told = commits_[version];
  Keys news = told.announced ? Keys() : tell(told, keys);
  while (commits_.size() > kMax) commits_.erase(commits_.begin());
  return news;
}

void ToldCommits::settle(Version through) {
  settled_ = std::max(settled_, through);
  if (commits_.size() <= kSettledKept) return;
  auto settled = std::distance(commits_.begin(), commits_.upper_bound(settled_));
  for (auto spare = settled - static_cast<std::ptrdiff_t>(kSettledKept); spare > 0; --spare)
    commits_.erase(commits_.begin());
}

}  // namespace nizhal::server
