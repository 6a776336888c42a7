#include "bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.hpp"

namespace nizhal::bench {
namespace {

using Setting = std::pair<std::string, std::string>;

/// Three decimals: more would be noise. Without an exponent, for people who look at it all the same.
void append_rounded(std::string& out, double number) {
  std::string text = fmt::format("{:.3f}", number);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  out += text;
}

bool has(const Figure& figure, const Setting& setting) {
  return std::find(figure.settings.begin(), figure.settings.end(), setting) != figure.settings.end();
}

std::string with_thousands(double number) {
  std::string digits = fmt::format("{:.0f}", number);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string line_of(const std::vector<Setting>& settings) {
  std::string line;
  for (const auto& [name, value] : settings) line += fmt::format("{}{} {}", line.empty() ? "" : ", ", name, value);
  return line;
}

}  // namespace

std::string as_json(const std::vector<Figure>& figures) {
  std::string out = "[";
  for (const Figure& figure : figures) {
    if (out.size() > 1) out += ',';
    out += "{\"name\":";
    append_json_string(out, figure.name);
    out += ",\"value\":";
    append_rounded(out, figure.value());
    out += ",\"unit\":";
    append_json_string(out, figure.unit);
    out += ",\"limit\":";
    append_rounded(out, figure.limit());
    out += ",\"ratio\":";
    append_rounded(out, figure.ratio());
    out += fmt::format(",\"rounds\":{},\"measured\":[", figure.rounds.size());
    for (const Round& round : figure.rounds) {
      if (out.back() != '[') out += ',';
      out += "{\"value\":";
      append_rounded(out, round.value);
      out += ",\"limit\":";
      append_rounded(out, round.limit);
      out += '}';
    }
    out += "],\"settings\":{";
    for (const auto& [name, value] : figure.settings) {
      if (out.back() != '{') out += ',';
      append_json_string(out, name);
      out += ':';
      append_json_string(out, value);
    }
    out += "}}";
  }
  return out + "]";
}

std::string as_table(const std::vector<Figure>& figures) {
  if (figures.empty()) return "";
  std::vector<std::vector<std::string>> cells{{"benchmark", "value", "limit", "ratio", "unit", "rounds (ratio)"}};
  for (const Figure& figure : figures) {
    std::string ratios;
    for (const Round& round : figure.rounds)
      ratios += fmt::format("{}{:.2f}", ratios.empty() ? "" : " ", round.ratio());
    cells.push_back({figure.name, with_thousands(figure.value()), with_thousands(figure.limit()),
                     fmt::format("{:.2f}", figure.ratio()), figure.unit, ratios});
  }
  std::vector<std::size_t> widths(cells[0].size());
  for (const auto& row : cells)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const auto& row : cells) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool is_number = i >= 1 && i <= 3;
      line += is_number ? fmt::format("{:>{}}  ", row[i], widths[i]) : fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }

  std::vector<Setting> shared;
  for (const Setting& setting : figures[0].settings)
    if (std::all_of(figures.begin(), figures.end(), [&](const Figure& figure) { return has(figure, setting); }))
      shared.push_back(setting);
  if (figures.size() > 1 && !shared.empty()) out += fmt::format("\nall: {}\n", line_of(shared));
  for (const Figure& figure : figures) {
    std::vector<Setting> own;
    for (const Setting& setting : figure.settings)
      if (figures.size() == 1 || std::find(shared.begin(), shared.end(), setting) == shared.end())
        own.push_back(setting);
    if (!own.empty()) out += fmt::format("{}{}: {}\n", figures.size() == 1 ? "\n" : "", figure.name, line_of(own));
  }
  return out;
}

}  // namespace nizhal::bench
