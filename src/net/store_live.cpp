// Live queries of nizhal::Store: the app's callbacks on the store's thread.
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <nizhal/store.hpp>

#include "client/live_queries.hpp"
#include "net/callbacks.hpp"
#include "net/store_implementation.hpp"

namespace nizhal {
namespace {

using client::LiveQueries;

/// What an app throws stops here: the frames below are compiled without exceptions.
template <class Callback, class... Args>
void tell(const Log& log, Callback& callback, const Args&... args) {
  try {
    callback(args...);
  } catch (const std::exception& error) {
    log.error("live", fmt::format("a live query's callback threw: {}", error.what()));
  } catch (...) {
    log.error("live", "a live query's callback threw something that is no std::exception");
  }
}

/// `add` (LiveQueries::Receiver → Result<Id>) begins what the subscription ends.
template <class RawCallback, class Add>
Result<Subscription> follow(const std::shared_ptr<LiveQueries>& live, const Log& log, RawCallback callback,
                            LiveOptions options, Add add) {
  const auto rows = std::make_shared<net::Callback<const RowSequence&, const RawDelta&>>(std::move(callback));
  const bool wants_errors = options.on_error != nullptr;
  const auto errors = std::make_shared<net::Callback<const Error&>>(std::move(options.on_error));
  LiveQueries::Receiver receiver;
  receiver.deliver = [rows, log](const RowSequence& sequence, const RawDelta& delta, std::uint64_t) {
    tell(log, *rows, sequence, delta);
  };
  receiver.fail = [errors, log, wants_errors](const Error& error) {
    log.warning("live", "a live query cannot be kept up to date for now: " + error.message);
    if (wants_errors) tell(log, *errors, error);
  };
  const auto id = add(std::move(receiver));
  if (!id) return tl::unexpected(id.error());
  return Subscription([weak = std::weak_ptr<LiveQueries>(live), id = *id, rows, errors] {
    rows->end();
    errors->end();
    if (const auto open = weak.lock()) open->remove(id);
  });
}

}  // namespace

Result<Subscription> Store::live_rows(const QuerySpec& query, RawCallback callback, LiveOptions options) {
  const auto& live = implementation_->live;
  return follow(live, implementation_->log, std::move(callback), std::move(options),
                [&](LiveQueries::Receiver receiver) { return live->add(query, std::move(receiver)); });
}

Result<Subscription> Store::live_sql(std::string_view text,
                                     std::function<void(const Rows<Row>&, const Delta<Row>&)> callback,
                                     LiveOptions options) {
  const auto& live = implementation_->live;
  return follow(live, implementation_->log,
                typed_callback<Row>([](const Row& row) { return row; }, std::move(callback)), std::move(options),
                [&](LiveQueries::Receiver receiver) { return live->add_sql(std::string(text), std::move(receiver)); });
}

Result<Explanation> Store::explain_query(const QuerySpec& query) const { return implementation_->live->explain(query); }

Result<Explanation> Store::explain_sql(std::string_view text) const { return implementation_->live->explain_sql(text); }

}  // namespace nizhal
