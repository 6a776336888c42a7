// Live queries: a query whose result is kept up to date, delivered after each committed change with what changed.
//
// Threads: callbacks run on the store's own thread and must not block; Rows and Delta are valid during the call only.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/value.hpp>

namespace nizhal {

/// Ends what it stands for when it is dropped: no callback begins afterwards (one that is running on another thread
/// is waited for; dropped inside a callback it just ends).
class Subscription {
 public:
  Subscription() = default;
  explicit Subscription(std::function<void()> end) : end_(std::move(end)) {}
  Subscription(Subscription&& other) noexcept : end_(std::exchange(other.end_, nullptr)) {}
  Subscription& operator=(Subscription&& other) noexcept {
    if (this != &other) {
      stop();
      end_ = std::exchange(other.end_, nullptr);
    }
    return *this;
  }
  ~Subscription() { stop(); }
  void stop() {
    if (auto end = std::exchange(end_, nullptr)) end();
  }

 private:
  std::function<void()> end_;
};

/// The rows of a live query in order, without their C++ type.
class RowSequence {
 public:
  virtual ~RowSequence() = default;
  virtual std::size_t size() const = 0;
  virtual const Row& row(std::size_t index) const = 0;  // index < size()
};

/// One step from the rows before to the rows now. The steps of a delivery are done one after the other, each on what
/// the one before it left, so a list widget can follow them. A row that moves is removed and inserted.
enum class Step { inserted, updated, removed };
struct RawChange {
  Step step = Step::inserted;
  std::size_t index = 0;  // where it is inserted, stays, or was
  Row row;                // inserted, updated: as it is now; removed: as it was
};
struct RawDelta {
  bool is_first = false;  // the first delivery: all rows are inserted, and the changes are not listed
  std::vector<RawChange> changes;
};

/// Rows of a live query as T, made as they are read.
template <class T>
class Rows {
 public:
  using Make = std::function<T(const Row&)>;
  Rows(const RowSequence& rows, const Make& make) : rows_(&rows), make_(&make) {}
  std::size_t size() const { return rows_->size(); }
  bool empty() const { return size() == 0; }
  T operator[](std::size_t index) const { return (*make_)(rows_->row(index)); }
  std::vector<T> to_vector() const {
    std::vector<T> all;
    all.reserve(size());
    for (std::size_t i = 0; i < size(); ++i) all.push_back((*this)[i]);
    return all;
  }
  class Iterator {
   public:
    Iterator(const Rows& rows, std::size_t index) : rows_(&rows), index_(index) {}
    T operator*() const { return (*rows_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

   private:
    const Rows* rows_;
    std::size_t index_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  const RowSequence* rows_;
  const Make* make_;
};

template <class T>
struct Change {
  Step step = Step::inserted;
  std::size_t index = 0;
  T row;
};
template <class T>
struct Delta {
  bool is_first = false;
  std::vector<Change<T>> changes;
};

struct LiveOptions {
  /// Told when the query can no longer be kept, with what to do; the rows stay as they were last delivered. A failure
  /// of the disk is told once, and the query goes on with the next change.
  std::function<void(const Error&)> on_error = {};
};

/// How a query would be kept up to date.
struct Explanation {
  enum class Upkeep {
    incremental,  // each changed row is judged alone: the cost does not grow with the tables
    rerun,        // run again after each change of one of its tables, and compared
  };
  Upkeep upkeep = Upkeep::rerun;
  std::string reason;               // one sentence
  std::vector<std::string> tables;  // whose changes it follows
};

}  // namespace nizhal
