// The app of the brownfield example (docs/brownfield.md): to-dos that live in a backend of its own. There is no Nizhal
// server, so there are no sync rules; tables and mutators are all that the device needs.
#pragma once

#include <string>

#include <nizhal/domain.hpp>

namespace todos {

struct Todo {
  std::string id, title;
  bool done = false;
};
inline const auto todos = nizhal::table<Todo>("todos")
                              .key("id", &Todo::id)
                              .column("title", &Todo::title)
                              .column("done", &Todo::done, nizhal::default_value(false));

struct AddTodo {
  std::string id, title;
};
struct SetDone {
  std::string id;
  bool done = false;
};
struct DeleteTodo {
  std::string id;
};

inline nizhal::Domain domain() {
  using nizhal::done, nizhal::reject, nizhal::MutatorContext, nizhal::Outcome;
  nizhal::Domain d("todos", {.version = "1.0.0"});
  d.add(todos);
  d.mutator<AddTodo>("addTodo")
      .arg("id", &AddTodo::id, nizhal::new_id_of(todos))
      .arg("title", &AddTodo::title, nizhal::min_length(1))
      .run([](MutatorContext& ctx, const AddTodo& args) -> Outcome {
        ctx.insert(todos, {.id = args.id, .title = args.title});
        return done();
      });
  d.mutator<SetDone>("setDone")
      .arg("id", &SetDone::id, nizhal::references(todos))
      .arg("done", &SetDone::done)
      .run([](MutatorContext& ctx, const SetDone& args) -> Outcome {
        if (!ctx.update(todos, args.id, {nizhal::set("done", args.done)})) return reject("not_found", "no such to-do");
        return done();
      });
  d.mutator<DeleteTodo>("deleteTodo")
      .arg("id", &DeleteTodo::id, nizhal::references(todos))
      .run([](MutatorContext& ctx, const DeleteTodo& args) -> Outcome {
        if (!ctx.remove(todos, args.id)) return reject("not_found", "no such to-do");
        return done();
      });
  return d;
}

}  // namespace todos
