// All tunables of the server, with their units and reasons.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace nizhal::server {

struct Limits {
  std::size_t body_bytes_max = 1 << 20;         // 413 beyond; protects memory
  std::size_t pull_limit_default = 1'000;       // rows; a page that decodes in some milliseconds on a phone
  std::size_t pull_limit_max = 10'000;          // rows; bounds what one request holds in memory
  std::size_t idle_answers_max = 100'000;       // remembered, some 150 bytes each: devices of an instance; 0: off
  std::size_t idle_pulls_waiting_max = 20'000;  // for one look at the position; more go the usual way
  std::size_t tail_bytes_max = 64 << 20;        // recent changes in memory, for all buckets; 0: off
  std::size_t tail_rows_max = 20'000;           // read in one go; after more the tail begins anew
  std::size_t mutations_max = 1'000;            // per push: one transaction must stay short
  std::size_t dependencies_max = 10'000;        // per push, all mutations together: each is looked up
  std::size_t batch_mutations = 100;            // mutations that share one database transaction
  int attempts_max =
      10;  // of a batch that met a transient failure, before 503; conflicts cost little, lock waits use up the budget
  std::chrono::milliseconds retry_budget{4'000};      // no attempt after a failure begins later
  std::chrono::milliseconds push_time_max{9'000};     // of the database: every push is answered in 10 s
  std::chrono::milliseconds clock_drift_max{60'000};  // S20
  std::chrono::milliseconds look_interval{250};       // how often commits of other programs are looked for
  std::size_t gather_streams_min = 32;                // poked at once, before their pulls wait for each other; 0: never
  std::chrono::milliseconds gather_quiet{25};         // without a further one of them: those that came wait no longer
  std::chrono::milliseconds gather_max{250};          // that a pull waits for others: still at once to a person
  std::chrono::milliseconds gather_within{2'000};     // of the poke; whoever pulls later was away
  std::chrono::hours retention{30 * 24};
  std::chrono::milliseconds gc_first_after{30'000};  // the first pruning: not while everybody reconnects
  std::chrono::milliseconds gc_interval{3'600'000};  // so each takes an hour's worth; one with nothing to do is cheap
  std::size_t stream_bad_frames_max = 20;            // malformed frames before 1008
  std::size_t stream_frame_bytes_max = 64 * 1024;
  std::size_t streams_max = 20'000;
  std::size_t presence_payload_bytes_max = 4 * 1024;   // of one track
  std::size_t presence_per_stream_max = 100;           // buckets that one connection may be present in
  std::size_t presence_bytes_max = 32 << 20;           // of all; beyond it nobody new is tracked
  std::chrono::milliseconds presence_timeout{30'000};  // without a heartbeat; devices beat every 15 s
  std::vector<std::string> allowed_origins;  // of browsers, for the stream and CORS; "*": any; empty: no other origin
  double requests_per_second = 0;            // per actor; 0: no rate limit
  double request_burst = 0;
  std::size_t rate_limited_actors_max = 100'000;  // token buckets kept in memory
  std::chrono::seconds busy_retry_after{1};
  std::size_t crdt_update_bytes_max = 256 << 10;  // of one write: merging takes time, at worst by its square
  std::size_t crdt_state_bytes_max = 4 << 20;     // of one column: it is read and written whole with each edit
  std::size_t crdt_recent_bytes_max = 16 << 10;   // of one row's recent updates, from which pulls send what is new
  std::string admin_password;                     // empty: admin endpoints answer 404
  std::size_t audit_limit_default = 100;          // rows of an audit answer
  std::size_t audit_limit_max = 1'000;
  std::size_t audit_scan_max = 10'000;  // rows that one audit answer looks through
};

}  // namespace nizhal::server
