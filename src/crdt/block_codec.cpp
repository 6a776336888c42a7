#include "crdt/block_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>

#include "crdt/any.hpp"

namespace nizhal::crdt {
namespace {

constexpr std::uint8_t kHasOrigin = 128, kHasRightOrigin = 64, kHasParentSub = 32, kKind = 31;
constexpr std::size_t kBlockBytesMin = 2;
constexpr std::uint64_t kXmlElement = 3, kXmlHook = 5, kTypeMax = 6;

std::string_view rest_since(const Reader& in, std::size_t position) {
  return in.failed() ? std::string_view{} : in.since(position);
}

// JSON that JavaScript could not read would end every Yjs client that gets the update.
void read_json(Reader& in) {
  if (!is_json_value(in.var_string())) in.fail();
}

void read_content(Reader& in, Block& block) {
  block.length = 1;
  switch (block.kind) {
    case ContentKind::deleted:
      block.length = in.var_uint();
      return;
    case ContentKind::json:
    case ContentKind::any: {
      block.length = in.var_uint();
      const std::size_t begin = in.position();
      for (std::uint64_t i = 0; i < block.length && !in.failed(); ++i) {
        if (block.kind == ContentKind::any) {
          skip_any(in);
        } else if (const std::string_view json = in.var_string(); json != "undefined" && !is_json_value(json)) {
          in.fail();
        }
      }
      block.content = rest_since(in, begin);
      return;
    }
    case ContentKind::binary:
      block.content = in.var_bytes();
      return;
    case ContentKind::string:
      block.content = in.var_string(block.length);
      return;
    case ContentKind::embed:
      block.content = in.var_string();
      if (!is_json_value(block.content)) in.fail();
      return;
    case ContentKind::format: {
      const std::size_t begin = in.position();
      in.var_string();
      read_json(in);
      block.content = rest_since(in, begin);
      return;
    }
    case ContentKind::type: {
      const std::size_t begin = in.position();
      const std::uint64_t type = in.var_uint();
      if (type > kTypeMax) in.fail();
      if (type == kXmlElement || type == kXmlHook) in.var_string();
      block.content = rest_since(in, begin);
      return;
    }
    case ContentKind::doc: {
      const std::size_t begin = in.position();
      in.var_string();
      skip_any(in);
      block.content = rest_since(in, begin);
      return;
    }
    default:
      in.fail();
  }
}

// A block that refers to what comes after it in its own client could never be placed.
bool refers_forward(const Block& block) {
  const auto forward = [&](const Id& id) { return id.client == block.id.client && id.clock >= block.id.clock; };
  return forward(block.origin) || forward(block.right_origin) ||
         (block.parent_form == ParentForm::id && forward(block.parent_id));
}

void read_block(Reader& in, Block& block) {
  const std::uint8_t info = in.byte();
  block.kind = static_cast<ContentKind>(info & kKind);
  if (block.kind == ContentKind::gc || block.kind == ContentKind::skip) {
    block.length = in.var_uint();
    return;
  }
  if (info & kHasOrigin) block.origin = in.id();
  if (info & kHasRightOrigin) block.right_origin = in.id();
  if ((info & (kHasOrigin | kHasRightOrigin)) == 0) {
    if (in.var_uint() == 1) {
      block.parent_form = ParentForm::root;
      block.parent_name = in.var_string();
    } else {
      block.parent_form = ParentForm::id;
      block.parent_id = in.id();
    }
    if (info & kHasParentSub) {
      block.has_parent_sub = true;
      block.parent_sub = in.var_string();
    }
  }
  read_content(in, block);
}

tl::unexpected<Error> broken(const char* what, std::size_t at) {
  return failure(ErrorCode::bad_request, fmt::format("this is no Yjs update (version 1): {} at byte {}", what, at));
}

}  // namespace

Result<void> decode_update(std::span<const std::uint8_t> bytes, Update& out) {
  out.clients.clear();
  out.blocks.clear();
  Reader in(bytes);
  const std::uint64_t clients = in.var_uint();
  for (std::uint64_t i = 0; i < clients && !in.failed(); ++i) {
    const std::uint64_t count = in.var_uint();
    ClientBlocks section{.client = in.var_uint(), .begin = out.blocks.size(), .end = 0};
    std::uint64_t clock = in.var_uint();
    // As many as it says, if the bytes can hold them; never a little more each time.
    const std::size_t needed = out.blocks.size() + std::min<std::uint64_t>(count, in.left() / kBlockBytesMin + 1);
    if (needed > out.blocks.capacity()) out.blocks.reserve(std::max(needed, 2 * out.blocks.capacity()));
    for (std::uint64_t k = 0; k < count && !in.failed(); ++k) {
      const std::size_t at = in.position();
      Block& block = out.blocks.emplace_back();
      block.id = {section.client, clock};
      read_block(in, block);
      if (in.failed()) return broken("a block is cut off or malformed", at);
      if (block.length > kNumberMax - clock) return broken("a block is too long", at);
      if (block.length == 0 && block.kind != ContentKind::skip) return broken("a block is empty", at);
      if (refers_forward(block)) return broken("a block refers to a later one of its client", at);
      clock += block.length;
      if (block.length == 0) out.blocks.pop_back();
    }
    section.end = out.blocks.size();
    out.clients.push_back(section);
  }
  if (in.failed()) return broken("the blocks are cut off", bytes.size());
  out.deletes = IdSet::read(in);
  if (in.failed()) return broken("the deletions are cut off or malformed", bytes.size());
  return {};
}

std::string_view skip_elements(ContentKind kind, std::string_view elements, std::uint64_t count) {
  Reader in({reinterpret_cast<const std::uint8_t*>(elements.data()), elements.size()});
  for (; count > 0; --count) {
    if (kind == ContentKind::any)
      skip_any(in);
    else
      in.var_bytes();
  }
  return elements.substr(in.position());
}

void write_block(Writer& out, const Block& block, std::uint64_t offset) {
  const auto kind = static_cast<std::uint8_t>(block.kind);
  if (block.kind == ContentKind::gc || block.kind == ContentKind::skip) {
    out.byte(kind);
    out.var_uint(block.length - offset);
    return;
  }
  const Id origin = offset > 0 ? Id{block.id.client, block.id.clock + offset - 1} : block.origin;
  out.byte(static_cast<std::uint8_t>(kind | (origin.is_set() ? kHasOrigin : 0) |
                                     (block.right_origin.is_set() ? kHasRightOrigin : 0) |
                                     (block.has_parent_sub ? kHasParentSub : 0)));
  if (origin.is_set()) out.id(origin);
  if (block.right_origin.is_set()) out.id(block.right_origin);
  if (!origin.is_set() && !block.right_origin.is_set()) {
    out.var_uint(block.parent_form == ParentForm::root ? 1 : 0);
    if (block.parent_form == ParentForm::root)
      out.var_string(block.parent_name);
    else
      out.id(block.parent_id);
    if (block.has_parent_sub) out.var_string(block.parent_sub);
  }
  switch (block.kind) {
    case ContentKind::deleted:
      out.var_uint(block.length - offset);
      break;
    case ContentKind::json:
    case ContentKind::any:
      out.var_uint(block.length - offset);
      out.raw(skip_elements(block.kind, block.content, offset));
      break;
    case ContentKind::string:
      if (block.content.size() == block.length)
        out.var_string(block.content.substr(offset));
      else
        write_utf16_suffix(out, block.content, offset);
      break;
    case ContentKind::binary:
    case ContentKind::embed:
      out.var_string(block.content);
      break;
    default:
      out.raw(block.content);
  }
}

void cut_front(Block& block, std::uint64_t offset, std::deque<std::string>& kept) {
  if (block.kind == ContentKind::string) {
    bool in_pair = false;
    const std::size_t at = utf16_to_byte(block.content, offset, in_pair);
    if (in_pair)
      block.content = kept.emplace_back(std::string(kReplacement) + std::string(block.content.substr(at + 4)));
    else
      block.content.remove_prefix(at);
  } else if (block.kind == ContentKind::any || block.kind == ContentKind::json) {
    block.content = skip_elements(block.kind, block.content, offset);
  }
  block.id.clock += offset;
  block.length -= offset;
  if (block.kind != ContentKind::gc && block.kind != ContentKind::skip)
    block.origin = {block.id.client, block.id.clock - 1};
}

}  // namespace nizhal::crdt
