#include "realtime/postgres/listen_notify.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/ids.hpp"
#include "postgres/connection.hpp"
#include "realtime/postgres/notification.hpp"

namespace nizhal::realtime {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

/// Of other instances, by which lost notifications are noticed. With more, anybody makes them up.
constexpr std::size_t kInstancesMax = 1'000;
/// In one transaction: half a megabyte.
constexpr std::size_t kPayloadsAtOnce = 64;

/// Wakes a thread that polls.
class WakeUp {
 public:
  WakeUp() {
    if (::pipe2(ends_.data(), O_CLOEXEC | O_NONBLOCK) != 0) ends_ = {-1, -1};
  }
  ~WakeUp() {
    for (const int end : ends_)
      if (end >= 0) ::close(end);
  }
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;
  void signal() {
    const char byte = 0;
    // A full pipe wakes as well.
    if (::write(ends_[1], &byte, 1) < 0) return;
  }
  void clear() {
    std::array<char, 256> bytes{};
    while (::read(ends_[0], bytes.data(), bytes.size()) > 0) continue;
  }
  int descriptor() const { return ends_[0]; }

 private:
  std::array<int, 2> ends_{-1, -1};
};

std::size_t size_of(const Message& message) {
  std::size_t bytes = 0;
  for (const CommitNotice& commit : message.commits) {
    bytes += sizeof(CommitNotice);
    for (const std::string& bucket : commit.buckets) bytes += bucket.size() + 48;  // and its place in the set
  }
  for (const std::string& object : message.presence) bytes += object.size() + sizeof(std::string);
  return bytes;
}

class ListenNotify : public Realtime {
 public:
  ListenNotify(ListenNotifyOptions options, Random& random, Log log)
      : options_(std::move(options)), random_(random), log_(std::move(log)), instance_(random_uuid(random)) {}
  ~ListenNotify() override { ListenNotify::stop(); }

  void start(std::weak_ptr<Listener> listener) override {
    listener_ = std::move(listener);
    thread_ = std::thread([this] { live(); });
  }

  void tell(Message message) override {
    const std::size_t bytes = size_of(message);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (waiting_bytes_ + bytes > options_.waiting_bytes_max) {
        waiting_ = {};
        waiting_bytes_ = 0;
        has_overflowed_ = true;
        ++overflows_;
      } else {
        waiting_bytes_ += bytes;
        for (CommitNotice& commit : message.commits) waiting_.commits.push_back(std::move(commit));
        for (std::string& object : message.presence) waiting_.presence.push_back(std::move(object));
      }
    }
    wake_up_.signal();
  }

  void stop() override {
    std::function<void()> cancel;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      cancel = canceller_;
    }
    wake_up_.signal();
    if (!thread_.joinable()) return;
    if (cancel) cancel();
    thread_.join();
  }

  bool reaches_others() const override { return true; }
  std::string describe() const override {
    return fmt::format("LISTEN/NOTIFY on {}, channel {}", postgres::describe_url(options_.url), options_.channel);
  }
  Stats stats() const override {
    return {.told = told_, .heard = heard_, .ignored = ignored_, .missed = missed_, .overflows = overflows_};
  }

 private:
  void live();
  bool connect();
  void converse();
  bool send_waiting();
  bool notify(const std::vector<std::string>& payloads);
  void hear(const std::vector<postgres::Connection::Notification>& notifications);
  void say_missed();
  bool wait(int socket, milliseconds time);
  bool is_stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  const ListenNotifyOptions options_;
  Random& random_;
  const Log log_;
  const std::string instance_;
  std::weak_ptr<Listener> listener_;
  std::thread thread_;
  WakeUp wake_up_;
  std::atomic<std::uint64_t> told_{0}, heard_{0}, ignored_{0}, missed_{0}, overflows_{0};

  mutable std::mutex mutex_;
  bool stopping_ = false;
  Message waiting_;
  std::size_t waiting_bytes_ = 0;
  bool has_overflowed_ = false;
  std::function<void()> canceller_;

  // The thread's own.
  std::unique_ptr<postgres::Connection> connection_;
  std::uint64_t number_ = 0;            // of the last payload
  std::vector<std::string> under_way_;  // payloads of which it is not known whether they were sent
  struct Other {
    std::uint64_t number = 0;  // the last one heard
    bool is_unbroken = true;   // on this connection: then the next one must follow
  };
  std::map<std::string, Other, std::less<>> instances_;
  bool is_away_told_ = false;
  bool are_strangers_told_ = false;
};

void ListenNotify::live() {
  milliseconds backoff = options_.backoff_first;
  while (!is_stopping()) {
    if (connect()) {
      const auto since = SteadyClock::now();
      converse();
      // One that breaks as soon as it is made is no success.
      if (SteadyClock::now() - since > options_.backoff_max) backoff = options_.backoff_first;
    }
    {
      const std::lock_guard lock(mutex_);
      canceller_ = nullptr;
    }
    connection_.reset();
    if (is_stopping()) return;
    // Many instances lose their database at once; they do not come back at once.
    const auto pause = milliseconds(1 + static_cast<milliseconds::rep>(random_.below(static_cast<std::uint64_t>(
                                            std::max<milliseconds::rep>(backoff.count(), 1)))));
    backoff = std::min(backoff * 2, options_.backoff_max);
    const auto until = SteadyClock::now() + pause;
    while (!is_stopping()) {
      const auto left = std::chrono::ceil<milliseconds>(until - SteadyClock::now());
      if (left.count() <= 0) break;
      wait(-1, left);
      wake_up_.clear();
    }
  }
}

/// False when the time is over; waits no longer than until there is something to read or to send.
bool ListenNotify::wait(int socket, milliseconds time) {
  std::array<pollfd, 2> descriptors{{{wake_up_.descriptor(), POLLIN, 0}, {socket, POLLIN, 0}}};  // -1 is passed over
  return ::poll(descriptors.data(), descriptors.size(), static_cast<int>(time.count())) != 0;
}

bool ListenNotify::connect() {
  postgres::ConnectOptions connect;
  connect.url = options_.url;
  connect.connect_timeout = options_.connect_timeout;
  connect.statement_timeout = options_.answer_timeout;
  connect.lock_timeout = options_.answer_timeout;
  auto opened = postgres::Connection::connect(connect);
  Result<void> listening;
  if (opened) {
    connection_ = *std::move(opened);
    connection_->queue(fmt::format("LISTEN \"{}\"", options_.channel));
    // A transaction that notifies has a number and a commit record; nobody has to wait until that is on the disk.
    connection_->queue("SET synchronous_commit = off");
    if (options_.instances_key != 0)
      connection_->queue(fmt::format("SELECT pg_catalog.pg_advisory_lock_shared({})", options_.instances_key));
    listening = connection_->finish();
  } else {
    listening = tl::unexpected(opened.error());
  }
  if (!listening) {
    if (!std::exchange(is_away_told_, true))
      log_.warning("realtime",
                   "cannot listen for other instances, looks for their commits instead, and goes on trying: " +
                       listening.error().message);
    return false;
  }
  if (std::exchange(is_away_told_, false)) log_.info("realtime", "listens for other instances again");
  {
    const std::lock_guard lock(mutex_);
    canceller_ = connection_->canceller();
  }
  // What the others said until now went past this connection.
  for (auto& [instance, other] : instances_) other.is_unbroken = false;
  say_missed();
  return true;
}

/// Until the connection breaks, or the end.
void ListenNotify::converse() {
  while (!is_stopping()) {
    hear(connection_->notifications());
    if (!connection_->is_open() || !send_waiting()) break;
    // Notifications may have come beside the answers.
    hear(connection_->notifications());
    if (!connection_->is_open()) break;
    const bool is_silent = !wait(connection_->socket(), options_.silence_max);
    if (is_silent && !connection_->check(options_.answer_timeout)) break;
    wake_up_.clear();
  }
  if (is_stopping()) return;
  is_away_told_ = true;
  log_.warning("realtime", "the connection to the other instances broke; looks for their commits until it is back");
}

/// False when it failed; then nothing is known of what was under way, and it is sent again under the same numbers.
bool ListenNotify::send_waiting() {
  for (;;) {
    if (!under_way_.empty()) {
      const auto count = std::min(under_way_.size(), kPayloadsAtOnce);
      const std::vector<std::string> first(under_way_.begin(), under_way_.begin() + static_cast<std::ptrdiff_t>(count));
      if (!notify(first)) return false;
      under_way_.erase(under_way_.begin(), under_way_.begin() + static_cast<std::ptrdiff_t>(count));
      continue;
    }
    Message message;
    bool has_overflowed = false;
    {
      const std::lock_guard lock(mutex_);
      std::swap(message, waiting_);
      waiting_bytes_ = 0;
      has_overflowed = std::exchange(has_overflowed_, false);
    }
    under_way_ = encode_notifications(message, has_overflowed, instance_, number_);
    if (under_way_.empty()) return true;
  }
}

/// All or none of them, in one transaction of their own.
bool ListenNotify::notify(const std::vector<std::string>& payloads) {
  for (const std::string& payload : payloads) {
    const std::array<postgres::Parameter, 2> parameters{options_.channel, payload};
    connection_->queue("SELECT pg_catalog.pg_notify($1::text, $2::text)", parameters);
  }
  const auto sent = connection_->finish();
  if (sent) {
    told_ += payloads.size();
    return true;
  }
  // PostgreSQL's queue of notifications may be full, because some session listens and does not read. The next attempt
  // is made after a pause, on a new connection.
  if (connection_->is_open() && !is_stopping())
    log_.warning("realtime", "cannot notify the other instances, and tries again: " + sent.error().message);
  return false;
}

void ListenNotify::hear(const std::vector<postgres::Connection::Notification>& notifications) {
  for (const auto& [channel, payload] : notifications) {
    auto notification = decode_notification(payload);
    if (!notification || channel != options_.channel) {
      ++ignored_;
      if (!std::exchange(are_strangers_told_, true))
        log_.warning("realtime",
                     fmt::format("somebody else notifies the channel {}; that is ignored", options_.channel));
      continue;
    }
    if (notification->instance == instance_) continue;
    if (instances_.size() >= kInstancesMax && !instances_.contains(notification->instance)) {
      instances_.clear();
      say_missed();
    }
    const auto [known, is_new] = instances_.try_emplace(notification->instance, Other{notification->number, true});
    if (!is_new) {
      Other& other = known->second;
      if (notification->number <= other.number) continue;  // sent again, because its sender's connection broke
      if (other.is_unbroken && notification->number != other.number + 1) say_missed();
      other = {notification->number, true};
    }
    ++heard_;
    if (notification->missed) say_missed();
    if (notification->message.commits.empty() && notification->message.presence.empty()) continue;
    if (const auto listener = listener_.lock()) listener->heard(std::move(notification->message));
  }
}

void ListenNotify::say_missed() {
  ++missed_;
  if (const auto listener = listener_.lock()) listener->missed();
}

}  // namespace

std::unique_ptr<Realtime> listen_notify(ListenNotifyOptions options, Random& random, Log log) {
  return std::make_unique<ListenNotify>(std::move(options), random, std::move(log));
}

}  // namespace nizhal::realtime
