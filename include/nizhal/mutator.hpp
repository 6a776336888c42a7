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
  /// Sets the given columns of one row; false when there is no such row in reach.
  virtual bool update(const TableDef& table, const Value& key,
                      const std::vector<std::pair<std::size_t, Value>>& changes, Scope scope) = 0;
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
  /// Replaces the row that has this object's key; false when there is none in reach.
  template <class T>
  bool update(const Table<T>& table, const T& object) {
    const TableDef& def = table.def();
    if (def.key_index() == TableDef::npos) {
      backend_->fail_usage("update of " + def.name + ": the table has no key");
      return false;
    }
    const Row row = table.to_row(object);
    std::vector<std::pair<std::size_t, Value>> changes;
    for (std::size_t i = 0; i < row.size(); ++i)
      if (i != def.key_index()) changes.emplace_back(i, row[i]);
    return backend_->update(def, row[def.key_index()], changes, scope_);
  }
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

/// A mutator without its C++ argument type. `arguments` values come in declared order.
struct MutatorDef {
  using Values = std::vector<Value>;
  std::string name;
  int version = 1;  // of its arguments
  std::vector<ArgumentDef> arguments;
  std::function<Outcome(MutatorContext&, const Values&)> run;
  /// When set, it decides instead of the bucket check, with an unscoped context; an empty result allows.
  std::function<Outcome(MutatorContext&, const Values&)> authorize;
  /// The declared values of an `Args` object, and that type, for typed calls on the device.
  std::function<Values(const void* args)> values_of;
  const std::type_info* args_type = nullptr;
  bool declares_unscoped = false;  // it has `.authorize`
};

/// Returned by Domain::mutator; every call configures the registered mutator.
template <class Args>
class MutatorBuilder {
 public:
  explicit MutatorBuilder(std::shared_ptr<MutatorDef> def)
      : def_(std::move(def)),
        setters_(std::make_shared<std::vector<Setter>>()),
        getters_(std::make_shared<std::vector<Getter>>()) {
    def_->args_type = &typeid(Args);
    def_->values_of = [getters = getters_](const void* args) {
      MutatorDef::Values values;
      for (const Getter& getter : *getters) values.push_back(getter(*static_cast<const Args*>(args)));
      return values;
    };
  }

  template <class M, class... Constraints>
  MutatorBuilder& arg(std::string name, M Args::*member, const Constraints&... constraints) {
    using Traits = ValueTraits<M>;
    ArgumentDef argument;
    argument.name = std::move(name);
    argument.type = Traits::type;
    argument.is_optional = Traits::nullable;
    (Constraint(constraints)(argument), ...);
    def_->arguments.push_back(std::move(argument));
    setters_->push_back([member](Args& args, const Value& value) { Traits::from_value(value, args.*member); });
    getters_->push_back([member](const Args& args) { return Traits::to_value(args.*member); });
    return *this;
  }
  MutatorBuilder& version(int number) {
    def_->version = number;
    return *this;
  }
  /// Decides on the server whether this actor may do this at all; it replaces the bucket check, so both it and the
  /// mutator see all rows. `fn(ctx, args)` answers done() or reject(code, message).
  template <class Fn>
  MutatorBuilder& authorize(Fn fn) {
    def_->declares_unscoped = true;
    def_->authorize = [fn = std::move(fn), setters = setters_](MutatorContext& ctx, const MutatorDef::Values& values) {
      return Outcome(fn(ctx, static_cast<const Args&>(to_args(*setters, values))));
    };
    return *this;
  }
  template <class Fn>
  MutatorBuilder& run(Fn fn) {
    def_->run = [fn = std::move(fn), setters = setters_](MutatorContext& ctx, const MutatorDef::Values& values) {
      return Outcome(fn(ctx, static_cast<const Args&>(to_args(*setters, values))));
    };
    return *this;
  }

 private:
  using Setter = std::function<void(Args&, const Value&)>;
  using Getter = std::function<Value(const Args&)>;
  static Args to_args(const std::vector<Setter>& setters, const MutatorDef::Values& values) {
    Args args{};
    for (std::size_t i = 0; i < setters.size() && i < values.size(); ++i) setters[i](args, values[i]);
    return args;
  }
  std::shared_ptr<MutatorDef> def_;
  std::shared_ptr<std::vector<Setter>> setters_;
  std::shared_ptr<std::vector<Getter>> getters_;
};

}  // namespace nizhal
