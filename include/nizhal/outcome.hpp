// What a mutator answers.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nizhal {

struct Outcome {
  enum class Kind { done, rejected };
  Kind kind = Kind::done;

  // done
  std::optional<std::string> server_id;                      // the server gave the new row another id
  std::optional<std::vector<std::string>> affected_buckets;  // bucket keys to poke, when not those of the written rows

  // rejected
  std::string code;     // a word for programs: letters, digits, underscore
  std::string message;  // a sentence for people

  bool is_done() const { return kind == Kind::done; }

  Outcome&& with_server_id(std::string id) && {
    server_id = std::move(id);
    return std::move(*this);
  }
  Outcome&& with_affected_buckets(std::vector<std::string> keys) && {
    affected_buckets = std::move(keys);
    return std::move(*this);
  }
};

inline Outcome done() { return Outcome{}; }

inline Outcome reject(std::string code, std::string message) {
  Outcome outcome;
  outcome.kind = Outcome::Kind::rejected;
  outcome.code = std::move(code);
  outcome.message = std::move(message);
  return outcome;
}

}  // namespace nizhal
