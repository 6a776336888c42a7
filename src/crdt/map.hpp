// A map of keys to values or nested types; of two that set a key at the same time, the one with the higher client id
// stays.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "crdt/any.hpp"
#include "crdt/events.hpp"
#include "crdt/text.hpp"

namespace nizhal::crdt {

class Map {
 public:
  Map(Core& core, std::shared_ptr<TypeNode> node) : core_(&core), node_(std::move(node)) {}

  /// Keys that have a value, in the order in which they first came.
  std::vector<std::string> keys() const;
  bool has(std::string_view key) const;
  /// Nothing when the key has no value; a nested type or document is Undefined.
  std::optional<Any> get(std::string_view key) const;
  /// The nested type, if the value is one of that kind.
  std::optional<Text> text(std::string_view key) const;
  std::optional<Map> map(std::string_view key) const;
  std::string to_json() const;

  /// usage: the key or a string in the value is no UTF-8, or the value is nested too deeply.
  Result<void> set(std::string_view key, const Any& value);
  /// A new, empty text or map under the key.
  Result<Text> set_text(std::string_view key);
  Result<Map> set_map(std::string_view key);
  void remove(std::string_view key);

  std::uint64_t observe(std::function<void(const MapEvent&)> observer);
  void stop_observing(std::uint64_t number);

  const std::shared_ptr<TypeNode>& node() const { return node_; }

 private:
  Core* core_;
  std::shared_ptr<TypeNode> node_;
};

}  // namespace nizhal::crdt
