// See postgres_server.hpp.
#include "tests/postgres_server/postgres_server.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "postgres/connection.hpp"

namespace nizhal::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Longer than any step takes, sanitizers and a busy machine included.
constexpr std::chrono::seconds kPatience{120};
constexpr std::chrono::milliseconds kPollInterval{5};

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

std::string read_all(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The folder of PostgreSQL's programs: Debian's newest version, else where the search path finds one.
std::string find_programs() {
  std::string best;
  int best_version = -1;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const std::string name = entry.path().filename().string();
    int version = 0;
    std::from_chars(name.data(), name.data() + name.size(), version);
    if (version > best_version && fs::exists(entry.path() / "bin" / "postgres")) {
      best_version = version;
      best = (entry.path() / "bin").string();
    }
  }
  if (!best.empty()) return best;
  std::stringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');)
    if (fs::exists(folder + "/initdb") && fs::exists(folder + "/postgres")) return folder;
  fail("PostgreSQL's server programs are not installed: run `make deps`");
}

const std::string& programs() {
  static const std::string folder = find_programs();
  return folder;
}

/// Of the newest, as its folder says; what the search path finds is taken for an old one.
int programs_version() {
  const std::string version = fs::path(programs()).parent_path().filename().string();
  int number = 0;
  std::from_chars(version.data(), version.data() + version.size(), number);
  return number;
}

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  bool is_other = false;  // than the one that runs the tests
};

/// PostgreSQL refuses to run as root.
Account account() {
  if (::geteuid() != 0) return {::geteuid(), ::getegid(), false};
  for (const char* name : {"postgres", "nobody"})
    if (const passwd* entry = ::getpwnam(name)) return {entry->pw_uid, entry->pw_gid, true};
  fail("the tests run as root and there is neither a user `postgres` nor `nobody` to run a server as");
}

struct Launch {
  std::vector<std::string> arguments;
  std::string folder;                // its working directory
  std::string output;                // a file for what it prints; empty: nowhere
  int input = -1;                    // its standard input; -1: none
  std::uint64_t file_bytes_max = 0;  // 0: no limit
};

/// Between fork and exec only what a program of several threads may do there.
pid_t launch(const Launch& what) {
  std::vector<std::string> arguments = what.arguments;
  if (arguments.at(0).find('/') == std::string::npos && fs::exists(programs() + "/" + arguments[0]))
    arguments[0] = programs() + "/" + arguments[0];
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::string path = "PATH=" + programs() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::string home = "HOME=" + what.folder, language = "LC_ALL=C.UTF-8";
  char* environment[] = {path.data(), home.data(), language.data(), nullptr};
  const Account user = account();

  const pid_t child = ::fork();
  if (child < 0) fail(fmt::format("fork: {}", std::strerror(errno)));
  if (child > 0) return child;
  ::setpgid(0, 0);  // a Ctrl-C at the terminal is the test's, and the test's end is theirs
  const int input = what.input >= 0 ? what.input : ::open("/dev/null", O_RDONLY);
  const int output =
      ::open(what.output.empty() ? "/dev/null" : what.output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(input, 0);
  ::dup2(output, 1);
  ::dup2(output, 2);
  for (int descriptor = 3; descriptor < 1024; ++descriptor) ::close(descriptor);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (what.file_bytes_max > 0) {
    const rlimit limit{what.file_bytes_max, what.file_bytes_max};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (user.is_other && (::setgroups(0, nullptr) != 0 || ::setgid(user.gid) != 0 || ::setuid(user.uid) != 0))
    ::_exit(126);
  if (::chdir(what.folder.c_str()) != 0) ::_exit(126);
  ::execvpe(argv[0], argv.data(), environment);
  ::_exit(127);
}

void wait_for(pid_t process) {
  while (::waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
  }
}

/// Whose parent is the process.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    pid_t process = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), process);
    if (bad != std::errc() || end != name.data() + name.size()) continue;
    const std::string stat = read_all(entry.path().string() + "/stat");
    const auto at = stat.rfind(')');  // the name before it may hold anything
    if (at == std::string::npos) continue;
    std::istringstream rest(stat.substr(at + 1));
    char state = 0;
    pid_t its_parent = 0;
    rest >> state >> its_parent;
    if (its_parent == parent) children.push_back(process);
  }
  return children;
}

/// Gone, or dead and waiting for its parent.
bool is_gone(pid_t process) {
  const std::string stat = read_all(fmt::format("/proc/{}/stat", process));
  const auto at = stat.rfind(')');
  return at == std::string::npos || (at + 2 < stat.size() && stat[at + 2] == 'Z');
}

template <class Condition>
bool wait_until(const Condition& condition) {
  const auto deadline = Clock::now() + kPatience;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

std::string percent_encoded(std::string_view path) {
  std::string encoded;
  for (const char c : path) {
    if (c == '/')
      encoded += "%2F";
    else
      encoded += c;
  }
  return encoded;
}

std::unique_ptr<postgres::Connection> connect(const std::string& url) {
  postgres::ConnectOptions options;
  options.url = url;
  options.connect_timeout = options.statement_timeout = options.lock_timeout = kPatience;
  auto connection = postgres::Connection::connect(options);
  if (!connection) fail(connection.error().message);
  return std::move(*connection);
}

}  // namespace

PostgresServer::PostgresServer(PostgresOptions options) : options_(std::move(options)) {
  options_.tcp = options_.tcp || options_.tls;
  make_folder();
  std::vector<std::string> initdb{
      "initdb",           "-D", data_, "-U", user_, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8",
      "--no-instructions"};
  if (!options_.icu_locale.empty()) {
    initdb.emplace_back("--locale-provider=icu");
    initdb.push_back("--icu-locale=" + options_.icu_locale);
  }
  run(initdb);
  write_settings();
  start();
}

PostgresServer::PostgresServer(PostgresOptions options, const Standby& standby) : options_(std::move(options)) {
  make_folder();
  run({"pg_basebackup", "-D", data_, "--checkpoint=fast", "--no-sync", "-X", "stream", "-R", "-d",
       fmt::format("host={} port={} user={} dbname=replication application_name=standby", standby.primary.folder(),
                   standby.primary.port_, user_)});
  write_settings();
  start();
}

PostgresServer::~PostgresServer() {
  thaw();
  for (const pid_t process : spawned_) {
    ::kill(process, SIGKILL);
    wait_for(process);
  }
  if (is_running()) {
    ::kill(postmaster_, SIGQUIT);
    wait_for(postmaster_);
  }
  forget_shared_memory();
  std::error_code ignored;  // a folder that cannot be removed harms nobody
  if (!options_.data_path.empty()) fs::remove_all(data_, ignored);
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
  if (watched_ >= 0) ::close(watched_);
  if (watcher_ > 0) wait_for(watcher_);
}

void PostgresServer::make_folder() {
  // The name of a Unix socket has room for about 100 bytes.
  std::error_code error;
  std::string base = fs::temp_directory_path(error).string();
  if (error || base.size() > 50) base = "/tmp";
  std::string pattern = base + "/nizhal-pg-XXXXXX";
  if (!::mkdtemp(pattern.data())) fail(fmt::format("cannot make a folder in {}: {}", base, std::strerror(errno)));
  folder_ = pattern;
  data_ = options_.data_path.empty() ? folder_ + "/data" : options_.data_path + "/data";
  const Account user = account();
  if (user.is_other) {
    if (::chown(folder_.c_str(), user.uid, user.gid) != 0) fail("cannot give the server's user its folder");
    if (!options_.data_path.empty() && ::chown(options_.data_path.c_str(), user.uid, user.gid) != 0)
      fail("cannot give the server's user its data folder");
  }
  if (options_.tcp) port_ = reserved_.emplace().port();
  watch();
}

/// A process that ends the server and removes its folder when this one is gone, whatever ended it.
void PostgresServer::watch() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("no pipe");
  watched_ = ends[1];
  Launch watcher;
  watcher.arguments = {"/bin/sh", "-c", R"(read gone
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && grep -qF "$1" "/proc/$pid/cmdline" 2>/dev/null; then
  kill -QUIT "$pid"
  while grep -q "^State:.[^Z]" "/proc/$pid/status" 2>/dev/null; do sleep 0.05; done
fi
rm -rf "$1" "$2")", "sh", data_, folder_};
  watcher.folder = "/";
  watcher.input = ends[0];
  watcher_ = launch(watcher);
  ::close(ends[0]);
}

void PostgresServer::write_settings() {
  set("unix_socket_directories", folder_);
  set("listen_addresses", options_.tcp ? "127.0.0.1" : "");
  set("port", fmt::to_string(port_));
  set("fsync", options_.fsync ? "on" : "off");
  set("full_page_writes", options_.fsync ? "on" : "off");
  set("max_connections", "100");
  set("max_prepared_transactions", "10");
  set("shared_buffers", "32MB");
  set("wal_level", "replica");
  set("log_min_messages", "warning");
  if (options_.tls) {
    make_certificate("server");
    set("ssl", "on");
    set("ssl_cert_file", folder_ + "/server.crt");
    set("ssl_key_file", folder_ + "/server.key");
    std::ofstream access(data_ + "/pg_hba.conf", std::ios::trunc);
    access << "local all all trust\nlocal replication all trust\nhostssl all all 127.0.0.1/32 trust\n";
  }
  for (const auto& [name, value] : options_.settings) set(name, value);
}

void PostgresServer::set(const std::string& name, const std::string& value) {
  std::ofstream file(data_ + "/postgresql.conf", std::ios::app);
  std::string quoted;
  for (const char c : value) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  file << name << " = '" << quoted << "'\n";
  if (!file.flush()) fail("cannot write postgresql.conf");
}

void PostgresServer::make_certificate(const std::string& name) {
  run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
       "-keyout", folder_ + "/" + name + ".key", "-out", folder_ + "/" + name + ".crt", "-subj", "/CN=localhost",
       "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"});
}

std::string PostgresServer::certificate() const { return folder_ + "/server.crt"; }

std::string PostgresServer::other_certificate() {
  make_certificate("other");
  return folder_ + "/other.crt";
}

std::string PostgresServer::url(std::string_view database) const {
  return fmt::format("postgresql://{}@{}:{}/{}", user_, percent_encoded(folder_), port_, database);
}

std::string PostgresServer::tcp_url(std::string_view database, std::string_view parameters) const {
  return fmt::format("postgresql://{}@localhost:{}/{}?hostaddr=127.0.0.1{}{}", user_, port_, database,
                     parameters.empty() ? "" : "&", parameters);
}

std::uint16_t PostgresServer::port() const { return port_; }
const std::string& PostgresServer::user() const { return user_; }
const std::string& PostgresServer::folder() const { return folder_; }
const std::string& PostgresServer::data_path() const { return data_; }
std::string PostgresServer::log() const {
  const std::string text = read_all(folder_ + "/log");
  return text.size() > 4'000 ? text.substr(text.size() - 4'000) : text;
}

bool PostgresServer::is_running() const { return postmaster_ > 0 && !is_gone(postmaster_); }

void PostgresServer::start() {
  if (postmaster_ > 0) fail("the server runs already");
  Launch server;
  server.arguments = {"postgres", "-D", data_};
  server.folder = folder_;
  server.output = folder_ + "/log";
  server.file_bytes_max = options_.file_bytes_max;
  postmaster_ = launch(server);
  const std::string probe = url();
  const bool is_up = wait_until([&] { return PQping(probe.c_str()) == PQPING_OK || is_gone(postmaster_); });
  if (is_up && !is_gone(postmaster_)) return;
  ::kill(postmaster_, SIGKILL);
  wait_for(postmaster_);
  postmaster_ = -1;
  fail("PostgreSQL did not start: " + log());
}

void PostgresServer::stop() {
  if (postmaster_ <= 0) return;
  ::kill(postmaster_, SIGINT);
  if (!wait_until([&] { return is_gone(postmaster_); })) fail("PostgreSQL did not stop: " + log());
  wait_for(postmaster_);
  postmaster_ = -1;
}

void PostgresServer::kill_hard() {
  if (postmaster_ <= 0) return;
  ::kill(postmaster_, SIGSTOP);  // it starts no more
  const auto children = children_of(postmaster_);
  for (const pid_t child : children) ::kill(child, SIGKILL);
  ::kill(postmaster_, SIGKILL);
  wait_for(postmaster_);
  postmaster_ = -1;
  if (!wait_until([&] {
        for (const pid_t child : children)
          if (!is_gone(child)) return false;
        return true;
      }))
    fail("a killed server's process goes on");
}

void PostgresServer::freeze() {
  ::kill(postmaster_, SIGSTOP);  // first, so that it starts no more
  frozen_ = children_of(postmaster_);
  for (const pid_t child : frozen_) ::kill(child, SIGSTOP);
  frozen_.push_back(postmaster_);
}

void PostgresServer::thaw() {
  for (const pid_t process : frozen_) ::kill(process, SIGCONT);
  frozen_.clear();
}

/// A killed server leaves its segment to the next one of its data folder; there may be none.
void PostgresServer::forget_shared_memory() {
  std::ifstream file(data_ + "/postmaster.pid");
  std::string line;
  for (int i = 0; i < 7; ++i)
    if (!std::getline(file, line)) return;
  std::istringstream words(line);
  unsigned long key = 0;
  int segment = -1;
  shmid_ds status{};
  if (words >> key >> segment && ::shmctl(segment, IPC_STAT, &status) == 0 &&
      status.shm_perm.__key == static_cast<key_t>(key) && status.shm_nattch == 0)
    ::shmctl(segment, IPC_RMID, nullptr);
}

std::string PostgresServer::create_database(const DatabaseOptions& options) {
  // The number is the process's, so that a name is never used twice even on another server.
  static std::atomic<std::size_t> next{1};
  const std::string name = fmt::format("test_{}", next++);
  std::string statement = fmt::format("CREATE DATABASE {}", name);
  if (programs_version() >= 15) statement += " STRATEGY file_copy";  // without fsync the cheaper one
  if (!options.icu_locale.empty())
    statement += fmt::format(" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE '{}'", options.icu_locale);
  sql("postgres", statement);
  return url(name);
}

void PostgresServer::sql(std::string_view database, const std::string& script) {
  const auto connection = connect(url(database));
  const auto done = connection->execute(script);
  if (!done) fail(fmt::format("{}: {}", script, connection->error_text()));
}

std::string PostgresServer::value(std::string_view database, const std::string& query) {
  const auto connection = connect(url(database));
  const auto rows = connection->execute(query);
  if (!rows) fail(fmt::format("{}: {}", query, connection->error_text()));
  return rows->size() > 0 ? std::string(rows->text(0, 0)) : std::string();
}

std::unique_ptr<PostgresServer> PostgresServer::standby() {
  PostgresOptions options = options_;
  options.data_path.clear();
  options.tls = false;
  std::unique_ptr<PostgresServer> standby(new PostgresServer(std::move(options), Standby{*this}));
  sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
  sql("postgres", "SELECT pg_reload_conf()");
  if (!wait_until(
          [&] { return value("postgres", "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"; }))
    fail("the standby does not follow: " + standby->log());
  return standby;
}

void PostgresServer::promote() {
  // Otherwise it would wait for a standby of its own: the setting came with the copy, or not, depending on the moment.
  if (value("postgres", "SELECT pg_promote(true, 60)") != "t") fail("the standby was not promoted: " + log());
  sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
  sql("postgres", "SELECT pg_reload_conf()");
}

void PostgresServer::run(std::vector<std::string> arguments) {
  const std::string output = folder_ + "/output";
  Launch program;
  program.arguments = std::move(arguments);
  program.folder = folder_;
  program.output = output;
  const pid_t process = launch(program);
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) fail(fmt::format("{} failed: {}", program.arguments[0], read_all(output)));
  std::error_code ignored;
  fs::remove(output, ignored);
}

pid_t PostgresServer::spawn(std::vector<std::string> arguments, const std::string& name) {
  Launch program;
  program.arguments = std::move(arguments);
  program.folder = folder_;
  program.output = folder_ + "/" + name + ".log";
  spawned_.push_back(launch(program));
  return spawned_.back();
}

void PostgresServer::reap(pid_t process) {
  wait_for(process);
  std::erase(spawned_, process);
}

PostgresServer& shared_server() {
  static PostgresServer server;
  return server;
}

}  // namespace nizhal::testing
