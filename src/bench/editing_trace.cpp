#include "bench/editing_trace.hpp"

#include <algorithm>

#include "base/environment.hpp"

namespace nizhal::bench {
namespace {

class Writer {
 public:
  explicit Writer(std::uint64_t seed) : random_(seed) {}

  std::vector<Edit> write(std::size_t edits) {
    while (trace_.size() < edits) {
      move();
      if (chance(30))
        for (std::size_t i = 1 + random_.below(8); i > 0 && cursor_ > 0; --i) remove(cursor_ - 1, 1);
      if (chance(2)) insert(letters(20 + random_.below(281)));
      if (chance(1)) remove(cursor_, std::min<std::size_t>(10 + random_.below(111), length_ - cursor_));
      do insert(letters(1));
      while (random_.below(12) != 0);
    }
    trace_.resize(edits);
    return std::move(trace_);
  }

 private:
  bool chance(std::uint64_t percent) { return random_.below(100) < percent; }
  void move() {
    const std::uint64_t kind = random_.below(100);
    if (kind < 20) return;
    constexpr std::size_t kNear = 400;
    const std::size_t low = kind < 75 ? cursor_ - std::min(cursor_, kNear) : 0;
    const std::size_t high = kind < 75 ? std::min(length_, cursor_ + kNear) : length_;
    cursor_ = low + random_.below(high - low + 1);
  }
  std::string letters(std::size_t count) {
    std::string text;
    for (; count > 0; --count) {
      if (word_left_ == 0) {
        text += ' ';
        word_left_ = 1 + random_.below(9);
      } else {
        text += static_cast<char>('a' + random_.below(26));
        --word_left_;
      }
    }
    return text;
  }
  void insert(std::string text) {
    const std::size_t position = cursor_;
    cursor_ += text.size();
    length_ += text.size();
    trace_.push_back({position, 0, std::move(text)});
  }
  void remove(std::size_t position, std::size_t count) {
    if (count == 0) return;
    trace_.push_back({position, count, {}});
    length_ -= count;
    cursor_ = position;
  }

  SeededRandom random_;
  std::vector<Edit> trace_;
  std::size_t length_ = 0, cursor_ = 0;
  std::uint64_t word_left_ = 5;
};

}  // namespace

std::vector<Edit> editing_trace(std::uint64_t seed, std::size_t edits) { return Writer(seed).write(edits); }

}  // namespace nizhal::bench
