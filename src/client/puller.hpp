// The puller: asks for what is new, and keeps the pages of a pull that is not complete.
//
// The fact that must not break: a page is staged in the same transaction that moves the staged cursor, so a killed
// device goes on with the page after the last one that it has.
#pragma once

#include <vector>

#include "client/store_state.hpp"

namespace nizhal::client::puller {

/// Where the next page starts: behind the staged pages, or behind the applied ones.
[[nodiscard]] Result<std::string> position(StoreState& state);
[[nodiscard]] Result<protocol::PullRequest> next_pull(StoreState& state, std::size_t limit);

[[nodiscard]] Result<bool> has_staged(StoreState& state);
/// Keeps a page aside; one that starts over drops those before it. In the caller's transaction.
[[nodiscard]] Result<void> stage(StoreState& state, const protocol::PullPage& page, bool starts_over);
/// Calls `apply(page, starts_over)` for each staged page in order.
template <class Apply>
[[nodiscard]] Result<void> for_each_staged(StoreState& state, Apply apply);
[[nodiscard]] Result<void> drop_staged(StoreState& state);

/// A page as the body that it came as.
std::string encode(const CompiledDomain& domain, const protocol::PullPage& page);

template <class Apply>
Result<void> for_each_staged(StoreState& state, Apply apply) {
  auto select = state.connection->prepare("SELECT is_reset, body FROM nizhal_staged ORDER BY page");
  if (!select) return tl::unexpected(select.error());
  while (true) {
    auto row = select->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return {};
    auto page = protocol::decode_page(state.domain().domain(), select->text(1));
    if (!page) return failure(ErrorCode::corrupt, "nizhal_staged: " + page.error().message);
    if (auto applied = apply(*page, select->integer(0) != 0); !applied) return applied;
  }
}

}  // namespace nizhal::client::puller
