// For tests only: a domain that uses what rules can do, for storage to get right.
#pragma once

#include <optional>
#include <string>

#include <nizhal/domain.hpp>

namespace nizhal::testing {

struct Doc {
  std::string id, owner_id;
  std::optional<std::string> team_id;
  std::string kind, client_id;
  std::optional<std::int32_t> shelf;
};
struct DocMember {
  std::string id, user_id, team_id, role;
};
struct Order {
  std::int64_t id = 0, shop = 0;
  std::string region;
  std::optional<std::string> state;
  bool hidden = false;
};
struct Clerk {
  std::string id, user_id;
  std::int64_t shop = 0;
  std::string region;
};

inline const auto docs = table<Doc>("docs")
                             .key("id", &Doc::id)
                             .column("owner_id", &Doc::owner_id)
                             .column("team_id", &Doc::team_id)
                             .column("kind", &Doc::kind, default_value("plain"))
                             .column("client_id", &Doc::client_id, default_value(""))
                             .column("shelf", &Doc::shelf);
inline const auto doc_members = table<DocMember>("doc_members")
                                    .key("id", &DocMember::id)
                                    .column("user_id", &DocMember::user_id)
                                    .column("team_id", &DocMember::team_id)
                                    .column("role", &DocMember::role);
inline const auto orders = table<Order>("orders")
                               .key("id", &Order::id)
                               .column("shop", &Order::shop)
                               .column("region", &Order::region)
                               .column("state", &Order::state)
                               .column("hidden", &Order::hidden, default_value(false));
inline const auto clerks = table<Clerk>("clerks")
                               .key("id", &Clerk::id)
                               .column("user_id", &Clerk::user_id)
                               .column("shop", &Clerk::shop)
                               .column("region", &Clerk::region);

/// Two rules of one definition on one table, through different columns; a membership with a constant filter; two
/// parameters of different types; a whole number; prefixes that keys of others run into; a table that grants and is not
/// delivered.
inline Domain office_domain() {
  Domain d("office", {.version = "1.0.0"});
  d.add(docs).add(doc_members).add(orders).add(clerks);
  d.rule("own").parameter("owner", actor::owner_id).data(docs, eq("owner_id", "owner"));
  d.rule("named")
      .parameter("who", actor::owner_id)
      .data(docs, eq("client_id", "who"), eq("kind", literal("named")))
      .priority(5);
  d.rule("teams")
      .prefix("team:")
      .membership(doc_members, where("user_id", actor::user_id), where("role", "reader"), bucket("team", "team_id"))
      .data(docs, eq("team_id", "team"), ne("kind", literal("private")))
      .data(doc_members, eq("team_id", "team"));
  d.rule("shelves").prefix("shelf:").parameter("shelf", actor::claim("shelf")).data(docs, eq("shelf", "shelf"));
  d.rule("regional")
      .prefix("r/")
      .membership(clerks, where("user_id", actor::user_id), bucket("shop", "shop"), bucket("region", "region"))
      .data(orders, eq("shop", "shop"), eq("region", "region"), is_not_null("state"), eq("hidden", false));
  return d;
}

}  // namespace nizhal::testing
