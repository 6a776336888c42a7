// Names of error codes, as they appear in messages, logs and JSON.
#include <nizhal/result.hpp>

namespace nizhal {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_domain:
      return "invalid_domain";
    case ErrorCode::invalid_args:
      return "invalid_args";
    case ErrorCode::bad_request:
      return "bad_request";
    case ErrorCode::refused:
      return "refused";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::unauthorized:
      return "unauthorized";
    case ErrorCode::not_authorized:
      return "not_authorized";
    case ErrorCode::busy:
      return "busy";
    case ErrorCode::outcome_unknown:
      return "outcome_unknown";
    case ErrorCode::unreachable:
      return "unreachable";
    case ErrorCode::upgrade_required:
      return "upgrade_required";
    case ErrorCode::identity_mismatch:
      return "identity_mismatch";
    case ErrorCode::schema_mismatch:
      return "schema_mismatch";
    case ErrorCode::constraint_violated:
      return "constraint_violated";
    case ErrorCode::disk_full:
      return "disk_full";
    case ErrorCode::read_only:
      return "read_only";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::io_error:
      return "io_error";
    case ErrorCode::closed:
      return "closed";
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

}  // namespace nizhal
