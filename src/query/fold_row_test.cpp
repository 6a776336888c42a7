// Folded rows as an app reads them: by name and type.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <nizhal/query.hpp>

namespace nizhal {
namespace {

template <class T>
concept CanBeRead = requires(const FoldRow& row) {
  row.get<T>("total");
};

TEST(FoldRow, AnIntegerIsReadWholeOrTheCodeDoesNotCompile) {
  static_assert(CanBeRead<std::int64_t> && CanBeRead<std::optional<std::int64_t>>);
  static_assert(!CanBeRead<std::int32_t> && !CanBeRead<std::optional<std::int32_t>>, "a sum may not fit");
  static_assert(CanBeRead<bool> && CanBeRead<double> && CanBeRead<std::string> && CanBeRead<Timestamp>);
  // The sum of two columns of type integer.
  const std::int64_t sum = std::int64_t{2} * 2'147'483'647;
  const FoldRow row(std::make_shared<const FoldRow::Names>(FoldRow::Names{"total"}), {sum});
  EXPECT_EQ(row.get<std::int64_t>("total"), sum);
  EXPECT_EQ(row.get<std::optional<std::int64_t>>("total"), sum);
}

}  // namespace
}  // namespace nizhal
