// Types as plain values: a text's string and delta, any type as JSON, and what an event says about a change.
#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "crdt/any.hpp"
#include "crdt/attributes.hpp"
#include "crdt/core.hpp"

namespace nizhal::crdt {
namespace {

void append_type(std::string& out, const TypeNode& type, std::size_t depth);

void append_elements(std::string& out, const Item& item, std::size_t depth) {
  Reader in(as_bytes(item.content));
  for (std::uint64_t i = 0; i < item.length; ++i) {
    if (i > 0) out += ',';
    switch (item.kind) {
      case ContentKind::any:
        append_json(out, read_any(in));
        break;
      case ContentKind::json: {
        const std::string_view json = in.var_bytes();
        out += json == "undefined" ? "null" : json;
        break;
      }
      case ContentKind::binary:
        append_json_string(out, to_base64(as_bytes(item.content)));
        break;
      case ContentKind::embed:
        out += item.content;
        break;
      case ContentKind::type:
        append_type(out, *item.extra->type, depth + 1);
        break;
      case ContentKind::doc:
        out += "{}";
        break;
      default:
        out += "null";
    }
  }
}

void append_list(std::string& out, const TypeNode& type, std::size_t depth) {
  out += '[';
  bool first = true;
  for (const Item* item = type.start; item; item = item->right) {
    if (item->visible() == 0) continue;
    if (!first) out += ',';
    first = false;
    if (item->kind == ContentKind::string)
      append_json_string(out, item->content);
    else
      append_elements(out, *item, depth);
  }
  out += ']';
}

bool is_undefined(const Item& item) {
  if (item.kind != ContentKind::any) return false;
  Reader in(as_bytes(item.content));
  Any last;
  for (std::uint64_t i = 0; i < item.length; ++i) last = read_any(in);
  return std::holds_alternative<Undefined>(last.value);
}

void append_map(std::string& out, const TypeNode& type, std::size_t depth) {
  out += '{';
  bool first = true;
  for (const auto& [key, item] : type.map) {
    if (item->deleted || is_undefined(*item)) continue;
    if (!first) out += ',';
    first = false;
    append_json_string(out, *key);
    out += ':';
    if (item->kind == ContentKind::string) {
      append_json_string(out, item->content);
    } else if (item->length == 1) {
      append_elements(out, *item, depth);
    } else {  // the last of several is the value
      Reader in(as_bytes(item->content));
      Any last;
      for (std::uint64_t i = 0; i < item->length; ++i)
        last = item->kind == ContentKind::any ? read_any(in) : any_from_json(in.var_bytes()).value_or(Any{});
      append_json(out, last);
    }
  }
  out += '}';
}

std::string text_of(const TypeNode& type) {
  std::string text;
  for (const Item* item = type.start; item; item = item->right)
    if (!item->deleted && item->kind == ContentKind::string) text += item->content;
  return text;
}

void append_type(std::string& out, const TypeNode& type, std::size_t depth) {
  if (depth > kAnyDepthMax) {
    out += "null";
    return;
  }
  switch (type.kind) {
    case TypeKind::text:
    case TypeKind::xml_text:
      return append_json_string(out, text_of(type));
    case TypeKind::array:
      return append_list(out, type, depth);
    case TypeKind::map:
    case TypeKind::xml_hook:
      return append_map(out, type, depth);
    case TypeKind::xml_element:
    case TypeKind::xml_fragment:
      out += "{\"name\":";
      append_json_string(out, type.node_name);
      out += ",\"attributes\":";
      append_map(out, type, depth);
      out += ",\"children\":";
      append_list(out, type, depth);
      out += '}';
      return;
    case TypeKind::untyped:
      out += "null";
  }
}

void append_attributes(std::string& out, const Attributes& attributes) {
  if (attributes.empty()) return;
  out += ",\"attributes\":{";
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    if (i > 0) out += ',';
    append_json_string(out, attributes[i].first);
    out += ':';
    out += attributes[i].second;
  }
  out += '}';
}

}  // namespace

std::string to_json(const TypeNode& type) {
  std::string out;
  append_type(out, type, 0);
  return out;
}

std::string to_json(const Delta& delta) {
  std::string out = "[";
  for (const DeltaOp& op : delta) {
    if (out.size() > 1) out += ',';
    switch (op.kind) {
      case DeltaOp::Kind::insert_text:
        out += "{\"insert\":";
        append_json_string(out, op.text);
        break;
      case DeltaOp::Kind::insert_embed:
        out += "{\"insert\":" + op.text;
        break;
      case DeltaOp::Kind::insert_type:
        out += "{\"insert\":";
        append_type(out, *op.type, 0);
        break;
      case DeltaOp::Kind::retain:
        out += "{\"retain\":" + std::to_string(op.length);
        break;
      case DeltaOp::Kind::remove:
        out += "{\"delete\":" + std::to_string(op.length);
        break;
    }
    append_attributes(out, op.attributes);
    out += '}';
  }
  return out + "]";
}

std::string Text::to_string() const { return text_of(*node_); }
std::string Text::to_delta_json() const { return to_json(to_delta()); }

Delta Text::to_delta() const {
  Delta delta;
  AttributeMap attributes;
  std::string text;
  const auto put_text = [&] {
    if (text.empty()) return;
    delta.push_back({.text = std::move(text), .type = nullptr, .attributes = attributes.plain()});
    text.clear();
  };
  for (const Item* item = node_->start; item; item = item->right) {
    if (item->deleted) continue;
    switch (item->kind) {
      case ContentKind::string:
        text += item->content;
        break;
      case ContentKind::embed:
      case ContentKind::type: {
        put_text();
        const bool is_type = item->kind == ContentKind::type;
        delta.push_back({.kind = is_type ? DeltaOp::Kind::insert_type : DeltaOp::Kind::insert_embed,
                         .text = item->content,
                         .type = is_type ? item->extra->type : nullptr,
                         .attributes = attributes.plain()});
        break;
      }
      case ContentKind::format:
        put_text();
        attributes.pass(*item);
        break;
      default:
        break;
    }
  }
  put_text();
  return delta;
}

}  // namespace nizhal::crdt
