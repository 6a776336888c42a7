#include "realtime/postgres/notification.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/json.hpp"

namespace nizhal::realtime {
namespace {

constexpr std::int64_t kFormat = 1;

/// Fills payloads one after the other.
class Writer {
 public:
  Writer(std::string_view instance, std::uint64_t& number) : number_(number) {
    head_ = fmt::format(R"({{"v":{},"from":)", kFormat);
    append_json_string(head_, instance);
  }

  void missed() { missed_ = true; }

  void commit(const CommitNotice& commit) {
    const std::string opening = fmt::format("[{}", number_of(commit));
    std::string item = opening;
    for (const std::string& bucket : commit.buckets) {
      std::string key = ",";
      append_json_string(key, bucket);
      if (opening.size() + key.size() + 1 > room_of_an_empty_one()) {
        missed_ = true;
        continue;
      }
      if (item.size() + key.size() + 1 > room()) {
        if (item.size() > opening.size()) add(commits_, item + "]");
        if (!commits_.empty() || !presence_.empty()) finish();
        item = opening;
      }
      item += key;
    }
    if (item.size() > opening.size()) add(commits_, item + "]");
  }

  void presence(const std::string& object) {
    if (object.size() > room_of_an_empty_one()) return;
    if (object.size() > room()) finish();
    add(presence_, object);
  }

  std::vector<std::string> payloads() {
    if (missed_ || !commits_.empty() || !presence_.empty()) finish();
    return std::move(payloads_);
  }

 private:
  static std::uint64_t number_of(const CommitNotice& commit) { return nizhal::number(commit.version); }
  /// `,"n":` with its number, `,"missed":true`, the names of both lists with their brackets, and the last brace.
  static constexpr std::size_t kFrame = 6 + 20 + 14 + 13 + 14 + 1;
  std::size_t room_of_an_empty_one() const { return kPayloadBytesMax - head_.size() - kFrame; }
  std::size_t room() const {
    const std::size_t used = commits_.size() + presence_.size() + 2;  // and the commas
    return used > room_of_an_empty_one() ? 0 : room_of_an_empty_one() - used;
  }
  static void add(std::string& list, std::string_view item) {
    if (!list.empty()) list += ',';
    list += item;
  }
  void finish() {
    std::string payload = fmt::format(R"({},"n":{})", head_, ++number_);
    if (missed_) payload += R"(,"missed":true)";
    if (!commits_.empty()) payload += fmt::format(R"(,"commits":[{}])", commits_);
    if (!presence_.empty()) payload += fmt::format(R"(,"presence":[{}])", presence_);
    payload += '}';
    payloads_.push_back(std::move(payload));
    missed_ = false;
    commits_.clear();
    presence_.clear();
  }

  std::uint64_t& number_;
  std::string head_, commits_, presence_;
  bool missed_ = false;
  std::vector<std::string> payloads_;
};

std::optional<CommitNotice> commit_in(const json::value& value) {
  const json::array* list = value.if_array();
  if (!list || list->size() < 2) return std::nullopt;
  const auto version = as_integer(list->front());
  if (!version || *version < 0) return std::nullopt;
  CommitNotice commit{Version{static_cast<std::uint64_t>(*version)}, {}};
  for (std::size_t i = 1; i < list->size(); ++i) {
    const json::string* key = (*list)[i].if_string();
    if (!key) return std::nullopt;
    commit.buckets.emplace(std::string_view(*key));
  }
  return commit;
}

}  // namespace

std::vector<std::string> encode_notifications(const Message& message, bool missed, std::string_view instance,
                                              std::uint64_t& number) {
  Writer writer(instance, number);
  if (missed) writer.missed();
  for (const CommitNotice& commit : message.commits) writer.commit(commit);
  for (const std::string& object : message.presence) writer.presence(object);
  return writer.payloads();
}

std::optional<Notification> decode_notification(std::string_view payload) {
  const auto parsed = parse_json(payload);
  if (!parsed || !parsed->is_object()) return std::nullopt;
  const json::value* format = member(*parsed, "v");
  if (!format || as_integer(*format) != kFormat) return std::nullopt;
  Notification notification;
  const auto instance = string_member(*parsed, "from");
  const json::value* number = member(*parsed, "n");
  const auto count = number ? as_integer(*number) : std::nullopt;
  if (!instance || instance->empty() || !count || *count < 1) return std::nullopt;
  notification.instance = std::string(*instance);
  notification.number = static_cast<std::uint64_t>(*count);
  if (const json::value* missed = member(*parsed, "missed")) {
    if (!missed->is_bool()) return std::nullopt;
    notification.missed = missed->get_bool();
  }
  if (const json::value* commits = member(*parsed, "commits")) {
    if (!commits->is_array()) return std::nullopt;
    for (const json::value& value : commits->get_array()) {
      auto commit = commit_in(value);
      if (!commit) return std::nullopt;
      notification.message.commits.push_back(*std::move(commit));
    }
  }
  if (const json::value* presence = member(*parsed, "presence")) {
    if (!presence->is_array()) return std::nullopt;
    for (const json::value& value : presence->get_array()) {
      if (!value.is_object()) return std::nullopt;
      notification.message.presence.push_back(to_text(value));
    }
  }
  return notification;
}

}  // namespace nizhal::realtime
