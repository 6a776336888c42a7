// A long editing trace like that of a person who writes a text: the model of the CRDT benchmark.
//
// Runs of typing (geometric, 12 characters on average, words of 1 to 9 letters), after each: in 20 % of the cases the
// cursor stays, in 55 % it jumps nearby (up to 400 characters either way), in 25 % anywhere; before a run, in 30 % of
// the cases 1 to 8 backspaces; in 2 % a paste of 20 to 300 characters; in 1 % a selection of 10 to 120 is deleted. Each
// keystroke is an edit of its own, as is each paste and each deleted selection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nizhal::bench {

struct Edit {
  std::size_t position = 0;
  std::size_t removed = 0;  // characters
  std::string inserted;     // ASCII
};

/// The same edits for the same seed.
std::vector<Edit> editing_trace(std::uint64_t seed, std::size_t edits);

}  // namespace nizhal::bench
