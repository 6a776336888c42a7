#include "storage/postgres/engine_schema.hpp"

#include <fmt/format.h>

#include <iterator>

#include "base/bytes.hpp"

namespace nizhal::storage::postgres_schema {
namespace {

// Text that is compared and ordered is compared and ordered as bytes, whatever the database's collation.
constexpr const char* kTables[] = {
    "CREATE SCHEMA nizhal",
    "CREATE SEQUENCE nizhal.version_seq AS bigint INCREMENT 1 MINVALUE 1 START 1 CACHE 1 NO CYCLE",
    // A fresh sequence reports 1 both before and after its first use; this one has been used.
    "SELECT setval('nizhal.version_seq', 1, true)",
    R"sql(CREATE TABLE nizhal.state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  domain text NOT NULL,
  format integer NOT NULL,
  epoch text NOT NULL,
  pruned_through bigint NOT NULL DEFAULT 0,
  min_client_version text NOT NULL DEFAULT '',
  changes_pruned_through bigint NOT NULL DEFAULT 0,
  recent_pruned_through bigint NOT NULL DEFAULT 0
))sql",
    R"sql(CREATE TABLE nizhal.synced_table (
  table_name text COLLATE "C" PRIMARY KEY,
  columns text NOT NULL,
  delivered boolean NOT NULL,
  was_delivered boolean NOT NULL,
  triggers text NOT NULL,
  definitions text NOT NULL,
  ready boolean NOT NULL DEFAULT false
))sql",
    R"sql(CREATE TABLE nizhal.removal (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  version bigint NOT NULL,
  bucket text COLLATE "C" NOT NULL,
  table_name text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  client_key text COLLATE "C",
  deleted boolean NOT NULL,
  at_us bigint NOT NULL
))sql",
    "CREATE INDEX removal_bucket ON nizhal.removal (bucket, version, seq)",
    "CREATE INDEX removal_version ON nizhal.removal (version)",
    R"sql(CREATE TABLE nizhal.bucket_grant (
  definition text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  bucket text COLLATE "C" NOT NULL,
  gained bigint NOT NULL,
  granting_rows bigint NOT NULL,
  PRIMARY KEY (definition, subject, bucket)
) WITH (fillfactor = 80))sql",
    R"sql(CREATE TABLE nizhal.grant_change (
  version bigint NOT NULL,
  definition text COLLATE "C" NOT NULL DEFAULT '',
  subject text COLLATE "C" NOT NULL DEFAULT '',
  PRIMARY KEY (version, definition, subject)
))sql",
    R"sql(CREATE TABLE nizhal.client (
  client_id text COLLATE "C" PRIMARY KEY,
  user_id text NOT NULL,
  owner_id text NOT NULL,
  last_mutation_id bigint NOT NULL,
  last_client_mutation_id text NOT NULL,
  last_hlc text NOT NULL
) WITH (fillfactor = 70))sql",
    R"sql(CREATE TABLE nizhal.mutation (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  client_id text COLLATE "C",
  mutation_id bigint,
  client_mutation_id text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  owner_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  applied boolean NOT NULL,
  http_status integer NOT NULL,
  code text NOT NULL,
  error text NOT NULL,
  server_id text,
  affected_buckets text,
  version bigint NOT NULL,
  at_us bigint NOT NULL,
  conflicts text NOT NULL DEFAULT '',
  UNIQUE (client_mutation_id, user_id, owner_id)
))sql",
    "CREATE INDEX mutation_client ON nizhal.mutation (client_id, mutation_id)",
    R"sql(CREATE TABLE nizhal.id_map (
  client_id text COLLATE "C" NOT NULL,
  table_name text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  server_id text NOT NULL,
  PRIMARY KEY (client_id, table_name, id)
))sql",
    R"sql(CREATE TABLE nizhal.audit (
  seq bigint GENERATED ALWAYS AS IDENTITY,
  version bigint NOT NULL,
  at_us bigint NOT NULL,
  user_id text NOT NULL,
  owner_id text NOT NULL,
  client_id text,
  mutation_id bigint,
  client_mutation_id text NOT NULL,
  mutator text NOT NULL,
  outcome text NOT NULL,
  unscoped boolean NOT NULL,
  buckets text NOT NULL,
  changes text NOT NULL,
  PRIMARY KEY (version, seq)
))sql",
    R"sql(CREATE TABLE nizhal.counter (
  table_name text COLLATE "C" NOT NULL,
  number_column text COLLATE "C" NOT NULL,
  bucket_column text COLLATE "C" NOT NULL,
  bucket text COLLATE "C" NOT NULL,
  last bigint NOT NULL,
  through bigint NOT NULL,
  PRIMARY KEY (table_name, number_column, bucket_column, bucket)
) WITH (fillfactor = 70))sql",
    R"sql(CREATE FUNCTION nizhal.now_us() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(nullif(current_setting('nizhal.now_us', true), '')::bigint,
                  (extract(epoch FROM clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::bigint)
$$)sql",
    // Where a cluster does not tell its identifier to ordinary users, the stored epoch and the timeline must do.
    R"sql(CREATE FUNCTION nizhal.cluster_identity() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT system_identifier::text FROM pg_control_system());
EXCEPTION WHEN insufficient_privilege THEN
  RETURN '';
END $$)sql",
};

// The bound is published before the version is taken: whoever reads a last value that includes this version finds the
// bound, as long as the transaction is open. It is an advisory lock, so that it goes with the transaction whatever
// becomes of it, and comes back with a prepared one after a crash.
constexpr const char* kBeginVersion = R"sql(CREATE FUNCTION nizhal.begin_version() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  known text := current_setting('nizhal.version', true);
  below bigint;
  taken bigint;
BEGIN
  IF known <> '' THEN RETURN known::bigint; END IF;
  SELECT last_value INTO below FROM nizhal.version_seq;
  PERFORM pg_advisory_xact_lock_shared({0}, (below % 2147483648)::integer);
  taken := nextval('nizhal.version_seq');
  PERFORM set_config('nizhal.version', taken::text, true);
  RETURN taken;
END $$)sql";

// The order of the reads is the point (S12): the last value, then the bounds, then, by the caller, the snapshot. A
// bound tells only the lower 31 bits of a value; the nearest value to the last one is meant, which may lie just above
// it. `durable`: the write-ahead log is flushed beyond all that the last value depends on, so that no crash hands it
// out again.
constexpr const char* kHorizon = R"sql(CREATE FUNCTION nizhal.horizon(
  OUT last_version bigint, OUT settled bigint, OUT durable boolean, OUT epoch text, OUT pruned_through bigint,
  OUT min_client_version text, OUT writers text[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  position_after pg_lsn;
BEGIN
  SELECT s.last_value INTO last_version FROM nizhal.version_seq AS s;
  position_after := pg_current_wal_insert_lsn();
  SELECT min(last_version - b.distance), array_agg(concat(b.pid, ':', b.virtualtransaction))
    INTO settled, writers
    FROM (SELECT l.pid, l.virtualtransaction,
                 (((last_version - l.objid::bigint) % 2147483648 + 3221225472) % 2147483648) - 1073741824 AS distance
            FROM pg_locks AS l
           WHERE l.locktype = 'advisory' AND l.classid = {0} AND l.objsubid = 2
             AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())) AS b;
  settled := least(last_version, settled);
  durable := pg_current_wal_flush_lsn() >= position_after;
  SELECT left(encode(sha256(convert_to(s.epoch || '/' || nizhal.cluster_identity() || '/' ||
                left(pg_walfile_name(position_after), 8), 'UTF8')), 'hex'), 32), s.pruned_through, s.min_client_version
    INTO epoch, pruned_through, min_client_version FROM nizhal.state AS s;
END $$)sql";

// A user's trigger that comes later may change the row, but has no reason to touch this column. The settings are read
// here, too: calling begin_version() costs more than all the rest.
constexpr const char* kStamp = R"sql(CREATE FUNCTION nizhal.stamp() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.nizhal_version := coalesce(nullif(current_setting('nizhal.version', true), '')::bigint, nizhal.begin_version());
  RETURN NEW;
END $$)sql";

// Called by triggers, with their rights and search_path; nobody else may. Counting makes concurrent losses of the last
// rows wait for each other, so that no grant outlives its rows.
constexpr const char* kGainGrant =
    R"sql(CREATE FUNCTION nizhal.gain_grant(definition text, subject text, bucket text, version bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  counted bigint;
BEGIN
  INSERT INTO nizhal.bucket_grant AS g (definition, subject, bucket, gained, granting_rows) VALUES ($1, $2, $3, $4, 1)
    ON CONFLICT ON CONSTRAINT bucket_grant_pkey DO UPDATE SET granting_rows = g.granting_rows + 1
    RETURNING g.granting_rows INTO counted;
  IF counted = 1 THEN
    INSERT INTO nizhal.grant_change VALUES ($4, $1, $2) ON CONFLICT DO NOTHING;
  END IF;
END $$)sql";

constexpr const char* kLoseGrant =
    R"sql(CREATE FUNCTION nizhal.lose_grant(definition text, subject text, bucket text, version bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  counted bigint;
BEGIN
  UPDATE nizhal.bucket_grant AS g SET granting_rows = g.granting_rows - 1
    WHERE g.definition = $1 AND g.subject = $2 AND g.bucket = $3 RETURNING g.granting_rows INTO counted;
  IF counted <= 0 THEN
    DELETE FROM nizhal.bucket_grant AS g WHERE g.definition = $1 AND g.subject = $2 AND g.bucket = $3;
    INSERT INTO nizhal.grant_change VALUES ($4, $1, $2) ON CONFLICT DO NOTHING;
  END IF;
END $$)sql";

}  // namespace

std::string bounded_name(std::string name) {
  constexpr std::size_t kNameBytesMax = 63;
  constexpr std::size_t kDigits = 12;
  if (name.size() <= kNameBytesMax) return name;
  const std::string digest = to_hex(sha256(as_bytes(name))).substr(0, kDigits);
  name.resize(kNameBytesMax - kDigits - 1);
  return name + "~" + digest;
}

std::string dollar_quoted(const std::string& body) {
  std::string tag = "$$";
  for (int i = 1; body.find(tag) != std::string::npos; ++i) tag = fmt::format("$nizhal{}$", i);
  return tag + body + tag;
}

std::int32_t lock_class(std::string_view domain_name) {
  const std::string text = fmt::format("nizhal:{}", domain_name);
  const auto digest = sha256(as_bytes(text));
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < 4; ++i) number = number << 8U | digest[i];
  number &= 0x7FFFFFFFU;
  return number == 0 ? 1 : static_cast<std::int32_t>(number);
}

std::vector<std::string> engine_ddl(std::string_view domain_name) {
  std::vector<std::string> statements(std::begin(kTables), std::end(kTables));
  const auto with_class = [&](std::string text) {
    const std::string place = "{0}";
    const std::string number = fmt::to_string(lock_class(domain_name));
    for (std::size_t at = text.find(place); at != std::string::npos; at = text.find(place))
      text.replace(at, place.size(), number);
    return text;
  };
  statements.push_back(with_class(kBeginVersion));
  statements.push_back(with_class(kHorizon));
  for (const char* function : {kStamp, kGainGrant, kLoseGrant}) statements.emplace_back(function);
  return statements;
}

std::vector<std::string> from_format_1() {
  std::vector<std::string> statements{
      // What the functions of format 1 still write meanwhile names nobody, and so concerns everybody.
      "ALTER TABLE nizhal.grant_change ADD COLUMN definition text COLLATE \"C\" NOT NULL DEFAULT '', "
      "ADD COLUMN subject text COLLATE \"C\" NOT NULL DEFAULT '', DROP CONSTRAINT grant_change_pkey, "
      "ADD PRIMARY KEY (version, definition, subject)",
      "ALTER TABLE nizhal.state ADD COLUMN changes_pruned_through bigint NOT NULL DEFAULT 0"};
  for (const std::string function : {kGainGrant, kLoseGrant})
    statements.push_back("CREATE OR REPLACE" + function.substr(std::string_view("CREATE").size()));
  return statements;
}

std::vector<std::string> from_format_2() {
  return {"ALTER TABLE nizhal.mutation ADD COLUMN conflicts text NOT NULL DEFAULT ''",
          "ALTER TABLE nizhal.state ADD COLUMN recent_pruned_through bigint NOT NULL DEFAULT 0"};
}

}  // namespace nizhal::storage::postgres_schema
