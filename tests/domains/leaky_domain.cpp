// A domain that must not run: its rule would give everybody all rows.
#include <nizhal/domain.hpp>

namespace {

struct Account {
  std::string id, shop_id;
};
const auto accounts = nizhal::table<Account>("accounts").key("id", &Account::id).column("shop_id", &Account::shop_id);

nizhal::Domain domain() {
  nizhal::Domain d("leaky");
  d.add(accounts);
  d.rule("everything").data(accounts);
  return d;
}

}  // namespace

NIZHAL_DOMAIN(domain)
