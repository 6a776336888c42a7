// Callbacks of the app, to which it subscribed. They may outlive the store, be ended from inside themselves, and throw.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <nizhal/live.hpp>

namespace nizhal::net {

/// One callback and whether it may still be called.
template <class... Args>
class Callback {
 public:
  explicit Callback(std::function<void(Args...)> function) : function_(std::move(function)) {}
  /// Not after `end` returned, unless that was called from inside the callback.
  void operator()(Args... args) {
    const std::lock_guard lock(running_);
    if (has_ended_) return;
    // It may be ended, and what it holds destroyed, by itself: kept until it returns.
    const auto function = function_;
    function(args...);
  }
  /// Waits for a call that is running on another thread.
  void end() {
    const std::lock_guard lock(running_);
    has_ended_ = true;
    function_ = nullptr;
  }

 private:
  std::recursive_mutex running_;
  bool has_ended_ = false;
  std::function<void(Args...)> function_;
};

/// Any thread.
template <class... Args>
class Callbacks {
 public:
  using Entry = std::shared_ptr<Callback<Args...>>;
  std::pair<Entry, Subscription> add(std::function<void(Args...)> function) {
    auto entry = std::make_shared<Callback<Args...>>(std::move(function));
    std::uint64_t id = 0;
    {
      const std::lock_guard lock(list_->mutex);
      id = ++list_->last_id;
      list_->entries.emplace(id, entry);
    }
    return {entry, Subscription([weak = std::weak_ptr<List>(list_), id, entry] {
              if (const auto list = weak.lock()) {
                const std::lock_guard lock(list->mutex);
                list->entries.erase(id);
              }
              entry->end();
            })};
  }
  /// Those subscribed now, in their order.
  std::vector<Entry> all() const {
    const std::lock_guard lock(list_->mutex);
    std::vector<Entry> entries;
    for (const auto& [id, entry] : list_->entries) entries.push_back(entry);
    return entries;
  }

 private:
  struct List {
    mutable std::mutex mutex;
    std::uint64_t last_id = 0;
    std::map<std::uint64_t, Entry> entries;
  };
  std::shared_ptr<List> list_ = std::make_shared<List>();
};

}  // namespace nizhal::net
