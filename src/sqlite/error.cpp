// SQLite's result codes as errors.
#include "sqlite/error.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

namespace nizhal::sqlite {

namespace {

/// What a person can do about it; empty when that is not known.
const char* advice(ErrorCode code) {
  switch (code) {
    case ErrorCode::busy:
      return "; try again";
    case ErrorCode::disk_full:
      return "; free some space";
    case ErrorCode::read_only:
      return "; make the file and its folder writable";
    case ErrorCode::corrupt:
      return "; restore the file from a backup, or remove it to start afresh";
    case ErrorCode::io_error:
      return "; check that the folder exists and the disk works";
    default:
      return "";
  }
}

}  // namespace

ErrorCode error_code_of(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:  // readers and writers raced for the WAL's locks
    case SQLITE_INTERRUPT:
    case SQLITE_NOMEM:
      return ErrorCode::busy;
    case SQLITE_FULL:
      return ErrorCode::disk_full;
    case SQLITE_READONLY:
      return ErrorCode::read_only;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::corrupt;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      return ErrorCode::io_error;
    case SQLITE_CONSTRAINT:
      return ErrorCode::constraint_violated;
    case SQLITE_TOOBIG:
      return ErrorCode::invalid_args;
    default:
      return ErrorCode::internal;
  }
}

Error make_error(int code, std::string_view doing, std::string_view reason) {
  const ErrorCode error_code = error_code_of(code);
  return Error{error_code, fmt::format("{}: {}{}", doing, reason, advice(error_code))};
}

}  // namespace nizhal::sqlite
