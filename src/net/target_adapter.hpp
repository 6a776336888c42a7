// Answers the device's requests by asking a SyncTarget, as our server would: the machine, the outbox and the applier
// know nothing of it.
//
// The facts that must not break: a page that confirms mutations (`lastMutationId`) says what was known when its pull
// *began*, so that what it confirms is in what it brings; and a mutation is answered only as the target answered it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nizhal/result.hpp>
#include <nizhal/sync_target.hpp>

#include "base/log.hpp"
#include "client/local_store.hpp"
#include "protocol/pull.hpp"
#include "protocol/push.hpp"
#include "protocol/transport.hpp"

namespace nizhal::net {

class TargetAdapter {
 public:
  TargetAdapter(std::shared_ptr<SyncTarget> target, client::LocalStore& store, Log log);

  /// As the target said when the store was opened; never empty.
  const std::string& name() const { return name_; }

  /// One request at a time. As HttpClient: an answer of any status is a value, the error is `unreachable`. Never
  /// throws.
  Result<protocol::HttpResponse> answer(const protocol::HttpRequest& request);

 private:
  using Answer = Result<protocol::HttpResponse>;
  Answer push(std::string_view body);
  Answer pull(std::string_view body);
  TargetResult<protocol::PushResult> push_one(const protocol::PushMutation& mutation);
  /// What the target threw is `busy`.
  template <class Call>
  auto guarded(std::string_view what, Call call) -> decltype(call());
  /// The page's rows and removals, or what is wrong with them.
  Result<void> write(const TargetPage& page, protocol::PageWriter& writer) const;
  Answer refuse(std::string_view what, const TargetError& error) const;

  std::shared_ptr<SyncTarget> target_;
  client::LocalStore& store_;
  Log log_;
  std::string name_;
};

}  // namespace nizhal::net
