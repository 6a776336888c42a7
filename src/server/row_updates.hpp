// A row as a page carries it to a device that has most of it: of its CRDT columns only what the device lacks. Place in
// the loop: inside pull_handler.
//
// The fact that must not break: a column whose recent updates do not reach back far enough is sent whole.
#pragma once

#include <string>

#include <nizhal/table.hpp>

#include "base/ids.hpp"
#include "storage/storage.hpp"

namespace nizhal::server {

/// The row's JSON for a device that has the row, if it had it then, as of `position`, with `{"update": base64}` for
/// each CRDT column where that is shorter than the state.
std::string row_with_updates(const TableDef& table, const storage::EncodedRow& row, Version position);

}  // namespace nizhal::server
