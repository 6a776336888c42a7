// What the handles of one store file, in this process and in others, agree on through the operating system: who has
// the file open, and which one of them syncs it (S8). Given from outside; a store that no other handle can open needs
// none.
//
// The fact that must not break: whatever a handle holds is free again as soon as its process has ended, however it
// ended.
#pragma once

#include <nizhal/result.hpp>

namespace nizhal::client {

class StoreLocks {
 public:
  virtual ~StoreLocks() = default;  // gives up everything

  /// From now on this handle counts among those that have the file open. Errors: busy (another handle has it for
  /// itself and does not finish), read_only, io_error: then it does not count, and may still use the file.
  [[nodiscard]] virtual Result<void> enter() = 0;
  /// Whether no other handle has the file open; then none can open it until the next `enter`. Errors: as above, when
  /// that cannot be known.
  [[nodiscard]] virtual Result<bool> try_alone() = 0;

  /// Whether another handle has the file open, as far as that can be known. Cheap.
  virtual bool has_others() = 0;

  /// Whether this handle is the one that syncs. It stays so until it gives that up. Errors: read_only, io_error: the
  /// file system cannot keep others from syncing too, so none may.
  [[nodiscard]] virtual Result<bool> try_take_role() = 0;
  virtual void give_up_role() = 0;
};

}  // namespace nizhal::client
