// A shop's first version, for tests of upgrades: tasks with a title.
#include <string>

#include <nizhal/domain.hpp>

namespace shop {

struct Task {
  std::string id, owner_id, title;
};
inline const auto tasks =
    nizhal::table<Task>("tasks").key("id", &Task::id).column("owner_id", &Task::owner_id).column("title", &Task::title);

struct AddTask {
  std::string id, title;
};

inline nizhal::Domain domain() {
  using nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("shop", {.version = "1.0.0"});
  d.add(tasks);
  d.mutator<AddTask>("addTask")
      .arg("id", &AddTask::id, nizhal::new_id_of(tasks))
      .arg("title", &AddTask::title)
      .run([](MutatorContext& ctx, const AddTask& args) -> Outcome {
        ctx.insert(tasks, {.id = args.id, .owner_id = ctx.actor().owner_id, .title = args.title});
        return nizhal::done();
      });
  d.rule("mine").parameter("ownerId", nizhal::actor::owner_id).data(tasks, nizhal::eq("owner_id", "ownerId"));
  return d;
}

}  // namespace shop

NIZHAL_DOMAIN(shop::domain)
