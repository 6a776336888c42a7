// For tests of the state machine: its outside, played by the test.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "client/client_sync.hpp"
#include "client/client_test_support.hpp"

namespace nizhal::client::testing {

using std::chrono::milliseconds;

/// Keeps what the machine asked for.
class Runtime {
 public:
  Runtime(Device& device, ManualClock& clock, SyncOptions options)
      : clock_(clock), random_(5), sync_(device.store(), clock, random_, Log(), std::move(options)) {}

  void handle(const Event& event) {
    for (Effect& effect : sync_.handle(event)) {
      if (auto* send = std::get_if<SendRequest>(&effect)) {
        requests.push_back(std::move(*send));
      } else if (auto* token = std::get_if<FetchToken>(&effect)) {
        token_asks.push_back(*token);
      } else if (auto* socket = std::get_if<OpenSocket>(&effect)) {
        sockets.push_back(*socket);
      } else if (auto* frame = std::get_if<SendFrame>(&effect)) {
        frames.push_back(std::move(frame->text));
      } else if (std::holds_alternative<CloseSocket>(effect)) {
        ++sockets_closed;
      } else if (auto* timer = std::get_if<SetTimer>(&effect)) {
        timers[timer->timer] = timer->delay;
      } else if (auto* cancel = std::get_if<CancelTimer>(&effect)) {
        timers.erase(cancel->timer);
      } else if (auto* finished = std::get_if<SyncFinished>(&effect)) {
        finishes.push_back(finished->report);
      } else {
        ++notifications;
      }
    }
  }
  /// Lets the server answer whatever is asked, until nothing is.
  void run(FakeServer& server) {
    for (int i = 0; i < 1000 && !requests.empty(); ++i) {
      const SendRequest request = take();
      handle(Answered{request.request, server.handle(request.http)});
    }
  }
  SendRequest take() {
    EXPECT_FALSE(requests.empty());
    SendRequest request = std::move(requests.front());
    requests.pop_front();
    return request;
  }
  void answer(int status, const std::string& body = "{}", std::map<std::string, std::string> headers = {}) {
    handle(Answered{take().request, {status, std::move(headers), body}});
  }
  void cut() { handle(Failed{take().request, "connection refused"}); }
  void fire(TimerId timer) {
    ASSERT_TRUE(timers.contains(timer));
    timers.erase(timer);
    handle(TimerFired{timer});
  }
  /// Lets time pass: the timers that fall due fire in their order.
  void pass(milliseconds time) {
    for (;;) {
      auto next = timers.end();
      for (auto it = timers.begin(); it != timers.end(); ++it)
        if (next == timers.end() || it->second < next->second) next = it;
      const milliseconds step = next == timers.end() ? time : std::min(time, next->second);
      clock_.advance(step);
      time -= step;
      for (auto& [timer, left] : timers) left -= step;
      if (next == timers.end() || next->second > milliseconds{0}) return;
      fire(TimerId{next->first});
    }
  }
  bool is_push() const { return !requests.empty() && requests.front().http.path == protocol::kPushPath; }
  StoreStatus status() const { return sync_.status(); }

  std::deque<SendRequest> requests;
  std::vector<FetchToken> token_asks;
  std::vector<OpenSocket> sockets;
  std::vector<std::string> frames;
  std::map<TimerId, milliseconds> timers;
  std::vector<Result<SyncReport>> finishes;
  int sockets_closed = 0, notifications = 0;

 private:
  ManualClock& clock_;
  SeededRandom random_;
  ClientSync sync_;
};

}  // namespace nizhal::client::testing
