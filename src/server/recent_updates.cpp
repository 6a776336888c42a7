// Layout: the byte 1, then per column: its name, the floor, the number of entries, and each entry's version and update.
// Numbers are unsigned LEB128; texts and updates have their length before them. There are no other bytes.
#include "server/recent_updates.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace nizhal::server {
namespace {

constexpr char kLayout = 1;

void append_number(std::string& out, std::uint64_t number) {
  while (number >= 0x80U) {
    out += static_cast<char>(0x80U | (number & 0x7FU));
    number >>= 7U;
  }
  out += static_cast<char>(number);
}

std::size_t number_size(std::uint64_t number) {
  std::size_t size = 1;
  for (; number >= 0x80U; number >>= 7U) ++size;
  return size;
}

/// Takes from the front of `bytes`; false: it does not begin with one.
bool read_number(std::string_view& bytes, std::uint64_t& out) {
  out = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<std::uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    const std::uint64_t part = byte & 0x7FU;
    if (shift == 63 && part > 1) return false;
    out |= part << shift;
    if ((byte & 0x80U) == 0) return part != 0 || shift == 0;  // one number, one spelling
  }
  return false;
}

bool read_text(std::string_view& bytes, std::string_view& out) {
  std::uint64_t size = 0;
  if (!read_number(bytes, size) || size > bytes.size()) return false;
  out = bytes.substr(0, static_cast<std::size_t>(size));
  bytes.remove_prefix(static_cast<std::size_t>(size));
  return true;
}

std::size_t text_size(std::size_t length) { return number_size(length) + length; }
std::size_t entry_size(Version version, std::size_t update) { return number_size(number(version)) + text_size(update); }

}  // namespace

RecentUpdates::RecentUpdates(std::string_view bytes) {
  if (!bytes.empty() && !read(bytes)) columns_.clear();
}

bool RecentUpdates::read(std::string_view bytes) {
  if (bytes.front() != kLayout) return false;
  bytes.remove_prefix(1);
  while (!bytes.empty()) {
    std::string_view name;
    std::uint64_t floor = 0, count = 0;
    if (!read_text(bytes, name) || !read_number(bytes, floor) || !read_number(bytes, count)) return false;
    const auto [column, is_new] = columns_.try_emplace(std::string(name));
    if (!is_new) return false;
    column->second.floor = Version{floor};
    for (; count > 0; --count) {
      std::uint64_t version = 0;
      std::string_view update;
      if (!read_number(bytes, version) || !read_text(bytes, update)) return false;
      column->second.entries.push_back({Version{version}, crdt::Bytes(update.begin(), update.end())});
    }
  }
  return true;
}

void RecentUpdates::begin(std::string_view column, Version floor) {
  columns_.insert_or_assign(std::string(column), Column{.floor = floor, .entries = {}});
}

void RecentUpdates::add(std::string_view column, Version version, crdt::Bytes update) {
  const auto known = columns_.find(column);
  if (known != columns_.end()) known->second.entries.push_back({version, std::move(update)});
}

void RecentUpdates::shrink(std::size_t bytes_max) {
  for (std::size_t size = size_in_bytes(); size > bytes_max; size = size_in_bytes()) {
    Column* oldest = nullptr;
    for (auto& [name, column] : columns_) {
      if (column.entries.empty()) continue;
      if (oldest == nullptr || column.entries.front().version < oldest->entries.front().version) oldest = &column;
    }
    if (oldest == nullptr) return columns_.clear();  // names and floors alone are too much
    // As many at once as it takes: each of them moves those after it.
    std::size_t dropped = 0;
    for (std::size_t excess = size - bytes_max, freed = 0; dropped < oldest->entries.size() && freed < excess;) {
      const Entry& entry = oldest->entries[dropped++];
      freed += entry_size(entry.version, entry.update.size());
      oldest->floor = std::max(oldest->floor, entry.version);
    }
    oldest->entries.erase(oldest->entries.begin(), oldest->entries.begin() + static_cast<std::ptrdiff_t>(dropped));
  }
}

std::size_t RecentUpdates::size_in_bytes() const {
  std::size_t size = columns_.empty() ? 0 : 1;
  for (const auto& [name, column] : columns_) {
    size += text_size(name.size()) + number_size(number(column.floor)) + number_size(column.entries.size());
    for (const Entry& entry : column.entries) size += entry_size(entry.version, entry.update.size());
  }
  return size;
}

std::optional<std::vector<crdt::Bytes>> RecentUpdates::since(std::string_view column, Version position) const {
  const auto known = columns_.find(column);
  if (known == columns_.end() || known->second.floor > position) return std::nullopt;
  std::vector<crdt::Bytes> updates;
  for (const Entry& entry : known->second.entries)
    if (entry.version > position) updates.push_back(entry.update);
  return updates;
}

std::string RecentUpdates::bytes() const {
  std::string out;
  if (columns_.empty()) return out;
  out.reserve(size_in_bytes());
  out += kLayout;
  for (const auto& [name, column] : columns_) {
    append_number(out, name.size());
    out += name;
    append_number(out, number(column.floor));
    append_number(out, column.entries.size());
    for (const Entry& entry : column.entries) {
      append_number(out, number(entry.version));
      append_number(out, entry.update.size());
      out.append(reinterpret_cast<const char*>(entry.update.data()), entry.update.size());
    }
  }
  return out;
}

}  // namespace nizhal::server
