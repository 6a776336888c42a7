// Mutations of the example domains, made up by a seed from what a device holds.
#include <fmt/format.h>

#include "base/json.hpp"
#include "chaos/world_state.hpp"

namespace nizhal::chaos {
namespace {

std::string new_key(Random& random) { return fmt::format("k{:016x}", random.next()); }

/// A key of the table on the device, drawn; empty when it holds none.
std::string drawn_key(Device& device, Random& random, std::string_view table) {
  const std::string count = device.value(fmt::format("SELECT count(*) FROM {}", table));
  const std::uint64_t rows = std::strtoull(count.c_str(), nullptr, 10);
  if (rows == 0) return {};
  return device.value(fmt::format("SELECT id FROM {} ORDER BY id LIMIT 1 OFFSET {}", table, random.below(rows)));
}

class NotesTraffic : public Traffic {
 public:
  Call next(Device& device, Random& random) override {
    const std::string body = fmt::format("text {}", random.below(1'000'000));
    const std::string note = drawn_key(device, random, "notes");
    const std::uint64_t draw = random.below(10);
    if (note.empty() || draw < 5) return {"addNote", to_text({{"id", new_key(random)}, {"body", body}})};
    if (draw < 9) return {"editNote", to_text({{"id", note}, {"body", body}})};
    return {"deleteNote", to_text({{"id", note}})};
  }
};

class LedgerTraffic : public Traffic {
 public:
  Call next(Device& device, Random& random) override {
    const std::string shop = drawn_key(device, random, "shops");
    if (shop.empty()) return {"createShop", to_text({{"id", new_key(random)}, {"name", "Corner shop"}})};
    const std::string customer = drawn_key(device, random, "customers");
    const std::uint64_t draw = random.below(20);
    if (customer.empty() || draw == 0)
      return {"addCustomer", to_text({{"id", new_key(random)}, {"shop_id", shop}, {"name", "Customer"}})};
    if (draw < 3)
      return {"renameCustomer", to_text({{"id", customer}, {"name", fmt::format("Name {}", random.below(1'000))}})};
    const std::string amount = std::to_string(1 + random.below(100));
    const json::object entry{{"id", new_key(random)}, {"customer_id", customer}, {"amount", amount}};
    return {draw < 14 ? "recordCredit" : "recordPayment", to_text(entry)};
  }
};

}  // namespace

std::unique_ptr<Traffic> traffic_for(const Domain& domain) {
  if (domain.name() == "notes") return std::make_unique<NotesTraffic>();
  if (domain.name() == "ledger") return std::make_unique<LedgerTraffic>();
  return nullptr;
}

}  // namespace nizhal::chaos
