// Text and maps that many edit at once, also while apart: columns of the types CrdtText and CrdtMap, and the documents
// that they are inside. They speak the Yjs update format, version 1, which every editor binding of Yjs speaks too.
//
// First the few things that an app does with a column; below, in `nizhal::crdt`, documents as such.
//
// Positions and lengths in a text are UTF-16 code units, as in Yjs and every editor built on it; texts go in and out as
// UTF-8 (`utf16_length` and `utf16_from_byte` convert). An edit between the halves of a surrogate pair is refused.
// Nothing here is thread-safe, and nothing keeps threads: a document is used by one at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nizhal/result.hpp>
#include <nizhal/value.hpp>

namespace nizhal::crdt {

using Bytes = std::vector<std::uint8_t>;

/// The update that changes nothing, and the state of a new document.
inline const Bytes kEmptyUpdate{0, 0};

/// JavaScript's largest safe integer: client ids and clocks of the format never exceed it.
inline constexpr std::uint64_t kNumberMax = (std::uint64_t{1} << 53) - 1;

/// What a document is inside; of no use outside of it.
struct Core;
struct TypeNode;
struct Transaction;
struct ChangedType;
class Document;
class UndoManager;

/// A text, map or other type within a document, as a handle.
using Node = std::shared_ptr<TypeNode>;

/// The numbers of the format; `untyped` is a root that an update named and nobody has opened as something yet.
enum class TypeKind : std::uint8_t {
  array = 0,
  map = 1,
  text = 2,
  xml_element = 3,
  xml_fragment = 4,
  xml_hook = 5,
  xml_text = 6,
  untyped = 255,
};

/// Where a change comes from: whatever the caller says when it changes the document or applies an update.
struct Origin {
  std::string name;                     // empty: none
  const UndoManager* undone = nullptr;  // set by an undo manager on what it does
  Origin() = default;
  Origin(std::string origin_name) : name(std::move(origin_name)) {}
  Origin(const char* origin_name) : name(origin_name) {}
  bool operator==(const Origin&) const = default;
};

// --- Values of maps -----------------------------------------------------------------------------------------------

/// Deeper values are refused, whether read or written.
inline constexpr std::size_t kAnyDepthMax = 100;

struct Any;
struct Undefined {
  bool operator==(const Undefined&) const = default;
};
using AnyList = std::vector<Any>;
using AnyObject = std::vector<std::pair<std::string, Any>>;

/// A value as Yjs keeps it in maps and arrays: JSON's, and undefined, big integers and bytes besides. A double is any
/// JavaScript number, an int64 a BigInt. Strings and keys must be UTF-8.
struct Any {
  std::variant<Undefined, std::nullptr_t, bool, double, std::int64_t, std::string, Bytes, AnyList, AnyObject> value;
  Any() = default;
  Any(std::nullptr_t) : value(nullptr) {}
  Any(bool flag) : value(flag) {}
  Any(int number) : value(static_cast<double>(number)) {}
  Any(double number) : value(number) {}
  Any(std::string text) : value(std::move(text)) {}
  Any(const char* text) : value(std::string(text)) {}
  Any(Bytes bytes) : value(std::move(bytes)) {}
  Any(AnyList list) : value(std::move(list)) {}
  Any(AnyObject object) : value(std::move(object)) {}
  static Any big_integer(std::int64_t number) {
    Any any;
    any.value = number;
    return any;
  }
  bool operator==(const Any&) const;
};

/// Nothing when the text is no JSON or too deep.
std::optional<Any> any_from_json(std::string_view json);
/// As JSON.stringify, with two additions: bytes are a base64 string, a big integer its digits as a string. Undefined is
/// null except in an object, where the key is left out.
std::string to_json(const Any& any);

// --- What observers are told --------------------------------------------------------------------------------------

/// Attributes of formatted text: keys and values as JSON text. The value "null" takes an attribute away.
using Attributes = std::vector<std::pair<std::string, std::string>>;

/// One step of a text's content or of a change of it, as in Quill's deltas. Lengths are UTF-16 code units.
struct DeltaOp {
  enum class Kind { insert_text, insert_embed, insert_type, retain, remove };
  Kind kind = Kind::insert_text;
  std::string text;          // insert_text: UTF-8; insert_embed: JSON
  Node type;                 // insert_type
  std::uint64_t length = 0;  // retain, remove
  Attributes attributes;     // of an insertion or a retained stretch; "null": taken away
};
using Delta = std::vector<DeltaOp>;

/// A change of a text by one transaction. Valid during the call that tells it.
class TextEvent {
 public:
  /// What turns the text before the transaction into the text after it.
  Delta delta() const;
  const Origin& origin() const;
  bool is_local() const;

  /// Made by documents.
  TextEvent(Core& core, const Transaction& transaction, const TypeNode& type)
      : core_(core), transaction_(transaction), type_(type) {}

 private:
  Core& core_;
  const Transaction& transaction_;
  const TypeNode& type_;
};

/// A change of a map by one transaction. Valid during the call that tells it.
class MapEvent {
 public:
  enum class Action { added, updated, removed };
  struct KeyChange {
    std::string key;
    Action action = Action::added;
    Any before;  // the value that was replaced or removed; undefined: none, or a nested type
  };
  std::vector<KeyChange> keys() const;
  const Origin& origin() const;
  bool is_local() const;

  /// Made by documents.
  MapEvent(Core& core, const Transaction& transaction, const TypeNode& type, const ChangedType& changed)
      : core_(core), transaction_(transaction), type_(type), changed_(changed) {}

 private:
  Core& core_;
  const Transaction& transaction_;
  const TypeNode& type_;
  const ChangedType& changed_;
};

// --- Text and map -------------------------------------------------------------------------------------------------

/// Text with attributes and embedded values. A handle: cheap to copy, must not outlive the document.
class Text {
 public:
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
  /// Makes it this text by replacing what lies between their common beginning and their common end: for a plain text
  /// field that only tells what it holds now.
  Result<void> assign(std::string_view text);

  /// Called after each transaction that changed it. The number is for `stop_observing`.
  std::uint64_t observe(std::function<void(const TextEvent&)> observer);
  void stop_observing(std::uint64_t number);

  const Node& node() const { return node_; }
  /// Made by documents and maps.
  Text(Core& core, Node node) : core_(&core), node_(std::move(node)) {}

 private:
  Result<void> check_range(std::uint64_t position, std::uint64_t length) const;
  Core* core_;
  Node node_;
};

/// Keys with values or nested types; of two that set a key at the same time, the one with the higher client id stays.
/// A handle: cheap to copy, must not outlive the document.
class Map {
 public:
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

  /// Called after each transaction that changed it. The number is for `stop_observing`.
  std::uint64_t observe(std::function<void(const MapEvent&)> observer);
  void stop_observing(std::uint64_t number);

  const Node& node() const { return node_; }
  /// Made by documents and maps.
  Map(Core& core, Node node) : core_(&core), node_(std::move(node)) {}

 private:
  Core* core_;
  Node node_;
};

/// A type's content as JSON: a text its characters, a map an object, an array a list, an XML element or fragment
/// {"name", "attributes", "children"}. Deeper than kAnyDepthMax it is null.
std::string to_json(const TypeNode& type);
/// A delta as JSON, in Quill's form.
std::string to_json(const Delta& delta);

// --- Documents ----------------------------------------------------------------------------------------------------

/// Root types by name, and all that is in them. It starts no threads, reads no clock and draws no numbers.
///
/// The fact that must not break: a client id is used by one writer at a time, and never again with clocks that others
/// may have seen. Give every document that edits an id of its own (`new_crdt_client_id`); 0 for one that only merges.
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
  Node open(std::string_view name, TypeKind kind);

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

// --- Undo ---------------------------------------------------------------------------------------------------------

/// Undo and redo of one's own changes, among those of others: what one inserted is deleted, what one deleted comes
/// back, and what others did stays. As Y.UndoManager.
///
/// While it lives, what its steps deleted is kept and is no garbage. It must go before its document does.
class UndoManager {
 public:
  struct Options {
    /// Changes with these origins are undone; local changes without one are tracked always.
    std::vector<std::string> tracked_origins = {};
    /// Changes that follow one another within this time are one step. Needs `now`.
    std::chrono::milliseconds capture_timeout{500};
    /// Without a clock every transaction is a step of its own.
    std::function<std::chrono::milliseconds()> now = nullptr;
    /// True: undoing sets a map's key back even if somebody else has set it since.
    bool ignores_remote_map_changes = false;
  };
  /// Changes of these types and of all that is in them.
  UndoManager(Document& document, std::vector<Node> scope) : UndoManager(document, std::move(scope), Options{}) {}
  UndoManager(Document& document, std::vector<Node> scope, Options options);
  ~UndoManager();
  UndoManager(const UndoManager&) = delete;
  UndoManager& operator=(const UndoManager&) = delete;

  /// False: there was nothing to undo.
  bool undo();
  bool redo();
  bool can_undo() const;
  bool can_redo() const;
  /// The next change begins a step.
  void stop_capturing();
  /// Forgets all steps; what they kept becomes garbage when it is next looked at.
  void clear();

 private:
  class Steps;
  std::unique_ptr<Steps> steps_;
};

// --- Relative positions -------------------------------------------------------------------------------------------

/// The name of a unit: the client that inserted it, and its number among that client's.
struct Id {
  std::uint64_t client = ~std::uint64_t{0};
  std::uint64_t clock = 0;
  /// False: none (no origin).
  bool is_set() const { return client != ~std::uint64_t{0}; }
  bool operator==(const Id&) const = default;
};

/// The side whose character a position stays with (Yjs: assoc below 0 or not).
enum class Side { left, right };

/// A position that stays where it is in the text while others edit around it: for cursors and comments. It names the
/// character at one side instead of counting.
struct RelativePosition {
  Id item;                               // the character; unset: the beginning (left) or end (right) of the type
  std::optional<std::string> root_name;  // of a root type; one of these two when item is unset
  Id type;                               // of a nested type
  std::int64_t association = 0;          // Yjs's number; below 0: left
  bool operator==(const RelativePosition&) const = default;
};

struct AbsolutePosition {
  Node type;
  std::uint64_t index = 0;  // in UTF-16 code units of a text
};

RelativePosition relative_position(const Text& text, std::uint64_t index, Side side = Side::right);
/// Nothing when the document does not have the place yet, or it is garbage. What undoing brought back counts as the
/// same character.
std::optional<AbsolutePosition> absolute_position(const Document& document, const RelativePosition& position);

/// In the encoding of Yjs.
Bytes encode(const RelativePosition& position);
/// bad_request: it is none.
Result<RelativePosition> decode_relative_position(std::span<const std::uint8_t> bytes);

// --- Updates without a document -----------------------------------------------------------------------------------

/// One update that does what all of them do, in whatever order they come. Gaps between them are kept as gaps. A single
/// update is given back as it is. bad_request: one of them is no update.
Result<Bytes> merge_updates(std::span<const Bytes> updates);

/// What is in the update and beyond the state vector; all its deletions stay.
Result<Bytes> diff_update(std::span<const std::uint8_t> update, std::span<const std::uint8_t> state_vector);

/// What a document knows that has applied just this update: up to the first gap of each client.
Result<Bytes> state_vector_of_update(std::span<const std::uint8_t> update);

/// ok, or bad_request saying what is wrong and where.
Result<void> check_update(std::span<const std::uint8_t> update);

}  // namespace nizhal::crdt

namespace nizhal {

/// Random, 32 bits, from the operating system, as Yjs draws its own: for a document that edits.
std::uint64_t new_crdt_client_id();

/// The plain text, or the map as JSON. `column` is the column's name. corrupt: the value is no state.
Result<std::string> to_string(const CrdtText& value, std::string_view column);
Result<std::string> to_json(const CrdtMap& value, std::string_view column);

/// Values to insert a row with. The same arguments always give the same value, so that a mutator makes on the server
/// what it made on the device; merged twice they are there once. What is no UTF-8 becomes U+FFFD, what is nested deeper
/// than kAnyDepthMax null.
CrdtText crdt_text(std::string_view column, std::string_view text);
CrdtMap crdt_map(std::string_view column, const crdt::AnyObject& values);

/// A column's value while somebody edits it: edits go into the document, `take_update` gives what a mutator writes into
/// the column, and newer values of the row are applied as they come; what was edited meanwhile stays.
///
/// What the server refused stays in it too: open it anew then.
class CrdtEditor {
 public:
  /// For observers, undo and relative positions.
  crdt::Document& document() const;
  /// True when something was edited that `take_update` has not given yet.
  bool has_update() const;
  /// All that was edited since it was last taken, as one update, for a mutator's argument; the empty update: nothing.
  Blob take_update();

  CrdtEditor(CrdtEditor&&) noexcept;
  CrdtEditor& operator=(CrdtEditor&&) noexcept;
  ~CrdtEditor();

 protected:
  struct State;
  explicit CrdtEditor(std::unique_ptr<State> state);
  Result<void> apply_state(std::span<const std::uint8_t> state);
  std::unique_ptr<State> state_;
};

class CrdtTextEditor : public CrdtEditor {
 public:
  crdt::Text text() const;
  /// As it is here, with what was not taken yet.
  CrdtText value() const { return {document().encode_state_as_update()}; }
  /// A newer value, as a live query tells it. corrupt: it is no state; nothing was changed.
  Result<void> apply(const CrdtText& value) { return apply_state(value.state); }

 private:
  using CrdtEditor::CrdtEditor;
  friend Result<CrdtTextEditor> open_crdt(std::string_view, const CrdtText&, std::uint64_t);
};

class CrdtMapEditor : public CrdtEditor {
 public:
  crdt::Map map() const;
  CrdtMap value() const { return {document().encode_state_as_update()}; }
  Result<void> apply(const CrdtMap& value) { return apply_state(value.state); }

 private:
  using CrdtEditor::CrdtEditor;
  friend Result<CrdtMapEditor> open_crdt(std::string_view, const CrdtMap&, std::uint64_t);
};

/// Opens a column's value. corrupt: it is no state.
Result<CrdtTextEditor> open_crdt(std::string_view column, const CrdtText& value,
                                 std::uint64_t client_id = new_crdt_client_id());
Result<CrdtMapEditor> open_crdt(std::string_view column, const CrdtMap& value,
                                std::uint64_t client_id = new_crdt_client_id());

}  // namespace nizhal
