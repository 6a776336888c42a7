#include "sim/serial_replay.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/environment.hpp"
#include "base/json.hpp"
#include "server/server_sync.hpp"
#include "storage/sqlite/sqlite_storage.hpp"

namespace nizhal::sim {

namespace {

constexpr const char* kSecret = "the secret of the serial server";

class AtOnce : public Executor {
 public:
  void post(std::function<void()> work) override { work(); }
};

struct Handled {
  std::int64_t version = 0;
  Timestamp at;
  std::string user_id, owner_id, client_id, client_mutation_id, outcome, mutator;
};

Result<std::vector<Handled>> read_audit(sqlite::Connection& connection) {
  auto select = connection.prepare(
      "SELECT version, at_us, user_id, owner_id, coalesce(client_id, ''), client_mutation_id, outcome, mutator FROM "
      "nizhal_audit ORDER BY version, seq");
  if (!select) return tl::unexpected(select.error());
  std::vector<Handled> handled;
  for (;;) {
    const auto more = select->step();
    if (!more) return tl::unexpected(more.error());
    if (!*more) return handled;
    handled.push_back({select->integer(0), Timestamp{select->integer(1)}, std::string(select->text(2)),
                       std::string(select->text(3)), std::string(select->text(4)), std::string(select->text(5)),
                       std::string(select->text(6)), std::string(select->text(7))});
  }
}

}  // namespace

Result<void> run_as_other_program(sqlite::Connection& connection, const std::vector<std::string>& statements) {
  std::string script = "BEGIN IMMEDIATE;";
  for (const std::string& statement : statements) script += statement + ";";
  auto done = connection.execute(script + "COMMIT");
  if (!done && connection.in_transaction()) (void)connection.execute("ROLLBACK");
  return done;
}

std::string difference(const RowTexts& expected, const RowTexts& found) {
  for (const auto& [name, text] : expected) {
    const auto it = found.find(name);
    if (it == found.end()) return fmt::format("{} is missing ({})", name, text);
    if (it->second != text) return fmt::format("{} is {} where it should be {}", name, it->second, text);
  }
  for (const auto& [name, text] : found)
    if (!expected.contains(name)) return fmt::format("{} is there and should not be ({})", name, text);
  return {};
}

SerialReplay::SerialReplay(std::shared_ptr<const CompiledDomain> domain, std::string folder,
                           std::function<void(Timestamp)> set_time)
    : domain_(std::move(domain)), folder_(std::move(folder)), set_time_(std::move(set_time)) {}

void SerialReplay::sent(Timestamp at, std::string_view push_body) {
  auto request = protocol::decode_push_request(push_body);
  if (!request) return;
  for (auto& mutation : request->mutations) {
    const std::string id = mutation.client_mutation_id;
    if (mutation.name != protocol::kSkip) mutations_[id].push_back({at, std::move(mutation)});
  }
}

const protocol::PushMutation* SerialReplay::sending(const std::string& client_mutation_id) const {
  const auto sent = mutations_.find(client_mutation_id);
  return sent == mutations_.end() ? nullptr : &sent->second.back().mutation;
}

/// The one that was handled then, or shortly before when it waited for others; null: there is none.
const protocol::PushMutation* SerialReplay::sent_at(const std::string& client_mutation_id, Timestamp at) const {
  const auto sent = mutations_.find(client_mutation_id);
  if (sent == mutations_.end()) return nullptr;
  const auto later = std::find_if(sent->second.begin(), sent->second.end(),
                                  [&](const Sent& one) { return one.at.microseconds > at.microseconds; });
  return later == sent->second.begin() ? nullptr : &std::prev(later)->mutation;
}

void SerialReplay::wrote(Scopes& server, Timestamp at, const std::vector<std::string>& statements) {
  const auto connection = server.connection();
  const auto version = connection ? (*connection)->query_integer("SELECT version FROM nizhal_state")
                                  : Result<std::optional<std::int64_t>>(tl::unexpected(connection.error()));
  if (!version || !*version) return give_up();
  scripts_.push_back({**version, at, statements});
}

Result<std::string> SerialReplay::difference(Scopes& server) {
  const auto connection = server.connection();
  if (!connection) return tl::unexpected(connection.error());
  const auto handled = read_audit(**connection);
  if (!handled) return tl::unexpected(handled.error());

  const std::string path = folder_ + "/serial.db";
  ManualClock clock{Timestamp{}};
  SeededRandom random(1);
  AtOnce executor;
  const server::JwtAuthenticator authenticator(kSecret);
  auto storage = storage::open_sqlite_storage({.path = path}, domain_, random, Log{});
  if (!storage) return tl::unexpected(storage.error());
  if (const auto provisioned = (*storage)->provision(); !provisioned) return tl::unexpected(provisioned.error());
  server::ServerSync serial(domain_,
                            {.clock = clock,
                             .random = random,
                             .executor = executor,
                             .storage = **storage,
                             .authenticator = authenticator,
                             .log = {}},
                            server::Limits{});
  Scopes serial_rows(domain_, path);
  const auto serial_connection = serial_rows.connection();
  if (!serial_connection) return tl::unexpected(serial_connection.error());

  auto script = scripts_.begin();
  const auto run_scripts = [&](std::int64_t below) {
    for (; script != scripts_.end() && script->version < below; ++script) {
      set_time_(script->at);
      (void)run_as_other_program(**serial_connection, script->statements);  // refused before, refused again
    }
  };
  std::map<std::string, std::uint64_t> numbers;  // by client id: what it sent in vain leaves no hole here
  for (const Handled& entry : *handled) {
    run_scripts(entry.version);
    const protocol::PushMutation* handled_then = nullptr;
    protocol::PushMutation skip;
    if (entry.mutator == protocol::kSkip) {
      skip.client_mutation_id = entry.client_mutation_id;
      skip.name = protocol::kSkip;
      skip.args = json::object{};
      handled_then = &skip;
    } else {
      handled_then = sent_at(entry.client_mutation_id, entry.at);
    }
    if (!handled_then) return fmt::format("{} was handled before anybody sent it", entry.client_mutation_id);
    protocol::PushMutation mutation = *handled_then;
    if (!entry.client_id.empty()) {
      mutation.client_id = entry.client_id;
      mutation.mutation_id = MutationId{++numbers[entry.client_id]};
    }
    clock.jump_wall(std::chrono::microseconds(entry.at.microseconds - clock.now().microseconds));
    set_time_(entry.at);
    json::object claims{{"userId", entry.user_id}, {"ownerId", entry.owner_id}};
    claims["exp"] = entry.at.microseconds / 1'000'000 + 3'600;
    protocol::HttpRequest request;
    request.method = "POST";
    request.path = protocol::kPushPath;
    request.headers["authorization"] = "Bearer " + server::make_jwt(kSecret, to_text(claims));
    request.headers["content-type"] = "application/json";
    request.headers[std::string(protocol::kContractVersionHeader)] = domain_->domain().options().version;
    request.body = protocol::encode_push_request({.mutations = {mutation}, .results = true});
    const auto response = serial.handle(request);
    const auto reply = protocol::decode_push_reply(response.body);
    if (response.status != 200 || !reply || reply->results.size() != 1)
      return fmt::format("{} ({}) is answered {} when it is done alone: {}", mutation.name, entry.client_mutation_id,
                         response.status, response.body);
    const auto& result = reply->results.front();
    const std::string outcome =
        result.status == protocol::PushStatus::rejected ? result.code : std::string(to_string(result.status));
    // A duplicate only burned its number, whatever had become of the first.
    if (entry.outcome != "duplicate" && outcome != entry.outcome)
      return fmt::format("{} ({}) was {} and is {} when it is done alone", mutation.name, entry.client_mutation_id,
                         entry.outcome, outcome);
  }
  run_scripts(std::numeric_limits<std::int64_t>::max());
  const auto expected = serial_rows.everything();
  if (!expected) return tl::unexpected(expected.error());
  const auto found = server.everything();
  if (!found) return tl::unexpected(found.error());
  return sim::difference(*expected, *found);
}

}  // namespace nizhal::sim
