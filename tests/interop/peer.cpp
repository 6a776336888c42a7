// The C++ side of the interop test: a line of JSON in, a line of JSON out. Documents are numbered by the driver
// (interop.mjs), which holds the same documents in Yjs. Bytes are hex.
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "crdt/any.hpp"
#include "crdt/core.hpp"
#include "crdt/updates.hpp"

namespace nizhal::crdt {
namespace {

struct Peer {
  explicit Peer(std::uint64_t client) : document(client) {
    document.on_update([this](const Bytes& update, const Origin&) { updates.push_back(to_hex(update)); });
  }
  Document document;
  std::unique_ptr<UndoManager> undo;
  std::chrono::milliseconds now{0};
  // Since the last answer:
  std::vector<std::string> updates;
  json::array events;
};

Bytes from_hex(const json::value& value) {
  const std::string_view text = value.as_string();
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(digit(text[i]) * 16 + digit(text[i + 1])));
  return bytes;
}

Attributes attributes_of(const json::object& command) {
  Attributes attributes;
  if (const json::value* given = command.if_contains("attributes"))
    for (const auto& entry : given->as_object()) attributes.emplace_back(entry.key(), json::serialize(entry.value()));
  return attributes;
}

std::uint64_t number(const json::object& command, const char* name) {
  return static_cast<std::uint64_t>(command.at(name).to_number<double>());
}

class Session {
 public:
  json::object handle(const json::object& command) {
    json::object answer;
    const std::string name(command.at("c").as_string());
    if (name == "merge") return merge(command);
    if (name == "sv_of") return bytes_or_error(state_vector_of_update(from_hex(command.at("u"))));
    if (name == "diff_of") return bytes_or_error(diff_update(from_hex(command.at("u")), from_hex(command.at("sv"))));
    const auto id = number(command, "doc");
    if (name == "new") {
      peers_[id] = std::make_unique<Peer>(number(command, "client"));
      Document& document = peers_[id]->document;
      document.text("text");
      document.map("map");
      document.open("list", TypeKind::array);
      document.open("xml", TypeKind::xml_fragment);
      return answer;
    }
    if (name == "drop") {
      peers_.erase(id);
      return answer;
    }
    Peer& peer = *peers_.at(id);
    if (command.contains("now")) peer.now = std::chrono::milliseconds(number(command, "now"));
    Document& document = peer.document;
    if (name == "state") return state(document);
    if (name == "length") {
      answer["length"] = document.text("text").length();
      return answer;
    }
    if (name == "diff") return bytes_or_error(document.encode_state_as_update(from_hex(command.at("sv"))));
    if (name == "relative") return relative(document, command);
    if (name == "absolute") return absolute(document, command);
    const Result<void> done = edit(peer, name, command);
    if (!done) answer["error"] = done.error().message;
    json::array updates;
    for (const std::string& update : peer.updates) updates.emplace_back(update);
    peer.updates.clear();
    answer["updates"] = std::move(updates);
    if (peer.undo) {
      answer["can_undo"] = peer.undo->can_undo();
      answer["can_redo"] = peer.undo->can_redo();
    }
    answer["events"] = std::exchange(peer.events, {});
    return answer;
  }

 private:
  static json::object bytes_or_error(const Result<Bytes>& bytes) {
    json::object answer;
    if (bytes)
      answer["u"] = to_hex(*bytes);
    else
      answer["error"] = bytes.error().message;
    return answer;
  }
  static json::object merge(const json::object& command) {
    std::vector<Bytes> updates;
    for (const json::value& update : command.at("us").as_array()) updates.push_back(from_hex(update));
    return bytes_or_error(merge_updates(updates));
  }
  static json::object state(Document& document) {
    json::object answer;
    answer["update"] = to_hex(document.encode_state_as_update());
    answer["sv"] = to_hex(document.encode_state_vector());
    answer["string"] = document.text("text").to_string();
    answer["delta"] = document.text("text").to_delta_json();
    answer["map"] = document.map("map").to_json();
    answer["list"] = to_json(*document.open("list", TypeKind::array));
    answer["xml"] = to_json(*document.open("xml", TypeKind::xml_fragment));
    return answer;
  }
  static json::object relative(Document& document, const json::object& command) {
    json::object answer;
    answer["u"] = to_hex(encode(relative_position(document.text("text"), number(command, "at"),
                                                  command.at("left").as_bool() ? Side::left : Side::right)));
    return answer;
  }
  static json::object absolute(Document& document, const json::object& command) {
    json::object answer;
    const auto position = decode_relative_position(from_hex(command.at("u")));
    const auto found = position ? absolute_position(document, *position) : std::nullopt;
    if (found) answer["at"] = found->index;
    return answer;
  }
  static std::string origin_of(const json::object& command, const char* otherwise) {
    const json::value* origin = command.if_contains("origin");
    return origin ? std::string(origin->as_string()) : otherwise;
  }
  // Text, map, and what is nested in the map now.
  static void observe(Peer& peer) {
    const auto tell = [&peer](const std::string& target, const char* what, json::value value) {
      peer.events.push_back(json::object{{"target", target}, {what, std::move(value)}});
    };
    const auto observe_text = [tell](const std::string& target, Text text) {
      text.observe([=](const TextEvent& event) { tell(target, "delta", json::value(to_json(event.delta()))); });
    };
    const auto observe_map = [tell](const std::string& target, Map map) {
      map.observe([=](const MapEvent& event) {
        static constexpr const char* kNames[] = {"add", "update", "delete"};
        json::object keys;
        for (const MapEvent::KeyChange& change : event.keys())
          keys[change.key] = json::array{kNames[static_cast<int>(change.action)], *parse_json(to_json(change.before))};
        tell(target, "keys", std::move(keys));
      });
    };
    Map map = peer.document.map("map");
    observe_text("text", peer.document.text("text"));
    observe_map("map", map);
    for (const char* key : {"n1", "n2"}) {
      if (auto nested = map.text(key)) observe_text(key, *nested);
      if (auto nested = map.map(key)) observe_map(key, *nested);
    }
  }
  static Result<void> edit(Peer& peer, const std::string& name, const json::object& command) {
    Document& document = peer.document;
    Text text = document.text("text");
    Map map = document.map("map");
    const auto key = [&] { return std::string(command.at("key").as_string()); };
    if (name == "apply") return document.apply_update(from_hex(command.at("u")), origin_of(command, "remote"));
    if (name == "many") {
      Result<void> done;
      document.transact(origin_of(command, ""), [&] {
        for (const json::value& one : command.at("ops").as_array())
          if (done) done = edit(peer, std::string(one.at("c").as_string()), one.as_object());
      });
      return done;
    }
    if (name == "observe") {
      observe(peer);
      return {};
    }
    if (name == "insert") {
      const std::string piece(command.at("text").as_string());
      if (command.contains("attributes")) return text.insert(number(command, "at"), piece, attributes_of(command));
      return text.insert(number(command, "at"), piece);
    }
    if (name == "embed")
      return text.insert_embed(number(command, "at"), json::serialize(command.at("value")), attributes_of(command));
    if (name == "delete") return text.remove(number(command, "at"), number(command, "length"));
    if (name == "format") return text.format(number(command, "at"), number(command, "length"), attributes_of(command));
    if (name == "set") return map.set(key(), *any_from_json(json::serialize(command.at("value"))));
    if (name == "unset") {
      map.remove(key());
      return {};
    }
    if (name == "set_text") {
      auto nested = map.set_text(key());
      if (!nested) return tl::unexpected(nested.error());
      return nested->insert(0, "nested");
    }
    if (name == "set_map") {
      auto nested = map.set_map(key());
      if (!nested) return tl::unexpected(nested.error());
      return nested->set("inner", 1);
    }
    if (name == "nested") {  // into whatever is there
      if (auto nested = map.text(key())) return nested->insert(nested->length() / 2, "+", {{"n", "1"}});
      if (auto nested = map.map(key())) return nested->set("more", "value");
      return {};
    }
    if (name == "track") {
      UndoManager::Options options;
      std::vector<Node> scope{text.node(), map.node()};
      if (command.contains("timeout")) {
        options.tracked_origins = {"me"};
        options.capture_timeout = std::chrono::milliseconds(number(command, "timeout"));
        options.now = [&peer] { return peer.now; };
        options.ignores_remote_map_changes = command.at("ignores").as_bool();
        if (!command.at("map").as_bool()) scope.pop_back();
      }
      peer.undo = std::make_unique<UndoManager>(document, scope, options);
      return {};
    }
    if (name == "stop") peer.undo->stop_capturing();
    if (name == "clear") peer.undo->clear();
    if (name == "undo") peer.undo->undo();
    if (name == "redo") peer.undo->redo();
    return {};
  }

  std::map<std::uint64_t, std::unique_ptr<Peer>> peers_;
};

}  // namespace
}  // namespace nizhal::crdt

int main() {
  std::ios::sync_with_stdio(false);
  nizhal::crdt::Session session;
  for (std::string line; std::getline(std::cin, line);) {
    const auto command = nizhal::parse_json(line);
    if (!command || !command->is_object()) return 2;
    std::cout << boost::json::serialize(session.handle(command->as_object())) << '\n';
    if (std::cin.rdbuf()->in_avail() == 0) std::cout.flush();
  }
  return 0;
}
