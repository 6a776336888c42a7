// Registration: the checks that a domain must pass before any part of the engine takes it. lint() reports the same
// findings and adds its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nizhal/lint.hpp>

namespace nizhal {

/// Collects errors; each names the place and the fix.
class Findings {
 public:
  void error(std::string code, std::string place, std::string message, std::string fix) {
    add(LintFinding::Level::error, std::move(code), std::move(place), std::move(message), std::move(fix));
  }
  void warning(std::string code, std::string place, std::string message, std::string fix) {
    add(LintFinding::Level::warning, std::move(code), std::move(place), std::move(message), std::move(fix));
  }
  void note(std::string code, std::string place, std::string message, std::string fix) {
    add(LintFinding::Level::note, std::move(code), std::move(place), std::move(message), std::move(fix));
  }
  std::vector<LintFinding> take() { return std::move(findings_); }

 private:
  void add(LintFinding::Level level, std::string code, std::string place, std::string message, std::string fix) {
    findings_.push_back({level, std::move(code), std::move(place), std::move(message), std::move(fix)});
  }
  std::vector<LintFinding> findings_;
};

/// Every registration error, in the order of declaration; empty: the domain can be compiled.
std::vector<LintFinding> registration_errors(const Domain& domain);

/// The part of them that concerns sync rules.
void check_rules(const Domain& domain, Findings& findings);

/// What two rules must have in common to share a bucket definition, besides the prefix: the sources of their
/// parameters in order, and the membership filters in any order. Parameter names do not count.
std::string parameter_signature(const RuleDef& rule);

/// A constant as text that differs for different constants, types included. For signatures and fingerprints.
std::string constant_text(const Value& value);

/// A condition that compares a column with one of the rule's parameters (and not with a constant).
bool names_parameter(const Condition& condition);

/// Types whose values can be part of a bucket key.
bool is_bucket_type(ColumnType type);
/// Of these, the ones whose text must be a canonical whole number.
bool is_whole_number_type(ColumnType type);

std::vector<std::string> table_names(const Domain& domain);
std::vector<std::string> column_names(const TableDef& table);

}  // namespace nizhal
