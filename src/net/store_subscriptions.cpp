// nizhal::Store, which buckets the device holds.
#include <nizhal/store.hpp>

#include "net/store_implementation.hpp"

namespace nizhal {

Result<void> Store::subscribe(std::string_view rule, const RuleParameters& parameters) {
  auto done = implementation_->local->subscribe(rule, parameters);
  if (done) implementation_->runtime.coverage_changed();
  return done;
}

Result<void> Store::unsubscribe(std::string_view rule, const RuleParameters& parameters, std::chrono::seconds keep) {
  auto done = implementation_->local->unsubscribe(rule, parameters, keep);
  if (done) implementation_->runtime.coverage_changed();
  return done;
}

Result<std::vector<BucketSubscription>> Store::subscriptions() const { return implementation_->local->subscriptions(); }

}  // namespace nizhal
