#include "base/bytes.hpp"

#include <gtest/gtest.h>

#include "base/test_seed.hpp"

namespace nizhal {
namespace {

std::string hash(std::string_view text) { return to_hex(sha256(as_bytes(text))); }
std::string text_of(const std::optional<std::vector<std::uint8_t>>& bytes) {
  return bytes ? std::string(bytes->begin(), bytes->end()) : "(nothing)";
}

TEST(Sha256, MatchesTheFips180Vectors) {
  EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
                 "mnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(hash(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, EveryLengthAroundABlockIsPaddedRight) {
  EXPECT_EQ(hash(std::string(55, 'a')), "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(hash(std::string(56, 'a')), "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
  EXPECT_EQ(hash(std::string(63, 'a')), "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34");
  EXPECT_EQ(hash(std::string(64, 'a')), "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

TEST(Base64, MatchesTheRfc4648Vectors) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(to_base64(as_bytes(plain)), encoded);
    EXPECT_EQ(text_of(from_base64(encoded)), plain);
    const std::string unpadded = encoded.substr(0, encoded.find('='));
    EXPECT_EQ(to_base64url(as_bytes(plain)), unpadded);
    EXPECT_EQ(text_of(from_base64url(unpadded)), plain);
  }
  EXPECT_EQ(to_base64(as_bytes("\xfb\xff\xfe")), "+//+");
  EXPECT_EQ(to_base64url(as_bytes("\xfb\xff\xfe")), "-__-");
}

TEST(Base64, DecodingIsStrict) {
  for (const std::string_view text :
       {"Z", "Zg", "Zg=", "Zg===", "Z===", "====", "=", "Zm9v=", "Zm9v====", "Zh==", "Zm9=", "Zm9v\n", " Zm9v",
        "Zm9v Zm9v", "Zm-v", "Zm_v", "Zg==Zg==", "Zm\x80v", "Z=g="})
    EXPECT_FALSE(from_base64(text)) << text;
  for (const std::string_view text : {"Z", "Zg==", "Zm9vY", "Zh", "Zm9", "Zm+v", "Zm/v", "Zm 9", "Zm9v\n"})
    EXPECT_FALSE(from_base64url(text)) << text;
}

TEST(Base64, AnyBytesComeBackAndAnyTextHasOneMeaning) {
  SeededRandom random(test_seed());
  constexpr std::string_view kCharacters = "ABYZabyz0189+/-_==\n ";
  for (int i = 0; i < 5'000; ++i) {
    std::vector<std::uint8_t> bytes(random.below(40));
    random.fill(bytes);
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
    EXPECT_EQ(from_base64url(to_base64url(bytes)), bytes);
    std::string text;
    for (std::uint64_t n = random.below(10); n > 0; --n) text += kCharacters[random.below(kCharacters.size())];
    if (const auto decoded = from_base64(text)) {
      EXPECT_EQ(to_base64(*decoded), text);
    }
    if (const auto decoded = from_base64url(text)) {
      EXPECT_EQ(to_base64url(*decoded), text);
    }
  }
}

TEST(Utf8, WellFormedTextIsTaken) {
  for (const std::string_view text : {"", "abc", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                                      "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(text)) << to_hex(as_bytes(text));
    EXPECT_EQ(to_utf8(text), text);
  }
}

TEST(Utf8, OverlongFormsSurrogatesAndStrayBytesAreRefused) {
  for (const std::string_view text :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2z", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe1\x80",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xfe", "\xff"}) {
    EXPECT_FALSE(is_utf8(text)) << to_hex(as_bytes(text));
    EXPECT_TRUE(is_utf8(to_utf8(text))) << to_hex(as_bytes(text));
  }
}

TEST(Utf8, BadBytesAreReplacedAndTheRestKept) {
  EXPECT_EQ(to_utf8("a\xff\xc3\xa9\xc3"
                    "b"),
            "a\xEF\xBF\xBD\xc3\xa9\xEF\xBF\xBD"
            "b");
  SeededRandom random(test_seed());
  for (int i = 0; i < 5'000; ++i) {
    std::vector<std::uint8_t> bytes(random.below(12));
    random.fill(bytes);
    const std::string text(bytes.begin(), bytes.end());
    EXPECT_TRUE(is_utf8(to_utf8(text)));
    EXPECT_EQ(to_utf8(text) == text, is_utf8(text));
  }
}

TEST(Utf8, CodePointsAreCounted) {
  EXPECT_EQ(count_code_points(""), 0U);
  EXPECT_EQ(count_code_points("aé€\U0001F600"), 4U);
}

}  // namespace
}  // namespace nizhal
