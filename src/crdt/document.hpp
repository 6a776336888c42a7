// A document that many edit at once, also while apart: blocks of text and values that merge the same way everywhere,
// speaking the Yjs update format (version 1). Values in memory; it starts no threads, reads no clock and draws no
// numbers.
//
// Positions and lengths in a text are UTF-16 code units, as in Yjs and every editor built on it; texts go in and out as
// UTF-8 (`utf16_length` and `utf16_from_byte` convert). An edit between the halves of a
// surrogate pair is refused; one of Yjs leaves U+FFFD on both sides, here as there.
//
// The fact that must not break: a client id is used by one writer at a time, and never again with clocks that others
// may have seen. Give every document that edits an id of its own; 0 for one that only merges.
//
// Not thread-safe. Handles (Text, Map) are cheap to copy and must not outlive the document.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <nizhal/result.hpp>

#include "crdt/encoding.hpp"
#include "crdt/map.hpp"
#include "crdt/origin.hpp"
#include "crdt/text.hpp"
#include "crdt/type_node.hpp"

namespace nizhal::crdt {

struct Core;

class Document {
 public:
  struct Options {
    /// False keeps what was deleted (Yjs: gc = false), for documents whose history is looked at.
    bool collects_garbage = true;
    /// Of blocks that applying compares or walks over in excess of an update's own; 0: no limit. Blocks that all claim
    /// one place are compared pairwise, so this, and not their size, bounds the time that updates of strangers take.
    /// Beyond it `apply_update` gives invalid_args, now and ever after: the document has to be thrown away.
    std::uint64_t steps_max = 0;
  };
  explicit Document(std::uint64_t client_id) : Document(client_id, Options{}) {}
  Document(std::uint64_t client_id, Options options);
  ~Document();
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  std::uint64_t client_id() const;

  /// The root of that name, opened as a text or map. A root is what it is first opened as; what an update put there
  /// shows in both.
  Text text(std::string_view name);
  Map map(std::string_view name);
  /// The root as any type of Yjs, to read it with `to_json`.
  std::shared_ptr<TypeNode> open(std::string_view name, TypeKind kind);

  /// Applies as much as its causes are there for; the rest waits for later updates and is part of the state meanwhile.
  /// bad_request: it is no update; nothing was changed. invalid_args: beyond `steps_max`.
  Result<void> apply_update(std::span<const std::uint8_t> update, const Origin& origin = {});
  /// What applying has taken so far, in the unit of `steps_max`.
  std::uint64_t steps() const;
  /// True when something waits for an update that has not come.
  bool has_pending() const;

  /// All of the document, or what somebody lacks who knows `state_vector`. bad_request: it is no state vector.
  Bytes encode_state_as_update() const;
  Result<Bytes> encode_state_as_update(std::span<const std::uint8_t> state_vector) const;
  Bytes encode_state_vector() const;

  /// Changes within `work` are one transaction: one update, one call of each observer, one undo step.
  template <class Work>
  void transact(const Origin& origin, Work&& work) {
    const bool is_outermost = begin(origin);
    work();
    if (is_outermost) end();
  }
  template <class Work>
  void transact(Work&& work) {
    transact(Origin{}, std::forward<Work>(work));
  }

  /// Called after each transaction that changed something with the update that says what. The number is for
  /// `stop_observing`.
  std::uint64_t on_update(std::function<void(const Bytes& update, const Origin& origin)> observer);
  void stop_observing(std::uint64_t number);

  Core& core() const { return *core_; }

 private:
  bool begin(const Origin& origin);
  void end();
  std::unique_ptr<Core> core_;
};

/// UTF-16 code units of UTF-8 text.
std::uint64_t utf16_length(std::string_view text);
/// The position in UTF-16 code units of a byte of UTF-8 text that begins a character.
std::uint64_t utf16_from_byte(std::string_view text, std::size_t byte);

}  // namespace nizhal::crdt
