// The shop after an upgrade: a task has a priority, which adding one must say, and there are labels.
#include <cstdint>
#include <optional>
#include <string>

#include <nizhal/domain.hpp>

namespace shop {

struct Task {
  std::string id, owner_id, title;
  std::int64_t priority = 0;
};
struct Label {
  std::string id, owner_id, text;
};
inline const auto tasks = nizhal::table<Task>("tasks")
                              .key("id", &Task::id)
                              .column("owner_id", &Task::owner_id)
                              .column("title", &Task::title)
                              .column("priority", &Task::priority, nizhal::default_value(std::int64_t{3}));
inline const auto labels = nizhal::table<Label>("labels")
                               .key("id", &Label::id)
                               .column("owner_id", &Label::owner_id)
                               .column("text", &Label::text);

struct AddTaskOfVersion1 {
  std::string id, title;
};
struct AddTask {
  std::string id, title;
  std::int64_t priority = 0;
};
struct SetPriority {
  std::string id;
  std::int64_t priority = 0;
};
struct AddLabel {
  std::string id, text;
};

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("shop", {.version = "2.0.0"});
  d.add(tasks).add(labels);
  d.mutator<AddTask>("addTask")
      .version(2)
      .upcast(1,
              nizhal::arguments<AddTaskOfVersion1>()
                  .arg("id", &AddTaskOfVersion1::id)
                  .arg("title", &AddTaskOfVersion1::title),
              [](const AddTaskOfVersion1& old) -> std::optional<AddTask> {
                if (old.title == "no priority fits this") return std::nullopt;
                return AddTask{.id = old.id, .title = old.title, .priority = 1};
              })
      .arg("id", &AddTask::id, nizhal::new_id_of(tasks))
      .arg("title", &AddTask::title)
      .arg("priority", &AddTask::priority, nizhal::between(1, 9))
      .run([](MutatorContext& ctx, const AddTask& args) -> Outcome {
        ctx.insert(tasks,
                   {.id = args.id, .owner_id = ctx.actor().owner_id, .title = args.title, .priority = args.priority});
        return done();
      });
  d.mutator<SetPriority>("setPriority")
      .arg("id", &SetPriority::id, nizhal::references(tasks))
      .arg("priority", &SetPriority::priority, nizhal::between(1, 9))
      .run([](MutatorContext& ctx, const SetPriority& args) -> Outcome {
        if (!ctx.update(tasks, args.id, {nizhal::set("priority", args.priority)}))
          return reject("not_found", "no such task");
        return done();
      });
  d.mutator<AddLabel>("addLabel")
      .arg("id", &AddLabel::id, nizhal::new_id_of(labels))
      .arg("text", &AddLabel::text)
      .run([](MutatorContext& ctx, const AddLabel& args) -> Outcome {
        ctx.insert(labels, {.id = args.id, .owner_id = ctx.actor().owner_id, .text = args.text});
        return done();
      });
  d.rule("mine")
      .parameter("ownerId", nizhal::actor::owner_id)
      .data(tasks, nizhal::eq("owner_id", "ownerId"))
      .data(labels, nizhal::eq("owner_id", "ownerId"));
  return d;
}

}  // namespace shop

NIZHAL_DOMAIN(shop::domain)
