#include "sim/run_codec.hpp"

#include <array>
#include <utility>

#include "base/json.hpp"

namespace nizhal::sim {

namespace {

constexpr std::array<std::pair<Violation::Kind, const char*>, 4> kKinds = {{
    {Violation::Kind::crash, "crash"},
    {Violation::Kind::safety, "safety"},
    {Violation::Kind::liveness, "liveness"},
    {Violation::Kind::meaningless, "meaningless"},
}};

/// Texts may hold what is no UTF-8 (a foreign answer's bytes), so they are not given to a JSON value as they are.
class Writer {
 public:
  void text(std::string_view name, std::string_view value) {
    begin(name);
    append_json_string(out_, value);
  }
  void number(std::string_view name, std::int64_t value) {
    begin(name);
    append_json_number(out_, value);
  }
  void numbers(std::string_view name, const std::map<std::string, std::uint64_t>& values) {
    Writer inner;
    for (const auto& [key, value] : values) inner.number(key, static_cast<std::int64_t>(value));
    begin(name);
    out_ += inner.done();
  }
  void texts(std::string_view name, const std::vector<std::string>& values) {
    begin(name);
    out_ += '[';
    for (const std::string& value : values) {
      if (&value != &values.front()) out_ += ',';
      append_json_string(out_, value);
    }
    out_ += ']';
  }
  std::string done() { return (out_.empty() ? "{" : out_) + "}"; }

 private:
  void begin(std::string_view name) {
    out_ += out_.empty() ? '{' : ',';
    append_json_string(out_, name);
    out_ += ':';
  }
  std::string out_;
};

class Reader {
 public:
  explicit Reader(const json::value& value) : value_(value) {}
  std::string text(std::string_view name) const { return std::string(string_member(value_, name).value_or("")); }
  std::int64_t number(std::string_view name) const {
    const json::value* found = member(value_, name);
    return found ? as_integer(*found).value_or(0) : 0;
  }
  std::uint64_t count(std::string_view name) const { return static_cast<std::uint64_t>(number(name)); }
  std::map<std::string, std::uint64_t> numbers(std::string_view name) const {
    std::map<std::string, std::uint64_t> values;
    const json::value* found = member(value_, name);
    if (const auto* object = found ? found->if_object() : nullptr)
      for (const auto& entry : *object)
        values[std::string(entry.key())] = static_cast<std::uint64_t>(as_integer(entry.value()).value_or(0));
    return values;
  }
  std::vector<std::string> texts(std::string_view name) const {
    std::vector<std::string> values;
    const json::value* found = member(value_, name);
    if (const auto* array = found ? found->if_array() : nullptr)
      for (const auto& entry : *array)
        if (const auto* text = entry.if_string()) values.emplace_back(*text);
    return values;
  }

 private:
  const json::value& value_;
};

}  // namespace

const char* to_string(Violation::Kind kind) {
  for (const auto& [known, name] : kKinds)
    if (known == kind) return name;
  return "";
}

std::string encode_result(const RunResult& result) {
  Writer writer;
  if (result.violation) {
    writer.text("kind", to_string(result.violation->kind));
    writer.text("oracle", result.violation->oracle);
    writer.text("what", result.violation->what);
    writer.number("at", result.violation->at.count());
  }
  writer.text("digest", result.digest);
  writer.number("virtualTime", result.virtual_time.count());
  writer.number("made", static_cast<std::int64_t>(result.mutations_made));
  writer.number("applied", static_cast<std::int64_t>(result.applied));
  writer.number("refused", static_cast<std::int64_t>(result.refused));
  writer.numbers("appliedByMutator", result.applied_by_mutator);
  writer.numbers("counts", result.counts);
  writer.numbers("reached", result.reached);
  writer.texts("silentFaults", result.silent_faults);
  return writer.done();
}

Result<RunResult> decode_result(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return tl::unexpected(value.error());
  const Reader reader(*value);
  RunResult result;
  for (const auto& [kind, name] : kKinds)
    if (reader.text("kind") == name)
      result.violation = Violation{kind, reader.text("oracle"), reader.text("what"), Micros(reader.number("at"))};
  result.digest = reader.text("digest");
  result.virtual_time = Micros(reader.number("virtualTime"));
  result.mutations_made = reader.count("made");
  result.applied = reader.count("applied");
  result.refused = reader.count("refused");
  result.applied_by_mutator = reader.numbers("appliedByMutator");
  result.counts = reader.numbers("counts");
  result.reached = reader.numbers("reached");
  result.silent_faults = reader.texts("silentFaults");
  return result;
}

}  // namespace nizhal::sim
