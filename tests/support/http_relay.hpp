// Between a device and a real server: every request and answer is written down, and a pull can be held up for as long
// as a test wants, so that what happens "in the middle of a sync" happens exactly there. WebSockets are refused.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace nizhal::testing {

class HttpRelay {
 public:
  struct Exchange {
    std::string path, request;
    int status = 0;
    std::string answer;
  };

  /// `server`: "http://127.0.0.1:PORT"; it need not be there yet.
  explicit HttpRelay(const std::string& server);
  ~HttpRelay();
  std::string url() const;

  /// Answered so far.
  std::vector<Exchange> exchanges() const;
  std::vector<Exchange> pulls() const;
  void forget();

  /// After so many more answered pulls, the next one waits.
  void hold_after_pulls(std::size_t count);
  /// Waits until a pull is held. What came before it, the device has taken in: it asks for one page at a time.
  bool wait_until_held(std::chrono::milliseconds patience) const;
  /// The body of the pull that is held.
  std::string held_request() const;
  /// The held pull goes on.
  void let_go();
  /// The held pull never reaches the server.
  void drop_held();
  /// Called on the relay's thread before each answer is passed on.
  void on_answer(std::function<void(const Exchange&)> callback);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::testing
