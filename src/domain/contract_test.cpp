#include "domain/contract.hpp"

#include <gtest/gtest.h>

#include "domain/test_domains.hpp"

namespace nizhal {
namespace {

struct Everything {
  std::string id;
  Uuid uuid;
  std::int32_t integer = 0;
  double real = 0;
  bool flag = false;
  std::optional<std::int64_t> bigint;
  Numeric numeric;
  Timestamp time;
  std::optional<Date> day;
  Json json;
  Blob blob;
};

Domain domain_with_everything() {
  const auto everything = table<Everything>("everything")
                              .key("id", &Everything::id)
                              .column("uuid", &Everything::uuid)
                              .column("integer", &Everything::integer, default_value(5))
                              .column("real", &Everything::real)
                              .column("flag", &Everything::flag)
                              .column("bigint", &Everything::bigint)
                              .column("numeric", &Everything::numeric)
                              .column("time", &Everything::time)
                              .column("day", &Everything::day)
                              .column("json", &Everything::json)
                              .column("blob", &Everything::blob)
                              .append_only();
  Domain domain("shop", {.version = "1.2.0", .min_client_version = "1.1"});
  domain.add(everything).add(test::members()).add(test::notes());
  domain.mutator<Everything>("add")
      .version(3)
      .arg("id", &Everything::id, new_id_of(everything), min_length(1), max_length(9))
      .arg("integer", &Everything::integer, between(-1, 7))
      .arg("real", &Everything::real, at_most_real(0.5))
      .arg("bigint", &Everything::bigint, at_least(1))
      .arg("numeric", &Everything::numeric)
      .arg("time", &Everything::time)
      .arg("json", &Everything::json,
           shaped(json_object()
                      .required("lines", json_array(json_integer().at_least(1)).max_items(3))
                      .optional("kind", json_text().among({"a"}).or_null())))
      .run([](MutatorContext&, const Everything&) { return done(); });
  domain.rule("teams")
      .prefix("team:")
      .priority(2)
      .membership(test::members(), where("user_id", actor::user_id), where("role", "admin"),
                  bucket("teamId", "team_id"))
      .data(everything, eq("id", "teamId"), eq("flag", true), is_not_null("day"));
  domain.rule("mine").parameter("me", actor::user_id).data(everything, eq("id", "me"));
  return domain;
}

class Contract : public testing::Test {
 protected:
  Contract() {
    auto compiled = CompiledDomain::compile(domain_with_everything());
    EXPECT_TRUE(compiled) << compiled.error().message;
    compiled_ = *compiled;
    document_ = contract(*compiled_);
  }
  /// The text of what a path of members leads to.
  std::string at(std::initializer_list<const char*> path) {
    const json::value whole = document_;
    const json::value* found = &whole;
    for (const char* name : path) {
      found = member(*found, name);
      if (!found) return "absent: " + std::string(name);
    }
    return to_text(*found);
  }
  std::shared_ptr<const CompiledDomain> compiled_;
  json::object document_;
};

TEST_F(Contract, IsAnOpenApiDocumentWithPullAndPush) {
  EXPECT_EQ(at({"openapi"}), "\"3.1.0\"");
  EXPECT_EQ(at({"info"}), R"({"title":"shop","version":"1.2.0"})");
  EXPECT_EQ(at({"paths", "/sync/pull", "post", "operationId"}), "\"pull\"");
  EXPECT_EQ(at({"paths", "/sync/push", "post", "operationId"}), "\"push\"");
  EXPECT_EQ(at({"components", "securitySchemes", "bearer", "scheme"}), "\"bearer\"");
}

TEST_F(Contract, RowsHaveASchemaPerDeliveredTable) {
  const auto property = [this](const char* name) {
    return at({"components", "schemas", "Row.everything", "properties", name});
  };
  EXPECT_EQ(property("id"), R"({"type":"string"})");
  EXPECT_EQ(property("uuid"), R"({"type":"string","format":"uuid"})");
  EXPECT_EQ(property("integer"),
            R"({"type":"integer","format":"int32","minimum":-2147483648,"maximum":2147483647,"default":5})");
  EXPECT_EQ(property("bigint"), R"({"type":["string","null"],"format":"int64","pattern":"^-?[0-9]+$"})");
  EXPECT_EQ(property("time"), R"({"type":"string","format":"date-time"})");
  EXPECT_EQ(property("day"), R"({"type":["string","null"],"format":"date"})");
  EXPECT_EQ(property("json"), "{}");
  EXPECT_EQ(property("blob"), R"({"type":"string","contentEncoding":"base64"})");
  EXPECT_EQ(at({"components", "schemas", "Row.notes"}), "absent: Row.notes");
}

TEST_F(Contract, InputsShowTheConstraints) {
  const auto property = [this](const char* name) {
    return at({"components", "schemas", "Args.add", "properties", name});
  };
  EXPECT_EQ(property("id"), R"({"type":"string","minLength":1,"maxLength":9})");
  EXPECT_EQ(property("integer"), R"({"type":"integer","format":"int32","minimum":-1,"maximum":7})");
  EXPECT_EQ(property("real"), R"({"type":"number","format":"double","maximum":0.5})");
  EXPECT_EQ(property("bigint"),
            R"({"type":["string","integer","null"],"format":"int64","pattern":"^-?[0-9]+$","minimum":1})");
  EXPECT_EQ(property("json"),
            R"({"type":"object","properties":{"lines":{"type":"array","items":{"type":"integer","minimum":1},)"
            R"("maxItems":3},"kind":{"type":["string","null"],"enum":["a",null]}},"required":["lines"],)"
            R"("additionalProperties":false})");
  EXPECT_EQ(at({"components", "schemas", "Args.add", "required"}),
            R"(["id","integer","real","numeric","time","json"])");
}

TEST_F(Contract, TheExtensionDescribesTablesMutatorsAndRules) {
  EXPECT_EQ(at({"x-nizhal", "domain"}), "\"shop\"");
  EXPECT_EQ(at({"x-nizhal", "contractVersion"}), "\"1.2.0\"");
  EXPECT_EQ(at({"x-nizhal", "minClientVersion"}), "\"1.1\"");
  EXPECT_EQ(at({"x-nizhal", "tables", "everything", "key"}), "\"id\"");
  EXPECT_EQ(at({"x-nizhal", "tables", "everything", "merge"}), "\"lww\"");
  EXPECT_EQ(at({"x-nizhal", "tables", "everything", "appendOnly"}), "true");
  EXPECT_EQ(at({"x-nizhal", "tables", "everything", "fingerprint"}), "\"" + compiled_->fingerprint(0).text() + "\"");
  EXPECT_EQ(at({"x-nizhal", "mutators", "add", "version"}), "3");
  EXPECT_EQ(
      at({"x-nizhal", "rules"}),
      R"([{"name":"teams","prefix":"team:","priority":2,"parameters":[{"name":"teamId","column":"team_id"}],)"
      R"("membership":{"table":"members","filters":[{"column":"user_id","claim":"userId"},)"
      R"({"column":"role","value":"admin"}]},"data":[{"table":"everything","conditions":[)"
      R"({"column":"id","comparison":"eq","parameter":"teamId"},{"column":"flag","comparison":"eq","value":true},)"
      R"({"column":"day","comparison":"is_not_null"}]}]},)"
      R"({"name":"mine","prefix":"","priority":0,"parameters":[{"name":"me","claim":"userId"}],)"
      R"("data":[{"table":"everything","conditions":[{"column":"id","comparison":"eq","parameter":"me"}]}]}])");
  EXPECT_EQ(at({"x-echo"}), at({"x-nizhal"}));
}

TEST_F(Contract, TablesThatStayOnTheServerAreNotShown) {
  EXPECT_EQ(at({"x-nizhal", "tables", "notes"}), "absent: notes");
  EXPECT_EQ(at({"x-nizhal", "tables", "members"}), "absent: members");
}

TEST_F(Contract, EqualDomainsGiveEqualTexts) {
  const auto again = CompiledDomain::compile(domain_with_everything());
  EXPECT_EQ(to_text(contract(**again)), to_text(document_));
}

TEST(ContractVersions, CompareByNumber) {
  EXPECT_EQ(compare_versions("1.10", "1.9"), 1);
  EXPECT_EQ(compare_versions("1.0.0", "1"), 0);
  EXPECT_EQ(compare_versions("0.0.0", "0.0.1"), -1);
  EXPECT_EQ(compare_versions("2", "10"), -1);
  EXPECT_EQ(compare_versions("01.2", "1.02"), 0);
  for (const char* bad : {"", ".", "1.", ".1", "a", "1.x", "-1", "+1", " 1", "1 ", "1..2", "99999999999999999999"})
    EXPECT_EQ(compare_versions(bad, "1"), std::nullopt) << bad;
}

struct Page {
  std::string id, title;
  CrdtText body;
};

TEST(ContractOfMerging, TellsTheTablesPolicyAndWhichColumnsMergeByThemselves) {
  Domain domain("pages", {.version = "1.0.0"});
  const auto pages = table<Page>("pages")
                         .key("id", &Page::id)
                         .column("title", &Page::title)
                         .column("body", &Page::body)
                         .merge(Merge::Field);
  domain.add(pages);
  domain.rule("mine").parameter("me", actor::user_id).data(pages, eq("id", "me"));
  const auto compiled = CompiledDomain::compile(std::move(domain));
  ASSERT_TRUE(compiled) << compiled.error().message;
  const json::object document = contract(**compiled);
  for (const char* extension : {"x-nizhal", "x-echo"}) {
    const json::object& told = document.at(extension).get_object().at("tables").get_object().at("pages").get_object();
    EXPECT_EQ(to_text(told.at("merge")), R"("field")");
    EXPECT_EQ(to_text(told.at("columns")),
              R"([{"name":"id","type":"text","nullable":false},{"name":"title","type":"text","nullable":false},)"
              R"({"name":"body","type":"crdt_text","nullable":false,"merge":"crdt"}])");
  }
  EXPECT_NE(to_text(document).find(R"("body":{"type":"string","contentEncoding":"base64","default":"AAA="})"),
            std::string::npos);
}

}  // namespace
}  // namespace nizhal
