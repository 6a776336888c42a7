// SQLSTATEs as error codes. What a later attempt may well survive is `busy`; what another attempt of the same write can
// only meet again is constraint_violated; the rest is for the operator.
#include <algorithm>
#include <iterator>

#include "postgres/connection.hpp"

namespace nizhal::postgres {
namespace {

struct Known {
  std::string_view sqlstate;
  ErrorCode code;
  std::string_view name;
};

// Sorted by SQLSTATE.
constexpr Known kKnown[] = {
    {"22001", ErrorCode::constraint_violated, "string_data_right_truncation"},
    {"22003", ErrorCode::constraint_violated, "numeric_value_out_of_range"},
    {"22007", ErrorCode::constraint_violated, "invalid_datetime_format"},
    {"22008", ErrorCode::constraint_violated, "datetime_field_overflow"},
    {"22012", ErrorCode::constraint_violated, "division_by_zero"},
    {"22021", ErrorCode::constraint_violated, "character_not_in_repertoire"},
    {"22P02", ErrorCode::constraint_violated, "invalid_text_representation"},
    {"22P05", ErrorCode::constraint_violated, "untranslatable_character"},
    {"23001", ErrorCode::constraint_violated, "restrict_violation"},
    {"23502", ErrorCode::constraint_violated, "not_null_violation"},
    {"23503", ErrorCode::constraint_violated, "foreign_key_violation"},
    {"23505", ErrorCode::constraint_violated, "unique_violation"},
    {"23514", ErrorCode::constraint_violated, "check_violation"},
    {"23P01", ErrorCode::constraint_violated, "exclusion_violation"},
    {"25006", ErrorCode::busy, "read_only_sql_transaction"},
    {"25P02", ErrorCode::busy, "in_failed_sql_transaction"},
    {"25P03", ErrorCode::busy, "idle_in_transaction_session_timeout"},
    {"25P04", ErrorCode::busy, "transaction_timeout"},
    {"26000", ErrorCode::busy, "invalid_sql_statement_name"},
    {"28000", ErrorCode::unauthorized, "invalid_authorization_specification"},
    {"28P01", ErrorCode::unauthorized, "invalid_password"},
    {"3D000", ErrorCode::schema_mismatch, "invalid_catalog_name"},
    {"3F000", ErrorCode::schema_mismatch, "invalid_schema_name"},
    {"40000", ErrorCode::busy, "transaction_rollback"},
    {"40001", ErrorCode::busy, "serialization_failure"},
    {"40002", ErrorCode::constraint_violated, "transaction_integrity_constraint_violation"},
    {"40003", ErrorCode::busy, "statement_completion_unknown"},
    {"40P01", ErrorCode::busy, "deadlock_detected"},
    {"42501", ErrorCode::schema_mismatch, "insufficient_privilege"},
    {"42601", ErrorCode::internal, "syntax_error"},
    {"42701", ErrorCode::schema_mismatch, "duplicate_column"},
    {"42703", ErrorCode::schema_mismatch, "undefined_column"},
    {"42704", ErrorCode::schema_mismatch, "undefined_object"},
    {"42710", ErrorCode::schema_mismatch, "duplicate_object"},
    {"42723", ErrorCode::schema_mismatch, "duplicate_function"},
    {"42804", ErrorCode::schema_mismatch, "datatype_mismatch"},
    {"42809", ErrorCode::schema_mismatch, "wrong_object_type"},
    {"42846", ErrorCode::schema_mismatch, "cannot_coerce"},
    {"42883", ErrorCode::schema_mismatch, "undefined_function"},
    {"428C9", ErrorCode::schema_mismatch, "generated_always"},
    {"42P01", ErrorCode::schema_mismatch, "undefined_table"},
    {"42P05", ErrorCode::busy, "duplicate_prepared_statement"},
    {"42P06", ErrorCode::schema_mismatch, "duplicate_schema"},
    {"42P07", ErrorCode::schema_mismatch, "duplicate_table"},
    {"53100", ErrorCode::disk_full, "disk_full"},
    {"53200", ErrorCode::busy, "out_of_memory"},
    {"53300", ErrorCode::busy, "too_many_connections"},
    {"53400", ErrorCode::busy, "configuration_limit_exceeded"},
    {"54000", ErrorCode::constraint_violated, "program_limit_exceeded"},
    {"55000", ErrorCode::internal, "object_not_in_prerequisite_state"},
    {"55006", ErrorCode::busy, "object_in_use"},
    {"55P03", ErrorCode::busy, "lock_not_available"},
    {"57014", ErrorCode::busy, "query_canceled"},
    {"57P01", ErrorCode::busy, "admin_shutdown"},
    {"57P02", ErrorCode::busy, "crash_shutdown"},
    {"57P03", ErrorCode::busy, "cannot_connect_now"},
    {"57P04", ErrorCode::busy, "database_dropped"},
    {"57P05", ErrorCode::busy, "idle_session_timeout"},
    {"58030", ErrorCode::io_error, "io_error"},
    {"58P01", ErrorCode::io_error, "undefined_file"},
    {"P0001", ErrorCode::constraint_violated, "raise_exception"},
    {"P0002", ErrorCode::constraint_violated, "no_data_found"},
    {"P0003", ErrorCode::constraint_violated, "too_many_rows"},
    {"P0004", ErrorCode::constraint_violated, "assert_failure"},
    {"XX000", ErrorCode::internal, "internal_error"},
    {"XX001", ErrorCode::corrupt, "data_corrupted"},
    {"XX002", ErrorCode::corrupt, "index_corrupted"},
};

struct Class {
  std::string_view sqlstate_class;
  ErrorCode code;
};

// What is not named above, by its class; sorted.
constexpr Class kClasses[] = {
    {"00", ErrorCode::internal},             // success
    {"01", ErrorCode::internal},             // warning
    {"02", ErrorCode::internal},             // no data
    {"03", ErrorCode::internal},             // statement not yet complete
    {"08", ErrorCode::busy},                 // the connection; poolers report their own troubles so
    {"09", ErrorCode::constraint_violated},  // of a trigger
    {"0A", ErrorCode::internal},             // not supported
    {"0B", ErrorCode::internal},             // transaction cannot begin
    {"0F", ErrorCode::internal},             // locator
    {"0L", ErrorCode::schema_mismatch},      // grantor
    {"0P", ErrorCode::schema_mismatch},      // role
    {"0Z", ErrorCode::internal},             // diagnostics
    {"20", ErrorCode::constraint_violated},  // case not found, in a trigger
    {"21", ErrorCode::internal},             // cardinality
    {"22", ErrorCode::constraint_violated},  // data
    {"23", ErrorCode::constraint_violated},  // integrity constraint
    {"24", ErrorCode::internal},             // cursor state
    {"25", ErrorCode::internal},             // transaction state
    {"26", ErrorCode::busy},                 // prepared statement
    {"27", ErrorCode::constraint_violated},  // triggered data change
    {"28", ErrorCode::unauthorized},         // authorization
    {"2B", ErrorCode::internal},             // dependent privileges
    {"2D", ErrorCode::internal},             // transaction termination
    {"2F", ErrorCode::constraint_violated},  // of a function, in a trigger
    {"34", ErrorCode::internal},             // cursor name
    {"38", ErrorCode::constraint_violated},  // external routine
    {"39", ErrorCode::constraint_violated},  // external routine
    {"3B", ErrorCode::internal},             // savepoint
    {"3D", ErrorCode::schema_mismatch},      // database
    {"3F", ErrorCode::schema_mismatch},      // schema
    {"40", ErrorCode::busy},                 // rollback
    {"42", ErrorCode::internal},             // syntax and access
    {"44", ErrorCode::constraint_violated},  // check option
    {"53", ErrorCode::busy},                 // resources
    {"54", ErrorCode::internal},             // limits
    {"55", ErrorCode::internal},             // prerequisite state
    {"57", ErrorCode::busy},                 // the operator's intervention
    {"58", ErrorCode::io_error},             // system
    {"72", ErrorCode::busy},                 // snapshot too old
    {"F0", ErrorCode::internal},             // configuration file
    {"HV", ErrorCode::internal},             // foreign data
    {"P0", ErrorCode::constraint_violated},  // PL/pgSQL
    {"XX", ErrorCode::internal},             // the server's own
};

const Known* find_known(std::string_view sqlstate) {
  const auto* const known =
      std::lower_bound(std::begin(kKnown), std::end(kKnown), sqlstate,
                       [](const Known& entry, std::string_view text) { return entry.sqlstate < text; });
  return known != std::end(kKnown) && known->sqlstate == sqlstate ? known : nullptr;
}

}  // namespace

ErrorCode code_of_sqlstate(std::string_view sqlstate) {
  if (sqlstate.size() != 5) return ErrorCode::internal;
  if (const Known* known = find_known(sqlstate)) return known->code;
  const std::string_view its_class = sqlstate.substr(0, 2);
  const auto* const found =
      std::lower_bound(std::begin(kClasses), std::end(kClasses), its_class,
                       [](const Class& entry, std::string_view text) { return entry.sqlstate_class < text; });
  if (found != std::end(kClasses) && found->sqlstate_class == its_class) return found->code;
  // A class that PostgreSQL does not have: a trigger of the database's owner has raised it.
  return ErrorCode::constraint_violated;
}

std::string_view name_of_sqlstate(std::string_view sqlstate) {
  const Known* known = find_known(sqlstate);
  return known ? known->name : std::string_view();
}

}  // namespace nizhal::postgres
