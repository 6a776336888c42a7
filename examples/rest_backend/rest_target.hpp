// The whole of what the app writes to sync its to-dos with its own backend: three calls to push, one to pull.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nizhal/sync_target.hpp>

namespace todos {

class RestTarget : public nizhal::SyncTarget {
 public:
  RestTarget(std::uint16_t port, std::string token) : port_(port), token_(std::move(token)) {}

  std::string name() const override { return "127.0.0.1:" + std::to_string(port_); }
  nizhal::TargetResult<nizhal::TargetPage> pull(const nizhal::TargetPull& request) override;
  nizhal::TargetResult<nizhal::Outcome> push(const nizhal::TargetMutation& mutation) override;

 private:
  struct Answer {
    int status = 0;
    std::string body;
  };
  /// One request, within some seconds. `key`: the idempotency key, for writes.
  nizhal::TargetResult<Answer> send(std::string_view method, const std::string& path, const std::string& key = {},
                                    const std::string& body = {}) const;

  const std::uint16_t port_;
  const std::string token_;
};

}  // namespace todos
