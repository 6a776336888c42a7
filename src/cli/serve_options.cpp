// See serve_options.hpp.
#include "cli/serve_options.hpp"

#include <fmt/format.h>

#include <sstream>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "base/json.hpp"
#include "cli/database.hpp"
#include "cli/files.hpp"
#include "server/origins.hpp"

namespace nizhal::cli {

ServeSettings::ServeSettings()
    : all{{"domain", "", "The domain's shared library"},
          {"db", "", "The database: postgresql://… or sqlite:PATH (or NIZHAL_DB)"},
          {"pooler", "", "How --db leads through a pooler: transaction (pgbouncer's pool_mode)"},
          {"read-db", "", "URL of a streaming replica of --db, from which devices are filled"},
          {"listen-db", "",
           "A direct URL of the same database, for watching it and for listen-notify, where --db leads through a "
           "pooler"},
          {"listen", "127.0.0.1:4000", "HOST:PORT to listen on; port 0 takes any that is free"},
          {"realtime", "in-process",
           "How instances hear of each other: in-process (this is the only one), or listen-notify (PostgreSQL's)"},
          {"allow-origin", "", "A web page's origin that may use the server, as in https://app.example.com; repeatable",
           false, true},
          {"seed", "", "An SQL script to run before listening"},
          {"retention", "30d", "How long tombstones, mutation records and audit rows are kept; at least 1h"},
          {"rate-limit", "0", "Requests per actor: 20/s, 600/m; 0 is off"},
          {"body-max", "1MiB", "The largest request body"},
          {"workers", "", "Threads for storage work and mutators; 4 on SQLite, 16 on PostgreSQL"},
          {"queue-max", "1024", "Requests that may wait for a worker; more are answered 503"},
          {"pull-limit", "1000", "Rows of a page when the device names no limit"},
          {"pull-limit-max", "10000", "Rows of a page at most"}} {}

Setting& ServeSettings::operator[](std::string_view name) {
  for (Setting& setting : all)
    if (setting.name == name) return setting;
  return all.front();
}

const std::string& ServeSettings::value(std::string_view name) const {
  return const_cast<ServeSettings&>(*this)[name].value;
}

Result<void> apply_config_file(const std::string& path, ServeSettings& settings) {
  const auto text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  const toml::parse_result parsed = toml::parse(*text, path);
  const auto wrong = [&](std::size_t line, std::string_view what) {
    return failure(ErrorCode::usage, fmt::format("{}:{}: {}", path, line, what));
  };
  if (!parsed) return wrong(parsed.error().source().begin.line, parsed.error().description());

  for (const auto& [key, node] : parsed.table()) {
    const std::string name(key.str());
    const std::size_t line = key.source().begin.line;
    Setting* setting = nullptr;
    for (Setting& candidate : settings.all)
      if (candidate.name == name) setting = &candidate;
    if (!setting) {
      if (name.find("secret") != std::string::npos || name.find("password") != std::string::npos)
        return wrong(line, fmt::format("\"{}\": secrets do not belong in this file; set NIZHAL_JWT_SECRET_FILE or "
                                       "NIZHAL_ADMIN_PASSWORD_FILE",
                                       name));
      std::string known;
      for (const Setting& one : settings.all) known += (known.empty() ? "" : ", ") + one.name;
      return wrong(line, fmt::format("there is no setting \"{}\"; the settings are: {}", name, known));
    }
    std::string value;
    if (const auto* as_text = node.as_string()) {
      value = as_text->get();
    } else if (const auto* as_number = node.as_integer()) {
      value = fmt::format("{}", as_number->get());
    } else if (const auto* as_real = node.as_floating_point()) {
      value = fmt::format("{}", as_real->get());
    } else if (const auto* list = node.as_array(); list && setting->is_list && list->is_homogeneous<std::string>()) {
      for (const auto& entry : *list) value += (value.empty() ? "" : " ") + entry.as_string()->get();
    } else if (setting->is_list) {
      return wrong(line, fmt::format("\"{}\" takes a text or an array of texts", name));
    } else {
      return wrong(line, fmt::format("\"{}\" takes a text or a number", name));
    }
    if (!setting->is_given) setting->value = std::move(value);
  }
  return {};
}

namespace {

PostgresOptions postgres_options(const ServeSettings& settings) {
  return {.listen_url = settings.value("listen-db"),
          .transaction_pooler = settings.value("pooler") == "transaction",
          .read_url = settings.value("read-db")};
}

Result<bool> wrong(std::string_view why) { return failure(ErrorCode::usage, std::string(why)); }

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

/// As it is shown: a database without its password.
std::string shown(const Setting& setting) {
  const bool is_database = setting.name == "db" || setting.name == "listen-db" || setting.name == "read-db";
  return is_database ? describe_database(setting.value) : setting.value;
}

}  // namespace

Result<ServePlan> plan_of(const ServeSettings& settings) {
  ServePlan plan;
  std::optional<Error> first;
  // Takes a parsed value, or keeps the first error with the option's name before it.
  const auto take = [&](std::string_view name, auto result, auto use) {
    if (result) {
      use(std::move(*result));
    } else if (!first) {
      first = Error{result.error().code, fmt::format("--{}: {}", name, result.error().message)};
    }
  };
  const auto count = [&](std::string_view name, std::size_t& target) {
    take(name, parse_count(settings.value(name)), [&](std::size_t number) { target = number; });
  };

  take("db", parse_db(settings.value("db")), [&](storage::DatabaseKind kind) {
    const std::string& url = settings.value("db");
    plan.server.storage = kind == storage::DatabaseKind::sqlite ? sqlite_storage(storage::sqlite_path(url))
                                                                : postgres_storage(url, postgres_options(settings));
  });
  const bool is_postgres = storage::kind_of_database(settings.value("db")) == storage::DatabaseKind::postgres;
  for (const char* name : {"pooler", "listen-db", "read-db"})
    if (!is_postgres && !settings.value(name).empty())
      take(name, wrong("it is about PostgreSQL, and --db names another database"), [](bool) {});
  if (const std::string& pooler = settings.value("pooler"); !pooler.empty() && pooler != "transaction")
    take("pooler",
         wrong("say \"transaction\" when --db leads through a pooler in transaction mode; a direct "
               "connection, and a pooler in session mode, need no option"),
         [](bool) {});
  if (const std::string& listen = settings.value("listen-db"); is_postgres && !listen.empty())
    take("listen-db", parse_db(listen), [&](storage::DatabaseKind kind) {
      if (kind != storage::DatabaseKind::postgres)
        first = Error{ErrorCode::usage, "--listen-db: it must be the PostgreSQL database that --db leads to"};
    });
  for (const std::string& origin : words_of(settings.value("allow-origin")))
    take("allow-origin", server::parse_origin(origin),
         [&](std::string parsed) { plan.server.allowed_origins.push_back(std::move(parsed)); });
  if (const std::string& read = settings.value("read-db"); is_postgres && !read.empty())
    take("read-db", parse_db(read), [&](storage::DatabaseKind kind) {
      if (kind != storage::DatabaseKind::postgres)
        first = Error{ErrorCode::usage, "--read-db: it must be a streaming replica of the PostgreSQL database of --db"};
    });
  if (const std::string& realtime = settings.value("realtime"); realtime == "listen-notify") {
    if (storage::kind_of_database(settings.value("db")) == storage::DatabaseKind::sqlite)
      take("realtime",
           wrong("listen-notify is PostgreSQL's, and --db names a SQLite file, which has one serving process: leave "
                 "it at in-process"),
           [](bool) {});
    else if (settings.value("pooler") == "transaction" && settings.value("listen-db").empty())
      take("realtime",
           wrong("listen-notify needs a session of its own, which a pooler in transaction mode does not give; name a "
                 "direct URL with --listen-db"),
           [](bool) {});
    plan.server.realtime = listen_notify_realtime(settings.value("listen-db"));
  } else if (realtime != "in-process") {
    take("realtime", wrong(fmt::format("\"{}\" is none of in-process and listen-notify", realtime)), [](bool) {});
  }
  take("listen", parse_address(settings.value("listen")), [&](Address address) { plan.address = std::move(address); });
  take("body-max", parse_bytes(settings.value("body-max")),
       [&](std::size_t bytes) { plan.server.body_bytes_max = bytes; });
  take("rate-limit", parse_rate(settings.value("rate-limit")),
       [&](const RateLimit& limit) { plan.server.rate_limit = limit; });
  take("retention", parse_duration(settings.value("retention")), [&](std::chrono::milliseconds retention) {
    plan.server.retention = std::chrono::duration_cast<std::chrono::hours>(retention);
  });
  if (!settings.value("workers").empty()) count("workers", plan.server.workers);
  count("queue-max", plan.server.queue_max);
  count("pull-limit", plan.server.pull_limit_default);
  count("pull-limit-max", plan.server.pull_limit_max);
  if (first) return tl::unexpected(*first);

  if (plan.server.retention < std::chrono::hours(1))
    return failure(ErrorCode::usage,
                   "--retention: a server keeps at least 1h, else devices would start afresh all the "
                   "time; `nizhal gc --retention 0s` prunes once");
  return plan;
}

std::string as_toml(const ServeSettings& settings) {
  std::string out;
  for (const Setting& setting : settings.all) {
    if (setting.value.empty()) continue;
    std::ostringstream value;
    if (setting.is_list) {
      toml::array words;
      for (const std::string& word : words_of(setting.value)) words.push_back(word);
      value << words;
    } else {
      value << toml::value<std::string>(shown(setting));
    }
    out += fmt::format("{}{} = {}", out.empty() ? "" : "\n", setting.name, value.str());
  }
  return out;
}

std::string as_json(const ServeSettings& settings) {
  json::object object;
  for (const Setting& setting : settings.all)
    if (setting.is_list && !setting.value.empty()) {
      json::array& words = object[setting.name].emplace_array();
      for (const std::string& word : words_of(setting.value)) words.emplace_back(word);
    } else if (!setting.value.empty()) {
      object[setting.name] = shown(setting);
    }
  return to_text(object);
}

}  // namespace nizhal::cli
