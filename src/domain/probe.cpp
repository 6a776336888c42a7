// The dry run of mutators. The fact that must not break: whatever a mutator does with its context, the probe answers
// with something of the right shape, so that a lint never crashes where a server would not.
#include "domain/probe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "domain/arguments_codec.hpp"

namespace nizhal {
namespace {

enum class Rows { none, all, every_other };

// A loop "until nothing is found" would never end where everything is found; after so many questions in one run the
// answers turn round.
constexpr std::uint64_t kQuestionsBeforeTurn = 1'000;
constexpr std::size_t kTextBytesMax = 1 << 20;          // no real argument is longer: a request's body is limited
constexpr Timestamp kProbeTime{1'767'225'600'000'000};  // 2026-01-01
constexpr const char* kProbeUuid = "00000000-0000-4000-8000-000000000001";

Value probe_value(ColumnType type) {
  switch (type) {
    case ColumnType::text:
      return Value(std::string("probe"));
    case ColumnType::uuid:
      return Value(std::string(kProbeUuid));
    case ColumnType::integer:
    case ColumnType::bigint:
      return Value(std::int64_t{1});
    case ColumnType::real:
      return Value(1.0);
    case ColumnType::boolean:
      return Value(true);
    case ColumnType::numeric:
      return Value(std::string("1"));
    case ColumnType::timestamp:
      return Value(kProbeTime.microseconds);
    case ColumnType::date:
      return Value(std::string("2026-01-01"));
    case ColumnType::json:
      return Value(std::string("{}"));
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      return Value(Blob{});
  }
  return {};
}

/// `value` when a member of that type can read it, so that a made-up row never has a hole where a value must be.
bool fits(ColumnType type, const Value& value) { return value.index() == probe_value(type).index(); }

/// Makes the row one of those that are looked for, as far as that is simple.
void satisfy(const Predicate& predicate, const TableDef& table, Row& row) {
  const auto set = [&](const Value& value) {
    const std::size_t column = table.index_of(predicate.condition.column);
    if (column != TableDef::npos && fits(table.columns[column].type, value)) row[column] = value;
  };
  switch (predicate.kind) {
    case Predicate::Kind::condition: {
      const Condition& condition = predicate.condition;
      const std::size_t column = table.index_of(condition.column);
      if (condition.comparison == Comparison::eq) set(condition.operand);
      if (condition.comparison == Comparison::is_null && column != TableDef::npos && table.columns[column].nullable)
        row[column] = Value{};
      return;
    }
    case Predicate::Kind::in:
      if (!predicate.values.empty()) set(predicate.values.front());
      return;
    case Predicate::Kind::all:
      for (const Predicate& part : predicate.parts) satisfy(part, table, row);
      return;
    case Predicate::Kind::any:
      if (!predicate.parts.empty()) satisfy(predicate.parts.front(), table, row);
      return;
    case Predicate::Kind::like:
    case Predicate::Kind::negation:
      return;
  }
}

class ProbeBackend : public MutatorBackend {
 public:
  ProbeBackend(Rows rows, bool on_server) : rows_(rows), on_server_(on_server) {
    actor_.user_id = "probe";
    actor_.owner_id = "probe";
    actor_.claims = R"({"userId":"probe","ownerId":"probe"})";
  }

  bool is_unscoped() const { return is_unscoped_; }

  std::optional<Row> get(const TableDef& table, const Value& key, Scope) override {
    if (!finds()) return std::nullopt;
    return made_up_row(table, key);
  }
  std::vector<Row> find(const QuerySpec& query, Scope) override {
    if (!query.table || !finds() || query.limit == std::size_t{0} || query.offset > 0) return {};
    Row row = made_up_row(*query.table, Value{});
    for (const Condition& condition : query.conditions) satisfy(condition, *query.table, row);
    for (const Predicate& predicate : query.predicates) satisfy(predicate, *query.table, row);
    return {std::move(row)};
  }
  void insert(const TableDef&, const Row&, Scope) override { ++questions_; }
  void upsert(const TableDef&, const Row&, Scope) override { ++questions_; }
  bool update(const TableDef&, const Value&, const std::vector<std::pair<std::size_t, Value>>&, Scope) override {
    return finds();
  }
  bool remove(const TableDef&, const Value&, Scope) override { return finds(); }
  std::int64_t next_in_bucket(const TableDef&, std::string_view, std::string_view, const Value&, Scope) override {
    return static_cast<std::int64_t>(++numbers_);
  }
  Timestamp now() override { return kProbeTime; }
  std::string new_id() override { return fmt::format("00000000-0000-4000-8000-{:012x}", ++ids_); }
  const Actor& actor() const override { return actor_; }
  bool on_server() const override { return on_server_; }
  void mark_unscoped() override { is_unscoped_ = true; }
  void fail_usage(std::string) override {}

 private:
  bool finds() {
    const std::uint64_t question = questions_++;
    const bool has_turned = question / kQuestionsBeforeTurn % 2 == 1;
    switch (rows_) {
      case Rows::none:
        return has_turned;
      case Rows::all:
        return !has_turned;
      case Rows::every_other:
        return question % 2 == 0;
    }
    return false;
  }
  static Row made_up_row(const TableDef& table, const Value& key) {
    Row row;
    for (const ColumnDef& column : table.columns)
      row.push_back(column.name == table.key && fits(column.type, key) ? key : probe_value(column.type));
    return row;
  }

  Rows rows_;
  bool on_server_;
  Actor actor_;
  std::uint64_t questions_ = 0, numbers_ = 0, ids_ = 0;
  bool is_unscoped_ = false;
};

enum class Bound { lower, upper };
constexpr double kExactDoubleMax = 9'007'199'254'740'992.0;  // 2^53

std::string text_of_length(std::optional<std::size_t> minimum, std::optional<std::size_t> maximum) {
  std::string text = "probe";
  if (minimum && text.size() < *minimum) text.resize(std::min(*minimum, kTextBytesMax), 'x');
  if (maximum && text.size() > *maximum) text.resize(*maximum);
  return text;
}

/// A number within the bounds: the bound asked for, where there is one.
template <class Number>
Number number_between(std::optional<Number> minimum, std::optional<Number> maximum, Bound bound) {
  if (bound == Bound::upper && maximum) return *maximum;
  if (minimum) return *minimum;
  return maximum ? std::min(*maximum, Number{1}) : Number{1};
}

json::value shaped_value(const JsonShape& shape, Bound bound, bool with_optionals) {
  using Kind = JsonShape::Kind;
  switch (shape.kind) {
    case Kind::any:
      return json::object();
    case Kind::text: {
      if (!shape.one_of.empty())
        return json::string(bound == Bound::lower ? shape.one_of.front() : shape.one_of.back());
      return json::string(text_of_length(shape.min_size, shape.max_size));
    }
    case Kind::integer:
      return static_cast<std::int64_t>(
          std::clamp(number_between(shape.minimum, shape.maximum, bound), -kExactDoubleMax, kExactDoubleMax));
    case Kind::number:
      return number_between(shape.minimum, shape.maximum, bound);
    case Kind::boolean:
      return bound == Bound::upper;
    case Kind::object: {
      json::object object;
      for (const JsonShape::Member& member : shape.members)
        if (member.is_required || with_optionals)
          object[member.name] = shaped_value(member.shape, bound, with_optionals);
      return object;
    }
    case Kind::array: {
      std::size_t size = std::max<std::size_t>(shape.min_size.value_or(0), 1);
      size = std::min({size, shape.max_size.value_or(size), std::size_t{1'000}});
      json::array array;
      for (std::size_t i = 0; i < size; ++i)
        array.push_back(shape.items ? shaped_value(*shape.items, bound, with_optionals) : json::value(json::object()));
      return array;
    }
  }
  return nullptr;
}

Value argument_value(const ArgumentDef& argument, Bound bound, bool with_optionals) {
  if (argument.is_optional && !with_optionals) return {};
  if (argument.shape) return Value(to_text(shaped_value(*argument.shape, bound, with_optionals)));
  switch (argument.type) {
    case ColumnType::integer:
    case ColumnType::bigint:
      return Value(number_between(argument.minimum, argument.maximum, bound));
    case ColumnType::real:
      return Value(number_between(argument.real_minimum, argument.real_maximum, bound));
    case ColumnType::boolean:
      return Value(bound == Bound::upper);
    case ColumnType::text:
      if (!argument.one_of.empty())
        return Value(bound == Bound::lower ? argument.one_of.front() : argument.one_of.back());
      return Value(text_of_length(argument.min_length, argument.max_length));
    default:
      return probe_value(argument.type);
  }
}

}  // namespace

bool probe_finds_unscoped(const MutatorDef& mutator) {
  for (const Rows rows : {Rows::all, Rows::none, Rows::every_other}) {
    for (const bool on_server : {true, false}) {
      for (const Bound bound : {Bound::lower, Bound::upper}) {
        for (const bool with_optionals : {true, false}) {
          MutatorDef::Values values;
          for (const ArgumentDef& argument : mutator.arguments)
            values.push_back(argument_value(argument, bound, with_optionals));
          ProbeBackend backend(rows, on_server);
          MutatorContext context(backend);
          call_mutator(mutator, context, values, nullptr);
          if (backend.is_unscoped()) return true;
        }
      }
    }
  }
  return false;
}

}  // namespace nizhal
