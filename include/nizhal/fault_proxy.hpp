// The network between a device and its servers, and what goes wrong in it: requests and replies that get lost, come
// twice, wait, are cut off or trickle, connections that are cut or stay open and carry nothing. Every request and
// answer is written down. With several servers it is their balancer: each request goes to the next that answers.
//
// The fact that must not break: a fault is applied to exactly the requests that it was asked for, in the order in which
// they come, so that "the reply of the next push" is that one.
//
// Threads: one of its own; every member may be called from any.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nizhal::chaos {

/// What becomes of a request.
enum class Fault {
  lose_request,    // never reaches the server; the connection ends
  lose_reply,      // the server did it; its answer is lost with the connection
  truncate_reply,  // half of the answer arrives, then the connection ends
  duplicate,       // reaches the server twice, one after the other; the second answer is passed on
  swallow,         // taken, and nothing ever comes back, as long as the fault lasts: a half-open connection
  unavailable,     // answered 503 on the way
  foreign_page,    // answered 200 with a web page, as a hotel's network does
};
const char* to_string(Fault fault);

inline constexpr std::size_t kAllRequests = static_cast<std::size_t>(-1);

class FaultProxy {
 public:
  struct Exchange {
    std::string path, request;
    int status = 0;  // 0: none came
    std::string answer;
    std::string authorization;  // the request's header
  };
  struct Options {
    bool with_sockets = false;  // else WebSockets are refused
  };

  /// `servers`: "http://127.0.0.1:PORT" each; they need not be there yet.
  explicit FaultProxy(const std::vector<std::string>& servers, Options options);
  /// Without WebSockets.
  explicit FaultProxy(const std::string& server) : FaultProxy(std::vector<std::string>{server}, Options{}) {}
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  std::string url() const;

  // Faults. `path`: "/sync/push", "/sync/pull"; empty: every request.
  /// Hits the next `count` requests to the path. Several faults of a path take their turns.
  void fault(std::string_view path, Fault fault, std::size_t count = 1);
  /// How many requests a fault hit so far.
  std::size_t hits(Fault fault) const;
  /// Cuts every connection, and refuses new ones until heal().
  void cut();
  /// Cuts every connection that is there; new ones are taken.
  void cut_connections();
  /// Connections stay and carry nothing, new ones too, until heal(), which cuts them.
  void freeze();
  /// WebSockets are refused from now on and those there are cut; false: taken again.
  void refuse_sockets(bool refuse);
  /// Answers come at this pace, bytes per second; 0: as they come.
  void slow(std::size_t bytes_per_second);
  /// Everything works again: no fault is left, what was held goes on.
  void heal();

  // What passed.
  /// Answered so far, and those that were lost on the way back.
  std::vector<Exchange> exchanges() const;
  std::vector<Exchange> pulls() const;
  std::vector<Exchange> pushes() const;
  void forget();
  /// WebSockets that are open through it.
  std::size_t open_sockets() const;
  /// Waits for a number of exchanges, those forgotten not counted, that `counts`.
  bool wait_for(const std::function<bool(const Exchange&)>& counts, std::size_t number,
                std::chrono::milliseconds patience) const;
  /// Sends what passed once more, as a network that kept it would. The status; 0: no server answered.
  int replay(const Exchange& exchange);

  /// After so many more answered pulls, the next one waits.
  void hold_after_pulls(std::size_t count) { hold_after("/sync/pull", count); }
  void hold_after(std::string_view path, std::size_t count);
  /// Waits until a request is held. What came before it, the device has taken in: it asks for one page at a time.
  bool wait_until_held(std::chrono::milliseconds patience) const;
  /// The body of the request that is held.
  std::string held_request() const;
  /// The held request goes on.
  void let_go();
  /// The held request never reaches the server.
  void drop_held();
  /// Called on the proxy's thread before each answer is passed on.
  void on_answer(std::function<void(const Exchange&)> callback);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nizhal::chaos
