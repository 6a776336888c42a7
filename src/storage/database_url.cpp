#include "storage/database_url.hpp"

#include <algorithm>

namespace nizhal::storage {
namespace {

constexpr std::string_view kSqliteScheme = "sqlite:";

/// Whether libpq would read it as `key = value`: a word of lower case letters before the first equals sign.
bool is_key_value(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) return false;
  std::string_view key = text.substr(0, equals);
  while (key.starts_with(' ')) key.remove_prefix(1);
  while (key.ends_with(' ')) key.remove_suffix(1);
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

}  // namespace

std::optional<DatabaseKind> kind_of_database(std::string_view url) {
  if (url.starts_with(kSqliteScheme))
    return url.size() > kSqliteScheme.size() ? std::optional(DatabaseKind::sqlite) : std::nullopt;
  if (url.starts_with("postgresql://") || url.starts_with("postgres://") || is_key_value(url))
    return DatabaseKind::postgres;
  return std::nullopt;
}

std::string sqlite_path(std::string_view url) {
  return std::string(url.starts_with(kSqliteScheme) ? url.substr(kSqliteScheme.size()) : url);
}

}  // namespace nizhal::storage
