// Lints: what is wrong with a domain before it runs. Errors refuse registration; warnings and notes inform.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include <nizhal/domain.hpp>

namespace nizhal {

struct LintFinding {
  enum class Level { error, warning, note };
  Level level = Level::error;
  std::string code;   // e.g. "rule_scopes_nothing"
  std::string place;  // e.g. `rule "myShops", data of table "entries"`
  std::string message;
  std::string fix;
};

struct LintReport {
  std::vector<LintFinding> findings;
  bool has(LintFinding::Level level) const;
  /// One paragraph per finding: level, place, message, fix.
  std::string text() const;
};

/// Every registration error, leak, key collision, anti-pattern and use of unscoped code.
LintReport lint(const Domain& domain);

/// For a user's own tests: ASSERT_TRUE(nizhal::assert_no_leak(domain)). True when no registration error remains,
/// leaks among them; else it prints what and where.
struct NoLeak {
  bool holds = false;
  std::string why;
  explicit operator bool() const { return holds; }
};
NoLeak assert_no_leak(const Domain& domain);
inline std::ostream& operator<<(std::ostream& out, const NoLeak& result) { return out << result.why; }

}  // namespace nizhal
