// Mutators: every user action is one. It runs optimistically on the device and authoritatively on the
// server, inside one transaction each time, with the same ids and the same time (S7).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include <nizhal/actor.hpp>
#include <nizhal/arguments.hpp>
#include <nizhal/outcome.hpp>
#include <nizhal/query.hpp>
#include <nizhal/table.hpp>

namespace nizhal {

/// What stands behind a MutatorContext: the device's or the server's transaction. Every call may fail the
/// context (lost connection, full disk): it then answers with nothing, further calls do nothing, and the
/// engine ignores what the mutator returns. An implementation never throws.
class MutatorBackend {
 public:
  virtual ~MutatorBackend() = default;
  enum class Scope { actor, unscoped };
  virtual std::optional<Row> get(const TableDef& table, const Value& key, Scope scope) = 0;
  virtual std::vector<Row> find(const QuerySpec& query, Scope scope) = 0;
  /// Refuses the mutation (`already_exists`) when the key is taken.
  virtual void insert(const TableDef& table, const Row& row, Scope scope) = 0;
  virtual void upsert(const TableDef& table, const Row& row, Scope scope) = 0;
  /// Sets the given columns of one row; false when there is no such row in reach. What is given counts as edited, also
  /// where it is equal (Merge::Field).
  virtual bool update(const TableDef& table, const Value& key,
                      const std::vector<std::pair<std::size_t, Value>>& changes, Scope scope) = 0;
  /// Sets the columns in which the row with this row's key differs from it; false when there is none in reach.
  virtual bool replace(const TableDef& table, const Row& row, Scope scope) {
    std::vector<std::pair<std::size_t, Value>> changes;
    for (std::size_t i = 0; i < row.size(); ++i)
      if (i != table.key_index()) changes.emplace_back(i, row[i]);
    return update(table, row[table.key_index()], changes, scope);
  }
  virtual bool remove(const TableDef& table, const Value& key, Scope scope) = 0;
  virtual std::int64_t next_in_bucket(const TableDef& table, std::string_view number_column,
                                      std::string_view bucket_column, const Value& bucket, Scope scope) = 0;
  virtual Timestamp now() = 0;
  virtual std::string new_id() = 0;
  virtual const Actor& actor() const = 0;
  virtual bool on_server() const = 0;
  /// Called once when the mutator first asks for unscoped access, for the audit.
  virtual void mark_unscoped() = 0;
  /// The mutator used a table or column wrongly: refuses the mutation with `internal`, naming the place.
  virtual void fail_usage(std::string message) = 0;
};

/// One column set by `update`: `ctx.update(notes, id, {set("body", text)})`.
struct Assignment {
  std::string column;
  Value value;
};
template <class T>
Assignment set(std::string column, const T& value) {
  return Assignment{std::move(column), to_value(value)};
}

/// The only door from a mutator to data. On the server it reaches only rows in the actor's buckets (S21);
/// what must go beyond goes through `unscoped()`. Not thread-safe; valid only during the call.
class MutatorContext {
 public:
  explicit MutatorContext(MutatorBackend& backend, MutatorBackend::Scope scope = MutatorBackend::Scope::actor)
      : backend_(&backend), scope_(scope) {}

  template <class T, class K>
  std::optional<T> get(const Table<T>& table, const K& key) {
    auto row = backend_->get(table.def(), to_value(key), scope_);
    if (!row) return std::nullopt;
    return table.from_row(*row);
  }
  template <class T>
  std::vector<T> find(const Query<T>& query) {
    std::vector<T> objects;
    for (const Row& row : backend_->find(query.spec(), scope_)) objects.push_back(query.table().from_row(row));
    return objects;
  }
  template <class T>
  void insert(const Table<T>& table, const T& object) {
    backend_->insert(table.def(), table.to_row(object), scope_);
  }
  template <class T>
  void upsert(const Table<T>& table, const T& object) {
    backend_->upsert(table.def(), table.to_row(object), scope_);
  }
  /// Replaces the row that has this object's key; false when there is none in reach. Only columns that differ from the
  /// row count as edited (Merge::Field).
  template <class T>
  bool update(const Table<T>& table, const T& object) {
    const TableDef& def = table.def();
    if (def.key_index() == TableDef::npos) {
      backend_->fail_usage("update of " + def.name + ": the table has no key");
      return false;
    }
    return backend_->replace(def, table.to_row(object), scope_);
  }
  /// Sets some columns: `ctx.update(notes, id, {set("title", text)})`. Into a CRDT column an update is merged:
  /// `set("body", CrdtText{update})`.
  template <class T, class K>
  bool update(const Table<T>& table, const K& key, const std::vector<Assignment>& assignments) {
    std::vector<std::pair<std::size_t, Value>> changes;
    for (const Assignment& assignment : assignments) {
      const std::size_t column = table.def().index_of(assignment.column);
      if (column == TableDef::npos || assignment.column == table.def().key) {
        backend_->fail_usage("update of " + table.def().name + ": \"" + assignment.column +
                             "\" is not a column that can be set");
        return false;
      }
      changes.emplace_back(column, assignment.value);
    }
    return backend_->update(table.def(), to_value(key), changes, scope_);
  }
  template <class T, class K>
  bool remove(const Table<T>& table, const K& key) {
    return backend_->remove(table.def(), to_value(key), scope_);
  }
  /// The next number within a group of rows, e.g. invoice numbers of a shop. Provisional on a device; the
  /// server's is final, and rows written with it reach the device by pull. Never given twice, even when the
  /// row that had it is gone.
  template <class T, class B>
  std::int64_t next_in_bucket(const Table<T>& table, std::string_view number_column, std::string_view bucket_column,
                              const B& bucket) {
    return backend_->next_in_bucket(table.def(), number_column, bucket_column, to_value(bucket), scope_);
  }

  /// The mutation's time: when the user acted, the same on both sides.
  Timestamp now() { return backend_->now(); }
  /// A new UUID, the same on both sides (the n-th call of a mutation gives the same id each time it runs).
  std::string new_id() { return backend_->new_id(); }
  const Actor& actor() const { return backend_->actor(); }
  /// True in the authoritative run. For invariants that only the server can know.
  bool on_server() const { return backend_->on_server(); }
  /// A context that is not limited to the actor's buckets. Listed by `nizhal lint`, marked in the audit.
  MutatorContext unscoped() {
    backend_->mark_unscoped();
    return MutatorContext(*backend_, MutatorBackend::Scope::unscoped);
  }

 private:
  MutatorBackend* backend_;
  MutatorBackend::Scope scope_;
};

/// A call of a mutator as a value: what undoes a mutation is one.
struct MutationCall {
  std::string name;
  std::shared_ptr<const void> args;
  const std::type_info* args_type = nullptr;
};
template <class Args>
MutationCall call(std::string name, Args args) {
  return MutationCall{std::move(name), std::make_shared<const Args>(std::move(args)), &typeid(Args)};
}

/// Turns arguments of an older version, kept in an outbox since before an app upgrade or sent by an older app, into
/// those of today. Nothing: there is no way to say it today; the mutation is refused.
struct UpcasterDef {
  int from_version = 0;
  std::vector<ArgumentDef> arguments;  // of that version
  std::function<std::optional<std::vector<Value>>(const std::vector<Value>&)> convert;
};

/// A mutator without its C++ argument type. `arguments` values come in declared order.
struct MutatorDef {
  using Values = std::vector<Value>;
  std::string name;
  int version = 1;  // of its arguments
  std::vector<UpcasterDef> upcasters;
  /// On the device, before the run, with what queries see: the call that takes this one back (Store::undo).
  std::function<std::optional<MutationCall>(MutatorContext&, const Values&)> inverse;
  /// Names this mutation for those that depend on it; empty: it has no name.
  std::function<std::string(const Values&)> dependency_key;
  /// Keys of the mutations that this one depends on: it is refused with them (S5).
  std::function<std::vector<std::string>(const Values&)> depends_on;
  std::vector<ArgumentDef> arguments;
  std::function<Outcome(MutatorContext&, const Values&)> run;
  /// When set, it decides instead of the bucket check, with an unscoped context; an empty result allows.
  std::function<Outcome(MutatorContext&, const Values&)> authorize;
  /// The declared values of an `Args` object, and that type, for typed calls on the device.
  std::function<Values(const void* args)> values_of;
  const std::type_info* args_type = nullptr;
  bool declares_unscoped = false;  // it has `.authorize`
};

/// The arguments of a mutator as members of a struct: `arguments<AddNoteV1>().arg("id", &AddNoteV1::id)`.
template <class Args>
class Arguments {
 public:
  template <class M, class... Constraints>
  Arguments& arg(std::string name, M Args::*member, const Constraints&... constraints) & {
    using Traits = ValueTraits<M>;
    ArgumentDef argument;
    argument.name = std::move(name);
    argument.type = Traits::type;
    argument.is_optional = Traits::nullable;
    (Constraint(constraints)(argument), ...);
    state_->defs.push_back(std::move(argument));
    state_->setters.push_back([member](Args& args, const Value& value) { Traits::from_value(value, args.*member); });
    state_->getters.push_back([member](const Args& args) { return Traits::to_value(args.*member); });
    return *this;
  }
  template <class M, class... Constraints>
  Arguments&& arg(std::string name, M Args::*member, const Constraints&... constraints) && {
    return std::move(arg(std::move(name), member, constraints...));
  }
  const std::vector<ArgumentDef>& defs() const { return state_->defs; }
  Args from_values(const std::vector<Value>& values) const {
    Args args{};
    for (std::size_t i = 0; i < state_->setters.size() && i < values.size(); ++i) state_->setters[i](args, values[i]);
    return args;
  }
  std::vector<Value> to_values(const Args& args) const {
    std::vector<Value> values;
    values.reserve(state_->getters.size());
    for (const auto& getter : state_->getters) values.push_back(getter(args));
    return values;
  }

 private:
  struct State {
    std::vector<ArgumentDef> defs;
    std::vector<std::function<void(Args&, const Value&)>> setters;
    std::vector<std::function<Value(const Args&)>> getters;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();  // copies share the declarations
};
template <class Args>
Arguments<Args> arguments() {
  return {};
}

/// Returned by Domain::mutator; every call configures the registered mutator.
template <class Args>
class MutatorBuilder {
 public:
  explicit MutatorBuilder(std::shared_ptr<MutatorDef> def) : def_(std::move(def)) {
    def_->args_type = &typeid(Args);
    def_->values_of = [all = arguments_](const void* args) { return all.to_values(*static_cast<const Args*>(args)); };
  }

  template <class M, class... Constraints>
  MutatorBuilder& arg(std::string name, M Args::*member, const Constraints&... constraints) {
    arguments_.arg(std::move(name), member, constraints...);
    def_->arguments = arguments_.defs();
    return *this;
  }
  /// Of the arguments. Raise it when they change so that older ones no longer fit, and add an upcaster.
  MutatorBuilder& version(int number) {
    def_->version = number;
    return *this;
  }
  /// `convert(const Old&)` answers `Args` or `std::optional<Args>` (nothing: cannot be said today). Pending mutations
  /// survive an app upgrade by it, and a server takes what an older app sends.
  template <class Old, class Fn>
  MutatorBuilder& upcast(int from_version, const Arguments<Old>& old, Fn convert) {
    def_->upcasters.push_back({from_version, old.defs(),
                               [old, convert = std::move(convert), now = arguments_](
                                   const std::vector<Value>& values) -> std::optional<std::vector<Value>> {
                                 const std::optional<Args> args = convert(old.from_values(values));
                                 if (!args) return std::nullopt;
                                 return now.to_values(*args);
                               }});
    return *this;
  }
  /// Decides on the server whether this actor may do this at all; it replaces the bucket check, so both it and the
  /// mutator see all rows. `fn(ctx, args)` answers done() or reject(code, message).
  template <class Fn>
  MutatorBuilder& authorize(Fn fn) {
    def_->declares_unscoped = true;
    def_->authorize = with_args(std::move(fn));
    return *this;
  }
  /// `fn(ctx, args)` answers the `call(…)` that takes this one back, or std::nullopt when nothing can. It runs on the
  /// device before the mutator and may only read: what it needs of the old rows goes into the arguments of the call.
  template <class Fn>
  MutatorBuilder& inverse(Fn fn) {
    def_->inverse = [fn = std::move(fn), all = arguments_](MutatorContext& ctx, const MutatorDef::Values& values) {
      return std::optional<MutationCall>(fn(ctx, static_cast<const Args&>(all.from_values(values))));
    };
    return *this;
  }
  /// `fn(args)` answers the text by which later mutations may depend on this one.
  template <class Fn>
  MutatorBuilder& dependency_key(Fn fn) {
    def_->dependency_key = [fn = std::move(fn), all = arguments_](const MutatorDef::Values& values) {
      return std::string(fn(static_cast<const Args&>(all.from_values(values))));
    };
    return *this;
  }
  /// `fn(args)` answers the dependency keys of the pending mutations without which this one makes no sense.
  template <class Fn>
  MutatorBuilder& depends_on(Fn fn) {
    def_->depends_on = [fn = std::move(fn), all = arguments_](const MutatorDef::Values& values) {
      return std::vector<std::string>(fn(static_cast<const Args&>(all.from_values(values))));
    };
    return *this;
  }
  template <class Fn>
  MutatorBuilder& run(Fn fn) {
    def_->run = with_args(std::move(fn));
    return *this;
  }

 private:
  template <class Fn>
  auto with_args(Fn fn) const {
    return [fn = std::move(fn), all = arguments_](MutatorContext& ctx, const MutatorDef::Values& values) {
      return Outcome(fn(ctx, static_cast<const Args&>(all.from_values(values))));
    };
  }
  std::shared_ptr<MutatorDef> def_;
  Arguments<Args> arguments_;
};

}  // namespace nizhal
