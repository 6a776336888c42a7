// The public contract. It is public: it shows what devices may see (delivered tables, mutator inputs, rules) and never
// tables that stay on the server. Members come in the order of declaration, so equal domains give equal texts.
#include "domain/contract.hpp"

#include <fmt/format.h>

#include <limits>
#include <set>

#include "domain/conditions.hpp"
#include "domain/registration.hpp"
#include "domain/value_json.hpp"

namespace nizhal {
namespace {

json::string text(std::string_view view) { return json::string(view.data(), view.size()); }

json::array strings(const std::vector<std::string>& values) {
  json::array out;
  for (const std::string& value : values) out.emplace_back(text(value));
  return out;
}

json::value constant(ColumnType type, const Value& value) {
  std::string written;
  append_value_json(written, type, value);
  auto parsed = parse_json(written);
  return parsed ? *std::move(parsed) : json::value(nullptr);
}

/// Adds `type` (one name, or several when null or another JSON type may stand for it).
void set_types(json::object& schema, std::initializer_list<const char*> types, bool nullable) {
  if (types.size() == 1 && !nullable) {
    schema["type"] = *types.begin();
    return;
  }
  json::array names;
  for (const char* name : types) names.emplace_back(name);
  if (nullable) names.emplace_back("null");
  schema["type"] = std::move(names);
}

/// JSON Schema of a value. Inputs accept more forms than rows show (docs/protocol.md, "Values").
json::object value_schema(ColumnType type, bool nullable, bool is_input) {
  json::object schema;
  switch (type) {
    case ColumnType::text:
      set_types(schema, {"string"}, nullable);
      break;
    case ColumnType::uuid:
      set_types(schema, {"string"}, nullable);
      schema["format"] = "uuid";
      break;
    case ColumnType::integer:
      set_types(schema, {"integer"}, nullable);
      schema["format"] = "int32";
      schema["minimum"] = std::numeric_limits<std::int32_t>::min();
      schema["maximum"] = std::numeric_limits<std::int32_t>::max();
      break;
    case ColumnType::real:
      set_types(schema, {"number"}, nullable);
      schema["format"] = "double";
      break;
    case ColumnType::boolean:
      set_types(schema, {"boolean"}, nullable);
      break;
    case ColumnType::bigint:
      if (is_input)
        set_types(schema, {"string", "integer"}, nullable);
      else
        set_types(schema, {"string"}, nullable);
      schema["format"] = "int64";
      schema["pattern"] = "^-?[0-9]+$";
      break;
    case ColumnType::numeric:
      if (is_input)
        set_types(schema, {"string", "integer"}, nullable);
      else
        set_types(schema, {"string"}, nullable);
      schema["format"] = "decimal";
      break;
    case ColumnType::timestamp:
      if (is_input)
        set_types(schema, {"string", "integer"}, nullable);
      else
        set_types(schema, {"string"}, nullable);
      schema["format"] = "date-time";
      break;
    case ColumnType::date:
      set_types(schema, {"string"}, nullable);
      schema["format"] = "date";
      break;
    case ColumnType::json:
      break;  // any value
    case ColumnType::blob:
    case ColumnType::crdt_text:
    case ColumnType::crdt_map:
      set_types(schema, {"string"}, nullable);
      schema["contentEncoding"] = "base64";
      break;
  }
  return schema;
}

json::object shape_schema(const JsonShape& shape) {
  using Kind = JsonShape::Kind;
  json::object schema;
  switch (shape.kind) {
    case Kind::any:
      return schema;
    case Kind::text: {
      set_types(schema, {"string"}, shape.nullable);
      if (shape.min_size) schema["minLength"] = *shape.min_size;
      if (shape.max_size) schema["maxLength"] = *shape.max_size;
      if (shape.one_of.empty()) break;
      json::array allowed = strings(shape.one_of);
      if (shape.nullable) allowed.emplace_back(nullptr);
      schema["enum"] = std::move(allowed);
      break;
    }
    case Kind::integer:
      set_types(schema, {"integer"}, shape.nullable);
      break;
    case Kind::number:
      set_types(schema, {"number"}, shape.nullable);
      break;
    case Kind::boolean:
      set_types(schema, {"boolean"}, shape.nullable);
      break;
    case Kind::object: {
      set_types(schema, {"object"}, shape.nullable);
      json::object properties;
      json::array required;
      for (const JsonShape::Member& member : shape.members) {
        properties[member.name] = shape_schema(member.shape);
        if (member.is_required) required.emplace_back(text(member.name));
      }
      schema["properties"] = std::move(properties);
      schema["required"] = std::move(required);
      schema["additionalProperties"] = false;
      break;
    }
    case Kind::array:
      set_types(schema, {"array"}, shape.nullable);
      if (shape.items) schema["items"] = shape_schema(*shape.items);
      if (shape.min_size) schema["minItems"] = *shape.min_size;
      if (shape.max_size) schema["maxItems"] = *shape.max_size;
      break;
  }
  if (shape.minimum) schema["minimum"] = *shape.minimum;
  if (shape.maximum) schema["maximum"] = *shape.maximum;
  return schema;
}

json::object argument_schema(const ArgumentDef& argument) {
  if (argument.shape) {
    JsonShape shape = *argument.shape;
    shape.nullable = shape.nullable || argument.is_optional;
    return shape_schema(shape);
  }
  json::object schema = value_schema(argument.type, argument.is_optional, true);
  if (argument.type == ColumnType::real) {
    if (argument.real_minimum) schema["minimum"] = *argument.real_minimum;
    if (argument.real_maximum) schema["maximum"] = *argument.real_maximum;
  } else {
    if (argument.minimum) schema["minimum"] = *argument.minimum;
    if (argument.maximum) schema["maximum"] = *argument.maximum;
  }
  if (argument.min_length) schema["minLength"] = *argument.min_length;
  if (argument.max_length) schema["maxLength"] = *argument.max_length;
  if (!argument.one_of.empty()) {
    json::array allowed = strings(argument.one_of);
    if (argument.is_optional) allowed.emplace_back(nullptr);
    schema["enum"] = std::move(allowed);
  }
  return schema;
}

json::object row_schema(const TableDef& table) {
  json::object properties;
  json::array required;
  for (const ColumnDef& column : table.columns) {
    json::object schema = value_schema(column.type, column.nullable, false);
    if (column.default_value) schema["default"] = constant(column.type, *column.default_value);
    properties[column.name] = std::move(schema);
    required.emplace_back(text(column.name));
  }
  json::object schema;
  schema["type"] = "object";
  schema["properties"] = std::move(properties);
  schema["required"] = std::move(required);
  return schema;
}

json::object input_schema(const MutatorDef& mutator) {
  json::object properties;
  json::array required;
  for (const ArgumentDef& argument : mutator.arguments) {
    properties[argument.name] = argument_schema(argument);
    if (!argument.is_optional) required.emplace_back(text(argument.name));
  }
  json::object schema;
  schema["type"] = "object";
  schema["properties"] = std::move(properties);
  schema["required"] = std::move(required);
  return schema;
}

const char* merge_name(Merge merge) { return merge == Merge::Field ? "field" : "lww"; }

json::object describe_table(const CompiledDomain& domain, std::size_t index) {
  const TableDef& table = domain.table(index);
  json::array columns;
  for (const ColumnDef& column : table.columns) {
    json::object described = {
        {"name", text(column.name)}, {"type", to_string(column.type)}, {"nullable", column.nullable}};
    if (is_crdt(column.type)) described["merge"] = "crdt";  // whatever the table's policy is
    columns.push_back(std::move(described));
  }
  return {{"key", text(table.key)},
          {"merge", merge_name(table.merge)},
          {"columns", std::move(columns)},
          {"appendOnly", table.append_only},
          {"fingerprint", text(domain.fingerprint(index).text())}};
}

json::object describe_mutator(const MutatorDef& mutator) {
  json::array arguments;
  for (const ArgumentDef& argument : mutator.arguments) {
    json::object described = {{"name", text(argument.name)},
                              {"type", to_string(argument.type)},
                              {"optional", argument.is_optional},
                              {"schema", argument_schema(argument)}};
    if (!argument.references.empty()) described["references"] = text(argument.references);
    if (!argument.new_id_of.empty()) described["newIdOf"] = text(argument.new_id_of);
    arguments.push_back(std::move(described));
  }
  json::object described = {{"version", mutator.version}, {"args", std::move(arguments)}};
  if (mutator.upcasters.empty()) return described;
  std::set<int> versions;
  for (const UpcasterDef& upcaster : mutator.upcasters) versions.insert(upcaster.from_version);
  json::array older;
  for (const int version : versions) older.emplace_back(version);
  described["olderVersions"] = std::move(older);
  return described;
}

json::object describe_membership(const Domain& domain, const RuleDef& rule) {
  const TableDef* table = domain.find_table(rule.membership_table);
  json::array filters;
  for (const MembershipFilter& filter : rule.membership_filters) {
    json::object described = {{"column", text(filter.column)}};
    if (!filter.claim.empty())
      described["claim"] = text(filter.claim);
    else
      described["value"] = constant(table->columns[table->index_of(filter.column)].type, filter.constant);
    filters.push_back(std::move(described));
  }
  return {{"table", text(rule.membership_table)}, {"filters", std::move(filters)}};
}

json::object describe_rule(const Domain& domain, const RuleDef& rule) {
  json::array parameters;
  for (const ParameterDef& parameter : rule.parameters) {
    json::object described = {{"name", text(parameter.name)}};
    if (parameter.membership_column.empty())
      described["claim"] = text(parameter.claim);
    else
      described["column"] = text(parameter.membership_column);
    parameters.push_back(std::move(described));
  }
  json::array data;
  for (const RuleDataDef& delivered : rule.data) {
    const TableDef* table = domain.find_table(delivered.table);
    json::array conditions;
    for (const Condition& condition : delivered.conditions) {
      json::object described = {{"column", text(condition.column)},
                                {"comparison", comparison_name(condition.comparison)}};
      if (names_parameter(condition))
        described["parameter"] = text(std::get<std::string>(condition.operand));
      else if (condition.comparison != Comparison::is_null && condition.comparison != Comparison::is_not_null)
        described["value"] = constant(table->columns[table->index_of(condition.column)].type, condition.operand);
      conditions.push_back(std::move(described));
    }
    data.push_back({{"table", text(delivered.table)}, {"conditions", std::move(conditions)}});
  }
  json::object described = {{"name", text(rule.name)},
                            {"prefix", text(rule.prefix)},
                            {"priority", rule.priority},
                            {"parameters", std::move(parameters)}};
  if (!rule.membership_table.empty()) described["membership"] = describe_membership(domain, rule);
  described["data"] = std::move(data);
  return described;
}

json::object extension(const CompiledDomain& compiled) {
  const Domain& domain = compiled.domain();
  json::object tables, mutators;
  json::array rules;
  for (std::size_t i = 0; i < compiled.tables().size(); ++i)
    if (compiled.is_delivered(i)) tables[compiled.table(i).name] = describe_table(compiled, i);
  for (const auto& mutator : domain.mutators()) mutators[mutator->name] = describe_mutator(*mutator);
  for (const auto& rule : domain.rules()) rules.push_back(describe_rule(domain, *rule));
  return {{"domain", text(domain.name())},
          {"contractVersion", text(domain.options().version)},
          {"minClientVersion", text(domain.options().min_client_version)},
          {"tables", std::move(tables)},
          {"mutators", std::move(mutators)},
          {"rules", std::move(rules)}};
}

json::object typed(const char* type) { return {{"type", type}}; }
json::object array_of(json::object items) { return {{"type", "array"}, {"items", std::move(items)}}; }
json::object reference(std::string_view name) { return {{"$ref", text(fmt::format("#/components/schemas/{}", name))}}; }
json::object object_schema(json::object properties, const std::vector<std::string>& required) {
  return {{"type", "object"}, {"properties", std::move(properties)}, {"required", strings(required)}};
}

json::object pull_request_schema() {
  json::object limit = {{"type", "integer"}, {"minimum", 1}};
  json::object device = {{"type", "string"}, {"minLength", 1}, {"maxLength", 128}};
  json::object schema = {{"type", "object"}, {"additionalProperties", typed("string")}};
  return object_schema({{"cursor", typed("string")},
                        {"deviceId", std::move(device)},
                        {"limit", std::move(limit)},
                        {"syncRule", typed("string")},
                        {"buckets", array_of(typed("string"))},
                        {"schema", std::move(schema)},
                        {"updates", typed("boolean")}},
                       {});
}

json::object pull_response_schema(const CompiledDomain& domain) {
  json::array changes;
  for (std::size_t i = 0; i < domain.tables().size(); ++i) {
    if (!domain.is_delivered(i)) continue;
    const std::string& name = domain.table(i).name;
    json::object table = {{"const", text(name)}};
    changes.push_back(
        object_schema({{"table", std::move(table)}, {"rows", array_of(reference("Row." + name))}}, {"table", "rows"}));
  }
  json::object change;
  if (!changes.empty()) change["oneOf"] = std::move(changes);
  json::object progress = object_schema({{"rows", typed("integer")}, {"total", typed("integer")}}, {"rows", "total"});
  json::object server_time = {{"type", "string"}, {"format", "date-time"}};
  return object_schema({{"changed", array_of(std::move(change))},
                        {"tombstoned", array_of(reference("Removal"))},
                        {"removed", array_of(reference("Removal"))},
                        {"removedBuckets", array_of(typed("string"))},
                        {"cursor", typed("string")},
                        {"hasMore", typed("boolean")},
                        {"buckets", array_of(typed("string"))},
                        {"epoch", typed("string")},
                        {"cursorReset", typed("boolean")},
                        {"lastMutationId", typed("integer")},
                        {"lastClientMutationId", typed("string")},
                        {"progress", std::move(progress)},
                        {"hlc", typed("string")},
                        {"serverTime", std::move(server_time)}},
                       {"changed", "tombstoned", "removed", "removedBuckets", "cursor", "hasMore"});
}

json::object push_request_schema(const CompiledDomain& domain) {
  json::array mutations;
  for (const auto& mutator : domain.domain().mutators()) {
    json::object name = {{"const", text(mutator->name)}};
    mutations.push_back(object_schema({{"name", std::move(name)},
                                       {"args", reference("Args." + mutator->name)},
                                       {"clientMutationId", typed("string")},
                                       {"clientID", typed("string")},
                                       {"mutationID", typed("integer")},
                                       {"hlc", typed("string")},
                                       {"dependsOn", array_of(typed("string"))},
                                       {"idSeed", typed("string")}},
                                      {"name", "args", "clientMutationId"}));
  }
  json::object mutation;
  if (!mutations.empty()) mutation["oneOf"] = std::move(mutations);
  return object_schema({{"mutations", array_of(std::move(mutation))}, {"results", typed("boolean")}}, {"mutations"});
}

json::object push_response_schema() {
  json::object time = {{"type", "string"}, {"format", "date-time"}};
  json::object conflict = object_schema({{"table", typed("string")},
                                         {"key", typed("string")},
                                         {"column", typed("string")},
                                         {"lost", json::object()},
                                         {"at", time},
                                         {"winnerAt", time}},
                                        {"table", "key", "column", "lost", "at", "winnerAt"});
  json::object result = object_schema({{"clientMutationId", typed("string")},
                                       {"status", typed("string")},
                                       {"code", typed("string")},
                                       {"error", typed("string")},
                                       {"serverId", typed("string")},
                                       {"affectedBuckets", array_of(typed("string"))},
                                       {"conflicts", array_of(std::move(conflict))}},
                                      {"clientMutationId", "status"});
  return object_schema({{"applied", array_of(typed("string"))},
                        {"results", array_of(std::move(result))},
                        {"lastMutationId", typed("integer")},
                        {"clockSkewMs", typed("integer")}},
                       {});
}

json::object json_content(json::object schema) {
  json::object media = {{"schema", std::move(schema)}};
  return {{"application/json", std::move(media)}};
}

json::object operation(const char* id, const char* summary, json::object request, json::object response) {
  json::object body = {{"required", true}, {"content", json_content(std::move(request))}};
  json::object answer = {{"description", "The request was handled."}, {"content", json_content(std::move(response))}};
  json::object fault = {{"description", "The request was refused; `code` says why."},
                        {"content", json_content(reference("Error"))}};
  json::object responses;
  responses["200"] = std::move(answer);
  responses["default"] = std::move(fault);
  json::object post = {
      {"operationId", id}, {"summary", summary}, {"requestBody", std::move(body)}, {"responses", std::move(responses)}};
  return {{"post", std::move(post)}};
}

}  // namespace

json::object contract(const CompiledDomain& domain) {
  json::object schemas;
  for (std::size_t i = 0; i < domain.tables().size(); ++i)
    if (domain.is_delivered(i)) schemas["Row." + domain.table(i).name] = row_schema(domain.table(i));
  for (const auto& mutator : domain.domain().mutators()) schemas["Args." + mutator->name] = input_schema(*mutator);
  schemas["Removal"] =
      object_schema({{"table", typed("string")}, {"id", typed("string")}, {"key", typed("string")}}, {"table", "id"});
  schemas["Error"] = object_schema({{"error", typed("string")}, {"code", typed("string")}}, {"error"});

  json::object paths;
  paths["/sync/pull"] = operation("pull", "Changes since a cursor, scoped to the actor's buckets.",
                                  pull_request_schema(), pull_response_schema(domain));
  paths["/sync/push"] =
      operation("push", "Mutations to run, each exactly once.", push_request_schema(domain), push_response_schema());

  json::object bearer = {{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}};
  json::object schemes = {{"bearer", std::move(bearer)}};
  json::object requirement = {{"bearer", json::array()}};
  json::array security;
  security.emplace_back(std::move(requirement));

  json::object document;
  document["openapi"] = "3.1.0";
  document["info"] =
      json::object{{"title", text(domain.domain().name())}, {"version", text(domain.domain().options().version)}};
  document["security"] = std::move(security);
  document["paths"] = std::move(paths);
  document["components"] = json::object{{"securitySchemes", std::move(schemes)}, {"schemas", std::move(schemas)}};
  document["x-nizhal"] = extension(domain);
  document["x-echo"] = extension(domain);
  return document;
}

}  // namespace nizhal
