#include "bench/crdt.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include <nizhal/crdt.hpp>

#include "base/json.hpp"
#include "bench/editing_trace.hpp"
#include "bench/rounds.hpp"

namespace nizhal::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSeed = 20260102;
constexpr std::size_t kEdits = 200'000;
constexpr std::uint64_t kClient = 1;

// What yjs does, as often as fits into the time; it prints how often, in how many seconds, and the length it came to.
// Arguments: where yjs is, what to do, the trace, seconds.
constexpr const char* kScript = R"js(
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
const [folder, mode, file, seconds] = process.argv.slice(2)
const Y = await import(createRequire(folder + '/package.json').resolve('yjs').replace(/\.cjs$/, '.mjs'))
const bytes = readFileSync(file)
let at = 0
const number = () => { const read = bytes.readUInt32LE(at); at += 4; return read }
const steps = []
if (mode === 'edit') {
  while (at < bytes.length) {
    const position = number(), removed = number(), size = number()
    steps.push({ position, removed, inserted: bytes.toString('latin1', at, at += size) })
  }
} else {
  while (at < bytes.length) { const size = number(); steps.push(new Uint8Array(bytes.subarray(at, at += size))) }
}
const once = () => {
  const doc = new Y.Doc({ gc: true })
  const text = doc.getText('t')
  let made = 0
  if (mode === 'edit') {
    doc.clientID = 1
    doc.on('update', update => { made += update.length })
    for (const { position, removed, inserted } of steps) {
      if (removed > 0) text.delete(position, removed)
      else text.insert(position, inserted)
    }
  } else {
    for (const update of steps) Y.applyUpdate(doc, update)
  }
  return text.length
}
let runs = 0, length = 0
once() // so that the code is compiled
const begin = performance.now()
do { length = once(); ++runs } while (performance.now() - begin < seconds * 1000)
console.log(JSON.stringify({ runs, seconds: (performance.now() - begin) / 1000, length }))
)js";

class CrdtRunner {
 public:
  CrdtRunner(Benchmark benchmark, const Options& options, const Outside& outside)
      : benchmark_(benchmark), options_(options), outside_(outside) {}

  Result<Figure> run() {
    figure_.name = to_string(benchmark_);
    figure_.unit = "edits/s";
    figure_.settings = outside_.settings;
    if (auto found = find_yjs(); !found) return tl::unexpected(found.error());
    outside_.progress(fmt::format("{}: preparing", figure_.name));
    if (auto prepared = prepare(); !prepared) return tl::unexpected(prepared.error());
    say("limit", "yjs " + version_ + " from npm in node, the same bytes in the same rounds");
    say("trace", fmt::format("{} edits, seed {}: typing runs, cursor jumps, backspaces, pastes, deleted selections "
                             "(src/bench/editing_trace.hpp)",
                             kEdits, kSeed));
    say("text", fmt::format("{} characters at the end", expected_));
    say("updates", fmt::format("{}, {} bytes", updates_.size(), update_bytes_));
    auto measured = measure_rounds(
        figure_, options_, outside_, [this](std::chrono::seconds duration) { return engine(duration); },
        [this](std::chrono::seconds duration) { return yjs(duration); });
    if (!measured) return tl::unexpected(measured.error());
    return std::move(figure_);
  }

 private:
  using Watch = std::chrono::steady_clock;

  void say(std::string name, std::string value) { figure_.settings.emplace_back(std::move(name), std::move(value)); }

  Result<void> find_yjs() {
    std::error_code error;
    const char* given = std::getenv("NIZHAL_YJS_DIR");
    std::vector<fs::path> places;
    if (given) places.emplace_back(given);
    // Beside the sources, from here or from the program upwards.
    for (const fs::path& start : {fs::current_path(error), fs::read_symlink("/proc/self/exe", error).parent_path()})
      for (fs::path folder = start; folder.has_relative_path(); folder = folder.parent_path())
        places.push_back(folder / "tests/interop");
    for (const fs::path& place : places) {
      std::ifstream file(place / "node_modules/yjs/package.json");
      const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      const auto package = parse_json(text);
      if (!package) continue;
      folder_ = place.string();
      version_ = std::string(string_member(*package, "version").value_or("?"));
      break;
    }
    const auto node = outside_.run_program({"/usr/bin/env", "node", "--version"}, {});
    if (!node)
      return failure(ErrorCode::unreachable, "node is not there; it is what yjs runs in: apt-get install nodejs npm");
    node_ = node->substr(0, node->find('\n'));
    if (folder_.empty())
      return failure(ErrorCode::unreachable,
                     "yjs is not there; install it with `make deps`, or name a directory that has it in node_modules "
                     "with NIZHAL_YJS_DIR");
    say("node", node_);
    return {};
  }

  // Makes the updates with our own text, and files of what each side gets.
  Result<void> prepare() {
    if (directory_.path().empty()) return failure(ErrorCode::io_error, "no temporary directory");
    trace_ = editing_trace(kSeed, kEdits);
    crdt::Document document(kClient);
    document.on_update([this](const crdt::Bytes& update, const crdt::Origin&) { updates_.push_back(update); });
    crdt::Text text = document.text("t");
    if (auto edited = edit(text); !edited) return edited;
    expected_ = text.length();
    std::string file;
    const auto put = [&file](std::size_t number) {
      for (int shift = 0; shift < 32; shift += 8) file += static_cast<char>(number >> shift & 255);
    };
    if (benchmark_ == Benchmark::crdt_bulk) updates_ = {document.encode_state_as_update()};
    for (const crdt::Bytes& update : updates_) update_bytes_ += update.size();
    if (benchmark_ == Benchmark::crdt_edit) {
      for (const Edit& one : trace_) {
        put(one.position);
        put(one.removed);
        put(one.inserted.size());
        file += one.inserted;
      }
    } else {
      for (const crdt::Bytes& update : updates_) {
        put(update.size());
        file.append(update.begin(), update.end());
      }
    }
    for (const auto& [path, content] :
         {std::pair{trace_path(), std::string_view(file)}, std::pair{script_path(), std::string_view(kScript)}}) {
      std::ofstream out(path, std::ios::binary);
      if (!out.write(content.data(), static_cast<std::streamsize>(content.size())) || !out.flush())
        return failure(ErrorCode::io_error, fmt::format("{} cannot be written", path));
    }
    return {};
  }
  std::string trace_path() const { return directory_.path() + "/trace"; }
  std::string script_path() const { return directory_.path() + "/yjs.mjs"; }

  Result<void> edit(crdt::Text& text) const {
    for (const Edit& one : trace_) {
      auto done = one.removed > 0 ? text.remove(one.position, one.removed) : text.insert(one.position, one.inserted);
      if (!done) return done;
    }
    return {};
  }

  Result<double> engine(std::chrono::seconds duration) {
    std::size_t runs = 0;
    const auto start = Watch::now();
    do {
      if (auto on = go_on(outside_); !on) return tl::unexpected(on.error());
      crdt::Document document(benchmark_ == Benchmark::crdt_edit ? kClient : 2);
      crdt::Text text = document.text("t");
      std::size_t made = 0;
      if (benchmark_ == Benchmark::crdt_edit) {
        document.on_update([&made](const crdt::Bytes& update, const crdt::Origin&) { made += update.size(); });
        if (auto edited = edit(text); !edited) return tl::unexpected(edited.error());
      } else {
        for (const crdt::Bytes& update : updates_)
          if (auto applied = document.apply_update(update); !applied) return tl::unexpected(applied.error());
      }
      if (text.length() != expected_) return failure(ErrorCode::internal, "the text came out wrong");
      ++runs;
    } while (Watch::now() - start < duration);
    return static_cast<double>(runs * kEdits) / std::chrono::duration<double>(Watch::now() - start).count();
  }

  Result<double> yjs(std::chrono::seconds duration) {
    const auto output = outside_.run_program(
        {"/usr/bin/env", "node", script_path(), folder_, benchmark_ == Benchmark::crdt_edit ? "edit" : "apply",
         trace_path(), std::to_string(duration.count())},
        {});
    if (!output) return tl::unexpected(output.error());
    const auto answer = parse_json(*output);
    const json::value* runs = answer ? member(*answer, "runs") : nullptr;
    const json::value* seconds = answer ? member(*answer, "seconds") : nullptr;
    const json::value* length = answer ? member(*answer, "length") : nullptr;
    if (!runs || !seconds || !length)
      return failure(ErrorCode::internal, fmt::format("yjs answers nothing that is understood: {}", *output));
    if (as_integer(*length) != static_cast<std::int64_t>(expected_))
      return failure(ErrorCode::internal, "yjs came to another text");
    const double taken = seconds->is_double() ? seconds->get_double() : static_cast<double>(*as_integer(*seconds));
    return static_cast<double>(*as_integer(*runs)) * static_cast<double>(kEdits) / taken;
  }

  Benchmark benchmark_;
  const Options& options_;
  const Outside& outside_;
  Figure figure_;
  Directory directory_;
  std::string folder_, version_, node_;
  std::vector<Edit> trace_;
  std::vector<crdt::Bytes> updates_;
  std::size_t update_bytes_ = 0;
  std::uint64_t expected_ = 0;
};

}  // namespace

bool is_of_crdt(Benchmark benchmark) {
  return benchmark == Benchmark::crdt_keystrokes || benchmark == Benchmark::crdt_bulk ||
         benchmark == Benchmark::crdt_edit;
}

Result<Figure> run_crdt_benchmark(Benchmark benchmark, const Options& options, const Outside& outside) {
  return CrdtRunner(benchmark, options, outside).run();
}

}  // namespace nizhal::bench
