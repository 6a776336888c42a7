// Folds of groups.
#include "query/fold.hpp"

#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/decimal.hpp"

namespace nizhal {

Fold::Fold(FoldSpec::Kind kind, ColumnType type) : kind_(kind), type_(type) {
  switch (kind) {
    case FoldSpec::Kind::count:
      break;
    case FoldSpec::Kind::sum:
    case FoldSpec::Kind::average:
      if (type == ColumnType::real) {
        state_.emplace<RealSum>();
      } else if (type == ColumnType::numeric) {
        state_.emplace<std::string>("0");
      } else {
        state_.emplace<Wide>(0);
      }
      break;
    case FoldSpec::Kind::min:
    case FoldSpec::Kind::max:
      state_.emplace<Sorted>(Less{type});
      break;
  }
}

void Fold::add(const Value& value) { add(value, +1); }
void Fold::remove(const Value& value) { add(value, -1); }

void Fold::add(const Value& value, int sign) {
  if (is_null(value)) return;
  count_ += sign;
  if (auto* sorted = std::get_if<Sorted>(&state_)) {
    if (sign > 0) {
      ++(*sorted)[group_value(type_, value)];
    } else if (const auto found = sorted->find(value); found != sorted->end() && --found->second == 0) {
      sorted->erase(found);
    }
  } else if (auto* integers = std::get_if<Wide>(&state_)) {
    if (const auto* integer = std::get_if<std::int64_t>(&value)) *integers += sign * Wide{*integer};
  } else if (auto* reals = std::get_if<RealSum>(&state_)) {
    const auto* real = std::get_if<double>(&value);
    if (!real) return;
    if (sign > 0) {
      reals->add(*real);
    } else {
      reals->remove(*real);
    }
  } else if (auto* decimal = std::get_if<std::string>(&state_)) {
    if (const auto* text = std::get_if<std::string>(&value))
      *decimal = sign > 0 ? add_decimals(*decimal, *text) : subtract_decimals(*decimal, *text);
  }
}

Result<Value> Fold::value(std::string_view subject) const {
  if (kind_ == FoldSpec::Kind::count) return Value(count_);
  if (count_ == 0) return Value{};
  if (const auto* sorted = std::get_if<Sorted>(&state_))
    return kind_ == FoldSpec::Kind::min ? sorted->begin()->first : sorted->rbegin()->first;
  if (const auto* reals = std::get_if<RealSum>(&state_)) {
    const double sum = reals->value();
    if (std::isnan(sum)) return Value{};  // as a database holds it
    return Value(kind_ == FoldSpec::Kind::sum ? sum : sum / static_cast<double>(count_));
  }
  if (const auto* decimal = std::get_if<std::string>(&state_)) {
    auto shortest = shortest_decimal(*decimal);
    if (shortest.size() > kDecimalBytesMax)
      return failure(ErrorCode::invalid_args, fmt::format("{}: it has more than {} digits", subject, kDecimalBytesMax));
    return Value(std::move(shortest));
  }
  const auto* integers = std::get_if<Wide>(&state_);
  if (!integers) return Value{};
  if (kind_ == FoldSpec::Kind::average) return Value(static_cast<double>(*integers) / static_cast<double>(count_));
  if (*integers < std::numeric_limits<std::int64_t>::min() || *integers > std::numeric_limits<std::int64_t>::max())
    return failure(ErrorCode::invalid_args,
                   fmt::format("{}: it does not fit into 64 bits; filter the rows, or fold the average", subject));
  return Value(static_cast<std::int64_t>(*integers));
}

FoldGroup::FoldGroup(const CompiledQuery& query) {
  folds_.reserve(query.folds.size());
  for (const CompiledFold& fold : query.folds) folds_.emplace_back(fold);
}

namespace {

/// A row that is counted as such has something to count.
const Value kCounted = true;

const Value& input_of(const CompiledFold& fold, const Row& joined_row) {
  return fold.column == TableDef::npos ? kCounted : joined_row[fold.column];
}

}  // namespace

void FoldGroup::add(const CompiledQuery& query, const Row& joined_row) {
  ++rows_;
  for (std::size_t i = 0; i < folds_.size(); ++i) folds_[i].add(input_of(query.folds[i], joined_row));
}

void FoldGroup::remove(const CompiledQuery& query, const Row& joined_row) {
  --rows_;
  for (std::size_t i = 0; i < folds_.size(); ++i) folds_[i].remove(input_of(query.folds[i], joined_row));
}

Result<Row> FoldGroup::result(const CompiledQuery& query, const Row& group) const {
  Row row = group;
  row.reserve(group.size() + folds_.size());
  for (std::size_t i = 0; i < folds_.size(); ++i) {
    auto value = folds_[i].value(query.folds[i].subject);
    if (!value) return tl::unexpected(value.error());
    row.push_back(std::move(*value));
  }
  return row;
}

}  // namespace nizhal
