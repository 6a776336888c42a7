// Failures as values: Result<T> is either a T or an Error. Nothing in Nizhal's public surface throws.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace nizhal {

/// A code exists only where a caller can react to it differently.
enum class ErrorCode {
  invalid_domain,       // the domain's declarations are wrong; the message lists every place and fix
  invalid_args,         // arguments do not fit the mutator's declaration
  bad_request,          // bytes or a message from outside that cannot be understood
  refused,              // a mutator said no
  not_found,            // what was named does not exist
  unauthorized,         // no valid credential
  not_authorized,       // a valid credential that may not do this
  busy,                 // try again later: a lock, a serialization failure, overload, shutdown
  unreachable,          // no answer from the other side
  outcome_unknown,      // no answer from the other side, which may have done it
  upgrade_required,     // the server takes no writes from so old a client
  identity_mismatch,    // the store belongs to another actor
  schema_mismatch,      // the database does not fit the domain
  constraint_violated,  // a constraint or trigger of the database's owner refused a write
  disk_full,
  read_only,
  corrupt,   // damaged file
  io_error,  // the disk failed
  closed,    // the handle was closed
  usage,     // the caller's options contradict each other
  internal,  // a bug in Nizhal; the message says where
};

/// The code's name as text, e.g. "disk_full".
const char* to_string(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // what was wrong and what to do; may be shown to a person
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> failure(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace nizhal
