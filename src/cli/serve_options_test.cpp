#include "cli/serve_options.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/test_temp_dir.hpp"

namespace nizhal::cli {
namespace {

ServeSettings settings_with(std::string_view name, std::string value) {
  ServeSettings settings;
  settings["db"].value = "sqlite:a.db";
  settings[name].value = std::move(value);
  return settings;
}

TEST(ServeOptions, TheDefaultsArePlainAndSafe) {
  const auto plan = plan_of(settings_with("db", "sqlite:a.db"));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->address.url(), "http://127.0.0.1:4000");
  EXPECT_EQ(plan->server.storage.url, "sqlite:a.db");
  EXPECT_EQ(plan->server.body_bytes_max, 1'048'576U);
  EXPECT_EQ(plan->server.retention, std::chrono::hours(720));
  EXPECT_EQ(plan->server.rate_limit.requests_per_second, 0);
}

TEST(ServeOptions, AWrongValueIsRefusedWithItsOptionNamed) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"db", "mysql://x"},
                                                        {"pooler", "transaction"},
                                                        {"listen-db", "postgresql://h/d"},
                                                        {"read-db", "postgresql://h/d"},
                                                        {"listen", "here"},
                                                        {"realtime", "listen-notify"},
                                                        {"allow-origin", "app.example.com"},
                                                        {"allow-origin", "https://a.example/"},
                                                        {"retention", "30"},
                                                        {"retention", "59m"},
                                                        {"rate-limit", "fast"},
                                                        {"body-max", "0"},
                                                        {"workers", "0"},
                                                        {"queue-max", "-1"},
                                                        {"pull-limit", "1.5"},
                                                        {"pull-limit-max", "all"}}) {
    const auto plan = plan_of(settings_with(name, value));
    ASSERT_FALSE(plan) << name << " " << value;
    EXPECT_EQ(plan.error().code, ErrorCode::usage);
    EXPECT_EQ(plan.error().message.find("--" + name), 0U) << plan.error().message;
  }
}

TEST(ServeOptions, InstancesOnPostgresqlHearOfEachOtherByListenNotifyOverADirectConnection) {
  ServeSettings settings = settings_with("db", "postgresql://u@pooler:6432/d");
  EXPECT_EQ(plan_of(settings)->server.realtime.kind, RealtimeOptions::Kind::in_process);
  settings["realtime"].value = "listen-notify";
  EXPECT_EQ(plan_of(settings)->server.realtime.kind, RealtimeOptions::Kind::listen_notify);
  settings["pooler"].value = "transaction";
  const auto refused = plan_of(settings);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("--listen-db"), std::string::npos) << refused.error().message;
  settings["listen-db"].value = "postgresql://u@db:5432/d";
  const auto plan = plan_of(settings);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->server.realtime.url, "postgresql://u@db:5432/d");
  EXPECT_NE(as_toml(settings).find("realtime = 'listen-notify'"), std::string::npos) << as_toml(settings);
  settings["realtime"].value = "carrier-pigeon";
  EXPECT_EQ(plan_of(settings).error().message.find("--realtime"), 0U);
}

TEST(ServeOptions, APostgresqlDatabaseMayLieBehindAPooler) {
  ServeSettings settings = settings_with("db", "postgresql://u:hunter2@pooler:6432/d");
  settings["pooler"].value = "transaction";
  settings["listen-db"].value = "postgresql://u:hunter3@db:5432/d";
  settings["read-db"].value = "postgresql://u:hunter4@replica:5432/d";
  const auto plan = plan_of(settings);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->server.storage.url, "postgresql://u:hunter2@pooler:6432/d");
  EXPECT_TRUE(plan->server.storage.postgres.transaction_pooler);
  EXPECT_EQ(plan->server.storage.postgres.listen_url, "postgresql://u:hunter3@db:5432/d");
  EXPECT_EQ(plan->server.storage.postgres.read_url, "postgresql://u:hunter4@replica:5432/d");
  for (const std::string& text : {as_toml(settings), as_json(settings)}) {
    EXPECT_NE(text.find("postgresql://u@pooler:6432/d"), std::string::npos) << text;
    EXPECT_EQ(text.find("hunter"), std::string::npos) << text;
  }
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"pooler", "session"}, {"listen-db", "sqlite:a.db"}, {"listen-db", "nowhere"}, {"read-db", "sqlite:a.db"}}) {
    ServeSettings changed = settings;
    changed[name].value = value;
    const auto refused = plan_of(changed);
    ASSERT_FALSE(refused) << name << " " << value;
    EXPECT_EQ(refused.error().message.find("--" + name), 0U) << refused.error().message;
  }
}

TEST(ServeOptions, WhatIsPrintedCanBeReadBack) {
  const ServeSettings settings = settings_with("seed", "a \"b\" \\ 'c'.sql");
  const std::string text = as_toml(settings);
  EXPECT_NE(text.find("db = "), std::string::npos) << text;
  EXPECT_EQ(text.find("domain = "), std::string::npos) << "what is empty is left out";
}

TEST(ServeOptions, SeveralOriginsAreOneSetting) {
  const auto settings = settings_with("allow-origin", "https://App.Example.com:443 http://localhost:5173");
  const auto plan = plan_of(settings);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->server.allowed_origins,
            (std::vector<std::string>{"https://app.example.com", "http://localhost:5173"}));
  EXPECT_NE(as_json(settings).find(R"("allow-origin":["https://App.Example.com:443","http://localhost:5173"])"),
            std::string::npos)
      << as_json(settings);
  // What is printed is a file that says the same.
  TempDir directory;
  const std::string path = directory.file("serve.toml");
  std::ofstream(path) << as_toml(settings);
  ServeSettings read;
  const auto applied = apply_config_file(path, read);
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(read.value("allow-origin"), settings.value("allow-origin"));
  std::ofstream(path) << "allow-origin = [1, 2]";
  const auto wrong = apply_config_file(path, read);
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("array of texts"), std::string::npos) << wrong.error().message;
}

}  // namespace
}  // namespace nizhal::cli
