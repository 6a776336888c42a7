// Text with attributes and embedded values. All positions and lengths are UTF-16 code units.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nizhal/result.hpp>

#include "crdt/events.hpp"

namespace nizhal::crdt {

class Text {
 public:
  Text(Core& core, std::shared_ptr<TypeNode> node) : core_(&core), node_(std::move(node)) {}

  std::uint64_t length() const;
  std::string to_string() const;
  /// Stretches with equal attributes, embeds and nested types, in order.
  Delta to_delta() const;
  /// The same as JSON, as Yjs's toDelta() would print; a nested type is its content (see `to_json`).
  std::string to_delta_json() const;

  /// Takes the attributes of the character before it. usage: the position is beyond the end or within a surrogate
  /// pair, or the text is no UTF-8; so below.
  Result<void> insert(std::uint64_t position, std::string_view text);
  /// With exactly these attributes.
  Result<void> insert(std::uint64_t position, std::string_view text, const Attributes& attributes);
  /// A value of length 1, as JSON.
  Result<void> insert_embed(std::uint64_t position, std::string_view json, const Attributes& attributes = {});
  Result<void> remove(std::uint64_t position, std::uint64_t length);
  /// The value "null" takes an attribute away.
  Result<void> format(std::uint64_t position, std::uint64_t length, const Attributes& attributes);

  std::uint64_t observe(std::function<void(const TextEvent&)> observer);
  void stop_observing(std::uint64_t number);

  const std::shared_ptr<TypeNode>& node() const { return node_; }

 private:
  Result<void> check_range(std::uint64_t position, std::uint64_t length) const;
  Core* core_;
  std::shared_ptr<TypeNode> node_;
};

/// A type's content as JSON: a text its characters, a map an object, an array a list, an XML element or fragment
/// {"name", "attributes", "children"}. Deeper than kAnyDepthMax it is null.
std::string to_json(const TypeNode& type);
/// A delta as JSON, in Quill's form.
std::string to_json(const Delta& delta);

}  // namespace nizhal::crdt
