// What server instances tell each other of who is present, as the JSON objects of realtime::Message::presence.
//
//   {"from": instance, "kind": "changes", "joins": [[bucket, user, {"presence_ref": ref, …}]],
//                                         "leaves": [[bucket, user, ref]]}
//   {"from": instance, "kind": "ask"}     tell everything that you hold
//   {"from": instance, "kind": "gone"}    nobody is present there any more
//
// Instances of several builds run side by side while a restart rolls through them: what one does not know it ignores.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nizhal::server {

struct PresenceMessage {
  enum class Kind { changes, ask, gone };
  struct Join {
    std::string bucket, user, ref;
    std::string entry;  // JSON object, with the ref in it
  };
  struct Leave {
    std::string bucket, user, ref;
  };
  std::string from;
  Kind kind = Kind::changes;
  std::vector<Join> joins = {};    // also of what was told before: said again, or with another payload
  std::vector<Leave> leaves = {};  // they come before the joins
};

/// Writes changes as several messages of about `bytes` each. One join is never split.
std::vector<std::string> encode_presence(const PresenceMessage& message, std::size_t bytes);
/// Nothing for what cannot be read.
std::optional<PresenceMessage> decode_presence(std::string_view text);

}  // namespace nizhal::server
