#include "client/meta.hpp"

#include <charconv>

namespace nizhal::client {

Result<void> Meta::load() {
  values_.clear();
  auto select = connection_->prepare("SELECT key, value FROM nizhal_meta");
  if (!select) return tl::unexpected(select.error());
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return {};
    values_[std::string(select->text(0))] = std::string(select->text(1));
  }
}

const std::string& Meta::get(std::string_view key) const {
  static const std::string kAbsent;
  if (const auto it = lazy_.find(key); it != lazy_.end()) return it->second;
  const auto it = values_.find(key);
  return it == values_.end() ? kAbsent : it->second;
}

std::int64_t Meta::integer(std::string_view key) const {
  const std::string& text = get(key);
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

Result<void> Meta::set(std::string_view key, std::string_view value) {
  if (const auto it = lazy_.find(key); it != lazy_.end()) lazy_.erase(it);
  return write(key, value);
}

Result<void> Meta::set(std::string_view key, std::int64_t value) { return set(key, std::to_string(value)); }

void Meta::set_lazy(std::string_view key, std::string_view value) {
  lazy_.insert_or_assign(std::string(key), std::string(value));
}

Result<void> Meta::flush() {
  for (const auto& [key, value] : lazy_) {
    if (auto written = write(key, value); !written) return written;
  }
  lazy_.clear();
  return {};
}

Result<void> Meta::write(std::string_view key, std::string_view value) {
  auto insert = connection_->prepare(
      "INSERT INTO nizhal_meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value");
  if (!insert) return tl::unexpected(insert.error());
  insert->bind_text(1, key).bind_text(2, value);
  if (auto done = insert->run(); !done) return done;
  values_.insert_or_assign(std::string(key), std::string(value));
  return {};
}

}  // namespace nizhal::client
