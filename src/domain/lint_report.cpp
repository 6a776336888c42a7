// Findings as text, and the no-leak assertion.
#include <fmt/format.h>

#include <algorithm>

#include "domain/registration.hpp"

namespace nizhal {
namespace {

const char* level_name(LintFinding::Level level) {
  switch (level) {
    case LintFinding::Level::error:
      return "error";
    case LintFinding::Level::warning:
      return "warning";
    case LintFinding::Level::note:
      return "note";
  }
  return "finding";
}

}  // namespace

bool LintReport::has(LintFinding::Level level) const {
  return std::any_of(findings.begin(), findings.end(),
                     [level](const LintFinding& finding) { return finding.level == level; });
}

std::string LintReport::text() const {
  std::string out;
  for (const LintFinding& finding : findings) {
    if (!out.empty()) out += '\n';
    out += fmt::format("{}: {}: {} [{}]\n", level_name(finding.level), finding.place, finding.message, finding.code);
    if (!finding.fix.empty()) out += fmt::format("  fix: {}\n", finding.fix);
  }
  return out;
}

NoLeak assert_no_leak(const Domain& domain) {
  const LintReport report{registration_errors(domain)};
  return NoLeak{report.findings.empty(), report.text()};
}

}  // namespace nizhal
