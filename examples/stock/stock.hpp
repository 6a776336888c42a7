// The stock example: how much is left of what. Taking from it is a mutator that reads and writes, so what runs twice,
// or in another order than the server's, shows in the numbers.
#pragma once

#include <cstdint>
#include <string>

#include <nizhal/domain.hpp>

namespace stock {

struct Item {
  std::string id, owner_id, name;
  std::int64_t quantity = 0;
};

inline const auto items = nizhal::table<Item>("items")
                              .key("id", &Item::id)
                              .column("owner_id", &Item::owner_id)
                              .column("name", &Item::name)
                              .column("quantity", &Item::quantity);

struct AddItem {
  std::string id, name;
  std::int64_t quantity = 0;
};
struct Restock {
  std::string item_id;
  std::int64_t amount = 0;
};
struct Take {
  std::string item_id;
  std::int64_t amount = 0;
};

inline constexpr std::int64_t kAmountMax = 1'000'000;

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::eq, nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("stock", {.version = "1.0.0"});
  d.add(items);

  d.mutator<AddItem>("addItem")
      .arg("id", &AddItem::id, nizhal::new_id_of(items), nizhal::min_length(1), nizhal::max_length(128))
      .arg("name", &AddItem::name, nizhal::min_length(1), nizhal::max_length(200))
      .arg("quantity", &AddItem::quantity, nizhal::between(0, kAmountMax))
      .run([](MutatorContext& ctx, const AddItem& args) -> Outcome {
        if (ctx.get(items, args.id)) return reject("already_exists", "there is an item with this id");
        ctx.insert(items,
                   {.id = args.id, .owner_id = ctx.actor().owner_id, .name = args.name, .quantity = args.quantity});
        return done();
      });
  d.mutator<Restock>("restock")
      .arg("item_id", &Restock::item_id, nizhal::references(items))
      .arg("amount", &Restock::amount, nizhal::between(1, kAmountMax))
      .run([](MutatorContext& ctx, const Restock& args) -> Outcome {
        const auto item = ctx.get(items, args.item_id);
        if (!item) return reject("not_found", "no such item");
        ctx.update(items, args.item_id, {nizhal::set("quantity", item->quantity + args.amount)});
        return done();
      });
  d.mutator<Take>("take")
      .arg("item_id", &Take::item_id, nizhal::references(items))
      .arg("amount", &Take::amount, nizhal::between(1, kAmountMax))
      .run([](MutatorContext& ctx, const Take& args) -> Outcome {
        const auto item = ctx.get(items, args.item_id);
        if (!item) return reject("not_found", "no such item");
        if (item->quantity < args.amount) return reject("not_enough", "so much is not left");
        ctx.update(items, args.item_id, {nizhal::set("quantity", item->quantity - args.amount)});
        return done();
      });

  d.rule("myItems").parameter("ownerId", nizhal::actor::owner_id).data(items, eq("owner_id", "ownerId"));
  return d;
}

}  // namespace stock
