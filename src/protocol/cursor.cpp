// Layout: base64url( checksum ‖ document ). The checksum is the first 8 bytes of SHA-256 over the document: it
// finds damage and truncation. It is no signature; whatever a cursor claims, the server judges scope by the actor.
//
// The document, version 1:
//   {"v":1,"e":epoch,"p":position,"b":{key:[gain,removals_after,{table:last key or null}?]},
//    "f":{table:fingerprint},"n":[rows backfilled,rows in total],"w":whole at}
// `f`, `n` and `w` are left out when empty, zero or absent. The fact that must not break: a cursor that decodes is
// exactly what was encoded; everything else is unusable and costs the device a new first sync, never a gap.
#include "protocol/cursor.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "base/bytes.hpp"
#include "base/json.hpp"

namespace nizhal::protocol {

namespace {

// History of the document: 1 = first.
constexpr std::int64_t kCursorVersion = 1;
constexpr std::size_t kChecksumBytes = 8;
constexpr std::size_t kCursorBytesMax = std::size_t{1} << 20;  // of text; a pull's body has the same bound by default
constexpr std::uint64_t kCountMax = std::uint64_t{1} << 53;    // rows
constexpr std::size_t kNameBytesMax = 4'096;                   // epoch, table names, fingerprints

void append_version(std::string& out, Version version) {
  append_json_number(out, static_cast<std::int64_t>(number(version)));
}

std::string document_of(const Cursor& cursor) {
  std::string out;
  out.reserve(64 + cursor.buckets.size() * 64 + cursor.fingerprints.size() * 64);
  out += "{\"v\":";
  append_json_number(out, kCursorVersion);
  out += ",\"e\":";
  append_json_string(out, cursor.epoch);
  out += ",\"p\":";
  append_version(out, cursor.position);
  out += ",\"b\":{";
  bool first = true;
  for (const auto& [key, bucket] : cursor.buckets) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, key);
    out += ":[";
    append_version(out, bucket.gain);
    out += ',';
    append_version(out, bucket.removals_after);
    if (!bucket.backfill.empty()) {
      out += ",{";
      bool first_table = true;
      for (const auto& [table, last_key] : bucket.backfill) {
        if (!std::exchange(first_table, false)) out += ',';
        append_json_string(out, table);
        out += ':';
        if (last_key)
          append_json_string(out, *last_key);
        else
          out += "null";
      }
      out += '}';
    }
    out += ']';
  }
  out += '}';
  if (!cursor.fingerprints.empty()) {
    out += ",\"f\":{";
    bool first_table = true;
    for (const auto& [table, fingerprint] : cursor.fingerprints) {
      if (!std::exchange(first_table, false)) out += ',';
      append_json_string(out, table);
      out += ':';
      append_json_string(out, fingerprint);
    }
    out += '}';
  }
  if (cursor.rows_backfilled != 0 || cursor.rows_total != 0) {
    out += ",\"n\":[";
    append_json_number(out, static_cast<std::int64_t>(cursor.rows_backfilled));
    out += ',';
    append_json_number(out, static_cast<std::int64_t>(cursor.rows_total));
    out += ']';
  }
  if (cursor.whole_at) {
    out += ",\"w\":";
    append_version(out, *cursor.whole_at);
  }
  out += '}';
  return out;
}

/// Only the form that encode_cursor writes: a plain integer that is not negative.
bool read_number(const json::value& value, std::uint64_t& out) {
  const std::int64_t* read = value.if_int64();
  if (read == nullptr || *read < 0) return false;
  out = static_cast<std::uint64_t>(*read);
  return true;
}

/// Rows to count with: far from overflow, whatever is added later.
bool read_count(const json::value& value, std::uint64_t& out) { return read_number(value, out) && out <= kCountMax; }

bool read_version(const json::value& value, Version& out) {
  std::uint64_t read = 0;
  if (!read_number(value, read)) return false;
  out = Version{read};
  return true;
}

bool read_name(const json::value& value, std::string& out) {
  const json::string* text = value.if_string();
  if (text == nullptr || text->size() > kNameBytesMax) return false;
  out.assign(text->data(), text->size());
  return true;
}

bool read_bucket(const json::value& value, CursorBucket& out) {
  const json::array* parts = value.if_array();
  if (parts == nullptr || parts->size() < 2 || parts->size() > 3) return false;
  if (!read_version((*parts)[0], out.gain) || !read_version((*parts)[1], out.removals_after)) return false;
  if (parts->size() == 2) return true;
  const json::object* backfill = (*parts)[2].if_object();
  if (backfill == nullptr || backfill->empty()) return false;
  for (const auto& [table, last_key] : *backfill) {
    if (table.size() > kNameBytesMax) return false;
    std::optional<std::string>& position = out.backfill[std::string(table.data(), table.size())];
    if (last_key.is_null()) continue;
    const json::string* text = last_key.if_string();
    if (text == nullptr) return false;
    position.emplace(text->data(), text->size());
  }
  return true;
}

bool read_document(const json::object& document, Cursor& out) {
  std::size_t known = 4;
  const json::value* version = document.if_contains("v");
  const json::value* epoch = document.if_contains("e");
  const json::value* position = document.if_contains("p");
  const json::value* buckets = document.if_contains("b");
  if (version == nullptr || epoch == nullptr || position == nullptr || buckets == nullptr) return false;

  const std::int64_t* written_by = version->if_int64();
  if (written_by == nullptr || *written_by != kCursorVersion) return false;
  if (!read_name(*epoch, out.epoch) || !read_version(*position, out.position)) return false;

  const json::object* by_key = buckets->if_object();
  if (by_key == nullptr) return false;
  for (const auto& [key, bucket] : *by_key)
    if (!read_bucket(bucket, out.buckets[std::string(key.data(), key.size())])) return false;

  if (const json::value* fingerprints = document.if_contains("f")) {
    ++known;
    const json::object* by_table = fingerprints->if_object();
    if (by_table == nullptr || by_table->empty()) return false;
    for (const auto& [table, fingerprint] : *by_table)
      if (table.size() > kNameBytesMax ||
          !read_name(fingerprint, out.fingerprints[std::string(table.data(), table.size())]))
        return false;
  }
  if (const json::value* counts = document.if_contains("n")) {
    ++known;
    const json::array* pair = counts->if_array();
    if (pair == nullptr || pair->size() != 2 || !read_count((*pair)[0], out.rows_backfilled) ||
        !read_count((*pair)[1], out.rows_total))
      return false;
  }
  if (const json::value* whole_at = document.if_contains("w")) {
    ++known;
    if (!read_version(*whole_at, out.whole_at.emplace()) || *out.whole_at > out.position) return false;
  }
  return document.size() == known;
}

std::array<std::uint8_t, kChecksumBytes> checksum_of(std::span<const std::uint8_t> document) {
  const auto digest = sha256(document);
  std::array<std::uint8_t, kChecksumBytes> checksum{};
  for (std::size_t i = 0; i < kChecksumBytes; ++i) checksum[i] = digest[i];
  return checksum;
}

}  // namespace

std::string encode_cursor(const Cursor& cursor) {
  const std::string document = document_of(cursor);
  const auto checksum = checksum_of(as_bytes(document));
  std::vector<std::uint8_t> bytes;
  bytes.reserve(kChecksumBytes + document.size());
  bytes.insert(bytes.end(), checksum.begin(), checksum.end());
  const auto text = as_bytes(document);
  bytes.insert(bytes.end(), text.begin(), text.end());
  return to_base64url(bytes);
}

std::optional<Cursor> decode_cursor(std::string_view text) {
  if (text.size() > kCursorBytesMax) return std::nullopt;
  const auto bytes = from_base64url(text);
  if (!bytes || bytes->size() <= kChecksumBytes) return std::nullopt;
  const std::span<const std::uint8_t> all(*bytes);
  const auto document = all.subspan(kChecksumBytes);
  const auto checksum = checksum_of(document);
  for (std::size_t i = 0; i < kChecksumBytes; ++i)
    if (checksum[i] != all[i]) return std::nullopt;

  const std::string_view document_text(reinterpret_cast<const char*>(document.data()), document.size());
  const Result<json::value> parsed = parse_json(document_text);
  if (!parsed) return std::nullopt;
  const json::object* object = parsed->if_object();
  Cursor cursor;
  if (object == nullptr || !read_document(*object, cursor)) return std::nullopt;
  // One cursor, one text: this also refuses repeated members and other spellings of the same numbers.
  if (document_of(cursor) != document_text) return std::nullopt;
  return cursor;
}

}  // namespace nizhal::protocol
