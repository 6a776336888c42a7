// What the commands of `nizhal client` do with an open store, and how they show it.
#include <fmt/format.h>

#include <iostream>
#include <string>

#include "cli/client_command.hpp"
#include "cli/output.hpp"

namespace nizhal::cli {

namespace {

struct Refusal {
  std::string code, message;
};

// A refusal's message begins with the mutator's code.
Refusal refusal_of(const Error& error) {
  if (error.code != ErrorCode::refused) return {to_string(error.code), error.message};
  const std::size_t colon = error.message.find(':');
  if (colon == std::string::npos) return {to_string(error.code), error.message};
  const std::size_t begin = error.message.find_first_not_of(' ', colon + 1);
  return {error.message.substr(0, colon), begin == std::string::npos ? "" : error.message.substr(begin)};
}

void print_pending(const Globals& globals, const Ticket& ticket) {
  if (globals.json) {
    print_json(json::object{{"clientMutationId", ticket.client_mutation_id}, {"status", "pending"}});
  } else {
    print_line("pending " + ticket.client_mutation_id);
  }
}

// What the mutator or its declaration refuses is an answer; everything else is a failure.
int report_refusal(const Globals& globals, std::string_view what, const Error& error) {
  if (globals.json && exit_code(error.code) == kNo) {
    const Refusal refusal = refusal_of(error);
    print_json(json::object{{"status", "refused"}, {"code", refusal.code}, {"message", refusal.message}});
  }
  return fail(what, error);
}

Result<void> check_json_object(std::string_view args) {
  const auto parsed = parse_json(args);
  if (!parsed) return failure(ErrorCode::usage, "the arguments are no JSON: " + parsed.error().message);
  if (!parsed->is_object())
    return failure(ErrorCode::usage, "the arguments must be one JSON object, as in '{\"id\":\"n1\"}'");
  return {};
}

Result<Ticket> mutate(Store& store, const std::string& name, const std::string& args) {
  if (auto fine = check_json_object(args); !fine) return tl::unexpected(fine.error());
  return store.mutate_json(name, args);
}

json::array as_array(const std::vector<std::string>& texts) {
  json::array array;
  for (const std::string& text : texts) array.emplace_back(text);
  return array;
}

}  // namespace

int client_mutate(const Globals& globals, Store& store, const std::string& name, const std::string& args) {
  const auto ticket = mutate(store, name, args);
  if (!ticket) return report_refusal(globals, "client mutate", ticket.error());
  print_pending(globals, *ticket);
  return kDone;
}

int client_mutate_lines(const Globals& globals, Store& store) {
  int code = kDone;
  std::string line;
  while (std::getline(std::cin, line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const auto ticket = mutate(store, name, space == std::string::npos ? "{}" : line.substr(space + 1));
    if (ticket) {
      print_pending(globals, *ticket);
      continue;
    }
    code = report_refusal(globals, "client mutate", ticket.error());
    if (code != kNo) return code;
    if (!globals.json) print_line("refused " + refusal_of(ticket.error()).code);
  }
  return code;
}

int client_sync(const Globals& globals, Store& store, std::chrono::milliseconds timeout) {
  if (store.status().server.empty())
    return fail("client sync", kUsage, "this store knows no server; give --server http://HOST:PORT once");
  const auto report = store.sync_now(timeout);
  if (!report) {
    const StoreStatus status = store.status();
    if (report.error().code == ErrorCode::identity_mismatch) return fail("client sync", report.error());
    const std::string_view hint =
        report.error().code == ErrorCode::unauthorized ? "; give a fresh token with --token or NIZHAL_TOKEN" : "";
    return fail("client sync", kUnusable,
                fmt::format("{}{}; {} kept in the store", report.error().message, hint,
                            status.pending == 1 ? "1 pending mutation is"
                                                : fmt::format("{} pending mutations are", status.pending)));
  }
  if (globals.json) {
    print_json(json::object{{"applied", report->applied},
                            {"rejected", report->rejected},
                            {"pulledRows", report->pulled_rows},
                            {"pending", report->pending},
                            {"deadLetters", report->dead_letters}});
  } else {
    std::string text =
        fmt::format("applied {}, rejected {}, pulled {}, pending {}, dead letters {}", report->applied,
                    report->rejected, counted(report->pulled_rows, "row"), report->pending, report->dead_letters);
    if (report->rejected > 0) text += yellow("\nthe server refused something: see `dead-letters`");
    print_line(text);
  }
  return kDone;
}

int client_query(const Globals& globals, const Store& store, const std::string& sql) {
  const auto result = store.sql(sql);
  if (!result) return fail("client query", result.error());
  if (globals.json) {
    print_line(rows_as_json(*result));
  } else {
    print_line(rows_as_table(*result).text());
    print_line(dim("(" + counted(result->rows.size(), "row") + ")"));
  }
  return kDone;
}

int client_outbox(const Globals& globals, const Store& store) {
  const auto pending = store.outbox();
  if (!pending) return fail("client outbox", pending.error());
  if (globals.json) {
    json::array answer;
    for (const PendingMutation& entry : *pending)
      answer.push_back(json::object{{"clientMutationId", entry.client_mutation_id},
                                    {"mutationId", entry.mutation_id ? json::value(*entry.mutation_id) : json::value()},
                                    {"name", entry.name},
                                    {"args", json_or_text(entry.args)},
                                    {"attempts", entry.attempts},
                                    {"lastError", text_or_null(entry.last_error)},
                                    {"covered", entry.covered},
                                    {"dependsOn", as_array(entry.depends_on)},
                                    {"dependencyKey", text_or_null(entry.dependency_key)}});
    print_json(answer);
    return kDone;
  }
  if (pending->empty()) {
    print_line("the outbox is empty: the server has everything");
    return kDone;
  }
  SqlResult rows;
  rows.columns = {"client mutation id", "sent as", "name", "args", "attempts", "last error"};
  for (const PendingMutation& entry : *pending)
    rows.rows.push_back({Value(entry.client_mutation_id),
                         entry.mutation_id ? Value(static_cast<std::int64_t>(*entry.mutation_id)) : Value("-"),
                         Value(entry.name), Value(entry.args), Value(static_cast<std::int64_t>(entry.attempts)),
                         Value(entry.last_error)});
  print_line(rows_as_table(rows).text());
  return kDone;
}

int client_dead_letters(const Globals& globals, const Store& store) {
  const auto letters = store.dead_letters();
  if (!letters) return fail("client dead-letters", letters.error());
  if (globals.json) {
    json::array answer;
    for (const DeadLetter& letter : *letters)
      answer.push_back(json::object{{"id", letter.id},
                                    {"name", letter.name},
                                    {"args", json_or_text(letter.args)},
                                    {"code", letter.code},
                                    {"message", letter.message},
                                    {"dependsOn", as_array(letter.depends_on)},
                                    {"chain", as_array(letter.chain)},
                                    {"clientMutationId", letter.client_mutation_id},
                                    {"at", to_iso8601(letter.at)}});
    print_json(answer);
    return kDone;
  }
  if (letters->empty()) {
    print_line("no dead letters: the server refused nothing");
    return kDone;
  }
  SqlResult rows;
  rows.columns = {"id", "name", "args", "code", "message"};
  for (const DeadLetter& letter : *letters)
    rows.rows.push_back(
        {Value(letter.id), Value(letter.name), Value(letter.args), Value(letter.code), Value(letter.message)});
  print_line(rows_as_table(rows).text());
  return kDone;
}

int client_retry(const Globals& globals, Store& store, std::int64_t dead_letter, const std::string* args) {
  const std::string_view what = args ? "client dead-letters edit" : "client dead-letters retry";
  if (args)
    if (auto fine = check_json_object(*args); !fine) return fail(what, fine.error());
  const auto ticket = args ? store.retry_with(dead_letter, *args) : store.retry(dead_letter);
  if (!ticket) return report_refusal(globals, what, ticket.error());
  print_pending(globals, *ticket);
  return kDone;
}

int client_undo(const Globals& globals, Store& store, const std::string& client_mutation_id) {
  const auto ticket = store.undo(Ticket(client_mutation_id));
  if (!ticket) return report_refusal(globals, "client undo", ticket.error());
  print_pending(globals, *ticket);
  return kDone;
}

int client_discard(const Globals& globals, Store& store, std::int64_t dead_letter) {
  const auto discarded = store.discard(dead_letter);
  if (!discarded) return fail("client dead-letters discard", discarded.error());
  if (globals.json) {
    print_json(json::object{{"id", dead_letter}, {"status", "discarded"}});
  } else {
    print_line(fmt::format("discarded {}", dead_letter));
  }
  return kDone;
}

}  // namespace nizhal::cli
