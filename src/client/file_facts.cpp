#include "client/file_facts.hpp"

namespace nizhal::client {

std::optional<StoreStatus::Storage> storage_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::disk_full:
      return StoreStatus::Storage::full;
    case ErrorCode::read_only:
      return StoreStatus::Storage::read_only;
    case ErrorCode::corrupt:
      return StoreStatus::Storage::damaged;
    case ErrorCode::io_error:
      return StoreStatus::Storage::failing;
    default:
      return std::nullopt;
  }
}

}  // namespace nizhal::client
