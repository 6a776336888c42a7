#include "server/presence_messages.hpp"

#include <utility>

#include "base/json.hpp"

namespace nizhal::server {
namespace {

constexpr std::string_view kChanges = "changes", kAsk = "ask", kGone = "gone";

std::string begin(const PresenceMessage& message, std::string_view kind) {
  std::string text = R"({"from":)";
  append_json_string(text, message.from);
  text += R"(,"kind":)";
  append_json_string(text, kind);
  return text;
}

std::string triple(std::string_view bucket, std::string_view user, std::string_view ref, std::string_view entry) {
  std::string text = "[";
  append_json_string(text, bucket);
  text += ',';
  append_json_string(text, user);
  text += ',';
  if (entry.empty())
    append_json_string(text, ref);
  else
    text += entry;
  return text + "]";
}

/// The three members of a triple, the first two of them text.
bool read_triple(const json::value& value, std::string& bucket, std::string& user, const json::value*& third) {
  const json::array* triple = value.if_array();
  if (!triple || triple->size() != 3 || !(*triple)[0].is_string() || !(*triple)[1].is_string()) return false;
  bucket = std::string(std::string_view((*triple)[0].get_string()));
  user = std::string(std::string_view((*triple)[1].get_string()));
  third = &(*triple)[2];
  return true;
}

}  // namespace

std::vector<std::string> encode_presence(const PresenceMessage& message, std::size_t bytes) {
  if (message.kind == PresenceMessage::Kind::ask) return {begin(message, kAsk) + "}"};
  if (message.kind == PresenceMessage::Kind::gone) return {begin(message, kGone) + "}"};
  const std::string head = begin(message, kChanges);
  std::vector<std::string> texts;
  std::string joins, leaves;
  const auto finish = [&] {
    if (joins.empty() && leaves.empty()) return;
    texts.push_back(head + R"(,"joins":[)" + std::exchange(joins, {}) + R"(],"leaves":[)" + std::exchange(leaves, {}) +
                    "]}");
  };
  const auto add = [&](std::string& list, std::string item) {
    if (head.size() + joins.size() + leaves.size() + item.size() > bytes) finish();
    if (!list.empty()) list += ',';
    list += item;
  };
  for (const auto& leave : message.leaves) add(leaves, triple(leave.bucket, leave.user, leave.ref, {}));
  for (const auto& join : message.joins) add(joins, triple(join.bucket, join.user, join.ref, join.entry));
  finish();
  return texts;
}

std::optional<PresenceMessage> decode_presence(std::string_view text) {
  const auto body = parse_json(text);
  if (!body) return std::nullopt;
  const auto from = string_member(*body, "from"), kind = string_member(*body, "kind");
  if (!from || from->empty() || !kind) return std::nullopt;
  PresenceMessage message{.from = std::string(*from)};
  if (*kind == kAsk) {
    message.kind = PresenceMessage::Kind::ask;
    return message;
  }
  if (*kind == kGone) {
    message.kind = PresenceMessage::Kind::gone;
    return message;
  }
  if (*kind != kChanges) return std::nullopt;
  const json::value* joins = member(*body, "joins");
  const json::value* leaves = member(*body, "leaves");
  if (!joins || !joins->is_array() || !leaves || !leaves->is_array()) return std::nullopt;
  const json::value* third = nullptr;
  for (const json::value& value : leaves->get_array()) {
    PresenceMessage::Leave leave;
    if (!read_triple(value, leave.bucket, leave.user, third) || !third->is_string()) return std::nullopt;
    leave.ref = std::string(std::string_view(third->get_string()));
    message.leaves.push_back(std::move(leave));
  }
  for (const json::value& value : joins->get_array()) {
    PresenceMessage::Join join;
    if (!read_triple(value, join.bucket, join.user, third)) return std::nullopt;
    const auto ref = string_member(*third, "presence_ref");
    if (!ref) return std::nullopt;
    join.ref = std::string(*ref);
    join.entry = to_text(*third);
    message.joins.push_back(std::move(join));
  }
  return message;
}

}  // namespace nizhal::server
