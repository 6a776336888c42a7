// Which database a URL means, wherever one is given: `--db`, NIZHAL_DB, StorageOptions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nizhal::storage {

enum class DatabaseKind { sqlite, postgres };

/// `sqlite:PATH`; `postgresql://…`, `postgres://…` or libpq's `key=value` pairs. Nothing for anything else.
std::optional<DatabaseKind> kind_of_database(std::string_view url);

/// The path of `sqlite:PATH`.
std::string sqlite_path(std::string_view url);

}  // namespace nizhal::storage
