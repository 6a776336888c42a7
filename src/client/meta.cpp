#include "client/meta.hpp"

#include <charconv>

namespace nizhal::client {
namespace {

constexpr const char* kDamaged =
    "nizhal_meta cannot be read; restore the file from a backup, or remove it to start afresh";

}  // namespace

Result<void> Meta::load() {
  Values loaded;
  auto select = connection_->prepare("SELECT key, value FROM nizhal_meta");
  if (!select) return tl::unexpected(select.error());
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) break;
    // A page of which the file gives only zeros looks like rows without a key. Taken for true, it would be a device
    // that has no client id and no tables yet.
    if (select->text(0).empty()) return failure(ErrorCode::corrupt, kDamaged);
    loaded[std::string(select->text(0))] = std::string(select->text(1));
  }
  const auto has_changed = [&](const auto& fact) {
    const auto before = values_.find(fact.first);
    const auto now = loaded.find(fact.first);
    if (before == values_.end() || now == loaded.end()) return (before == values_.end()) != (now == loaded.end());
    return before->second != now->second;
  };
  std::erase_if(lazy_, has_changed);
  std::erase_if(lazy_before_, has_changed);
  values_ = std::move(loaded);
  has_changed_ = true;
  before_.clear();
  return {};
}

void Meta::begin() {
  before_.clear();
  lazy_before_ = lazy_;
}

void Meta::roll_back() {
  for (auto& [key, value] : before_) {
    if (value) {
      values_.insert_or_assign(key, std::move(*value));
    } else {
      values_.erase(key);
    }
  }
  before_.clear();
  lazy_ = lazy_before_;
  has_changed_ = true;
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
  has_changed_ = true;
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
  const auto it = values_.find(key);
  before_.try_emplace(std::string(key), it == values_.end() ? std::nullopt : std::optional<std::string>(it->second));
  values_.insert_or_assign(std::string(key), std::string(value));
  has_changed_ = true;
  return {};
}

}  // namespace nizhal::client
