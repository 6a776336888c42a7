// The ledger example: shops, their customers, and an append-only ledger of credits and payments. A balance is never
// stored; it is the sum of a customer's entries.
#pragma once

#include <cstdint>
#include <string>

#include <nizhal/domain.hpp>

namespace ledger {

struct Shop {
  std::string id, name;
};
struct ShopMember {
  std::string id, user_id, shop_id;
};
struct Customer {
  std::string id, shop_id, name;
};
/// `amount` in minor units (cents): positive for a credit (the customer owes more), negative for a payment.
struct Entry {
  std::string id, shop_id, customer_id, kind;
  std::int64_t amount = 0;
  nizhal::Timestamp created_at;
};
struct Reminder {
  std::string id, shop_id, customer_id;
  nizhal::Timestamp due_at;
  std::string text;
};

inline const auto shops = nizhal::table<Shop>("shops").key("id", &Shop::id).column("name", &Shop::name);
inline const auto shop_members = nizhal::table<ShopMember>("shop_members")
                                     .key("id", &ShopMember::id)
                                     .column("user_id", &ShopMember::user_id)
                                     .column("shop_id", &ShopMember::shop_id);
inline const auto customers = nizhal::table<Customer>("customers")
                                  .key("id", &Customer::id)
                                  .column("shop_id", &Customer::shop_id)
                                  .column("name", &Customer::name);
inline const auto entries = nizhal::table<Entry>("ledger_entries")
                                .key("id", &Entry::id)
                                .column("shop_id", &Entry::shop_id)
                                .column("customer_id", &Entry::customer_id)
                                .column("kind", &Entry::kind)
                                .column("amount", &Entry::amount)
                                .column("created_at", &Entry::created_at)
                                .append_only();
inline const auto reminders = nizhal::table<Reminder>("reminders")
                                  .key("id", &Reminder::id)
                                  .column("shop_id", &Reminder::shop_id)
                                  .column("customer_id", &Reminder::customer_id)
                                  .column("due_at", &Reminder::due_at)
                                  .column("text", &Reminder::text);

struct CreateShop {
  std::string id, name;
};
struct AddShopMember {
  std::string id, user_id, shop_id;
};
struct AddCustomer {
  std::string id, shop_id, name;
};
struct RenameCustomer {
  std::string id, name;
};
struct RecordCredit {
  std::string id, customer_id;
  std::int64_t amount = 0;
};
struct RecordPayment {
  std::string id, customer_id;
  std::int64_t amount = 0;
};
struct AddReminder {
  std::string id, customer_id;
  nizhal::Timestamp due_at;
  std::string text;
};

inline constexpr std::int64_t kAmountMax = 1'000'000'000'000;  // minor units; keeps every sum far from overflow

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::eq, nizhal::from, nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("ledger", {.version = "1.0.0"});
  d.add(shops).add(shop_members).add(customers).add(entries).add(reminders);

  // A new shop is in nobody's buckets yet, so this says itself who may: anyone, as long as the shop is new.
  d.mutator<CreateShop>("createShop")
      .arg("id", &CreateShop::id, nizhal::new_id_of(shops), nizhal::min_length(1), nizhal::max_length(128))
      .arg("name", &CreateShop::name, nizhal::min_length(1), nizhal::max_length(200))
      .authorize([](MutatorContext& ctx, const CreateShop& args) -> Outcome {
        if (ctx.get(shops, args.id)) return reject("already_exists", "there is a shop with this id");
        if (!ctx.find(from(shop_members).where(eq("shop_id", args.id)).limit(1)).empty())
          return reject("already_exists", "there is a shop with this id");
        return done();
      })
      .run([](MutatorContext& ctx, const CreateShop& args) -> Outcome {
        ctx.insert(shops, {.id = args.id, .name = args.name});
        ctx.insert(shop_members, {.id = ctx.new_id(), .user_id = ctx.actor().user_id, .shop_id = args.id});
        return done();
      });
  d.mutator<AddShopMember>("addShopMember")
      .arg("id", &AddShopMember::id, nizhal::new_id_of(shop_members), nizhal::min_length(1), nizhal::max_length(128))
      .arg("user_id", &AddShopMember::user_id, nizhal::min_length(1), nizhal::max_length(128))
      .arg("shop_id", &AddShopMember::shop_id, nizhal::references(shops))
      .run([](MutatorContext& ctx, const AddShopMember& args) -> Outcome {
        ctx.insert(shop_members, {.id = args.id, .user_id = args.user_id, .shop_id = args.shop_id});
        return done();
      });
  d.mutator<AddCustomer>("addCustomer")
      .arg("id", &AddCustomer::id, nizhal::new_id_of(customers), nizhal::min_length(1), nizhal::max_length(128))
      .arg("shop_id", &AddCustomer::shop_id, nizhal::references(shops))
      .arg("name", &AddCustomer::name, nizhal::min_length(1), nizhal::max_length(200))
      .run([](MutatorContext& ctx, const AddCustomer& args) -> Outcome {
        ctx.insert(customers, {.id = args.id, .shop_id = args.shop_id, .name = args.name});
        return done();
      });
  d.mutator<RenameCustomer>("renameCustomer")
      .arg("id", &RenameCustomer::id, nizhal::references(customers))
      .arg("name", &RenameCustomer::name, nizhal::min_length(1), nizhal::max_length(200))
      .run([](MutatorContext& ctx, const RenameCustomer& args) -> Outcome {
        if (!ctx.update(customers, args.id, {nizhal::set("name", args.name)}))
          return reject("unknown_customer", "no such customer in your shops");
        return done();
      });
  d.mutator<RecordCredit>("recordCredit")
      .arg("id", &RecordCredit::id, nizhal::new_id_of(entries), nizhal::min_length(1), nizhal::max_length(128))
      .arg("customer_id", &RecordCredit::customer_id, nizhal::references(customers))
      .arg("amount", &RecordCredit::amount, nizhal::between(1, kAmountMax))
      .run([](MutatorContext& ctx, const RecordCredit& args) -> Outcome {
        const auto customer = ctx.get(customers, args.customer_id);
        if (!customer) return reject("unknown_customer", "no such customer in your shops");
        ctx.insert(entries, {.id = args.id,
                             .shop_id = customer->shop_id,
                             .customer_id = customer->id,
                             .kind = "credit",
                             .amount = args.amount,
                             .created_at = ctx.now()});
        return done();
      });
  d.mutator<RecordPayment>("recordPayment")
      .arg("id", &RecordPayment::id, nizhal::new_id_of(entries), nizhal::min_length(1), nizhal::max_length(128))
      .arg("customer_id", &RecordPayment::customer_id, nizhal::references(customers))
      .arg("amount", &RecordPayment::amount, nizhal::between(1, kAmountMax))
      .run([](MutatorContext& ctx, const RecordPayment& args) -> Outcome {
        const auto customer = ctx.get(customers, args.customer_id);
        if (!customer) return reject("unknown_customer", "no such customer in your shops");
        // Only the server sees every device's entries, so only it can say what the balance is.
        if (ctx.on_server()) {
          std::int64_t balance = 0;
          for (const Entry& entry : ctx.find(from(entries).where(eq("customer_id", customer->id))))
            balance += entry.amount;
          if (args.amount > balance) return reject("overpayment", "the payment is above the customer's balance");
        }
        ctx.insert(entries, {.id = args.id,
                             .shop_id = customer->shop_id,
                             .customer_id = customer->id,
                             .kind = "payment",
                             .amount = -args.amount,
                             .created_at = ctx.now()});
        return done();
      });
  d.mutator<AddReminder>("addReminder")
      .arg("id", &AddReminder::id, nizhal::new_id_of(reminders), nizhal::min_length(1), nizhal::max_length(128))
      .arg("customer_id", &AddReminder::customer_id, nizhal::references(customers))
      .arg("due_at", &AddReminder::due_at)
      .arg("text", &AddReminder::text, nizhal::max_length(1'000))
      .run([](MutatorContext& ctx, const AddReminder& args) -> Outcome {
        const auto customer = ctx.get(customers, args.customer_id);
        if (!customer) return reject("unknown_customer", "no such customer in your shops");
        ctx.insert(reminders, {.id = args.id,
                               .shop_id = customer->shop_id,
                               .customer_id = customer->id,
                               .due_at = args.due_at,
                               .text = args.text});
        return done();
      });

  d.rule("myShops")
      .membership(shop_members, nizhal::where("user_id", nizhal::actor::user_id), nizhal::bucket("shopId", "shop_id"))
      .data(shops, eq("id", "shopId"))
      .data(shop_members, eq("shop_id", "shopId"))
      .data(customers, eq("shop_id", "shopId"))
      .data(entries, eq("shop_id", "shopId"))
      .data(reminders, eq("shop_id", "shopId"));
  return d;
}

}  // namespace ledger
