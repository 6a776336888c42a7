#include "storage/sqlite/engine_tables.hpp"

namespace nizhal::storage {
namespace {

// `writing` is 1 only inside an engine transaction, which sets it back before it commits: other connections never see
// it, so a trigger that reads 0 knows that another program writes, and takes a version of its own.
constexpr const char* kTables = R"sql(
CREATE TABLE nizhal_state (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch TEXT NOT NULL,
  format INTEGER NOT NULL,
  domain TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 0,
  writing INTEGER NOT NULL DEFAULT 0,
  now_us INTEGER NOT NULL DEFAULT 0,
  pruned_through INTEGER NOT NULL DEFAULT 0,
  grants_version INTEGER NOT NULL DEFAULT 0,
  changes_pruned_through INTEGER NOT NULL DEFAULT 0,
  recent_pruned_through INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE nizhal_schema (
  table_name TEXT PRIMARY KEY NOT NULL,
  columns TEXT NOT NULL,
  delivered INTEGER NOT NULL,
  triggers TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE nizhal_removal (
  seq INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  bucket TEXT NOT NULL,
  table_name TEXT NOT NULL,
  key TEXT NOT NULL,
  client_key TEXT,
  deleted INTEGER NOT NULL,
  at_us INTEGER NOT NULL
);
CREATE INDEX nizhal_removal_bucket ON nizhal_removal (bucket, version);
CREATE INDEX nizhal_removal_at ON nizhal_removal (at_us);
CREATE TABLE nizhal_grant (
  definition TEXT NOT NULL,
  subject TEXT NOT NULL,
  bucket TEXT NOT NULL,
  gained INTEGER NOT NULL,
  PRIMARY KEY (definition, subject, bucket)
) WITHOUT ROWID;
CREATE TABLE nizhal_replaced (
  definition TEXT NOT NULL,
  subject TEXT NOT NULL,
  bucket TEXT NOT NULL
);
CREATE TABLE nizhal_client (
  client_id TEXT PRIMARY KEY NOT NULL,
  user_id TEXT NOT NULL,
  owner_id TEXT NOT NULL,
  last_mutation_id INTEGER NOT NULL,
  last_client_mutation_id TEXT NOT NULL,
  last_hlc TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE nizhal_mutation (
  seq INTEGER PRIMARY KEY,
  client_id TEXT,
  mutation_id INTEGER,
  client_mutation_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  owner_id TEXT NOT NULL,
  name TEXT NOT NULL,
  applied INTEGER NOT NULL,
  http_status INTEGER NOT NULL,
  code TEXT NOT NULL,
  error TEXT NOT NULL,
  server_id TEXT,
  affected_buckets TEXT,
  version INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  conflicts TEXT NOT NULL DEFAULT '',
  UNIQUE (user_id, owner_id, client_mutation_id)
);
CREATE INDEX nizhal_mutation_client ON nizhal_mutation (client_id, mutation_id);
CREATE INDEX nizhal_mutation_at ON nizhal_mutation (at_us);
CREATE TABLE nizhal_id_map (
  client_id TEXT NOT NULL,
  table_name TEXT NOT NULL,
  id TEXT NOT NULL,
  server_id TEXT NOT NULL,
  PRIMARY KEY (client_id, table_name, id)
) WITHOUT ROWID;
CREATE TABLE nizhal_audit (
  seq INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  at_us INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  owner_id TEXT NOT NULL,
  client_id TEXT,
  mutation_id INTEGER,
  client_mutation_id TEXT NOT NULL,
  mutator TEXT NOT NULL,
  outcome TEXT NOT NULL,
  unscoped INTEGER NOT NULL,
  buckets TEXT NOT NULL,
  changes TEXT NOT NULL
);
CREATE INDEX nizhal_audit_version ON nizhal_audit (version);
CREATE INDEX nizhal_audit_at ON nizhal_audit (at_us);
CREATE TABLE nizhal_counter (
  table_name TEXT NOT NULL,
  number_column TEXT NOT NULL,
  bucket_column TEXT NOT NULL,
  bucket TEXT NOT NULL,
  last INTEGER NOT NULL,
  through INTEGER NOT NULL,
  PRIMARY KEY (table_name, number_column, bucket_column, bucket)
) WITHOUT ROWID;
)sql";

// Inside a trigger the conflict clause of the statement that fired it counts, so none is given here.
constexpr const char* kChanges = R"sql(
CREATE TABLE nizhal_grant_change (
  version INTEGER NOT NULL,
  definition TEXT NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (version, definition, subject)
) WITHOUT ROWID;
CREATE TRIGGER nizhal_grant_gained AFTER INSERT ON nizhal_grant BEGIN
  UPDATE nizhal_state SET grants_version = version;
  INSERT INTO nizhal_grant_change (version, definition, subject)
  SELECT s.version, NEW.definition, NEW.subject FROM nizhal_state AS s WHERE NOT EXISTS (SELECT 1 FROM
  nizhal_grant_change AS c WHERE c.version = s.version AND c.definition = NEW.definition AND c.subject = NEW.subject);
END;
CREATE TRIGGER nizhal_grant_lost AFTER DELETE ON nizhal_grant BEGIN
  UPDATE nizhal_state SET grants_version = version;
  INSERT INTO nizhal_grant_change (version, definition, subject)
  SELECT s.version, OLD.definition, OLD.subject FROM nizhal_state AS s WHERE NOT EXISTS (SELECT 1 FROM
  nizhal_grant_change AS c WHERE c.version = s.version AND c.definition = OLD.definition AND c.subject = OLD.subject);
END;
CREATE INDEX nizhal_removal_version ON nizhal_removal (version);
)sql";

constexpr const char* kWithoutChanges = R"sql(
DROP TRIGGER nizhal_grant_gained;
DROP TRIGGER nizhal_grant_lost;
ALTER TABLE nizhal_state ADD COLUMN changes_pruned_through INTEGER NOT NULL DEFAULT 0;
UPDATE nizhal_state SET format = 2;
)sql";

constexpr const char* kMerging = R"sql(
ALTER TABLE nizhal_mutation ADD COLUMN conflicts TEXT NOT NULL DEFAULT '';
ALTER TABLE nizhal_state ADD COLUMN recent_pruned_through INTEGER NOT NULL DEFAULT 0;
UPDATE nizhal_state SET format = 3;
)sql";

}  // namespace

std::string engine_tables_sql() { return std::string(kTables) + kChanges; }

std::string from_format_sql(std::int64_t from) {
  switch (from) {
    case 1:
      return std::string(kWithoutChanges) + kChanges;
    case 2:
      return kMerging;
    default:
      return {};
  }
}

}  // namespace nizhal::storage
