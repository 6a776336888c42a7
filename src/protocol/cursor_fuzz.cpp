// libFuzzer entry: whatever the bytes, decoding a cursor ends, and what decodes encodes to the same text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "protocol/cursor.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nizhal;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto cursor = protocol::decode_cursor(text))
    if (protocol::encode_cursor(*cursor) != text) std::abort();

  // With a right checksum in front, the document itself is the input.
  const auto digest = sha256(as_bytes(text));
  std::vector<std::uint8_t> bytes(digest.begin(), digest.begin() + 8);
  bytes.insert(bytes.end(), data, data + size);
  const std::string forged = to_base64url(bytes);
  if (const auto cursor = protocol::decode_cursor(forged))
    if (protocol::encode_cursor(*cursor) != forged) std::abort();
  return 0;
}
