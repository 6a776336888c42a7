#include "storage/postgres/own_writers.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace nizhal::storage::pg {
namespace {

/// Of "pid:virtualtransaction"; 0 for a prepared transaction, which has no backend.
int pid_of(std::string_view writer) {
  int pid = 0;
  std::from_chars(writer.data(), writer.data() + writer.size(), pid);
  return pid;
}

}  // namespace

OwnWriters::Entry::Entry(Entry&& other) noexcept
    : writers_(std::move(other.writers_)), id_(std::exchange(other.id_, 0)) {}

OwnWriters::Entry& OwnWriters::Entry::operator=(Entry&& other) noexcept {
  std::swap(writers_, other.writers_);
  std::swap(id_, other.id_);
  return *this;
}

OwnWriters::Entry::~Entry() {
  if (!writers_) return;
  {
    const std::lock_guard lock(writers_->mutex_);
    writers_->in_flight_.erase(id_);
    const auto found = writers_->own_.find(id_);
    if (found != writers_->own_.end()) {
      const bool matters = writers_->is_watched() && found->second.backend_pid != 0;
      if (matters)
        found->second.ended_at = ++writers_->ticks_;
      else
        writers_->own_.erase(found);
    }
  }
  writers_->told_.notify_all();
}

void OwnWriters::Entry::took(Version version, int backend_pid) {
  if (!writers_) return;
  {
    const std::lock_guard lock(writers_->mutex_);
    writers_->in_flight_.erase(id_);
    writers_->own_[id_].backend_pid = backend_pid;
    if (writers_->is_watched()) writers_->versions_.insert(number(version));
  }
  writers_->told_.notify_all();
}

void OwnWriters::Entry::disown() {
  if (!writers_) return;
  const std::lock_guard lock(writers_->mutex_);
  ++writers_->disowned_;
}

OwnWriters::Entry OwnWriters::begin() {
  const std::lock_guard lock(mutex_);
  const std::uint64_t id = next_id_++;
  own_.emplace(id, Own{});
  in_flight_.insert(id);
  return Entry(shared_from_this(), id);
}

void OwnWriters::look_begins() {
  const std::lock_guard lock(mutex_);
  look_began_at_ = ++ticks_;
}

void OwnWriters::forget() {
  const std::lock_guard lock(mutex_);
  has_looked_ = false;
}

OwnWriters::Owner OwnWriters::owner(std::string_view writer) const {
  const int pid = pid_of(writer);
  if (pid == 0) return Owner::others;
  bool has_ended = false;
  for (const auto& [id, own] : own_) {
    if (own.backend_pid != pid) continue;
    if (own.ended_at == 0) return Owner::ours;
    has_ended = has_ended || own.ended_at > look_began_at_;
  }
  // Ours ended while the look was under way. Behind a pooler another program may have had the same backend since.
  return has_ended ? Owner::unsure : Owner::others;
}

std::uint64_t OwnWriters::foreign_versions(const Seen& seen) const {
  const std::uint64_t last = number(seen.last);
  if (last < last_) return 1;  // the sequence went back: anything may have happened
  const auto ours = std::distance(versions_.upper_bound(last_), versions_.upper_bound(last));
  return last - last_ - std::min(last - last_, static_cast<std::uint64_t>(ours));
}

bool OwnWriters::others_committed(const Seen& seen) {
  std::unique_lock lock(mutex_);
  const std::uint64_t newest = next_id_;
  told_.wait_for(lock, telling_time_, [&] {
    if (in_flight_.empty() || *in_flight_.begin() >= newest) return true;
    return has_looked_ && foreign_versions(seen) == 0 &&
           std::all_of(seen.writers.begin(), seen.writers.end(),
                       [&](const std::string& writer) { return owner(writer) != Owner::others; });
  });

  const bool versions_of_others = has_looked_ && foreign_versions(seen) > 0;
  bool committed = versions_of_others || (has_looked_ && disowned_ > 0);
  if (has_looked_) {
    for (const std::string& writer : others_)
      committed = committed || std::find(seen.writers.begin(), seen.writers.end(), writer) == seen.writers.end();
  }
  others_.clear();
  for (const std::string& writer : seen.writers) {
    const Owner whose = owner(writer);
    // A program that took over a backend from us during this look has taken a version above the last look's.
    if (whose == Owner::others || (whose == Owner::unsure && (versions_of_others || !has_looked_)))
      others_.insert(writer);
  }
  std::erase_if(
      own_, [&](const auto& entry) { return entry.second.ended_at != 0 && entry.second.ended_at < look_began_at_; });
  last_ = number(seen.last);
  versions_.erase(versions_.begin(), versions_.upper_bound(last_));
  disowned_ = 0;
  has_looked_ = true;
  return committed;
}

}  // namespace nizhal::storage::pg
