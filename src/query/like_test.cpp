#include "query/like.hpp"

#include <gtest/gtest.h>

#include <string>

#include "base/environment.hpp"
#include "base/test_seed.hpp"

namespace nizhal {
namespace {

TEST(Like, PercentIsAnyTextAndUnderscoreOneCharacter) {
  EXPECT_TRUE(is_like("", ""));
  EXPECT_TRUE(is_like("", "%"));
  EXPECT_FALSE(is_like("", "_"));
  EXPECT_FALSE(is_like("a", ""));
  EXPECT_TRUE(is_like("abc", "abc"));
  EXPECT_TRUE(is_like("abc", "a%"));
  EXPECT_TRUE(is_like("abc", "%c"));
  EXPECT_TRUE(is_like("abc", "%b%"));
  EXPECT_TRUE(is_like("abc", "a_c"));
  EXPECT_FALSE(is_like("abc", "a_"));
  EXPECT_TRUE(is_like("abc", "%%%"));
  EXPECT_TRUE(is_like("aXbXc", "a%X%c"));
  EXPECT_FALSE(is_like("abcd", "%c"));
  EXPECT_TRUE(is_like("abcbc", "%bc"));
}

TEST(Like, CaseCounts) {
  EXPECT_FALSE(is_like("Abc", "abc"));
  EXPECT_FALSE(is_like("\u00c9", "\u00e9"));
}

TEST(Like, ACharacterIsACodePoint) {
  EXPECT_TRUE(is_like("\u00e9", "_"));
  EXPECT_FALSE(is_like("\u00e9", "__"));
  EXPECT_TRUE(is_like("\U0001F600x", "_x"));
  EXPECT_TRUE(is_like("\U0001F600\u00e9", "%_"));
  EXPECT_TRUE(is_like("a\u00e9", "%\u00e9"));
  EXPECT_TRUE(is_like(std::string("a\0b", 3), "a_b"));
}

TEST(Like, ABackslashTakesTheNextCharacterAsItIs) {
  EXPECT_TRUE(is_like("50%", "50\\%"));
  EXPECT_FALSE(is_like("50x", "50\\%"));
  EXPECT_TRUE(is_like("a_b", "a\\_b"));
  EXPECT_FALSE(is_like("axb", "a\\_b"));
  EXPECT_TRUE(is_like("a\\b", "a\\\\b"));
  EXPECT_TRUE(is_like("ab", "\\a\\b"));
  EXPECT_FALSE(is_like_pattern("a\\"));
  EXPECT_TRUE(is_like_pattern("a\\\\"));
  EXPECT_TRUE(is_like_pattern(""));
}

/// The definition, which may take exponential time.
bool by_definition(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '%') {
    for (std::size_t taken = 0; taken <= text.size(); ++taken)
      if (by_definition(text.substr(taken), pattern.substr(1))) return true;
    return false;
  }
  if (text.empty()) return false;
  if (pattern[0] == '\\') return text[0] == pattern[1] && by_definition(text.substr(1), pattern.substr(2));
  return (pattern[0] == '_' || pattern[0] == text[0]) && by_definition(text.substr(1), pattern.substr(1));
}

TEST(Like, EqualsItsDefinition) {
  SeededRandom random(test_seed());
  std::size_t matches = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text, pattern;
    for (std::uint64_t n = random.below(8); n > 0; --n) text += "ab%_\\"[random.below(5)];
    for (std::uint64_t n = random.below(7); n > 0; --n) {
      const char character = "ab%_\\%"[random.below(6)];
      pattern += character;
      if (character == '\\') pattern += "ab%_\\"[random.below(5)];
    }
    const bool expected = by_definition(text, pattern);
    matches += expected ? 1 : 0;
    ASSERT_EQ(is_like(text, pattern), expected) << text << " like " << pattern;
  }
  EXPECT_GT(matches, 1'000U);
}

TEST(Like, ManyPercentsDoNotTakeForEver) {
  std::string pattern;
  for (int i = 0; i < 30; ++i) pattern += "%a";
  EXPECT_FALSE(is_like(std::string(5'000, 'a') + "b", pattern));
}

}  // namespace
}  // namespace nizhal
