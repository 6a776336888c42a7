#include "storage/postgres/table_migration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/ids.hpp"
#include "query/to_sql.hpp"
#include "storage/merge_columns.hpp"
#include "storage/postgres/bucket_sql.hpp"
#include "storage/postgres/drift.hpp"
#include "storage/postgres/engine_schema.hpp"
#include "storage/postgres/merge_triggers.hpp"
#include "storage/postgres/table_ddl.hpp"
#include "storage/postgres/triggers.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

std::string text_array(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + text_literal(text);
  return fmt::format("ARRAY[{}]::text[]", list);
}

class TableMigration {
 public:
  TableMigration(MigrationSession& session, const CompiledDomain& domain, std::size_t table, const LiveSchema& live,
                 Random& random, const MigrationTuning& tuning)
      : session_(session),
        domain_(domain),
        index_(table),
        def_(domain.table(table)),
        schema_(live.schema),
        name_(qualified(live.schema, def_.name)),
        place_(fmt::format("table \"{}\"", def_.name)),
        live_schema_(live),
        random_(random),
        tuning_(tuning) {
    if (const auto found = live.recorded.find(def_.name); found != live.recorded.end()) recorded_ = &found->second;
  }

  Result<std::vector<std::string>> run() {
    const auto found = live_schema_.tables.find(def_.name);
    if (found == live_schema_.tables.end()) {
      if (auto done = create(); !done) return tl::unexpected(done.error());
      return std::move(sentences_);
    }
    live_ = &found->second;
    if (auto done = reshape(); !done) return tl::unexpected(done.error());
    if (auto done = indexes(); !done) return tl::unexpected(done.error());
    if (!is_ready_) {
      if (auto done = count_memberships(); !done) return tl::unexpected(done.error());
      if (auto done = session_.in_transaction(
              place_, [&]() -> Result<void> { return session_.run(record_sql(domain_, index_, true)); });
          !done)
        return tl::unexpected(done.error());
      if (recorded_ != nullptr && !recorded_->ready) did(fmt::format("finished what was begun with {}", place_));
    }
    return std::move(sentences_);
  }

 private:
  void did(std::string sentence) { sentences_.push_back(std::move(sentence)); }

  Result<void> create() {
    session_.tell("creating " + place_);
    auto done = session_.in_transaction(place_, [&]() -> Result<void> {
      std::string script;
      for (const std::string& sql : create_table_sql(domain_, index_, schema_)) script += sql + ";\n";
      // Its rows went with nobody noticing.
      if (recorded_ != nullptr) {
        script += fmt::format("DELETE FROM nizhal.bucket_grant WHERE definition = ANY ({});\n",
                              text_array(grant_definitions_of(domain_, index_)));
        script += new_epoch_sql(random_) + ";\n";
      }
      return session_.run(script);
    });
    if (!done) return done;
    did(recorded_ == nullptr ? fmt::format("created {}", place_)
                             : fmt::format("{} was gone and is created anew, empty: a new epoch makes devices start "
                                           "afresh",
                                           place_));
    return {};
  }

  /// Columns first, so that the triggers find them.
  std::vector<std::string> alterations(bool has_rows) {
    std::vector<std::string> parts;
    const auto alter_column = [](std::string_view column, std::string_view what) {
      return fmt::format("ALTER COLUMN {} {}", quote_identifier(column), what);
    };
    for (const ColumnDef& column : def_.columns) {
      const LiveColumn* stored = live_->column(column.name);
      if (stored == nullptr) {
        std::string ddl = column_ddl(def_, column);
        const bool needs_value = !column.nullable && !column.default_value && has_rows;
        if (needs_value) ddl += " DEFAULT " + zero_sql(column.type);
        parts.push_back("ADD COLUMN " + ddl);
        if (needs_value) later_.push_back(alter_column(column.name, "DROP DEFAULT"));
        did(fmt::format("added column \"{}\" to {}{}", column.name, place_,
                        needs_value ? fmt::format("; rows that were there have {} in it", zero_sql(column.type)) : ""));
        if (recorded_ != nullptr && recorded_->column(column.name) != nullptr)
          unseen_ = fmt::format("column \"{}\" of {} was gone with its values", column.name, place_);
        continue;
      }
      if (!fits(column.type, stored->type)) {
        if (stored->has_default) parts.push_back(alter_column(column.name, "DROP DEFAULT"));
        later_.push_back(retype_sql(schema_, def_, column, stored->type).substr(("ALTER TABLE " + name_ + " ").size()));
        if (column.default_value && !is_null(*column.default_value))
          last_.push_back(alter_column(column.name, "SET DEFAULT " + constant_sql(column.type, *column.default_value)));
        did(fmt::format("column \"{}\" of {} is {} now", column.name, place_, type_sql(column.type)));
      }
      if (column.nullable && stored->not_null && column.name != def_.key) {
        parts.push_back(alter_column(column.name, "DROP NOT NULL"));
        did(fmt::format("column \"{}\" of {} may be null now", column.name, place_));
      }
    }
    if (recorded_ != nullptr) {
      for (const auto& [name, type] : recorded_->columns) {
        if (def_.index_of(name) != TableDef::npos) continue;
        const LiveColumn* stored = live_->column(name);
        if (stored != nullptr && stored->not_null && !stored->has_default && !stored->is_generated)
          parts.push_back(alter_column(name, "DROP NOT NULL"));
        did(fmt::format("column \"{}\" of {} is no longer synced; it stays in the database", name, place_));
      }
    }
    if (is_versioned(domain_, index_) && live_->column(kVersionColumn) == nullptr)
      parts.push_back("ADD COLUMN " + version_column_ddl());
    for (const std::string& column : merge_columns(domain_, index_)) {
      const bool is_there = live_->column(column) != nullptr;
      if (is_there && has_kept(column)) continue;
      // Left from a time when the table merged; what was written since is not in it.
      if (is_there) drops_.push_back(fmt::format("DROP COLUMN {}", column));
      parts.push_back("ADD COLUMN " + merge_column_ddl(column));
      did(fmt::format("{} has the engine's column \"{}\" from now on", place_, column));
    }
    return parts;
  }

  /// The table's triggers have kept the column until now.
  bool has_kept(std::string_view column) const {
    for (const TriggerFunction& function : live_functions(live_schema_, def_.name))
      if (function.name == merge_function_name(def_.name)) return function.body.find(column) != std::string::npos;
    return false;
  }

  /// Why writes may have gone unseen; empty when none has.
  std::string unseen() const {
    if (!is_versioned(domain_, index_)) return {};
    const std::string stored = trigger_digest(live_triggers(*live_), live_functions(live_schema_, def_.name));
    if (recorded_ == nullptr)
      return live_->column(kVersionColumn) == nullptr ? "" : fmt::format("{} was synced before, and not since", place_);
    if (stored != recorded_->triggers)
      return fmt::format("{} was without the engine's triggers, or they were changed", place_);
    if (domain_.is_delivered(index_) && recorded_->was_delivered && !recorded_->delivered)
      return fmt::format("{} was delivered before, and not since", place_);
    return {};
  }

  Result<void> reshape() {
    const std::vector<TableTrigger> planned = triggers_of(domain_, index_);
    const std::vector<TriggerFunction> functions = functions_of(domain_, index_);
    const std::string wanted = trigger_digest(planned, functions);
    const std::string stored = trigger_digest(live_triggers(*live_), live_functions(live_schema_, def_.name));
    unseen_ = unseen();
    std::vector<std::string> parts = alterations(live_->has_rows);
    is_ready_ = recorded_ != nullptr && recorded_->ready && !gains_definitions() && unseen_.empty();
    const bool same_columns = recorded_ != nullptr && recorded_->columns.size() == def_.columns.size() &&
                              std::all_of(def_.columns.begin(), def_.columns.end(), [this](const ColumnDef& column) {
                                const std::string* before = recorded_->column(column.name);
                                return before != nullptr && *before == recorded_type(column);
                              });
    if (parts.empty() && later_.empty() && unseen_.empty() && stored == wanted && same_columns &&
        recorded_->triggers == wanted && recorded_->delivered == domain_.is_delivered(index_) &&
        recorded_->definitions == grant_definitions_of(domain_, index_))
      return {};
    session_.tell(fmt::format("{}: columns and triggers", place_));
    auto done = session_.in_transaction(
        place_, [&]() -> Result<void> { return in_one_transaction(parts, planned, functions, stored != wanted); });
    if (!done) return done;
    if (stored != wanted)
      did(recorded_ == nullptr ? fmt::format("{} has the engine's triggers from now on", place_)
                               : fmt::format("made the triggers of {} anew", place_));
    if (recorded_ != nullptr && recorded_->delivered != domain_.is_delivered(index_))
      did(fmt::format("{} is {} from now on", place_,
                      domain_.is_delivered(index_) ? "delivered, with the rows it has," : "no longer delivered"));
    else if (sentences_.empty())
      did(fmt::format("{} is noted as it is", place_));
    if (!unseen_.empty()) did(unseen_ + ": a new epoch makes devices start afresh");
    return {};
  }

  Result<void> in_one_transaction(const std::vector<std::string>& parts, const std::vector<TableTrigger>& planned,
                                  const std::vector<TriggerFunction>& functions, bool changes_triggers) {
    std::vector<std::string> drops;
    std::vector<std::string> creates;
    if (changes_triggers) {
      for (const LiveTrigger& live : live_->triggers)
        if (!is_kept(live, planned))
          drops.push_back(fmt::format("DROP TRIGGER {} ON {}", quote_identifier(live.name), name_));
      for (const TriggerFunction& function : functions) creates.push_back(function.create_sql());
      for (const TableTrigger& trigger : planned)
        if (std::none_of(live_->triggers.begin(), live_->triggers.end(),
                         [&](const LiveTrigger& live) { return live.name == trigger.name && is_kept(live, planned); }))
          creates.push_back(trigger.create_sql(schema_, def_.name));
      for (const TriggerFunction& live : live_functions(live_schema_, def_.name))
        if (std::none_of(functions.begin(), functions.end(),
                         [&live](const TriggerFunction& other) { return other.name == live.name; }))
          creates.push_back(fmt::format("DROP FUNCTION nizhal.{}()", quote_identifier(live.name)));
    }
    // The strongest lock first: getting there from a weaker one is how deadlocks come about.
    const bool alters = !parts.empty() || !later_.empty() || !drops.empty();
    std::string script =
        fmt::format("LOCK TABLE {} IN {} MODE;\n", name_, alters ? "ACCESS EXCLUSIVE" : "SHARE ROW EXCLUSIVE");
    for (const auto* list : {&std::as_const(drops_), &parts, &std::as_const(later_), &std::as_const(last_)}) {
      std::string together;
      for (const std::string& part : *list) together += (together.empty() ? "" : ", ") + part;
      if (!together.empty()) script += fmt::format("ALTER TABLE {} {};\n", name_, together);
    }
    for (const auto* list : {&drops, &creates})
      for (const std::string& sql : *list) script += sql + ";\n";
    if (auto done = session_.run(script); !done) return done;
    if (auto done = grants(); !done) return done;
    auto rows = session_.query(fmt::format("SELECT EXISTS (SELECT FROM {})", name_));
    if (!rows) return tl::unexpected(rows.error());
    if (!rows->boolean(0, 0)) {
      // An empty table needs no building beside writers, and nothing in it is to be counted.
      for (const TableIndex& one : indexes_of(domain_, index_))
        if (live_->index(one.name) == nullptr) {
          if (auto done = session_.run(one.create_sql(schema_, def_.name, false)); !done) return done;
        }
      was_empty_ = true;
    }
    if (!unseen_.empty())
      if (auto done = session_.run(new_epoch_sql(random_)); !done) return done;
    return session_.run(record_sql(domain_, index_, is_ready_));
  }

  static bool is_kept(const LiveTrigger& live, const std::vector<TableTrigger>& planned) {
    return live.is_plain && live.is_enabled &&
           std::any_of(planned.begin(), planned.end(), [&live](const TableTrigger& other) {
             return other.name == live.name && other.function == live.function && other.type == live.type;
           });
  }

  bool gains_definitions() const {
    if (recorded_ == nullptr) return true;
    for (const std::string& id : grant_definitions_of(domain_, index_))
      if (std::find(recorded_->definitions.begin(), recorded_->definitions.end(), id) == recorded_->definitions.end())
        return true;
    return false;
  }

  /// Rows that are counted under some definition are counted at once under new ones, while nobody can change them; rows
  /// from before the engine are left to count_memberships.
  Result<void> grants() {
    for (const std::string& id : grant_definitions_of(domain_, index_)) {
      const bool is_kept =
          recorded_ != nullptr && unseen_.empty() &&
          std::find(recorded_->definitions.begin(), recorded_->definitions.end(), id) != recorded_->definitions.end();
      if (is_kept) continue;
      auto done = session_.run(fmt::format("DELETE FROM nizhal.bucket_grant WHERE definition = {};\n{}",
                                           text_literal(id), count_grants_sql(domain_, index_, id, schema_)));
      if (!done) return done;
    }
    return {};
  }

  Result<void> indexes() {
    const std::vector<TableIndex> planned = indexes_of(domain_, index_);
    for (const TableIndex& one : planned) {
      const LiveIndex* live = live_->index(one.name);
      if (live != nullptr && live->is_valid && serves_as(*live, one)) continue;
      if (live == nullptr && was_empty_) continue;
      const std::string what = fmt::format("index \"{}\" of {}", one.name, place_);
      session_.tell(fmt::format("building {} beside the writers", what));
      if (live != nullptr)
        if (auto done = session_.concurrently(
                what, fmt::format("DROP INDEX CONCURRENTLY IF EXISTS {}", qualified(schema_, one.name)));
            !done)
          return done;
      if (auto done = session_.concurrently(what, one.create_sql(schema_, def_.name, true)); !done) return done;
      did("built " + what);
    }
    for (const LiveIndex& one : live_->indexes) {
      if (!is_engine_index(one.name) || std::any_of(planned.begin(), planned.end(),
                                                    [&one](const TableIndex& other) { return other.name == one.name; }))
        continue;
      const std::string what = fmt::format("index \"{}\" of {}", one.name, place_);
      if (auto done = session_.concurrently(
              what, fmt::format("DROP INDEX CONCURRENTLY IF EXISTS {}", qualified(schema_, one.name)));
          !done)
        return done;
      did("dropped " + what);
    }
    return {};
  }

  /// Rows from before the engine: written as they are, so that the triggers count them. In the order of the key, a
  /// bounded number in each transaction; what is written meanwhile counts itself.
  Result<void> count_memberships() {
    if (!domain_.is_membership(index_)) return {};
    const std::string key = quote_identifier(def_.key);
    constexpr int kPassesMax = 10;
    std::uint64_t counted = 0;
    for (int pass = 1;; ++pass) {
      std::optional<std::string> last;
      for (bool is_last = false; !is_last;) {
        std::uint64_t changed = 0;
        auto done = session_.in_transaction(place_, [&]() -> Result<void> {
          // It may meet writers that lock rows and grants in another order: see MigrationTuning::lock_timeout.
          auto batch = session_.query(
              fmt::format("WITH batch AS MATERIALIZED (SELECT {0} FROM {1} {2} ORDER BY {0} LIMIT {3}), counted AS "
                          "(UPDATE {1} AS t "
                          "SET {4} = t.{4} WHERE t.{0} IN (SELECT {0} FROM batch) AND t.{4} = 0 RETURNING 1) "
                          "SELECT (SELECT {0} FROM batch ORDER BY {0} DESC LIMIT 1), (SELECT count(*) FROM batch), "
                          "(SELECT count(*) FROM counted)",
                          key, name_, last ? fmt::format("WHERE {} > {}", key, text_literal(*last)) : "",
                          tuning_.batch_rows, kVersionColumn));
          if (!batch) return tl::unexpected(batch.error());
          next_ = std::string(batch->text(0, 0));
          is_last = batch->integer(0, 1) < static_cast<std::int64_t>(tuning_.batch_rows);
          changed = static_cast<std::uint64_t>(batch->integer(0, 2));
          return {};
        });
        if (!done) return done;
        last = next_;
        counted += changed;
        if (changed > 0 && !is_last) session_.tell(fmt::format("{}: {} memberships counted", place_, counted));
      }
      auto left = session_.query(fmt::format("SELECT EXISTS (SELECT FROM {} WHERE {} = 0)", name_, kVersionColumn));
      if (!left) return tl::unexpected(left.error());
      if (!left->boolean(0, 0)) break;
      if (pass == kPassesMax)
        return failure(ErrorCode::schema_mismatch,
                       fmt::format("rows without version keep appearing in {}: do its triggers fire?", place_));
    }
    if (counted > 0) did(fmt::format("counted {} memberships of {}", counted, place_));
    return {};
  }

  MigrationSession& session_;
  const CompiledDomain& domain_;
  const std::size_t index_;
  const TableDef& def_;
  const std::string schema_, name_, place_;
  const LiveSchema& live_schema_;
  Random& random_;
  const MigrationTuning& tuning_;
  const LiveTable* live_ = nullptr;
  const RecordedTable* recorded_ = nullptr;
  std::vector<std::string> drops_, later_, last_;  // parts of ALTER TABLE before and after the first ones
  std::string unseen_, next_;
  std::vector<std::string> sentences_;
  bool is_ready_ = false, was_empty_ = false;
};

}  // namespace

Result<std::vector<std::string>> migrate_table(MigrationSession& session, const CompiledDomain& domain,
                                               std::size_t table, const LiveSchema& live, Random& random,
                                               const MigrationTuning& tuning) {
  return TableMigration(session, domain, table, live, random, tuning).run();
}

Result<void> release_table(MigrationSession& session, const LiveSchema& live, const std::string& table) {
  const auto found = live.tables.find(table);
  const std::string place = fmt::format("table \"{}\"", table);
  auto done = session.in_transaction(place, [&]() -> Result<void> {
    std::string script;
    if (found != live.tables.end()) {
      const std::string name = qualified(live.schema, table);
      script += fmt::format("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE;\n", name);
      for (const LiveTrigger& trigger : found->second.triggers)
        script += fmt::format("DROP TRIGGER {} ON {};\n", quote_identifier(trigger.name), name);
    }
    for (const TriggerFunction& function : live_functions(live, table))
      script += fmt::format("DROP FUNCTION nizhal.{}();\n", quote_identifier(function.name));
    return session.run(script);
  });
  if (!done) return done;
  if (found != live.tables.end()) {
    for (const LiveIndex& index : found->second.indexes) {
      if (!is_engine_index(index.name)) continue;
      if (auto dropped = session.concurrently(
              place, fmt::format("DROP INDEX CONCURRENTLY IF EXISTS {}", qualified(live.schema, index.name)));
          !dropped)
        return dropped;
    }
  }
  // Last, so that a run that is killed before is taken up again.
  return session.in_transaction(place, [&]() -> Result<void> {
    return session.run(fmt::format("DELETE FROM nizhal.synced_table WHERE table_name = {}", text_literal(table)));
  });
}

std::string new_epoch_sql(Random& random) {
  // Nor can counters rely on versions then.
  return fmt::format("UPDATE nizhal.state SET epoch = {}; UPDATE nizhal.counter SET through = 0",
                     text_literal(random_uuid(random)));
}

}  // namespace nizhal::storage::postgres_schema
