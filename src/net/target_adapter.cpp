#include "net/target_adapter.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <nizhal/crdt.hpp>

#include "base/bytes.hpp"
#include "base/json.hpp"
#include "client/store_schema.hpp"
#include "domain/hlc.hpp"
#include "domain/value_json.hpp"

namespace nizhal::net {
namespace {

/// One generation for ever: a target says itself when a device is to start over.
constexpr std::string_view kEpoch = "target";

/// The device's cursor: the target's own, and what must outlive a restart in the middle of a pull.
///   {"target": text, "known": n, "rows": n, "everything": hex}
struct Cursor {
  std::string target = {};
  std::optional<std::uint64_t> known_through = {};  // when the pull began that this is the middle of
  std::uint64_t rows = 0;                           // that it brought so far
  std::string everything = {};                      // digest of the whole content that the last pull listed

  static std::optional<Cursor> parse(std::string_view text) {
    const auto parsed = parse_json(text);
    if (!parsed) return std::nullopt;
    const auto target = string_member(*parsed, "target");
    if (!target) return std::nullopt;
    Cursor cursor;
    cursor.target = std::string(*target);
    cursor.everything = std::string(string_member(*parsed, "everything").value_or(""));
    const auto count = [&](std::string_view name) -> std::optional<std::uint64_t> {
      const json::value* found = member(*parsed, name);
      const auto number = found ? as_integer(*found) : std::nullopt;
      return number && *number >= 0 ? std::optional(static_cast<std::uint64_t>(*number)) : std::nullopt;
    };
    cursor.known_through = count("known");
    cursor.rows = count("rows").value_or(0);
    return cursor;
  }
  std::string text() const {
    std::string out = "{\"target\":";
    append_json_string(out, target);
    if (known_through) out += fmt::format(",\"known\":{},\"rows\":{}", *known_through, rows);
    if (!everything.empty()) out += fmt::format(",\"everything\":\"{}\"", everything);
    return out + "}";
  }
};

protocol::HttpResponse response(int status, std::string body) {
  return {.status = status, .headers = {{"content-type", "application/json"}}, .body = std::move(body)};
}

std::uint64_t count(const TargetPage& page) { return page.changes().size() + page.removals().size(); }

/// A required column that neither the row nor a default gives a value.
const ColumnDef* missing_column(const TableDef& table, const Row& row) {
  for (std::size_t i = 0; i < row.size(); ++i)
    if (is_null(row[i]) && !table.columns[i].nullable) return &table.columns[i];
  return nullptr;
}

/// What is wrong with a CRDT column's value; empty: nothing. A state that is none would be stored as the row's base,
/// and every edit of it would fail from then on.
std::string broken_state(const TableDef& table, const Row& row) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto* state = std::get_if<Blob>(&row[i]);
    if (!state || !is_crdt(table.columns[i].type)) continue;
    if (const auto checked = crdt::check_update(state->bytes); !checked)
      return fmt::format("table \"{}\", column \"{}\" must be a whole state, as Yjs's encodeStateAsUpdate gives it: {}",
                         table.name, table.columns[i].name, checked.error().message);
  }
  return {};
}

}  // namespace

TargetAdapter::TargetAdapter(std::shared_ptr<SyncTarget> target, client::LocalStore& store, Log log)
    : target_(std::move(target)), store_(store), log_(std::move(log)) {
  try {
    name_ = target_->name();
  } catch (...) {
    log_.error("sync", "the sync target threw when it was asked for its name");
  }
  if (name_.empty()) name_ = "the app's backend";
}

template <class Call>
auto TargetAdapter::guarded(std::string_view what, Call call) -> decltype(call()) {
  std::string thrown;
  try {
    return call();
  } catch (const std::exception& error) {
    thrown = error.what();
  } catch (...) {
    thrown = "something that is no std::exception";
  }
  log_.error(what, fmt::format("the sync target threw: {}", thrown));
  return retry_later(fmt::format("{} threw: {}", name_, thrown));
}

TargetAdapter::Answer TargetAdapter::refuse(std::string_view what, const TargetError& error) const {
  if (error.kind == TargetError::Kind::unreachable) return failure(ErrorCode::unreachable, error.message);
  const bool is_signed_out = error.kind == TargetError::Kind::unauthorized;
  log_.info(what, error.message);
  auto answer = response(is_signed_out ? 401 : 503,
                         protocol::encode_error(is_signed_out ? "unauthorized" : "busy", to_utf8(error.message)));
  if (error.retry_after.count() > 0)
    answer.headers["retry-after"] = std::to_string(std::chrono::ceil<std::chrono::seconds>(error.retry_after).count());
  return answer;
}

TargetAdapter::Answer TargetAdapter::answer(const protocol::HttpRequest& request) {
  try {
    return request.path == protocol::kPushPath ? push(request.body) : pull(request.body);
  } catch (const std::exception& error) {
    log_.error("sync", fmt::format("the target's adapter met a bug: {}", error.what()));
    return response(503, protocol::encode_error("busy", "the answer could not be put together"));
  }
}

TargetResult<protocol::PushResult> TargetAdapter::push_one(const protocol::PushMutation& sent) {
  protocol::PushResult result;
  result.client_mutation_id = sent.client_mutation_id;
  result.status = protocol::PushStatus::applied;
  // Burns a mutation id, of which the backend knows nothing.
  if (sent.name == protocol::kSkip) return result;

  auto args = store_.resolve_ids(sent.name, sent.args);
  if (!args) return retry_later(args.error().message);
  TargetMutation mutation{.client_mutation_id = sent.client_mutation_id,
                          .name = sent.name,
                          .args = std::move(*args),
                          .args_version = sent.args_version.value_or(1),
                          .made_at = {}};
  if (const auto stamp = parse_hlc(sent.hlc.value_or(""))) mutation.made_at = stamp->time();
  auto outcome = guarded("push", [&] { return target_->push(mutation); });
  if (!outcome) return tl::unexpected(std::move(outcome.error()));
  if (outcome->is_done()) {
    result.server_id = std::move(outcome->server_id);
  } else {
    result.status = protocol::PushStatus::rejected;
    result.code = outcome->code.empty() ? "rejected" : to_utf8(outcome->code);
    result.error = to_utf8(outcome->message);
  }
  return result;
}

TargetAdapter::Answer TargetAdapter::push(std::string_view body) {
  const auto request = protocol::decode_push_request(body);
  if (!request) return response(400, protocol::encode_error("bad_request", request.error().message));
  protocol::PushReply reply;
  for (const protocol::PushMutation& mutation : request->mutations) {
    auto result = push_one(mutation);
    if (!result) {
      // What was done before it counts; it comes again by itself, first of the next request.
      if (reply.results.empty()) return refuse("push", result.error());
      break;
    }
    reply.results.push_back(std::move(*result));
  }
  return response(200, protocol::encode_push_reply(reply));
}

Result<void> TargetAdapter::write(const TargetPage& page, protocol::PageWriter& writer) const {
  const Domain& domain = store_.domain().domain();
  const auto find = [&](const std::string& name) -> Result<const TableDef*> {
    if (const TableDef* table = domain.find_table(name)) return table;
    return failure(ErrorCode::bad_request, fmt::format("the domain has no table \"{}\"", name));
  };
  std::string text;
  for (const TargetPage::Change& change : page.changes()) {
    const auto table = find(change.table);
    if (!table) return tl::unexpected(table.error());
    Row row;
    if (const auto* given = std::get_if<std::string>(&change.row)) {
      const auto parsed = parse_json(*given);
      if (!parsed)
        return failure(ErrorCode::bad_request,
                       fmt::format("a row of table \"{}\": {}", change.table, parsed.error().message));
      auto read = row_from_json(**table, *parsed);
      if (!read) return tl::unexpected(read.error());
      row = std::move(*read);
    } else {
      row = std::get<Row>(change.row);
      if (row.size() != (*table)->columns.size())
        return failure(ErrorCode::bad_request,
                       fmt::format("a row of table \"{}\" has {} columns instead of {}; it was made for another "
                                   "declaration of the table",
                                   change.table, row.size(), (*table)->columns.size()));
      for (std::size_t i = 0; i < row.size(); ++i) {
        std::string why;
        if (!check_value((*table)->columns[i], row[i], &why))
          return failure(ErrorCode::bad_request,
                         fmt::format("table \"{}\", column \"{}\" {}", change.table, (*table)->columns[i].name, why));
      }
    }
    if (const ColumnDef* missing = missing_column(**table, row))
      return failure(ErrorCode::bad_request, fmt::format("a row of table \"{}\" lacks the column \"{}\", which has no "
                                                         "default",
                                                         change.table, missing->name));
    if (auto broken = broken_state(**table, row); !broken.empty())
      return failure(ErrorCode::bad_request, std::move(broken));
    text.clear();
    append_row_json(text, **table, row);
    writer.add_changed(change.table, text);
  }
  for (const TargetPage::Removal& removal : page.removals()) {
    const auto table = find(removal.table);
    if (!table) return tl::unexpected(table.error());
    std::string why;
    if (!check_value((*table)->key_column(), removal.key, &why))
      return failure(ErrorCode::bad_request, fmt::format("a removed key of table \"{}\" {}", removal.table, why));
    text.clear();
    append_value_json(text, (*table)->key_column().type, removal.key);
    writer.add_tombstoned(removal.table, text, std::nullopt);
  }
  return {};
}

TargetAdapter::Answer TargetAdapter::pull(std::string_view body) {
  const auto request = protocol::decode_pull_request(body);
  if (!request) return response(400, protocol::encode_error("bad_request", request.error().message));
  std::optional<Cursor> before = request->cursor.empty() ? Cursor{} : Cursor::parse(request->cursor);
  // A cursor of a server that this store synced with before says nothing here.
  bool is_reset = !before;
  if (!before) before.emplace();

  for (;;) {
    const bool begins = !before->known_through;
    if (begins) {
      const auto known = store_.known_through();
      if (!known) return response(503, protocol::encode_error("busy", known.error().message));
      before->known_through = number(*known);
    }
    auto page = guarded("pull", [&] {
      return target_->pull(TargetPull{.cursor = before->target, .limit = request->limit.value_or(1'000)});
    });
    if (!page && page.error().kind == TargetError::Kind::start_over && !before->target.empty()) {
      log_.warning("pull", "the backend wants this device to start over: " + page.error().message);
      before.emplace();
      is_reset = true;
      continue;
    }
    if (!page) return refuse("pull", page.error());

    protocol::PageWriter writer;
    if (auto written = write(*page, writer); !written) {
      log_.error("pull", written.error().message);
      return response(503, protocol::encode_error("busy", written.error().message));
    }
    Cursor after{.target = page->cursor};
    protocol::PageWriter::Tail tail;
    tail.epoch = kEpoch;
    tail.has_more = page->has_more;
    const std::uint64_t rows = before->rows + count(*page);
    if (page->has_more) {
      after.known_through = before->known_through;
      after.rows = rows;
    } else {
      tail.last_mutation_id = MutationId{*before->known_through};
    }
    if (page->total_rows) tail.progress = protocol::PullProgress{rows, std::max(rows, *page->total_rows)};
    // Listed anew and applied over nothing: what is not listed is gone. An empty cursor means that by itself.
    const bool lists_everything = page->is_everything && begins;
    tail.cursor_reset = is_reset || (lists_everything && !request->cursor.empty());
    if (lists_everything && !page->has_more) {
      protocol::PageWriter alone;
      if (auto written = write(*page, alone); !written) return tl::unexpected(written.error());
      after.everything = to_hex(sha256(as_bytes(alone.finish({}))));
      if (!is_reset && after.everything == before->everything) {
        // The same as before: nothing to do over.
        writer = protocol::PageWriter();
        tail.cursor_reset = false;
      }
    }
    tail.cursor = after.text();
    return response(200, writer.finish(tail));
  }
}

}  // namespace nizhal::net
