// A domain that passed registration, with everything derived from it once: bucket definitions, fingerprints.
// Immutable and shared; all engine parts take it instead of the raw Domain.
//
// A *bucket definition* is what rules with the same parameters and prefix have in common; a *bucket* is a
// definition with values for its parameters, and its key names it on the wire. The fact that must not break:
// a key belongs to exactly one definition, the one with the longest prefix that it starts with; values that
// would make a key of another definition give no bucket at all.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nizhal/domain.hpp>
#include <nizhal/lint.hpp>

namespace nizhal {

/// One table of a bucket definition: rows whose `parameter_columns[i]` equals the i-th parameter and for which
/// all constant `conditions` hold are in the bucket. A table may appear several times (several rules).
struct BucketTable {
  std::size_t table = 0;  // index in Domain::tables()
  std::vector<std::string> parameter_columns;
  std::vector<Condition> conditions;
  int priority = 0;  // of its rule
  std::string rule;
};

struct BucketDefinition {
  std::string prefix;
  std::vector<ParameterDef> parameters;
  std::string membership_table;  // empty: static
  std::vector<MembershipFilter> membership_filters;
  std::vector<BucketTable> tables;  // by priority (highest first), then declaration order
  std::vector<std::string> rules;   // names of the rules that share this definition
  int priority = 0;                 // highest of its rules
  bool is_static() const { return membership_table.empty(); }
};

/// A bucket, named by its definition and key; `values` are the parameters as text.
struct Bucket {
  std::size_t definition = 0;
  std::string key;
  std::vector<std::string> values;
  bool operator==(const Bucket& other) const { return key == other.key; }
};

/// What a device must have been filled with, per table (S15). `columns` changes: the table is backfilled.
/// `rules` changes: its buckets count as lost and gained.
struct TableFingerprint {
  std::string columns;
  std::string rules;
  /// On the wire (`schema` of a pull): "<columns>.<rules>".
  std::string text() const { return columns + "." + rules; }
};

class CompiledDomain {
 public:
  /// Fails with invalid_domain and every error finding of lint() in the message.
  static Result<std::shared_ptr<const CompiledDomain>> compile(Domain domain);

  const Domain& domain() const { return domain_; }
  const std::vector<std::shared_ptr<const TableDef>>& tables() const { return domain_.tables(); }
  const TableDef& table(std::size_t index) const { return *domain_.tables()[index]; }
  std::optional<std::size_t> table_index(std::string_view name) const;
  const std::vector<BucketDefinition>& definitions() const { return definitions_; }
  const TableFingerprint& fingerprint(std::size_t table) const { return fingerprints_[table]; }
  /// True when some rule delivers the table to devices.
  bool is_delivered(std::size_t table) const { return delivered_[table]; }
  /// True when some rule reads memberships from it.
  bool is_membership(std::size_t table) const { return membership_[table]; }

  /// The bucket of a key, or nothing when no definition's prefix fits, the number of values differs, or a value cannot
  /// be one (see make_bucket).
  std::optional<Bucket> parse_bucket(std::string_view key) const;
  /// The bucket of a definition and values; nothing when the key would belong to another definition. An empty value, a
  /// value with NUL, and for a parameter bound to integer or bigint columns anything but a canonical whole number make
  /// no bucket: no row is in it, no actor has it.
  std::optional<Bucket> make_bucket(std::size_t definition, std::vector<std::string> values) const;
  /// The actor's bucket of a static definition; nothing when a claim is missing or empty, or makes no bucket.
  std::optional<Bucket> static_bucket(std::size_t definition, const Actor& actor) const;
  /// The text that names the actor in `nizhal_grant` for a membership definition: its claims used by filters,
  /// joined like a bucket key. Nothing when a claim is missing or empty.
  std::optional<std::string> grant_subject(std::size_t definition, const Actor& actor) const;
  /// All buckets that a row is in, each once. `row` has the table's shape.
  std::vector<Bucket> buckets_of(std::size_t table, const Row& row) const;

 private:
  /// A condition and the place of a table in a definition, with columns as positions.
  struct ScopeCondition {
    std::size_t column = 0;
    ColumnType type = ColumnType::text;
    Comparison comparison = Comparison::eq;
    Value operand;
  };
  struct Scope {
    std::size_t definition = 0;
    std::vector<std::size_t> parameter_columns;
    std::vector<ScopeCondition> conditions;
  };

  explicit CompiledDomain(Domain domain);
  void add_rule(const RuleDef& rule, std::map<std::string, std::size_t>& by_prefix);
  void add_fingerprints();
  std::optional<std::size_t> definition_of(std::string_view key) const;
  bool are_bucket_values(std::size_t definition, const std::vector<std::string>& values) const;

  Domain domain_;
  std::vector<BucketDefinition> definitions_;
  std::vector<TableFingerprint> fingerprints_;
  std::vector<bool> delivered_, membership_;
  std::vector<std::vector<Scope>> scopes_;          // by table
  std::vector<std::vector<bool>> is_whole_number_;  // by definition and parameter
};

/// Parameter values in bucket keys: "%" and "/" become "%25" and "%2F" when there are several parameters; a single
/// value stands as it is.
std::string join_bucket_values(const std::vector<std::string>& values);
/// A column value as bucket text: text, uuid as they are; integers in decimal; nothing for null and other types.
std::optional<std::string> bucket_text(const Value& value);

}  // namespace nizhal
