// Numbers and strings in the encoding of the Yjs update format: unsigned integers of 7 bits a byte, lowest first;
// strings as their length in bytes and UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/crdt.hpp>

namespace nizhal::crdt {

/// Reads bytes from outside. After the first thing that does not fit, `failed()` is true and every read gives zero or
/// nothing; no read goes beyond the end or allocates.
class Reader {
 public:
  Reader() = default;
  explicit Reader(std::span<const std::uint8_t> bytes)
      : begin_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  std::uint8_t byte() {
    if (at_ == end_) return fail();
    return *at_++;
  }
  std::uint64_t var_uint() {
    if (at_ != end_ && *at_ < 128) return *at_++;
    if (end_ - at_ >= 2 && at_[1] < 128) {
      at_ += 2;
      return static_cast<std::uint64_t>(at_[-2] & 127) | static_cast<std::uint64_t>(at_[-1]) << 7;
    }
    return long_var_uint();
  }
  /// Sign and magnitude; `negative` also for minus zero.
  std::uint64_t var_int(bool& negative);
  std::string_view bytes(std::uint64_t count);
  std::string_view var_bytes() { return bytes(var_uint()); }
  /// Fails unless it is UTF-8. `units` becomes its length in UTF-16 code units.
  std::string_view var_string(std::uint64_t& units);
  std::string_view var_string() {
    std::uint64_t units = 0;
    return var_string(units);
  }
  Id id() {
    Id read;
    read.client = var_uint();
    read.clock = var_uint();
    return read;
  }
  std::uint8_t fail() {
    failed_ = true;
    at_ = end_;
    return 0;
  }
  bool failed() const { return failed_; }
  bool at_end() const { return at_ == end_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  std::size_t position() const { return static_cast<std::size_t>(at_ - begin_); }
  std::string_view since(std::size_t position) const {
    return {reinterpret_cast<const char*>(begin_ + position), static_cast<std::size_t>(at_ - begin_) - position};
  }

 private:
  std::uint64_t long_var_uint();
  const std::uint8_t *begin_ = nullptr, *at_ = nullptr, *end_ = nullptr;
  bool failed_ = false;
};

class Writer {
 public:
  void byte(std::uint8_t value) { out_.push_back(value); }
  void var_uint(std::uint64_t value) {
    for (; value > 127; value >>= 7) out_.push_back(static_cast<std::uint8_t>(value | 128));
    out_.push_back(static_cast<std::uint8_t>(value));
  }
  void var_int(std::uint64_t magnitude, bool negative);
  void raw(std::string_view bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void raw(const Bytes& bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void var_string(std::string_view text) {
    var_uint(text.size());
    raw(text);
  }
  void id(Id id) {
    var_uint(id.client);
    var_uint(id.clock);
  }
  std::size_t size() const { return out_.size(); }
  Bytes take() { return std::move(out_); }

 private:
  Bytes out_;
};

/// UTF-16 code units of well-formed UTF-8.
std::uint64_t count_utf16(std::string_view text);

/// Where the UTF-16 code unit `units` of well-formed UTF-8 begins. `in_pair` is true when it is the second half of a
/// surrogate pair; then the byte is that of the character that the pair stands for.
std::size_t utf16_to_byte(std::string_view text, std::uint64_t units, bool& in_pair);

/// What a half of a surrogate pair becomes when a text is cut within it.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// The part of `text` from `units` on as Yjs writes it: a cut within a surrogate pair leaves U+FFFD.
void write_utf16_suffix(Writer& out, std::string_view text, std::uint64_t units);

}  // namespace nizhal::crdt
