#include "bench/bench_domain.hpp"

#include <cstdint>
#include <string>

namespace nizhal::bench {
namespace {

struct Item {
  std::string id, owner_id, body;
  std::int64_t amount = 0;
};
const auto items = table<Item>(kItemTable)
                       .key("id", &Item::id)
                       .column("owner_id", &Item::owner_id)
                       .column("body", &Item::body)
                       .column("amount", &Item::amount);

struct AddItem {
  std::string id, body;
  std::int64_t amount = 0;
};

}  // namespace

Domain bench_domain() {
  Domain d("bench", {.version = "1.0.0"});
  d.add(items);
  d.mutator<AddItem>(kAddItem)
      .arg("id", &AddItem::id, new_id_of(items))
      .arg("body", &AddItem::body, max_length(1'000))
      .arg("amount", &AddItem::amount)
      .run([](MutatorContext& ctx, const AddItem& args) -> Outcome {
        ctx.insert(items, {.id = args.id, .owner_id = ctx.actor().owner_id, .body = args.body, .amount = args.amount});
        return done();
      });
  d.rule("mine").parameter("ownerId", actor::owner_id).data(items, eq("owner_id", "ownerId"));
  return d;
}

}  // namespace nizhal::bench
