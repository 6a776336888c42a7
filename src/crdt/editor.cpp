// What an app does with a CRDT column: reading a value, making one, editing one. The fact that must not break: values
// that are made from the same arguments have the same bytes, because a mutator makes them on the device and again on
// the server, and edits refer to what it made.
#include <fmt/format.h>

#include <nizhal/crdt.hpp>

#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/environment.hpp"
#include "crdt/any.hpp"

namespace nizhal {
namespace {

Result<void> load(crdt::Document& document, std::string_view column, std::span<const std::uint8_t> state) {
  if (state.empty()) return {};
  auto applied = document.apply_update(state);
  if (!applied)
    return failure(ErrorCode::corrupt, fmt::format("column \"{}\" has no state: {}", column, applied.error().message));
  return {};
}

// The client id of a value made from arguments alone. Who makes another value gets another id, so that both are kept
// when they are merged; 32 bits, as every client id.
std::uint64_t derived_client_id(std::string_view column, std::span<const std::uint8_t> content) {
  crdt::Writer out;
  out.var_string(column);
  out.raw(std::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
  const auto hash = sha256(out.take());
  std::uint64_t id = 0;
  for (std::size_t i = 0; i < 4; ++i) id = id << 8 | hash[i];
  return id == 0 ? 1 : id;
}

crdt::Any valid(const crdt::Any& value, std::size_t depth = 0) {
  if (const auto* text = std::get_if<std::string>(&value.value)) return to_utf8(*text);
  const auto* list = std::get_if<crdt::AnyList>(&value.value);
  const auto* object = std::get_if<crdt::AnyObject>(&value.value);
  if (depth == crdt::kAnyDepthMax && (list || object)) return nullptr;
  if (list) {
    crdt::AnyList out;
    for (const crdt::Any& element : *list) out.push_back(valid(element, depth + 1));
    return out;
  }
  if (object) {
    crdt::AnyObject out;
    for (const auto& [key, member] : *object) out.emplace_back(to_utf8(key), valid(member, depth + 1));
    return out;
  }
  return value;
}

}  // namespace

std::uint64_t new_crdt_client_id() {
  const std::uint64_t drawn = system_random().next() & 0xFFFFFFFFu;
  return drawn == 0 ? 1 : drawn;  // 0 is whoever only merges
}

Result<std::string> to_string(const CrdtText& value, std::string_view column) {
  crdt::Document document(0);
  const crdt::Text text = document.text(column);
  if (auto loaded = load(document, column, value.state); !loaded) return tl::unexpected(loaded.error());
  return text.to_string();
}

Result<std::string> to_json(const CrdtMap& value, std::string_view column) {
  crdt::Document document(0);
  const crdt::Map map = document.map(column);
  if (auto loaded = load(document, column, value.state); !loaded) return tl::unexpected(loaded.error());
  return map.to_json();
}

CrdtText crdt_text(std::string_view column, std::string_view text) {
  const std::string content = to_utf8(text);
  crdt::Document document(derived_client_id(column, as_bytes(content)));
  (void)document.text(column).insert(0, content);  // at 0, and UTF-8: never refused
  return {document.encode_state_as_update()};
}

CrdtMap crdt_map(std::string_view column, const crdt::AnyObject& values) {
  crdt::Writer out;
  for (const auto& [key, value] : values) {
    out.var_string(key);
    (void)crdt::write_any(out, valid(value));  // valid, so never refused; and so below
  }
  crdt::Document document(derived_client_id(column, out.take()));
  crdt::Map map = document.map(column);
  document.transact([&] {
    for (const auto& [key, value] : values) (void)map.set(to_utf8(key), valid(value));
  });
  return {document.encode_state_as_update()};
}

struct CrdtEditor::State {
  State(std::string_view its_column, std::uint64_t client_id) : column(its_column), document(client_id) {
    document.on_update([this](const crdt::Bytes& update, const crdt::Origin&) {
      // Needless formats that applying deletes are deleted by whoever merges: they need no mutation.
      if (!is_applying) updates.push_back(update);
    });
  }
  std::string column;
  crdt::Document document;
  std::vector<crdt::Bytes> updates;
  bool is_applying = false;
};

CrdtEditor::CrdtEditor(std::unique_ptr<State> state) : state_(std::move(state)) {}
CrdtEditor::CrdtEditor(CrdtEditor&&) noexcept = default;
CrdtEditor& CrdtEditor::operator=(CrdtEditor&&) noexcept = default;
CrdtEditor::~CrdtEditor() = default;

crdt::Document& CrdtEditor::document() const { return state_->document; }
bool CrdtEditor::has_update() const { return !state_->updates.empty(); }

Blob CrdtEditor::take_update() {
  const std::vector<crdt::Bytes> updates = std::exchange(state_->updates, {});
  return {crdt::merge_updates(updates).value_or(crdt::kEmptyUpdate)};  // what a document told are updates
}

Result<void> CrdtEditor::apply_state(std::span<const std::uint8_t> state) {
  state_->is_applying = true;
  auto applied = load(state_->document, state_->column, state);
  state_->is_applying = false;
  return applied;
}

crdt::Text CrdtTextEditor::text() const { return state_->document.text(state_->column); }
crdt::Map CrdtMapEditor::map() const { return state_->document.map(state_->column); }

Result<CrdtTextEditor> open_crdt(std::string_view column, const CrdtText& value, std::uint64_t client_id) {
  CrdtTextEditor editor(std::make_unique<CrdtTextEditor::State>(column, client_id));
  (void)editor.text();  // opened as what it is before anything is in it
  if (auto applied = editor.apply(value); !applied) return tl::unexpected(applied.error());
  return editor;
}

Result<CrdtMapEditor> open_crdt(std::string_view column, const CrdtMap& value, std::uint64_t client_id) {
  CrdtMapEditor editor(std::make_unique<CrdtMapEditor::State>(column, client_id));
  (void)editor.map();
  if (auto applied = editor.apply(value); !applied) return tl::unexpected(applied.error());
  return editor;
}

}  // namespace nizhal
