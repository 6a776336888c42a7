// Where a change comes from: whatever the caller says when it changes the document or applies an update.
#pragma once

#include <string>
#include <utility>

namespace nizhal::crdt {

class UndoManager;

struct Origin {
  std::string name;                     // empty: none
  const UndoManager* undone = nullptr;  // set by an undo manager on what it does
  Origin() = default;
  Origin(std::string origin_name) : name(std::move(origin_name)) {}
  Origin(const char* origin_name) : name(origin_name) {}
  bool operator==(const Origin&) const = default;
};

}  // namespace nizhal::crdt
