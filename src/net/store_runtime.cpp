#include "net/store_runtime.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <exception>
#include <future>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "net/callbacks.hpp"
#include "net/http_client.hpp"
#include "net/target_transport.hpp"
#include "net/websocket_client.hpp"

namespace nizhal::net {

namespace asio = boost::asio;
using client::Event;

namespace {

using Waiter = std::promise<Result<SyncReport>>;
using Waiters = std::vector<std::shared_ptr<Waiter>>;

constexpr std::size_t index_of(client::TimerId timer) { return static_cast<std::size_t>(timer); }

}  // namespace

/// All members but `io`, the `…_posted` and the thread's own belong to the thread.
struct StoreRuntime::Loop {
  Loop(SyncMachine& given_machine, StoreRuntimeOptions given_options)
      : machine(given_machine), options(std::move(given_options)), online(options.start_online) {
    for (auto& timer : timers) timer = std::make_unique<asio::steady_timer>(io);
    if (options.target) target = std::make_unique<TargetTransport>(io, std::move(options.target));
    if (target || !options.net) return;
    http = std::make_unique<HttpClient>(io, *options.net);
    socket = std::make_unique<WebSocketClient>(
        io, *options.net,
        WebSocketEvents{.opened = [this] { dispatch(client::SocketOpened{}); },
                        .frame = [this](std::string_view text) { dispatch(client::SocketFrame{std::string(text)}); },
                        .closed = [this](std::string reason) { dispatch(client::SocketClosed{std::move(reason)}); }});
  }

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  SyncMachine& machine;
  StoreRuntimeOptions options;
  std::unique_ptr<TargetTransport> target;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<WebSocketClient> socket;
  std::array<std::unique_ptr<asio::steady_timer>, 4> timers;
  asio::steady_timer tick_timer{io};
  std::deque<Event> events;
  bool is_dispatching = false;
  Callbacks<const StoreStatus&> status_callbacks;
  Callbacks<const std::string&> presence_callbacks;  // of the bucket that changed
  Waiters waiting;                                   // for the sync that is under way
  Waiters waiting_later;                             // for one that begins after it
  bool online;
  std::atomic<bool> mutated_posted{false};
  std::atomic<bool> status_posted{false};
  std::thread thread;

  void run() {
    for (;;) {
      try {
        io.run();
        return;
      } catch (const std::exception& error) {
        options.log.error("sync", fmt::format("the sync thread met a bug: {}", error.what()));
      } catch (...) {
        options.log.error("sync", "the sync thread met something that is no std::exception");
      }
      is_dispatching = false;
    }
  }

  /// Events that an effect causes at once come after the effects of the present one.
  void dispatch(Event event) {
    events.push_back(std::move(event));
    if (std::exchange(is_dispatching, true)) return;
    while (!events.empty()) {
      const Event next = std::move(events.front());
      events.pop_front();
      for (client::Effect& effect : machine.handle(next))
        std::visit([this](auto& wanted) { carry_out(wanted); }, effect);
    }
    is_dispatching = false;
  }

  void carry_out(client::SendRequest& wanted) {
    const client::RequestId id = wanted.request;
    // A backend of the app's own may have done what it failed to answer.
    auto done = [this, id, is_http = !target](Result<protocol::HttpResponse> answer) {
      if (answer)
        dispatch(client::Answered{id, std::move(*answer)});
      else
        dispatch(client::Failed{.request = id,
                                .reason = std::move(answer.error().message),
                                .never_left = is_http && answer.error().code == ErrorCode::unreachable});
    };
    if (target) return target->send(std::move(wanted.http), std::move(done));
    if (!http) return dispatch(client::Failed{.request = id, .reason = "this store has no server", .never_left = true});
    http->send(std::move(wanted.http), wanted.timeout, std::move(done));
  }

  void cancel_request() {
    if (target) target->cancel();
    if (http) http->cancel();
  }

  void carry_out(const client::FetchToken&) {
    std::string token;
    if (options.token) {
      try {
        token = options.token();
      } catch (const std::exception& error) {
        options.log.error("sync", fmt::format("the token callback threw: {}", error.what()));
      } catch (...) {
        options.log.error("sync", "the token callback threw something that is no std::exception");
      }
    }
    dispatch(client::TokenFetched{std::move(token)});
  }

  void carry_out(const client::OpenSocket& wanted) {
    if (!socket) return dispatch(client::SocketClosed{"this store has no server"});
    socket->open(wanted.path, wanted.token);
  }

  void carry_out(const client::CloseSocket&) {
    if (socket) socket->close();
  }

  void carry_out(client::SendFrame& wanted) {
    if (socket) socket->send(std::move(wanted.text));
  }

  void carry_out(const client::SetTimer& wanted) {
    auto& timer = *timers[index_of(wanted.timer)];
    timer.expires_after(wanted.delay);
    timer.async_wait([this, id = wanted.timer, &timer, due = timer.expiry()](boost::system::error_code cancelled) {
      // One that was set anew while its old end was on the way here is not due.
      if (!cancelled && timer.expiry() == due) dispatch(client::TimerFired{id});
    });
  }

  void carry_out(const client::CancelTimer& wanted) {
    auto& timer = *timers[index_of(wanted.timer)];
    timer.expires_at(asio::steady_timer::time_point::max());
  }

  void carry_out(const client::Notify&) { tell_status(); }

  void tell_status() {
    const auto callbacks = status_callbacks.all();
    if (callbacks.empty()) return;
    const StoreStatus status = machine.status();
    for (const auto& callback : callbacks) tell("status", *callback, status);
  }

  template <class News>
  void tell(std::string_view what, Callback<const News&>& callback, const News& news) {
    try {
      callback(news);
    } catch (const std::exception& error) {
      options.log.error("sync", fmt::format("the {} callback threw: {}", what, error.what()));
    } catch (...) {
      options.log.error("sync", fmt::format("the {} callback threw something that is no std::exception", what));
    }
  }

  void carry_out(const client::PresenceChanged& changed) {
    for (const auto& callback : presence_callbacks.all()) tell("presence", *callback, changed.bucket);
  }

  void carry_out(client::SyncFinished& finished) {
    for (const auto& waiter : std::exchange(waiting, {})) waiter->set_value(finished.report);
    if (waiting_later.empty()) return;
    waiting.swap(waiting_later);
    dispatch(client::SyncRequested{});
  }

  void set_tick() {
    if (options.tick.count() == 0) return;
    tick_timer.expires_after(options.tick);
    tick_timer.async_wait([this](boost::system::error_code cancelled) {
      if (cancelled) return;
      set_tick();
      dispatch(client::Ticked{});
    });
  }

  void start_sync(std::shared_ptr<Waiter> waiter) {
    // What was written after a sync began may have missed its last push.
    if (!waiting.empty()) return waiting_later.push_back(std::move(waiter));
    waiting.push_back(std::move(waiter));
    dispatch(client::SyncRequested{});
  }

  void give_up_sync(const std::shared_ptr<Waiter>& waiter) {
    std::erase(waiting_later, waiter);
    if (std::erase(waiting, waiter) == 0 || !waiting.empty()) return;
    dispatch(client::SyncAbandoned{});
    if (!waiting.empty()) return;
    // A store that is offline had the network for this sync only. The failed request ends it.
    if (!online) cancel_request();
  }

  void go(bool wanted_online) {
    online = wanted_online;
    if (online) return dispatch(client::WentOnline{});
    dispatch(client::WentOffline{});
    if (waiting.empty()) cancel_request();
  }
};

StoreRuntime::StoreRuntime(SyncMachine& machine, StoreRuntimeOptions options)
    : loop_(std::make_unique<Loop>(machine, std::move(options))) {
  Loop& loop = *loop_;
  if (loop.online) asio::post(loop.io, [&loop] { loop.dispatch(client::Started{}); });
  asio::post(loop.io, [&loop] { loop.set_tick(); });
  loop.thread = std::thread([&loop] { loop.run(); });
}

StoreRuntime::~StoreRuntime() {
  Loop& loop = *loop_;
  loop.io.stop();
  loop.thread.join();
  loop.machine.handle(client::Stopped{});
  for (const Waiters* waiters : {&loop.waiting, &loop.waiting_later})
    for (const auto& waiter : *waiters) waiter->set_value(failure(ErrorCode::closed, "the store was closed"));
}

void StoreRuntime::mutated() {
  if (loop_->mutated_posted.exchange(true)) return;
  asio::post(loop_->io, [loop = loop_.get()] {
    loop->mutated_posted = false;
    loop->dispatch(client::Mutated{});
  });
}

void StoreRuntime::coverage_changed() {
  asio::post(loop_->io, [loop = loop_.get()] { loop->dispatch(client::CoverageChanged{}); });
}

void StoreRuntime::awaited() {
  asio::post(loop_->io, [loop = loop_.get()] { loop->dispatch(client::Awaited{}); });
}

void StoreRuntime::storage_changed() {
  asio::post(loop_->io, [loop = loop_.get()] { loop->dispatch(client::StorageChanged{}); });
}

void StoreRuntime::status_changed() {
  if (loop_->status_posted.exchange(true)) return;
  asio::post(loop_->io, [loop = loop_.get()] {
    loop->status_posted = false;
    loop->tell_status();
  });
}

void StoreRuntime::set_online(bool online) {
  asio::post(loop_->io, [loop = loop_.get(), online] { loop->go(online); });
}

Subscription StoreRuntime::on_status(std::function<void(const StoreStatus&)> callback) {
  // Each observer hears of changes only, whatever it was last told and by which way.
  auto [entry, subscription] =
      loop_->status_callbacks.add([callback = std::move(callback),
                                   last = std::make_shared<std::optional<StoreStatus>>()](const StoreStatus& status) {
        if (*last == status) return;
        *last = status;
        callback(status);
      });
  asio::post(loop_->io, [loop = loop_.get(), entry = entry] { loop->tell("status", *entry, loop->machine.status()); });
  return std::move(subscription);
}

bool StoreRuntime::has_server() const { return loop_->options.net.has_value() && !loop_->target; }

void StoreRuntime::track(std::string bucket, std::string payload) {
  asio::post(loop_->io, [loop = loop_.get(), event = client::Tracked{std::move(bucket), std::move(payload)}] {
    loop->dispatch(event);
  });
}

void StoreRuntime::untrack(std::string bucket) {
  asio::post(loop_->io, [loop = loop_.get(), event = client::Untracked{std::move(bucket)}] { loop->dispatch(event); });
}

Subscription StoreRuntime::on_presence(std::string bucket, std::function<void(const std::vector<Presence>&)> callback) {
  auto [entry, subscription] = loop_->presence_callbacks.add(
      [loop = loop_.get(), bucket, callback = std::move(callback),
       last = std::make_shared<std::optional<std::vector<Presence>>>()](const std::string& changed) {
        if (changed != bucket) return;
        auto now = loop->machine.presence(bucket);
        if (*last == now) return;
        *last = now;
        callback(now);
      });
  asio::post(loop_->io, [loop = loop_.get(), entry = entry, bucket = std::move(bucket)] {
    loop->tell("presence", *entry, bucket);
  });
  return std::move(subscription);
}

void StoreRuntime::post(std::function<void()> work) { asio::post(loop_->io, std::move(work)); }

bool StoreRuntime::is_own_thread() const {
  return std::this_thread::get_id() == loop_->thread.get_id() || (loop_->target && loop_->target->is_own_thread());
}

Result<SyncReport> StoreRuntime::sync_now(std::chrono::milliseconds timeout) {
  Loop& loop = *loop_;
  if (!loop.options.net && !loop.target)
    return failure(ErrorCode::usage, "this store has no server to sync with; open it with StoreOptions::server");
  if (is_own_thread())
    return failure(ErrorCode::usage, "sync_now() waits for the thread that this callback runs on; call it elsewhere");
  auto waiter = std::make_shared<Waiter>();
  auto report = waiter->get_future();
  asio::post(loop.io, [&loop, waiter] { loop.start_sync(waiter); });
  if (report.wait_for(timeout) == std::future_status::ready) return report.get();
  asio::post(loop.io, [&loop, waiter] { loop.give_up_sync(waiter); });
  const StoreStatus status = loop.machine.status();
  if (status.standby)
    return failure(ErrorCode::busy,
                   fmt::format("another process syncs this file and did not answer within {} ms; every write is kept",
                               timeout.count()));
  const std::string& tried = status.last_error;
  return failure(ErrorCode::unreachable,
                 fmt::format("no complete sync with {} within {} ms{}{}; every write is kept",
                             loop.options.net ? loop.options.net->server.endpoint() : loop.machine.status().server,
                             timeout.count(), tried.empty() ? "" : ": ", tried));
}

}  // namespace nizhal::net
