// Timestamps as ISO 8601 text and back: proleptic Gregorian calendar, UTC, no locale and no time zone database.
// The written form always has 27 characters, so that comparing texts compares times.
#include <algorithm>
#include <chrono>
#include <cstddef>

#include <nizhal/value.hpp>

namespace nizhal {

namespace {

using std::chrono::days;
using std::chrono::microseconds;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr std::int64_t kMicrosecondsPerSecond = 1'000'000;

constexpr std::int64_t first_microsecond(year of) {
  return microseconds(sys_days(of / 1 / 1).time_since_epoch()).count();
}
constexpr std::int64_t kEarliest = first_microsecond(year{0});
constexpr std::int64_t kLatest = first_microsecond(year{10000}) - 1;

void put_digits(char* to, int count, std::int64_t number) {
  for (int i = count - 1; i >= 0; --i) {
    to[i] = static_cast<char>('0' + number % 10);
    number /= 10;
  }
}

/// Takes exactly `count` digits off the front.
bool take_digits(std::string_view& text, std::size_t count, int& number) {
  if (text.size() < count) return false;
  number = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, char character) {
  if (text.empty() || text.front() != character) return false;
  text.remove_prefix(1);
  return true;
}

/// `.` and 1–9 digits, or nothing at all.
bool take_fraction(std::string_view& text, std::int64_t& fraction) {
  constexpr std::size_t kDigitsMax = 9;
  fraction = 0;
  if (!take(text, '.')) return true;
  std::size_t digits = 0;
  std::int64_t scale = kMicrosecondsPerSecond / 10;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (++digits > kDigitsMax) return false;
    fraction += scale * (text.front() - '0');
    scale /= 10;
    text.remove_prefix(1);
  }
  return digits > 0;
}

/// `Z`, `±hh:mm` or nothing.
bool take_offset(std::string_view& text, std::int64_t& minutes) {
  minutes = 0;
  if (text.empty() || take(text, 'Z')) return true;
  const bool west = text.front() == '-';
  if (!west && text.front() != '+') return false;
  text.remove_prefix(1);
  int hour = 0, minute = 0;
  if (!take_digits(text, 2, hour) || !take(text, ':') || !take_digits(text, 2, minute)) return false;
  if (hour > 23 || minute > 59) return false;
  minutes = (west ? -1 : 1) * (hour * 60 + minute);
  return true;
}

}  // namespace

std::string to_iso8601(Timestamp time) {
  const std::int64_t clamped = std::clamp(time.microseconds, kEarliest, kLatest);
  const auto day = std::chrono::floor<days>(microseconds(clamped));
  const year_month_day date{sys_days(day)};
  const std::int64_t in_day = clamped - std::chrono::duration_cast<microseconds>(day).count();
  const std::int64_t seconds = in_day / kMicrosecondsPerSecond;
  std::string text = "0000-00-00T00:00:00.000000Z";
  put_digits(text.data(), 4, static_cast<int>(date.year()));
  put_digits(text.data() + 5, 2, static_cast<unsigned>(date.month()));
  put_digits(text.data() + 8, 2, static_cast<unsigned>(date.day()));
  put_digits(text.data() + 11, 2, seconds / 3600);
  put_digits(text.data() + 14, 2, seconds / 60 % 60);
  put_digits(text.data() + 17, 2, seconds % 60);
  put_digits(text.data() + 20, 6, in_day % kMicrosecondsPerSecond);
  return text;
}

std::optional<Timestamp> parse_iso8601(std::string_view text) {
  int in_year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!take_digits(text, 4, in_year) || !take(text, '-') || !take_digits(text, 2, month) || !take(text, '-') ||
      !take_digits(text, 2, day))
    return std::nullopt;
  if (!take(text, 'T') && !take(text, ' ')) return std::nullopt;
  if (!take_digits(text, 2, hour) || !take(text, ':') || !take_digits(text, 2, minute) || !take(text, ':') ||
      !take_digits(text, 2, second))
    return std::nullopt;
  std::int64_t fraction = 0, offset_minutes = 0;
  if (!take_fraction(text, fraction) || !take_offset(text, offset_minutes) || !text.empty()) return std::nullopt;

  const year_month_day date{year{in_year}, std::chrono::month{static_cast<unsigned>(month)},
                            std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const std::int64_t seconds = (hour * 60 + minute - offset_minutes) * 60 + second;
  const std::int64_t total =
      microseconds(sys_days(date).time_since_epoch()).count() + seconds * kMicrosecondsPerSecond + fraction;
  // An offset can lead out of the years that the written form can hold.
  if (total < kEarliest || total > kLatest) return std::nullopt;
  return Timestamp{total};
}

}  // namespace nizhal
