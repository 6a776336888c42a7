// The cursor: all that the server must remember of a device between two pulls (S16). Opaque to devices:
// base64url of a JSON document with a checksum. Decoding validates everything; whatever is not a cursor that
// this version wrote is "unusable", never an error.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.hpp"

namespace nizhal::protocol {

struct CursorBucket {
  Version gain{};            // gain marker: version of the grant; 0 for static buckets
  Version removals_after{};  // H when it was gained: earlier removals do not concern the device
  /// Backfill of each table still under way or to come, by table name: the last key sent (key_text), empty
  /// optional = not begun. Tables that are not here are filled.
  std::map<std::string, std::optional<std::string>> backfill;
};

struct Cursor {
  std::string epoch;
  Version position{};
  std::map<std::string, CursorBucket> buckets;      // by bucket key
  std::map<std::string, std::string> fingerprints;  // table → what it was filled for
  std::uint64_t rows_backfilled = 0;                // for progress
  std::uint64_t rows_total = 0;
  /// The device, which asks for `updates`, has everything up to here as of a snapshot that was complete. The position
  /// alone does not say so: within a pull of several pages, rows that changed again later are still to come.
  std::optional<Version> whole_at;
};

std::string encode_cursor(const Cursor& cursor);
std::optional<Cursor> decode_cursor(std::string_view text);

}  // namespace nizhal::protocol
