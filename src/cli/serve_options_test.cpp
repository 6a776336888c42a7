#include "cli/serve_options.hpp"

#include <gtest/gtest.h>

#include <string>

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
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"db", "postgres://x"},
                                                                                    {"listen", "here"},
                                                                                    {"realtime", "listen-notify"},
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

TEST(ServeOptions, WhatIsPrintedCanBeReadBack) {
  const ServeSettings settings = settings_with("seed", "a \"b\" \\ 'c'.sql");
  const std::string text = as_toml(settings);
  EXPECT_NE(text.find("db = "), std::string::npos) << text;
  EXPECT_EQ(text.find("domain = "), std::string::npos) << "what is empty is left out";
}

}  // namespace
}  // namespace nizhal::cli
