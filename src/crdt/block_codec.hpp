// Blocks (Yjs: structs) as they stand in an update, decoded without copying: what they contain stays a view of the
// update's bytes. Applying an update and merging updates without a document both read these.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/result.hpp>

#include "crdt/encoding.hpp"
#include "crdt/id_set.hpp"

namespace nizhal::crdt {

/// The numbers of the format.
enum class ContentKind : std::uint8_t {
  gc = 0,       // garbage whose parent is gone
  deleted = 1,  // deleted, and what it was is forgotten
  json = 2,     // JSON texts; old documents have them
  binary = 3,
  string = 4,
  embed = 5,   // JSON text
  format = 6,  // a key and a JSON text: begins or ends an attribute
  type = 7,
  any = 8,
  doc = 9,    // a document within: its guid and options
  skip = 10,  // a gap; in updates only
};

/// How a block says what it is a child of.
enum class ParentForm : std::uint8_t { none, root, id };

struct Block {
  Id id;
  std::uint64_t length = 0;
  Id origin, right_origin;
  Id parent_id;
  std::string_view parent_name;  // of a root type
  std::string_view parent_sub;   // the key in the parent, where it is a map
  bool has_parent_sub = false;
  ParentForm parent_form = ParentForm::none;
  ContentKind kind = ContentKind::gc;
  /// string: the text; json, any: the elements; binary: the bytes; embed: the JSON; format, type, doc: all as encoded.
  std::string_view content;
};

/// One client's blocks: [begin, end) of the update's.
struct ClientBlocks {
  std::uint64_t client = 0;
  std::size_t begin = 0, end = 0;
};

struct Update {
  std::vector<ClientBlocks> clients;
  std::vector<Block> blocks;
  IdSet deletes;
};

/// Checks everything that can be checked without a document; views into `bytes`. bad_request says at which byte it does
/// not fit. Memory: some 200 bytes per block, and a block has two bytes or more.
Result<void> decode_update(std::span<const std::uint8_t> bytes, Update& out);

/// Appends the block without its first `offset` units.
void write_block(Writer& out, const Block& block, std::uint64_t offset);
/// Takes the first `offset` units away. A text may have to be rebuilt: then `kept` owns it.
void cut_front(Block& block, std::uint64_t offset, std::deque<std::string>& kept);

/// The elements of json or any content from `count` on.
std::string_view skip_elements(ContentKind kind, std::string_view elements, std::uint64_t count);

}  // namespace nizhal::crdt
