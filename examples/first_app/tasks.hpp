// The first app of docs/first-app.md: a list of tasks that all devices of one owner share.
#pragma once

#include <string>

#include <nizhal/domain.hpp>

namespace tasks {

struct Task {
  std::string id, owner_id, title;
  bool is_done = false;
};

inline const auto tasks = nizhal::table<Task>("tasks")
                              .key("id", &Task::id)
                              .column("owner_id", &Task::owner_id)
                              .column("title", &Task::title)
                              .column("is_done", &Task::is_done);

struct AddTask {
  std::string id, title;
};
struct CompleteTask {
  std::string id;
};

inline constexpr std::size_t kOpenMax = 3;  // more at once, and nothing gets done

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::eq, nizhal::from, nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("tasks", {.version = "1.0.0"});
  d.add(tasks);

  d.mutator<AddTask>("addTask")
      .arg("id", &AddTask::id, nizhal::new_id_of(tasks))
      .arg("title", &AddTask::title, nizhal::min_length(1), nizhal::max_length(200))
      .run([](MutatorContext& ctx, const AddTask& args) -> Outcome {
        // Only the server sees what the owner's other devices have added in the meantime.
        if (ctx.on_server() && ctx.find(from(tasks).where(eq("is_done", false))).size() >= kOpenMax)
          return reject("too_many_open", "finish something first");
        ctx.insert(tasks, {.id = args.id, .owner_id = ctx.actor().owner_id, .title = args.title});
        return done();
      });

  d.mutator<CompleteTask>("completeTask")
      .arg("id", &CompleteTask::id, nizhal::references(tasks))
      .run([](MutatorContext& ctx, const CompleteTask& args) -> Outcome {
        if (!ctx.update(tasks, args.id, {nizhal::set("is_done", true)})) return reject("not_found", "no such task");
        return done();
      });

  d.rule("myTasks").parameter("ownerId", nizhal::actor::owner_id).data(tasks, eq("owner_id", "ownerId"));
  return d;
}

}  // namespace tasks
