// Tables: declared once in C++, from which the device's and the server's DDL are derived.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nizhal/query.hpp>
#include <nizhal/value.hpp>

namespace nizhal {

/// How concurrent edits of one row merge; CRDT columns merge by themselves under either. A removed row stays removed.
enum class Merge {
  LastWrite,  // the edit that the server handles last, whole
  Field,      // per column, the edit with the higher hybrid logical clock; what loses is reported as a Conflict (S22)
};

struct ColumnDef {
  std::string name;
  ColumnType type = ColumnType::text;
  bool nullable = false;
  std::optional<Value> default_value;  // also the database's DEFAULT, for rows written by other programs
};

/// A table without its C++ row type.
struct TableDef {
  std::string name;
  std::vector<ColumnDef> columns;  // declared order = database order
  std::string key;                 // the primary key's column name; empty is a registration error
  Merge merge = Merge::LastWrite;
  bool append_only = false;  // rows are only ever inserted; a mutator that does else is refused

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
  bool has_crdt() const {
    for (const ColumnDef& column : columns)
      if (is_crdt(column.type)) return true;
    return false;
  }
  /// Position of a column, or npos.
  std::size_t index_of(std::string_view column) const {
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (columns[i].name == column) return i;
    return npos;
  }
  /// Only on a table that passed registration.
  std::size_t key_index() const { return index_of(key); }
  const ColumnDef& key_column() const { return columns[key_index()]; }
};

/// Options of a column: `.column("kind", &Entry::kind, default_value("credit"))`.
struct DefaultValue {
  Value value;
};
template <class T>
DefaultValue default_value(const T& value) {
  return DefaultValue{to_value(value)};
}

/// A table of rows of type T. A handle: copies share one definition.
template <class T>
class Table {
 public:
  explicit Table(std::string name) : state_(std::make_shared<State>()) { state_->def.name = std::move(name); }

  /// The primary key: one column of type text, uuid, integer or bigint.
  template <class M>
  Table&& key(std::string name, M T::*member) && {
    state_->def.key = name;
    add_column(std::move(name), member);
    return std::move(*this);
  }
  template <class M>
  Table&& column(std::string name, M T::*member) && {
    add_column(std::move(name), member);
    return std::move(*this);
  }
  template <class M>
  Table&& column(std::string name, M T::*member, DefaultValue value) && {
    add_column(std::move(name), member);
    state_->def.columns.back().default_value = std::move(value.value);
    return std::move(*this);
  }
  Table&& merge(Merge policy) && {
    state_->def.merge = policy;
    return std::move(*this);
  }
  /// Rows are facts: inserted, never changed. A ledger is made of these.
  Table&& append_only() && {
    state_->def.append_only = true;
    return std::move(*this);
  }

  const TableDef& def() const { return state_->def; }
  std::shared_ptr<const TableDef> shared_def() const { return {state_, &state_->def}; }

  Row to_row(const T& object) const {
    Row row;
    row.reserve(state_->accessors.size());
    for (const auto& accessor : state_->accessors) row.push_back(accessor.get(object));
    return row;
  }
  /// `row` must have this table's shape (rows from a store or a context do).
  T from_row(const Row& row) const {
    T object{};
    for (std::size_t i = 0; i < state_->accessors.size() && i < row.size(); ++i)
      state_->accessors[i].set(object, row[i]);
    return object;
  }

 private:
  struct Accessor {
    std::function<Value(const T&)> get;
    std::function<bool(T&, const Value&)> set;
  };
  struct State {
    TableDef def;
    std::vector<Accessor> accessors;
  };
  template <class M>
  void add_column(std::string name, M T::*member) {
    using Traits = ValueTraits<M>;
    std::optional<Value> initial;
    if (is_crdt(Traits::type)) initial = Traits::to_value(M{});
    state_->def.columns.push_back({std::move(name), Traits::type, Traits::nullable, std::move(initial)});
    state_->accessors.push_back(
        {[member](const T& object) { return Traits::to_value(object.*member); },
         [member](T& object, const Value& value) { return Traits::from_value(value, object.*member); }});
  }
  std::shared_ptr<State> state_;
};

template <class T>
Table<T> table(std::string name) {
  return Table<T>(std::move(name));
}

template <class T>
Query<T>::Query(const Table<T>& table) : table_(table) {
  this->spec_.table = &table_.def();
}

template <class T>
Query<T> from(const Table<T>& table) {
  return Query<T>(table);
}

}  // namespace nizhal
