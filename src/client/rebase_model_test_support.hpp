// For the rebase's property test: a domain whose mutators read, search, count and write what depends on what they read,
// and a replay of it in memory that shares nothing with the store but the mutators themselves.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nizhal/crdt.hpp>
#include <nizhal/domain.hpp>

#include "base/ids.hpp"
#include "base/json.hpp"
#include "crdt/column.hpp"
#include "domain/arguments_codec.hpp"
#include "domain/compiled_domain.hpp"
#include "domain/hlc.hpp"
#include "domain/value_json.hpp"

namespace nizhal::client::testing {

struct Member {
  std::string id, user_id, shop_id;
};
struct Account {
  std::string id, shop_id;
  std::int64_t amount = 0;
};
struct Slip {
  std::string id, shop_id, text;
  std::int64_t number = 0;
  CrdtText body = {};
};
struct Act {
  std::string id, other;
  std::int64_t n = 0;
};
struct Name {
  std::string id;
  std::int64_t n = 0;
};

/// Ids end with a digit that says their shop.
inline std::string shop_of(const std::string& id) { return (id.back() - '0') % 2 == 0 ? "s0" : "s1"; }

inline Domain model_domain() {
  const auto members = table<Member>("members")
                           .key("id", &Member::id)
                           .column("user_id", &Member::user_id)
                           .column("shop_id", &Member::shop_id);
  const auto accounts = table<Account>("accounts")
                            .key("id", &Account::id)
                            .column("shop_id", &Account::shop_id)
                            .column("amount", &Account::amount)
                            .merge(Merge::Field);
  const auto slips = table<Slip>("slips")
                         .key("id", &Slip::id)
                         .column("shop_id", &Slip::shop_id)
                         .column("text", &Slip::text)
                         .column("number", &Slip::number)
                         .column("body", &Slip::body);
  Domain d("model");
  d.add(members).add(accounts).add(slips);
  const auto act = [&](const char* name, auto run) {
    d.mutator<Act>(name)
        .arg("id", &Act::id)
        .arg("other", &Act::other)
        .arg("n", &Act::n)
        .run([run, accounts, slips](MutatorContext& ctx, const Act& a) -> Outcome {
          return run(ctx, accounts, slips, a);
        });
  };
  act("put", [](auto& ctx, auto& rows, auto&, const Act& a) {
    ctx.upsert(rows, Account{a.id, shop_of(a.id), a.n});
    return done();
  });
  act("open", [](auto& ctx, auto& rows, auto&, const Act& a) {
    ctx.insert(rows, Account{a.id, shop_of(a.id), a.n});
    return done();
  });
  act("bump", [](auto& ctx, auto& rows, auto&, const Act& a) {
    const auto row = ctx.get(rows, a.id);
    if (!row) return reject("missing", "no such account");
    ctx.update(rows, a.id, {set("amount", row->amount + a.n)});
    return done();
  });
  act("close", [](auto& ctx, auto& rows, auto&, const Act& a) {
    return ctx.remove(rows, a.id) ? done() : reject("missing", "no such account");
  });
  act("move", [](auto& ctx, auto& rows, auto&, const Act& a) {
    const auto from = ctx.get(rows, a.id);
    ctx.upsert(rows, Account{a.other, shop_of(a.other), a.n});  // before it knows whether it may
    if (!from || from->amount < a.n) return reject("too_little", "not that much there");
    ctx.update(rows, a.id, {set("amount", from->amount - a.n)});
    return done();
  });
  // Which row it writes depends on what it reads.
  act("follow", [](auto& ctx, auto& rows, auto& notes, const Act& a) {
    const auto row = ctx.get(rows, a.id);
    const std::string target = "a" + std::to_string(row ? static_cast<unsigned>(row->amount) % 6 : 5);
    if (const auto there = ctx.get(rows, target))
      ctx.upsert(notes, Slip{target, shop_of(target), "follows " + a.id, there->amount});
    else
      ctx.insert(rows, Account{target, shop_of(target), a.n});
    return done();
  });
  act("number", [](auto& ctx, auto&, auto& notes, const Act& a) {
    ctx.upsert(notes,
               Slip{a.id, shop_of(a.id), "numbered", ctx.next_in_bucket(notes, "number", "shop_id", shop_of(a.id))});
    return done();
  });
  act("total", [](auto& ctx, auto& rows, auto& notes, const Act& a) {
    std::int64_t sum = 0;
    for (const Account& row : ctx.find(from(rows).where(eq("shop_id", shop_of(a.other))))) sum += row.amount;
    ctx.upsert(notes, Slip{a.id, shop_of(a.id), "total", sum});
    return done();
  });
  act("stamp", [](auto& ctx, auto&, auto& notes, const Act& a) {
    ctx.upsert(notes, Slip{a.id, shop_of(a.id), ctx.new_id(), ctx.now().microseconds});
    return done();
  });
  // What it writes is merged into what is there.
  act("write", [](auto& ctx, auto&, auto& notes, const Act& a) {
    ctx.upsert(notes,
               Slip{a.id, shop_of(a.id), "written", a.n, crdt_text("body", a.other + std::to_string(a.n) + ";")});
    return done();
  });
  act("type", [](auto& ctx, auto&, auto& notes, const Act& a) {
    const auto typed = crdt_text("body", "typed " + std::to_string(a.n) + ";");
    return ctx.update(notes, a.id, {set("body", Blob{typed.state})}) ? done() : reject("missing", "no such slip");
  });
  d.mutator<Name>("make")
      .arg("id", &Name::id, new_id_of(accounts))
      .arg("n", &Name::n)
      .run([accounts](MutatorContext& ctx, const Name& a) -> Outcome {
        ctx.insert(accounts, Account{a.id, shop_of(a.id), a.n});
        return done();
      });
  d.mutator<Name>("touch")
      .arg("id", &Name::id, references(accounts))
      .arg("n", &Name::n)
      .run([accounts](MutatorContext& ctx, const Name& a) -> Outcome {
        return ctx.update(accounts, a.id, {set("amount", a.n)}) ? done() : reject("missing", "no such account");
      });
  d.rule("shops")
      .membership(members, where("user_id", actor::user_id), bucket("shopId", "shop_id"))
      .data(accounts, eq("shop_id", "shopId"))
      .data(slips, eq("shop_id", "shopId"));
  return d;
}

using Tables = std::map<std::string, std::map<std::string, Row>>;  // table → key → row
using Images = std::map<std::pair<std::string, std::string>, std::optional<Row>>;
using IdMap = std::map<std::pair<std::string, std::string>, std::pair<std::string, std::string>>;  // → key, mutation

/// One mutation as the outbox or the wire has it.
struct Call {
  std::string name, args, id_seed, hlc, client_mutation_id;
};

class MemoryRun : public MutatorBackend {
 public:
  MemoryRun(Tables& tables, const Call& call, Actor actor) : tables_(tables), call_(call), actor_(std::move(actor)) {}

  Images images;  // of the rows written, as they were
  std::optional<Outcome> refused;

  std::optional<Row> get(const TableDef& table, const Value& key, Scope) override {
    const auto& rows = tables_[table.name];
    const auto it = rows.find(key_text(key));
    return it == rows.end() || refused ? std::nullopt : std::optional<Row>(it->second);
  }
  /// Conditions are equalities and "is not null", as above.
  std::vector<Row> find(const QuerySpec& query, Scope) override {
    std::vector<Row> found;
    if (refused) return found;
    for (const auto& [key, row] : tables_[query.table->name]) {
      bool fits = true;
      for (const Condition& condition : query.conditions)
        fits = fits && row[query.table->index_of(condition.column)] == condition.operand;
      if (fits) found.push_back(row);
    }
    return found;
  }
  void insert(const TableDef& table, const Row& row, Scope scope) override {
    if (refused) return;
    const Value& key = row[table.key_index()];
    if (get(table, key, scope)) {
      refused = reject("already_exists", "");
      return;
    }
    write(table, key, row);
  }
  void upsert(const TableDef& table, const Row& row, Scope) override {
    if (!refused) write(table, row[table.key_index()], row);
  }
  bool update(const TableDef& table, const Value& key, const std::vector<std::pair<std::size_t, Value>>& changes,
              Scope scope) override {
    auto row = get(table, key, scope);
    if (!row) return false;
    for (const auto& [column, value] : changes) (*row)[column] = value;
    write(table, key, *row);
    return true;
  }
  bool remove(const TableDef& table, const Value& key, Scope scope) override {
    if (!get(table, key, scope)) return false;
    write(table, key, std::nullopt);
    return true;
  }
  std::int64_t next_in_bucket(const TableDef& table, std::string_view number, std::string_view bucket_column,
                              const Value& bucket, Scope) override {
    std::int64_t highest = 0;
    for (const auto& [key, row] : tables_[table.name])
      if (row[table.index_of(bucket_column)] == bucket)
        highest = std::max(highest, std::get<std::int64_t>(row[table.index_of(number)]));
    return highest + 1;
  }
  Timestamp now() override { return parse_hlc(call_.hlc)->time(); }
  std::string new_id() override { return derived_uuid(call_.id_seed, ids_++); }
  const Actor& actor() const override { return actor_; }
  bool on_server() const override { return false; }
  void mark_unscoped() override {}
  void fail_usage(std::string message) override { refused = reject("internal", std::move(message)); }

 private:
  void write(const TableDef& table, const Value& key, std::optional<Row> row) {
    auto& rows = tables_[table.name];
    const std::string text = key_text(key);
    const auto it = rows.find(text);
    images.try_emplace({table.name, text}, it == rows.end() ? std::nullopt : std::optional<Row>(it->second));
    for (std::size_t i = 0; row && i < row->size(); ++i) {
      if (!is_crdt(table.columns[i].type)) continue;
      const crdt::Bytes state = it == rows.end() ? crdt::Bytes() : std::get<Blob>(it->second[i]).bytes;
      auto merged =
          crdt::merge_column(table.columns[i].type, table.columns[i].name, state, std::get<Blob>((*row)[i]).bytes);
      if (merged)
        (*row)[i] = Blob{std::move(merged->state)};
      else
        refused = reject("invalid_update", merged.error().message);
    }
    if (row)
      rows.insert_or_assign(text, std::move(*row));
    else
      rows.erase(text);
  }
  Tables& tables_;
  const Call& call_;
  Actor actor_;
  std::uint64_t ids_ = 0;
};

/// Runs it on `tables`; a refusal leaves them as they were. What it wrote over, or nothing when it refused.
inline std::optional<Images> run_in_memory(const CompiledDomain& domain, Tables& tables, const Call& call,
                                           const Actor& actor, const IdMap& ids) {
  const MutatorDef* mutator = domain.domain().find_mutator(call.name);
  const auto args = parse_json(call.args);
  if (!mutator || !args) return std::nullopt;
  auto values = decode_arguments(*mutator, *args);
  if (!values) return std::nullopt;
  for (std::size_t i = 0; i < mutator->arguments.size(); ++i) {
    const ArgumentDef& argument = mutator->arguments[i];
    const auto mapped =
        ids.find({argument.references.empty() ? argument.new_id_of : argument.references, key_text((*values)[i])});
    if (mapped == ids.end()) continue;
    if (!argument.references.empty() || mapped->second.second == call.client_mutation_id)
      (*values)[i] = mapped->second.first;
  }
  const Tables before = tables;
  MemoryRun run(tables, call, actor);
  MutatorContext context(run);
  std::string thrown;
  const Outcome outcome = call_mutator(*mutator, context, *values, &thrown);
  if (outcome.is_done() && !run.refused) return std::move(run.images);
  tables = before;
  return std::nullopt;
}

}  // namespace nizhal::client::testing
