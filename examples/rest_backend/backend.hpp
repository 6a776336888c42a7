// A small REST backend as an app may have had for years; it knows nothing of Nizhal.
//
//   GET    /todos?after=N&limit=L   {"todos": [{id, title, done}], "deleted": [id], "next": N, "more": bool}
//   POST   /todos {title}           201 {id}; 422 when it dislikes the title
//   PATCH  /todos/ID {done}         200; 404
//   DELETE /todos/ID                200; 404
//
// Every change takes the next number of a counter; `after` asks for what changed since one. A write that comes again
// with the same Idempotency-Key is answered as it was the first time. Without the session's token: 401. `after` from
// before the last clean-up of deleted to-dos: 410.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <boost/beast/http.hpp>

namespace todos {

using Request = boost::beast::http::request<boost::beast::http::string_body>;

struct Reply {
  int status = 200;
  std::string body = {};
};

/// What the backend knows, and its answers. Thread-safe.
class Backend {
 public:
  Reply handle(const Request& request);

  /// As another program or a colleague in the back office writes; the new id.
  std::string add(const std::string& title);
  void remove(const std::string& id);
  /// Forgets which to-dos were deleted.
  void clean_up();
  void sign_out(bool is_signed_out);
  /// id → title, with " (done)".
  std::map<std::string, std::string> titles() const;
  std::uint64_t writes_done() const;

 private:
  struct Todo {
    std::string title;
    bool done = false;
    std::uint64_t changed = 0;
  };
  Reply list(const std::string& query) const;
  Reply write(const Request& request);

  mutable std::mutex mutex_;
  std::uint64_t counter_ = 0, last_id_ = 0, cleaned_up_ = 0, writes_done_ = 0;
  std::map<std::string, Todo> todos_;
  std::map<std::string, std::uint64_t> deleted_;
  std::map<std::string, Reply> answered_;  // by idempotency key
  bool is_signed_out_ = false;
};

/// The backend on a port of this machine.
class Listener {
 public:
  /// `port` 0: any free one. `may_answer` false: the connection is cut after the request was handled.
  Listener(Backend& backend, std::uint16_t port, std::function<bool(const Request&)> may_answer);
  ~Listener();
  std::uint16_t port() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace todos
