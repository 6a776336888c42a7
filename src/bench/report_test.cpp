#include "bench/report.hpp"

#include <gtest/gtest.h>

#include "base/json.hpp"

namespace nizhal::bench {
namespace {

const std::vector<Figure> kFigures{{.name = "push",
                                    .unit = "mutations/s",
                                    .rounds = {{3000, 6000}, {1234.56789, 5000}},
                                    .settings = {{"fsync", "on"}, {"limit", "pgbench \"bare\""}}},
                                   {.name = "idle-pull",
                                    .unit = "pulls/s",
                                    .rounds = {{1234567, 2000000}},
                                    .settings = {{"fsync", "on"}, {"limit", "a constant"}}}};

TEST(Report, JsonHasEveryFigureWithItsRoundsAndSettings) {
  const std::string text = as_json(kFigures);
  EXPECT_EQ(text, R"([{"name":"push","value":2117.284,"unit":"mutations/s","limit":5500,"ratio":0.373,"rounds":2,)"
                  R"("measured":[{"value":3000,"limit":6000},{"value":1234.568,"limit":5000}],)"
                  R"("settings":{"fsync":"on","limit":"pgbench \"bare\""}},)"
                  R"({"name":"idle-pull","value":1234567,"unit":"pulls/s","limit":2000000,"ratio":0.617,"rounds":1,)"
                  R"("measured":[{"value":1234567,"limit":2000000}],"settings":{"fsync":"on","limit":"a constant"}}])");
  EXPECT_TRUE(is_json(text));
  EXPECT_EQ(as_json({}), "[]");
}

TEST(Report, TheTableSaysSharedSettingsOnce) {
  EXPECT_EQ(as_table(kFigures),
            "benchmark      value      limit  ratio  unit         rounds (ratio)\n"
            "push           2,117      5,500   0.37  mutations/s  0.50 0.25\n"
            "idle-pull  1,234,567  2,000,000   0.62  pulls/s      0.62\n"
            "\n"
            "all: fsync on\n"
            "push: limit pgbench \"bare\"\n"
            "idle-pull: limit a constant\n");
  EXPECT_EQ(as_table({}), "");
}

}  // namespace
}  // namespace nizhal::bench
