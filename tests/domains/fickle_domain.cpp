// A domain whose mutator does what the environment says (NIZHAL_FICKLE): it behaves; counts what the process did
// before; draws from the operating system; or ends the process. `nizhal sim` is to find each out.
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include <nizhal/domain.hpp>

namespace {

using nizhal::new_id_of;
using nizhal::references;
using nizhal::set;

struct Item {
  std::string id, owner_id, text;
};
const auto items =
    nizhal::table<Item>("items").key("id", &Item::id).column("owner_id", &Item::owner_id).column("text", &Item::text);

struct AddItem {
  std::string id, text;
};
struct RenameItem {
  std::string id, text;
};

std::string changed(std::string text) {
  const char* variable = std::getenv("NIZHAL_FICKLE");
  const std::string_view how = variable ? variable : "";
  static int calls = 0;
  ++calls;
  if (how == "counts") return text + " " + std::to_string(calls);
  if (how == "draws") return text + std::string(std::random_device()() % 7, '!');
  if (how == "ends" && calls > 60) std::abort();
  return text;
}

nizhal::Domain domain() {
  nizhal::Domain d("fickle", {.version = "1.0.0"});
  d.add(items);
  d.mutator<AddItem>("addItem")
      .arg("id", &AddItem::id, new_id_of(items))
      .arg("text", &AddItem::text)
      .run([](nizhal::MutatorContext& ctx, const AddItem& args) -> nizhal::Outcome {
        if (ctx.get(items, args.id)) return nizhal::reject("taken", "there is such an item");
        ctx.insert(items, {.id = args.id, .owner_id = ctx.actor().owner_id, .text = changed(args.text)});
        return nizhal::done();
      });
  d.mutator<RenameItem>("renameItem")
      .arg("id", &RenameItem::id, references(items))
      .arg("text", &RenameItem::text)
      .run([](nizhal::MutatorContext& ctx, const RenameItem& args) -> nizhal::Outcome {
        if (!ctx.update(items, args.id, {set("text", args.text)})) return nizhal::reject("not_found", "no such item");
        return nizhal::done();
      });
  d.rule("mine")
      .prefix("own:")
      .parameter("owner", nizhal::actor::owner_id)
      .data(items, nizhal::eq("owner_id", "owner"));
  return d;
}

}  // namespace

NIZHAL_DOMAIN(domain)
