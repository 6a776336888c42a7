// The shop after an upgrade that no row of tasks survives: a priority is a word. What is done to a task depends on the
// task.
#include <cstdint>
#include <string>
#include <vector>

#include <nizhal/domain.hpp>

namespace shop {

struct Task {
  std::string id, owner_id, title, priority;
};
inline const auto tasks = nizhal::table<Task>("tasks")
                              .key("id", &Task::id)
                              .column("owner_id", &Task::owner_id)
                              .column("title", &Task::title)
                              .column("priority", &Task::priority);

struct AddTaskOfVersion2 {
  std::string id, title;
  std::int64_t priority = 0;
};
struct AddTask {
  std::string id, title, priority;
};
struct SetPriority {
  std::string id, priority;
};

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("shop", {.version = "3.0.0"});
  d.add(tasks);
  d.mutator<AddTask>("addTask")
      .version(3)
      .upcast(2,
              nizhal::arguments<AddTaskOfVersion2>()
                  .arg("id", &AddTaskOfVersion2::id)
                  .arg("title", &AddTaskOfVersion2::title)
                  .arg("priority", &AddTaskOfVersion2::priority),
              [](const AddTaskOfVersion2& old) {
                return AddTask{.id = old.id, .title = old.title, .priority = old.priority > 5 ? "high" : "low"};
              })
      .arg("id", &AddTask::id, nizhal::new_id_of(tasks))
      .arg("title", &AddTask::title)
      .arg("priority", &AddTask::priority)
      .dependency_key([](const AddTask& args) { return "task:" + args.id; })
      .run([](MutatorContext& ctx, const AddTask& args) -> Outcome {
        ctx.insert(tasks,
                   {.id = args.id, .owner_id = ctx.actor().owner_id, .title = args.title, .priority = args.priority});
        return done();
      });
  d.mutator<SetPriority>("setPriority")
      .version(2)
      .arg("id", &SetPriority::id, nizhal::references(tasks))
      .arg("priority", &SetPriority::priority)
      .depends_on([](const SetPriority& args) { return std::vector<std::string>{"task:" + args.id}; })
      .run([](MutatorContext& ctx, const SetPriority& args) -> Outcome {
        if (!ctx.update(tasks, args.id, {nizhal::set("priority", args.priority)}))
          return reject("not_found", "no such task");
        return done();
      });
  d.rule("mine").parameter("ownerId", nizhal::actor::owner_id).data(tasks, nizhal::eq("owner_id", "ownerId"));
  return d;
}

}  // namespace shop

NIZHAL_DOMAIN(shop::domain)
