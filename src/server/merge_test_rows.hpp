// For tests of merging: edits of CRDT columns as updates, and what a state says.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>

#include <nizhal/crdt.hpp>
#include <nizhal/value.hpp>

#include "base/bytes.hpp"
#include "crdt/updates.hpp"
#include "domain/hlc.hpp"

namespace nizhal::server::testing {

/// A person's copy of a text column, and the updates that its edits make.
class Pad {
 public:
  explicit Pad(std::uint64_t client, std::string root = "body") : document_(client), root_(std::move(root)) {
    document_.on_update([this](const crdt::Bytes& update, const crdt::Origin&) { last_ = update; });
  }
  /// The update, alone.
  crdt::Bytes type(std::uint64_t at, std::string_view text) {
    EXPECT_TRUE(document_.text(root_).insert(at, text));
    return last_;
  }
  void take(const crdt::Bytes& update) { EXPECT_TRUE(document_.apply_update(update)); }
  crdt::Bytes state() const { return document_.encode_state_as_update(); }
  std::string text() { return document_.text(root_).to_string(); }

 private:
  crdt::Document document_;
  const std::string root_;
  crdt::Bytes last_;
};

inline std::string text_of(const crdt::Bytes& state, std::string root = "body") {
  Pad pad(0, std::move(root));
  pad.take(state);
  return pad.text();
}

inline Hlc stamp_at(std::int64_t milliseconds, std::string_view node, std::uint16_t counter = 0) {
  return Hlc{milliseconds, counter, hlc_node(node)};
}

}  // namespace nizhal::server::testing
